//! What measuring adds to the training of submitted Python, and what a flood of output does to the host's memory.
//!
//! A GPT of 0.9 million parameters from the example bundles trains in a sandbox, audited by others out of a warm pool.
//! Steps and points are timed as they are reported; the share is that of the official plan, whose points are far apart:
//! points (and the held-out rows) over training, by the medians of both. The flood runs for some seconds at the speed of
//! the pipe while nobody reads it, and while somebody does; the growth is that of this process over its second half.
#![allow(missing_docs, clippy::print_stdout, clippy::expect_used, clippy::panic)]
#[path = "../tests/ground/mod.rs"]
mod ground;
mod work;

use prism_core::{
    Finite, Seed, TrainTask, Trainer,
    artifacts::{ArtifactsExt, MemoryArtifacts},
    observer::{Event, Observer},
    plan::{RunMode, Subject},
    sandbox::Sandbox,
    submission::SubmissionKind,
    trainer::Surroundings,
};
use prism_eval::{
    bundle::Bundle,
    data::fixture::stand_in,
    guest::{GuestBundle, GuestTrainer},
    plan_of_runs::{Architecture, Cohort, Entrant, plan_of_runs},
    policy::PlanPolicy,
    sandbox::{
        embedded::{EmbeddedConfig, EmbeddedSandbox},
        launcher,
    },
};
use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Seconds that a flood lasts.
const FLOOD: u64 = 8;

fn main() {
    launcher::enter();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    runtime.block_on(share_of_measuring());
    runtime.block_on(flood());
}

/// When each step and each point was done.
#[derive(Debug, Default)]
struct Times(Mutex<Vec<(bool, Instant)>>);

impl Observer for Times {
    fn on(&self, event: &Event<'_>) {
        let measured = matches!(event, Event::Measured { .. });
        self.0.lock().expect("nobody panics").push((measured, Instant::now()));
    }
}

async fn share_of_measuring() {
    let official = PlanPolicy::default();
    let policy = PlanPolicy {
        mode: RunMode::LocalCpuSmoke,
        steps: 24,
        points: 4,
        window_tokens: 0,
        held_out_rows: 0,
        rates: vec![Finite::ONE],
        climb: vec![],
        probes: vec![],
        trial: None,
        confirmation_factor: 1,
        ..official.clone()
    };
    let (corpus, artifacts) = (stand_in().expect("text"), Arc::new(MemoryArtifacts::new()));
    let seed = Seed::of("bench", &[b"guest"]);
    let cohort = Cohort::new(seed, corpus.data_ref(), &policy, &*artifacts).await.expect("a cohort");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/bundles/python-gpt/model.py");
    let bundle = Bundle::read(&fs::read(example).expect("the example")).expect("a bundle");
    let bundle = GuestBundle::of(&bundle).expect("a guest").expect("of Python");
    let bundle = artifacts.keep_bytes(&bundle.canonical_bytes()).await.expect("memory");
    let architecture = Architecture::Code(bundle);
    let entrant = Entrant::new(SubmissionKind::ArchitectureOnly, architecture, None);
    let mut task: TrainTask = plan_of_runs(&policy, &cohort, &entrant).expect("a plan").remove(0);
    task.context.extend([("width_factor".to_owned(), 2), ("depth_factor".to_owned(), 2)]);
    assert!(matches!(task.subject, Subject::Guest { .. }));

    let folder = tempfile::tempdir().expect("a folder");
    let trainer = GuestTrainer::new(ground::sandbox(folder.path()), corpus, ground::settings(folder.path(), 2))
        .expect("a trainer");
    let times = Arc::new(Times::default());
    let around = Surroundings::new(Arc::<MemoryArtifacts>::clone(&artifacts)).observed_by(Arc::<Times>::clone(&times));
    let evidence = trainer.train(&task, &around).await.expect("it trains");
    assert!(evidence.is_completed(), "{:?}", evidence.outcome);

    let times = times.0.lock().expect("nobody panics").clone();
    let (mut steps, mut points) = (vec![], vec![]);
    for pair in times.windows(2) {
        if let [(_, before), (measured, after)] = pair {
            if *measured { &mut points } else { &mut steps }.push(after.duration_since(*before).as_secs_f64());
        }
    }
    let (step, point) = (median(&mut steps), median(&mut points));
    // Held-out rows are measured as a point is, once.
    let held_out = f64::from(official.held_out_rows) / f64::from(official.rows);
    let (measuring, training) = ((f64::from(official.points) + held_out) * point, official.steps as f64 * step);
    let parameters = evidence.counters.get("guest_reported_parameters").copied().unwrap_or_default();
    println!(
        "{parameters} parameters, {} rows of {} a step: {step:.3} s a step, {point:.3} s a point of {} rows, all audited",
        policy.batch, policy.sequence, policy.rows
    );
    println!(
        "official plan, {} steps and {} points: measuring adds {:.2} % to training",
        official.steps,
        official.points,
        100.0 * measuring / training
    );
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

async fn flood() {
    let root = work::host();
    let sandbox = EmbeddedSandbox::new(EmbeddedConfig::default());
    for (name, redirect, read) in
        [("channel, unread", "", false), ("channel, read and dropped", "", true), ("errors", " 1>&2", true)]
    {
        let command = format!("exec yes 0123456789abcdef0123456789abcdef{redirect}");
        let mut spec = work::spec(&root, &["/bin/sh", "-c", &command]);
        spec.limits.wall_millis = FLOOD * 1000;
        (spec.limits.stderr, spec.limits.channel) = (1 << 40, 1 << 40);
        let mut running = sandbox.start(spec).await.expect("it starts");
        let (mut source, sink) = running.channel().expect("a channel");
        let began = Instant::now();
        let half = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(FLOOD / 2)).await;
            let half = resident();
            tokio::time::sleep(Duration::from_millis(FLOOD * 500 - 300)).await;
            (half, resident())
        });
        let reading = tokio::spawn(async move {
            let _open = sink;
            let (mut chunk, mut total) = (vec![0; 1 << 16], 0u64);
            if !read {
                tokio::time::sleep(Duration::from_secs(FLOOD)).await;
                return total;
            }
            loop {
                match source.read(&mut chunk).await {
                    Ok(0) | Err(_) => return total,
                    Ok(count) => total += count as u64,
                }
            }
        });
        let (half, end) = half.await.expect("a clock");
        let outcome = running.wait().await.expect("an outcome");
        let total = reading.await.expect("a reader").max(outcome.stderr_total);
        println!(
            "flood ({name}): {:.1} s, {} MiB taken, host grew by {} KiB in the second half",
            began.elapsed().as_secs_f64(),
            total >> 20,
            end.saturating_sub(half) >> 10
        );
    }
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or_default() * 1024
}
