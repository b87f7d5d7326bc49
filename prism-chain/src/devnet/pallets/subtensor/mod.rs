//! SubtensorModule: subnets, neurons, weights.
//!
//! Checks come in the order of the runtime at spec 425 and fail with its error names.

mod epoch;
mod error;
mod neurons;
mod registration;
mod serving;
mod weights;

use codec::{Decode, Encode};
use scale_info::TypeInfo;

pub(in crate::devnet) use epoch::{block_step, next_epoch_start};
pub(in crate::devnet) use error::{Error, PALLET_INDEX};
pub(in crate::devnet) use neurons::{register_neuron, replace_element};
pub(in crate::devnet) use serving::AxonInfo;

use crate::devnet::dispatch::{DispatchError, Execution};
use crate::devnet::primitives::{AccountId32, AlphaBalance, MechId, NetUid, NetUidStorageIndex, PerU16, TaoBalance};
use crate::devnet::state::Read;
use crate::devnet::storage::storage;

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
    #[codec(index = 119)]
    set_mechanism_weights { netuid: NetUid, mecid: MechId, dests: Vec<u16>, weights: Vec<u16>, version_key: u64 },
    #[codec(index = 134)]
    register_limit { netuid: NetUid, hotkey: AccountId32, limit_price: u64 },
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
    VALIDATOR_TRUST "ValidatorTrust" [Identity NetUid] -> Vec<PerU16> = Vec::new();
    CONSENSUS "Consensus" [Identity NetUid] -> Vec<PerU16> = Vec::new();
    DIVIDENDS "Dividends" [Identity NetUid] -> Vec<PerU16> = Vec::new();
    EMISSION "Emission" [Identity NetUid] -> Vec<AlphaBalance> = Vec::new();
    INCENTIVE "Incentive" [Identity NetUidStorageIndex] -> Vec<PerU16> = Vec::new();
    LAST_UPDATE "LastUpdate" [Identity NetUidStorageIndex] -> Vec<u64> = Vec::new();
    WEIGHTS "Weights" [Identity NetUidStorageIndex, Identity u16] -> Vec<(u16, u16)> = Vec::new();
    BONDS "Bonds" [Identity NetUidStorageIndex, Identity u16] -> Vec<(u16, u16)> = Vec::new();
}

impl Call {
    pub(in crate::devnet) fn dispatch(
        &self,
        execution: &mut Execution<'_>,
        signer: &AccountId32,
    ) -> Result<(), DispatchError> {
        match self {
            Self::set_weights { netuid, dests, weights, version_key } => {
                weights::set(execution, signer, *netuid, MechId(0), dests, weights, *version_key)?;
            }
            Self::set_mechanism_weights { netuid, mecid, dests, weights, version_key } => {
                weights::set(execution, signer, *netuid, *mecid, dests, weights, *version_key)?;
            }
            Self::serve_axon { netuid, .. } => serving::serve(execution, signer, *netuid, self)?,
            Self::burned_register { netuid, hotkey } => registration::register(execution, signer, *netuid, hotkey)?,
            Self::register_limit { netuid, hotkey, limit_price } => {
                registration::register_limit(execution, signer, *netuid, hotkey, *limit_price)?;
            }
        }
        Ok(())
    }

    /// The checks that keep a call out of the pool (`SubtensorTransactionExtension`), in the runtime's order:
    /// stake, then rate limits, then serving.
    pub(in crate::devnet) fn check(&self, state: &impl Read, block: u64, signer: &AccountId32) -> Result<(), Error> {
        match self {
            Self::set_weights { netuid, .. } => weights::check_pool(state, block, signer, *netuid, MechId(0)),
            Self::set_mechanism_weights { netuid, mecid, .. } => {
                weights::check_pool(state, block, signer, *netuid, *mecid)
            }
            Self::serve_axon { netuid, .. } => serving::check(state, block, signer, *netuid, self).map(|_| ()),
            Self::burned_register { .. } | Self::register_limit { .. } => Ok(()),
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
