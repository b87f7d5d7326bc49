//! A commitment from its block to its reveal.
//!
//! The chain opens a timelocked commitment in the first block of its reveal epoch in which the beacon's round is known,
//! and forgets it when that epoch is over. What goes wrong then leaves no trace but that the weights didn't change, so
//! the event of the reveal is what counts.
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
        let filed = match self.client.at(self.client.tip_at(included).await?).await {
            Ok(at) => self.filed(receipt, &at, commitment).await?,
            // The node keeps no state that old: what was planned holds.
            Err(ChainError::Node { .. }) => None,
            Err(error) => return Err(error.into()),
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

    /// The epoch that the commitment is filed under in the state of its own block, with clock and reveal period there;
    /// nothing when the chain has opened it in that very block.
    async fn filed(
        &self,
        receipt: &Receipt,
        at: &AtBlock,
        commitment: &Commitment,
    ) -> Result<Option<(Epoch, EpochClock, u64)>, ChainError> {
        let intent = &receipt.intent;
        let (netuid, index) = (intent.netuid, storage_index(intent.netuid, intent.mechanism));
        let hotkey = self.signer.hotkey();
        let (clock, period) = tokio::try_join!(at.epoch_clock(netuid), at.reveal_period(netuid))?;
        let here = clock.epoch_at(at.block(), netuid);
        let epoch = match &commitment.opening {
            Opening::Salt(salt) => {
                let (uids, values) = columns(&receipt.vector);
                let hash = commit_hash(&hotkey, index, &uids, &values, salt, intent.version_key);
                let waiting = at.hashed(index, &hotkey).await?.into_iter().find(|one| one.hash == hash);
                match clock {
                    EpochClock::Stateful(_) => waiting.map(|one| Epoch(one.epoch)),
                    EpochClock::ClosedForm { .. } => waiting.map(|_| here),
                }
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

    /// Timelocked: the chain has opened it, or dropped it, or it waits.
    pub(super) async fn await_reveal(
        &self,
        receipt: &Receipt,
        heads: &Heads,
        epoch: Epoch,
        round: u64,
    ) -> Result<Receipt, WeightsError> {
        let intent = &receipt.intent;
        let (netuid, index) = (intent.netuid, storage_index(intent.netuid, intent.mechanism));
        let hotkey = self.signer.hotkey();
        let at = self.client.at(heads.finalized).await?;
        let (clock, period) = tokio::try_join!(at.epoch_clock(netuid), at.reveal_period(netuid))?;
        let target = Epoch(epoch.0.saturating_add(period));
        let next = Block(at.number.saturating_add(1));
        let now = clock.epoch_at(next, netuid);
        if now < target {
            return Ok(receipt.clone());
        }
        let committed_in = included(receipt)?;
        let waiting = at.timelocked(index, epoch).await?;
        let waits = waiting.iter().any(|one| one.hotkey == hotkey && one.block == committed_in);
        if waits && now == target {
            return Ok(receipt.clone());
        }
        let first = self.epoch_begins(netuid, target, committed_in, at.block()).await?;
        // The epoch begins with the next block: nothing could be revealed yet.
        let Some(first) = first else { return Ok(receipt.clone()) };
        let beyond = Epoch(target.0.saturating_add(1));
        let end = self.epoch_begins(netuid, beyond, committed_in, at.block()).await?;
        let last = end.map_or(at.number, |end| end.0.saturating_sub(1));
        for block in first.0..=last {
            let at = self.client.at(self.client.tip_at(Block(block)).await?).await?;
            if at.revealed(index, &hotkey).await? {
                return Ok(receipt.enter(at.block(), Stage::Revealed { block: at.block() }));
            }
        }
        if self.is_forgotten(committed_in).await? && self.compare(&at, receipt).await?.is_some_and(|row| row.is_same) {
            return Ok(receipt.enter(at.block(), Stage::Revealed { block: at.block() }));
        }
        let why = if now > target {
            format!(
                "epoch {target} passed and the commitment of block {committed_in} was not revealed: round {round} \
                     of the beacon did not reach the chain, or the chain refused the weights"
            )
        } else {
            format!(
                "the chain dropped the commitment of block {committed_in} in epoch {target}: it could not be opened, \
                     or a check of the weights failed"
            )
        };
        Ok(missed(receipt, at.block(), why))
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

    /// Whether the node keeps no state of a block, so that events since then can't be had: what the chain holds now is
    /// all there is to go by.
    async fn is_forgotten(&self, block: Block) -> Result<bool, ChainError> {
        match self.client.at(self.client.tip_at(block).await?).await {
            Ok(_) => Ok(false),
            Err(ChainError::Node { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether a block belongs to `epoch` or a later one, by what the block before it shows.
    async fn is_in(&self, netuid: Netuid, epoch: Epoch, block: Block) -> Result<bool, ChainError> {
        let parent = self.client.tip_at(Block(block.0.saturating_sub(1))).await?;
        match self.client.at(parent).await {
            Ok(at) => Ok(at.epoch_clock(netuid).await?.epoch_at(block, netuid) >= epoch),
            Err(ChainError::Node { .. }) => Ok(false),
            Err(error) => Err(error),
        }
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
        let best = self.client.at(heads.best).await?;
        let (clock, ahead, period) =
            tokio::try_join!(at.epoch_clock(netuid), best.epoch_clock(netuid), best.reveal_period(netuid))?;
        let target = Epoch(epoch.0.saturating_add(period));
        if clock.epoch_at(Block(at.number.saturating_add(1)), netuid) > target {
            return Ok(missed(
                receipt,
                at.block(),
                format!("epoch {target} passed before the commitment was revealed"),
            ));
        }
        if !is_alone || ahead.epoch_at(Block(best.number.saturating_add(1)), netuid) != target {
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
        let nonce = best.account(&self.signer.hotkey()).await?.nonce;
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
                Outcome::Failed(error) => receipt.enter(block, Stage::Failed { error }),
            });
        }
        let at = self.client.at(heads.finalized).await?;
        if at.number.saturating_add(1) >= reveal.expires.0 {
            let why = format!("no block before {} took the reveal", reveal.expires);
            return Ok(missed(receipt, at.block(), why));
        }
        if at.account(&self.signer.hotkey()).await?.nonce > reveal.nonce {
            let why =
                format!("another extrinsic of the hotkey used nonce {}, which the reveal was signed for", reveal.nonce);
            return Ok(missed(receipt, at.block(), why));
        }
        match self.client.send(reveal.signed).await {
            Ok(()) => Ok(receipt.clone()),
            // Whether it is in a block all the same, or never will be, is for the chain to show.
            Err(ChainError::Rejected(rejection)) => Err(WeightsError::NotYet { rejection, wait: at.block_time()? }),
            Err(error) => Err(error.into()),
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

fn missed(receipt: &Receipt, at: Block, why: String) -> Receipt {
    let mut next = receipt.enter(at, Stage::RevealMissed);
    next.alarms.push(why);
    next
}
