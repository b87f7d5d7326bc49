//! What can go wrong with a container engine, and who has to act.
use prism_core::{Error, Fault, Kind, Retry, sandbox::Property};
use std::{path::PathBuf, time::Duration};

/// A container engine that can't be used, or can't be used like this.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// Nothing answers.
    #[error("no container engine answers at any of {tried:?}")]
    NoEngine {
        /// The sockets, in order, each with what it said.
        tried: Vec<(PathBuf, String)>,
    },
    /// The engine is reached in a way that isn't supported.
    #[error("container engine {0:?} is not a local socket (unix://)")]
    NotASocket(String),
    /// An image by name.
    #[error("image {0:?} is not named by its digest (sha256:<64 hex digits>, or name@sha256:<64 hex digits>)")]
    NotADigest(String),
    /// An image that has to be built or pulled first.
    #[error("image {0} is not on this engine")]
    NoImage(String),
    /// An image whose volumes would be writable and without a limit.
    #[error("image {0} declares volumes, which would be writable without a limit")]
    ImageVolumes(String),
    /// GPUs of an engine that forgets a request for them without a word.
    #[error("podman doesn't say whether it gave the GPUs that were asked for, so none are")]
    NoGpus,
    /// Something of a spec that a container can't have.
    #[error("{0}")]
    Spec(String),
    /// Something of a spec that this backend can't do.
    #[error("container backend can't {0}")]
    Unsupported(String),
    /// A property that was required.
    #[error("{0:?} is required and not enforced by the container engine at {1}")]
    NotEnforced(Property, PathBuf),
    /// The engine said no, or said nothing.
    #[error("container engine failed to {doing}")]
    Call {
        /// What was asked of it.
        doing: &'static str,
        /// What came back.
        #[source]
        source: bollard::errors::Error,
    },
    /// The engine took too long.
    #[error("container engine did not {doing} within {seconds} s")]
    Deadline {
        /// What was asked of it.
        doing: &'static str,
        /// How long it had.
        seconds: u64,
    },
    /// The thread that talks to the engine has ended.
    #[error("the thread that talks to the container engine is gone")]
    Gone,
    /// A folder or file of this host.
    #[error("{what} {} not usable", path.display())]
    Host {
        /// What it is for.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The host's own interpreter or linker, while an image is built.
    #[error("{program} did not answer: {why}")]
    Program {
        /// Which program.
        program: String,
        /// What it said instead.
        why: String,
    },
}

impl ContainerError {
    /// Turns an answer of the engine into an error that says what was asked.
    pub(super) fn call(doing: &'static str) -> impl FnOnce(bollard::errors::Error) -> Self {
        move |source| Self::Call { doing, source }
    }

    /// The HTTP status of the engine's answer, if it answered.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Call { source: bollard::errors::Error::DockerResponseServerError { status_code, .. }, .. } => {
                Some(*status_code)
            }
            _ => None,
        }
    }
}

impl From<ContainerError> for Error {
    fn from(error: ContainerError) -> Self {
        use ContainerError as E;
        let (kind, fault, retry) = match &error {
            E::NoEngine { .. } | E::Call { .. } => (Kind::Unavailable, Fault::Infrastructure, true),
            E::Deadline { .. } => (Kind::Deadline, Fault::Infrastructure, true),
            E::NoImage(_) => (Kind::NotFound, Fault::Infrastructure, false),
            E::Gone | E::NoGpus | E::Host { .. } | E::Program { .. } => {
                (Kind::Unavailable, Fault::Infrastructure, false)
            }
            E::NotADigest(_) | E::ImageVolumes(_) | E::Spec(_) => (Kind::Invalid, Fault::Validator, false),
            E::NotASocket(_) | E::Unsupported(_) | E::NotEnforced(..) => (Kind::Unsupported, Fault::Validator, false),
        };
        let retry = if retry { Retry::After(Duration::from_secs(5)) } else { Retry::Never };
        Self::new(kind, fault, error.to_string()).retry(retry).because(error)
    }
}
