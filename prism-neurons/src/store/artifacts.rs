//! Content-addressed files: `ab/abcd…` under one folder.
use async_trait::async_trait;
use prism_core::{Artifacts, Digest, Error, Fault, Kind, Result, channel::ByteSource};
use sha2::{Digest as _, Sha256};
use std::{
    fs, io,
    io::{Read, Seek},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes that pass through at once.
const CHUNK: usize = 64 * 1024;
/// Folder of files that are being written; what a killed process left there is removed on opening.
const UNFINISHED: &str = "unfinished";

/// Artifacts in a folder. A file is written under another name, synced and renamed, so that a digest's name never holds
/// part of its bytes; it is hashed before it is handed out.
#[derive(Debug, Clone)]
pub struct FileArtifacts {
    folder: PathBuf,
}

impl FileArtifacts {
    /// Artifacts in this folder, which is made if it does not exist.
    ///
    /// # Errors
    /// `Unavailable` when the folder can't be made or read.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let unfinished = folder.join(UNFINISHED);
        fs::create_dir_all(&unfinished).map_err(|e| failed("make folder", &unfinished, e))?;
        let own = format!("{}-", process::id());
        for entry in fs::read_dir(&unfinished).map_err(|e| failed("read folder", &unfinished, e))? {
            let entry = entry.map_err(|e| failed("read folder", &unfinished, e))?;
            if !entry.file_name().to_string_lossy().starts_with(&own) {
                fs::remove_file(entry.path()).map_err(|e| failed("remove", &entry.path(), e))?;
            }
        }
        Ok(Self { folder })
    }

    /// Where the bytes of a digest are, if they are kept.
    #[must_use]
    pub fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        let (shelf, _) = name.split_at(2);
        self.folder.join(shelf).join(&name)
    }
}

#[async_trait]
impl Artifacts for FileArtifacts {
    async fn open(&self, digest: Digest) -> Result<Box<dyn ByteSource>> {
        let path = self.path(digest);
        let file = blocking(move || open_checked(&path, digest)).await?;
        Ok(Box::new(Opened(tokio::fs::File::from_std(file))))
    }

    async fn keep(&self, bytes: &mut dyn ByteSource, limit: u64) -> Result<Digest> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let unfinished = Unfinished(self.folder.join(UNFINISHED).join(name));
        let path = &unfinished.0;
        let mut file = tokio::fs::File::create_new(path).await.map_err(|e| failed("create", path, e))?;
        let (mut hash, mut size, mut chunk) = (Sha256::new(), 0u64, vec![0; CHUNK]);
        loop {
            let count = bytes.read(&mut chunk).await.map_err(|e| {
                Error::new(Kind::Unavailable, Fault::Infrastructure, "artifact not readable from its source").because(e)
            })?;
            let Some(read) = chunk.get(..count).filter(|read| !read.is_empty()) else { break };
            size = size.saturating_add(count as u64);
            if size > limit {
                return Err(Error::new(Kind::Limit, Fault::Miner, format!("artifact is larger than {limit} bytes")));
            }
            hash.update(read);
            file.write_all(read).await.map_err(|e| failed("write", path, e))?;
        }
        file.flush().await.map_err(|e| failed("write", path, e))?;
        file.sync_all().await.map_err(|e| failed("sync", path, e))?;
        let digest = Digest(hash.finalize().into());
        let (from, to) = (path.clone(), self.path(digest));
        blocking(move || place(&from, &to)).await?;
        Ok(digest)
    }

    async fn forget(&self, digest: Digest) -> Result<()> {
        let path = self.path(digest);
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, error)),
            _ => Ok(()),
        }
    }
}

/// Removed when dropped; after renaming there is nothing to remove.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Nobody is left to tell: what stays is removed on the next opening.
        drop(fs::remove_file(&self.0));
    }
}

#[derive(Debug)]
struct Opened(tokio::fs::File);

#[async_trait]
impl ByteSource for Opened {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).await
    }
}

fn open_checked(path: &Path, digest: Digest) -> Result<fs::File> {
    let mut file = fs::File::open(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => {
            Error::new(Kind::NotFound, Fault::Validator, format!("artifact {digest} is not kept here"))
        }
        _ => failed("open", path, e),
    })?;
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        let count = file.read(&mut chunk).map_err(|e| failed("read", path, e))?;
        match chunk.get(..count) {
            Some(read) if !read.is_empty() => hash.update(read),
            _ => break,
        }
    }
    if Digest(hash.finalize().into()) != digest {
        let text = format!("artifact {digest} has other bytes than its name");
        return Err(Error::new(Kind::Corrupt, Fault::Validator, text));
    }
    file.rewind().map_err(|e| failed("rewind", path, e))?;
    Ok(file)
}

fn place(from: &Path, to: &Path) -> Result<()> {
    let shelf = to.parent().unwrap_or(to);
    fs::create_dir_all(shelf).map_err(|e| failed("make folder", shelf, e))?;
    fs::rename(from, to).map_err(|e| failed("rename to", to, e))?;
    let shelf_file = fs::File::open(shelf).map_err(|e| failed("open", shelf, e))?;
    shelf_file.sync_all().map_err(|e| failed("sync", shelf, e))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(e) => Err(Error::new(Kind::Bug, Fault::Validator, "artifact thread panicked").because(e)),
    }
}

fn failed(action: &str, path: &Path, error: io::Error) -> Error {
    Error::new(Kind::Unavailable, Fault::Infrastructure, format!("{action} {}", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::{artifacts::ArtifactsExt, channel::Memory};

    #[tokio::test]
    async fn kept_bytes_come_back_and_stay_over_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
        let digest = FileArtifacts::open(folder.path()).unwrap().keep_bytes(&bytes).await.unwrap();
        assert_eq!(digest, Digest::of(&bytes));
        let reopened = FileArtifacts::open(folder.path()).unwrap();
        assert_eq!(reopened.read(digest, 200_000).await.unwrap(), bytes);
    }

    #[tokio::test]
    async fn too_many_bytes_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = FileArtifacts::open(folder.path()).unwrap();
        let error = artifacts.keep(&mut Memory::new(vec![7; 101]), 100).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Limit);
        let left: Vec<_> = fs::read_dir(folder.path().join(UNFINISHED)).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn changed_bytes_are_corrupt_and_keeping_them_again_heals() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = FileArtifacts::open(folder.path()).unwrap();
        let digest = artifacts.keep_bytes(b"true").await.unwrap();
        fs::write(artifacts.path(digest), b"false").unwrap();
        assert_eq!(artifacts.open(digest).await.unwrap_err().kind(), Kind::Corrupt);
        artifacts.keep_bytes(b"true").await.unwrap();
        assert_eq!(artifacts.read(digest, 4).await.unwrap(), b"true");
        assert_eq!(artifacts.open(Digest::of(b"other")).await.unwrap_err().kind(), Kind::NotFound);
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_removed_on_opening() {
        let folder = tempfile::tempdir().unwrap();
        FileArtifacts::open(folder.path()).unwrap();
        let stale = folder.path().join(UNFINISHED).join("1-0");
        fs::write(&stale, b"half").unwrap();
        FileArtifacts::open(folder.path()).unwrap();
        assert!(!stale.exists());
    }
}
