//! What the chain holds of commitments: its rules, those that wait, and the event of a reveal.
use crate::{
    error::ChainError,
    runtime::{AtBlock, Entry, account, hotkey, number, subnet},
    timelock::{Beacon, PUBLIC_KEY_BYTES},
};
use prism_core::{Block, Epoch, Hotkey, Netuid};
use serde::Serialize;
use subxt::{
    ext::scale_decode::{self, DecodeAsType},
    utils::{AccountId32, H256},
};

const TIMELOCKED_COMMITS: Entry = Entry::subtensor("TimelockedWeightCommits");
const HASHED_COMMITS: Entry = Entry::subtensor("WeightCommits");
const COMMIT_VERSION: Entry = Entry::subtensor("CommitRevealWeightsVersion");
const REVEAL_PERIOD: Entry = Entry::subtensor("RevealPeriodEpochs");
const BEACON_CONFIG: Entry = Entry::new("Drand", "BeaconConfig");
const NOW: Entry = Entry::new("Timestamp", "Now");

/// A commitment under a timelock that the chain has not opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TimelockedCommit {
    /// Who committed.
    pub hotkey: Hotkey,
    /// The epoch that it is filed under.
    pub epoch: Epoch,
    /// The block that it came in.
    pub block: Block,
    /// The beacon round that opens it.
    pub round: u64,
    /// The length of its ciphertext.
    pub bytes: usize,
}

/// A commitment by hash that is not revealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HashedCommit {
    pub(crate) hash: [u8; 32],
    /// The epoch, where the runtime has stateful epochs.
    pub(crate) epoch: u64,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
struct BeaconConfig {
    public_key: Vec<u8>,
    period: u32,
    genesis_time: u32,
}

/// Hotkey, block, ciphertext and round, as the chain keeps them.
type Waiting = (AccountId32, u64, Vec<u8>, u64);

impl AtBlock {
    /// The commitments of one epoch that wait under a timelock, oldest first.
    pub(crate) async fn timelocked(&self, index: u16, epoch: Epoch) -> Result<Vec<TimelockedCommit>, ChainError> {
        let key = vec![number(index), number(epoch.0)];
        let waiting: Option<Vec<Waiting>> = self.find(TIMELOCKED_COMMITS, key).await?;
        let commit = |(who, block, bytes, round): Waiting| TimelockedCommit {
            hotkey: hotkey(who),
            epoch,
            block: Block(block),
            round,
            bytes: bytes.len(),
        };
        Ok(waiting.unwrap_or_default().into_iter().map(commit).collect())
    }

    /// The commitments of a hotkey that wait for their salt, oldest first.
    pub(crate) async fn hashed(&self, index: u16, who: &Hotkey) -> Result<Vec<HashedCommit>, ChainError> {
        let key = vec![number(index), account(who)];
        let waiting: Option<Vec<(H256, u64, u64, u64)>> = self.find(HASHED_COMMITS, key).await?;
        let commits = waiting.unwrap_or_default().into_iter();
        Ok(commits.map(|(hash, epoch, _, _)| HashedCommit { hash: hash.0, epoch }).collect())
    }

    /// The version of timelocked commitments that the chain takes.
    pub(crate) async fn commit_version(&self) -> Result<u16, ChainError> {
        self.get(COMMIT_VERSION, vec![]).await
    }

    /// Epochs between a commitment and its reveal.
    pub(crate) async fn reveal_period(&self, netuid: Netuid) -> Result<u64, ChainError> {
        self.get(REVEAL_PERIOD, vec![subnet(netuid)]).await
    }

    /// The time of this block, milliseconds since 1970.
    pub(crate) async fn now_millis(&self) -> Result<u64, ChainError> {
        self.get(NOW, vec![]).await
    }

    /// The beacon that the chain follows; none where the runtime follows none.
    pub(crate) async fn beacon(&self) -> Result<Option<Beacon>, ChainError> {
        if !self.has(BEACON_CONFIG) {
            return Ok(None);
        }
        let config: BeaconConfig = self.get(BEACON_CONFIG, vec![]).await?;
        let public_key: [u8; PUBLIC_KEY_BYTES] =
            config.public_key.try_into().map_err(|key: Vec<u8>| ChainError::Decode {
                field: format!("{BEACON_CONFIG}.public_key"),
                reason: format!("it has {} bytes, expected {PUBLIC_KEY_BYTES}", key.len()),
            })?;
        Ok(Some(Beacon {
            public_key,
            genesis_unix: config.genesis_time.into(),
            period: u64::from(config.period).max(1),
        }))
    }

    /// Whether a commitment of the hotkey was opened in this block: one under a timelock, or the one with this hash.
    pub(crate) async fn revealed(&self, index: u16, who: &Hotkey, hash: Option<[u8; 32]>) -> Result<bool, ChainError> {
        let wanted = if hash.is_some() { "WeightsRevealed" } else { "TimelockedWeightsRevealed" };
        let decode = |error: subxt::error::EventsError| ChainError::Decode {
            field: format!("events of block {}", self.number),
            reason: error.to_string(),
        };
        for event in self.events().await?.iter() {
            let event = event.map_err(decode)?;
            if event.pallet_name() != "SubtensorModule" || event.event_name() != wanted {
                continue;
            }
            let (at, by, of) = match hash {
                Some(_) => {
                    let (by, at, of): (AccountId32, u16, H256) = event.decode_fields_unchecked_as().map_err(decode)?;
                    (at, by, Some(of.0))
                }
                None => {
                    let (at, by): (u16, AccountId32) = event.decode_fields_unchecked_as().map_err(decode)?;
                    (at, by, None)
                }
            };
            if (at, by.0, of) == (index, who.0, hash) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
