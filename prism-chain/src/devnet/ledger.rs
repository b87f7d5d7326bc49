//! The devnet's own record of the weights that landed, independent of what any client believes.

use std::collections::VecDeque;

use prism_core::{Block, Hotkey, MechanismId, Netuid, Uid};

/// One weight vector that the chain accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandedWeights {
    /// The block whose state first has it.
    pub block: Block,
    /// Position of the extrinsic in that block.
    pub extrinsic: u32,
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

/// Landed weight vectors in chain order, the newest [`Ledger::CAPACITY`] of them.
#[derive(Debug, Default)]
pub(super) struct Ledger(VecDeque<LandedWeights>);

impl Ledger {
    const CAPACITY: usize = 65_536;

    pub(super) fn extend(&mut self, landed: Vec<LandedWeights>) {
        self.0.extend(landed);
        while self.0.len() > Self::CAPACITY {
            self.0.pop_front();
        }
    }

    pub(super) fn entries(&self) -> Vec<LandedWeights> {
        self.0.iter().cloned().collect()
    }
}
