//! A dataset on disk: one folder with shards of JSON lines, and the manifest that says what must be in it.
//!
//! [`open`] believes nothing that it has not counted and hashed: a shard that is missing, altered, additional or holds a
//! document of another split is refused, and so is a folder whose contamination report is gone.
mod error;
mod manifest;

pub use error::DatasetError;
pub use manifest::{HeldBenchmark, HeldTokenizer, Manifest, Part, Shard, read_manifest, shard_name};

use super::{
    corpus::{Corpus, Document, Entry, Fingerprint, Limits, Records},
    shards::Shards,
    split::Split,
    tokenizer::{Tokenizer, TokenizerFile},
};
use crate::benchmark::{self, Benchmark};
use prism_core::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeSet, HashSet},
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
mod tests;
