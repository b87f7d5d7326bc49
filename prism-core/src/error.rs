//! The one error that crosses crates: what happened, who has to act, and whether trying again helps.
use std::{error::Error as StdError, fmt, time::Duration};

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The author of the submission or request.
    Miner,
    /// Nobody: a rule refused it.
    Policy,
    /// The machine, the network or a service.
    Infrastructure,
    /// The operator of this validator.
    Validator,
}

/// Whether the same call can succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// Trying again changes nothing.
    Never,
    /// Trying again at once may succeed.
    Now,
    /// Trying again makes sense after this span.
    After(Duration),
}

/// What kind of failure it is, for callers that branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The input breaks a rule of its format.
    Invalid,
    /// The input is fine and this part cannot do it.
    Unsupported,
    /// The thing named does not exist.
    NotFound,
    /// The thing exists already, or changed meanwhile.
    Conflict,
    /// A rule or a peer says no.
    Refused,
    /// A deadline passed.
    Deadline,
    /// Somebody asked to stop.
    Cancelled,
    /// A bound on size, count or rate was hit.
    Limit,
    /// The other side cannot be reached or is not ready.
    Unavailable,
    /// Stored or received bytes contradict themselves.
    Corrupt,
    /// A rule of this program was broken by this program.
    Bug,
}

/// The error of every PRISM contract. One pointer wide, so that `Result<T, Error>` stays small.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    fault: Fault,
    retry: Retry,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error that trying again does not mend. The message is a lowercase fragment that names the thing and the place.
    pub fn new(kind: Kind, fault: Fault, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, fault, retry: Retry::Never, message: message.into(), source: None }))
    }

    /// The miner sent something that breaks a rule of its format.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, Fault::Miner, message)
    }

    /// A rule of this program was broken by this program.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Kind::Bug, Fault::Validator, message)
    }

    /// The same error with another retry class.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// The same error with its cause.
    #[must_use]
    pub fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.0.fault
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn retry_class(&self) -> Retry {
        self.0.retry
    }

    /// The message and those of all causes, joined by `: `.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.0.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}: {}", self.0.kind, self.0.fault, self.chain())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

/// The result of every PRISM contract.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_of_unit_is_one_pointer_wide() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn chain_names_every_cause_once() {
        let io = std::io::Error::other("disk on fire");
        let error = Error::new(Kind::Unavailable, Fault::Infrastructure, "artifact 00ab not readable")
            .because(io)
            .retry(Retry::After(Duration::from_secs(1)));
        assert_eq!(error.chain(), "artifact 00ab not readable: disk on fire");
        assert_eq!(error.to_string(), "artifact 00ab not readable");
        assert_eq!(error.retry_class(), Retry::After(Duration::from_secs(1)));
        assert_eq!((error.kind(), error.fault()), (Kind::Unavailable, Fault::Infrastructure));
    }
}
