//! A commitment from its block to its reveal.
//!
//! The chain opens a timelocked commitment in the first block of its reveal epoch in which the beacon's round is known,
//! and forgets it when that epoch is over; one by hash is opened by the hotkey in that very epoch. What goes wrong leaves
//! no trace but that the weights didn't change, so the event of the reveal is what counts.
use super::{Heads, SubtensorWeightSetter, list};
use crate::{
    epoch::EpochClock,
    error::ChainError,
    extrinsic::{Outcome, outcome, sign, subtensor},
    metagraph::storage_index,
    runtime::{AtBlock, number, subnet},
    weights::{commit::commit_hash, conform::columns, error::WeightsError},
};
use prism_core::{
    Block, Epoch, Netuid, Receipt,
    receipt::{Commitment, Opening, Stage},
};

/// Longest era of a reveal: the chain keeps the hashes of 2,400 blocks.
const LONGEST_ERA: u64 = 2048;

/// The second extrinsic of a hashed commitment.
#[derive(Debug)]
pub(super) struct Reveal<'a> {
    pub(super) signed: &'a [u8],
    pub(super) nonce: u64,
    pub(super) birth: Block,
    pub(super) expires: Block,
}

/// A commitment as final blocks show it.
#[derive(Debug)]
enum Fate {
    /// Its epoch is to come, or it waits in it.
    Waits,
    /// Opened in this block.
    Opened(Block),
    /// Never to be opened, and why.
    Lost(String),
}

/// A commitment to be looked for.
#[derive(Debug)]
struct Filed<'a> {
    receipt: &'a Receipt,
    index: u16,
    /// The epoch that the chain filed it under.
    epoch: Epoch,
    /// The block that it is in.
    block: Block,
    /// Its hash, unless it is under a timelock.
    hash: Option<[u8; 32]>,
}

impl SubtensorWeightSetter {
    /// The commitment's extrinsic is final: under which epoch did the chain file it?
    pub(super) async fn committed(
        &self,
        receipt: &Receipt,
        heads: &Heads,
        included: Block,
        commitment: &Commitment,
    ) -> Result<Receipt, WeightsError> {
        let netuid = receipt.intent.netuid;
        let filed = match self.remembered(included).await? {
            Some(at) => self.filed(receipt, &at, commitment).await?,
            // What was planned holds.
            None => None,
        };
        let (epoch, due) = match filed {
            Some((epoch, clock, period)) => {
                let due = clock.first_block_of(Epoch(epoch.0.saturating_add(period)), included, netuid);
                (epoch, due.unwrap_or(commitment.due))
            }
            None => (commitment.epoch, commitment.due),
        };
        let round = match commitment.opening {
            Opening::Round(round) => Some(round),
            _ => None,
        };
        Ok(receipt.enter(Block(heads.finalized.number), Stage::Committed { round, epoch, due }))
    }

    /// The epoch that the commitment is filed under in the state of its own block, with clock and reveal period there.
    async fn filed(
        &self,
        receipt: &Receipt,
        at: &AtBlock,
        commitment: &Commitment,
    ) -> Result<Option<(Epoch, EpochClock, u64)>, ChainError> {
        let netuid = receipt.intent.netuid;
        let index = storage_index(netuid, receipt.intent.mechanism);
        let hotkey = self.signer.hotkey();
        let (clock, period) = tokio::try_join!(at.epoch_clock(netuid), at.reveal_period(netuid))?;
        let here = clock.epoch_at(at.block(), netuid);
        let epoch = match &commitment.opening {
            Opening::Salt(salt) => {
                let hash = self.hash(receipt, salt);
                let waiting = at.hashed(index, &hotkey).await?.into_iter().find(|one| one.hash == hash);
                waiting.map(|one| match clock {
                    EpochClock::Stateful(_) => Epoch(one.epoch),
                    EpochClock::ClosedForm { .. } => here,
                })
            }
            _ => {
                let mut found = None;
                // In a block that steps an epoch the chain may count to the next one already.
                for epoch in [here, Epoch(here.0.saturating_add(1))] {
                    let waiting = at.timelocked(index, epoch).await?;
                    if waiting.iter().any(|one| one.hotkey == hotkey && one.block == at.block()) {
                        found = Some(epoch);
                        break;
                    }
                }
                found
            }
        };
        Ok(epoch.map(|epoch| (epoch, clock, period)))
    }

    /// The hash that the receipt's vector is committed by.
    fn hash(&self, receipt: &Receipt, salt: &[u16]) -> [u8; 32] {
        let index = storage_index(receipt.intent.netuid, receipt.intent.mechanism);
        let (uids, values) = columns(&receipt.vector);
        commit_hash(&self.signer.hotkey(), index, &uids, &values, salt, receipt.intent.version_key)
    }

