//! The validator: one loop over the seams. Each step is one file; between two steps everything is in the store, so that a
//! kill anywhere loses nothing.
//!
//! | step | file |
//! |---|---|
//! | sources to submissions | `take_in` |
//! | submissions to what is measured | `examine` |
//! | what is held, and for how long | `holds` |
//! | cohorts open, close and get their seed | `cohort` |
//! | the policy in force | `policy` |
//! | the plan of runs | `evaluate` |
//! | runs to evidence | `carry_out` |
//! | evidence to score cards and standings | `settle` |
//! | settled cohorts to run manifests | `manifests` |
//! | standings to weights on the chain | `pay` |
//!
//! [`Validator::listen`] is the door that submissions come in by.
mod baseline;
mod builder;
mod carry_out;
mod cohort;
mod evaluate;
mod examine;
#[cfg(test)]
mod hold_tests;
mod holds;
mod listen;
mod lots;
mod manifests;
mod material;
#[cfg(test)]
mod outage_tests;
mod pay;
#[cfg(test)]
mod plan_tests;
mod policy;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod sealed_tests;
mod settle;
mod take_in;
#[cfg(test)]
pub(crate) mod tests;

pub use baseline::{Baseline, Published};
pub use builder::{BuildError, ValidatorBuilder};
pub use carry_out::RetryRule;
pub use cohort::{CohortRule, SeedRule};

use crate::store::Store;
use prism_core::{
    Artifacts, Cancel, ChainView, Clock, Error, Fault, Kind, MechanismId, Netuid, Observer, Result, Retry, Reviewer,
    RewardPolicy, Scorer, SubmissionSource, Trainer, WeightSetter, plan::DataRef,
};
use prism_eval::{policy::PrismPolicy, run_manifest::DatasetRecord};
use std::{sync::Arc, time::Duration};

/// The pause between two looks at the sources and the chain when there was nothing to do.
const PAUSE: Duration = Duration::from_secs(2);
/// The pause after a failure that time alone may not mend.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// A validator, composed by [`Validator::builder`]. Clones share everything.
#[derive(Debug, Clone)]
pub struct Validator(Arc<Parts>);

/// What a validator is made of.
#[derive(Debug)]
struct Parts {
    netuid: Netuid,
    mechanism: MechanismId,
    chain: Arc<dyn ChainView>,
    sources: Vec<Arc<dyn SubmissionSource>>,
    store: Store,
    artifacts: Arc<dyn Artifacts>,
    reviewers: Vec<Arc<dyn Reviewer>>,
    trainers: Vec<Arc<dyn Trainer>>,
    scorer: Arc<dyn Scorer>,
    reward: Arc<dyn RewardPolicy>,
    weight_setter: Arc<dyn WeightSetter>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    policy: PrismPolicy,
    data: DataRef,
    dataset: DatasetRecord,
    baselines: Vec<Baseline>,
    cohorts: CohortRule,
    workers: usize,
    retry: RetryRule,
}

