//! `architecture_graph.json`.
use super::canonical::canonical_json;
use crate::{
    graph::ResolvedGraph,
    run_manifest::{error::ManifestError, read},
};
use prism_core::Digest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most entries of one list.
pub(super) const MAX_ENTRIES: usize = 4_096;
/// Most characters of one entry.
pub(super) const MAX_ENTRY: usize = 200;

/// The form of an [`ArchitectureGraph`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GraphSchema {
    /// The only one.
    #[default]
    #[serde(rename = "architecture_graph.v1")]
    V1,
}

/// An architecture, seen from outside. Lists are sorted and hold everything once; of more than 4096 entries the first are
/// kept, and `omitted` says how many are not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchitectureGraph {
    /// The form.
    pub schema_version: GraphSchema,
    /// Modules of Python.
    pub modules: Vec<String>,
    /// Classes, in lower case and without the words that say nothing.
    pub classes: Vec<String>,
    /// Functions and methods.
    pub functions: Vec<String>,
    /// What is imported.
    pub imports: Vec<String>,
    /// What is called; of a declared architecture its operators.
    pub calls: Vec<String>,
    /// What has weights.
    pub parameterized_blocks: Vec<Block>,
    /// What it asks of a tokenizer.
    pub tokenizer_constraints: TokenizerConstraints,
    /// Whether tokens take ways of their own through it.
    pub dynamic_routing: Routing,
    /// What it offers to whoever trains it.
    pub interface: Interface,
    /// The canonical operators of a declared architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operators: Option<ResolvedGraph>,
    /// Entries that found no room.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Something with weights.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// What it is bound to.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// What it is made with, by position.
    pub args: Vec<String>,
    /// What it is made with, by name.
    pub keywords: BTreeMap<String, String>,
}

/// What an architecture asks of a tokenizer. The host holds it and has the last word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerConstraints {
    /// Token ids, where the architecture is resolved for a number of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocab_size: Option<u32>,
    /// Longest row, in predicted positions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence_length: Option<u32>,
}

/// Whether tokens take ways of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// Whether anything that is called hints at it.
    pub enabled: bool,
}

/// The functions of the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Of those that must be there.
    pub required: Vec<String>,
    /// Of those that may be there.
    pub optional_hooks: Vec<String>,
}

impl ArchitectureGraph {
    /// Reads a graph.
    ///
    /// # Errors
    /// What is wrong, with its place in the JSON.
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        read::read(bytes)
    }

    /// The bytes that identify the architecture: sorted keys, no whitespace.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        // Numbers are finite by type: there is no value that JSON can't carry.
        canonical_json(&serde_json::to_value(self).unwrap_or_default())
    }

    /// SHA-256 of the canonical bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical_bytes())
    }

    /// What stands in it, and what joins that.
    pub(super) fn size(&self) -> (u64, u64) {
        if let Some(operators) = &self.operators {
            let edges: usize = operators.steps.iter().map(|step| step.inputs.len()).sum();
            return (operators.steps.len() as u64 + 1, edges as u64);
        }
        let nodes = [&self.modules, &self.classes, &self.functions].map(Vec::len).iter().sum::<usize>();
        let edges = self.imports.len() + self.calls.len();
        ((nodes + self.parameterized_blocks.len()) as u64, edges as u64)
    }

    /// Puts entries in, sorted and each once, as far as there is room.
    pub(super) fn fitted<T: Ord>(&mut self, entries: BTreeSet<T>) -> Vec<T> {
        self.omitted = self.omitted.saturating_add(entries.len().saturating_sub(MAX_ENTRIES) as u64);
        entries.into_iter().take(MAX_ENTRIES).collect()
    }
}
