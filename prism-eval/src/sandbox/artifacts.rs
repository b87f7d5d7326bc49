//! What work leaves behind, taken only once everything of it is dead.
//!
//! Names and kinds were chosen by the work, so nothing is followed: every file is opened below the scratch space
//! (`openat2(2)` with `RESOLVE_BENEATH`, without links or other file systems), and must be a plain file with one name. One
//! thing that isn't so refuses all. Owner, mode and attributes don't come along; a digest is all that is known of a file.
use async_trait::async_trait;
use prism_core::{
    Artifacts, Digest,
    channel::ByteSource,
    error::{Error, Fault, Kind, Retry},
    sandbox::{ARTIFACTS, SCRATCH},
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, fstatvfs, openat2},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
};

/// How much may be left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// Bytes in all files; this many pass, one more doesn't.
    pub bytes: u64,
    /// Files and folders.
    pub entries: u32,
    /// Folders within folders.
    pub depth: u32,
    /// Bytes in one name.
    pub name: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Self { bytes: 10_000_000_000, entries: 4096, depth: 16, name: 200 }
    }
}

/// Why nothing was taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum CollectError {
    /// What was left breaks a rule; which, and where.
    Refused(String),
    /// The host failed.
    Failed(Error),
}

/// Plain files below a folder: their paths and sizes. Nothing changes any more, so each is opened again when it is read.
#[derive(Debug)]
pub(super) struct Found {
    folder: OwnedFd,
    files: Vec<(String, u64)>,
}

/// All files below the artifacts' folder of a scratch space, by path relative to that folder; kept in the store, if there is one.
///
/// # Errors
/// `Refused` when something there isn't a plain file or folder, or is too much; `Failed` when the host can't read or keep.
pub async fn collect(
    scratch: OwnedFd,
    caps: Caps,
    store: Option<&dyn Artifacts>,
) -> Result<BTreeMap<String, Digest>, CollectError> {
    let found = blocking(move || find(&scratch, caps)).await??;
    keep(found, store).await
}

/// What was found, by path and digest; kept in the store, if there is one.
pub(super) async fn keep(
    found: Option<Found>,
    store: Option<&dyn Artifacts>,
) -> Result<BTreeMap<String, Digest>, CollectError> {
    let Some(Found { folder, files }) = found else { return Ok(BTreeMap::new()) };
    let mut artifacts = BTreeMap::new();
    for (path, bytes) in files {
        let file = File::from(open(&folder, &path).map_err(|e| unreadable(e.into()))?);
        let digest = match store {
            Some(store) => {
                let mut source = Left { file: tokio::fs::File::from_std(file), bytes };
                store.keep(&mut source, bytes).await.map_err(CollectError::Failed)?
            }
            None => blocking(move || digest(file, bytes)).await?.map_err(unreadable)?,
        };
        artifacts.insert(path, digest);
    }
    Ok(artifacts)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CollectError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| CollectError::Failed(Error::bug("collecting artifacts broke off").because(e)))
}

fn unreadable(error: io::Error) -> CollectError {
    let message = "what the work left can't be read";
    CollectError::Failed(Error::new(Kind::Unavailable, Fault::Infrastructure, message).because(error).retry(Retry::Now))
}

/// At most as many bytes of a file as it had when it was found.
#[derive(Debug)]
struct Left {
    file: tokio::fs::File,
    bytes: u64,
}

#[async_trait]
impl ByteSource for Left {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        let count = tokio::io::AsyncReadExt::read(&mut self.file, into.get_mut(..most).unwrap_or_default()).await?;
        self.bytes = self.bytes.saturating_sub(count as u64);
        Ok(count)
    }
}

fn digest(file: File, bytes: u64) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 256 * 1024];
    let mut file = file.take(bytes);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(Digest(hash.finalize().into())),
            count => hash.update(chunk.get(..count).unwrap_or_default()),
        }
    }
}

/// Opens one name in a folder, and nothing that it leads to. A pipe doesn't keep the host waiting.
fn open(folder: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(folder, name, flags, Mode::empty(), resolve)
}

