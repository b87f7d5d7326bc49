//! Shards and manifest from downloaded files.
//!
//! The same documents give the same bytes, whatever the order of the files: a document goes to a shard by the hash of its
//! id, and a shard is in the order of ids. Memory is bounded by the largest shard and by the runs of words of what is held
//! out, of which a bounded number is compared. A shard is of 64 MiB of input, or of a 256th part of an input beyond 16 GiB;
//! whatever that unpacks to, more than 2 GiB are refused.
use super::{
    contamination::HeldOut,
    corpus::{Document, Limits, Record, Records},
    dataset::{
        CONTAMINATION, DatasetError, HeldBenchmark, HeldTokenizer, MANIFEST, Manifest, Part, SCHEMA, Shard, TOKENIZER,
        read_shard, shard_name,
    },
    parquet,
    split::Split,
    tokenizer::{TokenizerError, TokenizerFile},
};
use crate::benchmark::{self, Benchmark};
use flate2::read::MultiGzDecoder;
use prism_core::Digest;
use rayon::prelude::*;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

/// Bytes of input for one shard of the training part.
const BYTES_PER_SHARD: u64 = 64 << 20;
/// Most shards of a part: each has a file open while documents are sorted out.
const MOST_SHARDS: u64 = 256;
/// Most bytes of a shard, counts of tokens not included: it is sorted in memory.
const MOST_HEAP: u64 = 2 << 30;
/// Bytes of a line that are kept free for the count of its tokens.
const ROOM: usize = 40;
/// Where documents are sorted out, within the new folder.
const SORTING: &str = ".sorting";

/// Where the documents come from, for the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As in [`Manifest::name`].
    pub name: String,
    /// As in [`Manifest::revision`].
    pub revision: String,
    /// As in [`Manifest::license`].
    pub license: String,
}

/// What a dataset has beside its documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Additions {
    /// A `tokenizer.json`; without one, a token is a byte. Documents of which it would lose something are left out.
    pub tokenizer: Option<PathBuf>,
    /// Evaluation tasks by name: how each asks, and its file.
    pub benchmarks: BTreeMap<String, (benchmark::Kind, PathBuf)>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Documents read from the files.
    Read {
        /// So many.
        documents: u64,
        /// Of so many files this one, from 1.
        file: usize,
        /// Files in all.
        files: usize,
    },
    /// A shard is written.
    Written {
        /// How many documents it holds.
        documents: u64,
    },
    /// A training shard was compared with what is held out.
    Compared,
}

