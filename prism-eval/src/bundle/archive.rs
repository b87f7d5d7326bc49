//! ZIP archives: unpacked in memory under a count, and packed the same way every time.
use super::{
    MAX_ENTRIES, MAX_FILES, MAX_UNPACKED_BYTES, SUFFIXES,
    error::{BundleError, EntryRule, shown},
};
use prism_core::manifest::is_plain_path;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Read, Write},
};
use zip::{
    CompressionMethod, DateTime, ZipArchive, ZipWriter,
    read::{ArchiveOffset, Config},
    result::ZipError,
    write::SimpleFileOptions,
};

/// Local file header, and end of central directory without a comment: 4.3.7 and 4.3.16 of PKWARE's APPNOTE.
const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const END_HEADER: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const CHUNK: usize = 65_536;

/// File types of a Unix mode.
const TYPE_MASK: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// Whether bytes begin like a ZIP archive.
pub(crate) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCAL_HEADER) || bytes.starts_with(END_HEADER)
}

/// The files of an archive by path, or the first rule that it breaks. Nothing is written anywhere, and no more memory
/// is taken than the cap on unpacked bytes and a chunk.
pub(crate) fn unpack(bytes: &[u8]) -> Result<BTreeMap<String, String>, BundleError> {
    check_end(bytes)?;
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(config, Cursor::new(bytes)).map_err(|error| damaged(&error))?;
    let metadata = archive.metadata();
    // The directory that is in use, whichever the reader found, and not only the one at the end.
    if metadata.len() > MAX_ENTRIES {
        return Err(BundleError::Entries(metadata.len()));
    }
    let mut paths = Paths::default();
    for at in 0..metadata.len() {
        let entry = metadata.entry(at).map_err(|error| damaged(&error))?;
        paths.add(entry.name_raw())?;
    }
    if metadata.has_duplicate_names() {
        return Err(BundleError::entry(twice(bytes), EntryRule::Duplicate));
    }
    // Local headers must say what the central directory says, entries must not overlap, nothing may hide between them.
    archive.validate_header_consistency().map_err(|error| damaged(&error))?;
    let mut files = BTreeMap::new();
    let mut total = 0;
    for at in 0..archive.len() {
        let entry = metadata.entry(at).map_err(|error| damaged(&error))?;
        let raw = entry.name_raw();
        let fail = |rule| BundleError::entry(raw, rule);
        let name = std::str::from_utf8(raw).map_err(|_| fail(EntryRule::Name))?;
        check_type(entry.external_attributes() >> 16, entry.is_dir()).map_err(fail)?;
        if entry.encrypted() {
            return Err(fail(EntryRule::Encrypted));
        }
        if entry.is_dir() {
            continue;
        }
        if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(fail(EntryRule::Compression));
        }
        if !SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            return Err(fail(EntryRule::Suffix));
        }
        if files.len() == MAX_FILES {
            return Err(BundleError::Files);
        }
        let mut content = Vec::new();
        let mut chunk = vec![0; CHUNK];
        let mut reader = archive.by_index(at).map_err(|_| fail(EntryRule::Damaged))?;
        loop {
            let read = reader.read(&mut chunk).map_err(|_| fail(EntryRule::Damaged))?;
            let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
            total += part.len();
            if total > MAX_UNPACKED_BYTES {
                return Err(BundleError::Unpacked { name: shown(raw) });
            }
            content.extend_from_slice(part);
        }
        let text = String::from_utf8(content).map_err(|_| fail(EntryRule::Text))?;
        files.insert(name.to_owned(), text);
    }
    Ok(files)
}

/// An archive of these files: sorted, deflated, without times; the same files give the same bytes.
pub(crate) fn pack(files: &BTreeMap<String, String>) -> Result<Vec<u8>, BundleError> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(0o644);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(name.as_str(), options).map_err(|error| damaged(&error))?;
        writer.write_all(content.as_bytes()).map_err(|error| BundleError::Archive(error.to_string()))?;
    }
    let cursor = writer.finish().map_err(|error| damaged(&error))?;
    Ok(cursor.into_inner())
}