    /// Under a timelock: the chain has opened it, or dropped it, or it waits.
    pub(super) async fn await_reveal(
        &self,
        receipt: &Receipt,
        heads: &Heads,
        epoch: Epoch,
    ) -> Result<Receipt, WeightsError> {
        let at = self.client.at(heads.finalized).await?;
        Ok(self.fate(receipt, &at, epoch, None).await?.of(receipt, &at))
    }

    /// By hash: signs the reveal when the next block is of the very epoch that takes it, and sends nothing yet.
    pub(super) async fn sign_reveal(
        &self,
        receipt: &Receipt,
        heads: &Heads,
        epoch: Epoch,
        salt: &[u16],
        is_alone: bool,
    ) -> Result<Receipt, WeightsError> {
        let intent = &receipt.intent;
        let netuid = intent.netuid;
        let at = self.client.at(heads.finalized).await?;
        let hash = self.hash(receipt, salt);
        let fate = self.fate(receipt, &at, epoch, Some(hash)).await?;
        if !matches!(fate, Fate::Waits) {
            return Ok(fate.of(receipt, &at));
        }
        let best = self.client.at(heads.best).await?;
        let hotkey = self.signer.hotkey();
        let index = storage_index(netuid, intent.mechanism);
        let (clock, period, waiting) =
            tokio::try_join!(best.epoch_clock(netuid), best.reveal_period(netuid), best.hashed(index, &hotkey))?;
        let now = clock.epoch_at(Block(best.number.saturating_add(1)), netuid);
        let is_due = now == Epoch(epoch.0.saturating_add(period)) && waiting.iter().any(|one| one.hash == hash);
        if !(is_alone && is_due) {
            return Ok(receipt.clone());
        }
        let (uids, values) = columns(&receipt.vector);
        let arguments = [
            ("netuid", subnet(netuid)),
            ("mecid", number(intent.mechanism.0)),
            ("uids", list(uids)),
            ("values", list(values)),
            ("salt", list(salt.to_vec())),
            ("version_key", number(intent.version_key)),
        ];
        let call = subtensor("reveal_mechanism_weights", arguments);
        let nonce = best.account(&hotkey).await?.nonce;
        let tempo = match clock {
            EpochClock::Stateful(schedule) => schedule.tempo,
            EpochClock::ClosedForm { tempo } => tempo,
        };
        // Good for the whole epoch where that can be: these are the only bytes that are ever sent.
        let era = u64::from(tempo).next_power_of_two().clamp(self.config.period, LONGEST_ERA);
        let signed = sign(&best, heads.finalized, era, nonce, &call, &*self.signer).await?;
        let (birth, expires) = (Block(heads.finalized.number), Block(signed.expires));
        Ok(receipt.enter(best.block(), Stage::Revealing { signed: signed.bytes, nonce, birth, expires }))
    }

    /// By hash, the reveal being signed: it is in a block, or void, or still to be taken.
    pub(super) async fn reveal(
        &self,
        receipt: &Receipt,
        heads: &Heads,
        reveal: &Reveal<'_>,
    ) -> Result<Receipt, WeightsError> {
        let last = heads.best.number.min(reveal.expires.0.saturating_sub(1));
        let place = self.client.locate(reveal.signed, reveal.birth.0.saturating_add(1)..=last).await?;
        if let Some(place) = place {
            if place.tip.number > heads.finalized.number {
                return Ok(receipt.clone());
            }
            let at = self.client.at(place.tip).await?;
            let block = at.block();
            return Ok(match outcome(&at, place.index).await? {
                Outcome::Success(_) => receipt.enter(block, Stage::Revealed { block }),
                Outcome::Failed(error) => receipt.enter(block, Stage::Failed { error: error.name().to_owned() }),
            });
        }
        let at = self.client.at(heads.finalized).await?;
        let lost = if at.number.saturating_add(1) >= reveal.expires.0 {
            Some(format!("no block before {} took the reveal", reveal.expires))
        } else if at.account(&self.signer.hotkey()).await?.nonce > reveal.nonce {
            Some(format!("another extrinsic of the hotkey used nonce {}, as the reveal would", reveal.nonce))
        } else {
            None
        };
        if let Some(why) = lost {
            return Ok(Fate::Lost(why).of(receipt, &at));
        }
        match self.client.send(reveal.signed).await {
            Ok(()) => Ok(receipt.clone()),
            // Whether it is in a block all the same, or never will be, is for the chain to show.
            Err(ChainError::Rejected(rejection)) => Err(WeightsError::NotYet { rejection, wait: at.block_time()? }),
            Err(error) => Err(error.into()),
        }
    }

