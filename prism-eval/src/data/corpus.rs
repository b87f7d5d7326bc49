//! Documents in FineWeb-Edu's record schema, read from JSON lines under limits.
use super::{split::Split, tokenizer::Bytes};
use flate2::read::MultiGzDecoder;
use prism_core::{Digest, Error, Fault, Kind, plan::DataRef};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read},
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
    /// A shard of FineWeb-Edu as it is published: some 700,000 documents in 3 GB of text.
    fn default() -> Self {
        Self { line_bytes: 16 << 20, documents: 2_000_000, total_bytes: 8 << 30 }
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
}

impl From<CorpusError> for Error {
    fn from(error: CorpusError) -> Self {
        let kind = match error {
            CorpusError::Unreadable { .. } => Kind::Unavailable,
            CorpusError::Limit { .. } => Kind::Limit,
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) text: String,
}

impl From<Record> for Document {
    fn from(Record { id, text }: Record) -> Self {
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
    total: u64,
    records: usize,
    bytes: Vec<u8>,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(lines: R, limits: Limits) -> Self {
        Self { lines, limits, line: 0, total: 0, records: 0, bytes: Vec::new() }
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

/// All documents of a dataset, in the order of its file.
#[derive(Debug, PartialEq, Eq)]
pub struct Corpus {
    documents: Vec<Document>,
    fingerprint: Digest,
}

impl Corpus {
    /// Reads gzip-packed JSON lines.
    ///
    /// # Errors
    /// The first line that breaks a rule or passes a limit.
    pub fn read_gz(packed: impl Read, limits: Limits) -> Result<Self, CorpusError> {
        Self::read(BufReader::new(MultiGzDecoder::new(packed)), limits)
    }

    /// Reads JSON lines. Empty lines are skipped.
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
        if documents.is_empty() { Err(CorpusError::Empty) } else { Ok(Self::of_documents(documents)) }
    }

    /// A corpus of documents whose ids are unique.
    pub(super) fn of_documents(documents: Vec<Document>) -> Self {
        Self { fingerprint: fingerprint(&documents), documents }
    }

    /// All documents.
    #[must_use]
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The documents of one part.
    pub fn of(&self, split: Split) -> impl Iterator<Item = &Document> {
        self.documents.iter().filter(move |document| document.split == split)
    }

    /// What a task names this dataset by: SHA-256 over ids and texts in order, each preceded by its length, under a
    /// tag that stands for the rule of the split.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// This text in bytes, as tasks name it.
    #[must_use]
    pub fn data_ref(&self) -> DataRef {
        DataRef { dataset: self.fingerprint(), tokenizer: Bytes::fingerprint(), vocabulary: Bytes::VOCABULARY }
    }
}

fn fingerprint(documents: &[Document]) -> Digest {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(b"prism/dataset/1");
    for document in documents {
        part(document.id.as_bytes());
        part(document.text.as_bytes());
    }
    Digest(hash.finalize().into())
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
        let texts: Vec<_> = corpus.documents().iter().map(|d| (d.id.as_str(), d.text.as_str(), d.split)).collect();
        assert_eq!(texts, [("a", "one", Split::Train), ("b", "two", Split::Validation)]);
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
