//! What goes wrong on request.

use std::ops::RangeInclusive;

use super::upgrade::RuntimeUpgrade;

/// Something that goes wrong when [`Devnet::inject`](super::Devnet::inject) asks for it.
///
/// Some faults happen once, at the moment or at the next occasion; those that stay do so until
/// [`Devnet::mend`](super::Devnet::mend).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Every connection breaks, now.
    Drop,
    /// The next submission breaks every connection before the pool has seen it.
    DropBeforeSubmit,
    /// The next submission breaks every connection after the pool has taken it: nobody hears that.
    DropAfterSubmit,
    /// Connections are accepted and stay open, and nothing is answered. Stays; mending breaks what hangs.
    HalfDead,
    /// This many calls from now on are refused: `RPC rate limit exceeded`, code -32999.
    RateLimit {
        /// How many.
        calls: u32,
    },
    /// The pool forgets what waits in it, as after a restart of the node. Nobody is told.
    PoolLoss,
    /// Blocks are made, and none becomes final. Stays.
    FinalityStall,
    /// The newest blocks are replaced by as many empty ones. Their transactions wait again for a block, unless the new
    /// branch makes them invalid; what was set up by hand in those blocks is gone. Blocks that are final stay.
    Reorg {
        /// How many blocks.
        blocks: u64,
    },
    /// The next block brings another runtime.
    Upgrade(RuntimeUpgrade),
    /// The chain never gets these rounds of the beacon. Rounds that it has already stay.
    LostRounds(RangeInclusive<u64>),
    /// The chain gets no rounds of the beacon. Stays; mending brings those that came out meanwhile.
    BeaconSilence,
}
