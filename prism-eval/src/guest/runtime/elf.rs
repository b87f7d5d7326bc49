//! As much of ELF as it takes to say what a shared library asks of others: 64 bit, little-endian, with a section table.
//!
//! Formats: System V gABI chapter 4 (headers, symbol table) and LSB Core 10.7 (symbol versioning).
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// The longest section that is read. The string table of `libtorch_cpu.so` takes some 30 MB.
const MAX_SECTION_BYTES: u64 = 256 << 20;
const MAX_SECTIONS: u16 = 4096;
/// The longest chain of libraries, and of versions of one of them.
const MAX_VERSIONS: usize = 1024;

const DYNAMIC: u32 = 6;
const DYNAMIC_SYMBOLS: u32 = 11;
const VERSIONS_NEEDED: u32 = 0x6fff_fffe;
const VERSION_OF_SYMBOL: u32 = 0x6fff_ffff;

const NEEDED_TAG: u64 = 1;
const GLOBAL: u8 = 1;

/// A file that is no shared library of the kind read here.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// It can't be read.
    #[error("{path} can't be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is something else, or damaged.
    #[error("{path} is no shared library that can be read: {problem}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// The version of a symbol that another library must have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Version {
    /// The library, by its `SONAME`.
    pub(super) library: String,
    /// The version's name.
    pub(super) name: String,
}

/// What a shared library asks of others, and what it has.
#[derive(Debug, Default)]
pub(super) struct SharedLibrary {
    /// The libraries that it names, by `SONAME`.
    pub(super) needed: Vec<String>,
    /// All versions that it names, used by a symbol or not.
    pub(super) versions: BTreeSet<Version>,
    /// Symbols that must be found elsewhere (weak ones need not be).
    pub(super) undefined: BTreeSet<(String, Option<Version>)>,
    /// Symbols that others find here.
    pub(super) defined: HashSet<String>,
}

struct Section {
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
}

impl SharedLibrary {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, ElfError> {
        let io = |source| ElfError::Read { path: path.to_owned(), source };
        let mut reader = Reader { path, file: File::open(path).map_err(io)? };
        let sections = reader.sections()?;
        let mut library = Self::default();
        let of_kind = |kind| sections.iter().find(move |section: &&Section| section.kind == kind);

        if let Some(section) = of_kind(DYNAMIC) {
            let (entries, names) = (reader.section(section)?, reader.linked(&sections, section)?);
            for entry in entries.chunks_exact(16) {
                if u64_at(entry, 0) == Some(NEEDED_TAG) {
                    let at = u64_at(entry, 8).and_then(|at| usize::try_from(at).ok());
                    library.needed.push(reader.name(&names, at)?);
                }
            }
        }
        let mut by_index = HashMap::new();
        if let Some(section) = of_kind(VERSIONS_NEEDED) {
            let (bytes, names) = (reader.section(section)?, reader.linked(&sections, section)?);
            by_index = reader.versions(&bytes, &names)?;
            library.versions = by_index.values().cloned().collect();
        }
        if let Some(section) = of_kind(DYNAMIC_SYMBOLS) {
            let (symbols, names) = (reader.section(section)?, reader.linked(&sections, section)?);
            let versions = of_kind(VERSION_OF_SYMBOL).map(|section| reader.section(section)).transpose()?;
            for (at, symbol) in symbols.chunks_exact(24).enumerate() {
                let (Some(info), Some(section)) = (symbol.get(4), u16_at(symbol, 6)) else { continue };
                if info >> 4 != GLOBAL && section == 0 {
                    continue;
                }
                let name = reader.name(&names, u32_at(symbol, 0).map(|at| at as usize))?;
                if name.is_empty() {
                    continue;
                }
                if section != 0 {
                    library.defined.insert(name);
                    continue;
                }
                // The highest bit hides a symbol from the linker.
                let index = versions.as_ref().and_then(|versions| u16_at(versions, at.checked_mul(2)?));
                let version = index.and_then(|index| by_index.get(&(index & 0x7fff))).cloned();
                library.undefined.insert((name, version));
            }
        }
        Ok(library)
    }
}

struct Reader<'a> {
    path: &'a Path,
    file: File,
}

