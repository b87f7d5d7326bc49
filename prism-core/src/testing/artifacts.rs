//! The suite of [`Artifacts`].
use super::{Broken, Check};
use crate::{
    artifacts::{Artifacts, ArtifactsExt},
    channel::{ByteSource, ByteSourceExt, Memory},
    error::{Kind, Result},
    id::Digest,
};
use async_trait::async_trait;
use std::io;

/// More than any clause keeps.
const ALL: u64 = 1 << 24;

/// Makes an artifact store do what its outside does.
#[async_trait]
pub trait ArtifactsDriver: Send + Sync {
    /// The store under test; it starts with nothing.
    fn artifacts(&self) -> &dyn Artifacts;
    /// Changes a byte of what is kept under a digest, behind the store's back. False where nothing can: bytes in memory.
    async fn spoil(&mut self, digest: Digest) -> Result<bool>;
}

suite!(
    "Artifacts", ArtifactsDriver,
    1 => clause_1_opens_what_was_kept_byte_for_byte,
    2 => clause_2_more_than_the_limit_is_refused_and_not_kept,
    3 => clause_3_an_unknown_digest_is_not_found,
    4 => clause_4_keeping_the_same_bytes_again_gives_the_same_digest,
    5 => clause_5_spoiled_bytes_are_corrupt,
    6 => clause_6_what_was_forgotten_is_whole_or_unknown,
);

/// Bytes without a pattern that a block size could hide.
fn bytes(count: u32) -> Vec<u8> {
    (0..count).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

async fn open_all(artifacts: &dyn Artifacts, digest: Digest) -> Result<Vec<u8>> {
    artifacts.open(digest).await?.read_all("kept bytes", ALL).await
}

/// Nothing, one byte, a block and one more, a megabyte and a bit.
pub async fn clause_1_opens_what_was_kept_byte_for_byte(driver: &mut dyn ArtifactsDriver) -> Check {
    for count in [0, 1, 65_537, 1_200_001] {
        let bytes = bytes(count);
        let digest = driver.artifacts().keep(&mut Memory::new(&bytes), u64::from(count)).await?;
        let back = open_all(driver.artifacts(), digest).await?;
        ensure!(back == bytes, "{count} bytes were kept, {} other ones came back", back.len());
    }
    Ok(())
}

/// One byte too many, and a stream without end. That nothing is kept is seen by opening only: a temporary file that is
/// left behind isn't.
pub async fn clause_2_more_than_the_limit_is_refused_and_not_kept(driver: &mut dyn ArtifactsDriver) -> Check {
    #[derive(Debug)]
    struct Endless;
    #[async_trait]
    impl ByteSource for Endless {
        async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            into.fill(7);
            Ok(into.len())
        }
    }
    let bytes = bytes(100_000);
    let limit = bytes.len() as u64 - 1;
    for (what, source) in [("one byte", &mut Memory::new(&bytes) as &mut dyn ByteSource), ("endlessly", &mut Endless)] {
        match driver.artifacts().keep(source, limit).await {
            Ok(digest) => return Err(Broken(format!("bytes {what} over the limit were kept as {digest}"))),
            Err(error) => ensure!(error.kind() == Kind::Limit, "bytes {what} over the limit gave {error:?}"),
        }
    }
    ensure!(driver.artifacts().open(Digest::of(&bytes)).await.is_err(), "bytes over the limit were kept all the same");
    Ok(())
}

/// Opens a digest of bytes that were never kept.
pub async fn clause_3_an_unknown_digest_is_not_found(driver: &mut dyn ArtifactsDriver) -> Check {
    match driver.artifacts().open(Digest::of(b"never kept")).await {
        Ok(_) => Err(Broken("an unknown digest was opened".into())),
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(Broken(format!("an unknown digest gave {error:?}"))),
    }
}

/// Keeps the same bytes twice; the digest is their SHA-256.
pub async fn clause_4_keeping_the_same_bytes_again_gives_the_same_digest(driver: &mut dyn ArtifactsDriver) -> Check {
    let bytes = bytes(1000);
    for _ in 0..2 {
        let digest = driver.artifacts().keep_bytes(&bytes).await?;
        ensure!(digest == Digest::of(&bytes), "the digest is {digest}, not the SHA-256 {}", Digest::of(&bytes));
    }
    Ok(())
}

/// Changes a kept byte behind the store's back. Sees nothing where the driver can't.
pub async fn clause_5_spoiled_bytes_are_corrupt(driver: &mut dyn ArtifactsDriver) -> Check {
    let digest = driver.artifacts().keep_bytes(&bytes(100_000)).await?;
    if !driver.spoil(digest).await? {
        return Ok(());
    }
    match open_all(driver.artifacts(), digest).await {
        Ok(_) => Err(Broken("spoiled bytes were handed out".into())),
        Err(error) if error.kind() == Kind::Corrupt => Ok(()),
        Err(error) => Err(Broken(format!("spoiled bytes gave {error:?}"))),
    }
}

/// Forgets one of two, and what was never kept; keeps the one again.
pub async fn clause_6_what_was_forgotten_is_whole_or_unknown(driver: &mut dyn ArtifactsDriver) -> Check {
    let (gone, stays) = (bytes(1000), bytes(999));
    let digest = driver.artifacts().keep_bytes(&gone).await?;
    let other = driver.artifacts().keep_bytes(&stays).await?;
    driver.artifacts().forget(digest).await?;
    driver.artifacts().forget(Digest::of(b"never kept")).await?;
    if let Ok(back) = open_all(driver.artifacts(), digest).await {
        ensure!(back == gone, "{} other bytes are left of what was forgotten", back.len());
    }
    ensure!(open_all(driver.artifacts(), other).await.ok() == Some(stays), "forgetting one artifact changed another");
    driver.artifacts().keep_bytes(&gone).await?;
    ensure!(open_all(driver.artifacts(), digest).await? == gone, "forgotten bytes that were kept again are others");
    Ok(())
}
