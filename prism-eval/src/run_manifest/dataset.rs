//! Which text, in which tokens.
use super::{
    check::Faults,
    read::MAX_ITEMS,
    text::{Label, RelativePath},
};
use crate::data::{
    Corpus, CorpusError, Split,
    dataset::{CONTAMINATION, Manifest, Part},
    tokenizer::Tokenizer,
};
use prism_core::{Digest, plan::DataRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// The text that was learned from and measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// What it is called where it comes from.
    pub name: Label,
    /// The revision it was taken at.
    pub revision: Label,
    /// What identifies the part that is trained on.
    pub train_split_fingerprint: Option<Label>,
    /// What identifies the part that held-out rows come from.
    pub validation_split_fingerprint: Option<Label>,
    /// What identifies the part that nothing is measured on.
    pub test_split_fingerprint: Option<Label>,
    /// What identifies the tokenizer.
    pub tokenizer_fingerprint: Label,
    /// What identifies the program that measured.
    pub evaluator_fingerprint: Label,
    /// What identifies the files of each evaluation task.
    #[serde(default)]
    pub benchmark_fingerprints: BTreeMap<Label, Label>,
    /// The report on text that the parts share, or share with an evaluation task.
    #[serde(default)]
    pub contamination_report_path: Option<RelativePath>,
}

impl Dataset {
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.at_most("dataset.benchmark_fingerprints", self.benchmark_fingerprints.len(), MAX_ITEMS);
    }
}

/// What a validator knows of its dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetRecord {
    /// What it is called where it comes from.
    pub name: Label,
    /// The revision it was taken at.
    pub revision: Label,
    /// What identifies the part that is trained on.
    pub train: Option<Digest>,
    /// The part that held-out rows come from.
    pub validation: Option<Digest>,
    /// The part that nothing is measured on.
    pub test: Option<Digest>,
    /// Which tokenizer.
    pub tokenizer_kind: Label,
    /// Where the contamination report lies, beside the dataset.
    pub contamination: Option<RelativePath>,
}

impl DatasetRecord {
    /// What a task says: a fingerprint and nothing else.
    #[must_use]
    pub fn of_task(data: &DataRef) -> Self {
        Self {
            name: Label::fitted("unnamed"),
            revision: label(data.dataset),
            train: None,
            validation: None,
            test: None,
            tokenizer_kind: label(data.tokenizer),
            contamination: None,
        }
    }

    /// A corpus, with the manifest that it was opened by, if it was. Of a folder the parts are identified by the digests of
    /// their shards, of a text in memory by its documents.
    ///
    /// # Errors
    /// When a text can't be read.
    pub fn of(corpus: &Corpus, manifest: Option<&Manifest>) -> Result<Self, CorpusError> {
        let data = corpus.data_ref();
        let split = |split| match manifest {
            Some(manifest) => Ok(manifest.splits.get(&split).map(of_shards)),
            None => of_documents(corpus, split).map(Some),
        };
        let tokenizer_kind = match corpus.tokenizer() {
            Tokenizer::Bytes => "bytes",
            Tokenizer::File(_) => "file",
        };
        Ok(Self {
            name: manifest.map_or(Label::fitted("stand-in"), |manifest| Label::fitted(&manifest.name)),
            revision: manifest.map_or(label(data.dataset), |manifest| Label::fitted(&manifest.revision)),
            train: split(Split::Train)?,
            validation: split(Split::Validation)?,
            test: split(Split::Test)?,
            tokenizer_kind: Label::fitted(tokenizer_kind),
            contamination: manifest.and_then(|_| RelativePath::new(CONTAMINATION).ok()),
        })
    }
}

fn label(digest: Digest) -> Label {
    Label::fitted(&digest.to_string())
}

/// The digests of all shards of a part, in order.
fn of_shards(part: &Part) -> Digest {
    let shards: Vec<&[u8]> = part.shards.iter().map(|shard| shard.sha256.0.as_slice()).collect();
    Digest::of_parts("prism/dataset/shards/1", &shards)
}

/// SHA-256 over the ids and texts of one part in order, each preceded by its length.
fn of_documents(corpus: &Corpus, split: Split) -> Result<Digest, CorpusError> {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(b"prism/dataset/split/1");
    part(split.as_str().as_bytes());
    for document in corpus.of(split) {
        let document = document?;
        part(document.id.as_bytes());
        part(document.text.as_bytes());
    }
    Ok(Digest(hash.finalize().into()))
}