impl Reader<'_> {
    fn format(&self, problem: &'static str) -> ElfError {
        ElfError::Format { path: self.path.to_owned(), problem }
    }

    fn bytes(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, ElfError> {
        if length > MAX_SECTION_BYTES {
            return Err(self.format("a section is too long"));
        }
        let read = |file: &mut File| {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(offset))?;
            file.take(length).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read(&mut self.file).map_err(|source| ElfError::Read { path: self.path.to_owned(), source })?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(self.format("it is cut short")) }
    }

    fn sections(&mut self) -> Result<Vec<Section>, ElfError> {
        let header = self.bytes(0, 64)?;
        // Magic number, 64 bit, little-endian.
        if !header.starts_with(b"\x7fELF\x02\x01") {
            return Err(self.format("no 64-bit little-endian ELF"));
        }
        let (Some(offset), Some(64), Some(count @ 1..=MAX_SECTIONS)) =
            (u64_at(&header, 0x28), u16_at(&header, 0x3a), u16_at(&header, 0x3c))
        else {
            return Err(self.format("no section table"));
        };
        let table = self.bytes(offset, u64::from(count) * 64)?;
        let section = |entry: &[u8]| {
            let (kind, link) = (u32_at(entry, 4)?, u32_at(entry, 40)?);
            Some(Section { kind, offset: u64_at(entry, 24)?, size: u64_at(entry, 32)?, link })
        };
        Ok(table.chunks_exact(64).filter_map(section).collect())
    }

    fn section(&mut self, section: &Section) -> Result<Vec<u8>, ElfError> {
        self.bytes(section.offset, section.size)
    }

    /// The section with the names that another one uses.
    fn linked(&mut self, sections: &[Section], section: &Section) -> Result<Vec<u8>, ElfError> {
        let names = sections.get(section.link as usize).ok_or_else(|| self.format("a section has no names"))?;
        self.section(names)
    }

    fn name(&self, names: &[u8], at: Option<usize>) -> Result<String, ElfError> {
        let rest = at.and_then(|at| names.get(at..)).ok_or_else(|| self.format("a name lies outside its section"))?;
        let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8(name.to_vec()).map_err(|_| self.format("a name is no text"))
    }

    /// The needed versions by the index that symbols name them with: a chain of libraries, each with a chain of versions.
    fn versions(&self, bytes: &[u8], names: &[u8]) -> Result<HashMap<u16, Version>, ElfError> {
        let cut = || self.format("a chain of versions leaves its section, or does not end");
        let mut by_index = HashMap::new();
        let mut library_at = 0_usize;
        for _ in 0..MAX_VERSIONS {
            let entry = bytes.get(library_at..).ok_or_else(cut)?;
            let (Some(file), Some(first), Some(next)) = (u32_at(entry, 4), u32_at(entry, 8), u32_at(entry, 12)) else {
                return Err(cut());
            };
            let library = self.name(names, Some(file as usize))?;
            let mut version_at = library_at.checked_add(first as usize).ok_or_else(cut)?;
            for more in (0..MAX_VERSIONS).rev() {
                let entry = bytes.get(version_at..).ok_or_else(cut)?;
                let (Some(index), Some(name), Some(next)) = (u16_at(entry, 6), u32_at(entry, 8), u32_at(entry, 12))
                else {
                    return Err(cut());
                };
                let name = self.name(names, Some(name as usize))?;
                by_index.insert(index, Version { library: library.clone(), name });
                if next == 0 {
                    break;
                }
                if more == 0 {
                    return Err(cut());
                }
                version_at = version_at.checked_add(next as usize).ok_or_else(cut)?;
            }
            if next == 0 {
                return Ok(by_index);
            }
            library_at = library_at.checked_add(next as usize).ok_or_else(cut)?;
        }
        Err(cut())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A library that every test can read: the C library that this test itself runs on.
    fn libc() -> PathBuf {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let path =
            maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/libm.so"));
        let other =
            || maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("/libgcc_s"));
        path.or_else(other).expect("a shared library besides libc").into()
    }

    #[test]
    fn a_library_of_the_system_names_the_c_library_and_its_versions() {
        let library = SharedLibrary::read(&libc()).unwrap();
        assert!(library.needed.contains(&"libc.so.6".to_owned()), "{:?}", library.needed);
        assert!(
            library.versions.iter().any(|version| version.library == "libc.so.6" && version.name.starts_with("GLIBC_"))
        );
        assert!(library.undefined.iter().any(|(_, version)| version.is_some()), "{:?}", library.undefined);
        assert!(library.defined.len() > 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn damaged_files_are_refused_or_read_and_never_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
            table in any::<bool>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = std::fs::read(libc()).unwrap();
            // Half of the time where it hurts: in the header and in the section table at the end.
            let length = bytes.len();
            for (at, value) in changes {
                let at = if table { at.index(4096) } else { at.index(length) };
                bytes[if table && at > 64 { length - at } else { at }] = value;
            }
            if cut.index(4) == 0 {
                bytes.truncate(cut.index(length));
            }
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            let _ = SharedLibrary::read(file.path());
        }
    }
}
