//! Documents in FineWeb-Edu's record schema, read from JSON lines under limits.
use super::{
    shards::Shards,
    split::Split,
    tokenizer::{Tokenizer, TokenizerError},
};
use crate::benchmark::Benchmark;
use flate2::read::MultiGzDecoder;
use prism_core::{Digest, Error, Fault, Kind, plan::DataRef};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read},
    sync::Arc,
};

/// What a reader accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one line.
    pub line_bytes: usize,
    /// Documents in all.
    pub documents: usize,
    /// Bytes of all lines together, unpacked.
    pub total_bytes: u64,
}

impl Default for Limits {
    /// Several times the sample of 10 billion tokens of FineWeb-Edu: 9.7 million documents in some 45 GB of text. Of a
    /// dataset in a folder only an index is held in memory, some 40 bytes a document.
    fn default() -> Self {
        Self { line_bytes: 16 << 20, documents: 50_000_000, total_bytes: 256 << 30 }
    }
}

/// Why a file is no corpus. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// Reading or unpacking failed.
    #[error("corpus line {line} not readable: {error}")]
    Unreadable {
        /// Where.
        line: u64,
        /// What the system or the unpacker said.
        error: String,
    },
    /// A line that is no record.
    #[error("corpus line {line} is no record with `id` and `text`: {error}")]
    Record {
        /// Where.
        line: u64,
        /// What the parser said.
        error: String,
    },
    /// An id that stands there twice.
    #[error("corpus line {line} repeats the id {id:?}")]
    Repeated {
        /// Where the second stands.
        line: u64,
        /// The id.
        id: String,
    },
    /// A limit was passed.
    #[error("corpus line {line} passes the limit of {limit} {what}")]
    Limit {
        /// Where.
        line: u64,
        /// Of what.
        what: &'static str,
        /// How much.
        limit: u64,
    },
    /// Nothing in it.
    #[error("corpus has no document")]
    Empty,
    /// A shard that is not what it was when it was opened.
    #[error("{file} was changed after it was verified: document at byte {offset} {reason}")]
    Changed {
        /// Which.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A document that is not cut into as many tokens as its record says.
    #[error("document {id:?} has {found} tokens, its record says {expected}")]
    Count {
        /// Which.
        id: String,
        /// Counted.
        found: usize,
        /// Said.
        expected: u32,
    },
    /// A document that the tokenizer can't cut.
    #[error("document {id:?}: {error}")]
    Tokens {
        /// Which.
        id: String,
        /// Why.
        #[source]
        error: TokenizerError,
    },
}

impl From<CorpusError> for Error {
    fn from(error: CorpusError) -> Self {
        let kind = match error {
            CorpusError::Unreadable { .. } => Kind::Unavailable,
            CorpusError::Limit { .. } => Kind::Limit,
            CorpusError::Changed { .. } | CorpusError::Count { .. } | CorpusError::Tokens { .. } => Kind::Corrupt,
            _ => Kind::Invalid,
        };
        Self::new(kind, Fault::Validator, "dataset not usable").because(error)
    }
}

/// One text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Unique within its corpus; decides the split.
    pub id: String,
    /// The text.
    pub text: String,
    /// Its part of the dataset.
    pub split: Split,
}

/// What we use of a record; the schema has more fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) text: String,
    /// Its tokens, in a shard of a dataset whose tokenizer is a file. Under a name that no dataset of others has.
    #[serde(rename = "prism_tokens", default, skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<u32>,
}

impl From<Record> for Document {
    fn from(Record { id, text, .. }: Record) -> Self {
        Self { split: Split::of(&id), id, text }
    }
}

/// JSON lines under limits, one record at a time.
#[derive(Debug)]
pub(super) struct Records<R> {
    lines: R,
    limits: Limits,
    /// The line read last, from 1.
    pub(super) line: u64,
    /// Where in the file it begins.
    offset: u64,
    total: u64,
    records: usize,
    bytes: Vec<u8>,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(lines: R, limits: Limits) -> Self {
        Self { lines, limits, line: 0, offset: 0, total: 0, records: 0, bytes: Vec::new() }
    }

    /// Where in the file the line read last begins, and the line.
    pub(super) fn place(&self) -> (u64, &[u8]) {
        (self.offset, &self.bytes)
    }