    /// What became of a commitment by a final block.
    async fn fate(
        &self,
        receipt: &Receipt,
        at: &AtBlock,
        epoch: Epoch,
        hash: Option<[u8; 32]>,
    ) -> Result<Fate, WeightsError> {
        let netuid = receipt.intent.netuid;
        let index = storage_index(netuid, receipt.intent.mechanism);
        let (clock, period) = tokio::try_join!(at.epoch_clock(netuid), at.reveal_period(netuid))?;
        let target = Epoch(epoch.0.saturating_add(period));
        let now = clock.epoch_at(Block(at.number.saturating_add(1)), netuid);
        if now < target {
            return Ok(Fate::Waits);
        }
        let filed = Filed { receipt, index, epoch, block: included(receipt)?, hash };
        if now == target && self.waits(&filed, at).await? {
            return Ok(Fate::Waits);
        }
        let first = self.epoch_begins(netuid, target, filed.block, at.block()).await?;
        // It begins with the next block.
        let Some(first) = first else { return Ok(Fate::Waits) };
        let beyond = Epoch(target.0.saturating_add(1));
        let end = self.epoch_begins(netuid, beyond, filed.block, at.block()).await?;
        let last = end.map_or(at.number, |end| end.0.saturating_sub(1));
        Ok(match self.opened_in(&filed, at, first, Block(last)).await? {
            Some(block) => Fate::Opened(block),
            None if now > target => Fate::Lost(format!(
                "the commitment of block {} was not revealed in epoch {target}, which is over",
                filed.block
            )),
            None => Fate::Lost(format!(
                "the chain dropped the commitment of block {} in epoch {target}: it does not open, or its weights no \
                 longer pass the chain's checks",
                filed.block
            )),
        })
    }

    /// Whether the chain still holds it.
    async fn waits(&self, filed: &Filed<'_>, at: &AtBlock) -> Result<bool, ChainError> {
        let hotkey = self.signer.hotkey();
        Ok(match filed.hash {
            Some(hash) => at.hashed(filed.index, &hotkey).await?.iter().any(|one| one.hash == hash),
            None => {
                let waiting = at.timelocked(filed.index, filed.epoch).await?;
                waiting.iter().any(|one| one.hotkey == hotkey && one.block == filed.block)
            }
        })
    }

    /// The block in which it was opened, by the chain's events. Where the node has forgotten them, the weights at the
    /// final block are all there is to go by.
    async fn opened_in(
        &self,
        filed: &Filed<'_>,
        at: &AtBlock,
        first: Block,
        last: Block,
    ) -> Result<Option<Block>, WeightsError> {
        for block in first.0..=last.0 {
            let there = self.client.at(self.client.tip_at(Block(block)).await?).await?;
            if there.revealed(filed.index, &self.signer.hotkey(), filed.hash).await? {
                return Ok(Some(Block(block)));
            }
        }
        if self.remembered(filed.block).await?.is_some() {
            return Ok(None);
        }
        let row = self.compare(at, filed.receipt).await?;
        Ok(row.filter(|row| row.is_same).map(|_| at.block()))
    }

    /// The first block in `(after, last]` that belongs to `epoch` or a later one. Blocks whose state the node no longer
    /// keeps count as earlier.
    async fn epoch_begins(
        &self,
        netuid: Netuid,
        epoch: Epoch,
        after: Block,
        last: Block,
    ) -> Result<Option<Block>, ChainError> {
        let (mut before, mut reached) = (after.0, last.0.saturating_add(1));
        while reached.saturating_sub(before) > 1 {
            let middle = before + (reached - before) / 2;
            if self.is_in(netuid, epoch, Block(middle)).await? {
                reached = middle;
            } else {
                before = middle;
            }
        }
        Ok((reached <= last.0).then_some(Block(reached)))
    }

    /// Whether a block belongs to `epoch` or a later one, by what the block before it shows.
    async fn is_in(&self, netuid: Netuid, epoch: Epoch, block: Block) -> Result<bool, ChainError> {
        match self.remembered(Block(block.0.saturating_sub(1))).await? {
            Some(at) => Ok(at.epoch_clock(netuid).await?.epoch_at(block, netuid) >= epoch),
            None => Ok(false),
        }
    }
}

impl Fate {
    /// The receipt with what became of its commitment.
    fn of(self, receipt: &Receipt, at: &AtBlock) -> Receipt {
        match self {
            Self::Waits => receipt.clone(),
            Self::Opened(block) => receipt.enter(at.block(), Stage::Revealed { block }),
            Self::Lost(why) => {
                let mut next = receipt.enter(at.block(), Stage::RevealMissed);
                next.alarms.push(why);
                next
            }
        }
    }
}

/// The block that the commitment is in.
fn included(receipt: &Receipt) -> Result<Block, WeightsError> {
    let mut blocks = receipt.history.iter().rev().filter_map(|(_, stage)| match stage {
        Stage::Finalized { block, .. } => Some(*block),
        _ => None,
    });
    blocks.next().ok_or_else(|| WeightsError::Receipt("its history has no final block".into()))
}
