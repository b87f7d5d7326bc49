//! What goes wrong with a hub.
use prism_core::{Error, Fault, Kind, Retry};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Why a file is not here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// What was asked for can't be asked for.
    #[error("{0}")]
    Argument(String),
    /// No connection, or one that broke off.
    #[error("{what}: connection failed")]
    Unreachable {
        /// Of what.
        what: String,
        /// Why. Without the address, which may hold a signature.
        source: reqwest::Error,
    },
    /// Nothing came for too long.
    #[error("{what}: nothing came for {} s", .span.as_secs_f64())]
    Stalled {
        /// Of what.
        what: String,
        /// So long.
        span: Duration,
    },
    /// It ended before all of it was here.
    #[error("{what}: ended after {done} of {bytes} bytes")]
    Short {
        /// What.
        what: String,
        /// Here.
        done: u64,
        /// In all.
        bytes: u64,
    },
    /// There is no such thing.
    #[error("{what}: the hub has none at this revision (status 404)")]
    Missing {
        /// What.
        what: String,
    },
    /// Not for whoever asks.
    #[error("{what}: the hub refuses it with status {status}; a token may be needed")]
    Refused {
        /// What.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// Not now.
    #[error("{what}: the hub answers with status {status}{}", .wait.map_or(String::new(), |wait| format!(" and asks to wait {} s", wait.as_secs())))]
    Busy {
        /// What.
        what: String,
        /// The HTTP status.
        status: u16,
        /// How long it asks to wait.
        wait: Option<Duration>,
    },
    /// The rest of a file can't be had alone.
    #[error("{what}: the hub doesn't go on where the file was")]
    Range {
        /// What.
        what: String,
    },
    /// Another answer.
    #[error("{what}: the hub answers with status {status}")]
    Status {
        /// What.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// An answer that makes no sense.
    #[error("answer of the hub: {0}")]
    Answer(String),
    /// A file of another length than the list says.
    #[error("{what}: has {found} bytes, the list says {bytes}")]
    Length {
        /// Which.
        what: String,
        /// Said now; of what came, where that is more.
        found: u64,
        /// Said by the list.
        bytes: u64,
    },
    /// A file of other bytes than the list says.
    #[error("{what}: has the SHA-256 {found}, the list says {expected}")]
    Altered {
        /// Which.
        what: String,
        /// Of what came.
        found: String,
        /// Said by the list.
        expected: String,
    },
    /// A file here.
    #[error("{}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl HubError {
    pub(super) fn unreachable(what: &str, error: reqwest::Error) -> Self {
        Self::Unreachable { what: what.to_owned(), source: error.without_url() }
    }

    pub(super) fn stalled(what: &str, span: Duration) -> Self {
        Self::Stalled { what: what.to_owned(), span }
    }

    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }

    /// Whether another try may do.
    pub(super) fn passes(&self) -> bool {
        match self {
            // A redirect that is not followed will be none the next time either.
            Self::Unreachable { source, .. } => !source.is_redirect() && !source.is_builder(),
            Self::Stalled { .. } | Self::Short { .. } | Self::Busy { .. } | Self::Range { .. } => true,
            _ => false,
        }
    }
}

impl From<HubError> for Error {
    fn from(error: HubError) -> Self {
        let (kind, fault) = match &error {
            HubError::Argument(_) => (Kind::Invalid, Fault::Validator),
            HubError::Missing { .. } => (Kind::NotFound, Fault::Validator),
            HubError::Refused { .. } => (Kind::Refused, Fault::Validator),
            HubError::Length { .. } | HubError::Altered { .. } | HubError::Answer(_) => {
                (Kind::Corrupt, Fault::Infrastructure)
            }
            HubError::File { .. } => (Kind::Unavailable, Fault::Validator),
            HubError::Stalled { .. } => (Kind::Deadline, Fault::Infrastructure),
            _ => (Kind::Unavailable, Fault::Infrastructure),
        };
        let retry = if error.passes() { Retry::After(Duration::from_secs(60)) } else { Retry::Never };
        Self::new(kind, fault, "download failed").retry(retry).because(error)
    }
}
