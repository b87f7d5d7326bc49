//! Why Python is refused before anybody runs it.
use super::parser::{MAX_BRACKETS, MAX_CHAIN, MAX_INDENTS, MAX_SOURCE_BYTES};
use prism_core::{Error, Fault, Kind};

/// Why Python is refused before anybody runs it. [`PythonError::rule`] is the stable name of the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PythonError {
    /// A file is longer than is read.
    #[error("{file}: has {bytes} bytes, at most {MAX_SOURCE_BYTES} are read")]
    Size {
        /// Which file.
        file: String,
        /// As many.
        bytes: usize,
    },
    /// Deeper than CPython's own limits.
    #[error("{file}:{line}: {what}")]
    Nesting {
        /// Which file.
        file: String,
        /// Where the limit is passed.
        line: u32,
        /// Which limit.
        what: Nesting,
    },
    /// No Python.
    #[error("{file}:{line}: {text}")]
    Syntax {
        /// Which file.
        file: String,
        /// Where.
        line: u32,
        /// What is wrong.
        text: String,
    },
    /// A hook that the contract asks for.
    #[error("{file}: has no `{hook}` at its top level")]
    MissingHook {
        /// The entry point.
        file: String,
        /// Its name and parameters.
        hook: &'static str,
    },
    /// A hook that can't be called as the contract says.
    #[error("{file}:{line}: `{hook}` {problem}")]
    Signature {
        /// The entry point.
        file: String,
        /// Where.
        line: u32,
        /// Its name and parameters.
        hook: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A recipe for an existing family that brings a model.
    #[error("{file}:{line}: a recipe for an existing family can't define `build_model`")]
    ReplacesModel {
        /// The entry point.
        file: String,
        /// Where.
        line: u32,
    },
    /// More than the guest is given.
    #[error("what a guest receives has {bytes} bytes compressed, at most {most} are taken")]
    Mass {
        /// Compressed, comments and docstrings blanked.
        bytes: u64,
        /// The policy's cap.
        most: u64,
    },
    /// The host has no stack or thread to parse on.
    #[error("{file}: can't be parsed on this machine: {text}")]
    Machine {
        /// Which file.
        file: String,
        /// What went wrong.
        text: String,
    },
}

/// What is nested too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Nesting {
    /// CPython: too many nested parentheses.
    #[error("more than {MAX_BRACKETS} brackets within each other")]
    Brackets,
    /// CPython: too many levels of indentation.
    #[error("more than {MAX_INDENTS} levels of indentation")]
    Indents,
    /// CPython: maximum recursion depth exceeded during compilation.
    #[error("more than {MAX_CHAIN} operators on each other")]
    Chain,
    /// One statement that goes on and on.
    #[error("a statement of too many operators")]
    Statement,
}

impl PythonError {
    /// The stable name of the rule that was broken.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Size { .. } => "python.size",
            Self::Nesting { .. } => "python.nesting",
            Self::Syntax { .. } => "python.syntax",
            Self::MissingHook { .. } => "python.hook.missing",
            Self::Signature { .. } => "python.hook.signature",
            Self::ReplacesModel { .. } => "python.hook.model",
            Self::Mass { .. } => "bundle.mass",
            Self::Machine { .. } => "review.failed",
        }
    }

    /// File and line, for findings; no file where the bundle as a whole is meant.
    #[must_use]
    pub fn place(&self) -> Option<(&str, u32)> {
        match self {
            Self::Size { file, .. } | Self::MissingHook { file, .. } | Self::Machine { file, .. } => Some((file, 0)),
            Self::Nesting { file, line, .. }
            | Self::Syntax { file, line, .. }
            | Self::Signature { file, line, .. }
            | Self::ReplacesModel { file, line } => Some((file, *line)),
            Self::Mass { .. } => None,
        }
    }

    /// Whether the miner's code is at fault rather than this machine.
    #[must_use]
    pub fn is_proof(&self) -> bool {
        !matches!(self, Self::Machine { .. })
    }
}

impl From<PythonError> for Error {
    fn from(error: PythonError) -> Self {
        let (kind, fault) = match &error {
            PythonError::Size { .. } | PythonError::Nesting { .. } | PythonError::Mass { .. } => {
                (Kind::Limit, Fault::Miner)
            }
            PythonError::Machine { .. } => (Kind::Unavailable, Fault::Infrastructure),
            _ => (Kind::Invalid, Fault::Miner),
        };
        Error::new(kind, fault, format!("{}: {error}", error.rule()))
    }
}
