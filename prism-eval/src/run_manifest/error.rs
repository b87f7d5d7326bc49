//! Why a manifest is refused.
use super::{check::Violation, read::MAX_BYTES};
use prism_core::{Error, Fault, Kind};

/// A document that is no manifest, or one that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// More than is read.
    #[error("document has {bytes} bytes, at most {MAX_BYTES} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not of the form.
    #[error("{place}: {problem} (line {line}, column {column})")]
    Form {
        /// Where, as in `metrics.loss_vs_tokens[3].x`.
        place: String,
        /// What is wrong.
        problem: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Of the form, and it contradicts itself. In the order of the fields, at least one.
    #[error("{}", told(.0))]
    Rules(Vec<Violation>),
    /// It could not be turned into JSON.
    #[error("{0} can't be written as JSON")]
    Unwritable(&'static str),
    /// A record that no manifest can be made of.
    #[error("no manifest of submission {submission}: {problem}")]
    Record {
        /// Whose.
        submission: String,
        /// What is missing or can't be used.
        problem: String,
    },
}

fn told(violations: &[Violation]) -> String {
    match violations.split_first() {
        None => "a rule is broken".to_owned(),
        Some((first, [])) => first.to_string(),
        Some((first, others)) => format!("{first} (and {} more)", others.len()),
    }
}

impl ManifestError {
    /// The JSON place of the first thing that is wrong, where it has one.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        match self {
            Self::Form { place, .. } => Some(place),
            Self::Rules(violations) => violations.first().map(|violation| violation.place.as_str()),
            _ => None,
        }
    }
}

impl From<ManifestError> for Error {
    fn from(error: ManifestError) -> Self {
        let kind = match error {
            ManifestError::TooLarge { .. } => Kind::Limit,
            ManifestError::Unwritable(_) => Kind::Bug,
            _ => Kind::Invalid,
        };
        Self::new(kind, Fault::Validator, error.to_string())
    }
}
