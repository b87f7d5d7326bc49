//! What one hotkey's weights are, and which of its commitments wait.
use crate::{client::ChainClient, error::ChainError, metagraph::storage_index, weights::pending::TimelockedCommit};
use prism_core::{Block, Epoch, Hotkey, MechanismId, Netuid, Uid};
use serde::Serialize;

/// One weight of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RowWeight {
    /// Whose slot.
    pub uid: Uid,
    /// Who holds it at the row's block.
    pub hotkey: Option<Hotkey>,
    /// The weight; the largest of a row is 65535.
    pub weight: u16,
}

/// The weights that a hotkey has set, at one block, with what it has committed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WeightsRow {
    /// The block.
    pub block: Block,
    /// Whose weights.
    pub hotkey: Hotkey,
    /// Its slot.
    pub uid: Uid,
    /// Whether it may set weights.
    pub validator_permit: bool,
    /// The block of its last vector or commitment, or of its registration.
    pub last_update: Block,
    /// Its weights, by slot.
    pub weights: Vec<RowWeight>,
    /// Its commitments under a timelock that aren't opened yet.
    pub timelocked: Vec<TimelockedCommit>,
    /// Its commitments by hash that aren't revealed.
    pub hashed: usize,
}

impl ChainClient {
    /// A hotkey's weights at the newest final block, commitments that wait included; none when it isn't registered.
    ///
    /// # Errors
    /// Those of a read, with the entry's name.
    pub async fn weights_row(
        &self,
        netuid: Netuid,
        mechanism: MechanismId,
        hotkey: Hotkey,
    ) -> Result<Option<WeightsRow>, ChainError> {
        let at = self.at_finalized().await?;
        let index = storage_index(netuid, mechanism);
        let Some(uid) = at.uid(netuid, &hotkey).await? else { return Ok(None) };
        let (row, last_update, validator_permit) =
            tokio::try_join!(at.weights(index, uid), at.last_update(index, uid), at.permit(netuid, uid))?;
        let uids: Vec<Uid> = row.iter().map(|(uid, _)| *uid).collect();
        let holders = at.holders(netuid, &uids).await?;
        let weights = row.into_iter().zip(holders);
        let (clock, period) = tokio::try_join!(at.epoch_clock(netuid), at.reveal_period(netuid))?;
        // Those of the next block's epoch, and of all whose reveal is still to come.
        let newest = clock.epoch_at(Block(at.number.saturating_add(1)), netuid).0;
        let mut timelocked = Vec::new();
        for epoch in newest.saturating_sub(period.min(100))..=newest {
            timelocked.extend(at.timelocked(index, Epoch(epoch)).await?.into_iter().filter(|one| one.hotkey == hotkey));
        }
        Ok(Some(WeightsRow {
            block: at.block(),
            hotkey,
            uid,
            validator_permit,
            last_update: Block(last_update),
            weights: weights.map(|((uid, weight), hotkey)| RowWeight { uid, hotkey, weight }).collect(),
            timelocked,
            hashed: at.hashed(index, &hotkey).await?.len(),
        }))
    }
}
