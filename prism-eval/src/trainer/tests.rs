//! The native trainer on whole tasks over the stand-in.
use super::*;
use crate::{
    benchmark::{Benchmark, Kind as Asks},
    data::{Tokenizer, fixture::stand_in, tokenizer::small},
    measure::tasks::task,
    native::graphs::{adamw, finite},
};
use prism_core::{
    Cancel, Finite,
    artifacts::{Artifacts, MemoryArtifacts},
    evidence::{RunOutcome, Witness},
    observer::{Event, Observer},
    submission::FailureClass,
    testing::{self, block_on, trainer::TrainerDriver},
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

fn graph(text: &str, vocabulary: u32, sequence: u32) -> ResolvedGraph {
    let spec = crate::graph::read(text.as_bytes(), "model.graph.yaml").unwrap();
    spec.resolve(&Context::new(vocabulary, sequence), &Limits::default()).unwrap()
}

/// A task of a graph and a recipe over the stand-in, and where they are kept.
fn asked(text: &str, sequence: u32, recipe: &Recipe) -> (TrainTask, Surroundings) {
    asked_of(&stand_in().unwrap(), text, sequence, recipe)
}

fn asked_of(corpus: &Corpus, text: &str, sequence: u32, recipe: &Recipe) -> (TrainTask, Surroundings) {
    let artifacts = MemoryArtifacts::new();
    let keep = |bytes: Vec<u8>| block_on(artifacts.keep_bytes(&bytes)).unwrap();
    let mut task = TrainTask { data: corpus.data_ref(), ..task(corpus) };
    let vocabulary = task.data.vocabulary;
    task.context = Context::new(vocabulary, sequence).to_map();
    let graph = keep(graph(text, vocabulary, sequence).canonical_bytes());
    let recipe = keep(recipe.canonical_bytes());
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
    for byte in stand_in().unwrap().documents().flat_map(|document| document.unwrap().text.into_bytes()) {
        counts[usize::from(byte)] += 1;
    }
    let total = f64::from(counts.iter().sum::<u32>());
    let terms = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / total);
    -terms.map(|share| share * share.log2()).sum::<f64>()
}

