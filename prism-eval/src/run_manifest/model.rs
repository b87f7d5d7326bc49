//! What was trained.
use super::{
    check::Faults,
    text::{Label, Sha256},
};
use prism_core::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Trained values, counted by the host. What Python says about its own size is not taken.
    #[schemars(range(min = 1))]
    pub parameter_count: Option<u64>,
    /// SHA-256 of `architecture_graph.json`: the architecture's identity.
    #[schemars(with = "Sha256")]
    pub architecture_graph_hash: Digest,
    /// Which tokenizer.
    pub tokenizer_kind: Label,
    /// Token ids.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub vocab_size: Option<u64>,
    /// Longest row, in predicted positions.
    #[schemars(range(min = 1))]
    pub max_sequence_length: u64,
    /// Bytes of what prediction needs, as a fresh auditor got them: the size of a model in Python.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_bytes: Option<u64>,
}

impl Model {
    pub(super) fn check(&self, faults: &mut Faults) {
        for (place, count) in [
            ("model.parameter_count", self.parameter_count),
            ("model.vocab_size", self.vocab_size),
            ("model.max_sequence_length", Some(self.max_sequence_length)),
        ] {
            if let Some(count) = count {
                faults.at_least(place, &count, &1);
            }
        }
    }
}
