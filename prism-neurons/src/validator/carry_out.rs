//! Workers that carry out the runs that are due: each claims one, gives signs of life, and records how it ended.
use super::Validator;
use crate::store::{
    Store, StoreError,
    claims::{Claim, Next, Terms},
    cohorts::CohortRecord,
};
use async_trait::async_trait;
use futures::future::{Either, join_all, select};
use prism_core::{
    Artifacts, Block, Cancel, Digest, Error, Evidence, Fault, Kind, Result, TaskId,
    evidence::RunOutcome,
    observer::Event,
    submission::FailureClass,
    trainer::{Checkpoints, Surroundings},
};
use prism_eval::{measure::Checkpoint, policy::PrismPolicy};
use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Between two looks at a queue from which nothing can be taken yet.
const LOOK: Duration = Duration::from_secs(2);
/// Signs of life in the time of a lease.
const BEATS: u32 = 3;
/// How often the end of a run, which may be worth hours, is put on record when another process has the database.
const RECORDINGS: u32 = 5;
/// The pause between two of these.
const BETWEEN_RECORDINGS: Duration = Duration::from_secs(1);
/// The kind of alarms about devices.
const ALARM: &str = "devices";

/// How often a run is tried when this machine fails. A subject's own failure is evidence and never tried again; an attempt
/// that was stopped, or whose process ended, is no try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryRule {
    /// Attempts in all.
    pub attempts: u32,
    /// The pause before the second attempt; doubled before each further one, up to an hour. It outlives this process.
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

