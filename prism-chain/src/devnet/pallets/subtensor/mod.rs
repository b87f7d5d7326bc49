//! SubtensorModule: subnets, neurons, weights.
//!
//! Checks come in the order of the runtime at spec 425 and fail with its error names.

mod commit_reveal;
mod emission;
mod epoch;
mod error;
mod neurons;
mod registration;
mod serving;
mod tempo;
mod timelocked;
mod weights;
mod yuma;

use codec::{Decode, Encode};
use scale_info::TypeInfo;

pub(in crate::devnet) use emission::EMISSION_PER_BLOCK;
pub(in crate::devnet) use epoch::{block_step, epoch_at, next_epoch_start, set_stateful};
pub(in crate::devnet) use error::{Error, PALLET_INDEX};
pub(in crate::devnet) use neurons::{register_neuron, replace_element};
pub(in crate::devnet) use serving::AxonInfo;

use crate::devnet::dispatch::{DispatchError, Execution};
use crate::devnet::primitives::{
    AccountId32, AlphaBalance, H256, MechId, NetUid, NetUidStorageIndex, PerU16, TaoBalance,
};
use crate::devnet::state::Read;
use crate::devnet::storage::{Entry, OrDefault, storage};
use commit_reveal::WeightCommit;
use timelocked::{Sealed, TimelockedCommit};
use weights::Vector;

/// Calls of the SubtensorModule pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types)]
pub(in crate::devnet) enum Call {
    #[codec(index = 0)]
    set_weights { netuid: NetUid, dests: Vec<u16>, weights: Vec<u16>, version_key: u64 },
    #[codec(index = 4)]
    serve_axon {
        netuid: NetUid,
        version: u32,
        ip: u128,
        port: u16,
        ip_type: u8,
        protocol: u8,
        placeholder1: u8,
        placeholder2: u8,
    },
    #[codec(index = 7)]
    burned_register { netuid: NetUid, hotkey: AccountId32 },
    #[codec(index = 96)]
    commit_weights { netuid: NetUid, commit_hash: H256 },
    #[codec(index = 97)]
    reveal_weights { netuid: NetUid, uids: Vec<u16>, values: Vec<u16>, salt: Vec<u16>, version_key: u64 },
    #[codec(index = 113)]
    commit_timelocked_weights { netuid: NetUid, commit: Sealed, reveal_round: u64, commit_reveal_version: u16 },
    #[codec(index = 115)]
    commit_mechanism_weights { netuid: NetUid, mecid: MechId, commit_hash: H256 },
    #[codec(index = 116)]
    reveal_mechanism_weights {
        netuid: NetUid,
        mecid: MechId,
        uids: Vec<u16>,
        values: Vec<u16>,
        salt: Vec<u16>,
        version_key: u64,
    },
    #[codec(index = 118)]
    commit_timelocked_mechanism_weights {
        netuid: NetUid,
        mecid: MechId,
        commit: Sealed,
        reveal_round: u64,
        commit_reveal_version: u16,
    },
    #[codec(index = 119)]
    set_mechanism_weights { netuid: NetUid, mecid: MechId, dests: Vec<u16>, weights: Vec<u16>, version_key: u64 },
    #[codec(index = 134)]
    register_limit { netuid: NetUid, hotkey: AccountId32, limit_price: u64 },
    #[codec(index = 139)]
    set_tempo { netuid: NetUid, tempo: u16 },
    #[codec(index = 141)]
    trigger_epoch { netuid: NetUid },
}

/// Events of the SubtensorModule pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) enum Event {
    #[codec(index = 5)]
    WeightsSet(NetUidStorageIndex, u16),
    #[codec(index = 6)]
    NeuronRegistered(NetUid, u16, AccountId32),
    #[codec(index = 35)]
    AxonServed(NetUid, AccountId32),
    #[codec(index = 50)]
    TempoSet(NetUid, u16),
    #[codec(index = 83)]
    WeightsCommitted(AccountId32, NetUidStorageIndex, H256),
    #[codec(index = 84)]
    WeightsRevealed(AccountId32, NetUidStorageIndex, H256),
    #[codec(index = 105)]
    TimelockedWeightsCommitted(AccountId32, NetUidStorageIndex, H256, u64),
    #[codec(index = 106)]
    TimelockedWeightsRevealed(NetUidStorageIndex, AccountId32),
    #[codec(index = 130)]
    EpochTriggered { netuid: NetUid, by: AccountId32, fires_at: u64 },
}

