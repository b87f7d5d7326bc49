//! What came over HTTP, as a source of submissions.
use crate::store::Store;
use async_trait::async_trait;
use prism_core::{
    Error, Fault, Kind, Result, SubmissionId, SubmissionSource,
    source::{Batch, Cursor, Disposition},
};

/// The accepted requests, in the order of acceptance. Precedence is local: the finalized head at acceptance, then the
/// arrival number.
#[derive(Debug, Clone)]
pub struct IntakeSource(Store);

impl IntakeSource {
    /// The source over a store that an intake writes to.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self(store)
    }
}

#[async_trait]
impl SubmissionSource for IntakeSource {
    fn name(&self) -> &str {
        "http"
    }

    async fn poll(&self, from: Option<&Cursor>, max: usize) -> Result<Batch> {
        let after = match from {
            None => 0,
            Some(Cursor(text)) => text.parse().map_err(|_| {
                Error::new(
                    Kind::Corrupt,
                    Fault::Validator,
                    format!("cursor {text:?} of source http is no arrival number"),
                )
            })?,
        };
        let arrivals = self.0.arrivals_after(after, max).await?;
        let next = arrivals.last().map_or(after, |last| last.arrival);
        let submissions = arrivals.into_iter().map(|arrival| arrival.submission).collect();
        Ok(Batch { submissions, next: Cursor(next.to_string()) })
    }

    /// Nothing to do: a miner asks for the status, which the store has.
    async fn settle(&self, _: SubmissionId, _: &Disposition) -> Result<()> {
        Ok(())
    }
}
