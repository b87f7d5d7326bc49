//! Where submissions come from.
use crate::{
    cancel::Cancel,
    clock::Clock,
    error::{Error, Fault, Kind, Result},
    id::SubmissionId,
    submission::{FailureClass, Submission},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt::Debug, sync::Arc, time::Duration};

/// A place in a source. Opaque to everyone but the source that made it; persisted by the caller in the transaction that
/// accepts the batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// Some submissions and the place after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// In order of precedence.
    pub submissions: Vec<Submission>,
    /// Where to go on.
    pub next: Cursor,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Disposition {
    /// Taken in.
    Accepted,
    /// Known already.
    Duplicate,
    /// Refused before measuring.
    Rejected {
        /// The rule it breaks.
        rule: String,
    },
    /// Measured.
    Completed,
    /// Measuring ended without a result.
    Failed {
        /// Why.
        class: FailureClass,
    },
}

/// Hands out submissions at least once, from a cursor, and is told what became of each.
///
/// 1. At least once: until the caller has gone past a place or settled what came from it, `poll` from there returns the
///    same submissions again, also after a restart; the same submission has the same id.
/// 2. `poll(next)` returns nothing that precedes `next`, and skips nothing.
/// 3. An empty batch means "nothing now"; it returns at once (waiting is [`SourceExt::next_batch`], with a clock).
/// 4. Never more than `max`; order within a source is by [`Precedence`](crate::submission::Precedence).
/// 5. `settle` is idempotent, and tells a later restart nothing that the caller's store doesn't know: losing it loses
///    only courtesy.
/// 6. Dropping a future loses nothing.
#[async_trait]
pub trait SubmissionSource: Debug + Send + Sync + 'static {
    /// The source's name; the key of its cursor in the store.
    fn name(&self) -> &str;
    /// What comes after a cursor; from the start when there is none.
    async fn poll(&self, from: Option<&Cursor>, max: usize) -> Result<Batch>;
    /// Told what became of a submission.
    async fn settle(&self, id: SubmissionId, disposition: &Disposition) -> Result<()>;
}

/// Conveniences over [`SubmissionSource`]; implementers have nothing to write.
#[async_trait]
pub trait SourceExt: SubmissionSource {
    /// Polls until something comes, sleeping `pause` in between.
    ///
    /// # Errors
    /// Those of `poll`, and `Cancelled`.
    async fn next_batch(
        &self,
        from: Option<&Cursor>,
        max: usize,
        clock: &dyn Clock,
        pause: Duration,
        cancel: &Cancel,
    ) -> Result<Batch> {
        loop {
            let batch = self.poll(from, max).await?;
            if !batch.submissions.is_empty() {
                return Ok(batch);
            }
            if cancel.is_cancelled() {
                let text = format!("waiting for source {} was cancelled", self.name());
                return Err(Error::new(Kind::Cancelled, Fault::Policy, text));
            }
            clock.sleep(pause).await;
        }
    }
}

impl<T: SubmissionSource + ?Sized> SourceExt for T {}

/// Never has anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSubmissions;

#[async_trait]
impl SubmissionSource for NoSubmissions {
    fn name(&self) -> &str {
        "none"
    }
    async fn poll(&self, from: Option<&Cursor>, _: usize) -> Result<Batch> {
        Ok(Batch { submissions: vec![], next: from.cloned().unwrap_or_else(|| Cursor(String::new())) })
    }
    async fn settle(&self, _: SubmissionId, _: &Disposition) -> Result<()> {
        Ok(())
    }
}

macro_rules! forward { ($($pointer:ident),*) => { $(
    #[async_trait]
    impl<T: SubmissionSource + ?Sized> SubmissionSource for $pointer<T> {
        fn name(&self) -> &str {
            (**self).name()
        }
        async fn poll(&self, from: Option<&Cursor>, max: usize) -> Result<Batch> {
            (**self).poll(from, max).await
        }
        async fn settle(&self, id: SubmissionId, disposition: &Disposition) -> Result<()> {
            (**self).settle(id, disposition).await
        }
    }
)* } }
forward!(Box, Arc);