storage! { "SubtensorModule":
    // Subnets.
    NETWORKS_ADDED "NetworksAdded" [Identity NetUid] -> bool = false;
    NETWORK_REGISTERED_AT "NetworkRegisteredAt" [Identity NetUid] -> u64 = 0;
    SUBNET_OWNER "SubnetOwner" [Identity NetUid] -> AccountId32 = AccountId32::new([0; 32]);
    SUBNET_OWNER_HOTKEY "SubnetOwnerHotkey" [Identity NetUid] -> AccountId32 = AccountId32::new([0; 32]);
    SUBNETWORK_N "SubnetworkN" [Identity NetUid] -> u16 = 0;
    MECHANISM_COUNT "MechanismCountCurrent" [Twox64Concat NetUid] -> MechId = MechId(1);

    // Hyperparameters.
    TEMPO "Tempo" [Identity NetUid] -> u16 = 360;
    WEIGHTS_SET_RATE_LIMIT "WeightsSetRateLimit" [Identity NetUid] -> u64 = 100;
    WEIGHTS_VERSION_KEY "WeightsVersionKey" [Identity NetUid] -> u64 = 0;
    SERVING_RATE_LIMIT "ServingRateLimit" [Identity NetUid] -> u64 = 50;
    MIN_ALLOWED_WEIGHTS "MinAllowedWeights" [Identity NetUid] -> u16 = 1024;
    MAX_WEIGHTS_LIMIT "MaxWeightsLimit" [Identity NetUid] -> u16 = u16::MAX;
    MAX_ALLOWED_UIDS "MaxAllowedUids" [Identity NetUid] -> u16 = 256;
    MAX_ALLOWED_VALIDATORS "MaxAllowedValidators" [Identity NetUid] -> u16 = 64;
    MIN_NON_IMMUNE_UIDS "MinNonImmuneUids" [Identity NetUid] -> u16 = 10;
    IMMUNITY_PERIOD "ImmunityPeriod" [Identity NetUid] -> u16 = 4096;
    KAPPA "Kappa" [Identity NetUid] -> u16 = 32_767;
    BONDS_PENALTY "BondsPenalty" [Identity NetUid] -> u16 = u16::MAX;
    BONDS_MOVING_AVERAGE "BondsMovingAverage" [Identity NetUid] -> u64 = 900_000;
    ADMIN_FREEZE_WINDOW "AdminFreezeWindow" [] -> u16 = 10;
    ACTIVITY_CUTOFF "ActivityCutoff" [Identity NetUid] -> u16 = 5000;
    REGISTRATION_ALLOWED "NetworkRegistrationAllowed" [Identity NetUid] -> bool = false;
    BURN "Burn" [Identity NetUid] -> TaoBalance = TaoBalance(0);
    COMMIT_REVEAL_ENABLED "CommitRevealWeightsEnabled" [Identity NetUid] -> bool = true;
    REVEAL_PERIOD_EPOCHS "RevealPeriodEpochs" [Twox64Concat NetUid] -> u64 = 1;
    COMMIT_REVEAL_VERSION "CommitRevealWeightsVersion" [] -> u16 = 4;
    STAKE_THRESHOLD "StakeThreshold" [] -> u64 = 0;
    TAO_WEIGHT "TaoWeight" [] -> u64 = 0;

    // The epoch schedule.
    LAST_EPOCH_BLOCK "LastEpochBlock" [Identity NetUid] -> u64 = 0;
    PENDING_EPOCH_AT "PendingEpochAt" [Identity NetUid] -> u64 = 0;
    SUBNET_EPOCH_INDEX "SubnetEpochIndex" [Identity NetUid] -> u64 = 0;
    BLOCKS_SINCE_LAST_STEP "BlocksSinceLastStep" [Identity NetUid] -> u64 = 0;
    LAST_STEP_BLOCK "LastMechansimStepBlock" [Identity NetUid] -> u64 = 0;

    // Neurons.
    UIDS "Uids" [Identity NetUid, Blake2_128Concat AccountId32] -> u16;
    KEYS "Keys" [Identity NetUid, Identity u16] -> AccountId32 = AccountId32::new([0; 32]);
    OWNER "Owner" [Blake2_128Concat AccountId32] -> AccountId32 = AccountId32::new([0; 32]);
    IS_NETWORK_MEMBER "IsNetworkMember" [Blake2_128Concat AccountId32, Identity NetUid] -> bool = false;
    BLOCK_AT_REGISTRATION "BlockAtRegistration" [Identity NetUid, Identity u16] -> u64 = 0;
    AXONS "Axons" [Identity NetUid, Blake2_128Concat AccountId32] -> AxonInfo;
    TOTAL_HOTKEY_ALPHA "TotalHotkeyAlpha" [Blake2_128Concat AccountId32, Identity NetUid] -> AlphaBalance
        = AlphaBalance(0);
    ACTIVE "Active" [Identity NetUid] -> Vec<bool> = Vec::new();
    VALIDATOR_PERMIT "ValidatorPermit" [Identity NetUid] -> Vec<bool> = Vec::new();
    STAKE_WEIGHT "StakeWeight" [Identity NetUid] -> Vec<u16> = Vec::new();
    RANK "Rank" [Identity NetUid] -> Vec<u16> = Vec::new();
    TRUST "Trust" [Identity NetUid] -> Vec<u16> = Vec::new();
    PRUNING_SCORES "PruningScores" [Identity NetUid] -> Vec<u16> = Vec::new();
    VALIDATOR_TRUST "ValidatorTrust" [Identity NetUid] -> Vec<PerU16> = Vec::new();
    CONSENSUS "Consensus" [Identity NetUid] -> Vec<PerU16> = Vec::new();
    DIVIDENDS "Dividends" [Identity NetUid] -> Vec<PerU16> = Vec::new();
    EMISSION "Emission" [Identity NetUid] -> Vec<AlphaBalance> = Vec::new();
    INCENTIVE "Incentive" [Identity NetUidStorageIndex] -> Vec<PerU16> = Vec::new();
    LAST_UPDATE "LastUpdate" [Identity NetUidStorageIndex] -> Vec<u64> = Vec::new();
    WEIGHTS "Weights" [Identity NetUidStorageIndex, Identity u16] -> Vec<(u16, u16)> = Vec::new();
    BONDS "Bonds" [Identity NetUidStorageIndex, Identity u16] -> Vec<(u16, u16)> = Vec::new();
    WEIGHT_COMMITS "WeightCommits" [Twox64Concat NetUidStorageIndex, Twox64Concat AccountId32] -> Vec<WeightCommit>;
    TIMELOCKED_WEIGHT_COMMITS "TimelockedWeightCommits" [Twox64Concat NetUidStorageIndex, Twox64Concat u64]
        -> Vec<TimelockedCommit> = Vec::new();
}

