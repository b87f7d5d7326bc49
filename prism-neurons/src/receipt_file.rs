//! A weight receipt in a file of its own, for who sets weights without a store.
use prism_core::{Clock, Error, Fault, Kind, Receipt, Result, Retry, WeightSetter};
use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// Between two looks at the chain.
const PAUSE: Duration = Duration::from_secs(4);

/// A receipt that is on disk before every step.
#[derive(Debug)]
pub struct ReceiptFile {
    path: PathBuf,
}

impl ReceiptFile {
    /// The receipt of this file; nothing is touched.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The receipt, if there is a file.
    ///
    /// # Errors
    /// `Corrupt` for a file that holds something else; `Unavailable` when it can't be read.
    pub fn load(&self) -> Result<Option<Receipt>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.trouble("can't be read", error)),
        };
        let receipt = serde_json::from_str(&text).map_err(|error| {
            let text = format!("{} holds no weight receipt", self.path.display());
            Error::new(Kind::Corrupt, Fault::Validator, text).because(error)
        })?;
        Ok(Some(receipt))
    }

    /// Replaces the file's content, all of it or nothing.
    ///
    /// # Errors
    /// `Unavailable` when it can't be written.
    pub fn save(&self, receipt: &Receipt) -> Result<()> {
        let fresh = self.path.with_extension("new");
        let write = || {
            let mut file = fs::File::create(&fresh)?;
            file.write_all(serde_json::to_string_pretty(receipt)?.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)
        };
        write().map_err(|error| self.trouble("can't be written", error))
    }

    fn trouble(&self, what: &str, error: std::io::Error) -> Error {
        Error::new(Kind::Unavailable, Fault::Validator, format!("{} {what}", self.path.display())).because(error)
    }

    /// Takes a receipt on until `enough` says so or nothing more happens, for `limit` at most; each step is on disk before
    /// the next one, and shown. Trouble that may pass is shown too, and waited out.
    ///
    /// # Errors
    /// `Deadline` when the time is over; those of the setter that no waiting mends; those of the file.
    pub async fn follow(
        &self,
        setter: &dyn WeightSetter,
        mut receipt: Receipt,
        clock: &dyn Clock,
        limit: Duration,
        enough: impl Fn(&Receipt) -> bool,
        mut show: impl FnMut(std::result::Result<&Receipt, &Error>),
    ) -> Result<Receipt> {
        let end = clock.monotonic().saturating_add(limit);
        self.save(&receipt)?;
        show(Ok(&receipt));
        while !(receipt.stage.is_terminal() || enough(&receipt)) {
            let mut pause = PAUSE;
            match setter.advance(&receipt).await {
                Ok(next) if next == receipt => {}
                Ok(next) => {
                    self.save(&next)?;
                    show(Ok(&next));
                    receipt = next;
                    continue;
                }
                Err(error) => match error.retry_class() {
                    Retry::Never => return Err(error),
                    class => {
                        show(Err(&error));
                        if let Retry::After(span) = class {
                            pause = span.max(PAUSE);
                        }
                    }
                },
            }
            if clock.monotonic().saturating_add(pause) > end {
                let (stage, path) = (receipt.stage.name(), self.path.display());
                let text =
                    format!("weights are {stage} after {} s; {path} has the receipt to go on with", limit.as_secs());
                return Err(Error::new(Kind::Deadline, Fault::Policy, text));
            }
            clock.sleep(pause).await;
        }
        Ok(receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validator::tests::ChainClock;
    use prism_core::{
        Digest, Epoch, Finite, Hotkey, MechanismId, Netuid, WeightIntent,
        testing::fakes::{FakeChain, ManualClock, RecordingSetter},
    };

    const ALICE: Hotkey = Hotkey([1; 32]);

    fn world() -> (ChainClock, RecordingSetter, tempfile::TempDir) {
        let chain = FakeChain::new(Netuid(1));
        chain.register(ALICE, true, 1);
        let setter = RecordingSetter::new(chain.clone(), ALICE);
        (ChainClock { chain, time: ManualClock::default() }, setter, tempfile::tempdir().unwrap())
    }

    fn intent() -> WeightIntent {
        WeightIntent {
            netuid: Netuid(1),
            mechanism: MechanismId(0),
            epoch: Epoch(0),
            shares: [(ALICE, Finite::ONE)].into(),
            burn: Finite::ZERO,
            version_key: 0,
            policy: Digest::of(b"policy"),
        }
    }

    #[tokio::test]
    async fn every_stage_is_on_disk_before_it_is_shown_and_a_crash_goes_on_from_there() {
        let (clock, setter, folder) = world();
        let file = ReceiptFile::new(folder.path().join("receipt.json"));
        assert_eq!(file.load().unwrap(), None);
        let prepared = setter.prepare(intent()).await.unwrap();
        let limit = Duration::from_secs(600);
        let mut stages = Vec::new();
        let mut show = |shown: std::result::Result<&Receipt, &Error>| {
            let receipt = shown.unwrap();
            assert_eq!(file.load().unwrap().as_ref(), Some(receipt));
            stages.push(receipt.stage.name());
        };
        let included = |receipt: &Receipt| receipt.stage.name() == "included";
        file.follow(&setter, prepared, &clock, limit, included, &mut show).await.unwrap();
        let stored = file.load().unwrap().unwrap();
        file.follow(&setter, stored, &clock, limit, |_| false, &mut show).await.unwrap();
        assert_eq!(stages, ["prepared", "submitted", "included", "included", "finalized", "read_back"]);
    }

    #[tokio::test]
    async fn the_wait_has_an_end_that_says_where_the_receipt_is() {
        let (clock, setter, folder) = world();
        clock.chain.withhold(true);
        let file = ReceiptFile::new(folder.path().join("receipt.json"));
        let prepared = setter.prepare(intent()).await.unwrap();
        let followed = file.follow(&setter, prepared, &clock, Duration::from_secs(20), |_| false, |_| {}).await;
        let error = followed.unwrap_err();
        assert_eq!(error.kind(), Kind::Deadline);
        assert!(error.to_string().contains("submitted after 20 s"), "{error}");
        assert_eq!(file.load().unwrap().unwrap().stage.name(), "submitted");
    }

    #[test]
    fn a_file_with_something_else_is_corrupt() {
        let (_, _, folder) = world();
        let path = folder.path().join("receipt.json");
        fs::write(&path, "{}").unwrap();
        assert_eq!(ReceiptFile::new(&path).load().unwrap_err().kind(), Kind::Corrupt);
    }
}
