//! `architecture_metadata.v1.json`.
use super::{GRAPH_FILE, Known, MERMAID_FILE, canonical::canonical_json, graph::ArchitectureGraph};
use crate::run_manifest::{
    check::{Faults, Violation},
    error::ManifestError,
    read,
    text::{Label, Note, RelativePath},
    validation::{SourceEvidence, check_evidence},
};
use prism_core::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Steps, or classes and calls, from which on an architecture is no longer a simple one, and from which on a large one.
const TIERS: [(u64, &str); 2] = [(16, "low"), (40, "medium")];
/// Most entries of one list or mapping.
const MAX_ENTRIES: usize = 4_096;
/// Calls, blocks and classes that are told of in the comparison.
const MAX_TOLD: usize = 64;

/// The form of an [`ArchitectureMetadata`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataSchema {
    /// The only one.
    #[serde(rename = "architecture_metadata.v1")]
    V1,
}

/// What is known of an architecture, without its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchitectureMetadata {
    /// The form.
    pub schema_version: MetadataSchema,
    /// Which architecture.
    pub identity: Identity,
    /// Its graph.
    pub graph: GraphReference,
    /// Its flowchart.
    #[serde(default)]
    pub derived_mermaid_path: Option<RelativePath>,
    /// In a few words.
    pub architecture_summary: Note,
    /// What it is trained with.
    #[serde(default)]
    pub training_summary: Option<Note>,
    /// What kind of project it came in.
    #[serde(default)]
    pub overview: BTreeMap<Label, Value>,
    /// How large it is.
    #[serde(default)]
    pub difficulty: BTreeMap<Label, Value>,
    /// What it is compared by.
    #[serde(default)]
    pub comparison: BTreeMap<Label, Value>,
    /// What it is made of, in words.
    #[serde(default)]
    pub comparison_tags: Vec<Label>,
    /// What proves it.
    #[serde(default)]
    pub deterministic_evidence: Vec<SourceEvidence>,
}

/// Which architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The family.
    pub architecture_id: Label,
    /// The digest of what is run.
    pub architecture_version_id: Label,
    /// SHA-256 of the canonical graph.
    pub architecture_graph_hash: Digest,
    /// What identifies its source.
    #[serde(default)]
    pub architecture_source_hash: Option<Digest>,
    /// What it was evaluated under.
    pub evaluation_config_id: Label,
    /// Who holds the family's slot.
    #[serde(default)]
    pub owner_hotkey: Option<Label>,
}

/// The graph of an architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphReference {
    /// `architecture_graph.json`.
    pub canonical_artifact: Label,
    /// Its hash.
    pub hash: HashReference,
    /// What stands in it.
    pub node_count: u64,
    /// What joins that.
    pub edge_count: u64,
    /// The parts of it that can be compared without a source.
    pub source_free_comparison_keys: Vec<Label>,
}

/// A hash, and of what spelling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashReference {
    /// `sha256`.
    pub algorithm: Label,
    /// The hash.
    pub value: Digest,
    /// How the graph is spelled for it.
    pub canonicalization: Label,
}