/// Whether epochs follow from block numbers, as before dynamic tempo. The runtime's code decides that on the chain; here
/// it is part of the state, so that each block's state answers by its own rule.
pub(in crate::devnet) const CLOSED_FORM_EPOCHS: Entry<(), bool, OrDefault<bool>> =
    Entry::new("Devnet", "ClosedFormEpochs", &[], OrDefault(|| false));

impl Call {
    pub(in crate::devnet) fn dispatch(
        &self,
        execution: &mut Execution<'_>,
        signer: &AccountId32,
    ) -> Result<(), DispatchError> {
        match self {
            Self::set_weights { netuid, dests, weights, version_key } => {
                let vector = Vector { uids: dests, values: weights, version_key: *version_key };
                weights::submit(execution, signer, (*netuid, MechId(0)), &vector)?;
            }
            Self::set_mechanism_weights { netuid, mecid, dests, weights, version_key } => {
                let vector = Vector { uids: dests, values: weights, version_key: *version_key };
                weights::submit(execution, signer, (*netuid, *mecid), &vector)?;
            }
            Self::commit_weights { netuid, commit_hash } => {
                commit_reveal::commit(execution, signer, (*netuid, MechId(0)), *commit_hash)?;
            }
            Self::commit_mechanism_weights { netuid, mecid, commit_hash } => {
                commit_reveal::commit(execution, signer, (*netuid, *mecid), *commit_hash)?;
            }
            Self::reveal_weights { netuid, uids, values, salt, version_key } => {
                let vector = Vector { uids, values, version_key: *version_key };
                commit_reveal::reveal(execution, signer, (*netuid, MechId(0)), &vector, salt)?;
            }
            Self::reveal_mechanism_weights { netuid, mecid, uids, values, salt, version_key } => {
                let vector = Vector { uids, values, version_key: *version_key };
                commit_reveal::reveal(execution, signer, (*netuid, *mecid), &vector, salt)?;
            }
            Self::commit_timelocked_weights { netuid, commit, reveal_round, commit_reveal_version } => {
                let sealed = (commit, *reveal_round);
                timelocked::commit(execution, signer, (*netuid, MechId(0)), sealed, *commit_reveal_version)?;
            }
            Self::commit_timelocked_mechanism_weights {
                netuid,
                mecid,
                commit,
                reveal_round,
                commit_reveal_version,
            } => {
                let sealed = (commit, *reveal_round);
                timelocked::commit(execution, signer, (*netuid, *mecid), sealed, *commit_reveal_version)?;
            }
            Self::serve_axon { netuid, .. } => serving::serve(execution, signer, *netuid, self)?,
            Self::burned_register { netuid, hotkey } => registration::register(execution, signer, *netuid, hotkey)?,
            Self::register_limit { netuid, hotkey, limit_price } => {
                registration::register_limit(execution, signer, *netuid, hotkey, *limit_price)?;
            }
            Self::set_tempo { netuid, tempo } => tempo::set_tempo(execution, signer, *netuid, *tempo)?,
            Self::trigger_epoch { netuid } => tempo::trigger_epoch(execution, signer, *netuid)?,
        }
        Ok(())
    }

