//! The devnet's own record of the weights that landed, independent of what any client believes.

use std::collections::VecDeque;

use prism_core::{Block, Epoch, Hotkey, MechanismId, Netuid, Uid};

/// One weight vector that the chain accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandedWeights {
    /// The block whose state first has it.
    pub block: Block,
    /// Position in that block of the extrinsic that set it or revealed it; for one that the chain opened by itself, of
    /// the extrinsic that committed it, in its own block.
    pub extrinsic: u32,
    /// The block of the timelocked commitment that the chain opened, if it was one.
    pub committed: Option<Block>,
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism.
    pub mechanism: MechanismId,
    /// The validator's UID at that block.
    pub uid: Uid,
    /// The validator's hotkey.
    pub hotkey: Hotkey,
    /// `(uid, weight)` as stored: scaled so that the largest weight is 65535.
    pub weights: Vec<(u16, u16)>,
}

/// One commitment to weights that the chain accepted, by hash or under a timelock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedWeights {
    /// The block it is in.
    pub block: Block,
    /// Position of the extrinsic in that block.
    pub extrinsic: u32,
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism.
    pub mechanism: MechanismId,
    /// The validator's hotkey.
    pub hotkey: Hotkey,
    /// The subnet's epoch at that block.
    pub epoch: Epoch,
    /// The beacon's round that opens it; none for a hash, which its hotkey reveals.
    pub round: Option<u64>,
}

/// Weight vectors and commitments in chain order, the newest [`Ledger::CAPACITY`] of each.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    landed: VecDeque<LandedWeights>,
    committed: VecDeque<CommittedWeights>,
}

/// What one execution adds to the ledger.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) landed: Vec<LandedWeights>,
    pub(super) committed: Vec<CommittedWeights>,
}

impl Entries {
    pub(super) fn clear(&mut self) {
        self.landed.clear();
        self.committed.clear();
    }
}

impl Ledger {
    const CAPACITY: usize = 65_536;

    pub(super) fn extend(&mut self, entries: Entries) {
        for mut landed in entries.landed {
            // Who opened it doesn't know where in its block it was committed.
            if let Some(commit) = landed.committed.and_then(|block| self.commit_of(&landed, block)) {
                landed.extrinsic = commit.extrinsic;
            }
            self.landed.push_back(landed);
        }
        self.committed.extend(entries.committed);
        while self.landed.len() > Self::CAPACITY {
            self.landed.pop_front();
        }
        while self.committed.len() > Self::CAPACITY {
            self.committed.pop_front();
        }
    }

    fn commit_of(&self, landed: &LandedWeights, block: Block) -> Option<&CommittedWeights> {
        self.committed.iter().rev().take_while(|commit| commit.block >= block).find(|commit| {
            (commit.block, commit.hotkey, commit.netuid, commit.mechanism)
                == (block, landed.hotkey, landed.netuid, landed.mechanism)
        })
    }

    /// Forgets what was written by blocks from this one on, which another branch takes the place of.
    pub(super) fn revert(&mut self, block: Block) {
        self.landed.retain(|landed| landed.block < block);
        self.committed.retain(|committed| committed.block < block);
    }

    pub(super) fn landed(&self) -> Vec<LandedWeights> {
        self.landed.iter().cloned().collect()
    }

    pub(super) fn committed(&self) -> Vec<CommittedWeights> {
        self.committed.iter().cloned().collect()
    }
}
