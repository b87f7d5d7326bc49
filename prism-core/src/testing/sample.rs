//! A task, its evidence, a round and standings to start from: plausible, small, and the same on every call.
use crate::{
    evidence::{EVIDENCE_SCHEMA, Estimate, Evidence, Point, RunOutcome, Series, Witness, Work},
    finite::Finite,
    hotkey::Hotkey,
    id::{Block, Digest, Epoch, FamilyId, SubmissionId},
    plan::{Budget, DataRef, MeasuringPlan, RunMode, RunRole, Subject, TASK_SCHEMA, TrainTask},
    reward::{Allocation, RewardContext},
    score::Track,
    scorer::{Candidate, Round},
    seed::Seed,
    standings::{FamilyFacts, Showing, Standings},
    submission::{FailureClass, Precedence, SubmissionKind},
};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of text per measured row.
const ROW_BYTES: u32 = 64;

fn finite(value: f64) -> Finite {
    Finite::new(value).unwrap_or_default()
}

/// A small native task: 8 steps of 2 rows of 16 tokens, measured before the first, the fifth and after the last step.
#[must_use]
pub fn task() -> TrainTask {
    TrainTask {
        schema: TASK_SCHEMA,
        mode: RunMode::GpuProxyEval,
        role: RunRole::Reference { rate: Finite::ONE },
        subject: Subject::Native { graph: Digest::of(b"sample graph"), recipe: Digest::of(b"sample recipe") },
        data: DataRef { dataset: Digest::of(b"sample text"), tokenizer: Digest::of(b"bytes"), vocabulary: 256 },
        measuring: MeasuringPlan {
            points: vec![0, 4, 8],
            counts_from: 0,
            rows: 6,
            audits: vec![0, 0, 0],
            held_out_rows: 6,
            alarm_bits: Finite::ONE,
        },
        budget: Budget {
            tokens: 256,
            steps: 8,
            batch: 2,
            sequence: 16,
            wall_millis: 60_000,
            cpu_millis: 60_000,
            peak_memory: 1 << 30,
        },
        context: [("vocab_size".to_owned(), 256), ("sequence_length".to_owned(), 16)].into(),
        seed: Seed::of("sample", &[b"run"]),
        cohort: Seed::of("sample", &[b"cohort"]),
        policy: Digest::of(b"sample policy"),
    }
}

/// Evidence of a run that went well: bits per byte fall from 8 to `end` over the plan's points. Rows are harder or easier
/// by the cohort's seed alone, so that runs of one cohort are paired.
#[must_use]
pub fn evidence(task: &TrainTask, end: f64) -> Evidence {
    let mut draws = task.cohort.stream("sample rows").draws();
    let mut point = |step: u64, rows: u32| {
        #[allow(clippy::cast_precision_loss)]
        let done = step as f64 / task.budget.steps.max(1) as f64;
        let mean = 8.0 + (end - 8.0) * done;
        let mut row_bits = Vec::new();
        for _ in 0..rows {
            #[allow(clippy::cast_precision_loss)]
            let hardness = (draws.below(1001) as f64 - 500.0) / 5000.0;
            row_bits.push(finite((mean + hardness) * f64::from(ROW_BYTES)));
        }
        let tokens = step.saturating_mul(u64::from(task.budget.batch) * u64::from(task.budget.sequence));
        let row_bytes = vec![ROW_BYTES; row_bits.len()];
        Point { step, tokens, row_bits, row_bytes, audits: vec![] }
    };
    let points: Vec<Point> = task.measuring.points.iter().map(|step| point(*step, task.measuring.rows)).collect();
    let held_out = Some(point(task.budget.steps, task.measuring.held_out_rows));
    let series = |witness, from: f64, to: f64| Series {
        witness,
        steps: vec![1, task.budget.steps],
        values: vec![finite(from), finite(to)],
    };
    Evidence {
        schema: EVIDENCE_SCHEMA,
        task: task.clone(),
        outcome: RunOutcome::Completed,
        points,
        held_out,
        series: [
            ("train_bits_per_byte".to_owned(), series(Witness::Host, 8.0, end)),
            ("gradient_norm".to_owned(), series(Witness::Host, 1.0, 0.5)),
            ("activation_rms".to_owned(), series(Witness::Host, 1.0, 1.25)),
            ("learning_rate".to_owned(), series(Witness::Host, 3e-4, 3e-5)),
            ("guest_loss".to_owned(), series(Witness::Guest, 5.0, 0.01)),
        ]
        .into(),
        counters: [
            ("parameters".to_owned(), 10_000),
            ("flops_per_token".to_owned(), 60_000),
            ("tokens".to_owned(), task.budget.tokens),
            ("snapshot_bytes".to_owned(), 40_000),
        ]
        .into(),
        tasks: BTreeMap::new(),
        artifacts: BTreeMap::new(),
        engine: "sample/1".into(),
        device: "sample".into(),
        resumed: 0,
        work: Work { cpu_millis: 1000, gpu_millis: 0 },
    }
}

/// Evidence of a run that the subject's own code ended.
#[must_use]
pub fn failed_evidence(task: &TrainTask, class: FailureClass) -> Evidence {
    let reason = "loss is not finite".to_owned();
    Evidence { outcome: RunOutcome::Failed { class, reason }, points: vec![], held_out: None, ..evidence(task, 8.0) }
}

