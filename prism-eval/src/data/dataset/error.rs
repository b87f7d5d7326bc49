//! Why a folder is no dataset.
use super::SCHEMA;
use crate::{
    benchmark::BenchmarkError,
    data::{CorpusError, TokenizerError},
};
use prism_core::{Error, Fault, Kind};
use std::io;

/// Why a folder is no dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A file can't be read or written.
    #[error("dataset file {file}: {error}")]
    Io {
        /// Which.
        file: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A document is not of its form.
    #[error("{file} is not of the form {SCHEMA}: {reason}")]
    Form {
        /// Which.
        file: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file that the manifest does not name.
    #[error("{file} lies in the dataset's folder, and the manifest does not name it")]
    Additional {
        /// Which.
        file: String,
    },
    /// A file that is not what the manifest says.
    #[error("{file} has {found} {what}, the manifest says {expected}")]
    Altered {
        /// Which.
        file: String,
        /// Of what.
        what: &'static str,
        /// Counted.
        found: String,
        /// Said.
        expected: String,
    },
    /// A document in the wrong part, or out of order.
    #[error("{file} line {line}: document {id:?} {reason}")]
    Document {
        /// Which file.
        file: String,
        /// Where, from 1.
        line: u64,
        /// Which document.
        id: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A line that is no record, or a limit.
    #[error("{file}: {error}")]
    Corpus {
        /// Which.
        file: String,
        /// What is wrong.
        #[source]
        error: CorpusError,
    },
    /// A Parquet file that can't be read.
    #[error("{file}: {reason}")]
    Parquet {
        /// Which.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A tokenizer that can't be used.
    #[error("{file}: {error}")]
    Tokenizer {
        /// Which.
        file: String,
        /// What is wrong.
        #[source]
        error: TokenizerError,
    },
    /// An evaluation task that can't be used.
    #[error("{file}: {error}")]
    Benchmark {
        /// Which.
        file: String,
        /// What is wrong.
        #[source]
        error: BenchmarkError,
    },
    /// Nothing to prepare from, or nowhere to.
    #[error("{0}")]
    Unusable(String),
}

impl From<DatasetError> for Error {
    fn from(error: DatasetError) -> Self {
        let kind = match &error {
            DatasetError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            DatasetError::Io { .. } => Kind::Unavailable,
            DatasetError::Altered { .. } | DatasetError::Additional { .. } => Kind::Corrupt,
            _ => Kind::Invalid,
        };
        Self::new(kind, Fault::Validator, "dataset not usable").because(error)
    }
}
