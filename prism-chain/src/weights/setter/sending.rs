//! An extrinsic on its way: sent, found in a block, final.
use super::{Heads, SubtensorWeightSetter, expiry};
use crate::{
    error::ChainError,
    extrinsic::{Outcome, Place, outcome},
    rejection::Remedy,
    weights::error::WeightsError,
};
use prism_core::{Block, Digest, Receipt, receipt::Stage};
use std::{collections::BTreeMap, sync::PoisonError, time::Duration};

impl SubtensorWeightSetter {
    /// Prepared or submitted: it is in a block, or void, or still to be taken.
    pub(super) async fn seek(&self, receipt: &Receipt, heads: &Heads, expires: Block) -> Result<Receipt, WeightsError> {
        if let Some(place) = self.locate(receipt, heads, expires).await? {
            return self.found(receipt, heads, place).await;
        }
        let now = Block(heads.best.number);
        // The era's last block is final, and it isn't in any.
        if heads.finalized.number.saturating_add(1) >= expires.0 {
            return Ok(receipt.enter(now, Stage::Expired));
        }
        // In the next block it would be void; whether it is in this one's siblings is for finality to show.
        if heads.best.number.saturating_add(1) >= expires.0 {
            return Ok(receipt.clone());
        }
        let at = self.client.at(heads.finalized).await?;
        let account = at.account(&self.signer.hotkey()).await?;
        if account.nonce > receipt.nonce {
            let reason = format!("another extrinsic of the hotkey used nonce {}", receipt.nonce);
            return Ok(receipt.enter(now, Stage::Superseded { reason }));
        }
        self.submit(receipt, now, expires, at.block_time()?).await
    }

    /// Sends the bytes, for the first time or again: a pool may have lost them.
    async fn submit(
        &self,
        receipt: &Receipt,
        now: Block,
        expires: Block,
        wait: Duration,
    ) -> Result<Receipt, WeightsError> {
        let first = matches!(receipt.stage, Stage::Prepared { .. });
        match self.client.send(&receipt.signed).await {
            Ok(()) if first => Ok(receipt.enter(now, Stage::Submitted { expires })),
            Ok(()) => Ok(receipt.clone()),
            Err(ChainError::Rejected(rejection)) => match rejection.remedy() {
                Remedy::Never if first => Ok(receipt.enter(now, Stage::Failed { error: rejection.to_string() })),
                // A pool had it once: its block, or the era's end, will tell.
                _ if !first => Ok(receipt.clone()),
                _ => Err(WeightsError::NotYet { rejection, wait }),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Looks for the extrinsic in the blocks of its era.
    async fn locate(&self, receipt: &Receipt, heads: &Heads, expires: Block) -> Result<Option<Place>, WeightsError> {
        let done = self.searched().get(&receipt.hash).copied().unwrap_or(0).max(receipt.pinned.0);
        let last = heads.best.number.min(expires.0.saturating_sub(1));
        let place = self.client.locate(&receipt.signed, done.saturating_add(1)..=last).await?;
        if place.is_none() {
            self.searched().insert(receipt.hash, heads.finalized.number.min(last).max(done));
        }
        Ok(place)
    }

    pub(super) fn searched(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, u64>> {
        self.searched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In a block: did the call succeed there?
    async fn found(&self, receipt: &Receipt, heads: &Heads, place: Place) -> Result<Receipt, WeightsError> {
        let at = self.client.at(place.tip).await?;
        let block = Block(place.tip.number);
        match outcome(&at, place.index).await? {
            Outcome::Success(_) => Ok(receipt.enter(block, Stage::Included { block, extrinsic: place.index })),
            Outcome::Failed(error) if place.tip.number <= heads.finalized.number => {
                Ok(receipt.enter(block, Stage::Failed { error: error.name().to_owned() }))
            }
            // Another block at this height may run it with another end.
            Outcome::Failed(_) => Ok(receipt.clone()),
        }
    }

    /// Included: final, or reorganised away.
    pub(super) async fn settle(&self, receipt: &Receipt, heads: &Heads, block: Block) -> Result<Receipt, WeightsError> {
        let tip = self.client.tip_at(block).await?;
        let index = self.client.index_in(&receipt.signed, tip.hash).await?;
        let Some(index) = index else {
            let expires = expiry(receipt)?;
            return Ok(receipt.enter(Block(heads.best.number), Stage::Submitted { expires }));
        };
        if block.0 > heads.finalized.number {
            return Ok(receipt.clone());
        }
        let at = self.client.at(tip).await?;
        match outcome(&at, index).await? {
            Outcome::Success(_) => {
                Ok(receipt.enter(Block(heads.finalized.number), Stage::Finalized { block, extrinsic: index }))
            }
            Outcome::Failed(error) => {
                Ok(receipt.enter(Block(heads.finalized.number), Stage::Failed { error: error.name().to_owned() }))
            }
        }
    }
}
