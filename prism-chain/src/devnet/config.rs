//! What a devnet starts with.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use prism_core::{Hotkey, Netuid};

use super::upgrade::RuntimeMetadata;

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockPace {
    /// Only when [`Devnet::produce_blocks`](super::Devnet::produce_blocks) is called.
    Manual,
    /// At this interval, and when asked.
    Every(Duration),
}

/// Where block timestamps come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockClock {
    /// Genesis time plus number times slot, whatever the pace: the same inputs give the same chain.
    Simulated {
        /// Milliseconds since the Unix epoch.
        genesis_millis: u64,
    },
    /// The machine's clock.
    Wall,
}

/// The devnet's own randomness beacon, which opens timelocked weights and commitments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeaconConfig {
    /// What its key is made from. Default fixed and known to everybody, as a devnet's secrets may be.
    pub seed: Vec<u8>,
    /// When round 1 came out, in seconds since the Unix epoch. Default quicknet's.
    pub genesis_unix: u64,
    /// Time between rounds, in whole seconds. Default 3 s.
    pub period: Duration,
}

impl Default for BeaconConfig {
    fn default() -> Self {
        Self { seed: b"devnet".to_vec(), genesis_unix: 1_692_803_367, period: Duration::from_secs(3) }
    }
}

/// A neuron that is there from genesis on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisNeuron {
    /// Its hotkey.
    pub hotkey: Hotkey,
    /// The coldkey that owns it.
    pub coldkey: [u8; 32],
    /// Alpha on it, in 1e-9. Permits go by stake at the first epoch.
    pub stake: u64,
    /// Whether it may set weights before the first epoch.
    pub permit: bool,
}

/// The owner of a subnet: UID 0, never pruned, free of permit and stake threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetOwner {
    /// The hotkey that is registered as UID 0.
    pub hotkey: Hotkey,
    /// The coldkey that owns it.
    pub coldkey: [u8; 32],
}

/// A subnet and its hyperparameters. Defaults are the chain's, except where a small test network needs another:
/// those say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetConfig {
    /// Number of the subnet, 1 to 4095. Default 1.
    pub netuid: Netuid,
    /// The owner, if it has one. Default none.
    pub owner: Option<SubnetOwner>,
    /// Neurons at genesis, from UID 0 on, or from 1 when there is an owner.
    pub neurons: Vec<GenesisNeuron>,
    /// Blocks per epoch; 0 never runs one. Default 360.
    pub tempo: u16,
    /// Number of mechanisms, 1 to 15. Default 1.
    pub mechanisms: u8,
    /// Blocks between two weight settings of a hotkey. Default 100.
    pub weights_rate_limit: u64,
    /// Least version key of a weight setting; 0 takes any. Default 0.
    pub weights_version_key: u64,
    /// Least number of weights in a setting. Default 1 (the chain's is 1024).
    pub min_allowed_weights: u16,
    /// Largest share of one weight, in 1/65535. Default 65535, no limit.
    pub max_weights_limit: u16,
    /// Blocks between two announcements of an axon. Default 50.
    pub serving_rate_limit: u64,
    /// Slots. Default 256.
    pub max_uids: u16,
    /// Slots with a validator permit. Default 64.
    pub max_validators: u16,
    /// Blocks for which a new neuron is spared from pruning. Default 4096.
    pub immunity_period: u16,
    /// Neurons out of immunity that must stay. Default 0 (the chain's is 10).
    pub min_non_immune_uids: u16,
    /// Whether registration is open. Default yes.
    pub registration_allowed: bool,
    /// Price of a registration in rao. Default 1e6. It doesn't move.
    pub burn: u64,
    /// Whether weights must be committed first. Default no (the chain's is yes).
    pub commit_reveal: bool,
    /// Epochs from commit to reveal. Default 1.
    pub reveal_period: u64,
}

impl Default for SubnetConfig {
    fn default() -> Self {
        Self {
            netuid: Netuid(1),
            owner: None,
            neurons: Vec::new(),
            tempo: 360,
            mechanisms: 1,
            weights_rate_limit: 100,
            weights_version_key: 0,
            min_allowed_weights: 1,
            max_weights_limit: u16::MAX,
            serving_rate_limit: 50,
            max_uids: 256,
            max_validators: 64,
            immunity_period: 4096,
            min_non_immune_uids: 0,
            registration_allowed: true,
            burn: 1_000_000,
            commit_reveal: false,
            reveal_period: 1,
        }
    }
}

/// What a devnet starts with. The default is one open subnet, blocks on request, a free port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevnetConfig {
    /// Where to listen. Default 127.0.0.1, any free port.
    pub listen: SocketAddr,
    /// When blocks are made. Default [`BlockPace::Manual`].
    pub pace: BlockPace,
    /// Where timestamps come from. Default simulated from 2026-01-01T00:00:00Z.
    pub clock: BlockClock,
    /// Length of a slot: what `Aura.SlotDuration` says, and a step of the simulated clock. Default 12 s.
    pub slot: Duration,
    /// Blocks that finality is behind the head. Default 2.
    pub finality_lag: u64,
    /// Blocks whose state can be read, at least 256. Default 2500; transactions can be mortal over 2400.
    pub retained_blocks: u64,
    /// The runtime's version, where the metadata doesn't say it. Default 425.
    pub spec_version: u32,
    /// In whose terms the runtime speaks. Default its own.
    pub metadata: RuntimeMetadata,
    /// Stake below which a hotkey can't set weights, in 1e-9 alpha. Default 0.
    pub stake_threshold: u64,
    /// The randomness beacon.
    pub beacon: BeaconConfig,
    /// Free balances at genesis, in rao.
    pub endowments: Vec<([u8; 32], u64)>,
    /// The subnets. Default one.
    pub subnets: Vec<SubnetConfig>,
}

impl Default for DevnetConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            pace: BlockPace::Manual,
            clock: BlockClock::Simulated { genesis_millis: 1_767_225_600_000 },
            slot: Duration::from_secs(12),
            finality_lag: 2,
            retained_blocks: 2_500,
            spec_version: 425,
            metadata: RuntimeMetadata::Own,
            stake_threshold: 0,
            beacon: BeaconConfig::default(),
            endowments: Vec::new(),
            subnets: vec![SubnetConfig::default()],
        }
    }
}

/// A hyperparameter and its new value, for [`Devnet::set_hyperparameter`](super::Devnet::set_hyperparameter).
/// Meanings are those of the fields of [`SubnetConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // each is the field of SubnetConfig by the same name
pub enum Hyperparameter {
    /// Also moves the epoch's anchor to the head, as `set_tempo` does on the chain.
    Tempo(u16),
    WeightsRateLimit(u64),
    WeightsVersionKey(u64),
    MinAllowedWeights(u16),
    MaxWeightsLimit(u16),
    ServingRateLimit(u64),
    MaxUids(u16),
    MaxValidators(u16),
    ImmunityPeriod(u16),
    RegistrationAllowed(bool),
    Burn(u64),
    CommitReveal(bool),
    RevealPeriod(u64),
    /// For all subnets.
    StakeThreshold(u64),
}
