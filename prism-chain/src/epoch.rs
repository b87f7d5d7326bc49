//! When a subnet's epochs are: stateful since dynamic tempo, a closed form before it.
use crate::{
    error::ChainError,
    runtime::{AtBlock, Entry, subnet},
};
use prism_core::{Block, Epoch, Netuid};

/// Longest tempo, and the number of blocks without a step after which an epoch runs whatever the anchor says.
const MAX_TEMPO: u64 = 50_400;
/// Most epochs between a commitment and its reveal (subtensor, subnets/weights.rs).
const MAX_REVEAL_PERIOD: u64 = 100;

const TEMPO: Entry = Entry::subtensor("Tempo");
const LAST_EPOCH_BLOCK: Entry = Entry::subtensor("LastEpochBlock");
const PENDING_EPOCH_AT: Entry = Entry::subtensor("PendingEpochAt");
const SUBNET_EPOCH_INDEX: Entry = Entry::subtensor("SubnetEpochIndex");
const BLOCKS_SINCE_LAST_STEP: Entry = Entry::subtensor("BlocksSinceLastStep");

/// A subnet's epochs as a chain with dynamic tempo keeps them (subtensor, coinbase/run_coinbase.rs, spec 425).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Blocks per epoch; zero for a subnet that doesn't run.
    pub tempo: u16,
    /// The block of the last epoch.
    pub last_epoch_block: u64,
    /// A block at which the owner asked for an epoch; zero for none.
    pub pending_epoch_at: u64,
    /// How many epochs have run.
    pub index: u64,
    /// Blocks since the last epoch step.
    pub blocks_since_last_step: u64,
}

impl Schedule {
    fn due(&self, block: u64) -> bool {
        self.tempo != 0
            && ((self.pending_epoch_at > 0 && block >= self.pending_epoch_at)
                || self.blocks_since_last_step > MAX_TEMPO
                || block.saturating_sub(self.last_epoch_block) >= u64::from(self.tempo))
    }

    /// The epoch that `block` belongs to: the one at whose state this was read, or the one after it.
    fn epoch_at(&self, block: u64) -> u64 {
        self.index.saturating_add(u64::from(self.due(block)))
    }

    fn step(&mut self, block: u64) {
        self.blocks_since_last_step = self.blocks_since_last_step.saturating_add(1);
        if self.due(block) {
            self.last_epoch_block = block;
            self.pending_epoch_at = 0;
            self.index = self.index.saturating_add(1);
            self.blocks_since_last_step = 0;
        }
    }

    /// The block in which the next epoch is expected; `None` for a subnet that doesn't run.
    #[must_use]
    pub fn next_epoch_block(&self) -> Option<Block> {
        if self.tempo == 0 {
            return None;
        }
        let regular = self.last_epoch_block.saturating_add(u64::from(self.tempo));
        let pending = Some(self.pending_epoch_at).filter(|at| *at > 0);
        Some(Block(pending.map_or(regular, |at| at.min(regular))))
    }

    /// The first block after `head` that belongs to `epoch`, when nobody changes the tempo meanwhile: block by block, as
    /// the chain steps (bittensor-core, timelock/epoch_schedule.rs). `None` when the epoch is over, lies more than 100
    /// epochs ahead, or never comes.
    #[must_use]
    pub fn first_block_of(&self, epoch: Epoch, head: Block) -> Option<Block> {
        let first = head.0.checked_add(1)?;
        let ahead = epoch.0.checked_sub(self.epoch_at(first))?;
        if self.tempo == 0 || ahead > MAX_REVEAL_PERIOD {
            return None;
        }
        let bound = ahead.saturating_add(1).saturating_mul(MAX_TEMPO);
        let mut schedule = *self;
        for block in first..first.saturating_add(bound) {
            if schedule.epoch_at(block) == epoch.0 {
                return Some(Block(block));
            }
            schedule.step(block);
        }
        None
    }

    /// The first block in which a commitment made in the block after `head` is opened, `reveal_period` epochs later;
    /// `None` when no epoch comes.
    #[must_use]
    pub fn first_reveal_block(&self, head: Block, reveal_period: u64) -> Option<Block> {
        let epoch = self.epoch_at(head.0.checked_add(1)?).checked_add(reveal_period)?;
        self.first_block_of(Epoch(epoch), head)
    }
}

