//! The same architecture in PyTorch and without code learns alike: one measurement, two players.
//!
//! Both begin from the same weights, since seeds scatter more than the two may differ: the Python side repeats the
//! native side's draws.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod ground;

use prism_core::{
    Evidence, Finite, Seed, TrainTask, Trainer,
    artifacts::{ArtifactsExt, MemoryArtifacts},
    plan::Subject,
    submission::SubmissionKind,
    trainer::Surroundings,
};
use prism_eval::{
    bundle::Bundle,
    data::fixture::stand_in,
    graph::{
        baselines,
        resolved::{Init, Op, ResolvedGraph, ValueId, WeightId},
    },
    guest::{GuestBundle, GuestTrainer},
    plan_of_runs::{Architecture, Cohort, Entrant, plan_of_repeats, plan_of_runs},
    policy::PlanPolicy,
    score::{Measured, mean_bits_per_byte, paired_over_seeds},
    trainer::NativeTrainer,
};
use std::{fmt::Write as _, fs, path::Path, sync::Arc};

/// Bits per byte that the twins may differ by: what sums of `f32` in another order grow to, with room.
const BOUND: f64 = 0.002;

fn main() {
    prism_eval::sandbox::launcher::enter();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(a_gpt_in_python_and_its_native_twin_learn_alike());
    println!("a_gpt_in_python_and_its_native_twin_learn_alike: ok");
}

/// The weights of a GPT's tables and matrices as its source names them: tables, then block by block query, key, value,
/// output, up and down. The canonical graph has them in an order of its own.
fn in_order_of_the_source(graph: &ResolvedGraph) -> Vec<WeightId> {
    // Value 0 is the tokens, the others are the steps'.
    let matrix = |value: &ValueId| match graph.steps[value.0 as usize - 1].op {
        Op::Linear { weight, .. } => weight,
        ref other => panic!("{other:?} before attention"),
    };
    let (mut tables, mut heads, mut others) = (vec![], vec![], vec![]);
    for step in &graph.steps {
        match step.op {
            Op::Embedding { table } | Op::LearnedPositions { table } => tables.push(table),
            Op::Attention { .. } => heads.push(step.inputs.iter().map(matrix).collect::<Vec<_>>()),
            Op::Linear { weight, transposed: false, .. } => others.push(weight),
            _ => {}
        }
    }
    others.retain(|weight| !heads.iter().flatten().any(|head| head == weight));
    let blocks = heads.iter().zip(others.chunks(3)).flat_map(|(heads, others)| heads.iter().chain(others));
    tables.iter().chain(blocks).copied().collect()
}

/// The example's source, with its weights drawn as the native player draws them for this run.
fn with_the_draws_of(task: &TrainTask, graph: &ResolvedGraph, source: &str) -> String {
    let mut draws = String::new();
    for index in in_order_of_the_source(graph).into_iter().map(|weight| weight.0) {
        let weight = &graph.weights[index as usize];
        let Init::Normal { deviation } = weight.init else { panic!("{weight:?}") };
        let stream = task.seed.stream("init").stream(&format!("weight/{index}"));
        writeln!(draws, "    (\"{}\", {deviation}, {:?}),", stream.0, weight.shape).unwrap();
    }
    let twin = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("twins/draws.py")).unwrap();
    format!("{}\n\n{}", source.replace("def build_model", "def undrawn"), twin.replace("    # DRAWS\n", &draws))
}

async fn a_gpt_in_python_and_its_native_twin_learn_alike() {
    let policy = PlanPolicy {
        steps: 150,
        batch: 16,
        wall_millis: 600_000,
        cpu_millis: 600_000,
        points: 4,
        rows: 32,
        audits: 32,
        held_out_rows: 32,
        rates: vec![Finite::new(3.0).unwrap()],
        repeats: 1,
        ..PlanPolicy::smoke()
    };
    let (corpus, artifacts) = (stand_in().unwrap(), Arc::new(MemoryArtifacts::new()));
    let seed = Seed::of("test", &[b"twins"]);
    let cohort = Cohort::new(seed, corpus.data_ref(), &policy, &*artifacts).await.unwrap();

    let graph = baselines::spec("gpt").unwrap().unwrap();
    let graph = graph.resolve(&policy.context(cohort.data.vocabulary), &policy.limits()).unwrap();
    let declared = Architecture::Declared(artifacts.keep_bytes(&graph.canonical_bytes()).await.unwrap());
    let entrant = Entrant::new(SubmissionKind::ArchitectureOnly, declared, None);
    let first = plan_of_runs(&policy, &cohort, &entrant).unwrap().remove(0);
    let tasks: Vec<TrainTask> = [first.clone()].into_iter().chain(plan_of_repeats(&policy, &first)).collect();

    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bundles/python-gpt/model.py");
    let example = fs::read_to_string(example).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = ground::settings(folder.path(), 1);
    let native = NativeTrainer::new(Arc::clone(&corpus));
    let python = GuestTrainer::new(ground::sandbox(folder.path()), corpus, settings).unwrap();
    let around = Surroundings::new(Arc::<MemoryArtifacts>::clone(&artifacts));

    let (mut native_runs, mut python_runs): (Vec<Evidence>, Vec<Evidence>) = (vec![], vec![]);
    for task in &tasks {
        let Subject::Native { recipe, .. } = task.subject else { panic!("{:?}", task.subject) };
        let source = with_the_draws_of(task, &graph, &example);
        let bundle = GuestBundle::of(&Bundle::read(source.as_bytes()).unwrap()).unwrap().unwrap();
        let bundle = artifacts.keep_bytes(&bundle.canonical_bytes()).await.unwrap();
        let twin = TrainTask { subject: Subject::Guest { bundle, recipe: Some(recipe) }, ..task.clone() };
        native_runs.push(native.train(task, &around).await.unwrap());
        python_runs.push(python.train(&twin, &around).await.unwrap());
    }
    for run in native_runs.iter().chain(&python_runs) {
        assert!(run.is_completed(), "{:?}", run.outcome);
    }
    assert_eq!(native_runs[0].counters["parameters"], python_runs[0].counters["guest_reported_parameters"]);

    for (native, python) in native_runs.iter().zip(&python_runs) {
        let points = |run: &Evidence| -> Vec<f64> {
            run.points.iter().chain(&run.held_out).map(|point| point.bits_per_byte().unwrap().get()).collect()
        };
        println!("native {:.5?}\npython {:.5?}", points(native), points(python));
        let start = points(native)[0] - points(python)[0];
        assert!(start.abs() < 1e-4, "before training they are the same function, and differ by {start}");
    }
    for measured in [Measured::Prequential, Measured::HeldOut] {
        let (python, native): (Vec<_>, Vec<_>) = (python_runs.iter().collect(), native_runs.iter().collect());
        let difference = paired_over_seeds(&python, &native, measured, Finite::ZERO).unwrap();
        let (mean, error) = (difference.mean.get(), difference.standard_error.get());
        let of = mean_bits_per_byte(native[0], measured).unwrap().mean.get();
        println!("python over native, {measured:?}: {mean:+.5} ± {error:.5} bits per byte, of {of:.3}");
        assert!(mean.abs() < BOUND, "{measured:?}: {mean} ± {error}");
    }
}
