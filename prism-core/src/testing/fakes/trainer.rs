use crate::{
    channel::ByteSourceExt,
    error::{Error, Fault, Kind, Result},
    evidence::Evidence,
    observer::Event,
    plan::{Subject, TrainTask},
    testing::drive::yield_once,
    trainer::{Surroundings, Trainer, TrainerInfo},
};
use async_trait::async_trait;
use std::fmt;

/// More than a sample subject has.
const SUBJECT_LIMIT: u64 = 1 << 20;

/// How a scripted run goes.
#[derive(Debug)]
pub enum Script {
    /// Ends with this evidence.
    Shows(Box<Evidence>),
    /// This machine fails.
    Fails(Error),
    /// Goes on until it is cancelled.
    Endless,
}

/// A trainer from a function of its task. It opens the subject's bytes, reports progress and measuring points, and
/// trains nothing: its numbers are the script's.
pub struct ScriptedTrainer {
    script: Box<dyn Fn(&TrainTask) -> Script + Send + Sync>,
    guest: bool,
}

impl ScriptedTrainer {
    /// A trainer that does as the script says. [`sample::evidence`](crate::testing::sample::evidence) is a start.
    pub fn new(script: impl Fn(&TrainTask) -> Script + Send + Sync + 'static) -> Self {
        Self { script: Box::new(script), guest: true }
    }

    /// The same, taking bundles of Python or not.
    #[must_use]
    pub fn with_python(mut self, takes: bool) -> Self {
        self.guest = takes;
        self
    }
}

impl fmt::Debug for ScriptedTrainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedTrainer").finish_non_exhaustive()
    }
}

#[async_trait]
impl Trainer for ScriptedTrainer {
    fn info(&self) -> TrainerInfo {
        TrainerInfo {
            name: "scripted".into(),
            version: "1".into(),
            native: true,
            guest: self.guest,
            devices: vec!["none".into()],
            same_bits: true,
        }
    }

    async fn train(&self, task: &TrainTask, around: &Surroundings) -> Result<Evidence> {
        let bytes = match &task.subject {
            Subject::Native { graph, recipe } => vec![*graph, *recipe],
            Subject::Guest { bundle, recipe } => [*bundle].into_iter().chain(*recipe).collect(),
            Subject::Weights { model } => vec![*model],
        };
        for digest in bytes {
            around.artifacts.open(digest).await?.read_all("subject", SUBJECT_LIMIT).await?;
        }
        yield_once().await;
        if around.cancel.is_cancelled() {
            return Err(cancelled(task));
        }
        match (self.script)(task) {
            Script::Fails(error) => Err(error),
            Script::Endless => {
                around.cancel.cancelled().await;
                Err(cancelled(task))
            }
            Script::Shows(evidence) => {
                for point in &evidence.points {
                    let (id, of) = (task.id(), task.budget.steps);
                    around.observer.on(&Event::Progress { task: id, done: point.step, of });
                    around.observer.on(&Event::Measured { task: id, point });
                }
                Ok(*evidence)
            }
        }
    }
}

fn cancelled(task: &TrainTask) -> Error {
    Error::new(Kind::Cancelled, Fault::Policy, format!("task {} was cancelled", task.id().short()))
}
