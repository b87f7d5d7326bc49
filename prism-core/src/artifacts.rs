//! Content-addressed bytes: bundles, architectures, checkpoints, run logs.
use crate::{
    channel::{ByteSource, ByteSourceExt, Memory},
    error::{Error, Fault, Kind, Result},
    id::Digest,
};
use async_trait::async_trait;
use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

/// Keeps bytes under their SHA-256. Local files in the default, an object store for a worker.
///
/// 1. What `keep` returned, `open` gives back, byte for byte.
/// 2. `keep` takes at most `limit` bytes; more is `Limit`, and nothing is kept.
/// 3. `open` of an unknown digest is `NotFound`.
/// 4. Keeping the same bytes again is no error and gives the same digest.
/// 5. Bytes that no longer fit their digest are `Corrupt`, at `open` or at the latest at the end of reading
///    ([`InvalidData`](std::io::ErrorKind::InvalidData)), never handed out silently.
/// 6. What was forgotten is opened whole or as if it had never been kept, and can be kept again; nothing else is touched.
///    Forgetting what isn't there is no error.
#[async_trait]
pub trait Artifacts: Debug + Send + Sync + 'static {
    /// Opens what is kept under a digest.
    async fn open(&self, digest: Digest) -> Result<Box<dyn ByteSource>>;
    /// Keeps bytes and says under which digest.
    async fn keep(&self, bytes: &mut dyn ByteSource, limit: u64) -> Result<Digest>;
    /// Is told that nobody asks for these bytes again: of checkpoints there would soon be more than a disk holds. The
    /// default keeps them.
    async fn forget(&self, digest: Digest) -> Result<()> {
        let _ = digest;
        Ok(())
    }
}

/// Conveniences over [`Artifacts`]; implementers have nothing to write.
#[async_trait]
pub trait ArtifactsExt: Artifacts {
    /// All bytes under a digest, at most `limit`, checked against it.
    async fn read(&self, digest: Digest, limit: u64) -> Result<Vec<u8>> {
        let mut source = self.open(digest).await?;
        let bytes = source.read_all("artifact", limit).await?;
        if Digest::of(&bytes) == digest {
            return Ok(bytes);
        }
        Err(Error::new(Kind::Corrupt, Fault::Validator, format!("artifact {digest} has other bytes than its name")))
    }

    /// Keeps bytes that are at hand.
    async fn keep_bytes(&self, bytes: &[u8]) -> Result<Digest> {
        self.keep(&mut Memory::new(bytes), bytes.len() as u64).await
    }
}

impl<T: Artifacts + ?Sized> ArtifactsExt for T {}

/// Artifacts in memory: for tests, examples and one-shot commands.
#[derive(Debug, Default)]
pub struct MemoryArtifacts(Mutex<HashMap<Digest, Arc<[u8]>>>);

impl MemoryArtifacts {
    /// Nothing kept yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Artifacts for MemoryArtifacts {
    async fn open(&self, digest: Digest) -> Result<Box<dyn ByteSource>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.get(&digest) {
            Some(bytes) => Ok(Box::new(Memory::new(Arc::clone(bytes)))),
            None => Err(Error::new(Kind::NotFound, Fault::Validator, format!("artifact {digest} is not kept here"))),
        }
    }

    async fn keep(&self, bytes: &mut dyn ByteSource, limit: u64) -> Result<Digest> {
        let bytes = bytes.read_all("artifact", limit).await?;
        let digest = Digest::of(&bytes);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, bytes.into());
        Ok(digest)
    }

    async fn forget(&self, digest: Digest) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        Ok(())
    }
}

#[async_trait]
impl<T: Artifacts + ?Sized> Artifacts for Arc<T> {
    async fn open(&self, digest: Digest) -> Result<Box<dyn ByteSource>> {
        (**self).open(digest).await
    }
    async fn keep(&self, bytes: &mut dyn ByteSource, limit: u64) -> Result<Digest> {
        (**self).keep(bytes, limit).await
    }
    async fn forget(&self, digest: Digest) -> Result<()> {
        (**self).forget(digest).await
    }
}

#[async_trait]
impl<T: Artifacts + ?Sized> Artifacts for Box<T> {
    async fn open(&self, digest: Digest) -> Result<Box<dyn ByteSource>> {
        (**self).open(digest).await
    }
    async fn keep(&self, bytes: &mut dyn ByteSource, limit: u64) -> Result<Digest> {
        (**self).keep(bytes, limit).await
    }
    async fn forget(&self, digest: Digest) -> Result<()> {
        (**self).forget(digest).await
    }
}