/// Looks for files below the artifacts' folder; `None` when that is gone.
pub(super) fn find(scratch: &OwnedFd, caps: Caps) -> Result<Option<Found>, CollectError> {
    // A file with holes may be larger than all the room there is; the host would hash and keep its zeros.
    let room = fstatvfs(scratch).map_or(u64::MAX, |space| space.f_blocks.saturating_mul(space.f_frsize));
    let caps = Caps { bytes: caps.bytes.min(room), ..caps };
    let top = ARTIFACTS.strip_prefix(SCRATCH).unwrap_or(ARTIFACTS).trim_start_matches('/');
    let folder = match open(scratch, top) {
        // Removed by the work: nothing is left.
        Err(Errno::NOENT) => return Ok(None),
        opened => opened.map_err(|e| refused(top, &reason(e)))?,
    };
    let mut search = Search { caps, entries: 0, bytes: 0, files: Vec::new() };
    search.folder(&folder, "", 0)?;
    Ok(Some(Found { folder, files: search.files }))
}

fn refused(path: &str, why: &str) -> CollectError {
    // Names are the work's own, and may hold anything.
    CollectError::Refused(format!("artifact {:?} {why}", path.chars().take(200).collect::<String>()))
}

fn reason(error: Errno) -> String {
    match error {
        Errno::LOOP => "is a symbolic link".into(),
        Errno::XDEV => "is on another file system".into(),
        Errno::NXIO => "is a socket".into(),
        other => format!("can't be opened: {other}"),
    }
}

struct Search {
    caps: Caps,
    entries: u32,
    bytes: u64,
    files: Vec<(String, u64)>,
}

