//! Slots of a subnet: appending, replacing, choosing whom to replace.

use super::{
    ACTIVE, AXONS, BLOCK_AT_REGISTRATION, BONDS, CONSENSUS, DIVIDENDS, EMISSION, Error, IMMUNITY_PERIOD, INCENTIVE,
    IS_NETWORK_MEMBER, KEYS, LAST_UPDATE, MAX_ALLOWED_UIDS, MECHANISM_COUNT, MIN_NON_IMMUNE_UIDS, SUBNETWORK_N, UIDS,
    VALIDATOR_PERMIT, VALIDATOR_TRUST, WEIGHTS, is_owner,
};
use crate::devnet::primitives::{AccountId32, AlphaBalance, MechId, NetUid, NetUidStorageIndex, PerU16};
use crate::devnet::state::{Read, State};

/// Sets element `uid` of a per-neuron vector, growing it with defaults where it is short.
pub(in crate::devnet) fn replace_element<T: Clone + Default>(vector: &mut Vec<T>, uid: u16, value: T) {
    let index = usize::from(uid);
    if vector.len() <= index {
        vector.resize(index + 1, T::default());
    }
    if let Some(element) = vector.get_mut(index) {
        *element = value;
    }
}

fn mechanisms(state: &impl Read, netuid: NetUid) -> Vec<NetUidStorageIndex> {
    let count = MECHANISM_COUNT.get(state, (netuid,)).0;
    (0..count).map(|mechanism| NetUidStorageIndex::new(netuid, MechId(mechanism))).collect()
}

/// Gives `hotkey` a slot, the next free one or that of the neuron to prune.
pub(in crate::devnet) fn register_neuron(
    state: &mut State,
    block: u64,
    netuid: NetUid,
    hotkey: &AccountId32,
) -> Result<u16, Error> {
    let filled = SUBNETWORK_N.get(state, (netuid,));
    if filled < MAX_ALLOWED_UIDS.get(state, (netuid,)) {
        append(state, block, netuid, filled, hotkey);
        return Ok(filled);
    }
    let uid = to_prune(state, block, netuid).ok_or(Error::NoNeuronIdAvailable)?;
    replace(state, block, netuid, uid, hotkey);
    Ok(uid)
}

fn append(state: &mut State, block: u64, netuid: NetUid, uid: u16, hotkey: &AccountId32) {
    SUBNETWORK_N.put(state, (netuid,), &uid.saturating_add(1));
    ACTIVE.mutate(state, (netuid,), |v| replace_element(v, uid, true));
    VALIDATOR_PERMIT.mutate(state, (netuid,), |v| replace_element(v, uid, false));
    VALIDATOR_TRUST.mutate(state, (netuid,), |v| replace_element(v, uid, PerU16(0)));
    CONSENSUS.mutate(state, (netuid,), |v| replace_element(v, uid, PerU16(0)));
    DIVIDENDS.mutate(state, (netuid,), |v| replace_element(v, uid, PerU16(0)));
    EMISSION.mutate(state, (netuid,), |v| replace_element(v, uid, AlphaBalance(0)));
    for index in mechanisms(state, netuid) {
        INCENTIVE.mutate(state, (index,), |v| replace_element(v, uid, PerU16(0)));
        LAST_UPDATE.mutate(state, (index,), |v| replace_element(v, uid, block));
    }
    seat(state, block, netuid, uid, hotkey);
}

fn seat(state: &mut State, block: u64, netuid: NetUid, uid: u16, hotkey: &AccountId32) {
    KEYS.put(state, (netuid, uid), hotkey);
    UIDS.put(state, (netuid, hotkey.clone()), &uid);
    BLOCK_AT_REGISTRATION.put(state, (netuid, uid), &block);
    IS_NETWORK_MEMBER.put(state, (hotkey.clone(), netuid), &true);
}

/// Hands the slot on. As on the chain, its permit and its last update stay until the next epoch and the next update.
fn replace(state: &mut State, block: u64, netuid: NetUid, uid: u16, hotkey: &AccountId32) {
    let old = KEYS.get(state, (netuid, uid));
    UIDS.remove(state, (netuid, old.clone()));
    IS_NETWORK_MEMBER.remove(state, (old.clone(), netuid));
    AXONS.remove(state, (netuid, old));
    ACTIVE.mutate(state, (netuid,), |v| replace_element(v, uid, true));
    seat(state, block, netuid, uid, hotkey);
    clear(state, netuid, uid);
}

/// Forgets what was earned by, set by and set for the slot.
fn clear(state: &mut State, netuid: NetUid, uid: u16) {
    EMISSION.mutate(state, (netuid,), |v| replace_element(v, uid, AlphaBalance(0)));
    CONSENSUS.mutate(state, (netuid,), |v| replace_element(v, uid, PerU16(0)));
    DIVIDENDS.mutate(state, (netuid,), |v| replace_element(v, uid, PerU16(0)));
    let filled = SUBNETWORK_N.get(state, (netuid,));
    for index in mechanisms(state, netuid) {
        INCENTIVE.mutate(state, (index,), |v| replace_element(v, uid, PerU16(0)));
        BONDS.remove(state, (index, uid));
        WEIGHTS.remove(state, (index, uid));
        for from in 0..filled {
            let weights = WEIGHTS.get(state, (index, from));
            if weights.iter().any(|(to, weight)| *to == uid && *weight > 0) {
                let weights: Vec<_> =
                    weights.into_iter().map(|(to, weight)| (to, if to == uid { 0 } else { weight })).collect();
                WEIGHTS.put(state, (index, from), &weights);
            }
        }
    }
}

