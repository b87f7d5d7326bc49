//! What the first form of the manifest lacks: under which policy and on which rows was measured, what the score is made of
//! and how far it scatters, and by which evidence all of it can be proven.
use super::{
    check::Faults,
    text::{Label, Note, Sha256},
};
use prism_core::{Digest, Finite, evidence::Estimate, submission::SubmissionKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Standard errors on either side of a mean that hold it with a probability of 0.95: the normal quantile of 0.975.
const Z_95: f64 = 1.959_963_984_540_054;
/// Most runs of one entrant, baselines, components and reasons.
const MAX_ENTRIES: usize = 4_096;
/// How far sums and products of written numbers may be off.
const TOLERANCE: f64 = 1e-9;

/// The form of an [`Evaluation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EvaluationSchema {
    /// The first.
    #[serde(rename = "prism_evaluation.v1")]
    V1,
}

/// In what the losses of the manifest are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossUnit {
    /// Per byte of raw text.
    BitsPerByte,
}

/// What a submission claims to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An architecture and its training or inference code.
    Full,
    /// An architecture, no training claim.
    ArchitectureOnly,
    /// A recipe for an existing family.
    TrainingForArch,
}

impl From<SubmissionKind> for Kind {
    fn from(kind: SubmissionKind) -> Self {
        match kind {
            SubmissionKind::Full => Self::Full,
            SubmissionKind::ArchitectureOnly => Self::ArchitectureOnly,
            SubmissionKind::TrainingForArch => Self::TrainingForArch,
        }
    }
}

/// What stands behind the manifest's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The form of this block.
    pub schema_version: EvaluationSchema,
    /// What the submission claims to bring.
    pub kind: Kind,
    /// What was measured and scored under.
    pub policy: PolicyReference,
    /// Whose rows were seen.
    pub cohort: CohortReference,
    /// In what all losses are counted.
    pub loss_unit: LossUnit,
    /// The score.
    pub score: Score,
    /// All runs of the submission, in the order of its plan.
    #[schemars(length(min = 1, max = 4096))]
    pub runs: Vec<RunReference>,
    /// What it was compared with.
    #[schemars(length(max = 4096))]
    pub baselines: Vec<BaselineReference>,
    /// Why a place of the manifest is null or empty.
    pub not_measured: BTreeMap<Label, Note>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyReference {
    /// Of all its numbers.
    #[schemars(with = "Sha256")]
    pub digest: Digest,
    /// Its row; 0 is the program's own.
    pub version: u64,
    /// Of its plan of runs, as each task names it.
    #[schemars(with = "Sha256")]
    pub plan: Digest,
}

/// A cohort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CohortReference {
    /// Its number.
    pub number: u64,
    /// What its rows, measuring points and starts follow from.
    #[schemars(with = "Sha256")]
    pub seed: Digest,
    /// Whether the submission was measured in it for confirmation, as a title holder or a winner of an earlier one.
    pub confirmation: bool,
}

/// A mean with its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// The mean.
    #[schemars(with = "f64")]
    pub mean: Finite,
    /// Its standard error.
    #[schemars(with = "f64", range(min = 0.0))]
    pub standard_error: Finite,
    /// Where 95 % of the probability begins: `mean - 1.96 standard errors`.
    #[schemars(with = "f64")]
    pub low: Finite,
    /// Where they end.
    #[schemars(with = "f64")]
    pub high: Finite,
}

/// A score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// Name and version of the scorer.
    pub scorer: Label,
    /// In 0 to 1; absent with a reason.
    #[schemars(with = "Option<f64>", range(min = 0.0, max = 1.0))]
    pub total: Option<Finite>,
    /// Of the total.
    #[schemars(with = "Option<f64>", range(min = 0.0))]
    pub standard_error: Option<Finite>,
    /// On the measured rows.
    pub bits_per_byte: Option<Interval>,
    /// The tracks, by `architecture` and `training`.
    pub tracks: BTreeMap<Label, TrackReport>,
    /// Whether the scorer lets rewards follow. The manifest's own `validation.score_eligible` asks for more.
    pub eligible: bool,
    /// Why there is no total, why it isn't eligible, what was left out.
    pub reasons: Vec<Note>,
}

