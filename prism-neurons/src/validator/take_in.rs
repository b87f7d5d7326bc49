//! From the sources to submissions on record.
use super::Validator;
use prism_core::{Result, observer::Event, source::Disposition};

/// Submissions that one poll may return.
const BATCH: usize = 64;

impl Validator {
    /// Polls every source once. The batch and the cursor behind it go into one transaction. Whether anything came.
    pub(super) async fn take_in_step(&self) -> Result<bool> {
        let parts = &self.0;
        let mut any = false;
        for source in &parts.sources {
            let cursor = parts.store.cursor(source.name()).await?;
            let batch = match source.poll(cursor.as_ref(), BATCH).await {
                Ok(batch) => batch,
                // One source that fails keeps nobody from the others; its cursor stays where it is.
                Err(error) => {
                    tracing::error!(source = source.name(), error = error.chain(), "source can't be polled");
                    continue;
                }
            };
            if batch.submissions.is_empty() {
                continue;
            }
            any = true;
            let ids: Vec<_> = batch.submissions.iter().map(|submission| submission.id).collect();
            let new = parts.store.take_in(source.name(), batch, parts.clock.now()).await?;
            for id in ids {
                let fresh = new.contains(&id);
                if fresh {
                    parts.observer.on(&Event::Phase { submission: id, phase: "taken in" });
                }
                let disposition = if fresh { Disposition::Accepted } else { Disposition::Duplicate };
                // Losing this loses only courtesy: the store has it.
                if let Err(error) = source.settle(id, &disposition).await {
                    tracing::warn!(source = source.name(), submission = %id, error = error.chain(), "source not told");
                }
            }
        }
        Ok(any)
    }
}