impl RetryRule {
    /// The pause after a try, from 1.
    fn pause_after(&self, tries: u32) -> Duration {
        let doubled = 1u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        self.pause.saturating_mul(doubled).min(LONGEST_PAUSE)
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
    /// Carries out all runs of a cohort that are due, some at the same time, and waits for those that come again or are
    /// another process's. How many it ended.
    ///
    /// Every worker comes to its end before the first error is told: what fails one must not drop what others have been at
    /// for hours.
    pub(super) async fn carry_out(&self, cohort: &CohortRecord, cancel: &Cancel) -> Result<usize> {
        let workers = (0..self.0.workers).map(|_| self.work(cohort, cancel));
        join_all(workers).await.into_iter().sum()
    }

    async fn work(&self, cohort: &CohortRecord, cancel: &Cancel) -> Result<usize> {
        let mut done = 0;
        let mut known: Option<(Duration, Terms)> = None;
        loop {
            self.go_on(cancel)?;
            let now = self.0.clock.monotonic();
            let fresh = known.as_ref().filter(|(read, _)| now.saturating_sub(*read) < LOOK);
            let terms = match fresh.map(|(_, terms)| terms.clone()) {
                Some(terms) => terms,
                None => known.insert((now, self.terms(cohort).await?)).1.clone(),
            };
            let lease = terms.lease;
            match self.0.store.claim_run(cohort.number, terms, self.0.clock.now()).await? {
                Next::Run(claim) => {
                    self.carry_out_one(&claim, lease, self.policy_of(cohort), cancel).await?;
                    done += 1;
                }
                Next::Later { at, lacking } => {
                    self.tell_of_devices(lacking).await?;
                    let now = self.0.clock.now();
                    let span = at.map_or(LOOK, |at| at.duration_since(now).unwrap_or_default().min(LOOK));
                    select(self.0.clock.sleep(span.max(LOOK / 20)), cancel.cancelled()).await;
                }
                Next::Nothing => {
                    self.tell_of_devices(None).await?;
                    return Ok(done);
                }
            }
        }
    }

    /// How many devices a run gets is the cohort's policy; which devices there are is for the operator to say at any time.
    /// Runs of a seeded cohort ask nothing of the chain, and don't wait for it.
    async fn terms(&self, cohort: &CohortRecord) -> Result<Terms> {
        let block = match self.0.chain.head().await {
            Ok(head) => head.finalized,
            Err(error) => {
                tracing::warn!(error = error.chain(), "no chain: policy as of the last block on record");
                self.0.store.last_block().await?.unwrap_or(Block(0))
            }
        };
        let reading = self.read_policy_at(block).await?;
        let own = self.policy_of(cohort);
        let now = reading.policy.whole.as_deref().filter(|_| reading.inconsistent.is_none()).unwrap_or(own);
        let lease = Duration::from_secs(now.gpu.lease_seconds);
        Ok(Terms { lease, gpu: own.gpu.clone(), targets: now.targets.clone() })
    }

    async fn tell_of_devices(&self, lacking: Option<u32>) -> Result<()> {
        let text = |count| format!("runs wait for {count} devices, and no enabled execution target has as many");
        let standing: Vec<_> = lacking.map(|count| ("targets".to_owned(), text(count))).into_iter().collect();
        for subject in self.0.store.alarm(ALARM, standing, self.0.clock.now()).await? {
            tracing::error!(subject, lacking, "runs wait for devices that no enabled execution target has");
        }
        Ok(())
    }

    /// One attempt at a run, to its evidence, its next turn, or the end of its attempts.
    async fn carry_out_one(&self, claim: &Claim, lease: Duration, policy: &PrismPolicy, cancel: &Cancel) -> Result<()> {
        let id = claim.task.id();
        let checkpoint = self.0.store.checkpoint(id).await?;
        let stopped = cancel.child();
        let training = pin!(self.train(claim, checkpoint, policy, &stopped));
        let trained = match select(training, pin!(self.give_signs_of_life(claim, lease))).await {
            Either::Left((trained, _)) => trained,
            Either::Right((lost, training)) => {
                stopped.cancel();
                // What it would say now is another's to say.
                drop(training.await);
                tracing::warn!(task = %id, attempt = claim.attempt, error = lost.chain(), "run lost to another process");
                return Ok(());
            }
        };
        match self.record(claim, trained, cancel).await {
            Err(RecordError::Lost(error)) => {
                tracing::warn!(task = %id, attempt = claim.attempt, error = error.to_string(), "run lost to another process");
                Ok(())
            }
            Err(RecordError::Other(error)) => Err(error),
            Ok(()) => Ok(()),
        }
    }

    async fn record(
        &self,
        claim: &Claim,
        trained: Result<Evidence>,
        cancel: &Cancel,
    ) -> std::result::Result<(), RecordError> {
        let (id, attempt, tries) = (claim.task.id(), claim.attempt, claim.tries);
        let error = match trained {
            Ok(evidence) => {
                // Asked again: there may be another one by now.
                let checkpoint = self.0.store.checkpoint(id).await?;
                let digest = self.finish(claim, &evidence).await?;
                let (class, resumed) = (class(&evidence), evidence.resumed);
                tracing::info!(task = %id, evidence = %digest, class, resumed, "run finished");
                self.forget(checkpoint).await;
                return Ok(());
            }
            Err(error) => error,
        };
        let stop = cancel.is_cancelled();
        let give_up = !stop && tries >= self.0.retry.attempts;
        let now = self.0.clock.now();
        let again: Option<SystemTime> = match (give_up, stop) {
            (true, _) => None,
            (false, true) => Some(now),
            (false, false) => Some(now + self.0.retry.pause_after(tries)),
        };
        let before = if give_up || !goes_on(&error) { self.0.store.drop_checkpoint(id).await? } else { None };
        // What a guest wrote last may be in the text, and the store keeps it: it stays out of ordinary logs.
        tracing::warn!(task = %id, attempt, tries, give_up, kind = ?error.kind(), "run failed on this machine");
        tracing::debug!(task = %id, error = error.chain(), "run failed on this machine");
        self.0.store.fail_run(claim, error.chain(), again, stop, now).await?;
        self.forget(before).await;
        if stop {
            let error = Error::new(Kind::Cancelled, Fault::Policy, format!("run {id} was cancelled"));
            return Err(RecordError::Other(error));
        }
        Ok(())
    }

    /// Puts a run's evidence on record, some seconds later where another process has the database.
    async fn finish(&self, claim: &Claim, evidence: &Evidence) -> std::result::Result<Digest, StoreError> {
        let mut again = 1..RECORDINGS;
        loop {
            match self.0.store.finish_run(claim, evidence, self.0.clock.now()).await {
                Err(error) if error.is_busy() && again.next().is_some() => {
                    tracing::warn!(task = %claim.task.id(), error = %error, "run not recorded yet");
                    self.0.clock.sleep(BETWEEN_RECORDINGS).await;
                }
                ended => return ended,
            }
        }
    }

    /// Extends the lease until it can't, and says why. In real time, whatever the clock: it is about this process.
    async fn give_signs_of_life(&self, claim: &Claim, lease: Duration) -> Error {
        let mut expires = claim.expires;
        loop {
            tokio::time::sleep(lease / BEATS).await;
            let now = self.0.clock.now();
            match self.0.store.beat_run(claim, lease, now).await {
                Ok(extended) => expires = extended,
                Err(error @ (StoreError::State { .. } | StoreError::NotFound { .. })) => return error.into(),
                // Whoever can't tell that he lives has to stop before another begins.
                Err(error) if now >= expires => return error.into(),
                Err(error) => tracing::warn!(task = %claim.task.id(), error = %error, "no sign of life was recorded"),
            }
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
        claim: &Claim,
        checkpoint: Option<Digest>,
        policy: &PrismPolicy,
        cancel: &Cancel,
    ) -> Result<Evidence> {
        let (task, attempt) = (&claim.task, claim.attempt);
        let trainer = self.0.trainers.iter().find(|trainer| trainer.info().takes(&task.subject));
        let Some(trainer) = trainer else {
            let text = format!("no trainer here takes task {}", task.id());
            return Err(Error::new(Kind::Unsupported, Fault::Validator, text));
        };
        let (store, artifacts) = (self.0.store.clone(), Arc::clone(&self.0.artifacts));
        let kept = Kept { store, artifacts, task: task.id(), attempt };
        let devices = claim.devices.as_ref().map(|devices| devices.ids.clone()).unwrap_or_default();
        let around = Surroundings::new(Arc::clone(&self.0.artifacts))
            .observed_by(Arc::clone(&self.0.observer))
            .cancelled_by(cancel.child())
            .with_checkpoints(Arc::new(kept), self.0.retry.checkpoint_every)
            .in_attempt(attempt, checkpoint)
            .on_devices(devices)
            .within(policy.sandbox.limits());
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

/// Why the end of a run is not on record.
enum RecordError {
    /// It is another process's by now, and what this one has to say of it doesn't count.
    Lost(StoreError),
    /// Anything else.
    Other(Error),
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::State { what: "run", .. } => Self::Lost(error),
            error => Self::Other(error.into()),
        }
    }
}

/// How a run ended, in a word: what guests said in it stays in the evidence until the cohort is settled.
fn class(evidence: &Evidence) -> &'static str {
    match &evidence.outcome {
        RunOutcome::Completed => "completed",
        RunOutcome::Failed { class, .. } => class.as_str(),
    }
}
