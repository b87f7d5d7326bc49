//! Evaluation tasks that a trained model answers after its held-out rows, from files of the host's.
//!
//! A task asks questions, each a text with several ways to go on of which one is right. What a model thinks of each way is
//! the log-likelihood of its bytes, per byte; nothing is generated, and no answer is parsed. The questions are part of the
//! dataset and so of what a run's task is named by, and all that is compared is asked the same.
//!
//! One of its own is anything that implements [`EvaluationTask`], given to [`Corpus::with_benchmarks`].
mod choice;
mod needle;
mod rows;

pub use choice::MultipleChoice;
pub use needle::Needle;
pub(crate) use rows::Asked;

use crate::data::{Corpus, CorpusError};
use prism_core::{Digest, Error, Fault, Kind as ErrorKind, Seed};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// Most bytes of a file.
pub const MAX_BYTES: u64 = 16 << 20;
/// Most questions of a task.
pub const MAX_QUESTIONS: usize = 2000;
/// Most ways to go on.
pub const MAX_CHOICES: usize = 16;
/// Most bytes of a line of a file.
const MAX_LINE: usize = 64 << 10;
/// Longest name.
const MAX_NAME: usize = 40;

/// A text, and ways to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is given.
    pub context: String,
    /// Ways to go on, at least two, none empty.
    pub choices: Vec<String>,
    /// Index of the right one.
    pub answer: usize,
}

/// Asks questions.
///
/// 1. The same corpus, seed and columns give the same questions.
/// 2. Every question has its `answer` among its choices, and at least two of them.
pub trait EvaluationTask: Debug + Send + Sync {
    /// The questions for models that see rows of `columns` tokens. Where a question with its longest choice is longer, the
    /// beginning of its context is cut off.
    ///
    /// # Errors
    /// When text of the corpus can't be read.
    fn questions(&self, corpus: &Corpus, seed: &Seed, columns: usize) -> Result<Vec<Question>, CorpusError>;

    /// Texts that must not stand in the training text: questions with their right answers, of a task that has them from
    /// elsewhere.
    fn texts(&self) -> Vec<String> {
        vec![]
    }
}

/// How a file asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`MultipleChoice`].
    MultipleChoice,
    /// [`Needle`].
    Needle,
}

impl Kind {
    /// What the file of a task of this kind is called in a dataset.
    #[must_use]
    pub fn file_name(self, name: &str) -> String {
        match self {
            Self::MultipleChoice => format!("benchmark-{name}.jsonl"),
            Self::Needle => format!("needle-{name}.json"),
        }
    }
}

/// Whether a task can have this name: letters, digits, `-` and `_`, at most 40 of them.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(plain)
}

/// Why a file is no task. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BenchmarkError {
    /// A name that no task can have.
    #[error("{0:?} is no name of a benchmark: letters, digits, - and _, at most {MAX_NAME}")]
    Name(String),
    /// A line that is no question.
    #[error("line {line}: {reason}")]
    Line {
        /// Where.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// More than is read.
    #[error("more than {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many.
        limit: u64,
    },
    /// A file that says nothing, or nothing that can be done.
    #[error("{0}")]
    Form(String),
}

impl From<BenchmarkError> for Error {
    fn from(error: BenchmarkError) -> Self {
        let kind = if matches!(error, BenchmarkError::Limit { .. }) { ErrorKind::Limit } else { ErrorKind::Invalid };
        Self::new(kind, Fault::Validator, "benchmark not usable").because(error)
    }
}

/// A task with its name, and the digest that stands for all that it asks.
#[derive(Debug)]
pub struct Benchmark {
    name: String,
    kind: Kind,
    digest: Digest,
    task: Box<dyn EvaluationTask>,
}

impl Benchmark {
    /// A task of one's own, that asks as `kind` does; `digest` must be that of all that decides its questions.
    ///
    /// # Errors
    /// A name that no task can have.
    pub fn new(
        name: &str,
        kind: Kind,
        digest: Digest,
        task: impl EvaluationTask + 'static,
    ) -> Result<Self, BenchmarkError> {
        if !is_name(name) {
            return Err(BenchmarkError::Name(name.chars().take(MAX_NAME).collect()));
        }
        Ok(Self { name: name.to_owned(), kind, digest, task: Box::new(task) })
    }

    /// A task of the bytes of a file.
    ///
    /// # Errors
    /// The first line that is not as it must be, or a limit.
    pub fn parse(name: &str, kind: Kind, bytes: &[u8]) -> Result<Self, BenchmarkError> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(BenchmarkError::Limit { what: "bytes", limit: MAX_BYTES });
        }
        let digest = Digest::of(bytes);
        match kind {
            Kind::MultipleChoice => Self::new(name, kind, digest, MultipleChoice::parse(bytes)?),
            Kind::Needle => Self::new(name, kind, digest, Needle::parse(bytes)?),
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it asks.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The digest of its file.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Texts that must not stand in the training text.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.task.texts()
    }

    /// Its questions: see [`EvaluationTask::questions`]. `cohort` is the cohort's seed.
    pub(crate) fn questions(
        &self,
        corpus: &Corpus,
        cohort: &Seed,
        columns: usize,
    ) -> Result<Vec<Question>, CorpusError> {
        self.task.questions(corpus, &cohort.stream("benchmark").stream(&self.name), columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_files_have_their_kinds_name() {
        for bad in ["", "a/b", "..", "a b", "\u{e9}", &"x".repeat(41)] {
            assert!(!is_name(bad), "{bad:?}");
            assert!(Benchmark::parse(bad, Kind::Needle, b"").is_err());
        }
        assert!(is_name("arc_easy-2"));
        assert_eq!(Kind::MultipleChoice.file_name("arc"), "benchmark-arc.jsonl");
        assert_eq!(Kind::Needle.file_name("far"), "needle-far.json");
        let long = vec![b' '; MAX_BYTES as usize + 1];
        let error = Benchmark::parse("a", Kind::MultipleChoice, &long).unwrap_err();
        assert_eq!(error, BenchmarkError::Limit { what: "bytes", limit: MAX_BYTES });
    }
}
