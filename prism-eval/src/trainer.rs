//! The native trainer: opens an architecture and a recipe by digest, and lets the native player play them.
use crate::{
    data::{Corpus, Dealer},
    graph::{Context, Limits, MAX_CANONICAL_BYTES, ResolvedGraph},
    measure,
    native::{NativePlayer, Network, PlayerSettings},
    recipe::Recipe,
};
use async_trait::async_trait;
use futures::{channel::oneshot, executor::block_on};
use prism_core::{
    Digest, Error, Evidence, Fault, Kind, Result, TrainTask, Trainer,
    artifacts::ArtifactsExt,
    plan::{Budget, Subject},
    trainer::{Surroundings, TrainerInfo},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

/// Name and version of what computes, as evidence records it.
pub const ENGINE: &str = concat!("native/", env!("CARGO_PKG_VERSION"), " burn/0.22.1 flex");

/// Trains architectures without code in this process, each run on threads of its own.
///
/// A task's recipe is taken as its digest names it: [`RunRole`](prism_core::plan::RunRole) says what a run is for and
/// scales nothing.
#[derive(Debug, Clone)]
pub struct NativeTrainer {
    corpus: Arc<Corpus>,
    threads: usize,
}

impl NativeTrainer {
    /// A trainer over one dataset, with one thread per run.
    #[must_use]
    pub fn new(corpus: Arc<Corpus>) -> Self {
        Self { corpus, threads: 1 }
    }

    /// The same with more threads per run. No bit of the evidence depends on it.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }
}

#[async_trait]
impl Trainer for NativeTrainer {
    fn info(&self) -> TrainerInfo {
        TrainerInfo {
            name: "native".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            native: true,
            guest: false,
            devices: vec!["cpu".into()],
            same_bits: true,
        }
    }

    async fn train(&self, task: &TrainTask, around: &Surroundings) -> Result<Evidence> {
        let Subject::Native { graph, recipe } = task.subject else {
            let text = "native trainer takes architectures without code only";
            return Err(Error::new(Kind::Unsupported, Fault::Validator, text));
        };
        if around.resume.is_some() {
            let text = "native trainer starts every run anew";
            return Err(Error::new(Kind::Unsupported, Fault::Validator, text));
        }
        measure::plan::check(task)?;
        let rows = Dealer::new(&self.corpus, task)?;
        let limits = limits(task)?;
        let graph = ResolvedGraph::from_canonical_bytes(&open(around, graph).await?, &limits).map_err(foreign)?;
        let recipe = Recipe::from_canonical_bytes(&open(around, recipe).await?).map_err(foreign)?;
        let run = Run { task: task.clone(), rows, recipe, graph, threads: self.threads };
        // Dropping the future ends the run: nobody waits for it.
        let guard = CancelOnDrop(around.cancel.child());
        let (around, cancel) = (around.clone(), guard.0.clone());
        let (send, receive) = oneshot::channel();
        let thread = thread::Builder::new().name("native-run".into()).spawn(move || {
            let done = catch_unwind(AssertUnwindSafe(|| block_on(run.carry_out(around.cancelled_by(cancel)))));
            // Nobody listens when the future was dropped.
            let _ = send.send(done.unwrap_or_else(|_| Err(Error::bug("native run panicked"))));
        });
        thread.map_err(|e| {
            Error::new(Kind::Unavailable, Fault::Infrastructure, "thread of the native trainer not startable")
                .because(e)
        })?;
        receive.await.unwrap_or_else(|_| Err(Error::bug("native run ended without a result")))
    }
}

#[derive(Debug)]
struct CancelOnDrop(prism_core::Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Bytes of a canonical document.
async fn open(around: &Surroundings, digest: Digest) -> Result<Vec<u8>> {
    around.artifacts.read(digest, MAX_CANONICAL_BYTES as u64).await
}

/// The bounds that the task's context sets.
fn limits(task: &TrainTask) -> Result<Limits> {
    let context = Context::from_map(&task.context)
        .map_err(|e| Error::new(Kind::Invalid, Fault::Validator, "task has no usable context").because(e))?;
    Ok(Limits::default().within(&context))
}

/// This program wrote the document, under the same bounds.
fn foreign(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Corrupt, Fault::Validator, "document of the task is not one of this version").because(error)
}

/// All that one run needs, on its way to its thread.
#[derive(Debug)]
struct Run {
    task: TrainTask,
    rows: Dealer,
    recipe: Recipe,
    graph: ResolvedGraph,
    threads: usize,
}

impl Run {
    async fn carry_out(mut self, around: Surroundings) -> Result<Evidence> {
        let network = Network::new(self.graph)?;
        let (graph, data) = (network.graph().vocabulary, self.task.data.vocabulary);
        if graph != data {
            let text = format!("architecture was resolved for {graph} tokens, the task has {data}");
            return Err(Error::new(Kind::Invalid, Fault::Validator, text));
        }
        let cost = network.cost();
        let settings = PlayerSettings { threads: self.threads, cancel: around.cancel.clone() };
        // The schedule spans all steps, those within a batch included.
        let inner = u64::from(self.task.role.inner_steps());
        let budget = Budget { steps: self.task.budget.steps.saturating_mul(inner), ..self.task.budget.clone() };
        let player = NativePlayer::new(network, &self.recipe, &budget, self.task.seed, settings);
        let mut evidence = match player {
            Ok(player) => measure::run(Box::new(player), &self.task, &mut self.rows, &around).await?,
            Err(error) => Evidence { outcome: measure::run::failed(error)?, ..measure::run::blank(&self.task) },
        };
        evidence.counters.insert("parameters".into(), cost.parameters);
        evidence.counters.insert("flops_per_token".into(), cost.flops_per_token);
        evidence.engine = ENGINE.into();
        evidence.device = format!("cpu/{}", std::env::consts::ARCH);
        Ok(evidence)
    }
}

#[cfg(test)]
mod tests;
