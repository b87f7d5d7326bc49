//! Tasks for the tests of this crate.
use crate::{
    data::{Corpus, tokenizer::Bytes},
    graph::Context,
};
use prism_core::{
    Digest, Finite, Seed, TrainTask,
    plan::{Budget, DataRef, MeasuringPlan, RunMode, RunRole, Subject, TASK_SCHEMA},
};

/// A task of 12 steps of 4 rows of 32, measured before steps 0, 5 and 10, not every row audited.
pub(crate) fn task(corpus: &Corpus) -> TrainTask {
    let digest = Digest::of(b"none");
    TrainTask {
        schema: TASK_SCHEMA,
        mode: RunMode::default(),
        role: RunRole::Recipe,
        subject: Subject::Native { graph: digest, recipe: digest },
        data: DataRef { dataset: corpus.fingerprint(), tokenizer: Bytes::fingerprint(), vocabulary: Bytes::VOCABULARY },
        measuring: MeasuringPlan {
            points: vec![0, 5, 10],
            counts_from: 0,
            rows: 6,
            audits: vec![4, 6, 5],
            held_out_rows: 5,
            alarm_bits: Finite::new(0.5).unwrap(),
        },
        budget: Budget {
            tokens: 12 * 4 * 32,
            steps: 12,
            batch: 4,
            sequence: 32,
            wall_millis: 120_000,
            cpu_millis: 120_000,
            peak_memory: 1 << 30,
        },
        context: Context::new(Bytes::VOCABULARY, 32).to_map(),
        seed: Seed::of("test", &[b"run"]),
        cohort: Seed::of("test", &[b"cohort"]),
        policy: digest,
    }
}