/// Makes a dataset in a new folder from `.jsonl`, `.jsonl.gz` and `.parquet` files with columns `id` and `text`.
///
/// A document that stands there twice is taken once; of two texts under one id the smaller in the order of bytes is
/// taken. `progress` may stop it by an error.
///
/// # Errors
/// The first file that can't be read or breaks a limit; a part without documents; a folder that is not new; a tokenizer or
/// an evaluation task that can't be used.
pub fn prepare(
    files: &[PathBuf],
    folder: &Path,
    source: &Source,
    additions: &Additions,
    limits: Limits,
    progress: &mut dyn FnMut(Progress) -> Result<(), DatasetError>,
) -> Result<Manifest, DatasetError> {
    let io = |path: &Path| {
        let file = path.display().to_string();
        move |error| DatasetError::Io { file, error }
    };
    if files.is_empty() {
        return Err(DatasetError::Unusable("there is no file to make a dataset of".into()));
    }
    let mut input = 0u64;
    for file in files {
        input = input.saturating_add(fs::metadata(file).map_err(io(file))?.len());
    }
    // Before hours of work.
    let tokenizer = additions.tokenizer.as_deref().map(held_tokenizer).transpose()?;
    let tasks = held_benchmarks(&additions.benchmarks)?;
    fs::create_dir(folder).map_err(io(folder))?;
    if let Some((_, bytes)) = &tokenizer {
        fs::write(folder.join(TOKENIZER), bytes).map_err(io(&folder.join(TOKENIZER)))?;
    }
    for (task, bytes) in &tasks {
        let path = folder.join(task.kind().file_name(task.name()));
        fs::write(&path, bytes).map_err(io(&path))?;
    }
    let sorting = folder.join(SORTING);
    fs::create_dir(&sorting).map_err(io(&sorting))?;

    let shards = input.div_ceil(BYTES_PER_SHARD).clamp(1, MOST_SHARDS);
    let mut sorter = Sorter::new(&sorting, shards, limits)?;
    let mut documents = 0u64;
    for (number, file) in files.iter().enumerate() {
        read(file, limits, &mut |record| {
            documents += 1;
            if documents.is_multiple_of(1024) {
                progress(Progress::Read { documents, file: number + 1, files: files.len() })?;
            }
            if documents > limits.documents as u64 {
                let text = format!("{}: passes the limit of {} documents", file.display(), limits.documents);
                return Err(DatasetError::Unusable(text));
            }
            sorter.put(&Record { tokens: None, ..record })
        })?;
    }
    let heaps = sorter.finish()?;

    let mut splits: BTreeMap<Split, Part> = BTreeMap::new();
    let mut held_out = HeldOut::default();
    for (task, _) in &tasks {
        task.texts().iter().for_each(|text| held_out.take_question(task.name(), text));
    }
    let mut left_out = 0;
    for (split, heap) in heaps {
        let mut records = sorted(&heap, limits)?;
        if let Some((tokenizer, _)) = &tokenizer {
            left_out += count_tokens(&mut records, tokenizer)?;
        }
        if records.is_empty() {
            continue;
        }
        let part = splits.entry(split).or_default();
        let shard = write(folder, &shard_name(split, part.shards.len()), &records)?;
        if split != Split::Train {
            // Shards come in this order: those that are compared are a fair sample.
            let mut by_hash: Vec<&Record> = records.iter().collect();
            by_hash.sort_by_cached_key(|record| Digest::of(record.id.as_bytes()));
            by_hash.iter().for_each(|record| held_out.take(split, &record.text));
        }
        part.documents += shard.documents;
        part.text_bytes += shard.text_bytes;
        part.tokens = shard.tokens.map(|tokens| part.tokens.unwrap_or_default() + tokens);
        progress(Progress::Written { documents: shard.documents })?;
        part.shards.push(shard);
    }
    fs::remove_dir_all(&sorting).map_err(io(&sorting))?;
    for split in Split::ALL {
        if !splits.contains_key(&split) {
            let text = format!("the files hold no document of the {} part: more are needed", split.as_str());
            return Err(DatasetError::Unusable(text));
        }
    }
    for shard in splits.get(&Split::Train).into_iter().flat_map(|part| &part.shards) {
        read_shard(folder, Split::Train, shard, limits, &mut |_, line| {
            held_out.meet(&line.document.text);
            Ok(())
        })?;
        progress(Progress::Compared)?;
    }
    let contamination = write_json(&folder.join(CONTAMINATION), &held_out.report())?;
    let Source { name, revision, license } = source.clone();
    let tokenizer = tokenizer.map(|(tokenizer, bytes)| HeldTokenizer {
        sha256: tokenizer.fingerprint(),
        bytes: bytes.len() as u64,
        vocabulary: tokenizer.vocabulary(),
        left_out,
    });
    let held = |(task, bytes): (Benchmark, Vec<u8>)| {
        let held = HeldBenchmark { kind: task.kind(), sha256: task.digest(), bytes: bytes.len() as u64 };
        (task.name().to_owned(), held)
    };
    let benchmarks = tasks.into_iter().map(held).collect();
    let schema = SCHEMA.into();
    let manifest = Manifest { schema, name, revision, license, contamination, tokenizer, benchmarks, splits };
    // Last: a folder without it is no dataset.
    write_json(&folder.join(MANIFEST), &manifest)?;
    Ok(manifest)
}

fn held_tokenizer(path: &Path) -> Result<(TokenizerFile, Vec<u8>), DatasetError> {
    let bytes = read_up_to(path, TokenizerFile::MAX_BYTES)?;
    let parsed = TokenizerFile::parse(&bytes);
    let file = || path.display().to_string();
    Ok((parsed.map_err(|error| DatasetError::Tokenizer { file: file(), error })?, bytes))
}