/// What a track is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrackReport {
    /// In 0 to 1; one half is the baseline.
    #[schemars(with = "f64", range(min = 0.0, max = 1.0))]
    pub quality: Finite,
    /// Bits per byte saved against the hardest baseline on the same rows.
    pub advantage: Interval,
    /// What was measured.
    pub components: BTreeMap<Label, ComponentReport>,
    /// What was not, and whose share went to the others in proportion.
    pub redistributed: BTreeMap<Label, RedistributedShare>,
}

/// One component of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComponentReport {
    /// In 0 to 1; one half is the baseline.
    #[schemars(with = "f64", range(min = 0.0, max = 1.0))]
    pub value: Finite,
    /// Its part of the track as scored; all of a track sum to 1.
    #[schemars(with = "f64", range(min = 0.0, max = 1.0))]
    pub share: Finite,
    /// Of the value.
    #[schemars(with = "f64", range(min = 0.0))]
    pub standard_error: Finite,
}

/// A component that was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedistributedShare {
    /// The part that it would have had.
    #[schemars(with = "f64", range(min = 0.0, max = 1.0))]
    pub share: Finite,
    /// Why.
    pub reason: Note,
}

/// One run, and the evidence that proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunReference {
    /// The task.
    #[schemars(with = "Sha256")]
    pub task: Digest,
    /// SHA-256 of the evidence, as stored.
    #[schemars(with = "Sha256")]
    pub evidence: Digest,
    /// What it was for.
    pub role: Label,
    /// Particulars of the role: a rate, an index, an axis.
    #[serde(default)]
    pub role_details: BTreeMap<Label, Label>,
    /// Root of its random streams.
    #[schemars(with = "Sha256")]
    pub seed: Digest,
    /// What computed.
    pub engine: Label,
    /// What it ran on.
    pub device: Label,
    /// `completed`, or the class of the failure.
    pub outcome: Label,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Note>,
    /// How often it was resumed.
    pub resumed: u32,
    /// Tokens trained on.
    pub tokens: u64,
    /// Processor milliseconds, counted by the host over all attempts.
    pub cpu_millis: u64,
    /// Device milliseconds, likewise.
    pub gpu_millis: u64,
    /// Audited positions.
    pub audits: u64,
    /// Over the measuring points that count.
    pub bits_per_byte: Option<Interval>,
    /// On held-out rows after training.
    pub held_out: Option<Interval>,
}

/// What a submission was compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineReference {
    /// The id of its runs.
    #[schemars(with = "Sha256")]
    pub submission: Digest,
    /// Its family.
    #[schemars(with = "Sha256")]
    pub family: Digest,
    /// Its runs.
    #[schemars(length(max = 4096))]
    pub runs: Vec<RunReference>,
}

impl Interval {
    /// The interval of an estimate. An end beyond what a number can hold is the last number there is.
    #[must_use]
    pub fn of(estimate: Estimate) -> Self {
        let Estimate { mean, standard_error } = estimate;
        let end = |value: f64| Finite::new(value.clamp(f64::MIN, f64::MAX)).unwrap_or(mean);
        let half = Z_95 * standard_error.get();
        Self { mean, standard_error, low: end(mean.get() - half), high: end(mean.get() + half) }
    }

    fn check(&self, place: &str, faults: &mut Faults) {
        faults.not_negative(format!("{place}.standard_error"), Some(self.standard_error));
        let Self { low, high, .. } = Self::of(Estimate { mean: self.mean, standard_error: self.standard_error });
        for (end, found, expected) in [("low", self.low.get(), low.get()), ("high", self.high.get(), high.get())] {
            faults.must(near(found, expected), format!("{place}.{end}"), || {
                format!("is {found}, {expected} follows from {place}.mean and {place}.standard_error")
            });
        }
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * (1.0 + a.abs().max(b.abs()))
}

fn within_one(place: impl Into<String>, value: Finite, faults: &mut Faults) {
    faults.must((0.0..=1.0).contains(&value.get()), place, || format!("is {value}, outside 0 to 1"));
}

impl Evaluation {
    pub(super) fn check(&self, faults: &mut Faults) {
        self.score.check(faults);
        faults.must(!self.runs.is_empty(), "evaluation.runs", || "is empty".into());
        faults.at_most("evaluation.runs", self.runs.len(), MAX_ENTRIES);
        faults.at_most("evaluation.baselines", self.baselines.len(), MAX_ENTRIES);
        faults.at_most("evaluation.not_measured", self.not_measured.len(), MAX_ENTRIES);
        check_runs("evaluation.runs", &self.runs, faults);
        for (at, baseline) in self.baselines.iter().enumerate() {
            let place = format!("evaluation.baselines[{at}].runs");
            faults.at_most(&place, baseline.runs.len(), MAX_ENTRIES);
            check_runs(&place, &baseline.runs, faults);
        }
    }

