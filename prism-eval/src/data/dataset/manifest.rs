//! What a dataset's folder must hold.
use super::{DatasetError, MANIFEST, SCHEMA, read_small};
use crate::{benchmark, data::Split};
use prism_core::Digest;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// What a folder must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// What it is called where it comes from, as in `HuggingFaceFW/fineweb-edu`.
    pub name: String,
    /// The revision it was taken at, pinned.
    pub revision: String,
    /// Its licence.
    pub license: String,
    /// Digest of [`CONTAMINATION`](super::CONTAMINATION).
    pub contamination: Digest,
    /// What [`TOKENIZER`](super::TOKENIZER) must be; without it, a token is a byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<HeldTokenizer>,
    /// Evaluation tasks that runs end with, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub benchmarks: BTreeMap<String, HeldBenchmark>,
    /// All three parts.
    pub splits: BTreeMap<Split, Part>,
}

/// The tokenizer's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldTokenizer {
    /// Digest of its bytes: what tasks name it by.
    pub sha256: Digest,
    /// Its bytes.
    pub bytes: u64,
    /// Its number of ids.
    pub vocabulary: u32,
    /// Documents that were left out because it would lose something of them.
    pub left_out: u64,
}

/// The file of an evaluation task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldBenchmark {
    /// How it asks.
    pub kind: benchmark::Kind,
    /// Digest of its bytes.
    pub sha256: Digest,
    /// Its bytes.
    pub bytes: u64,
}

/// One part of a dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Documents in it.
    pub documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Their tokens, where the dataset has a tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Its files, in order.
    pub shards: Vec<Shard>,
}

/// One file of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Its name, as [`shard_name`] gives it.
    pub path: String,
    /// Digest of its bytes.
    pub sha256: Digest,
    /// Its bytes.
    pub bytes: u64,
    /// Documents in it.
    pub documents: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Their tokens, where the dataset has a tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

/// The name of a shard: `train-00000.jsonl`.
#[must_use]
pub fn shard_name(split: Split, number: usize) -> String {
    format!("{}-{number:05}.jsonl", split.as_str())
}

/// Reads a manifest, strictly.
///
/// # Errors
/// A file that is missing, too long, or not of the form; parts or shards that are not the expected ones.
pub fn read_manifest(folder: &Path) -> Result<Manifest, DatasetError> {
    let form = |reason: String| DatasetError::Form { file: MANIFEST, reason };
    let bytes = read_small(&folder.join(MANIFEST))?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| form(e.to_string()))?;
    if manifest.schema != SCHEMA {
        return Err(form(format!("its schema is {:?}", manifest.schema)));
    }
    for split in Split::ALL {
        let name = split.as_str();
        let part = manifest.splits.get(&split).ok_or_else(|| form(format!("it has no {name} part")))?;
        if part.documents == 0 {
            return Err(form(format!("its {name} part has no document")));
        }
        for (number, shard) in part.shards.iter().enumerate() {
            let expected = shard_name(split, number);
            if shard.path != expected {
                return Err(form(format!("{:?} stands where {expected} must", shard.path)));
            }
        }
        let sum = |of: fn(&Shard) -> u64| part.shards.iter().try_fold(0u64, |sum, shard| sum.checked_add(of(shard)));
        let tokens = sum(|s| s.tokens.unwrap_or_default());
        if sum(|s| s.documents) != Some(part.documents)
            || sum(|s| s.text_bytes) != Some(part.text_bytes)
            || tokens != Some(part.tokens.unwrap_or_default())
        {
            return Err(form(format!("the shards of its {name} part do not add up")));
        }
        let counted = part.shards.iter().map(|shard| shard.tokens).chain([part.tokens]);
        if counted.into_iter().any(|tokens| tokens.is_some() != manifest.tokenizer.is_some()) {
            return Err(form(format!(
                "tokens of its {name} part must be counted if it has a tokenizer, and only then"
            )));
        }
    }
    if let Some(name) = manifest.benchmarks.keys().find(|name| !benchmark::is_name(name)) {
        return Err(form(format!("{name:?} is no name of a benchmark")));
    }
    Ok(manifest)
}
