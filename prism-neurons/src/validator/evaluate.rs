//! From tasks to evidence: the plan of runs, and workers that carry it out.
use super::{
    Validator,
    material::{BUNDLE, GRAPH, HOOKS, RECIPE},
};
use crate::store::{
    Store,
    cohorts::{CohortRecord, CohortStatus, Entrant, EntrantRole},
    runs::DueRun,
};
use async_trait::async_trait;
use futures::stream::{self, TryStreamExt as _};
use prism_core::{
    Artifacts, Cancel, Digest, Error, Evidence, Fault, Kind, Result, TaskId, TrainTask,
    evidence::RunOutcome,
    observer::Event,
    submission::FailureClass,
    trainer::{Checkpoints, Surroundings},
};
use prism_eval::{
    measure::Checkpoint,
    plan_of_runs::{Architecture, Cohort, Entrant as Measured, Training, plan_further, plan_of_runs},
    policy::PlanPolicy,
};
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

/// What of an entrant is measured.
fn measured(entrant: &Entrant) -> Result<Measured> {
    let material = |name: &str| entrant.material.get(name).copied();
    let declared = material(GRAPH).map(Architecture::Declared);
    let architecture = declared.or(material(BUNDLE).map(Architecture::Code));
    let architecture =
        architecture.ok_or_else(|| Error::bug(format!("entrant {} has no architecture", entrant.submission)))?;
    let training = material(RECIPE).map(Training::Declared).or(material(HOOKS).map(Training::Code));
    Ok(Measured { kind: entrant.kind, architecture, training })
}

impl Validator {
    /// Plans the runs of the seeded cohort and carries out those that are due. Whether anything was done.
    pub(super) async fn evaluate_step(&self, cancel: &Cancel) -> Result<bool> {
        let seeded = self.0.store.unsettled_cohort().await?.filter(|c| c.status == CohortStatus::Seeded);
        let Some(cohort) = seeded else { return Ok(false) };
        let entrants = self.0.store.entrants(cohort.number).await?;
        let shared = self.shared_by(&cohort).await?;
        let mut plans = Vec::new();
        for entrant in &entrants {
            plans.push((entrant.submission, plan_of_runs(self.plan_policy(), &shared, &measured(entrant)?)?));
        }
        let mut planned = self.0.store.plan_runs(cohort.number, plans).await?;
        let mut done = self.carry_out(cohort.number, cancel).await?;
        loop {
            let further = self.plan_further(cohort.number, &shared, &entrants).await?;
            if further == 0 {
                return Ok(planned + done > 0);
            }
            planned += further;
            done += self.carry_out(cohort.number, cancel).await?;
        }
    }

    fn plan_policy(&self) -> &PlanPolicy {
        &self.0.policy.plan
    }

    async fn shared_by(&self, cohort: &CohortRecord) -> Result<Cohort> {
        let Some(seed) = cohort.seed else {
            return Err(Error::bug(format!("cohort {} is seeded and has no seed", cohort.number)));
        };
        Cohort::new(seed, self.0.data.clone(), self.plan_policy(), &*self.0.artifacts).await
    }

    /// Plans what follows from the evidence so far. How many runs are new.
    async fn plan_further(&self, cohort: u64, shared: &Cohort, entrants: &[Entrant]) -> Result<usize> {
        let evidence = self.0.store.evidence(cohort).await?;
        let mut plans = Vec::new();
        for entrant in entrants {
            let runs = evidence.get(&entrant.submission).map(Vec::as_slice).unwrap_or_default();
            let baseline = entrant.role == EntrantRole::Baseline;
            let tasks = plan_further(self.plan_policy(), shared, &measured(entrant)?, baseline, runs)?;
            plans.push((entrant.submission, tasks));
        }
        Ok(self.0.store.plan_runs(cohort, plans).await?)
    }

    /// Carries out all due runs of a cohort, some at the same time. How many.
    async fn carry_out(&self, cohort: u64, cancel: &Cancel) -> Result<usize> {
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
