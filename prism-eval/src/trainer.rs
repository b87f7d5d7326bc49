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
    plan::Subject,
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
        let player = NativePlayer::new(network, &self.recipe, &self.task.budget, self.task.seed, settings);
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
mod tests {
    use super::*;
    use crate::{
        data::fixture::stand_in,
        measure::tasks::task,
        native::graphs::{adamw, finite},
    };
    use prism_core::{
        Cancel, Finite,
        artifacts::MemoryArtifacts,
        evidence::{RunOutcome, Witness},
        observer::{Event, Observer},
        submission::FailureClass,
    };
    use std::{
        sync::Mutex,
        time::{Duration, Instant},
    };

    /// A Llama of one layer, as a miner writes it.
    const SMALL: &str = r"{graph: prism.graph/1, nodes: [
        {id: e, op: embedding, of: tokens, dim: 32},
        {id: n, op: rms_norm, of: e},
        {id: a, op: attention, of: n, heads: 2, positions: rotary},
        {id: x, op: add, of: [e, a]},
        {id: m, op: rms_norm, of: x},
        {id: h, op: gated_mlp, of: m, hidden: 64, activation: silu},
        {id: y, op: add, of: [x, h]},
        {id: o, op: rms_norm, of: y},
        {id: l, op: linear, of: o, dim: vocab_size}], output: l}";

    /// Squares over and over: beyond what floats hold.
    const EXPLODES: &str = r"{graph: prism.graph/1, nodes: [
        {id: e, op: embedding, of: tokens, dim: 16},
        {id: n, op: rms_norm, of: e},
        {id: r, op: repeat, of: n, times: 9, output: s, nodes: [{id: s, op: multiply, of: [input, input]}]},
        {id: l, op: linear, of: r, dim: vocab_size}], output: l}";

    fn graph(text: &str, sequence: u32) -> ResolvedGraph {
        let spec = crate::graph::read(text.as_bytes(), "model.graph.yaml").unwrap();
        spec.resolve(&Context::new(256, sequence), &Limits::default()).unwrap()
    }

    /// A task of a graph and a recipe over the stand-in, and where they are kept.
    fn asked(text: &str, sequence: u32, recipe: &Recipe) -> (TrainTask, Surroundings) {
        let artifacts = MemoryArtifacts::new();
        let keep = |bytes: Vec<u8>| block_on(artifacts.keep_bytes(&bytes)).unwrap();
        let mut task = task(&stand_in().unwrap());
        let (graph, recipe) = (keep(graph(text, sequence).canonical_bytes()), keep(recipe.canonical_bytes()));
        task.subject = Subject::Native { graph, recipe };
        (task, Surroundings::new(Arc::new(artifacts)))
    }

    fn trainer() -> NativeTrainer {
        NativeTrainer::new(stand_in().unwrap())
    }

    fn small() -> (TrainTask, Surroundings) {
        asked(SMALL, 32, &at_rate(0.005))
    }

    fn at_rate(rate: f64) -> Recipe {
        let mut recipe = Recipe { clip: None, ..Recipe::reference() };
        for group in &mut recipe.groups {
            group.optimizer = adamw(rate);
        }
        recipe
    }

    fn class(evidence: &Evidence) -> Option<FailureClass> {
        match &evidence.outcome {
            RunOutcome::Completed => None,
            RunOutcome::Failed { class, .. } => Some(*class),
        }
    }

    /// Entropy of the training text's bytes, in bits.
    fn unigram_entropy() -> f64 {
        let mut counts = [0u32; 256];
        for byte in stand_in().unwrap().documents().iter().flat_map(|document| document.text.bytes()) {
            counts[usize::from(byte)] += 1;
        }
        let total = f64::from(counts.iter().sum::<u32>());
        let terms = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / total);
        -terms.map(|share| share * share.log2()).sum::<f64>()
    }

    #[test]
    fn a_small_model_learns_more_than_the_frequencies_of_bytes() {
        let (mut task, around) = asked(SMALL, 64, &at_rate(0.01));
        task.budget =
            prism_core::plan::Budget { steps: 160, batch: 16, sequence: 64, tokens: 160 * 1024, ..task.budget };
        task.measuring.points = vec![0, 40, 140];
        task.measuring.rows = 32;
        let evidence = block_on(trainer().train(&task, &around)).unwrap();
        assert_eq!(evidence.outcome, RunOutcome::Completed);
        let bits: Vec<f64> = evidence.points.iter().map(|point| point.bits_per_byte().unwrap().get()).collect();
        assert!((bits[0] - 8.0).abs() < 0.1, "{bits:?}");
        let entropy = unigram_entropy();
        assert!((4.0..4.8).contains(&entropy), "{entropy}");
        let held_out = evidence.held_out.as_ref().unwrap().bits_per_byte().unwrap().get();
        assert!(bits[2] < entropy - 0.4 && held_out < entropy - 0.4, "{bits:?} {held_out} {entropy}");
        assert!(bits[1] > bits[2]);
    }

    #[test]
    fn evidence_names_its_task_its_engine_and_what_the_model_costs() {
        let (task, around) = small();
        let evidence = block_on(trainer().train(&task, &around)).unwrap();
        assert_eq!(evidence.task, task);
        assert_eq!(evidence.engine, ENGINE);
        assert_eq!(evidence.counters["tokens"], task.budget.tokens);
        assert_eq!(evidence.counters["snapshot_bytes"], 4 * evidence.counters["parameters"]);
        assert!(evidence.counters["flops_per_token"] > 0);
        for name in ["train_bits_per_byte", "gradient_norm", "activation_rms", "learning_rate"] {
            let series = &evidence.series[name];
            assert_eq!((series.witness, series.values.len()), (Witness::Host, 12), "{name}");
        }
        let bytes = serde_json::to_vec(&evidence).unwrap();
        assert_eq!(serde_json::from_slice::<Evidence>(&bytes).unwrap(), evidence);
    }

    #[test]
    fn a_task_gives_the_same_bits_on_any_number_of_threads_and_beside_other_runs() {
        let (task, around) = small();
        let train = |threads| block_on(trainer().with_threads(threads).train(&task, &around)).unwrap().without_clock();
        let alone = train(1);
        assert_eq!(train(3), alone);
        thread::scope(|scope| {
            let beside: Vec<_> = (0..2).map(|_| scope.spawn(|| train(2))).collect();
            for run in beside {
                assert_eq!(run.join().unwrap(), alone);
            }
        });
        let mut reseeded = task.clone();
        reseeded.seed = reseeded.seed.stream("other");
        let other = block_on(trainer().train(&reseeded, &around)).unwrap();
        assert_ne!(other.points, alone.points);
    }

    #[test]
    fn a_model_without_finite_predictions_is_evidence() {
        let (task, around) = asked(EXPLODES, 32, &at_rate(1.0));
        let evidence = block_on(trainer().train(&task, &around)).unwrap();
        assert_eq!(class(&evidence), Some(FailureClass::MinerCode));
        assert_eq!((evidence.points.len(), evidence.counters["tokens"]), (0, 0));
    }

    #[test]
    fn a_run_that_needs_more_memory_than_its_budget_is_evidence_before_it_is_made() {
        let (mut task, around) = small();
        task.budget.peak_memory = 1000;
        let evidence = block_on(trainer().train(&task, &around)).unwrap();
        assert_eq!((class(&evidence), evidence.points.len()), (Some(FailureClass::Resource), 0));
        assert!(evidence.counters["parameters"] > 0);
    }

    #[test]
    fn what_this_machine_lacks_is_an_error() {
        let (task, around) = small();
        let kind = |change: fn(&mut TrainTask)| {
            let mut task = task.clone();
            change(&mut task);
            block_on(trainer().train(&task, &around)).unwrap_err().kind()
        };
        assert_eq!(kind(|t| t.subject = Subject::Guest { bundle: t.policy }), Kind::Unsupported);
        assert_eq!(kind(|t| t.subject = Subject::Native { graph: t.policy, recipe: t.policy }), Kind::NotFound);
        assert_eq!(kind(|t| t.data.dataset = t.policy), Kind::NotFound);
        assert_eq!(kind(|t| t.budget.tokens += 1), Kind::Invalid);
        assert_eq!(kind(|t| t.context.clear()), Kind::Invalid);
        assert_eq!(kind(|t| t.context.extend([("max_parameters".into(), 99)])), Kind::Corrupt);
        let (longer, around) = asked(SMALL, 31, &at_rate(0.005));
        assert_eq!(block_on(trainer().train(&longer, &around)).unwrap_err().kind(), Kind::Invalid);
        let mut swapped = task.clone();
        let Subject::Native { graph, recipe } = task.subject else { unreachable!() };
        swapped.subject = Subject::Native { graph: recipe, recipe: graph };
        assert_eq!(block_on(trainer().train(&swapped, &around)).unwrap_err().kind(), Kind::Corrupt);
        let mut resumed = around.clone();
        resumed.resume = Some(Digest::of(b"nothing"));
        assert_eq!(block_on(trainer().train(&task, &resumed)).unwrap_err().kind(), Kind::Unsupported);
    }

    /// Cancels at a step, and remembers the steps it saw.
    #[derive(Debug)]
    struct CancelAt(u64, Cancel, Mutex<Vec<u64>>);

    impl Observer for CancelAt {
        fn on(&self, event: &Event<'_>) {
            if let Event::Progress { done, .. } = event {
                self.2.lock().unwrap().push(*done);
                if *done == self.0 {
                    self.1.cancel();
                }
            }
        }
    }

    #[test]
    fn cancelling_ends_the_run_at_the_next_step() {
        let (task, around) = small();
        let watch = Arc::new(CancelAt(3, Cancel::new(), Mutex::default()));
        let around = around.observed_by(Arc::clone(&watch) as _).cancelled_by(watch.1.clone());
        let evidence = block_on(trainer().train(&task, &around)).unwrap();
        assert_eq!(class(&evidence), Some(FailureClass::Cancelled));
        assert_eq!(*watch.2.lock().unwrap(), [1, 2, 3]);
        assert_eq!(evidence.series["gradient_norm"].values.len(), 3);
    }

    #[test]
    fn a_dropped_future_ends_its_run() {
        let (mut task, around) = small();
        task.budget.steps = 1_000_000;
        task.budget.tokens = task.budget.steps * 128;
        let watch = Arc::new(CancelAt(u64::MAX, Cancel::new(), Mutex::default()));
        let around = around.observed_by(Arc::clone(&watch) as _);
        let trainer = trainer();
        let mut run = trainer.train(&task, &around);
        let waker = std::task::Waker::noop();
        assert!(run.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        drop(run);
        drop(around);
        // The run holds the last other handle to the observer.
        let patience = Instant::now() + Duration::from_secs(30);
        while Arc::strong_count(&watch) > 1 && Instant::now() < patience {
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(Arc::strong_count(&watch), 1, "the run goes on");
    }

    #[test]
    fn what_is_reported_of_rates_follows_the_schedule() {
        let schedule = crate::recipe::Schedule::Linear { warmup: finite(0.5), floor: Finite::ZERO };
        let mut recipe = Recipe { schedule, ..at_rate(0.005) };
        recipe.groups[0].optimizer = adamw(0.012);
        let (task, around) = asked(SMALL, 32, &recipe);
        let evidence = block_on(trainer().train(&task, &around)).unwrap();
        let rates: Vec<f64> = evidence.series["learning_rate"].values.iter().map(|v| (v.get() * 1e6).round()).collect();
        let expected = [2e3, 4e3, 6e3, 8e3, 1e4, 12e3, 12e3, 1e4, 8e3, 6e3, 4e3, 2e3];
        assert_eq!(rates, expected);
    }
}