/// The epoch of a block before dynamic tempo: `(block + netuid + 1) / (tempo + 1)`.
#[must_use]
pub fn closed_form_epoch(block: Block, netuid: Netuid, tempo: u16) -> Epoch {
    Epoch(block.0.saturating_add(u64::from(netuid.0) + 1) / (u64::from(tempo) + 1))
}

/// Blocks from `block` until the next epoch before dynamic tempo: `tempo - (block + netuid + 1) mod (tempo + 1)`.
#[must_use]
pub fn closed_form_blocks_until(block: Block, netuid: Netuid, tempo: u16) -> u64 {
    u64::from(tempo) - block.0.saturating_add(u64::from(netuid.0) + 1) % (u64::from(tempo) + 1)
}

/// The first block of an epoch before dynamic tempo: `epoch (tempo + 1) - (netuid + 1)`.
#[must_use]
pub fn closed_form_first_block(epoch: Epoch, netuid: Netuid, tempo: u16) -> Block {
    Block(epoch.0.saturating_mul(u64::from(tempo) + 1).saturating_sub(u64::from(netuid.0) + 1))
}

/// A subnet's epochs, in whichever form the runtime has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EpochClock {
    /// Since dynamic tempo.
    Stateful(Schedule),
    /// Before dynamic tempo.
    ClosedForm {
        /// Blocks per epoch, less one.
        tempo: u16,
    },
}

impl EpochClock {
    /// The epoch at `block`, at whose state this clock was read.
    #[must_use]
    pub fn epoch(&self, block: Block, netuid: Netuid) -> Epoch {
        match self {
            Self::Stateful(schedule) => Epoch(schedule.index),
            Self::ClosedForm { tempo } => closed_form_epoch(block, netuid, *tempo),
        }
    }

    /// The epoch that `block` belongs to: that of the block at whose state this clock was read, or of the next one.
    #[must_use]
    pub fn epoch_at(&self, block: Block, netuid: Netuid) -> Epoch {
        match self {
            Self::Stateful(schedule) => Epoch(schedule.epoch_at(block.0)),
            Self::ClosedForm { tempo } => closed_form_epoch(block, netuid, *tempo),
        }
    }

    /// The first block after `head`, at whose state this clock was read, that belongs to `epoch`; `None` when the epoch
    /// is over, lies more than 100 epochs ahead, or never comes.
    #[must_use]
    pub fn first_block_of(&self, epoch: Epoch, head: Block, netuid: Netuid) -> Option<Block> {
        match self {
            Self::Stateful(schedule) => schedule.first_block_of(epoch, head),
            Self::ClosedForm { tempo: 0 } => None,
            Self::ClosedForm { tempo } => {
                let next = Block(head.0.checked_add(1)?);
                let ahead = epoch.0.checked_sub(closed_form_epoch(next, netuid, *tempo).0)?;
                let first = closed_form_first_block(epoch, netuid, *tempo).max(next);
                (ahead <= MAX_REVEAL_PERIOD).then_some(first)
            }
        }
    }

    /// The block of the next epoch, seen from `block`.
    #[must_use]
    pub fn next_epoch_block(&self, block: Block, netuid: Netuid) -> Option<Block> {
        match self {
            Self::Stateful(schedule) => schedule.next_epoch_block(),
            Self::ClosedForm { tempo: 0 } => None,
            Self::ClosedForm { tempo } => {
                let until = match closed_form_blocks_until(block, netuid, *tempo) {
                    0 => u64::from(*tempo) + 1,
                    until => until,
                };
                Some(Block(block.0.saturating_add(until)))
            }
        }
    }
}

