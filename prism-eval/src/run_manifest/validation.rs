//! Whether the run may count.
use super::{
    check::Faults,
    text::{Label, Note, Sha256},
};
use prism_core::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most findings, warnings or errors.
const MAX_LINES: usize = 1_024;

/// Whether the run may count, and what speaks against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Whether it was measured to its end.
    pub passed: bool,
    /// Whether rewards may follow from it.
    pub score_eligible: bool,
    /// What deterministic rules found in the source.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub deterministic_evidence: Vec<SourceEvidence>,
    /// What people should know.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub warnings: Vec<Note>,
    /// What failed.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub errors: Vec<Note>,
}

/// A finding in a source, without the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceEvidence {
    /// The rule.
    pub rule_id: Label,
    /// The file.
    pub artifact_path: Label,
    /// The line, from 1; this or `ast_node` must be there.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub line: Option<u32>,
    /// The part of the program.
    #[serde(default)]
    pub ast_node: Option<Label>,
    /// Of the lines in question.
    #[schemars(with = "Sha256")]
    pub snippet_hash: Digest,
    /// For people.
    pub explanation: Note,
}

impl Validation {
    pub(super) fn check(&self, faults: &mut Faults) {
        for (place, lines) in [
            ("validation.deterministic_evidence", self.deterministic_evidence.len()),
            ("validation.warnings", self.warnings.len()),
            ("validation.errors", self.errors.len()),
        ] {
            faults.at_most(place, lines, MAX_LINES);
        }
        check_evidence(&self.deterministic_evidence, "validation.deterministic_evidence", faults);
    }
}

pub(super) fn check_evidence(all: &[SourceEvidence], place: &str, faults: &mut Faults) {
    for (at, evidence) in all.iter().enumerate() {
        let located = evidence.line.is_some() || evidence.ast_node.is_some();
        faults.must(located, format!("{place}[{at}]"), || "has neither `line` nor `ast_node`".into());
        faults.must(evidence.line != Some(0), format!("{place}[{at}].line"), || "is 0, lines count from 1".into());
    }
}
