//! A folder of bundles, as a source of submissions: for one's own experiments, and for replays.
use async_trait::async_trait;
use prism_core::{
    Artifacts, Block, Error, Fault, Hotkey, Kind, Result, SubmissionId, SubmissionSource,
    channel::ByteSource,
    source::{Batch, Cursor, Disposition},
    submission::{Precedence, Submission},
};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use tokio::io::AsyncReadExt;

/// Files of a folder that are looked at; more is an error, not a silent cut.
const MOST_FILES: usize = 10_000;

/// The `.zip` and `.py` files of one folder, all of one hotkey. Each file is one submission, once, whatever becomes of the
/// file later; files that come later come later in precedence. Write a file under another suffix and rename it when it is
/// whole.
#[derive(Debug, Clone)]
pub struct DirectorySource {
    folder: PathBuf,
    hotkey: Hotkey,
    block: Block,
    limit: u64,
    artifacts: Arc<dyn Artifacts>,
}

impl DirectorySource {
    /// The bundles of a folder, each at most `limit` bytes, in the name of a hotkey, as if they had come at `block`.
    pub fn new(
        folder: impl Into<PathBuf>,
        hotkey: Hotkey,
        block: Block,
        limit: u64,
        artifacts: Arc<dyn Artifacts>,
    ) -> Self {
        Self { folder: folder.into(), hotkey, block, limit, artifacts }
    }

    /// The bundles that are there, oldest first.
    fn list(&self) -> io::Result<Vec<(SystemTime, String)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            let is_bundle = path.extension().is_some_and(|suffix| suffix == "zip" || suffix == "py");
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A link could lead out of the folder.
            let file = entry.metadata()?;
            if is_bundle && file.is_file() {
                files.push((file.modified()?, name));
            }
            if files.len() > MOST_FILES {
                return Err(io::Error::other(format!("more than {MOST_FILES} bundles")));
            }
        }
        files.sort();
        Ok(files)
    }

    async fn keep(&self, name: &str) -> Result<(prism_core::Digest, u64)> {
        let path = self.folder.join(name);
        let file = tokio::fs::File::open(&path).await.map_err(|e| unreadable(&path, e))?;
        let mut counted = Counted { file, bytes: 0 };
        let digest = self.artifacts.keep(&mut counted, self.limit).await?;
        Ok((digest, counted.bytes))
    }
}

/// What was handed out, in its order.
fn seen(from: Option<&Cursor>) -> Result<Vec<String>> {
    let Some(Cursor(text)) = from else { return Ok(Vec::new()) };
    serde_json::from_str(text).map_err(|error| {
        Error::new(Kind::Corrupt, Fault::Validator, "cursor of source directory is no list of names").because(error)
    })
}

#[async_trait]
impl SubmissionSource for DirectorySource {
    fn name(&self) -> &str {
        "directory"
    }

    async fn poll(&self, from: Option<&Cursor>, max: usize) -> Result<Batch> {
        let mut order = seen(from)?;
        let known: BTreeSet<String> = order.iter().cloned().collect();
        let files = self.list().map_err(|e| unreadable(&self.folder, e))?;
        let mut submissions = Vec::new();
        for (_, name) in files.into_iter().filter(|(_, name)| !known.contains(name)).take(max) {
            let (archive, bytes) = self.keep(&name).await?;
            let place = u32::try_from(order.len()).unwrap_or(u32::MAX);
            let precedence = Precedence { block: self.block, extrinsic: place, hotkey: self.hotkey, local: true };
            submissions.push(Submission::bundle(self.hotkey, precedence, archive, bytes));
            order.push(name);
        }
        let next = serde_json::to_string(&order).map_err(|e| Error::bug("names are not JSON").because(e))?;
        Ok(Batch { submissions, next: Cursor(next) })
    }

    /// Nothing to do: the files are their owner's.
    async fn settle(&self, _: SubmissionId, _: &Disposition) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Counted {
    file: tokio::fs::File,
    bytes: u64,
}

#[async_trait]
impl ByteSource for Counted {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into).await?;
        self.bytes = self.bytes.saturating_add(count as u64);
        Ok(count)
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::new(Kind::Unavailable, Fault::Validator, format!("{} not readable", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::{artifacts::MemoryArtifacts, testing::source};
    use std::time::Duration;

    struct Driver {
        folder: tempfile::TempDir,
        artifacts: Arc<MemoryArtifacts>,
        source: DirectorySource,
        added: u64,
    }

    const ALICE: Hotkey = Hotkey([1; 32]);

    fn over(folder: &Path, artifacts: &Arc<MemoryArtifacts>) -> DirectorySource {
        DirectorySource::new(folder, ALICE, Block(3), 1000, Arc::clone(artifacts) as _)
    }

    impl Driver {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let artifacts = Arc::new(MemoryArtifacts::new());
            let source = over(folder.path(), &artifacts);
            Self { folder, artifacts, source, added: 0 }
        }
    }

    #[async_trait]
    impl source::SourceDriver for Driver {
        fn source(&self) -> &dyn SubmissionSource {
            &self.source
        }
        async fn add(&mut self) -> Result<SubmissionId> {
            self.added += 1;
            // Names don't follow the order of arrival.
            let path = self.folder.path().join(format!("{}.zip", self.added.wrapping_mul(7919) % 1000));
            let bytes = self.added.to_le_bytes();
            std::fs::write(&path, bytes).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.added);
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            let nowhere = Precedence { block: Block(0), extrinsic: 0, hotkey: ALICE, local: true };
            Ok(Submission::bundle(ALICE, nowhere, prism_core::Digest::of(&bytes), 8).id)
        }
        async fn restart(&mut self) -> Result<()> {
            self.source = over(self.folder.path(), &self.artifacts);
            Ok(())
        }
    }

    #[tokio::test]
    async fn keeps_the_contract_of_a_source() {
        source::run(async || Ok(Driver::new())).await.assert_ok();
    }

    #[tokio::test]
    async fn other_files_folders_and_links_are_no_bundles() {
        let driver = Driver::new();
        let folder = driver.folder.path();
        std::fs::write(folder.join("notes.txt"), b"x").unwrap();
        std::fs::create_dir(folder.join("sub.zip")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.join("link.zip")).unwrap();
        assert_eq!(driver.source.poll(None, 9).await.unwrap().submissions, []);
        std::fs::write(folder.join("large.py"), vec![b'x'; 1001]).unwrap();
        assert_eq!(driver.source.poll(None, 9).await.unwrap_err().kind(), Kind::Limit);
    }
}
