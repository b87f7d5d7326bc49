//! Carrying out one training task.
use crate::{
    artifacts::Artifacts,
    cancel::Cancel,
    error::Result,
    evidence::Evidence,
    id::Digest,
    observer::{Observer, Unobserved},
    plan::{Subject, TrainTask},
    sandbox::Limits,
    seed::Seed,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt::Debug, sync::Arc, time::Duration};

/// What a trainer is and can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainerInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Takes architectures without code.
    pub native: bool,
    /// Takes bundles of Python.
    pub guest: bool,
    /// The devices it may use.
    pub devices: Vec<String>,
    /// Whether a repeat on the same device and build gives the same bits.
    pub same_bits: bool,
}

impl TrainerInfo {
    /// Whether it takes this kind of subject.
    #[must_use]
    pub fn takes(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Native { .. } => self.native,
            Subject::Guest { .. } => self.guest,
            Subject::Weights { .. } => false,
        }
    }
}

/// What a trainer may touch besides its task. A struct, so that a later field breaks nobody.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Surroundings {
    /// Where bytes are opened and kept.
    pub artifacts: Arc<dyn Artifacts>,
    /// Who is told of progress.
    pub observer: Arc<dyn Observer>,
    /// Whether to stop.
    pub cancel: Cancel,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The checkpoint to go on from, as an earlier attempt's trainer told [`Checkpoints`]. Only after a failure of the
    /// machine: what the subject did itself is final.
    pub resume: Option<Digest>,
    /// Who is told of checkpoints; without anybody there are none, and every attempt starts anew.
    pub checkpoints: Option<Arc<dyn Checkpoints>>,
    /// The least wall clock between two checkpoints, and before the first.
    pub checkpoint_every: Duration,
    /// Root of the secret draws of audits: which positions, which decoys. `None`, as in production, for randomness of
    /// the operating system: no seed that a miner could ever learn.
    pub secret: Option<Seed>,
    /// Devices that the run has to itself, by the sandbox's ids; none for a run on the processor.
    pub devices: Vec<String>,
    /// What each sandbox of the run may use, but for wall clock, processor time and bytes on the channel, which stay the
    /// trainer's; all the trainer's without.
    pub limits: Option<Limits>,
}

impl Surroundings {
    /// A first attempt that nobody watches.
    #[must_use]
    pub fn new(artifacts: Arc<dyn Artifacts>) -> Self {
        Self {
            artifacts,
            observer: Arc::new(Unobserved),
            cancel: Cancel::new(),
            attempt: 1,
            resume: None,
            checkpoints: None,
            checkpoint_every: Duration::ZERO,
            secret: None,
            devices: Vec::new(),
            limits: None,
        }
    }

    /// The same, watched.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// The same, with checkpoints at measuring points, this far apart at least.
    #[must_use]
    pub fn with_checkpoints(mut self, checkpoints: Arc<dyn Checkpoints>, every: Duration) -> Self {
        (self.checkpoints, self.checkpoint_every) = (Some(checkpoints), every);
        self
    }

    /// The same as a later attempt, which goes on from a checkpoint if there is one.
    #[must_use]
    pub fn in_attempt(mut self, attempt: u32, resume: Option<Digest>) -> Self {
        (self.attempt, self.resume) = (attempt, resume);
        self
    }

    /// The same, with audits that can be repeated. For tests: whoever knows the seed knows the audits.
    #[must_use]
    pub fn with_secret(mut self, secret: Seed) -> Self {
        self.secret = Some(secret);
        self
    }

    /// The same, with devices to itself.
    #[must_use]
    pub fn on_devices(mut self, devices: Vec<String>) -> Self {
        self.devices = devices;
        self
    }

    /// The same, with limits on each sandbox.
    #[must_use]
    pub fn within(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// The same, with a token that stops it.
    #[must_use]
    pub fn cancelled_by(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }
}

/// Keeps word of how far a run has come, so that another attempt at it can go on from there. The bytes are among the
/// artifacts.
#[async_trait]
pub trait Checkpoints: Debug + Send + Sync + 'static {
    /// A run's newest checkpoint; once this returns, it is what the next attempt is given, and the one before may be
    /// forgotten.
    async fn newest(&self, checkpoint: Digest) -> Result<()>;
}

/// Carries out one training task within a budget and returns evidence.
///
/// 1. Same task, same device, same build: the same evidence, but for the clocks
///    ([`Evidence::without_clock`]), where `info().same_bits` says so.
/// 2. A failure of the subject is evidence ([`RunOutcome::Failed`](crate::evidence::RunOutcome)), not an error; `Err`
///    means this machine failed and the task may be tried again.
/// 3. Spends at most the budget.
/// 4. Ends within 5 s of cancellation.
/// 5. The future yields: blocking compute runs on a thread of the trainer's own.
/// 6. Evidence names the task it answers, in full.
/// 7. No value marked `Host` was computed where the subject's code runs.
#[async_trait]
pub trait Trainer: Debug + Send + Sync + 'static {
    /// What it is and can do.
    fn info(&self) -> TrainerInfo;
    /// Carries out a task.
    async fn train(&self, task: &TrainTask, around: &Surroundings) -> Result<Evidence>;
}

macro_rules! forward { ($($pointer:ident),*) => { $(
    #[async_trait]
    impl<T: Trainer + ?Sized> Trainer for $pointer<T> {
        fn info(&self) -> TrainerInfo {
            (**self).info()
        }
        async fn train(&self, task: &TrainTask, around: &Surroundings) -> Result<Evidence> {
            (**self).train(task, around).await
        }
    }
)* } }
forward!(Box, Arc);
