//! Committing: what the chain would refuse is refused here, then sent, then read back.
use super::{
    error::CommitmentError,
    field::{Field, info},
};
use crate::{
    client::ChainClient,
    error::ChainError,
    extrinsic::Call,
    runtime::{AtBlock, Entry, account, subnet},
    signer::Signer,
    weights::Entropy,
};
use prism_core::{Block, Epoch, Hotkey, Netuid};
use subxt::ext::{
    scale_decode::{self, DecodeAsType},
    scale_value::Composite,
};

const USED_SPACE_OF: Entry = Entry::new("Commitments", "UsedSpaceOf");
const MAX_SPACE: Entry = Entry::new("Commitments", "MaxSpace");
const LAST_STORED_ROUND: Entry = Entry::new("Drand", "LastStoredRound");

/// The least that a commitment takes of the space (subtensor, pallets/commitments: `min_used_space`).
const LEAST_SPACE: u64 = 100;

/// What a commitment of these fields takes of the space that a hotkey has in an epoch, bytes.
#[must_use]
pub fn space_of(fields: &[Field]) -> u64 {
    fields.iter().map(Field::space).fold(0, u64::saturating_add).max(LEAST_SPACE)
}

/// How much a hotkey may commit in an epoch of its subnet. There is no limit in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Used in this epoch, bytes.
    pub used: u64,
    /// Most in an epoch, bytes.
    pub most: u64,
    /// The epoch.
    pub epoch: Epoch,
    /// The block of the next epoch; `None` for a subnet that doesn't run.
    pub renewed: Option<Block>,
}

impl Space {
    /// What is left, bytes.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.most.saturating_sub(self.used)
    }
}

/// A commitment that is in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// The block. It may not be final yet.
    pub block: Block,
    /// The extrinsic's index in it: with the block, the commitment's precedence.
    pub extrinsic: u32,
    /// The space after it.
    pub space: Space,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
struct UsageTracker {
    last_epoch: u64,
    used_space: u64,
}

pub(super) fn call(netuid: Netuid, fields: &[Field]) -> Call {
    let arguments = Composite::named([("netuid", subnet(netuid)), ("info", info(fields))]);
    subxt::dynamic::tx("Commitments", "set_commitment", arguments)
}

impl ChainClient {
    /// Puts a commitment of the hotkey on the chain, in place of the one that is there, waits for it to be in a block, and
    /// reads it back.
    ///
    /// # Errors
    /// Before anything is sent: `Empty`, `TooLong`, `TooManyFields`, `ReadOnly`, `Unregistered`, `RoundIsOut`, `NoSpace`.
    /// Then `Chain` as for every call, and `ReadBack`.
    pub async fn set_commitment(
        &self,
        hotkey: &dyn Signer,
        netuid: Netuid,
        fields: &[Field],
    ) -> Result<Committed, CommitmentError> {
        let who = hotkey.hotkey();
        self.at_best().await?.allows(netuid, &who, fields).await?;
        let (place, _) = self.land(&call(netuid, fields), hotkey).await?;
        let at = self.at(place.tip).await?;
        let block = at.block();
        let (there, space) = tokio::try_join!(at.commitments_of(netuid, &who), at.commitment_space(netuid, &who))?;
        match there.current {
            Some(there) if there.block == block && there.fields == fields => {
                Ok(Committed { block, extrinsic: place.index, space })
            }
            _ => Err(CommitmentError::ReadBack(block)),
        }
    }

    /// Bytes for nobody before a round of the chain's beacon is out; under the system's randomness.
    ///
    /// # Errors
    /// Those of [`Field::timelocked`] and [`ChainClient::beacon`].
    pub async fn timelocked_field(&self, bytes: &[u8], reveal_round: u64) -> Result<Field, CommitmentError> {
        let beacon = self.beacon().await?;
        let mut generator = Entropy::default().generator().map_err(|_| CommitmentError::Randomness)?;
        Field::timelocked(bytes, reveal_round, &beacon, &mut generator)
    }

    /// How much a hotkey may still commit in this epoch, at the best block.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn commitment_space(&self, netuid: Netuid, hotkey: Hotkey) -> Result<Space, ChainError> {
        self.at_best().await?.commitment_space(netuid, &hotkey).await
    }
}

impl AtBlock {
    async fn allows(&self, netuid: Netuid, hotkey: &Hotkey, fields: &[Field]) -> Result<(), CommitmentError> {
        if fields.is_empty() {
            return Err(CommitmentError::Empty);
        }
        let most: u32 = self.constant("Commitments", "MaxFields")?;
        if u32::try_from(fields.len()).map_or(true, |count| count > most) {
            return Err(CommitmentError::TooManyFields { count: fields.len(), most });
        }
        fields.iter().try_for_each(Field::check)?;
        if self.uid(netuid, hotkey).await?.is_none() {
            return Err(CommitmentError::Unregistered { hotkey: *hotkey, netuid });
        }
        let rounds = fields.iter().filter_map(|field| match field {
            Field::Timelocked { reveal_round, .. } => Some(*reveal_round),
            _ => None,
        });
        if let Some(round) = rounds.min() {
            let last: u64 = self.get(LAST_STORED_ROUND, vec![]).await?;
            if round <= last {
                return Err(CommitmentError::RoundIsOut { round, last });
            }
        }
        let (needed, space) = (space_of(fields), self.commitment_space(netuid, hotkey).await?);
        if needed > space.left() {
            return Err(CommitmentError::NoSpace { needed, left: space.left(), renewed: space.renewed });
        }
        Ok(())
    }

    async fn commitment_space(&self, netuid: Netuid, hotkey: &Hotkey) -> Result<Space, ChainError> {
        let (tracker, most, clock) = tokio::try_join!(
            self.find::<UsageTracker>(USED_SPACE_OF, vec![subnet(netuid), account(hotkey)]),
            self.get::<u32>(MAX_SPACE, vec![]),
            self.epoch_clock(netuid),
        )?;
        let epoch = clock.epoch(self.block(), netuid);
        let used = tracker.filter(|tracker| tracker.last_epoch == epoch.0).map_or(0, |tracker| tracker.used_space);
        Ok(Space { used, most: most.into(), epoch, renewed: clock.next_epoch_block(self.block(), netuid) })
    }
}
