//! Registration by burning TAO (`subnets/registration.rs`).

use super::super::balances;
use super::neurons::{register_neuron, to_prune};
use super::{BURN, Error, Event, MAX_ALLOWED_UIDS, NETWORKS_ADDED, OWNER, REGISTRATION_ALLOWED, SUBNETWORK_N, UIDS};
use crate::devnet::dispatch::Execution;
use crate::devnet::primitives::{AccountId32, NetUid};
use crate::devnet::state::Read;

/// Registers `hotkey` and lets `coldkey` pay the burn.
pub(super) fn register(
    execution: &mut Execution<'_>,
    coldkey: &AccountId32,
    netuid: NetUid,
    hotkey: &AccountId32,
) -> Result<(), Error> {
    check(execution.state, execution.block, coldkey, netuid, hotkey)?;
    let cost = BURN.get(execution.state, (netuid,)).0;
    if !OWNER.contains(execution.state, (hotkey.clone(),)) {
        OWNER.put(execution.state, (hotkey.clone(),), coldkey);
    }
    balances::burn(execution, coldkey, cost);
    let uid = register_neuron(execution.state, execution.block, netuid, hotkey)?;
    execution.deposit(Event::NeuronRegistered(netuid, uid, hotkey.clone()));
    Ok(())
}

/// [`register`], unless the burn is above `limit`.
pub(super) fn register_limit(
    execution: &mut Execution<'_>,
    coldkey: &AccountId32,
    netuid: NetUid,
    hotkey: &AccountId32,
    limit: u64,
) -> Result<(), Error> {
    exists(execution.state, netuid)?;
    if BURN.get(execution.state, (netuid,)).0 > limit {
        return Err(Error::RegistrationPriceLimitExceeded);
    }
    register(execution, coldkey, netuid, hotkey)
}

fn exists(state: &impl Read, netuid: NetUid) -> Result<(), Error> {
    if netuid == NetUid::ROOT {
        return Err(Error::RegistrationNotPermittedOnRootSubnet);
    }
    if !NETWORKS_ADDED.get(state, (netuid,)) {
        return Err(Error::SubnetNotExists);
    }
    Ok(())
}

fn check(
    state: &impl Read,
    block: u64,
    coldkey: &AccountId32,
    netuid: NetUid,
    hotkey: &AccountId32,
) -> Result<(), Error> {
    exists(state, netuid)?;
    if !REGISTRATION_ALLOWED.get(state, (netuid,)) {
        return Err(Error::SubNetRegistrationDisabled);
    }
    if UIDS.contains(state, (netuid, hotkey.clone())) {
        return Err(Error::HotKeyAlreadyRegisteredInSubNet);
    }
    if balances::spendable(state, coldkey) < BURN.get(state, (netuid,)).0 {
        return Err(Error::NotEnoughBalanceToStake);
    }
    if OWNER.contains(state, (hotkey.clone(),)) && OWNER.get(state, (hotkey.clone(),)) != *coldkey {
        return Err(Error::NonAssociatedColdKey);
    }
    let slots = MAX_ALLOWED_UIDS.get(state, (netuid,));
    let full = SUBNETWORK_N.get(state, (netuid,)) >= slots;
    if slots == 0 || (full && to_prune(state, block, netuid).is_none()) {
        return Err(Error::NoNeuronIdAvailable);
    }
    Ok(())
}
