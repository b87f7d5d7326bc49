//! The contracts that this crate's implementations answer for.
use super::{FileArtifacts, Store, intake::Arrival};
use crate::intake::IntakeSource;
use async_trait::async_trait;
use prism_core::{
    Artifacts, Block, Digest, Hotkey, Nonces, Result, SubmissionId, SubmissionSource,
    submission::SubmissionKind,
    testing::{artifacts, nonces, source},
};
use std::{fs, path::Path, time::SystemTime};

/// A store on disk that a restart closes and opens.
struct Disk {
    folder: tempfile::TempDir,
    store: Option<Store>,
}

impl Disk {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir().unwrap();
        let store = Some(open(folder.path())?);
        Ok(Self { folder, store })
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn restart(&mut self) -> Result<()> {
        self.store = None;
        self.store = Some(open(self.folder.path())?);
        Ok(())
    }
}

fn open(folder: &Path) -> Result<Store> {
    Ok(Store::open(folder.join("prism.db"))?)
}

#[async_trait]
impl nonces::NoncesDriver for Disk {
    fn nonces(&self) -> &dyn Nonces {
        self.store()
    }
    async fn restart(&mut self) -> Result<()> {
        Self::restart(self)
    }
}

#[tokio::test]
async fn the_store_keeps_the_contract_of_nonces() {
    nonces::run(async || Disk::new()).await.assert_ok();
}

struct Arrivals {
    disk: Disk,
    source: Option<IntakeSource>,
    added: u32,
}

#[async_trait]
impl source::SourceDriver for Arrivals {
    fn source(&self) -> &dyn SubmissionSource {
        self.source.as_ref().unwrap()
    }
    async fn add(&mut self) -> Result<SubmissionId> {
        self.added += 1;
        let arrival = Arrival {
            hotkey: Hotkey([(self.added % 3) as u8; 32]),
            nonce: self.added.to_string(),
            keep_nonce_until: SystemTime::UNIX_EPOCH,
            name: None,
            kind: SubmissionKind::Full,
            archive: Digest::of(&self.added.to_le_bytes()),
            bytes: 4,
            block: Block(u64::from(self.added / 2)),
            quota: 100,
            received_at: SystemTime::UNIX_EPOCH,
        };
        let accepted = self.disk.store().accept(arrival).await?;
        Ok(accepted.unwrap().submission.id)
    }
    async fn restart(&mut self) -> Result<()> {
        self.source = None;
        self.disk.restart()?;
        self.source = Some(IntakeSource::new(self.disk.store().clone()));
        Ok(())
    }
}

#[tokio::test]
async fn the_intake_keeps_the_contract_of_a_source() {
    let fresh = async || {
        let disk = Disk::new()?;
        let source = Some(IntakeSource::new(disk.store().clone()));
        Ok(Arrivals { disk, source, added: 0 })
    };
    source::run(fresh).await.assert_ok();
}

struct Folder {
    artifacts: FileArtifacts,
    _folder: tempfile::TempDir,
}

#[async_trait]
impl artifacts::ArtifactsDriver for Folder {
    fn artifacts(&self) -> &dyn Artifacts {
        &self.artifacts
    }
    async fn spoil(&mut self, digest: Digest) -> Result<bool> {
        let path = self.artifacts.path(digest);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        Ok(true)
    }
}

#[tokio::test]
async fn files_keep_the_contract_of_artifacts() {
    let fresh = async || {
        let folder = tempfile::tempdir().unwrap();
        Ok(Folder { artifacts: FileArtifacts::open(folder.path())?, _folder: folder })
    };
    artifacts::run(fresh).await.assert_ok();
}
