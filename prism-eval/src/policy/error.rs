//! Why a policy is refused.
use prism_core::{Error, Fault, Finite, Kind};

/// A policy that can't be in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A number outside its range.
    #[error("policy number `{name}` is {value}, outside {low} to {high}")]
    Range {
        /// Which.
        name: String,
        /// As given.
        value: Finite,
        /// Smallest allowed.
        low: Finite,
        /// Largest allowed.
        high: Finite,
    },
    /// A name that no part of the policy knows: most likely a misspelt one.
    #[error("no policy number is called `{name}`")]
    Unknown {
        /// As given.
        name: String,
    },
    /// Parts that must make a whole.
    #[error("policy numbers `{names}` sum to {sum}, not to 1")]
    Sum {
        /// Which.
        names: &'static str,
        /// Their sum.
        sum: Finite,
    },
    /// Reward numbers that don't go together.
    #[error("policy of rewards: {0}")]
    Reward(&'static str),
    /// A plan that can't be carried out.
    #[error("policy of runs: {0}")]
    Plan(&'static str),
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        Self::new(Kind::Invalid, Fault::Validator, error.to_string())
    }
}