fn held_benchmarks(
    named: &BTreeMap<String, (benchmark::Kind, PathBuf)>,
) -> Result<Vec<(Benchmark, Vec<u8>)>, DatasetError> {
    let held = named.iter().map(|(name, (kind, path))| {
        let bytes = read_up_to(path, benchmark::MAX_BYTES)?;
        let file = || path.display().to_string();
        let parsed = Benchmark::parse(name, *kind, &bytes);
        Ok((parsed.map_err(|error| DatasetError::Benchmark { file: file(), error })?, bytes))
    });
    held.collect()
}

/// A small file, and a byte more than the limit where it is longer, for its parser to refuse.
fn read_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, DatasetError> {
    let io = |error| DatasetError::Io { file: path.display().to_string(), error };
    let mut bytes = Vec::new();
    File::open(path).map_err(io)?.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Counts the tokens of each record, and drops those of which something would be lost; says how many they were.
fn count_tokens(records: &mut Vec<Record>, tokenizer: &TokenizerFile) -> Result<u64, DatasetError> {
    let count = |record: &mut Record| {
        record.tokens = match tokenizer.encode(&record.text) {
            Ok(tokens) => u32::try_from(tokens.len()).ok(),
            Err(TokenizerError::Lossy { .. }) => None,
            Err(error) => {
                let error = format!("document {:?}: {error}", record.id);
                return Err(DatasetError::Unusable(error));
            }
        };
        Ok(())
    };
    records.par_iter_mut().try_for_each(count)?;
    let before = records.len();
    records.retain(|record| record.tokens.is_some());
    Ok((before - records.len()) as u64)
}

fn read(
    path: &Path,
    limits: Limits,
    each: &mut dyn FnMut(Record) -> Result<(), DatasetError>,
) -> Result<(), DatasetError> {
    let name = path.to_string_lossy();
    if name.ends_with(".parquet") {
        return parquet::read(path, each);
    }
    let packed = name.ends_with(".jsonl.gz");
    if !packed && !name.ends_with(".jsonl") {
        let text = format!("{}: only .jsonl, .jsonl.gz and .parquet files are read", path.display());
        return Err(DatasetError::Unusable(text));
    }
    let file = File::open(path).map_err(|error| DatasetError::Io { file: name.to_string(), error })?;
    let lines: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut records = Records::new(BufReader::with_capacity(1 << 20, lines), limits);
    while let Some(record) = next(&mut records, &name)? {
        each(record)?;
    }
    Ok(())
}

fn next<R: io::BufRead>(records: &mut Records<R>, file: &str) -> Result<Option<Record>, DatasetError> {
    records.next_record().map_err(|error| DatasetError::Corpus { file: file.to_owned(), error })
}

/// Documents that will be one shard.
struct Heap {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
}

/// Heaps that no reader of the shards will refuse: what is written is held to the limits here, not what it came from.
struct Sorter {
    heaps: BTreeMap<Split, Vec<Heap>>,
    limits: Limits,
    most_heap: u64,
    bytes: u64,
}

impl Sorter {
    fn new(folder: &Path, train: u64, limits: Limits) -> Result<Self, DatasetError> {
        let mut heaps = BTreeMap::new();
        for split in Split::ALL {
            // 950 of 1000 documents are for training, 25 each are held out.
            let count = if split == Split::Train { train } else { train.div_ceil(38) };
            let open = |number| {
                let path = folder.join(format!("{}-{number}", split.as_str()));
                let file = File::create(&path);
                let file = file.map_err(|error| DatasetError::Io { file: path.display().to_string(), error })?;
                Ok(Heap { path, file: BufWriter::new(file), bytes: 0 })
            };
            heaps.insert(split, (0..count).map(open).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(Self { heaps, limits, most_heap: MOST_HEAP, bytes: 0 })
    }

    fn put(&mut self, record: &Record) -> Result<(), DatasetError> {
        // Other bytes than those that the split depends on most would do; these are as good as random within it.
        let [a, b, c, d, ..] = Digest::of(record.id.as_bytes()).0;
        let draw = u64::from(u32::from_be_bytes([a, b, c, d]));
        let Some(heaps) = self.heaps.get_mut(&Split::of(&record.id)) else { return Ok(()) };
        let place = usize::try_from((draw * heaps.len() as u64) >> 32).unwrap_or_default();
        let Some(Heap { path, file, bytes }) = heaps.get_mut(place) else { return Ok(()) };
        let io = |error| DatasetError::Io { file: path.display().to_string(), error };
        let mut line = Vec::new();
        write_line(&mut line, record).map_err(io)?;
        let length = (line.len() + ROOM) as u64;
        *bytes += line.len() as u64;
        self.bytes += length;
        let held = [
            (length, self.limits.line_bytes as u64, "as a line of its shard it"),
            (*bytes, self.most_heap, "with it, its shard"),
            (self.bytes, self.limits.total_bytes, "with it, the dataset"),
        ];
        if let Some((_, most, what)) = held.into_iter().find(|(bytes, most, _)| bytes > most) {
            let text = format!("document {:?}: {what} would have more than {most} bytes", record.id);
            return Err(DatasetError::Unusable(text));
        }
        file.write_all(&line).map_err(io)
    }

    fn finish(self) -> Result<Vec<(Split, PathBuf)>, DatasetError> {
        let mut done = Vec::new();
        for (split, heaps) in self.heaps {
            for Heap { path, mut file, .. } in heaps {
                let flushed = file.flush();
                flushed.map_err(|error| DatasetError::Io { file: path.display().to_string(), error })?;
                done.push((split, path));
            }
        }
        Ok(done)
    }
}

/// The documents of a heap in the order of ids, each id once.
fn sorted(heap: &Path, limits: Limits) -> Result<Vec<Record>, DatasetError> {
    let name = heap.display().to_string();
    let file = File::open(heap).map_err(|error| DatasetError::Io { file: name.clone(), error })?;
    let mut records = Records::new(BufReader::new(file), limits);
    let mut all = Vec::new();
    while let Some(record) = next(&mut records, &name)? {
        all.push(record);
    }
    all.sort_unstable();
    all.dedup_by(|next, kept| next.id == kept.id);
    Ok(all)
}

fn write(folder: &Path, name: &str, records: &[Record]) -> Result<Shard, DatasetError> {
    let io = |error| DatasetError::Io { file: name.to_owned(), error };
    let mut bytes = Vec::new();
    for record in records {
        write_line(&mut bytes, record).map_err(io)?;
    }
    fs::write(folder.join(name), &bytes).map_err(io)?;
    Ok(Shard {
        path: name.to_owned(),
        sha256: Digest::of(&bytes),
        bytes: bytes.len() as u64,
        documents: records.len() as u64,
        text_bytes: records.iter().map(|record| record.text.len() as u64).sum(),
        tokens: records.iter().map(|record| record.tokens.map(u64::from)).sum(),
    })
}

/// Compact, keys in order: one record has one line.
fn write_line(to: &mut impl Write, record: &Record) -> io::Result<()> {
    serde_json::to_writer(&mut *to, record)?;
    to.write_all(b"\n")
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<Digest, DatasetError> {
    let io = |error| DatasetError::Io { file: path.display().to_string(), error };
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| io(error.into()))?;
    bytes.push(b'\n');
    fs::write(path, &bytes).map_err(io)?;
    Ok(Digest::of(&bytes))
}

impl From<&Document> for Record {
    fn from(document: &Document) -> Self {
        Self { id: document.id.clone(), text: document.text.clone(), tokens: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{dataset::open, fixture::stand_in};
    use flate2::{Compression, write::GzEncoder};

    fn source() -> Source {
        Source { name: "n".into(), revision: "r".into(), license: "l".into() }
    }

    fn lines<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for document in documents {
            write_line(&mut bytes, &Record::from(document)).unwrap();
        }
        bytes
    }

    fn prepared(files: &[PathBuf], out: &Path) -> Result<Manifest, DatasetError> {
        prepare(files, out, &source(), &Additions::default(), Limits::default(), &mut |_| Ok(()))
    }

    #[test]
    fn the_same_documents_give_the_same_bytes_whatever_their_order_packing_and_repeats() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let corpus = stand_in().unwrap();
        let documents: Vec<Document> = corpus.documents().map(Result::unwrap).collect();
        let documents = &documents[..];
        fs::write(at("whole.jsonl"), lines(documents)).unwrap();
        let (first, second) = documents.split_at(600);
        fs::write(at("second.jsonl"), lines(second.iter().rev().chain(&first[..5]))).unwrap();
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&lines(first)).unwrap();
        fs::write(at("first.jsonl.gz"), packer.finish().unwrap()).unwrap();

        let one = prepared(&[at("whole.jsonl")], &at("one")).unwrap();
        let two = prepared(&[at("second.jsonl"), at("first.jsonl.gz")], &at("two")).unwrap();
        assert_eq!(one, two);
        let count: u64 = one.splits.values().map(|part| part.documents).sum();
        assert_eq!(count, documents.len() as u64);
        assert!(open(&at("two"), Limits::default()).is_ok());
        assert!(!at("one").join(SORTING).exists());
    }

    #[test]
    fn a_folder_that_exists_other_files_and_missing_parts_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let corpus = stand_in().unwrap();
        let train: Vec<Document> = corpus.of(Split::Train).take(20).map(Result::unwrap).collect();
        fs::write(at("train.jsonl"), lines(&train)).unwrap();
        let error = prepared(&[at("train.jsonl")], &at("out")).unwrap_err().to_string();
        assert_eq!(error, "the files hold no document of the validation part: more are needed");
        let error = prepared(&[at("train.jsonl")], &at("out")).unwrap_err();
        assert!(matches!(&error, DatasetError::Io { error, .. } if error.kind() == io::ErrorKind::AlreadyExists));
        fs::write(at("train.csv"), "id,text").unwrap();
        let error = prepared(&[at("train.csv")], &at("csv")).unwrap_err().to_string();
        assert!(error.ends_with("only .jsonl, .jsonl.gz and .parquet files are read"), "{error}");
        fs::write(at("bad.jsonl"), "{\"id\": 3}").unwrap();
        let error = prepared(&[at("bad.jsonl")], &at("bad")).unwrap_err().to_string();
        assert!(error.contains("bad.jsonl"), "{error}");
    }

    #[test]
    fn what_no_reader_would_take_is_refused_when_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { line_bytes: 200, total_bytes: 1000, ..Limits::default() };
        let sorter = || Sorter::new(folder.path(), 1, limits).unwrap();
        let put = |sorter: &mut Sorter, text: &str| {
            let record = Record { id: "a".into(), text: text.into(), tokens: None };
            sorter.put(&record).map_err(|error| error.to_string())
        };
        let bare = put(&mut sorter(), &"x".repeat(30));
        // Each takes six bytes.
        let escaped = put(&mut sorter(), &"\u{1}".repeat(30));
        let long = "document \"a\": as a line of its shard it would have more than 200 bytes";
        assert_eq!((bare, escaped), (Ok(()), Err(long.to_owned())));

        let mut longest = sorter();
        let text = "x".repeat(200 - ROOM - r#"{"id":"a","text":""}"#.len() - 1);
        assert_eq!(put(&mut longest, &text), Ok(()));
        assert!(put(&mut longest, &format!("{text}x")).is_err());
        let counted = Record { id: "a".into(), text, tokens: Some(u32::MAX) };
        let mut line = Vec::new();
        write_line(&mut line, &counted).unwrap();
        assert!(line.len() <= 200, "{}", line.len());

        let mut heap = Sorter { most_heap: 100, ..sorter() };
        assert_eq!(put(&mut heap, &"x".repeat(60)), Ok(()));
        let full = put(&mut heap, &"x".repeat(60)).unwrap_err();
        assert_eq!(full, "document \"a\": with it, its shard would have more than 100 bytes");
        let mut all = sorter();
        let results: Vec<_> = (0..8).map(|_| put(&mut all, &"x".repeat(100))).collect();
        assert!(results[..6].iter().all(Result::is_ok) && results[6].is_err(), "{results:?}");
    }

    #[test]
    fn it_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.jsonl");
        let documents: Vec<Document> = stand_in().unwrap().documents().map(Result::unwrap).collect();
        fs::write(&path, lines(&documents)).unwrap();
        let mut stop = |_| Err(DatasetError::Unusable("stopped".into()));
        let ended = prepare(
            &[path],
            &folder.path().join("out"),
            &source(),
            &Additions::default(),
            Limits::default(),
            &mut stop,
        );
        assert_eq!(ended.unwrap_err().to_string(), "stopped");
    }
}
