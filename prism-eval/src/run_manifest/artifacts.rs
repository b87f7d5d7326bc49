//! The files beside a manifest, by digest.
use super::{
    check::Faults,
    text::{Label, RelativePath, Sha256},
};
use prism_core::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most checkpoints of one run.
const MAX_CHECKPOINTS: usize = 4_096;
/// Most bytes of one checkpoint.
const MAX_CHECKPOINT_BYTES: u64 = 10_000_000_000;

/// The files beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifacts {
    /// `architecture_graph.json`.
    pub architecture_graph: Artifact,
    /// `architecture_metadata.v1.json`.
    pub architecture_metadata: Artifact,
    /// What happened, line by line.
    pub run_log: Artifact,
    /// Checkpoints that the run left.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub checkpoints: Vec<CheckpointArtifact>,
    /// Further numbers.
    #[serde(default)]
    pub metrics: Option<Artifact>,
    /// The architecture drawn for people, derived from the graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture_mermaid: Option<Artifact>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its name beside the manifest.
    pub path: RelativePath,
    /// Of its bytes.
    #[serde(default)]
    #[schemars(with = "Option<Sha256>")]
    pub sha256: Option<Digest>,
    /// Its media type.
    #[serde(default)]
    pub content_type: Option<Label>,
    /// Its size.
    #[serde(default)]
    pub bytes: Option<u64>,
}

/// One checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointArtifact {
    /// The file.
    pub path: RelativePath,
    /// What is known of it.
    pub metadata_path: RelativePath,
    /// Its size.
    #[schemars(range(max = 10_000_000_000u64))]
    pub bytes: u64,
    /// The attempt that wrote it, from 1.
    #[schemars(range(min = 1))]
    pub attempt: u32,
    /// Processes of that attempt.
    #[schemars(range(min = 1))]
    pub world_size: u32,
    /// The process that wrote it.
    pub rank_writer: u32,
    /// When, as in `2026-05-25T00:00:00Z`.
    pub created_at: Label,
}

impl Artifacts {
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.at_most("artifacts.checkpoints", self.checkpoints.len(), MAX_CHECKPOINTS);
        for (at, checkpoint) in self.checkpoints.iter().enumerate() {
            let place = |field: &str| format!("artifacts.checkpoints[{at}].{field}");
            faults.at_least(place("attempt"), &checkpoint.attempt, &1);
            faults.at_least(place("world_size"), &checkpoint.world_size, &1);
            faults.must(checkpoint.rank_writer < checkpoint.world_size.max(1), place("rank_writer"), || {
                format!("is {}, {} is {}", checkpoint.rank_writer, place("world_size"), checkpoint.world_size)
            });
            faults.must(checkpoint.bytes <= MAX_CHECKPOINT_BYTES, place("bytes"), || {
                format!("is {}, above {MAX_CHECKPOINT_BYTES}", checkpoint.bytes)
            });
        }
    }
}
