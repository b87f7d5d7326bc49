//! The genesis state, made from the configuration.

use std::collections::BTreeSet;

use super::config::{DevnetConfig, GenesisNeuron, Hyperparameter, SubnetConfig};
use super::dispatch::Execution;
use super::error::DevnetError;
use super::pallets::{balances, subtensor};
use super::primitives::{AccountId32, AlphaBalance, MechId, NetUid, TaoBalance};
use super::state::State;

/// Checks the configuration; the numbers of its subnets, ascending.
pub(super) fn validate(config: &DevnetConfig) -> Result<Vec<NetUid>, DevnetError> {
    let mut netuids = BTreeSet::new();
    for subnet in &config.subnets {
        let netuid = subnet.netuid.0;
        let refuse = |reason: &str| Err(DevnetError::Config(format!("subnet {netuid}: {reason}")));
        if !(1..4096).contains(&netuid) {
            return refuse("number must be 1 to 4095");
        }
        if !netuids.insert(NetUid(netuid)) {
            return refuse("number is used twice");
        }
        if !(1..=15).contains(&subnet.mechanisms) {
            return refuse("mechanisms must be 1 to 15");
        }
        let mut hotkeys = BTreeSet::new();
        if !neurons(subnet).all(|neuron| hotkeys.insert(neuron.hotkey)) {
            return refuse("a hotkey is registered twice");
        }
        if hotkeys.len() > usize::from(subnet.max_uids) {
            return refuse("more neurons than slots");
        }
    }
    if config.slot.is_zero() {
        return Err(DevnetError::Config("slot must be longer than zero".to_owned()));
    }
    Ok(netuids.into_iter().collect())
}

fn neurons(subnet: &SubnetConfig) -> impl Iterator<Item = GenesisNeuron> {
    let owner = subnet.owner.map(|owner| GenesisNeuron {
        hotkey: owner.hotkey,
        coldkey: owner.coldkey,
        stake: 0,
        permit: false,
    });
    owner.into_iter().chain(subnet.neurons.iter().cloned())
}

/// Writes the genesis state.
pub(super) fn build(config: &DevnetConfig, execution: &mut Execution<'_>) {
    let state = &mut *execution.state;
    for (account, rao) in &config.endowments {
        balances::mint(state, &AccountId32::new(*account), *rao);
    }
    subtensor::COMMIT_REVEAL_VERSION.put(state, (), &4);
    subtensor::TAO_WEIGHT.put(state, (), &0);
    subtensor::STAKE_THRESHOLD.put(state, (), &config.stake_threshold);
    for subnet in &config.subnets {
        build_subnet(subnet, state);
    }
}

fn build_subnet(subnet: &SubnetConfig, state: &mut State) {
    let netuid = NetUid(subnet.netuid.0);
    subtensor::NETWORKS_ADDED.put(state, (netuid,), &true);
    subtensor::NETWORK_REGISTERED_AT.put(state, (netuid,), &0);
    subtensor::MECHANISM_COUNT.put(state, (netuid,), &MechId(subnet.mechanisms));
    subtensor::MIN_NON_IMMUNE_UIDS.put(state, (netuid,), &subnet.min_non_immune_uids);
    subtensor::ACTIVITY_CUTOFF.put(state, (netuid,), &5000);
    for parameter in [
        Hyperparameter::Tempo(subnet.tempo),
        Hyperparameter::WeightsRateLimit(subnet.weights_rate_limit),
        Hyperparameter::WeightsVersionKey(subnet.weights_version_key),
        Hyperparameter::MinAllowedWeights(subnet.min_allowed_weights),
        Hyperparameter::MaxWeightsLimit(subnet.max_weights_limit),
        Hyperparameter::ServingRateLimit(subnet.serving_rate_limit),
        Hyperparameter::MaxUids(subnet.max_uids),
        Hyperparameter::MaxValidators(subnet.max_validators),
        Hyperparameter::ImmunityPeriod(subnet.immunity_period),
        Hyperparameter::RegistrationAllowed(subnet.registration_allowed),
        Hyperparameter::Burn(subnet.burn),
        Hyperparameter::CommitReveal(subnet.commit_reveal),
        Hyperparameter::RevealPeriod(subnet.reveal_period),
    ] {
        set(state, 0, netuid, parameter);
    }
    if let Some(owner) = subnet.owner {
        subtensor::SUBNET_OWNER.put(state, (netuid,), &AccountId32::new(owner.coldkey));
        subtensor::SUBNET_OWNER_HOTKEY.put(state, (netuid,), &AccountId32::new(owner.hotkey.0));
    }
    for neuron in neurons(subnet) {
        let hotkey = AccountId32::new(neuron.hotkey.0);
        subtensor::OWNER.put(state, (hotkey.clone(),), &AccountId32::new(neuron.coldkey));
        subtensor::TOTAL_HOTKEY_ALPHA.put(state, (hotkey.clone(), netuid), &AlphaBalance(neuron.stake));
        // `validate` made sure that there are slots.
        if let Ok(uid) = subtensor::register_neuron(state, 0, netuid, &hotkey) {
            subtensor::VALIDATOR_PERMIT.mutate(state, (netuid,), |permits| {
                subtensor::replace_element(permits, uid, neuron.permit);
            });
        }
    }
}

/// Sets a hyperparameter, on a chain whose newest block is `head`.
pub(super) fn set(state: &mut State, head: u64, netuid: NetUid, parameter: Hyperparameter) {
    let key = (netuid,);
    match parameter {
        Hyperparameter::Tempo(value) => {
            subtensor::TEMPO.put(state, key, &value);
            subtensor::LAST_EPOCH_BLOCK.put(state, key, &head);
        }
        Hyperparameter::WeightsRateLimit(value) => subtensor::WEIGHTS_SET_RATE_LIMIT.put(state, key, &value),
        Hyperparameter::WeightsVersionKey(value) => subtensor::WEIGHTS_VERSION_KEY.put(state, key, &value),
        Hyperparameter::MinAllowedWeights(value) => subtensor::MIN_ALLOWED_WEIGHTS.put(state, key, &value),
        Hyperparameter::MaxWeightsLimit(value) => subtensor::MAX_WEIGHTS_LIMIT.put(state, key, &value),
        Hyperparameter::ServingRateLimit(value) => subtensor::SERVING_RATE_LIMIT.put(state, key, &value),
        Hyperparameter::MaxUids(value) => subtensor::MAX_ALLOWED_UIDS.put(state, key, &value),
        Hyperparameter::MaxValidators(value) => subtensor::MAX_ALLOWED_VALIDATORS.put(state, key, &value),
        Hyperparameter::ImmunityPeriod(value) => subtensor::IMMUNITY_PERIOD.put(state, key, &value),
        Hyperparameter::RegistrationAllowed(value) => subtensor::REGISTRATION_ALLOWED.put(state, key, &value),
        Hyperparameter::Burn(value) => subtensor::BURN.put(state, key, &TaoBalance(value)),
        Hyperparameter::CommitReveal(value) => subtensor::COMMIT_REVEAL_ENABLED.put(state, key, &value),
        Hyperparameter::RevealPeriod(value) => subtensor::REVEAL_PERIOD_EPOCHS.put(state, key, &value),
        Hyperparameter::StakeThreshold(value) => subtensor::STAKE_THRESHOLD.put(state, (), &value),
    }
}
