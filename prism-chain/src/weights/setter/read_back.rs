//! What the chain holds in the end, compared with what was intended.
use super::{Heads, SubtensorWeightSetter};
use crate::{
    error::ChainError,
    metagraph::storage_index,
    runtime::AtBlock,
    weights::{error::WeightsError, quantize::max_upscale},
};
use prism_core::{Block, Receipt, Uid, receipt::Stage};
use std::collections::BTreeMap;

/// The chain's weights beside the vector.
#[derive(Debug)]
pub(super) struct Comparison {
    /// Whether they are the same, but for slots that changed hands.
    pub(super) is_same: bool,
    read: BTreeMap<Uid, u16>,
    last_update: u64,
    /// One for each slot that changed hands.
    alarms: Vec<String>,
}

impl SubtensorWeightSetter {
    /// Final, and revealed if it was committed: the chain's weights equal the vector, or something took its place.
    /// `landed` is the block that wrote them.
    pub(super) async fn read_back(
        &self,
        receipt: &Receipt,
        heads: &Heads,
        landed: Block,
    ) -> Result<Receipt, WeightsError> {
        let is_commitment = receipt.commitment.is_some();
        // At the newest block the next commitment may be revealed.
        let there = if is_commitment { self.remembered(landed).await? } else { None };
        let at = match there {
            Some(at) => at,
            None => self.client.at(heads.finalized).await?,
        };
        let block = at.block();
        let superseded = |reason: String| receipt.enter(block, Stage::Superseded { reason });
        let Some(Comparison { is_same, read, last_update, alarms }) = self.compare(&at, receipt).await? else {
            let (hotkey, netuid) = (self.signer.hotkey(), receipt.intent.netuid);
            return Ok(superseded(format!("hotkey {hotkey} is no longer registered on subnet {netuid}")));
        };
        let mut next = if is_same {
            receipt.enter(block, Stage::ReadBack { block, uids: read })
        } else if last_update > landed.0 && !is_commitment {
            superseded(format!("another extrinsic set weights in block {last_update}"))
        } else {
            superseded(format!("the chain holds other weights than those it took in block {landed}"))
        };
        next.alarms.extend(alarms.into_iter().filter(|alarm| !receipt.alarms.contains(alarm)));
        Ok(next)
    }

    /// The chain's weights beside the vector; nothing when the hotkey has no slot any more.
    pub(super) async fn compare(&self, at: &AtBlock, receipt: &Receipt) -> Result<Option<Comparison>, ChainError> {
        let intent = &receipt.intent;
        let Some(own) = at.uid(intent.netuid, &self.signer.hotkey()).await? else { return Ok(None) };
        let index = storage_index(intent.netuid, intent.mechanism);
        let (row, last_update) = tokio::try_join!(at.weights(index, own), at.last_update(index, own))?;
        let (moved, alarms) = changed_hands(at, receipt).await?;
        let read: BTreeMap<Uid, u16> = row.into_iter().collect();
        // A slot that changes hands loses the weights that were set for its former holder, and keeps those that are
        // revealed after that.
        let kept = |uid: &Uid| !moved.contains(uid);
        let stored = stored(&receipt.vector);
        let is_same = stored.iter().filter(|(uid, _)| kept(uid)).eq(read.iter().filter(|(uid, _)| kept(uid)));
        Ok(Some(Comparison { is_same, read, last_update, alarms }))
    }

    /// The state at a block; none when the node has forgotten it.
    pub(super) async fn remembered(&self, block: Block) -> Result<Option<AtBlock>, ChainError> {
        let at = async { self.client.at(self.client.tip_at(block).await?).await };
        match at.await {
            Ok(at) => Ok(Some(at)),
            Err(error) if error.is_forgotten() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The slots of the vector that another hotkey holds by now, and an alarm for each.
async fn changed_hands(at: &AtBlock, receipt: &Receipt) -> Result<(Vec<Uid>, Vec<String>), ChainError> {
    let uids: Vec<Uid> = receipt.holders.keys().copied().collect();
    let now = at.holders(receipt.intent.netuid, &uids).await?;
    let moved = receipt.holders.iter().zip(now).filter(|((_, then), now)| *now != Some(**then));
    let (uids, alarms) = moved
        .map(|((uid, then), now)| {
            let now = now.map_or_else(|| "nobody".to_owned(), |hotkey| hotkey.to_string());
            let (pinned, at) = (receipt.pinned, at.number);
            (*uid, format!("slot {uid} changed hands: {then} held it at block {pinned}, {now} at {at}"))
        })
        .unzip();
    Ok((uids, alarms))
}

/// The vector as the chain keeps it.
fn stored(vector: &BTreeMap<Uid, u16>) -> BTreeMap<Uid, u16> {
    let weights: Vec<u16> = vector.values().copied().collect();
    vector.keys().copied().zip(max_upscale(&weights)).collect()
}
