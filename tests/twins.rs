//! The same architecture in PyTorch and without code learns alike: one measurement, two players.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod ground;

use prism_core::{
    Evidence, Finite, Seed, Trainer,
    artifacts::{ArtifactsExt, MemoryArtifacts},
    submission::SubmissionKind,
    trainer::Surroundings,
};
use prism_eval::{
    bundle::Bundle,
    data::fixture::stand_in,
    graph::baselines,
    guest::{GuestBundle, GuestTrainer},
    plan_of_runs::{Architecture, Cohort, Entrant, ReferenceRecipe, at_rate, plan_of_repeats, plan_of_runs},
    policy::PlanPolicy,
    recipe::Recipe,
    score::{Measured, mean_bits_per_byte, paired_over_seeds},
    trainer::NativeTrainer,
};
use std::{fs, path::Path, sync::Arc};

fn main() {
    prism_eval::sandbox::launcher::enter();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(a_gpt_in_python_and_its_native_twin_learn_alike());
    println!("a_gpt_in_python_and_its_native_twin_learn_alike: ok");
}

async fn a_gpt_in_python_and_its_native_twin_learn_alike() {
    let rate = Finite::new(3.0).unwrap();
    let policy = PlanPolicy {
        steps: 150,
        batch: 16,
        wall_millis: 600_000,
        cpu_millis: 600_000,
        points: 4,
        rows: 32,
        audits: 32,
        held_out_rows: 32,
        rates: vec![rate],
        repeats: 5,
        ..PlanPolicy::smoke()
    };
    let (corpus, artifacts) = (stand_in().unwrap(), Arc::new(MemoryArtifacts::new()));
    let recipe = at_rate(&Recipe::reference(), rate).unwrap();
    let recipe = artifacts.keep_bytes(&recipe.canonical_bytes()).await.unwrap();
    let cohort = Cohort {
        seed: Seed::of("test", &[b"twins"]),
        data: corpus.data_ref(),
        references: vec![ReferenceRecipe { rate, recipe }],
    };

    let graph = baselines::spec("gpt").unwrap().unwrap();
    let graph = graph.resolve(&policy.context(cohort.data.vocabulary), &policy.limits()).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bundles/python-gpt/model.py");
    let bundle = GuestBundle::of(&Bundle::read(&fs::read(example).unwrap()).unwrap()).unwrap().unwrap();
    let graph = Architecture::Declared(artifacts.keep_bytes(&graph.canonical_bytes()).await.unwrap());
    let code = Architecture::Code(artifacts.keep_bytes(&bundle.canonical_bytes()).await.unwrap());

    let folder = tempfile::tempdir().unwrap();
    let settings = ground::settings(folder.path(), 1);
    let native = NativeTrainer::new(Arc::clone(&corpus));
    let python = GuestTrainer::new(ground::sandbox(folder.path()), corpus, settings).unwrap();
    let around = Surroundings::new(Arc::<MemoryArtifacts>::clone(&artifacts));
    let measure = async |architecture, trainer: &dyn Trainer| {
        let entrant = Entrant { kind: SubmissionKind::ArchitectureOnly, architecture, training: None };
        let mut runs: Vec<Evidence> = Vec::new();
        let task = plan_of_runs(&policy, &cohort, &entrant).unwrap().remove(0);
        for task in plan_of_repeats(&policy, &task).into_iter().chain([task]) {
            let run = trainer.train(&task, &around).await.unwrap();
            assert!(run.is_completed(), "{:?}", run.outcome);
            runs.push(run);
        }
        runs
    };
    let native = measure(graph, &native).await;
    let python = measure(code, &python).await;
    let parameters = |run: &Evidence, name: &str| run.counters[name];
    assert_eq!(parameters(&native[0], "parameters"), parameters(&python[0], "guest_reported_parameters"));

    for measured in [Measured::Prequential, Measured::HeldOut] {
        for run in native.iter().chain(&python) {
            println!("{:<10} {measured:?} {:.4}", run.engine, mean_bits_per_byte(run, measured).unwrap().mean.get());
        }
        let difference = paired_over_seeds(
            &python.iter().collect::<Vec<_>>(),
            &native.iter().collect::<Vec<_>>(),
            measured,
            Finite::ZERO,
        )
        .unwrap();
        let (mean, error) = (difference.mean.get(), difference.standard_error.get());
        println!("python over native, {measured:?}: {mean:+.4} ± {error:.4} bits per byte");
        assert!(mean.abs() < 3.0 * error && mean.abs() < 0.02, "{measured:?}: {mean} ± {error}");
    }
}