    pub(super) fn next_record(&mut self) -> Result<Option<Record>, CorpusError> {
        loop {
            self.bytes.clear();
            self.line += 1;
            let line = self.line;
            let most = self.limits.line_bytes as u64 + 1;
            let count = self.lines.by_ref().take(most).read_until(b'\n', &mut self.bytes);
            let count = count.map_err(|e| CorpusError::Unreadable { line, error: e.to_string() })?;
            if count == 0 {
                return Ok(None);
            }
            let over = |what, limit| Err(CorpusError::Limit { line, what, limit });
            if self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes).len() > self.limits.line_bytes {
                return over("bytes per line", self.limits.line_bytes as u64);
            }
            self.offset = self.total;
            self.total += count as u64;
            if self.total > self.limits.total_bytes {
                return over("bytes in all", self.limits.total_bytes);
            }
            if self.bytes.trim_ascii().is_empty() {
                continue;
            }
            if self.records == self.limits.documents {
                return over("documents", self.limits.documents as u64);
            }
            self.records += 1;
            let record = serde_json::from_slice(&self.bytes);
            return record.map(Some).map_err(|e| CorpusError::Record { line, error: e.to_string() });
        }
    }
}

/// All documents of a dataset, in the order of its files: in memory, or in the shards of a folder, of which then an index
/// is in memory and nothing else.
#[derive(Debug)]
pub struct Corpus {
    entries: Vec<Entry>,
    texts: Texts,
    tokenizer: Tokenizer,
    benchmarks: Vec<Arc<Benchmark>>,
    fingerprint: Digest,
}

/// What dealing needs to know of a document before its text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) split: Split,
    pub(super) tokens: u32,
}

#[derive(Debug)]
enum Texts {
    Held(Vec<Document>),
    Shards(Shards),
}

impl Corpus {
    /// Reads gzip-packed JSON lines into memory.
    ///
    /// # Errors
    /// The first line that breaks a rule or passes a limit.
    pub fn read_gz(packed: impl Read, limits: Limits) -> Result<Self, CorpusError> {
        Self::read(BufReader::new(MultiGzDecoder::new(packed)), limits)
    }

    /// Reads JSON lines into memory. Empty lines are skipped.
    ///
    /// # Errors
    /// The first line that breaks a rule or passes a limit.
    pub fn read(lines: impl BufRead, limits: Limits) -> Result<Self, CorpusError> {
        let (mut documents, mut seen) = (Vec::new(), HashSet::new());
        let mut records = Records::new(lines, limits);
        while let Some(record) = records.next_record()? {
            if !seen.insert(Digest::of(record.id.as_bytes())) {
                return Err(CorpusError::Repeated { line: records.line, id: record.id });
            }
            documents.push(Document::from(record));
        }
        if documents.is_empty() { Err(CorpusError::Empty) } else { Ok(Self::held(documents)) }
    }

    /// A corpus of documents whose ids are unique, in bytes.
    fn held(documents: Vec<Document>) -> Self {
        let mut fingerprint = Fingerprint::default();
        documents.iter().for_each(|document| fingerprint.take(&document.id, &document.text));
        // A record's line fits a number of 32 bits.
        let tokens = |document: &Document| u32::try_from(document.text.len()).unwrap_or(u32::MAX);
        let entries = documents.iter().map(|document| Entry { split: document.split, tokens: tokens(document) });
        Self {
            entries: entries.collect(),
            texts: Texts::Held(documents),
            tokenizer: Tokenizer::Bytes,
            benchmarks: vec![],
            fingerprint: fingerprint.digest(),
        }
    }

    /// A corpus whose texts stay where they are.
    pub(super) fn in_shards(
        entries: Vec<Entry>,
        shards: Shards,
        tokenizer: Tokenizer,
        benchmarks: Vec<Arc<Benchmark>>,
        fingerprint: Fingerprint,
    ) -> Self {
        let fingerprint = fingerprint.with(&benchmarks);
        Self { entries, texts: Texts::Shards(shards), tokenizer, benchmarks, fingerprint }
    }

    /// The same documents in the tokens of a tokenizer, in memory. Those of which it would lose something are left out;
    /// how many they are is said beside.
    ///
    /// # Errors
    /// When nothing is left, or a text can't be read or cut.
    pub fn tokenized(&self, tokenizer: Tokenizer) -> Result<(Self, usize), CorpusError> {
        let (mut documents, mut entries) = (Vec::new(), Vec::new());
        let mut fingerprint = Fingerprint::default();
        for document in self.documents() {
            let document = document?;
            match tokenizer.encode(&document.text) {
                Ok(tokens) => {
                    let tokens = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
                    entries.push(Entry { split: document.split, tokens });
                    fingerprint.take(&document.id, &document.text);
                    documents.push(document);
                }
                Err(TokenizerError::Lossy { .. }) => {}
                Err(error) => return Err(CorpusError::Tokens { id: document.id, error }),
            }
        }
        if documents.is_empty() {
            return Err(CorpusError::Empty);
        }
        let left_out = self.len() - documents.len();
        let benchmarks = self.benchmarks.clone();
        let fingerprint = fingerprint.with(&benchmarks);
        Ok((Self { entries, texts: Texts::Held(documents), tokenizer, benchmarks, fingerprint }, left_out))
    }

