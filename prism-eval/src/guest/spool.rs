//! What guests send in parts, kept in files of this host: in bounded memory, hashed while it comes, never read.
use async_trait::async_trait;
use prism_core::{Artifacts, Digest, Error, Fault, Kind, Result, channel::ByteSource};
use sha2::{Digest as _, Sha256};
use std::{
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tempfile::TempPath;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
};

/// Bytes that are copied at once.
const PART: usize = 1 << 18;

/// A snapshot or a checkpoint in a file: gone when the last who holds it is.
#[derive(Debug, Clone)]
pub struct Spooled {
    path: Arc<TempPath>,
    digest: Digest,
    bytes: u64,
}

impl Spooled {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of its bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Their number.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The artifact of this digest and length, in a file of this host.
    ///
    /// # Errors
    /// `Corrupt` for other bytes; those of artifacts and file.
    pub(super) async fn fetch(folder: &Path, artifacts: &dyn Artifacts, digest: Digest, bytes: u64) -> Result<Self> {
        let (mut source, mut spool) = (artifacts.open(digest).await?, Spool::new(folder)?);
        let mut part = vec![0; PART];
        loop {
            let count = source.read(&mut part).await.map_err(unusable)?;
            let Some(read) = part.get(..count).filter(|read| !read.is_empty()) else { break };
            if spool.bytes.saturating_add(count as u64) > bytes {
                break;
            }
            spool.write_all(read).await.map_err(unusable)?;
        }
        spool.flush().await.map_err(unusable)?;
        let spooled = spool.done();
        if (spooled.digest, spooled.bytes) != (digest, bytes) {
            let text = format!("state {} has other bytes than its name", digest.short());
            return Err(Error::new(Kind::Corrupt, Fault::Validator, text));
        }
        Ok(spooled)
    }

    pub(super) async fn open(&self) -> Result<File> {
        File::open(self.path()).await.map_err(unusable)
    }

    /// Its bytes.
    pub(super) async fn read(&self) -> Result<Box<dyn ByteSource>> {
        Ok(Box::new(Opened(self.open().await?)))
    }
}

#[derive(Debug)]
struct Opened(File);

#[async_trait]
impl ByteSource for Opened {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into).await
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    path: TempPath,
    hash: Sha256,
    bytes: u64,
}

impl Spool {
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let file = tempfile::Builder::new().prefix("state-").tempfile_in(folder).map_err(unusable)?;
        let (file, path) = file.into_parts();
        Ok(Self { file: File::from_std(file), path, hash: Sha256::new(), bytes: 0 })
    }

    /// All was written and flushed.
    pub(super) fn done(self) -> Spooled {
        let digest = Digest(self.hash.finalize().into());
        Spooled { path: Arc::new(self.path), digest, bytes: self.bytes }
    }
}

impl AsyncWrite for Spool {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.file).poll_write(context, bytes))?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_shutdown(context)
    }
}

fn unusable(error: io::Error) -> Error {
    Error::new(Kind::Unavailable, Fault::Infrastructure, "file for the state of a guest not usable").because(error)
}
