//! Workers that carry out the runs that are due.
use super::Validator;
use crate::store::{Store, runs::DueRun};
use async_trait::async_trait;
use futures::stream::{self, TryStreamExt as _};
use prism_core::{
    Artifacts, Cancel, Digest, Error, Evidence, Fault, Kind, Result, TaskId, TrainTask,
    evidence::RunOutcome,
    observer::Event,
    submission::FailureClass,
    trainer::{Checkpoints, Surroundings},
};
use prism_eval::measure::Checkpoint;
use std::{sync::Arc, time::Duration};

/// How often a run is tried when this machine fails. A subject's own failure is evidence and never tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// Attempts in all.
    pub attempts: u32,
    /// The pause before the second attempt; doubled before each further one.
    pub pause: Duration,
    /// The least wall clock between two checkpoints of a run, and before the first. A shorter run starts anew, and is
    /// paired with all others row by row; one that was resumed is not, and wins no title.
    pub checkpoint_every: Duration,
}

impl Default for RetryRule {
    fn default() -> Self {
        Self { attempts: 3, pause: Duration::from_secs(10), checkpoint_every: Duration::from_secs(600) }
    }
}

/// Keeps word of the checkpoints of one attempt.
#[derive(Debug)]
struct Kept {
    store: Store,
    artifacts: Arc<dyn Artifacts>,
    task: TaskId,
    attempt: u32,
}

#[async_trait]
impl Checkpoints for Kept {
    async fn newest(&self, checkpoint: Digest) -> Result<()> {
        let before = self.store.record_checkpoint(self.task, self.attempt, checkpoint).await?;
        tracing::debug!(task = %self.task, attempt = self.attempt, checkpoint = %checkpoint, "run saved");
        match before {
            Some(before) => Checkpoint::forget(&*self.artifacts, before, Some(checkpoint)).await,
            None => Ok(()),
        }
    }
}

/// Whether the next attempt may go on from a checkpoint: the machine failed, or somebody stopped it.
fn goes_on(error: &Error) -> bool {
    error.kind() == Kind::Cancelled || error.fault() == Fault::Infrastructure
}

impl Validator {
    /// Carries out all due runs of a cohort, some at the same time. How many.
    pub(super) async fn carry_out(&self, cohort: u64, cancel: &Cancel) -> Result<usize> {
        let due = self.0.store.due_runs(cohort).await?;
        stream::iter(due.into_iter().map(Ok))
            .map_ok(|run| self.carry_out_one(run, cancel))
            .try_buffer_unordered(self.0.workers)
            .try_fold(0, async |done, ()| Ok(done + 1))
            .await
    }

    /// One run to its evidence, or to the end of its attempts.
    async fn carry_out_one(&self, run: DueRun, cancel: &Cancel) -> Result<()> {
        let id = run.task.id();
        let mut pause = self.0.retry.pause;
        loop {
            let attempt = self.0.store.start_run(id, self.0.clock.now()).await?;
            let checkpoint = self.0.store.checkpoint(id).await?;
            let error = match self.train(&run.task, attempt, checkpoint, cancel).await {
                Ok(evidence) => {
                    // Asked again: there may be another one by now.
                    let checkpoint = self.0.store.checkpoint(id).await?;
                    let digest = self.0.store.finish_run(&evidence, self.0.clock.now()).await?;
                    let (class, resumed) = (class(&evidence), evidence.resumed);
                    tracing::info!(task = %id, evidence = %digest, class, resumed, "run finished");
                    self.forget(checkpoint).await;
                    return Ok(());
                }
                Err(error) => error,
            };
            let stop = cancel.is_cancelled();
            let give_up = !stop && attempt >= self.0.retry.attempts;
            if give_up || !goes_on(&error) {
                let checkpoint = self.0.store.drop_checkpoint(id).await?;
                self.forget(checkpoint).await;
            }
            // What a guest wrote last may be in the text, and the store keeps it: it stays out of ordinary logs.
            tracing::warn!(task = %id, attempt, give_up, kind = ?error.kind(), "run failed on this machine");
            tracing::debug!(task = %id, error = error.chain(), "run failed on this machine");
            self.0.store.fail_run(id, error.chain(), give_up, self.0.clock.now()).await?;
            if stop {
                return Err(Error::new(Kind::Cancelled, Fault::Policy, format!("run {id} was cancelled")));
            }
            if give_up {
                return Ok(());
            }
            futures::future::select(self.0.clock.sleep(pause), cancel.cancelled()).await;
            pause = pause.saturating_mul(2);
        }
    }

    /// Forgets a checkpoint that nobody goes on from. One that stays takes room and harms nobody.
    async fn forget(&self, checkpoint: Option<Digest>) {
        let Some(checkpoint) = checkpoint else { return };
        if let Err(error) = Checkpoint::forget(&*self.0.artifacts, checkpoint, None).await {
            tracing::warn!(checkpoint = %checkpoint, error = error.chain(), "checkpoint not removed");
        }
    }

    async fn train(
        &self,
        task: &TrainTask,
        attempt: u32,
        checkpoint: Option<Digest>,
        cancel: &Cancel,
    ) -> Result<Evidence> {
        let trainer = self.0.trainers.iter().find(|trainer| trainer.info().takes(&task.subject));
        let Some(trainer) = trainer else {
            let text = format!("no trainer here takes task {}", task.id());
            return Err(Error::new(Kind::Unsupported, Fault::Validator, text));
        };
        let (store, artifacts) = (self.0.store.clone(), Arc::clone(&self.0.artifacts));
        let kept = Kept { store, artifacts, task: task.id(), attempt };
        let around = Surroundings::new(Arc::clone(&self.0.artifacts))
            .observed_by(Arc::clone(&self.0.observer))
            .cancelled_by(cancel.child())
            .with_checkpoints(Arc::new(kept), self.0.retry.checkpoint_every)
            .in_attempt(attempt, checkpoint);
        let evidence = trainer.train(task, &around).await?;
        // A run that was stopped showed nothing about its subject: it is to be done again.
        if matches!(evidence.outcome, RunOutcome::Failed { class: FailureClass::Cancelled, .. }) {
            return Err(Error::new(Kind::Cancelled, Fault::Policy, format!("run {} was stopped", task.id())));
        }
        if evidence.task != *task {
            let name = trainer.info().name;
            return Err(Error::bug(format!("trainer {name} answered task {} with another's evidence", task.id())));
        }
        let of = task.budget.steps;
        self.0.observer.on(&Event::Progress { task: task.id(), done: of, of });
        Ok(evidence)
    }
}

/// How a run ended, in a word: what guests said in it stays in the evidence until the cohort is settled.
fn class(evidence: &Evidence) -> &'static str {
    match &evidence.outcome {
        RunOutcome::Completed => "completed",
        RunOutcome::Failed { class, .. } => class.as_str(),
    }
}