    /// The same with these evaluation tasks in place of those it had. They are part of the fingerprint.
    ///
    /// # Errors
    /// When a text can't be read.
    pub fn with_benchmarks(self, benchmarks: Vec<Arc<Benchmark>>) -> Result<Self, CorpusError> {
        let mut fingerprint = Fingerprint::default();
        for document in self.documents() {
            let document = document?;
            fingerprint.take(&document.id, &document.text);
        }
        Ok(Self { fingerprint: fingerprint.with(&benchmarks), benchmarks, ..self })
    }

    /// Number of documents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never: a corpus has a document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All documents, read one by one.
    pub fn documents(&self) -> impl Iterator<Item = Result<Document, CorpusError>> {
        (0..self.len()).filter_map(|index| self.document(index).transpose())
    }

    /// The documents of one part.
    pub fn of(&self, split: Split) -> impl Iterator<Item = Result<Document, CorpusError>> {
        self.indices(split).into_iter().filter_map(|index| self.document(index).transpose())
    }

    /// A document by its index; `None` past the last.
    ///
    /// # Errors
    /// When its shard can't be read any more, or was changed since it was opened.
    pub fn document(&self, index: usize) -> Result<Option<Document>, CorpusError> {
        match &self.texts {
            Texts::Held(documents) => Ok(documents.get(index).cloned()),
            Texts::Shards(shards) => shards.document(index),
        }
    }

    /// Indices of the documents of one part.
    #[must_use]
    pub fn indices(&self, split: Split) -> Vec<usize> {
        self.entries.iter().enumerate().filter(|(_, entry)| entry.split == split).map(|(index, _)| index).collect()
    }

    /// Cuts every document into tokens and counts them: all that opening a dataset takes on trust.
    ///
    /// # Errors
    /// The first document that has another number of tokens than its record says, or can't be cut without loss.
    pub fn check_tokens(&self) -> Result<u64, CorpusError> {
        let counts: Result<Vec<u64>, CorpusError> =
            (0..self.len()).into_par_iter().map(|index| self.tokens(index).map(|tokens| tokens.len() as u64)).collect();
        Ok(counts?.into_iter().sum())
    }

    /// What dealing needs to know of each document.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The tokens of a document, as the tokenizer numbers them.
    pub(super) fn tokens(&self, index: usize) -> Result<Vec<u32>, CorpusError> {
        let (Some(document), Some(entry)) = (self.document(index)?, self.entries.get(index)) else {
            return Ok(vec![]);
        };
        let Document { id, text, .. } = document;
        match self.tokenizer.encode(&text) {
            Ok(tokens) if tokens.len() == entry.tokens as usize => Ok(tokens),
            Ok(tokens) => Err(CorpusError::Count { id, found: tokens.len(), expected: entry.tokens }),
            Err(error) => Err(CorpusError::Tokens { id, error }),
        }
    }

    /// What cuts its texts into tokens.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Evaluation tasks that runs over this dataset end with, in the order of their names.
    #[must_use]
    pub fn benchmarks(&self) -> &[Arc<Benchmark>] {
        &self.benchmarks
    }

    /// What a task names this dataset by: SHA-256 over ids and texts in order, each preceded by its length, under a
    /// tag that stands for the rule of the split; where there are evaluation tasks, hashed with their names and digests.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// This text in its tokens, as tasks name it.
    #[must_use]
    pub fn data_ref(&self) -> DataRef {
        DataRef {
            dataset: self.fingerprint(),
            tokenizer: self.tokenizer.fingerprint(),
            vocabulary: self.tokenizer.vocabulary(),
        }
    }
}

/// By what tasks name them.
impl PartialEq for Corpus {
    fn eq(&self, other: &Self) -> bool {
        self.data_ref() == other.data_ref()
    }
}

impl Eq for Corpus {}

/// Hashes documents as they come.
pub(super) struct Fingerprint(Sha256);

