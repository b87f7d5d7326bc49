//! `prism_run_manifest.v1.json`: what a submission was measured as, written by the evaluator and never by the miner.
//!
//! The form is that of the subnet's first version, so that manifests of that time can be read ([`RunManifest::read`]).
//! What it lacks is added and nothing is changed:
//!
//! - `evaluation`: policy, cohort and seed, scorer and component shares, confidence intervals, eligibility, the digest of
//!   each run's evidence. A manifest that this program writes always has it.
//! - Numbers that were not measured may be `null`, and empty a curve, where `evaluation.not_measured` says why. Without
//!   that block all of them must be there. No number is invented.
//! - `model.snapshot_bytes` and `artifacts.architecture_mermaid`.
//!
//! Losses are bits per byte of raw text. Reading and writing are strict alike: form, bounds ([`MAX_BYTES`], [`MAX_ITEMS`])
//! and what the places must say about each other ([`RunManifest::check`]); whatever is refused is named with its place in
//! the JSON. The form is published as a JSON Schema ([`schema`]), kept in `docs/prism_run_manifest.v1.schema.json`.
pub mod architecture;
mod artifacts;
mod check;
mod compute;
mod dataset;
mod diagnostics;
mod error;
mod evaluation;
mod metrics;
mod model;
mod read;
mod record;
mod run_log;
mod score;
#[cfg(test)]
mod tests;
mod text;
mod validation;

pub use artifacts::{Artifact, Artifacts, CheckpointArtifact};
pub use check::Violation;
pub use compute::Compute;
pub use dataset::{Dataset, DatasetRecord};
pub use diagnostics::{DiagnosticRecord, DiagnosticRedistribution};
pub use error::ManifestError;
pub use evaluation::{
    BaselineReference, CohortReference, ComponentReport, Evaluation, EvaluationSchema, Interval, Kind, LossUnit,
    PolicyReference, RedistributedShare, RunReference, Score, TrackReport,
};
pub use metrics::{Loss, LossRedistribution, LossScope, MetricPoint, Metrics};
pub use model::Model;
pub use read::{MAX_BYTES, MAX_ITEMS};
pub use record::{Devices, ManifestFiles, RUN_LOG_FILE, Record, counting_run};
pub use text::{Label, MAX_LABEL, MAX_NOTE, Note, RelativePath, TextError};
pub use validation::{SourceEvidence, Validation};

pub use crate::measure::signals::DiagnosticStatus;

use check::Faults;
use prism_core::plan::RunMode;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize};

/// The manifest's file name.
pub const FILE: &str = "prism_run_manifest.v1.json";

/// The form of a [`RunManifest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ManifestSchema {
    /// The only one.
    #[serde(rename = "prism_run_manifest.v1")]
    V1,
}

/// How much was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A moment on a processor, to see that all of it is wired. Never a score.
    LocalCpuSmoke,
    /// The budget that submissions are compared at.
    GpuProxyEval,
    /// The larger one that titles are confirmed at.
    FullScaleEval,
}

impl From<RunMode> for Mode {
    fn from(mode: RunMode) -> Self {
        match mode {
            RunMode::LocalCpuSmoke => Self::LocalCpuSmoke,
            RunMode::GpuProxyEval => Self::GpuProxyEval,
            RunMode::FullScaleEval => Self::FullScaleEval,
        }
    }
}

/// What a submission was measured as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunManifest {
    /// The form.
    pub schema_version: ManifestSchema,
    /// The submission.
    pub submission_id: Label,
    /// Its family.
    pub architecture_id: Label,
    /// The architecture as submitted: the digest of what is run.
    pub architecture_version_id: Label,
    /// The recipe as submitted, or the reference recipe.
    pub training_script_version_id: Label,
    /// The run that counts: its task.
    pub run_id: Label,
    /// How much was run.
    pub mode: Mode,
    /// Which text.
    pub dataset: Dataset,
    /// What was trained.
    pub model: Model,
    /// What it ran on.
    pub compute: Compute,
    /// What was measured.
    pub metrics: Metrics,
    /// The files beside it.
    pub artifacts: Artifacts,
    /// Whether it may count.
    pub validation: Validation,
    /// What stands behind the numbers; absent in manifests of the first version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
}