/// A [`Candidate`], owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCandidate {
    /// Which.
    pub submission: SubmissionId,
    /// What it claims to bring.
    pub kind: SubmissionKind,
    /// When it came.
    pub precedence: Precedence,
    /// The family it was measured as.
    pub family: FamilyId,
    /// Its runs.
    pub runs: Vec<Evidence>,
    /// Whether it holds a title.
    pub incumbent: bool,
}

impl RecordedCandidate {
    fn view(&self) -> Candidate<'_> {
        let Self { submission, kind, precedence, family, runs, incumbent } = self;
        Candidate {
            submission: *submission,
            kind: *kind,
            precedence: *precedence,
            family: *family,
            runs,
            incumbent: *incumbent,
        }
    }
}

/// A [`Round`], owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRound {
    /// The cohort.
    pub epoch: Epoch,
    /// Numbers that an operator may set.
    pub policy: BTreeMap<String, Finite>,
    /// The submissions.
    pub candidates: Vec<RecordedCandidate>,
    /// The published baselines and the title holders.
    pub baselines: Vec<RecordedCandidate>,
}

impl RecordedRound {
    /// Shows it as a round.
    pub fn with<T>(&self, look: impl FnOnce(&Round<'_>) -> T) -> T {
        let candidates: Vec<_> = self.candidates.iter().map(RecordedCandidate::view).collect();
        let baselines: Vec<_> = self.baselines.iter().map(RecordedCandidate::view).collect();
        look(&Round::new(self.epoch, &self.policy, &candidates, &baselines))
    }

    /// The same round with every run changed.
    #[must_use]
    pub fn with_runs(&self, mut change: impl FnMut(&mut Evidence)) -> Self {
        let mut round = self.clone();
        for candidate in round.candidates.iter_mut().chain(&mut round.baselines) {
            candidate.runs.iter_mut().for_each(&mut change);
        }
        round
    }
}

/// A candidate of the sample round, by number, with one run for each task.
#[must_use]
pub fn candidate(number: u8, runs: Vec<Evidence>) -> RecordedCandidate {
    let hotkey = Hotkey([number; 32]);
    RecordedCandidate {
        submission: SubmissionId::of_parts("sample", &[&[number]]),
        kind: SubmissionKind::Full,
        precedence: Precedence { block: Block(100 + u64::from(number)), extrinsic: 0, hotkey, local: false },
        family: FamilyId::of_parts("sample", &[&[number]]),
        runs,
        incumbent: false,
    }
}

/// One baseline, and a better, a worse and a failed submission, each with a reference run and a recipe run.
#[must_use]
pub fn round() -> RecordedRound {
    let recipe = TrainTask { role: RunRole::Recipe, ..task() };
    let both = |end| vec![evidence(&task(), end), evidence(&recipe, end - 0.05)];
    let failed = vec![failed_evidence(&task(), FailureClass::MinerCode)];
    RecordedRound {
        epoch: Epoch(7),
        policy: BTreeMap::new(),
        candidates: vec![candidate(1, both(2.2)), candidate(2, both(2.7)), candidate(3, failed)],
        baselines: vec![candidate(200, both(2.5))],
    }
}

/// Standings and context of one allocation, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewardCase {
    /// Who showed what.
    pub standings: Standings,
    /// Now.
    pub block: Block,
    /// The epoch that is paid.
    pub epoch: Epoch,
    /// Who can be paid.
    pub registered: BTreeSet<Hotkey>,
    /// What the last epoch paid.
    pub previous: Option<Allocation>,
    /// Numbers that an operator may set.
    pub policy: BTreeMap<String, Finite>,
}

impl RewardCase {
    /// The context of the allocation.
    #[must_use]
    pub fn context(&self) -> RewardContext<'_> {
        RewardContext::new(self.block, self.epoch, &self.registered, self.previous.as_ref(), &self.policy)
    }
}

/// A showing of the sample case: the place in the order of arrival is the hotkey's number, too.
#[must_use]
pub fn showing(number: u8, family: u8, track: Track, advantage: f64) -> Showing {
    let hotkey = Hotkey([number; 32]);
    Showing {
        submission: SubmissionId::of_parts("sample", &[&[number]]),
        hotkey,
        family: FamilyId::of_parts("sample", &[&[family]]),
        track,
        precedence: Precedence { block: Block(100 + u64::from(number)), extrinsic: 0, hotkey, local: false },
        advantage: Estimate { mean: finite(advantage), standard_error: finite(0.01) },
        confirmations: 8,
        since: Block(200),
        trials: 1,
    }
}

/// Three hotkeys with rising advantages on the architecture track, two on the training tracks of two published families, one
/// that is worse than the baseline; all registered.
#[must_use]
pub fn reward_case() -> RewardCase {
    let showings = vec![
        showing(1, 1, Track::Architecture, 0.2),
        showing(2, 2, Track::Architecture, 0.5),
        showing(3, 3, Track::Architecture, 0.9),
        showing(4, 1, Track::Training, 0.3),
        showing(5, 2, Track::Training, 0.4),
        showing(6, 4, Track::Architecture, -0.2),
    ];
    let published = FamilyFacts { published: true, class: None };
    RewardCase {
        registered: showings.iter().map(|s| s.hotkey).collect(),
        standings: Standings {
            families: [1, 2].map(|family| (FamilyId::of_parts("sample", &[&[family]]), published)).into(),
            ..Standings::of(showings)
        },
        block: Block(250),
        epoch: Epoch(7),
        previous: None,
        policy: BTreeMap::new(),
    }
}