impl AtBlock {
    /// The subnet's epochs. Which form holds is told by the storage entries that the runtime has.
    pub(crate) async fn epoch_clock(&self, netuid: Netuid) -> Result<EpochClock, ChainError> {
        let key = || vec![subnet(netuid)];
        if !self.has(SUBNET_EPOCH_INDEX) {
            return Ok(EpochClock::ClosedForm { tempo: self.get(TEMPO, key()).await? });
        }
        let (tempo, last_epoch_block, pending_epoch_at, index, blocks_since_last_step) = tokio::try_join!(
            self.get(TEMPO, key()),
            self.get(LAST_EPOCH_BLOCK, key()),
            self.get(PENDING_EPOCH_AT, key()),
            self.get(SUBNET_EPOCH_INDEX, key()),
            self.get(BLOCKS_SINCE_LAST_STEP, key()),
        )?;
        Ok(EpochClock::Stateful(Schedule { tempo, last_epoch_block, pending_epoch_at, index, blocks_since_last_step }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(last: u64, pending: u64, index: u64, tempo: u16, since: u64) -> Schedule {
        Schedule { tempo, last_epoch_block: last, pending_epoch_at: pending, index, blocks_since_last_step: since }
    }

    /// From bittensor-core's own tests, and from running the official SDK (tempo 360, last epoch at 1000).
    #[test]
    fn reveals_are_where_the_official_package_expects_them() {
        let reveal = |s: Schedule, head, period| s.first_reveal_block(Block(head), period).map(|b| b.0);
        assert_eq!(reveal(schedule(10, 0, 0, 50, 0), 10, 1), Some(60));
        assert_eq!(reveal(schedule(80, 95, 0, 20, 0), 91, 1), Some(95));
        assert_eq!(reveal(schedule(10, 0, 0, 0, 0), 10, 1), None);
        assert_eq!(reveal(schedule(1000, 0, 0, 360, 100), 1100, 1), Some(1360));
        assert_eq!(reveal(schedule(1000, 0, 0, 360, 100), 1100, 2), Some(1720));
        assert_eq!(reveal(schedule(1000, 1200, 0, 360, 100), 1100, 1), Some(1200));
        assert_eq!(reveal(schedule(u64::MAX - 5, 0, 0, 50, 0), u64::MAX, 1), None);
        assert_eq!(reveal(schedule(1000, 0, 0, 360, 0), 1000, u64::MAX), None, "a bound on the loop");
        // A head at which an epoch is due: the commitment is of the new one.
        assert_eq!(reveal(schedule(1000, 0, 7, 360, 359), 1359, 1), Some(1720));
    }

    #[test]
    fn an_epoch_that_is_over_has_no_first_block_any_more() {
        let schedule = schedule(1000, 0, 7, 360, 100);
        assert_eq!(schedule.first_block_of(Epoch(7), Block(1100)), Some(Block(1101)), "it is going on");
        assert_eq!(schedule.first_block_of(Epoch(6), Block(1100)), None);
        let clock = EpochClock::ClosedForm { tempo: 10 };
        assert_eq!(clock.epoch_at(Block(51), Netuid(3)), Epoch(5));
        assert_eq!(clock.first_block_of(Epoch(5), Block(51), Netuid(3)), Some(Block(52)));
        assert_eq!(clock.first_block_of(Epoch(4), Block(51), Netuid(3)), None);
    }

    #[test]
    fn the_next_epoch_is_the_earlier_of_tempo_and_request() {
        assert_eq!(schedule(100, 0, 0, 50, 0).next_epoch_block(), Some(Block(150)));
        assert_eq!(schedule(100, 120, 0, 50, 0).next_epoch_block(), Some(Block(120)));
        assert_eq!(schedule(100, 170, 0, 50, 0).next_epoch_block(), Some(Block(150)));
        assert_eq!(schedule(100, 120, 0, 0, 0).next_epoch_block(), None);
    }

    #[test]
    fn the_closed_form_changes_epoch_exactly_where_it_counts_down_to_zero() {
        let (netuid, tempo) = (Netuid(3), 10);
        for block in 0..100 {
            let here = closed_form_epoch(Block(block), netuid, tempo);
            let next = closed_form_epoch(Block(block + 1), netuid, tempo);
            let until = closed_form_blocks_until(Block(block), netuid, tempo);
            assert_eq!(next > here, until == 0, "block {block}");
            let first = closed_form_first_block(next, netuid, tempo);
            assert_eq!(first == Block(block + 1), next > here, "block {block}");
            let clock = EpochClock::ClosedForm { tempo };
            let later = clock.first_block_of(Epoch(next.0 + 2), Block(block), netuid).unwrap();
            assert_eq!(closed_form_epoch(later, netuid, tempo).0, next.0 + 2);
            assert_eq!(closed_form_epoch(Block(later.0 - 1), netuid, tempo).0, next.0 + 1);
        }
    }

    proptest! {
        #[test]
        fn no_schedule_panics_and_reveals_come_after_the_head(
            last: u64, pending: u64, index: u64, tempo in 0_u16..500, since: u64, head: u64, period in 0_u64..3,
        ) {
            let schedule = schedule(last, pending, index, tempo, since);
            if let Some(block) = schedule.first_reveal_block(Block(head), period) {
                prop_assert!(block.0 > head);
            }
        }
    }
}
