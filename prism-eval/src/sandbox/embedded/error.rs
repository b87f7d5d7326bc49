//! Why nothing was started, and whose fault that is.
use super::{plan::Refusal, tree::TreeError};
use prism_core::{
    error::{Error, Fault, Kind, Retry},
    sandbox::Property,
};
use std::{io, path::PathBuf};

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum EmbeddedError {
    #[error("this program can't be its own launcher: its main must call sandbox::launcher::enter() first")]
    NotEntered,
    #[error("{0} is no launcher: its main must call sandbox::launcher::enter() first")]
    NoHandshake(PathBuf),
    #[error("this kernel or user can't run embedded sandboxes: {0}")]
    Unable(String),
    #[error("{0:?} is required and not enforced by the embedded sandbox on this host")]
    Missing(Property),
    #[error("the embedded sandbox has no graphics processors")]
    Gpus,
    #[error("the work's file system can't be laid out")]
    Tree(#[from] TreeError),
    #[error("{0}")]
    Spec(String),
    #[error("{step} failed: {reason}")]
    Refused { step: String, reason: String, program: bool },
    #[error("{0} took too long")]
    Deadline(&'static str),
    #[error("{0} failed")]
    Io(&'static str, #[source] io::Error),
    #[error("the host gave up before the work had started")]
    Abandoned,
}

impl From<Refusal> for EmbeddedError {
    fn from(Refusal { step, reason, program, .. }: Refusal) -> Self {
        Self::Refused { step, reason, program }
    }
}

impl From<EmbeddedError> for Error {
    fn from(error: EmbeddedError) -> Self {
        let (kind, fault, retry) = match &error {
            EmbeddedError::NotEntered
            | EmbeddedError::NoHandshake(_)
            | EmbeddedError::Unable(_)
            | EmbeddedError::Missing(_)
            | EmbeddedError::Gpus => (Kind::Unsupported, Fault::Validator, Retry::Never),
            EmbeddedError::Tree(_) | EmbeddedError::Spec(_) | EmbeddedError::Refused { program: true, .. } => {
                (Kind::Invalid, Fault::Validator, Retry::Never)
            }
            EmbeddedError::Deadline(_) => (Kind::Deadline, Fault::Infrastructure, Retry::Now),
            EmbeddedError::Abandoned => (Kind::Cancelled, Fault::Infrastructure, Retry::Now),
            EmbeddedError::Refused { .. } | EmbeddedError::Io(..) => {
                (Kind::Unavailable, Fault::Infrastructure, Retry::Now)
            }
        };
        Error::new(kind, fault, "embedded sandbox not started").because(error).retry(retry)
    }
}

/// Names what an input or output error stopped.
pub(super) trait Doing<T> {
    /// `what` was being done.
    fn doing(self, what: &'static str) -> Result<T, EmbeddedError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &'static str) -> Result<T, EmbeddedError> {
        self.map_err(|e| EmbeddedError::Io(what, e.into()))
    }
}
