//! Evidence written by hand, for tests: four bytes a row would hide a forgotten division, so rows have eight.
use prism_core::{
    Digest, Evidence, Finite, Seed, TrainTask,
    evidence::{EVIDENCE_SCHEMA, Point, RunOutcome, Series, Witness, Work},
    plan::{Budget, DataRef, MeasuringPlan, RunMode, RunRole, Subject, TASK_SCHEMA},
    submission::FailureClass,
};
use std::collections::BTreeMap;

const BYTES: u32 = 8;

/// Five points of four rows that fall from 8 bits per byte.
pub(crate) fn run(graph: &str) -> Evidence {
    at(graph, RunRole::Reference { rate: Finite::ONE }, 4.0)
}

/// Reference runs at (rate, bits per byte at the end).
pub(crate) fn grid(graph: &str, rates: &[(f64, f64)]) -> Vec<Evidence> {
    let at = |(rate, bits): &(f64, f64)| at(graph, RunRole::Reference { rate: Finite::new(*rate).unwrap() }, *bits);
    rates.iter().map(at).collect()
}

/// The run of a recipe of its own on the same graph.
pub(crate) fn recipe(reference: &Evidence, bits: f64) -> Evidence {
    let Subject::Native { graph, .. } = reference.task.subject else { unreachable!() };
    let mut run = at("", RunRole::Recipe, bits);
    run.task.subject = Subject::Native { graph, recipe: Digest::of(b"own recipe") };
    run
}

pub(crate) fn repeat(run: &Evidence, index: u32, bits: f64) -> Evidence {
    let role = RunRole::Repeat { of: run.task.id(), index };
    let mut repeat = at("", role.clone(), bits);
    repeat.task = TrainTask { role, seed: run.task.cohort.stream(&format!("repeat {index}")), ..run.task.clone() };
    repeat
}

/// The same at another size.
pub(crate) fn probe(run: &Evidence, axis: &str, factor: f64, bits: f64) -> Evidence {
    let role = RunRole::ScalingProbe { axis: axis.to_owned(), factor: Finite::new(factor).unwrap() };
    Evidence { task: TrainTask { role, ..run.task.clone() }, ..at("", RunRole::Recipe, bits) }
}

/// The same with more tokens.
pub(crate) fn large(run: &Evidence, factor: u32, bits: f64) -> Evidence {
    let role = RunRole::LargeBudget { of: run.task.id(), factor };
    let steps = run.task.budget.steps * u64::from(factor);
    let tokens = run.task.budget.tokens * u64::from(factor);
    let budget = Budget { steps, tokens, ..run.task.budget.clone() };
    Evidence { task: TrainTask { role, budget, ..run.task.clone() }, ..at("", RunRole::Recipe, bits) }
}

/// A small run before all others; of its own recipe without a rate.
pub(crate) fn trial(graph: &str, rate: Option<f64>, bits: f64) -> Evidence {
    at(graph, RunRole::Trial { rate: rate.map(|rate| Finite::new(rate).unwrap()) }, bits)
}

/// The same with more optimizer steps on each batch.
pub(crate) fn worked(run: &Evidence, inner_steps: u32) -> Evidence {
    let role = RunRole::Work { of: run.task.id(), inner_steps };
    Evidence { task: TrainTask { role, ..run.task.clone() }, ..run.clone() }
}

pub(crate) fn failed(run: &Evidence, class: FailureClass) -> Evidence {
    let outcome = RunOutcome::Failed { class, reason: "loss is not finite".into() };
    Evidence { outcome, points: vec![], held_out: None, ..run.clone() }
}

/// With these bits per byte at its points.
pub(crate) fn with_points(run: &Evidence, points: &[&[f64]]) -> Evidence {
    let points = (0u64..).zip(points).map(|(index, rows)| point(index * 25, rows)).collect();
    Evidence { points, ..run.clone() }
}

pub(crate) fn with_held_out(run: &Evidence, rows: &[f64]) -> Evidence {
    Evidence { held_out: Some(point(125, rows)), ..run.clone() }
}

fn point(step: u64, rows: &[f64]) -> Point {
    let bits = |rate: &f64| Finite::new(rate * f64::from(BYTES)).or(Finite::new(*rate)).unwrap();
    Point {
        step,
        tokens: step * 256,
        row_bits: rows.iter().map(bits).collect(),
        row_bytes: vec![BYTES; rows.len()],
        audits: vec![],
    }
}

fn at(graph: &str, role: RunRole, bits: f64) -> Evidence {
    let cohort = Seed::of("test", &[b"cohort"]);
    let task = TrainTask {
        schema: TASK_SCHEMA,
        mode: RunMode::GpuProxyEval,
        role,
        subject: Subject::Native { graph: Digest::of(graph.as_bytes()), recipe: Digest::of(b"reference") },
        data: DataRef { dataset: Digest::of(b"text"), tokenizer: Digest::of(b"bytes"), vocabulary: 256 },
        measuring: MeasuringPlan {
            points: vec![0, 25, 50, 75, 100],
            counts_from: 0,
            rows: 4,
            audits: vec![0; 5],
            held_out_rows: 4,
            alarm_bits: Finite::ONE,
        },
        budget: Budget {
            tokens: 125 * 256,
            steps: 125,
            batch: 8,
            sequence: 32,
            wall_millis: 1000,
            cpu_millis: 1000,
            peak_memory: 1 << 20,
        },
        context: BTreeMap::new(),
        seed: cohort.stream("run"),
        cohort,
        policy: Digest::of(b"policy"),
    };
    let rows = |level: f64| [level, level + 0.25, level - 0.25, level + 0.5];
    let curve = [8.0, bits + 1.0, bits + 0.5, bits + 0.25, bits].map(rows);
    let series = Series {
        witness: Witness::Host,
        steps: (0..125).collect(),
        values: (0..125).map(|step| Finite::new(2.0 - 0.01 * f64::from(step)).unwrap()).collect(),
    };
    let run = Evidence {
        schema: EVIDENCE_SCHEMA,
        task,
        outcome: RunOutcome::Completed,
        points: vec![],
        held_out: Some(point(125, &rows(bits))),
        series: ["gradient_norm", "activation_rms", "train_bits_per_byte"]
            .map(|name| (name.to_owned(), series.clone()))
            .into(),
        counters: [("parameters".to_owned(), 1000), ("flops_per_token".to_owned(), 6000)].into(),
        tasks: BTreeMap::new(),
        artifacts: BTreeMap::new(),
        engine: "scripted".into(),
        device: "none".into(),
        resumed: 0,
        work: Work::default(),
    };
    with_points(&run, &curve.each_ref().map(<[f64; 4]>::as_slice))
}
