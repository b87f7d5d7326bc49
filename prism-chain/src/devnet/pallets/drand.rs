//! Drand: the randomness beacon's parameters, and which of its rounds the chain has.

use codec::{Decode, Encode};
use scale_info::TypeInfo;

use crate::devnet::primitives::Bounded;
use crate::devnet::storage::storage;

/// How the beacon's pulses are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) struct BeaconConfiguration {
    pub(in crate::devnet) public_key: Bounded<144>,
    pub(in crate::devnet) period: u32,
    pub(in crate::devnet) genesis_time: u32,
    pub(in crate::devnet) hash: Bounded<32>,
    pub(in crate::devnet) group_hash: Bounded<32>,
    pub(in crate::devnet) scheme_id: Bounded<32>,
    pub(in crate::devnet) metadata: Bounded<32>,
}

/// What the beacon publishes for a round.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) struct Pulse {
    pub(in crate::devnet) round: u64,
    pub(in crate::devnet) randomness: Bounded<32>,
    pub(in crate::devnet) signature: Bounded<144>,
}

/// Events of the Drand pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) enum Event {
    #[codec(index = 1)]
    NewPulse { rounds: Vec<u64> },
}

storage! { "Drand":
    /// The beacon that the chain follows.
    BEACON_CONFIG "BeaconConfig" [] -> BeaconConfiguration = BeaconConfiguration::default();
    /// Pulses by round. Never written: the beacon makes them when they are read.
    PULSES "Pulses" [Blake2_128Concat u64] -> Pulse;
    /// The newest round that is stored.
    LAST_STORED_ROUND "LastStoredRound" [] -> u64 = 0;
    /// The oldest round that is still stored.
    OLDEST_STORED_ROUND "OldestStoredRound" [] -> u64 = 0;
}
