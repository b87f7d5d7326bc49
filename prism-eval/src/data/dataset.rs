//! A dataset on disk: one folder with shards of JSON lines, and the manifest that says what must be in it.
//!
//! [`open`] believes nothing that it has not counted and hashed: a shard that is missing, altered, additional or holds a
//! document of another split is refused, and so is a folder whose contamination report is gone.
use super::{
    corpus::{Corpus, CorpusError, Document, Entry, Fingerprint, Limits, Records},
    shards::Shards,
    split::Split,
    tokenizer::{Tokenizer, TokenizerError, TokenizerFile},
};
use crate::benchmark::{self, Benchmark, BenchmarkError};
use prism_core::{Digest, Error, Fault, Kind};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::{self, File},
    io::{self, BufReader, Read},
    path::Path,
    sync::Arc,
};

/// The manifest's name.
pub const MANIFEST: &str = "MANIFEST.json";
/// The contamination report's name.
pub const CONTAMINATION: &str = "CONTAMINATION.json";
/// The tokenizer's name, where there is one.
pub const TOKENIZER: &str = "tokenizer.json";
/// What the manifest calls its own form.
pub const SCHEMA: &str = "prism.dataset/1";
/// Most bytes of a manifest or a report that are read.
const MAX_DOCUMENT: u64 = 8 << 20;

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
    /// Digest of [`CONTAMINATION`].
    pub contamination: Digest,
    /// What [`TOKENIZER`] must be; without it, a token is a byte.
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