fn damaged(error: &ZipError) -> BundleError {
    BundleError::Archive(error.to_string().chars().take(200).collect())
}

/// The end of the archive is the end of the bytes: no comment, no ZIP64, no trailing bytes that another reader might
/// take for the directory; and the number of entries is bounded before any is read.
fn check_end(bytes: &[u8]) -> Result<(), BundleError> {
    let fail = |problem: &str| BundleError::Archive(problem.to_owned());
    let end = bytes.len().checked_sub(END_BYTES).and_then(|start| bytes.get(start..));
    let end = end
        .filter(|end| end.starts_with(END_HEADER))
        .ok_or_else(|| fail("does not end with its directory (cut off, trailing bytes, or an archive comment)"))?;
    let field = |at: usize| {
        let bytes = end.get(at..at + 2).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
        bytes.map(u16::from_le_bytes).unwrap_or(u16::MAX)
    };
    let (disk, directory_disk, here, total) = (field(4), field(6), field(8), field(10));
    if field(20) != 0 {
        return Err(fail("says that a comment follows its end"));
    }
    if disk != 0 || directory_disk != 0 || here != total {
        return Err(fail("spans several disks, or is ZIP64"));
    }
    match usize::from(total) {
        total if total > MAX_ENTRIES => Err(BundleError::Entries(total)),
        _ => Ok(()),
    }
}

fn check_type(mode: u32, directory: bool) -> Result<(), EntryRule> {
    match mode & TYPE_MASK {
        LINK => Err(EntryRule::Symlink),
        0 => Ok(()),
        REGULAR if !directory => Ok(()),
        DIRECTORY if directory => Ok(()),
        _ => Err(EntryRule::Special),
    }
}