impl Search {
    fn folder(&mut self, folder: &OwnedFd, path: &str, depth: u32) -> Result<(), CollectError> {
        let listing = Dir::read_from(folder).map_err(|e| refused(path, &reason(e)))?;
        let mut names = Vec::new();
        for entry in listing {
            let entry = entry.map_err(|e| refused(path, &reason(e)))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            self.entries = self.entries.saturating_add(1);
            if self.entries > self.caps.entries {
                return Err(refused(path, &format!("has more than {} files in all", self.caps.entries)));
            }
            names.push(self.name(path, name)?);
        }
        names.sort_unstable();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            self.entry(folder, &name, path, depth)?;
        }
        Ok(())
    }

    fn name(&self, path: &str, name: &[u8]) -> Result<String, CollectError> {
        let shown = || format!("{path}/{}", String::from_utf8_lossy(name));
        let text = std::str::from_utf8(name).map_err(|_| refused(&shown(), "has a name that isn't UTF-8"))?;
        if text.len() > self.caps.name as usize {
            return Err(refused(&shown(), &format!("has a name longer than {} bytes", self.caps.name)));
        }
        if text.chars().any(char::is_control) {
            return Err(refused(&shown(), "has a control character in its name"));
        }
        Ok(text.to_owned())
    }

    fn entry(&mut self, folder: &OwnedFd, name: &str, path: String, depth: u32) -> Result<(), CollectError> {
        let opened = open(folder, name).map_err(|e| refused(&path, &reason(e)))?;
        let stat = fstat(&opened).map_err(|e| refused(&path, &reason(e)))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth >= self.caps.depth => {
                Err(refused(&path, &format!("is more than {} folders deep", self.caps.depth)))
            }
            FileType::Directory => self.folder(&opened, &path, depth.saturating_add(1)),
            FileType::RegularFile if stat.st_nlink != 1 => Err(refused(&path, "has more than one name")),
            FileType::RegularFile => {
                let bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
                self.bytes = self.bytes.saturating_add(bytes);
                if self.bytes > self.caps.bytes {
                    return Err(refused(&path, &format!("goes beyond {} bytes in all", self.caps.bytes)));
                }
                self.files.push((path, bytes));
                Ok(())
            }
            _ => Err(refused(&path, "is neither a file nor a folder")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::artifacts::{ArtifactsExt, MemoryArtifacts};
    use std::{
        fs::{create_dir_all, hard_link, write},
        os::unix::{ffi::OsStrExt, fs::symlink, net::UnixListener},
        path::Path,
    };

    fn scratch() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = folder.path().join("artifacts");
        create_dir_all(&artifacts).unwrap();
        (folder, artifacts)
    }

    async fn collected(folder: &Path, caps: Caps) -> Result<BTreeMap<String, Digest>, String> {
        let scratch = File::open(folder).unwrap().into();
        collect(scratch, caps, None).await.map_err(|error| match error {
            CollectError::Refused(reason) => reason,
            CollectError::Failed(error) => panic!("{error:?}"),
        })
    }

    #[tokio::test]
    async fn files_are_taken_by_path_and_kept_by_digest() {
        let (folder, artifacts) = scratch();
        create_dir_all(artifacts.join("a/b")).unwrap();
        write(artifacts.join("a/b/one"), "1").unwrap();
        write(artifacts.join("two"), "22").unwrap();
        let wanted = BTreeMap::from([("a/b/one".into(), Digest::of(b"1")), ("two".into(), Digest::of(b"22"))]);
        assert_eq!(collected(folder.path(), Caps::default()).await.unwrap(), wanted);
        let store = MemoryArtifacts::new();
        let kept = collect(File::open(folder.path()).unwrap().into(), Caps::default(), Some(&store)).await.unwrap();
        assert_eq!(kept, wanted);
        assert_eq!(store.read(Digest::of(b"22"), 2).await.unwrap(), b"22");
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_leaves_nothing_and_one_that_is_a_link_is_refused() {
        let (folder, artifacts) = scratch();
        std::fs::remove_dir(&artifacts).unwrap();
        assert_eq!(collected(folder.path(), Caps::default()).await.unwrap(), BTreeMap::new());
        symlink("/etc", &artifacts).unwrap();
        assert!(collected(folder.path(), Caps::default()).await.unwrap_err().contains("symbolic link"));
    }

    #[tokio::test]
    async fn whatever_is_not_a_plain_file_of_its_own_is_refused_at_once() {
        type Leave = fn(&Path);
        let kinds: [(&str, Leave); 8] = [
            ("symbolic link", |at| symlink("/etc/passwd", at.join("x")).unwrap()),
            ("symbolic link", |at| symlink("/proc/self/fd/0", at.join("x")).unwrap()),
            ("symbolic link", |at| symlink("..", at.join("x")).unwrap()),
            ("more than one name", |at| {
                write(at.join("../x"), "").unwrap();
                hard_link(at.join("../x"), at.join("x")).unwrap();
            }),
            ("neither a file nor a folder", |at| {
                rustix::fs::mknodat(rustix::fs::CWD, at.join("x"), FileType::Fifo, Mode::RWXU, 0).unwrap();
            }),
            ("is a socket", |at| drop(UnixListener::bind(at.join("x")).unwrap())),
            ("UTF-8", |at| write(at.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap()),
            ("control character", |at| write(at.join("a\nb"), "").unwrap()),
        ];
        for (reason, leave) in kinds {
            let (folder, artifacts) = scratch();
            write(artifacts.join("fine"), "x").unwrap();
            leave(&artifacts);
            let said = collected(folder.path(), Caps::default()).await.unwrap_err();
            assert!(said.contains(reason), "{said}, not {reason}");
        }
    }

    #[tokio::test]
    async fn caps_let_exactly_as_much_pass() {
        let caps = Caps { bytes: 10, entries: 3, depth: 1, name: 5 };
        let (folder, artifacts) = scratch();
        create_dir_all(artifacts.join("dir")).unwrap();
        write(artifacts.join("dir/12345"), "abcde").unwrap();
        // Sparse: its size counts, not its blocks.
        File::create(artifacts.join("b")).unwrap().set_len(5).unwrap();
        assert_eq!(collected(folder.path(), caps).await.unwrap().len(), 2);
        for (tighter, reason) in [
            (Caps { bytes: 9, ..caps }, "beyond 9 bytes"),
            (Caps { entries: 2, ..caps }, "more than 2 files"),
            (Caps { depth: 0, ..caps }, "folders deep"),
            (Caps { name: 4, ..caps }, "longer than 4"),
        ] {
            let said = collected(folder.path(), tighter).await.unwrap_err();
            assert!(said.contains(reason), "{said}, not {reason}");
        }
    }
}