    /// The submission's run of this id.
    pub(super) fn run(&self, id: &str) -> Option<&RunReference> {
        self.runs.iter().find(|run| run.task.to_string() == id)
    }

    /// Whether anybody's run has this id.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.run(id).is_some()
            || self.baselines.iter().flat_map(|baseline| &baseline.runs).any(|run| run.task.to_string() == id)
    }
}

fn check_runs(place: &str, runs: &[RunReference], faults: &mut Faults) {
    let mut tasks = BTreeSet::new();
    for (at, run) in runs.iter().enumerate() {
        let at = format!("{place}[{at}]");
        faults.must(tasks.insert(run.task), format!("{at}.task"), || {
            format!("is {}, which stands there twice", run.task)
        });
        let completed = run.outcome.as_str() == COMPLETED;
        faults.must(completed == run.reason.is_none(), format!("{at}.reason"), || match completed {
            true => "is set where the run completed".into(),
            false => "is missing where the run failed".into(),
        });
        for (field, interval) in [("bits_per_byte", &run.bits_per_byte), ("held_out", &run.held_out)] {
            if let Some(interval) = interval {
                interval.check(&format!("{at}.{field}"), faults);
            }
        }
    }
}

/// Why a share went to others where the scorer does not say.
pub(super) const FALLBACK: &str = "the scorer found no evidence for it";
/// How a run that was trained and measured to its end is called.
pub(super) const COMPLETED: &str = "completed";

impl Score {
    fn check(&self, faults: &mut Faults) {
        let place = "evaluation.score";
        match self.total {
            Some(total) => within_one(format!("{place}.total"), total, faults),
            None => {
                faults.must(!self.reasons.is_empty(), format!("{place}.reasons"), || {
                    format!("is empty, and {place}.total is null")
                });
                faults.must(!self.eligible, format!("{place}.eligible"), || {
                    format!("is true, and {place}.total is null")
                });
            }
        }
        faults.not_negative(format!("{place}.standard_error"), self.standard_error);
        faults.at_most(&format!("{place}.reasons"), self.reasons.len(), MAX_ENTRIES);
        if let Some(interval) = &self.bits_per_byte {
            interval.check(&format!("{place}.bits_per_byte"), faults);
        }
        for (name, track) in &self.tracks {
            track.check(&format!("{place}.tracks.{name}"), faults);
        }
    }
}

impl TrackReport {
    fn check(&self, place: &str, faults: &mut Faults) {
        within_one(format!("{place}.quality"), self.quality, faults);
        self.advantage.check(&format!("{place}.advantage"), faults);
        faults.at_most(&format!("{place}.components"), self.components.len(), MAX_ENTRIES);
        for (name, component) in &self.components {
            let at = format!("{place}.components.{name}");
            within_one(format!("{at}.value"), component.value, faults);
            within_one(format!("{at}.share"), component.share, faults);
            faults.not_negative(format!("{at}.standard_error"), Some(component.standard_error));
        }
        let sum: f64 = self.components.values().map(|component| component.share.get()).sum();
        faults.must(self.components.is_empty() || near(sum, 1.0), format!("{place}.components"), || {
            format!("has shares that sum to {sum}, not to 1")
        });
        for (name, share) in &self.redistributed {
            let at = format!("{place}.redistributed.{name}");
            within_one(format!("{at}.share"), share.share, faults);
            let both = self.components.contains_key(name);
            faults.must(!both, at, || format!("stands there, and {place}.components.{name} was measured"));
        }
    }
}