impl RunManifest {
    /// Reads a manifest, of this version or the first, and checks it.
    ///
    /// # Errors
    /// What is wrong, with its place in the JSON.
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = read::read(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The manifest as indented JSON with a line feed at its end: the bytes that its digest is of.
    ///
    /// # Errors
    /// The rules that it breaks: what could not be read is not written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|_| ManifestError::Unwritable("manifest"))?;
        bytes.push(b'\n');
        if bytes.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// What the places of the manifest must say, each by itself and about each other.
    ///
    /// # Errors
    /// All rules that it breaks, each with its place.
    pub fn check(&self) -> Result<(), ManifestError> {
        let mut faults = Faults::default();
        self.dataset.check(&mut faults);
        self.model.check(&mut faults);
        self.compute.check(&mut faults);
        self.metrics.check(&mut faults);
        self.artifacts.check(&mut faults);
        self.validation.check(&mut faults);
        self.check_nulls(&mut faults);
        self.check_counts(&mut faults);
        let smoke = self.mode == Mode::LocalCpuSmoke;
        faults.must(!(smoke && self.validation.score_eligible), "validation.score_eligible", || {
            "is true, mode is local_cpu_smoke, which is never eligible".into()
        });
        if let Some(evaluation) = &self.evaluation {
            evaluation.check(&mut faults);
            self.check_evaluation(evaluation, &mut faults);
        }
        match faults.into_violations() {
            violations if violations.is_empty() => Ok(()),
            violations => Err(ManifestError::Rules(violations)),
        }
    }

    /// What must hold besides before rewards may follow.
    ///
    /// # Errors
    /// All that speaks against it, each with its place.
    pub fn check_official(&self) -> Result<(), ManifestError> {
        self.check()?;
        match self.unofficial() {
            violations if violations.is_empty() => Ok(()),
            violations => Err(ManifestError::Rules(violations)),
        }
    }

    /// What speaks against rewards.
    fn unofficial(&self) -> Vec<Violation> {
        let mut faults = Faults::default();
        let (validation, loss) = (&self.validation, &self.metrics.loss);
        faults.must(self.mode != Mode::LocalCpuSmoke, "mode", || "is local_cpu_smoke, which is never eligible".into());
        faults.must(validation.passed, "validation.passed", || "is false".into());
        faults.must(validation.score_eligible, "validation.score_eligible", || "is false".into());
        faults.must(loss.loss_comparable, "metrics.loss.loss_comparable", || "is false".into());
        let redistributed = loss.loss_component_redistribution.enabled;
        faults.must(!redistributed, "metrics.loss.loss_component_redistribution.enabled", || {
            "is true: a loss that is redistributed earns nothing".into()
        });
        let report = self.dataset.contamination_report_path.is_some();
        faults.must(report, "dataset.contamination_report_path", || "is null".into());
        faults.into_violations()
    }

    fn check_counts(&self, faults: &mut Faults) {
        let (model, compute, metrics) = (&self.model, &self.compute, &self.metrics);
        faults.same(
            "metrics.parameter_count",
            &metrics.parameter_count,
            "model.parameter_count",
            &model.parameter_count,
        );
        faults.same("metrics.gpu_count", &metrics.gpu_count, "compute.gpu_count", &compute.gpu_count);
        faults.same("metrics.tokens_seen", &metrics.tokens_seen, "compute.tokens_seen", &compute.tokens_seen);
        let flops = (&metrics.estimated_flops, &compute.estimated_flops);
        faults.same("metrics.estimated_flops", flops.0, "compute.estimated_flops", flops.1);
        let graph = &self.artifacts.architecture_graph;
        faults.same(
            "artifacts.architecture_graph.sha256",
            &graph.sha256,
            "model.architecture_graph_hash",
            &Some(model.architecture_graph_hash),
        );
        if let Some(path) = &compute.checkpoint_path {
            let listed = self.artifacts.checkpoints.iter().any(|checkpoint| checkpoint.path == *path);
            faults.must(listed, "compute.checkpoint_path", || {
                format!("is {:?}, which is no path of artifacts.checkpoints", path.as_str())
            });
        }
    }

    /// The places that may be null or empty with a reason, and whether they are.
    fn places(&self) -> [(&'static str, bool); 17] {
        let (dataset, model, compute, metrics) = (&self.dataset, &self.model, &self.compute, &self.metrics);
        let loss = &metrics.loss;
        [
            ("dataset.train_split_fingerprint", dataset.train_split_fingerprint.is_none()),
            ("dataset.validation_split_fingerprint", dataset.validation_split_fingerprint.is_none()),
            ("dataset.test_split_fingerprint", dataset.test_split_fingerprint.is_none()),
            ("model.parameter_count", model.parameter_count.is_none()),
            ("compute.estimated_flops", compute.estimated_flops.is_none()),
            ("compute.wall_clock_seconds", compute.wall_clock_seconds.is_none()),
            ("metrics.loss_vs_tokens", metrics.loss_vs_tokens.is_empty()),
            ("metrics.loss_vs_compute", metrics.loss_vs_compute.is_empty()),
            ("metrics.loss_vs_params", metrics.loss_vs_params.is_empty()),
            ("metrics.learning_speed_slope", metrics.learning_speed_slope.is_none()),
            ("metrics.estimated_flops", metrics.estimated_flops.is_none()),
            ("metrics.parameter_count", metrics.parameter_count.is_none()),
            ("metrics.loss.raw_final_loss", loss.raw_final_loss.is_none()),
            ("metrics.loss.standardized_eval_loss", loss.standardized_eval_loss.is_none()),
            ("metrics.loss.baseline_run_id", loss.baseline_run_id.is_none()),
            ("metrics.loss.relative_loss_reduction", loss.relative_loss_reduction.is_none()),
            (
                "metrics.loss.architecture_normalized_heldout_improvement",
                loss.architecture_normalized_heldout_improvement.is_none(),
            ),
        ]
    }

    fn check_nulls(&self, faults: &mut Faults) {
        let reasons = self.evaluation.as_ref().map(|evaluation| &evaluation.not_measured);
        let places = self.places();
        for (place, missing) in places {
            let reason = reasons.is_some_and(|reasons| reasons.keys().any(|key| key.as_str() == place));
            faults.must(!missing || reason, place, || {
                "is null or empty, and evaluation.not_measured gives no reason".into()
            });
            faults.must(missing || !reason, format!("evaluation.not_measured.{place}"), || {
                format!("gives a reason, and {place} was measured")
            });
        }
        for key in reasons.into_iter().flat_map(|reasons| reasons.keys()) {
            let known = places.iter().any(|(place, _)| *place == key.as_str());
            faults.must(known, format!("evaluation.not_measured.{key}"), || "is no place that may be null".into());
        }
    }

    fn check_evaluation(&self, evaluation: &Evaluation, faults: &mut Faults) {
        match evaluation.run(self.run_id.as_str()) {
            None => faults.say("run_id", format!("is {}, which is no task of evaluation.runs", self.run_id)),
            Some(run) => {
                faults.same("compute.tokens_seen", &self.compute.tokens_seen, "the tokens of its run", &run.tokens);
            }
        }
        if let Some(baseline) = &self.metrics.loss.baseline_run_id {
            let known = evaluation.knows(baseline.as_str());
            faults.must(known, "metrics.loss.baseline_run_id", || {
                format!("is {baseline}, which is no task of evaluation.runs or evaluation.baselines")
            });
        }
        let ids = self.compute.gpu_device_ids.len();
        let fits = ids == 0 || u32::try_from(ids).is_ok_and(|ids| ids == self.compute.gpu_count);
        faults.must(fits, "compute.gpu_device_ids", || {
            format!("has {ids} entries, compute.gpu_count is {}", self.compute.gpu_count)
        });
        let passed = evaluation.score.total.is_some();
        faults.must(self.validation.passed == passed, "validation.passed", || match passed {
            true => "is false, and evaluation.score.total is a number".into(),
            false => "is true, and evaluation.score.total is null".into(),
        });
        if self.validation.score_eligible {
            faults.must(evaluation.score.eligible, "validation.score_eligible", || {
                "is true, evaluation.score.eligible is false".into()
            });
            for violation in self.unofficial() {
                faults.say("validation.score_eligible", format!("is true, and {violation}"));
            }
        }
    }
}

/// The JSON Schema of a manifest (draft 2020-12). What it can't say, [`RunManifest::check`] does.
#[must_use]
pub fn schema() -> serde_json::Value {
    let generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    generator.into_root_schema_for::<RunManifest>().to_value()
}
