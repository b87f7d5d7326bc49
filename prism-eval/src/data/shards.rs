//! Texts that stay in the shards of a folder: where each stands is in memory, and is read when it is asked for.
//!
//! A shard was hashed when the dataset was opened. What is read later is held to a part of that document's own hash, so
//! that a file that changes under a run ends it instead of changing what it learns.
use super::corpus::{CorpusError, Document, Record};
use prism_core::Digest;
use std::{fs::File, os::unix::fs::FileExt};

/// Where a document's line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: u64,
    /// The first bytes of the SHA-256 of the line.
    check: u64,
    bytes: u32,
    file: u32,
}

/// The documents of some files.
#[derive(Debug, Default)]
pub(super) struct Shards {
    files: Vec<(String, File)>,
    places: Vec<Place>,
}

impl Shards {
    /// Adds a file; documents that are added next are of it.
    pub(super) fn open(&mut self, name: &str, file: File) {
        self.files.push((name.to_owned(), file));
    }

    /// Adds a document by its line.
    pub(super) fn put(&mut self, offset: u64, line: &[u8]) {
        // A line is shorter than 4 GiB, and there are fewer files than that.
        let (bytes, file) = (line.len() as u32, self.files.len().saturating_sub(1) as u32);
        self.places.push(Place { offset, check: check(line), bytes, file });
    }

    /// A document by its index; `None` past the last.
    pub(super) fn document(&self, index: usize) -> Result<Option<Document>, CorpusError> {
        let Some(place) = self.places.get(index) else { return Ok(None) };
        let Some((name, file)) = self.files.get(place.file as usize) else { return Ok(None) };
        let changed = |reason: String| CorpusError::Changed { file: name.clone(), offset: place.offset, reason };
        let mut line = vec![0; place.bytes as usize];
        file.read_exact_at(&mut line, place.offset).map_err(|error| changed(error.to_string()))?;
        if check(&line) != place.check {
            return Err(changed("is another".to_owned()));
        }
        let record: Record = serde_json::from_slice(&line).map_err(|error| changed(error.to_string()))?;
        Ok(Some(Document::from(record)))
    }
}

fn check(line: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = Digest::of(line).0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
