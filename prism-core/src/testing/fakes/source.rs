use crate::{
    error::{Error, Fault, Kind, Result},
    id::SubmissionId,
    source::{Batch, Cursor, Disposition, SubmissionSource},
    submission::Submission,
};
use async_trait::async_trait;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A source over a list. Its cursor is the number of submissions before it.
#[derive(Debug, Clone, Default)]
pub struct MemorySource(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    submissions: Vec<Submission>,
    settled: Vec<(SubmissionId, Disposition)>,
}

impl MemorySource {
    /// Nothing to hand out yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a submission, which must come after all others in precedence.
    ///
    /// # Errors
    /// `Conflict` when it doesn't.
    pub fn push(&self, submission: Submission) -> Result<()> {
        let mut state = self.lock();
        if state.submissions.last().is_some_and(|last| last.precedence >= submission.precedence) {
            let text = format!("submission {} does not come after the last one", submission.id.short());
            return Err(Error::new(Kind::Conflict, Fault::Validator, text));
        }
        state.submissions.push(submission);
        Ok(())
    }

    /// What it was told, in the order of telling, repetitions included.
    #[must_use]
    pub fn settled(&self) -> Vec<(SubmissionId, Disposition)> {
        self.lock().settled.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SubmissionSource for MemorySource {
    fn name(&self) -> &str {
        "memory"
    }

    async fn poll(&self, from: Option<&Cursor>, max: usize) -> Result<Batch> {
        let place = match from {
            None => 0,
            Some(Cursor(text)) => text.parse::<usize>().map_err(|error| {
                Error::new(Kind::Invalid, Fault::Validator, format!("{text:?} is no cursor of source memory"))
                    .because(error)
            })?,
        };
        let submissions: Vec<_> = self.lock().submissions.iter().skip(place).take(max).cloned().collect();
        let next = Cursor(place.saturating_add(submissions.len()).to_string());
        Ok(Batch { submissions, next })
    }

    async fn settle(&self, id: SubmissionId, disposition: &Disposition) -> Result<()> {
        self.lock().settled.push((id, disposition.clone()));
        Ok(())
    }
}
