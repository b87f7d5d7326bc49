//! What a guest receives of a bundle: the parts that run, as one document with one digest.
use prism_core::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One part of a bundle: its files, and which of them is asked for the hooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestPart {
    /// Path of the entry point within `files`.
    pub entrypoint: String,
    /// Python sources by path, comments and docstrings blanked.
    pub files: BTreeMap<String, String>,
}

/// An architecture, and the training code that goes with it where a submission brings some. For a `TrainingForArch` the
/// first is the family's and the second the miner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestBundle {
    /// Has `build_model` and `get_recipe`.
    pub architecture: GuestPart,
    /// Has the other hooks; when absent they are looked for in the architecture.
    pub training: Option<GuestPart>,
}

impl GuestBundle {
    /// The bytes that identify it: compact JSON, fields in declaration order, files sorted by path.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        // All keys are strings and there are no numbers: nothing here that JSON can't carry.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// SHA-256 of the canonical bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical_bytes())
    }
}
