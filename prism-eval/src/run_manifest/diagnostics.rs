//! The seven diagnostics of a run, each measured or said not to be.
use super::{
    check::Faults,
    text::{Label, Note},
};
use crate::measure::signals::{Diagnostic, DiagnosticStatus};
use prism_core::Finite;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most layers and warnings of one.
const MAX_LAYERS: usize = 4_096;

/// One diagnostic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiagnosticRecord {
    /// What came of it.
    pub status: DiagnosticStatus,
    /// Over all layers.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub aggregate: Option<Finite>,
    /// By layer.
    #[serde(default)]
    #[schemars(with = "BTreeMap<Label, f64>")]
    pub per_layer: BTreeMap<Label, Finite>,
    /// What is beyond a threshold.
    #[serde(default)]
    pub warnings: Vec<Note>,
    /// Why there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_applicable_reason: Option<Note>,
    /// What becomes of its share then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redistribution: Option<DiagnosticRedistribution>,
}

/// What becomes of the share of a diagnostic that was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiagnosticRedistribution {
    /// Whether it goes to others.
    pub enabled: bool,
    /// The policy that says so.
    #[serde(default)]
    pub policy_key: Option<Label>,
    /// The component within which it is shared out.
    #[serde(default)]
    pub target: Option<Label>,
    /// Why.
    #[serde(default)]
    pub reason: Option<Note>,
}

impl DiagnosticRecord {
    /// A diagnostic as it was read from evidence.
    #[must_use]
    pub fn of(diagnostic: &Diagnostic) -> Self {
        let redistribution = diagnostic.redistribution.as_ref().map(|redistribution| DiagnosticRedistribution {
            enabled: true,
            policy_key: Some(Label::fitted(&redistribution.policy_key)),
            target: Some(Label::fitted(&redistribution.target)),
            reason: Some(Note::fitted(&redistribution.reason)),
        });
        let layers = diagnostic.per_layer.iter().take(MAX_LAYERS);
        Self {
            status: diagnostic.status,
            aggregate: diagnostic.aggregate,
            per_layer: layers.map(|(layer, value)| (Label::fitted(layer), *value)).collect(),
            warnings: diagnostic.warnings.iter().take(MAX_LAYERS).map(|warning| Note::fitted(warning)).collect(),
            not_applicable_reason: diagnostic.not_applicable_reason.as_deref().map(Note::fitted),
            redistribution,
        }
    }

    pub(super) fn check(&self, place: &str, faults: &mut Faults) {
        let at = |field: &str| format!("{place}.{field}");
        faults.at_most(&at("per_layer"), self.per_layer.len(), MAX_LAYERS);
        faults.at_most(&at("warnings"), self.warnings.len(), MAX_LAYERS);
        if let Some(redistribution) = self.redistribution.as_ref().filter(|redistribution| redistribution.enabled) {
            let missing = [
                ("policy_key", redistribution.policy_key.is_none()),
                ("target", redistribution.target.is_none()),
                ("reason", redistribution.reason.is_none()),
            ];
            for (field, _) in missing.into_iter().filter(|(_, missing)| *missing) {
                faults.say(at(&format!("redistribution.{field}")), "is missing where redistribution is enabled");
            }
        }
        let redistributed = self.redistribution.as_ref().is_some_and(|redistribution| redistribution.enabled);
        match self.status {
            DiagnosticStatus::NotApplicable => {
                faults.must(self.aggregate.is_none(), at("aggregate"), || {
                    "is set where the diagnostic is not applicable".into()
                });
                faults.must(self.not_applicable_reason.is_some(), at("not_applicable_reason"), || {
                    "is missing where the diagnostic is not applicable".into()
                });
                faults.must(redistributed, at("redistribution"), || {
                    "is not enabled where the diagnostic is not applicable".into()
                });
            }
            DiagnosticStatus::Ok | DiagnosticStatus::Warning => {
                faults.must(self.aggregate.is_some(), at("aggregate"), || {
                    "is null where the diagnostic was measured".into()
                });
                faults.must(!redistributed, at("redistribution"), || {
                    "is enabled where the diagnostic was measured".into()
                });
            }
        }
        let silent = self.status == DiagnosticStatus::Warning && self.warnings.is_empty();
        faults.must(!silent, at("warnings"), || "is empty where the status is a warning".into());
    }
}
