//! Byte streams across a wall or from a store, bounded by whoever reads.
use crate::error::{Error, Fault, Kind, Result};
use async_trait::async_trait;
use std::{fmt::Debug, io};

/// Where bytes come from.
#[async_trait]
pub trait ByteSource: Debug + Send {
    /// Reads some bytes; zero means the end.
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;
}

/// Where bytes go.
#[async_trait]
pub trait ByteSink: Debug + Send {
    /// Writes all bytes.
    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Flushes and ends the stream.
    async fn close(&mut self) -> io::Result<()>;
}

/// Conveniences over [`ByteSource`]; implementers have nothing to write.
#[async_trait]
pub trait ByteSourceExt: ByteSource {
    /// Reads to the end, at most `limit` bytes.
    ///
    /// # Errors
    /// `Limit` when more comes; `Corrupt` when the source finds that its bytes are not what they should be
    /// ([`io::ErrorKind::InvalidData`]); `Unavailable` when reading fails otherwise. Names `what` is read.
    async fn read_all(&mut self, what: &str, limit: u64) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let count = self.read(&mut chunk).await.map_err(|e| {
                let (kind, fault) = match e.kind() {
                    io::ErrorKind::InvalidData => (Kind::Corrupt, Fault::Validator),
                    _ => (Kind::Unavailable, Fault::Infrastructure),
                };
                Error::new(kind, fault, format!("{what} not readable")).because(e)
            })?;
            if count == 0 {
                return Ok(all);
            }
            if all.len() as u64 + count as u64 > limit {
                return Err(Error::new(Kind::Limit, Fault::Miner, format!("{what} is larger than {limit} bytes")));
            }
            all.extend(chunk.iter().take(count));
        }
    }
}

impl<T: ByteSource + ?Sized> ByteSourceExt for T {}

/// Bytes in memory, as a source.
#[derive(Debug, Clone)]
pub struct Memory<B>(io::Cursor<B>);

impl<B> Memory<B> {
    /// A source over these bytes, from the start.
    pub fn new(bytes: B) -> Self {
        Self(io::Cursor::new(bytes))
    }
}

#[async_trait]
impl<B: AsRef<[u8]> + Debug + Send + Unpin> ByteSource for Memory<B> {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut self.0, into)
    }
}