#[test]
fn a_small_model_learns_more_than_the_frequencies_of_bytes() {
    let (mut task, around) = asked(SMALL, 64, &at_rate(0.01));
    task.budget = prism_core::plan::Budget { steps: 160, batch: 16, sequence: 64, tokens: 160 * 1024, ..task.budget };
    task.measuring.points = vec![0, 40, 140];
    task.measuring.rows = 32;
    let evidence = block_on(trainer().train(&task, &around)).unwrap();
    assert_eq!(evidence.outcome, RunOutcome::Completed);
    let bits: Vec<f64> = evidence.points.iter().map(|point| point.bits_per_byte().unwrap().get()).collect();
    assert!((bits[0] - 8.0).abs() < 0.3, "{bits:?}");
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
    assert_eq!(kind(|t| t.subject = Subject::Guest { bundle: t.policy, recipe: None }), Kind::Unsupported);
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

#[derive(Debug)]
struct Conforming(Arc<dyn Artifacts>);

impl Conforming {
    fn asks(&self, text: &str, steps: u64) -> TrainTask {
        let (mut task, around) = asked(text, 32, &at_rate(0.005));
        let Subject::Native { graph, recipe } = task.subject else { unreachable!() };
        for digest in [graph, recipe] {
            let bytes = block_on(around.artifacts.read(digest, 1 << 20)).unwrap();
            assert_eq!(block_on(self.0.keep_bytes(&bytes)).unwrap(), digest);
        }
        task.budget.steps = steps;
        task.budget.tokens = steps * 128;
        task.measuring.points = vec![0, 2];
        task.measuring.audits = vec![0, 0];
        task.measuring.rows = 4;
        task
    }
}

impl TrainerDriver for Conforming {
    fn trainer(&self) -> Arc<dyn Trainer> {
        Arc::new(trainer())
    }
    fn artifacts(&self) -> Arc<dyn Artifacts> {
        Arc::clone(&self.0)
    }
    fn task(&self) -> TrainTask {
        self.asks(SMALL, 3)
    }
    fn failing_task(&self) -> TrainTask {
        self.asks(EXPLODES, 3)
    }
    fn endless_task(&self) -> TrainTask {
        self.asks(SMALL, 10_000_000)
    }
    fn lying_task(&self) -> Option<(TrainTask, Finite)> {
        None
    }
}

#[test]
fn the_native_trainer_keeps_the_contract_of_trainers() {
    let fresh = async || Ok(Conforming(Arc::new(MemoryArtifacts::new())));
    block_on(testing::trainer::run(fresh)).assert_ok();
}

#[test]
fn a_model_learns_in_the_tokens_of_a_file_is_measured_in_bytes_and_answers_questions() {
    let tokenizer = Tokenizer::File(small::byte_level());
    let (corpus, left_out) = stand_in().unwrap().tokenized(tokenizer).unwrap();
    assert_eq!(left_out, 0);
    let needle = br#"{"questions":6,"choices":4,"depths":[0.5]}"#.as_slice();
    let quiz = concat!(
        r#"{"context":"It was the best","choices":[" of the"," qzx vkj"],"answer":0}"#,
        "\n",
        r#"{"context":"One of","choices":[" xqj zzv"," the"],"answer":1}"#,
    );
    let parse = |name, kind, bytes| Arc::new(Benchmark::parse(name, kind, bytes).unwrap());
    let tasks = vec![parse("needle", Asks::Needle, needle), parse("quiz", Asks::MultipleChoice, quiz.as_bytes())];
    let corpus = Arc::new(corpus.with_benchmarks(tasks).unwrap());
    let (mut task, around) = asked_of(&corpus, SMALL, 64, &at_rate(0.01));
    task.budget = prism_core::plan::Budget { steps: 60, batch: 16, sequence: 64, tokens: 60 * 1024, ..task.budget };
    task.measuring.points = vec![0, 30, 50];
    task.measuring.rows = 16;
    let trainer = NativeTrainer::new(Arc::clone(&corpus));
    let evidence = block_on(trainer.train(&task, &around)).unwrap();
    assert_eq!(evidence.outcome, RunOutcome::Completed);
    assert_eq!(evidence.task.data.vocabulary, 512);
    // Equal odds on 512 tokens, over what they stand for.
    let first = &evidence.points[0];
    let bytes: u32 = first.row_bytes.iter().sum();
    let uniform = 16.0 * 64.0 * 9.0 / f64::from(bytes);
    let bits: Vec<f64> = evidence.points.iter().map(|point| point.bits_per_byte().unwrap().get()).collect();
    assert!(bytes > 16 * 64 * 3 / 2, "{bytes} bytes in {} tokens", 16 * 64);
    assert!((bits[0] - uniform).abs() < 0.05 * uniform, "{bits:?}, {uniform}");
    let held_out = evidence.held_out.as_ref().unwrap().bits_per_byte().unwrap().get();
    assert!(bits[2] < bits[0] - 1.0 && held_out < bits[0] - 1.0, "{bits:?} {held_out}");
    // A curve of training is in bits per byte too.
    let curve = &evidence.series["train_bits_per_byte"].values;
    assert!((curve[0].get() - uniform).abs() < 0.15 * uniform, "{} for {uniform}", curve[0]);
    let answered = |name: &str| &evidence.tasks[name];
    assert_eq!(answered("quiz").scores, [Finite::ONE; 2], "what is in the text is likelier than what is nowhere");
    assert_eq!((answered("needle").scores.len(), answered("needle").rows), (6, 24));
    assert_eq!(answered("needle").left_out, 0);
    assert_eq!(block_on(trainer.train(&task, &around)).unwrap().without_clock(), evidence.without_clock());
    let bytes_only = block_on(NativeTrainer::new(stand_in().unwrap()).train(&task, &around)).unwrap_err();
    assert_eq!(bytes_only.kind(), Kind::NotFound);
}