    /// The checks that keep a call out of the pool (`SubtensorTransactionExtension`), in the runtime's order:
    /// stake, then rate limits, then serving.
    pub(in crate::devnet) fn check(&self, state: &impl Read, block: u64, signer: &AccountId32) -> Result<(), Error> {
        match self {
            Self::set_weights { netuid, .. } | Self::commit_weights { netuid, .. } => {
                weights::check_pool(state, block, signer, *netuid, MechId(0))
            }
            Self::set_mechanism_weights { netuid, mecid, .. }
            | Self::commit_mechanism_weights { netuid, mecid, .. } => {
                weights::check_pool(state, block, signer, *netuid, *mecid)
            }
            Self::reveal_weights { netuid, uids, values, salt, version_key } => {
                weights::check_stake(state, signer, *netuid)?;
                let vector = Vector { uids, values, version_key: *version_key };
                commit_reveal::check_pool(state, block, signer, (*netuid, MechId(0)), (&vector, salt))
            }
            Self::reveal_mechanism_weights { netuid, mecid, uids, values, salt, version_key } => {
                weights::check_stake(state, signer, *netuid)?;
                let vector = Vector { uids, values, version_key: *version_key };
                commit_reveal::check_pool(state, block, signer, (*netuid, *mecid), (&vector, salt))
            }
            Self::commit_timelocked_weights { netuid, reveal_round, .. }
            | Self::commit_timelocked_mechanism_weights { netuid, reveal_round, .. } => {
                weights::check_stake(state, signer, *netuid)?;
                timelocked::check_pool(state, *reveal_round)
            }
            Self::serve_axon { netuid, .. } => serving::check(state, block, signer, *netuid, self).map(|_| ()),
            Self::burned_register { .. }
            | Self::register_limit { .. }
            | Self::set_tempo { .. }
            | Self::trigger_epoch { .. } => Ok(()),
        }
    }
}

/// Alpha behind a hotkey on a subnet: the whole of its stake on this chain, which has no root stake.
pub(in crate::devnet) fn stake(state: &impl Read, hotkey: &AccountId32, netuid: NetUid) -> u64 {
    TOTAL_HOTKEY_ALPHA.get(state, (hotkey.clone(), netuid)).0
}

/// Whether this is the hotkey of the subnet's owner.
fn is_owner(state: &impl Read, hotkey: &AccountId32, netuid: NetUid) -> bool {
    SUBNET_OWNER_HOTKEY.contains(state, (netuid,)) && SUBNET_OWNER_HOTKEY.get(state, (netuid,)) == *hotkey
}