impl ArchitectureMetadata {
    pub(super) fn of(graph: &ArchitectureGraph, hash: Digest, source: Digest, known: &Known<'_>) -> Self {
        let (nodes, edges) = graph.size();
        let native = graph.operators.is_some();
        let score = if native { nodes } else { (graph.classes.len() + graph.calls.len()) as u64 };
        let tier = TIERS.iter().find(|(least, _)| score < *least).map_or("high", |(_, tier)| *tier);
        let told = |names: &[String]| names.iter().take(MAX_TOLD).cloned().collect::<Vec<_>>();
        let named =
            |pairs: Vec<(&str, Value)>| pairs.into_iter().map(|(key, value)| (Label::fitted(key), value)).collect();
        let labels = |names: &[&str]| names.iter().map(|name| Label::fitted(name)).collect::<Vec<_>>();
        let mut tags: Vec<String> = match native {
            true => graph.calls.clone(),
            false => graph.parameterized_blocks.iter().map(|block| block.kind.to_lowercase()).collect(),
        };
        tags.push(if native { "declared" } else { "python" }.to_owned());
        tags.sort();
        tags.dedup();
        Self {
            schema_version: MetadataSchema::V1,
            identity: Identity {
                architecture_id: Label::fitted(&known.family.to_string()),
                architecture_version_id: Label::fitted(&known.version.to_string()),
                architecture_graph_hash: hash,
                architecture_source_hash: Some(source),
                evaluation_config_id: Label::fitted(&format!("policy:{}", known.policy)),
                owner_hotkey: known.owner.map(|owner| Label::fitted(&owner.ss58())),
            },
            graph: GraphReference {
                canonical_artifact: Label::fitted(GRAPH_FILE),
                hash: HashReference {
                    algorithm: Label::fitted("sha256"),
                    value: hash,
                    canonicalization: Label::fitted("json-sort-keys-no-whitespace"),
                },
                node_count: nodes,
                edge_count: edges,
                source_free_comparison_keys: labels(match native {
                    true => &["calls", "parameterized_blocks", "operators"],
                    false => &["modules", "classes", "functions", "imports", "calls"],
                }),
            },
            derived_mermaid_path: RelativePath::new(MERMAID_FILE).ok(),
            architecture_summary: summary(graph),
            training_summary: known.training.map(Note::fitted),
            overview: named(vec![
                ("project_kind", json!(known.kind)),
                ("language", json!(if native { "declared" } else { "python" })),
                ("primary_classes", json!(told(&graph.classes))),
            ]),
            difficulty: named(vec![("tier", json!(tier)), ("complexity_score", json!(score))]),
            comparison: named(vec![
                ("architecture_graph_hash", json!(hash)),
                ("calls", json!(told(&graph.calls))),
                ("dynamic_routing", json!(graph.dynamic_routing.enabled)),
            ]),
            comparison_tags: tags.iter().take(MAX_TOLD).map(|tag| Label::fitted(tag)).collect(),
            deterministic_evidence: vec![SourceEvidence {
                rule_id: Label::fitted("architecture.identity.graph_hash"),
                artifact_path: Label::fitted(GRAPH_FILE),
                line: None,
                ast_node: Some(Label::fitted("document")),
                snippet_hash: hash,
                explanation: Note::fitted("SHA-256 of the canonical graph is the architecture's identity"),
            }],
        }
    }

    /// Reads metadata and checks it.
    ///
    /// # Errors
    /// What is wrong, with its place in the JSON.
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        let metadata: Self = read::read(bytes)?;
        metadata.check()?;
        Ok(metadata)
    }

    /// The bytes that its digest is of: sorted keys, no whitespace.
    ///
    /// # Errors
    /// The rules that it breaks: what could not be read is not written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let value = serde_json::to_value(self).map_err(|_| ManifestError::Unwritable("architecture metadata"))?;
        Ok(canonical_json(&value))
    }

    /// What its places must say about each other.
    ///
    /// # Errors
    /// All rules that it breaks, each with its place.
    pub fn check(&self) -> Result<(), ManifestError> {
        let mut faults = Faults::default();
        let (identity, graph) = (&self.identity, &self.graph);
        faults.same(
            "identity.architecture_graph_hash",
            &identity.architecture_graph_hash,
            "graph.hash.value",
            &graph.hash.value,
        );
        for (place, found, expected) in [
            ("graph.canonical_artifact", &graph.canonical_artifact, GRAPH_FILE),
            ("graph.hash.algorithm", &graph.hash.algorithm, "sha256"),
        ] {
            faults.must(found.as_str() == expected, place, || format!("is {found}, not {expected}"));
        }
        let keys = graph.source_free_comparison_keys.len();
        faults.must(keys > 0, "graph.source_free_comparison_keys", || "is empty".into());
        for (place, entries) in [
            ("graph.source_free_comparison_keys", keys),
            ("overview", self.overview.len()),
            ("difficulty", self.difficulty.len()),
            ("comparison", self.comparison.len()),
            ("comparison_tags", self.comparison_tags.len()),
            ("deterministic_evidence", self.deterministic_evidence.len()),
        ] {
            faults.at_most(place, entries, MAX_ENTRIES);
        }
        check_evidence(&self.deterministic_evidence, "deterministic_evidence", &mut faults);
        let violations: Vec<Violation> = faults.into_violations();
        if violations.is_empty() { Ok(()) } else { Err(ManifestError::Rules(violations)) }
    }
}

fn summary(graph: &ArchitectureGraph) -> Note {
    let blocks = graph.parameterized_blocks.len();
    Note::fitted(&match &graph.operators {
        Some(operators) => {
            let (parameters, layers) = (crate::graph::parameters(operators), crate::graph::layers(operators));
            let steps = operators.steps.len();
            format!(
                "declared: {steps} operators, {blocks} of them with weights, {parameters} parameters, depth {layers}"
            )
        }
        None => {
            let classes = graph.classes.iter().take(MAX_TOLD).cloned().collect::<Vec<_>>().join(", ");
            let required = graph.interface.required.join(", ");
            format!("python: classes {classes}; functions {required}; {blocks} blocks with weights")
        }
    })
}