/// The neuron to prune: lowest emission, then earliest registration, then lowest UID; those out of immunity first.
/// The owner's hotkey is never pruned.
pub(super) fn to_prune(state: &impl Read, block: u64, netuid: NetUid) -> Option<u16> {
    let emissions = EMISSION.get(state, (netuid,));
    let immunity = u64::from(IMMUNITY_PERIOD.get(state, (netuid,)));
    let mut free = 0_u16;
    let mut best: [Option<(u64, u64, u16)>; 2] = [None, None];
    let [best_free, best_immune] = &mut best;
    for uid in 0..SUBNETWORK_N.get(state, (netuid,)) {
        if is_owner(state, &KEYS.get(state, (netuid, uid)), netuid) {
            continue;
        }
        let registered = BLOCK_AT_REGISTRATION.get(state, (netuid, uid));
        let emission = emissions.get(usize::from(uid)).map_or(0, |emission| emission.0);
        let candidate = (emission, registered, uid);
        let slot = if block.saturating_sub(registered) < immunity {
            &mut *best_immune
        } else {
            free = free.saturating_add(1);
            &mut *best_free
        };
        if slot.is_none_or(|best| candidate < best) {
            *slot = Some(candidate);
        }
    }
    let chosen = if free > MIN_NON_IMMUNE_UIDS.get(state, (netuid,)) { *best_free } else { None };
    chosen.or(*best_immune).map(|(_, _, uid)| uid)
}

#[cfg(test)]
mod tests {
    use super::super::{IMMUNITY_PERIOD, SUBNET_OWNER_HOTKEY};
    use super::*;

    const NETUID: NetUid = NetUid(1);

    fn key(n: u8) -> AccountId32 {
        AccountId32::new([n; 32])
    }

    /// Three neurons registered at blocks 10, 20, 30, a full subnet, immunity of 100 blocks.
    fn full_subnet() -> State {
        let mut state = State::default();
        MAX_ALLOWED_UIDS.put(&mut state, (NETUID,), &3);
        IMMUNITY_PERIOD.put(&mut state, (NETUID,), &100);
        MIN_NON_IMMUNE_UIDS.put(&mut state, (NETUID,), &0);
        for n in 0..3_u8 {
            let uid = register_neuron(&mut state, u64::from(n + 1) * 10, NETUID, &key(n)).unwrap();
            assert_eq!(uid, u16::from(n));
        }
        state
    }

    #[test]
    fn out_of_immunity_the_lowest_emission_goes() {
        let mut state = full_subnet();
        EMISSION.put(&mut state, (NETUID,), &vec![AlphaBalance(5), AlphaBalance(3), AlphaBalance(4)]);
        assert_eq!(to_prune(&state, 1000, NETUID), Some(1));
    }

    #[test]
    fn equal_emissions_prune_the_earliest_and_immune_ones_are_spared() {
        let state = full_subnet();
        assert_eq!(to_prune(&state, 1000, NETUID), Some(0));
        assert_eq!(to_prune(&state, 115, NETUID), Some(0), "only uid 0 is out of immunity");
        assert_eq!(to_prune(&state, 31, NETUID), Some(0), "all immune: the earliest of them");
    }

    #[test]
    fn the_owner_hotkey_is_never_pruned() {
        let mut state = full_subnet();
        SUBNET_OWNER_HOTKEY.put(&mut state, (NETUID,), &key(0));
        assert_eq!(to_prune(&state, 1000, NETUID), Some(1));
    }

    #[test]
    fn a_recycled_slot_has_a_new_hotkey_and_nothing_of_the_old_one() {
        let mut state = full_subnet();
        let index = NetUidStorageIndex::new(NETUID, MechId(0));
        WEIGHTS.put(&mut state, (index, 0), &vec![(1, 7)]);
        WEIGHTS.put(&mut state, (index, 2), &vec![(0, 9), (1, 65535)]);
        assert_eq!(register_neuron(&mut state, 1000, NETUID, &key(9)), Ok(0));
        assert_eq!(UIDS.get(&state, (NETUID, key(0))), None);
        assert_eq!(UIDS.get(&state, (NETUID, key(9))), Some(0));
        assert_eq!(KEYS.get(&state, (NETUID, 0)), key(9));
        assert_eq!(BLOCK_AT_REGISTRATION.get(&state, (NETUID, 0)), 1000);
        assert_eq!(SUBNETWORK_N.get(&state, (NETUID,)), 3);
        assert!(!WEIGHTS.contains(&state, (index, 0)), "weights set by the old neuron");
        assert_eq!(WEIGHTS.get(&state, (index, 2)), vec![(0, 0), (1, 65535)], "weights set for the old neuron");
    }
}