/// Names seen so far, as a system without upper and lower case would see them.
#[derive(Debug, Default)]
struct Paths {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

impl Paths {
    fn add(&mut self, raw: &[u8]) -> Result<(), BundleError> {
        let fail = |rule| BundleError::entry(raw, rule);
        let name = std::str::from_utf8(raw).map_err(|_| fail(EntryRule::Name))?;
        let path = name.strip_suffix('/').unwrap_or(name);
        if !is_plain_path(path) {
            return Err(fail(EntryRule::Path));
        }
        let folded = path.to_lowercase();
        for (at, _) in folded.match_indices('/') {
            self.folders.insert(folded.get(..at).unwrap_or_default().to_owned());
        }
        let fresh = if path.len() < name.len() {
            self.folders.insert(folded.clone());
            !self.files.contains(&folded)
        } else {
            self.files.insert(folded.clone()) && !self.folders.contains(&folded)
        };
        let above = folded.match_indices('/').any(|(at, _)| self.files.contains(folded.get(..at).unwrap_or_default()));
        if fresh && !above { Ok(()) } else { Err(fail(EntryRule::Collision)) }
    }
}

/// A name that stands twice in the central directory; the archive's index, being a map, no longer shows it.
fn twice(bytes: &[u8]) -> &[u8] {
    let number = |at: usize, width: usize| {
        let bytes = bytes.get(at..at.checked_add(width)?)?;
        Some(bytes.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    // 4.3.12 and 4.3.16 of the APPNOTE: sizes of the central header, and where the directory starts.
    let mut at = bytes.len().checked_sub(END_BYTES).and_then(|end| number(end + 16, 4));
    let mut seen = BTreeSet::new();
    while let Some(start) = at {
        let sizes = (number(start + 28, 2), number(start + 30, 2), number(start + 32, 2));
        let (Some(name), Some(extra), Some(comment)) = sizes else { break };
        let Some(raw) = bytes.get(start + 46..start + 46 + name) else { break };
        if !seen.insert(raw) {
            return raw;
        }
        at = Some(start + 46 + name + extra + comment);
    }
    b"?"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Bundle, MAX_WIRE_BYTES};
    use proptest::prelude::*;

    const MANIFEST: &str = "kind: architecture_only\narchitecture: { entrypoint: model.py }\n";

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn zip(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
        assert_eq!(from.len(), to.len());
        let mut bytes = bytes.to_vec();
        let places: Vec<usize> = (0..=bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
        assert!(!places.is_empty());
        for at in places {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
        bytes
    }

    fn rule(bytes: &[u8]) -> &'static str {
        unpack(bytes).expect_err("should be refused").rule()
    }

    #[test]
    fn what_is_packed_comes_out_and_packing_is_repeatable() {
        let files = files(&[("prism.yaml", MANIFEST), ("model.py", "x = 'é'\n"), ("src/a/b.txt", "")]);
        let archive = pack(&files).unwrap();
        assert_eq!(unpack(&archive).unwrap(), files);
        assert_eq!(pack(&files).unwrap(), archive);
    }

    #[test]
    fn folders_are_skipped() {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.add_directory("src/", SimpleFileOptions::default()).unwrap();
        writer.start_file("src/a.py", SimpleFileOptions::default()).unwrap();
        let files = unpack(&writer.finish().unwrap().into_inner()).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["src/a.py"]);
    }

    #[test]
    fn links_and_special_files_are_refused() {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.add_symlink("model.py", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        let archive = writer.finish().unwrap().into_inner();
        assert_eq!(rule(&archive), "bundle.symlink");
        assert_eq!(unpack(&archive).unwrap_err().to_string(), "entry `model.py` is a symbolic link");
        let plain = pack(&files(&[("model.py", "x")])).unwrap();
        let mode = |kind: u32| ((kind | 0o644) << 16).to_le_bytes();
        for kind in [0o020_000, 0o010_000, 0o060_000, 0o140_000, 0o040_000] {
            assert_eq!(rule(&replaced(&plain, &mode(REGULAR), &mode(kind))), "bundle.special");
        }
    }

    #[test]
    fn names_that_lead_out_of_the_bundle_are_refused() {
        for name in
            ["../model.py", "/model.py", "a/../../model.py", "a//model.py", "./model.py", "C:model.py", "a\u{1}.py"]
        {
            let archive = zip(&[(&"x".repeat(name.len()), "")]);
            let archive = replaced(&archive, "x".repeat(name.len()).as_bytes(), name.as_bytes());
            assert_eq!(rule(&archive), "bundle.path", "{name}");
        }
        let backslash = replaced(&zip(&[("a_b.py", "")]), b"a_b.py", b"a\\b.py");
        assert_eq!(rule(&backslash), "bundle.path");
        let latin = replaced(&zip(&[("a_b.py", "")]), b"a_b.py", b"a\xe9b.py");
        assert_eq!(rule(&latin), "bundle.name");
        assert_eq!(rule(&zip(&[(&format!("{}.py", "x".repeat(300)), "")])), "bundle.path");
    }

    #[test]
    fn names_that_are_there_twice_or_collide_are_refused() {
        let twice = replaced(&zip(&[("a.py", "1"), ("b.py", "2")]), b"b.py", b"a.py");
        assert_eq!(unpack(&twice).unwrap_err().to_string(), "entry `a.py` is there twice");
        for pair in [["a.py", "A.py"], ["a.py", "a.py/b.py"], ["A.py/b.py", "a.py"], ["É.py", "é.py"]] {
            assert_eq!(rule(&zip(&[(pair[0], ""), (pair[1], "")])), "bundle.collision", "{pair:?}");
        }
    }

    #[test]
    fn local_and_central_headers_must_agree() {
        let archive = zip(&[("a.py", "1")]);
        let mut local = archive.clone();
        let at = local.windows(4).position(|bytes| bytes == b"a.py").unwrap();
        local[at] = b'b';
        assert_eq!(rule(&local), "bundle.archive");
        // A second file whose directory entry was left out.
        let two = zip(&[("a.py", "1"), ("b.py", "2")]);
        let directory = two.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
        let one = directory + 46 + 4;
        let mut hidden = two[..one].to_vec();
        let mut end = two[two.len() - END_BYTES..].to_vec();
        end[8..12].copy_from_slice(&[1, 0, 1, 0]);
        end[12..16].copy_from_slice(&50_u32.to_le_bytes());
        hidden.extend(end);
        assert_eq!(rule(&hidden), "bundle.archive");
    }

    #[test]
    fn foreign_suffixes_encryption_and_methods_are_refused() {
        for name in ["model.pyc", "run.sh", "model", "model.PY", ".py.so"] {
            assert_eq!(rule(&zip(&[(name, "")])), "bundle.suffix", "{name}");
        }
        let flags = |archive: &[u8], at_local: usize, at_central: usize, value: [u8; 2]| {
            let mut archive = archive.to_vec();
            let central = archive.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
            archive[at_local..at_local + 2].copy_from_slice(&value);
            archive[central + at_central..central + at_central + 2].copy_from_slice(&value);
            archive
        };
        let plain = pack(&files(&[("a.py", "x")])).unwrap();
        assert_eq!(rule(&flags(&plain, 6, 8, [1, 0])), "bundle.encrypted");
        assert_eq!(rule(&flags(&plain, 8, 10, [12, 0])), "bundle.compression");
        let mut content = plain.clone();
        let data = content.windows(4).position(|bytes| bytes == b"a.py").unwrap() + 4;
        content[data] ^= 0xff;
        assert_eq!(rule(&content), "bundle.damaged");
    }

    #[test]
    fn a_bomb_is_stopped_by_the_count_while_unpacking() {
        let bomb = pack(&files(&[("a.txt", &"a".repeat(64 << 20))])).unwrap();
        assert!(bomb.len() < 1 << 20);
        let error = unpack(&bomb).unwrap_err();
        assert_eq!(error.to_string(), "bundle has more than 2000000 bytes unpacked, reached in entry `a.txt`");
        // The same with headers that lie about the size.
        let size = |bytes: u32| bytes.to_le_bytes();
        let lying = replaced(&bomb, &size(64 << 20), &size(1000));
        assert_eq!(rule(&lying), "bundle.damaged");
        let many: Vec<(String, String)> = (0..3).map(|at| (format!("{at}.txt"), "a".repeat(700_000))).collect();
        assert_eq!(rule(&pack(&many.into_iter().collect()).unwrap()), "bundle.unpacked");
        let exact = pack(&files(&[("a.txt", &"a".repeat(MAX_UNPACKED_BYTES))])).unwrap();
        assert!(unpack(&exact).is_ok());
    }

    #[test]
    fn numbers_of_files_and_entries_are_bounded() {
        let named = |count: usize| (0..count).map(|at| (format!("{at}.txt"), String::new())).collect();
        assert!(unpack(&pack(&named(MAX_FILES)).unwrap()).is_ok());
        assert_eq!(rule(&pack(&named(MAX_FILES + 1)).unwrap()), "bundle.files");
        assert_eq!(rule(&pack(&named(MAX_ENTRIES + 1)).unwrap()), "bundle.entries");
    }

    #[test]
    fn text_that_is_not_utf8_and_archives_with_more_at_the_end_are_refused() {
        let archive = zip(&[("a.txt", "ab")]);
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("a.txt", SimpleFileOptions::default()).unwrap();
        writer.write_all(b"a\xff").unwrap();
        assert_eq!(rule(&writer.finish().unwrap().into_inner()), "bundle.text");
        for bytes in
            [[&archive[..], b"x"].concat(), [b"x", &archive[..]].concat(), archive[..archive.len() - 1].to_vec()]
        {
            assert_eq!(rule(&bytes), "bundle.archive");
        }
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.set_comment("hello").unwrap();
        writer.start_file("a.txt", SimpleFileOptions::default()).unwrap();
        assert_eq!(rule(&writer.finish().unwrap().into_inner()), "bundle.archive");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(bytes.len() < MAX_WIRE_BYTES);
            let _ = Bundle::read(&bytes);
            let _ = Bundle::read(&[LOCAL_HEADER, &bytes].concat());
        }

        #[test]
        fn no_changed_archive_panics(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
            let mut archive = pack(&files(&[("prism.yaml", MANIFEST), ("model.py", "build_model get_recipe")])).unwrap();
            for (at, to) in changes {
                let at = at % archive.len();
                archive[at] = to;
            }
            let _ = Bundle::read(&archive);
        }
    }
}
