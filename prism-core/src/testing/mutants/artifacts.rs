use super::assert_covers;
use crate::{
    artifacts::{Artifacts, MemoryArtifacts},
    channel::{ByteSource, ByteSourceExt, Memory},
    error::{Error, Fault, Kind, Result},
    id::Digest,
    testing::{
        Report,
        artifacts::{ArtifactsDriver, run},
        block_on,
    },
};
use async_trait::async_trait;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// Bytes that can go bad, and a store over them that breaks one clause (0: none).
#[derive(Debug, Clone, Default)]
struct Shelf {
    kept: Arc<Mutex<HashMap<Digest, Vec<u8>>>>,
    breaks: u8,
}

fn refuse<T>(kind: Kind) -> Result<T> {
    Err(Error::new(kind, Fault::Validator, "shelf refuses"))
}

#[async_trait]
impl Artifacts for Shelf {
    async fn open(&self, digest: Digest) -> Result<Box<dyn ByteSource>> {
        let Some(mut bytes) = self.kept.lock().unwrap().get(&digest).cloned() else {
            return refuse(if self.breaks == 3 { Kind::Corrupt } else { Kind::NotFound });
        };
        if self.breaks != 5 && Digest::of(&bytes) != digest {
            return refuse(Kind::Corrupt);
        }
        if self.breaks == 1 && bytes.len() > 65_536 {
            bytes.truncate(65_536);
        }
        Ok(Box::new(Memory::new(bytes)))
    }
    async fn keep(&self, bytes: &mut dyn ByteSource, limit: u64) -> Result<Digest> {
        let slack = if self.breaks == 2 { 1 } else { 0 };
        let bytes = bytes.read_all("shelf", limit + slack).await?;
        let digest = Digest::of(&bytes);
        let before = self.kept.lock().unwrap().insert(digest, bytes);
        if self.breaks == 4 && before.is_some() { refuse(Kind::Conflict) } else { Ok(digest) }
    }
    async fn forget(&self, digest: Digest) -> Result<()> {
        self.kept.lock().unwrap().retain(|kept, _| self.breaks != 6 && *kept != digest);
        Ok(())
    }
}

struct Driver {
    artifacts: Box<dyn Artifacts>,
    shelf: Option<Shelf>,
}

#[async_trait]
impl ArtifactsDriver for Driver {
    fn artifacts(&self) -> &dyn Artifacts {
        &*self.artifacts
    }
    async fn spoil(&mut self, digest: Digest) -> Result<bool> {
        let Some(shelf) = &self.shelf else { return Ok(false) };
        shelf.kept.lock().unwrap().get_mut(&digest).unwrap()[99_999] ^= 1;
        Ok(true)
    }
}

fn mutant(breaks: u8) -> Report {
    block_on(run(async || {
        let shelf = Shelf { breaks, ..Shelf::default() };
        Ok(Driver { artifacts: Box::new(shelf.clone()), shelf: Some(shelf) })
    }))
}

#[test]
fn memory_passes_as_itself_in_a_box_and_in_an_arc() {
    let report = |make: fn() -> Box<dyn Artifacts>| {
        block_on(run(async || Ok(Driver { artifacts: make(), shelf: None }))).assert_ok();
    };
    report(|| Box::new(MemoryArtifacts::new()));
    report(|| Box::new(Box::new(MemoryArtifacts::new())));
    report(|| Box::new(Arc::new(MemoryArtifacts::new())));
    assert_covers(&mutant(0), include_str!("../../artifacts.rs"));
    mutant(0).assert_ok();
}

mutants! { mutant;
    mutant_1_fails_exactly_clause_1 1
    mutant_2_fails_exactly_clause_2 2
    mutant_3_fails_exactly_clause_3 3
    mutant_4_fails_exactly_clause_4 4
    mutant_5_fails_exactly_clause_5 5
    mutant_6_fails_exactly_clause_6 6
}
