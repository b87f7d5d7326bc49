//! What the host measured.
use super::{
    check::Faults,
    diagnostics::DiagnosticRecord,
    text::{Label, Note},
};
use crate::measure::signals::DIAGNOSTICS;
use prism_core::Finite;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most points of one curve.
pub(super) const MAX_POINTS: usize = 16_384;
/// Most benchmarks, diagnostics and lines about them.
const MAX_NAMES: usize = 1_024;

/// Curves, counts, diagnostics and losses of the run that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Loss at each measuring point, over tokens trained on.
    #[schemars(length(max = 16384))]
    pub loss_vs_tokens: Vec<MetricPoint>,
    /// The same over floating-point operations.
    #[schemars(length(max = 16384))]
    pub loss_vs_compute: Vec<MetricPoint>,
    /// Loss at the end, over parameters: this size, and the probes of others.
    #[schemars(length(max = 16384))]
    pub loss_vs_params: Vec<MetricPoint>,
    /// Loss gained for each e-fold of tokens over the later half of the points; negative while it learns.
    #[schemars(with = "Option<f64>")]
    pub learning_speed_slope: Option<Finite>,
    /// As `compute.tokens_seen`.
    pub tokens_seen: u64,
    /// As `compute.estimated_flops`.
    #[schemars(with = "Option<f64>", range(min = 0.0))]
    pub estimated_flops: Option<Finite>,
    /// As `model.parameter_count`.
    #[schemars(range(min = 1))]
    pub parameter_count: Option<u64>,
    /// Score of each evaluation task.
    #[schemars(with = "BTreeMap<Label, f64>")]
    pub benchmark_scores: BTreeMap<Label, Finite>,
    /// What each evaluation task asks for.
    #[serde(default)]
    pub benchmark_capability_metadata: BTreeMap<Label, Value>,
    /// How far each score scatters.
    #[serde(default)]
    pub benchmark_noise_metadata: BTreeMap<Label, Value>,
    /// What of each task stands in the training text.
    #[serde(default)]
    pub benchmark_contamination_metadata: BTreeMap<Label, Value>,
    /// The diagnostics by name; the seven required ones and any others.
    #[schemars(length(min = 1))]
    pub diagnostics: BTreeMap<Label, DiagnosticRecord>,
    /// As `compute.gpu_count`.
    pub gpu_count: u32,
    /// How losses compare.
    pub loss: Loss,
    /// Loss at the last measuring point.
    #[serde(default)]
    #[schemars(with = "Option<f64>", range(min = 0.0))]
    pub final_loss: Option<Finite>,
}

/// One point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricPoint {
    /// Tokens, operations or parameters.
    #[schemars(with = "f64", range(min = 0.0))]
    pub x: Finite,
    /// The loss there.
    #[schemars(with = "f64", range(min = 0.0))]
    pub loss: Finite,
}

/// In what a loss is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossScope {
    /// Per token of one tokenizer that all share.
    FixedTokenizer,
    /// Per byte of raw text.
    ByteNormalized,
    /// Relative to a baseline of the same architecture.
    ArchitectureBaseline,
}

/// Losses, and whether they can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// At the last measuring point.
    #[schemars(with = "Option<f64>", range(min = 0.0))]
    pub raw_final_loss: Option<Finite>,
    /// On held-out rows after training.
    #[schemars(with = "Option<f64>", range(min = 0.0))]
    pub standardized_eval_loss: Option<Finite>,
    /// In what both are counted.
    pub loss_normalization_scope: LossScope,
    /// The run that it is compared with.
    pub baseline_run_id: Option<Label>,
    /// Part of the loss of guessing all tokens alike that is gone at the end: `1 - loss / loss of guessing`.
    #[schemars(with = "Option<f64>")]
    pub relative_loss_reduction: Option<Finite>,
    /// Loss saved against `baseline_run_id` on the same held-out rows.
    #[schemars(with = "Option<f64>")]
    pub architecture_normalized_heldout_improvement: Option<Finite>,
    /// Whether the run and `baseline_run_id` saw the same rows under the same budget.
    pub loss_comparable: bool,
    /// What becomes of the share of losses otherwise.
    pub loss_component_redistribution: LossRedistribution,
}

/// What becomes of the share of a loss that can't be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LossRedistribution {
    /// Whether it goes to others.
    pub enabled: bool,
    /// Which track has it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_track: Option<Label>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Note>,
}

impl Metrics {
    pub(super) fn check(&self, faults: &mut Faults) {
        for (name, curve) in [
            ("loss_vs_tokens", &self.loss_vs_tokens),
            ("loss_vs_compute", &self.loss_vs_compute),
            ("loss_vs_params", &self.loss_vs_params),
        ] {
            faults.at_most(&format!("metrics.{name}"), curve.len(), MAX_POINTS);
            for (at, point) in curve.iter().enumerate() {
                faults.not_negative(format!("metrics.{name}[{at}].x"), Some(point.x));
                faults.not_negative(format!("metrics.{name}[{at}].loss"), Some(point.loss));
            }
        }
        if let Some(count) = self.parameter_count {
            faults.at_least("metrics.parameter_count", &count, &1);
        }
        faults.not_negative("metrics.estimated_flops", self.estimated_flops);
        faults.not_negative("metrics.final_loss", self.final_loss);
        for (name, entries) in [
            ("benchmark_scores", self.benchmark_scores.len()),
            ("benchmark_capability_metadata", self.benchmark_capability_metadata.len()),
            ("benchmark_noise_metadata", self.benchmark_noise_metadata.len()),
            ("benchmark_contamination_metadata", self.benchmark_contamination_metadata.len()),
            ("diagnostics", self.diagnostics.len()),
        ] {
            faults.at_most(&format!("metrics.{name}"), entries, MAX_NAMES);
        }
        for name in DIAGNOSTICS {
            let there = self.diagnostics.keys().any(|key| key.as_str() == name);
            faults.must(there, format!("metrics.diagnostics.{name}"), || "is missing".into());
        }
        for (name, record) in &self.diagnostics {
            record.check(&format!("metrics.diagnostics.{name}"), faults);
        }
        self.loss.check(faults);
    }
}

impl Loss {
    fn check(&self, faults: &mut Faults) {
        faults.not_negative("metrics.loss.raw_final_loss", self.raw_final_loss);
        faults.not_negative("metrics.loss.standardized_eval_loss", self.standardized_eval_loss);
        let redistribution = &self.loss_component_redistribution;
        let place = "metrics.loss.loss_component_redistribution";
        faults.must(!(self.loss_comparable && redistribution.enabled), format!("{place}.enabled"), || {
            "is true, and metrics.loss.loss_comparable is true: a loss that can be compared is not redistributed".into()
        });
        faults.must(!redistribution.enabled || redistribution.reason.is_some(), format!("{place}.reason"), || {
            "is missing where redistribution is enabled".into()
        });
    }
}
