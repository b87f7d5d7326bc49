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
    /// No section has this name.
    #[error("no policy section is called `{0}`")]
    Section(String),
    /// A row that is no JSON object, or not one that is read.
    #[error("`{section}`: {problem}")]
    Text {
        /// Of which section.
        section: &'static str,
        /// What is wrong, and where.
        problem: String,
    },
    /// A key that its section doesn't have.
    #[error("`{place}` does not exist")]
    Key {
        /// The keys that lead there, the section first.
        place: String,
    },
    /// A value of the wrong type or form.
    #[error("`{place}`: {problem}")]
    Value {
        /// The keys that lead there, the section first.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A value that a row can't change: what was examined was examined under it.
    #[error("`{place}` can't be changed by a row: what is on record was examined under it")]
    Fixed {
        /// The keys that lead there, the section first.
        place: String,
    },
    /// A rule between the values of a section or of several.
    #[error("`{place}`: {rule}")]
    Rule {
        /// Where.
        place: &'static str,
        /// Which rule.
        rule: String,
    },
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        Self::new(Kind::Invalid, Fault::Validator, error.to_string())
    }
}