/// Why a folder is no dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A file can't be read or written.
    #[error("dataset file {file}: {error}")]
    Io {
        /// Which.
        file: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A document is not of its form.
    #[error("{file} is not of the form {SCHEMA}: {reason}")]
    Form {
        /// Which.
        file: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A file that the manifest does not name.
    #[error("{file} lies in the dataset's folder, and the manifest does not name it")]
    Additional {
        /// Which.
        file: String,
    },
    /// A file that is not what the manifest says.
    #[error("{file} has {found} {what}, the manifest says {expected}")]
    Altered {
        /// Which.
        file: String,
        /// Of what.
        what: &'static str,
        /// Counted.
        found: String,
        /// Said.
        expected: String,
    },
    /// A document in the wrong part, or out of order.
    #[error("{file} line {line}: document {id:?} {reason}")]
    Document {
        /// Which file.
        file: String,
        /// Where, from 1.
        line: u64,
        /// Which document.
        id: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A line that is no record, or a limit.
    #[error("{file}: {error}")]
    Corpus {
        /// Which.
        file: String,
        /// What is wrong.
        #[source]
        error: CorpusError,
    },
    /// A Parquet file that can't be read.
    #[error("{file}: {reason}")]
    Parquet {
        /// Which.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A tokenizer that can't be used.
    #[error("{file}: {error}")]
    Tokenizer {
        /// Which.
        file: String,
        /// What is wrong.
        #[source]
        error: TokenizerError,
    },
    /// An evaluation task that can't be used.
    #[error("{file}: {error}")]
    Benchmark {
        /// Which.
        file: String,
        /// What is wrong.
        #[source]
        error: BenchmarkError,
    },
    /// Nothing to prepare from, or nowhere to.
    #[error("{0}")]
    Unusable(String),
}

impl From<DatasetError> for Error {
    fn from(error: DatasetError) -> Self {
        let kind = match &error {
            DatasetError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => Kind::NotFound,
            DatasetError::Io { .. } => Kind::Unavailable,
            DatasetError::Altered { .. } | DatasetError::Additional { .. } => Kind::Corrupt,
            _ => Kind::Invalid,
        };
        Self::new(kind, Fault::Validator, "dataset not usable").because(error)
    }
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

/// Reads a dataset whole, and checks it against its manifest on the way. What is held in memory afterwards is where each
/// document stands, not its text.
///
/// # Errors
/// The first thing that is not as the manifest says, with its file and line.
pub fn open(folder: &Path, limits: Limits) -> Result<(Corpus, Manifest), DatasetError> {
    let manifest = read_manifest(folder)?;
    nothing_additional(folder, &manifest)?;
    let report = Digest::of(&read_small(&folder.join(CONTAMINATION))?);
    if report != manifest.contamination {
        return Err(altered(CONTAMINATION, "as digest", report, manifest.contamination));
    }
    let tokenizer = open_tokenizer(folder, manifest.tokenizer.as_ref())?;
    let benchmarks = manifest.benchmarks.iter().map(|(name, held)| open_benchmark(folder, name, held));
    let benchmarks = benchmarks.collect::<Result<Vec<_>, _>>()?;
    let (mut entries, mut shards, mut seen) = (Vec::new(), Shards::default(), HashSet::new());
    let mut fingerprint = Fingerprint::default();
    let mut left = limits;
    for split in Split::ALL {
        for shard in manifest.splits.get(&split).into_iter().flat_map(|part| &part.shards) {
            let mut first = true;
            read_shard(folder, split, shard, left, &mut |file, line| {
                if first {
                    let file = file.try_clone();
                    let file = file.map_err(|error| DatasetError::Io { file: shard.path.clone(), error })?;
                    shards.open(&shard.path, file);
                    first = false;
                }
                let Line { number: line, offset, bytes, document, tokens } = line;
                let wrong = |reason| {
                    Err(DatasetError::Document { file: shard.path.clone(), line, id: document.id.clone(), reason })
                };
                if !seen.insert(half(&Digest::of(document.id.as_bytes()))) {
                    return wrong("stands in the dataset twice");
                }
                let tokens = match (&tokenizer, tokens) {
                    (Tokenizer::Bytes, None) => u32::try_from(document.text.len()).ok(),
                    (Tokenizer::File(_), Some(tokens)) => Some(tokens),
                    (Tokenizer::Bytes, Some(_)) => return wrong("has a count of tokens, and the dataset no tokenizer"),
                    (Tokenizer::File(_), None) => return wrong("has no count of tokens"),
                };
                let Some(tokens) = tokens else { return wrong("is too long") };
                entries.push(Entry { split, tokens });
                fingerprint.take(&document.id, &document.text);
                shards.put(offset, bytes);
                Ok(())
            })?;
            left.documents = limits.documents.saturating_sub(entries.len());
            left.total_bytes = left.total_bytes.saturating_sub(shard.bytes);
        }
    }
    Ok((Corpus::in_shards(entries, shards, tokenizer, benchmarks, fingerprint), manifest))
}

/// Half of a digest tells fifty million ids apart.
fn half(digest: &Digest) -> u128 {
    digest.0.iter().take(16).fold(0, |half, byte| half << 8 | u128::from(*byte))
}

fn open_tokenizer(folder: &Path, held: Option<&HeldTokenizer>) -> Result<Tokenizer, DatasetError> {
    let Some(held) = held else { return Ok(Tokenizer::Bytes) };
    let bytes = read_held(folder, TOKENIZER, held.bytes, held.sha256, TokenizerFile::MAX_BYTES)?;
    let parsed = TokenizerFile::parse(&bytes);
    let tokenizer = parsed.map_err(|error| DatasetError::Tokenizer { file: TOKENIZER.to_owned(), error })?;
    if tokenizer.vocabulary() != held.vocabulary {
        return Err(altered(TOKENIZER, "token ids", tokenizer.vocabulary(), held.vocabulary));
    }
    Ok(Tokenizer::File(Arc::new(tokenizer)))
}

fn open_benchmark(folder: &Path, name: &str, held: &HeldBenchmark) -> Result<Arc<Benchmark>, DatasetError> {
    let file = held.kind.file_name(name);
    let bytes = read_held(folder, &file, held.bytes, held.sha256, benchmark::MAX_BYTES)?;
    let parsed = Benchmark::parse(name, held.kind, &bytes);
    parsed.map(Arc::new).map_err(|error| DatasetError::Benchmark { file, error })
}

/// A file of a known digest, before anybody parses it.
fn read_held(folder: &Path, name: &str, bytes: u64, sha256: Digest, limit: u64) -> Result<Vec<u8>, DatasetError> {
    let io = |error| DatasetError::Io { file: name.to_owned(), error };
    if bytes > limit {
        let reason = format!("{name} is said to have {bytes} bytes, more than {limit}");
        return Err(DatasetError::Form { file: MANIFEST, reason });
    }
    let mut read = Vec::new();
    File::open(folder.join(name)).map_err(io)?.take(bytes + 1).read_to_end(&mut read).map_err(io)?;
    let digest = Digest::of(&read);
    if digest != sha256 {
        return Err(altered(name, "as digest", digest, sha256));
    }
    Ok(read)
}

/// One line of a shard.
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: u64,
    /// Where in the file it begins.
    pub(super) offset: u64,
    /// As it stands there.
    pub(super) bytes: &'a [u8],
    /// What it says.
    pub(super) document: Document,
    /// How many tokens it says that the document has.
    pub(super) tokens: Option<u32>,
}

/// Reads one shard and checks it, document by document.
pub(super) fn read_shard(
    folder: &Path,
    split: Split,
    shard: &Shard,
    limits: Limits,
    each: &mut dyn FnMut(&File, Line<'_>) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let name = &shard.path;
    let io = |error| DatasetError::Io { file: name.clone(), error };
    let file = File::open(folder.join(name)).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    if bytes != shard.bytes {
        return Err(altered(name, "bytes", bytes, shard.bytes));
    }
    let mut hashed = Hashed { inner: &file, hash: Sha256::new() };
    let (mut documents, mut text_bytes, mut tokens) = (0u64, 0u64, 0u64);
    let mut records = Records::new(BufReader::with_capacity(1 << 20, &mut hashed), limits);
    let mut last: Option<String> = None;
    loop {
        let record = records.next_record().map_err(|error| DatasetError::Corpus { file: name.clone(), error })?;
        let Some(record) = record else { break };
        let (number, counted, document) = (records.line, record.tokens, Document::from(record));
        let wrong = |reason| {
            let (file, id) = (name.clone(), document.id.clone());
            DatasetError::Document { file, line: number, id, reason }
        };
        if document.split != split {
            return Err(wrong("belongs to another split"));
        }
        if last.as_ref().is_some_and(|last| *last >= document.id) {
            return Err(wrong("is out of the order of ids"));
        }
        last = Some(document.id.clone());
        documents += 1;
        text_bytes += document.text.len() as u64;
        tokens += u64::from(counted.unwrap_or_default());
        let (offset, bytes) = records.place();
        each(&file, Line { number, offset, bytes, document, tokens: counted })?;
    }
    drop(records);
    let digest = Digest(hashed.hash.finalize().into());
    if digest != shard.sha256 {
        return Err(altered(name, "as digest", digest, shard.sha256));
    }
    if documents != shard.documents {
        return Err(altered(name, "documents", documents, shard.documents));
    }
    if text_bytes != shard.text_bytes {
        return Err(altered(name, "bytes of text", text_bytes, shard.text_bytes));
    }
    if tokens != shard.tokens.unwrap_or_default() {
        return Err(altered(name, "tokens", tokens, shard.tokens.unwrap_or_default()));
    }
    Ok(())
}

fn altered(file: &str, what: &'static str, found: impl ToString, expected: impl ToString) -> DatasetError {
    DatasetError::Altered { file: file.to_owned(), what, found: found.to_string(), expected: expected.to_string() }
}

fn nothing_additional(folder: &Path, manifest: &Manifest) -> Result<(), DatasetError> {
    let io = |error| DatasetError::Io { file: folder.display().to_string(), error };
    let shards = manifest.splits.values().flat_map(|part| &part.shards).map(|shard| shard.path.clone());
    let benchmarks = manifest.benchmarks.iter().map(|(name, held)| held.kind.file_name(name));
    let tokenizer = manifest.tokenizer.iter().map(|_| TOKENIZER.to_owned());
    let always = [MANIFEST, CONTAMINATION].map(str::to_owned);
    let known: BTreeSet<String> = shards.chain(benchmarks).chain(tokenizer).chain(always).collect();
    for entry in fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let name = name.to_string_lossy();
        if !known.contains(name.as_ref()) {
            return Err(DatasetError::Additional { file: name.escape_debug().to_string() });
        }
    }
    Ok(())
}

fn read_small(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let io = |error| DatasetError::Io { file: path.display().to_string(), error };
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        let reason = format!("it is longer than {MAX_DOCUMENT} bytes");
        return Err(DatasetError::Form { file: MANIFEST, reason });
    }
    Ok(bytes)
}

/// Hashes what passes through.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.hash.update(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        fixture::stand_in,
        prepare::{Additions, Source, prepare},
    };
    use std::path::PathBuf;

    /// The stand-in as a dataset.
    fn prepared() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let lines = folder.path().join("all.jsonl");
        let corpus = stand_in().unwrap();
        let records = corpus.documents().map(Result::unwrap);
        let records = records.map(|d| serde_json::json!({ "id": d.id, "text": d.text }).to_string());
        fs::write(&lines, records.collect::<Vec<_>>().join("\n")).unwrap();
        let out = folder.path().join("out");
        let source = Source { name: "stand-in".into(), revision: "1".into(), license: "CC0-1.0".into() };
        prepare(&[lines], &out, &source, &Additions::default(), Limits::default(), &mut |_| Ok(())).unwrap();
        (folder, out)
    }

    fn refused(out: &Path) -> String {
        Error::from(open(out, Limits::default()).unwrap_err()).chain()
    }

    #[test]
    fn what_was_prepared_opens_and_holds_every_document_once() {
        let (_folder, out) = prepared();
        let (corpus, manifest) = open(&out, Limits::default()).unwrap();
        let stand_in = stand_in().unwrap();
        assert_eq!(corpus.len(), stand_in.len());
        for split in Split::ALL {
            let bytes = |corpus: &Corpus| corpus.of(split).map(|d| d.unwrap().text.len() as u64).sum::<u64>();
            assert_eq!((bytes(&corpus), bytes(&stand_in)), (manifest.splits[&split].text_bytes, bytes(&corpus)));
        }
        assert_eq!(manifest.name, "stand-in");
    }

    #[test]
    fn whatever_was_changed_afterwards_is_refused_with_its_file() {
        let (_folder, out) = prepared();
        let shard = out.join("validation-00000.jsonl");
        let good = fs::read(&shard).unwrap();
        let other = String::from_utf8(good.clone()).unwrap().replacen(" the ", " The ", 1);
        fs::write(&shard, other).unwrap();
        assert!(refused(&out).contains("validation-00000.jsonl has "), "{}", refused(&out));
        fs::write(&shard, &good[1..]).unwrap();
        assert!(refused(&out).contains("bytes, the manifest says"), "{}", refused(&out));
        fs::remove_file(&shard).unwrap();
        assert!(refused(&out).contains("dataset file validation-00000.jsonl"), "{}", refused(&out));
        fs::write(&shard, &good).unwrap();
        fs::write(out.join("train-00099.jsonl"), b"").unwrap();
        assert!(refused(&out).contains("the manifest does not name it"), "{}", refused(&out));
        fs::remove_file(out.join("train-00099.jsonl")).unwrap();
        fs::write(out.join(CONTAMINATION), b"{}").unwrap();
        assert!(refused(&out).contains("CONTAMINATION.json has "), "{}", refused(&out));
    }

    #[test]
    fn a_manifest_that_contradicts_itself_or_the_rule_of_the_splits_is_refused() {
        let (_folder, out) = prepared();
        let good: Manifest = read_manifest(&out).unwrap();
        let with = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = good.clone();
            change(&mut manifest);
            fs::write(out.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
            refused(&out)
        };
        let text = with(&|m| m.schema = "prism.dataset/2".into());
        assert!(text.contains("MANIFEST.json is not of the form prism.dataset/1"), "{text}");
        let text = with(&|m| drop(m.splits.remove(&Split::Test)));
        assert!(text.contains("it has no test part"), "{text}");
        let text = with(&|m| m.splits.get_mut(&Split::Test).unwrap().documents += 1);
        assert!(text.contains("do not add up"), "{text}");
        let text = with(&|m| m.splits.get_mut(&Split::Test).unwrap().shards[0].path = "../secret".into());
        assert!(text.contains("stands where test-00000.jsonl must"), "{text}");
        // The files change places, digests and all: documents are where they do not belong.
        let text = with(&|m| {
            let (test, validation) = (m.splits[&Split::Test].clone(), m.splits[&Split::Validation].clone());
            let renamed = |mut part: Part, split| {
                part.shards.iter_mut().enumerate().for_each(|(n, shard)| shard.path = shard_name(split, n));
                part
            };
            m.splits.insert(Split::Test, renamed(validation, Split::Test));
            m.splits.insert(Split::Validation, renamed(test, Split::Validation));
            let swap = |a: &str, b: &str| {
                let (x, y) = (fs::read(out.join(a)).unwrap(), fs::read(out.join(b)).unwrap());
                fs::write(out.join(a), y).unwrap();
                fs::write(out.join(b), x).unwrap();
            };
            swap("test-00000.jsonl", "validation-00000.jsonl");
        });
        assert!(text.contains("belongs to another split"), "{text}");
    }
}