impl Validator {
    /// A builder with nothing in it but the defaults of what has one.
    pub fn builder() -> ValidatorBuilder {
        ValidatorBuilder::new()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Runs until cancelled: measuring and paying side by side. A step that fails is logged and tried again, later where
    /// an operator has to look first.
    ///
    /// # Errors
    /// Those of [`Validator::start`]; `Bug`, when a rule of this program is broken.
    pub async fn run(&self, cancel: &Cancel) -> Result<()> {
        self.start().await?;
        let measuring = self.repeat("measuring", cancel, async || self.measure_step(cancel).await);
        let paying = self.repeat("paying", cancel, async || self.pay_step().await);
        futures::future::try_join(measuring, paying).await?;
        Ok(())
    }

    /// Takes in what there is, closes the open cohort at once, measures it, settles it and sees its weights through to
    /// the end of their receipt. For demonstrations, tests and operators who don't want to wait for the cohort's block.
    ///
    /// # Errors
    /// Those of the steps; `Cancelled`.
    pub async fn run_cohort(&self, cancel: &Cancel) -> Result<()> {
        self.start().await?;
        // An extrinsic of an earlier epoch that is on its way is seen through first.
        while self.store().open_receipts().await?.iter().any(|record| record.receipt.stage.is_sending()) {
            self.pay_step().await?;
            self.pause(cancel).await?;
        }
        while self.take_in_step().await? || self.expire_step().await? || self.examine_step(cancel).await? {
            self.go_on(cancel)?;
        }
        // Nothing to measure, or a restart that finds its cohort on the way.
        if self.has_entrants().await? {
            self.close_now().await?;
        }
        while self.store().unsettled_cohort().await?.is_some() {
            if !self.seed_step().await? && !self.evaluate_step(cancel).await? && !self.settle_step().await? {
                self.pause(cancel).await?;
            }
        }
        self.compare_losses().await;
        // One vector: where epochs are short, the next one is due by the time that this has landed.
        let head = self.0.chain.head().await?;
        let epoch = self.0.chain.epoch_at(self.0.netuid, head.finalized).await?;
        loop {
            match self.pay_step().await {
                Ok(step) if step.is_done() => return Ok(()),
                Ok(_) if self.store().last_landed().await? >= Some(epoch) => return Ok(()),
                Err(error) if error.retry_class() == Retry::Never => return Err(error),
                Ok(_) | Err(_) => self.pause(cancel).await?,
            }
        }
    }

    /// What a start owes: runs that were going on are pending again, the published families are on record, a cohort is
    /// open. [`Validator::run`] begins with it; call it before requests are served, so that the first finds all in place.
    ///
    /// # Errors
    /// Those of store and chain.
    pub async fn start(&self) -> Result<()> {
        self.store().recover_runs(self.0.clock.now()).await?;
        self.publish_baselines().await?;
        self.ensure_open_cohort().await?;
        self.write_manifests().await;
        if self.takes_python() {
            let released = self.0.store.release(examine::NO_SANDBOX, self.0.clock.now()).await?;
            if released > 0 {
                tracing::info!(released, "bundles of Python go on: there is a sandbox now");
            }
        }
        // A kill between the settlement and this leaves it to the next start.
        self.compare_losses().await;
        Ok(())
    }

    /// One pass over everything but paying. Whether anything moved.
    async fn measure_step(&self, cancel: &Cancel) -> Result<Step> {
        let mut moved = false;
        // All of it: what came while the last cohort was measured came in time for the one that closes now, and a cohort is
        // seeded only when nothing in it is unexamined.
        while self.take_in_step().await? || self.expire_step().await? || self.examine_step(cancel).await? {
            self.go_on(cancel)?;
            moved = true;
        }
        moved |= self.close_step().await?;
        moved |= self.seed_step().await?;
        moved |= self.evaluate_step(cancel).await?;
        if self.settle_step().await? {
            self.compare_losses().await;
            moved = true;
        }
        Ok(if moved { Step::Moved } else { Step::Done })
    }

    async fn repeat(&self, what: &str, cancel: &Cancel, step: impl AsyncFn() -> Result<Step>) -> Result<()> {
        while !cancel.is_cancelled() {
            let pause = match step().await {
                Ok(Step::Moved) => Duration::ZERO,
                Ok(_) => PAUSE,
                Err(error) if cancel.is_cancelled() && error.kind() == Kind::Cancelled => break,
                // A rule of this program is broken: what it would do next can't be trusted.
                Err(error) if error.kind() == Kind::Bug => return Err(error),
                Err(error) => {
                    tracing::error!(error = error.chain(), "{what} failed and is tried again");
                    match error.retry_class() {
                        Retry::Now => PAUSE,
                        Retry::After(span) => span.clamp(PAUSE, LONGEST_PAUSE),
                        // Stake, permit, policy, a full disk: an operator has to look, and nothing else should stop.
                        _ => LONGEST_PAUSE,
                    }
                }
            };
            if pause > Duration::ZERO {
                futures::future::select(self.0.clock.sleep(pause), cancel.cancelled()).await;
            }
        }
        Ok(())
    }

    async fn pause(&self, cancel: &Cancel) -> Result<()> {
        // Shorter than in the endless loop: somebody waits.
        futures::future::select(self.0.clock.sleep(PAUSE / 8), cancel.cancelled()).await;
        self.go_on(cancel)
    }

    /// `Cancelled` when somebody asked to stop.
    fn go_on(&self, cancel: &Cancel) -> Result<()> {
        if cancel.is_cancelled() {
            return Err(Error::new(Kind::Cancelled, Fault::Policy, "validator stopped"));
        }
        Ok(())
    }
}

/// What came of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Something moved; there may be more.
    Moved,
    /// Something is under way on the chain; look again later.
    Waiting,
    /// There is nothing to do.
    Done,
}

impl Step {
    fn is_done(self) -> bool {
        self == Self::Done
    }
}