impl Default for Fingerprint {
    fn default() -> Self {
        let mut fingerprint = Self(Sha256::new());
        fingerprint.part(b"prism/dataset/1");
        fingerprint
    }
}

impl Fingerprint {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(super) fn take(&mut self, id: &str, text: &str) {
        self.part(id.as_bytes());
        self.part(text.as_bytes());
    }

    fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }

    fn with(self, benchmarks: &[Arc<Benchmark>]) -> Digest {
        let documents = self.digest();
        if benchmarks.is_empty() {
            return documents;
        }
        let mut all = Self(Sha256::new());
        all.part(b"prism/dataset/benchmarks/1");
        all.part(&documents.0);
        for benchmark in benchmarks {
            all.part(benchmark.name().as_bytes());
            all.part(&benchmark.digest().0);
        }
        all.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn read(text: &str) -> Result<Corpus, CorpusError> {
        Corpus::read(text.as_bytes(), Limits { line_bytes: 60, documents: 3, total_bytes: 150 })
    }

    #[test]
    fn records_are_read_in_order_and_their_other_fields_left_alone() {
        let corpus = read("{\"text\":\"one\",\"id\":\"a\",\"score\":4.2}\n\n{\"id\":\"b\",\"text\":\"two\"}").unwrap();
        let document = |id: &str, text: &str, split| Document { id: id.into(), text: text.into(), split };
        let documents: Vec<_> = corpus.documents().map(Result::unwrap).collect();
        assert_eq!(documents, [document("a", "one", Split::Train), document("b", "two", Split::Validation)]);
        assert_eq!(corpus.of(Split::Validation).count(), 1);
    }

    #[test]
    fn packed_lines_are_the_same_corpus_as_plain_ones() {
        let text = "{\"id\":\"a\",\"text\":\"one\"}\n";
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(text.as_bytes()).unwrap();
        let packed = packer.finish().unwrap();
        assert_eq!(Corpus::read_gz(packed.as_slice(), Limits::default()), read(text));
        let cut = packed.get(..packed.len() - 9).unwrap();
        assert!(matches!(Corpus::read_gz(cut, Limits::default()), Err(CorpusError::Unreadable { .. })));
    }

    #[test]
    fn the_fingerprint_sees_ids_texts_and_order() {
        let of = |text: &str| read(text).unwrap().fingerprint();
        let (a, b) = ("{\"id\":\"a\",\"text\":\"bc\"}\n", "{\"id\":\"ab\",\"text\":\"c\"}\n");
        assert_ne!(of(a), of(b));
        assert_ne!(of(&format!("{a}{b}")), of(&format!("{b}{a}")));
        assert_eq!(of(a), of(&format!("\n{a}")));
    }

    #[test]
    fn whatever_is_wrong_names_its_line() {
        let good = "{\"id\":\"a\",\"text\":\"t\"}\n";
        assert_eq!(read(""), Err(CorpusError::Empty));
        assert!(matches!(read(&format!("{good}{{}}")), Err(CorpusError::Record { line: 2, .. })));
        assert!(matches!(read(&format!("{good}\u{7}")), Err(CorpusError::Record { line: 2, .. })));
        assert_eq!(read(&format!("{good}{good}")), Err(CorpusError::Repeated { line: 2, id: "a".into() }));
        let long = format!("{good}{{\"id\":\"b\",\"text\":\"{}\"}}", "x".repeat(60));
        assert_eq!(read(&long), Err(CorpusError::Limit { line: 2, what: "bytes per line", limit: 60 }));
        let many: String = (0..4).map(|n| format!("{{\"id\":\"{n}\",\"text\":\"t\"}}\n")).collect();
        assert_eq!(read(&many), Err(CorpusError::Limit { line: 4, what: "documents", limit: 3 }));
        let much: String = (0..3).map(|n| format!("{{\"id\":\"{n}\",\"text\":\"{}\"}}\n", "t".repeat(35))).collect();
        assert_eq!(read(&much), Err(CorpusError::Limit { line: 3, what: "bytes in all", limit: 150 }));
    }

    #[test]
    fn a_packed_bomb_ends_at_the_limit() {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        packer.write_all(&vec![b' '; 1 << 20]).unwrap();
        let limits = Limits { line_bytes: 1000, documents: 3, total_bytes: 10_000 };
        let error = Corpus::read_gz(packer.finish().unwrap().as_slice(), limits);
        assert_eq!(error, Err(CorpusError::Limit { line: 1, what: "bytes per line", limit: 1000 }));
    }
}
