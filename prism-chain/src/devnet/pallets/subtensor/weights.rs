//! Setting weights (`subnets/weights.rs`).

use prism_core::{Block, Hotkey, MechanismId, Netuid, Uid};

use super::neurons::replace_element;
use super::{
    COMMIT_REVEAL_ENABLED, Error, Event, LAST_UPDATE, MAX_WEIGHTS_LIMIT, MECHANISM_COUNT, MIN_ALLOWED_WEIGHTS,
    NETWORKS_ADDED, STAKE_THRESHOLD, SUBNETWORK_N, UIDS, VALIDATOR_PERMIT, WEIGHTS, WEIGHTS_SET_RATE_LIMIT,
    WEIGHTS_VERSION_KEY, is_owner, stake,
};
use crate::devnet::dispatch::Execution;
use crate::devnet::ledger::LandedWeights;
use crate::devnet::primitives::{AccountId32, MechId, NetUid, NetUidStorageIndex};
use crate::devnet::state::Read;

fn has_min_stake(state: &impl Read, hotkey: &AccountId32, netuid: NetUid) -> bool {
    is_owner(state, hotkey, netuid) || stake(state, hotkey, netuid) >= STAKE_THRESHOLD.get(state, ())
}

/// A weight vector as calls and commitments carry it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vector<'a> {
    pub(super) uids: &'a [u16],
    pub(super) values: &'a [u16],
    pub(super) version_key: u64,
}

/// Whether the last update lies at least the rate limit back. Zero means never updated.
pub(super) fn passes_rate_limit(
    state: &impl Read,
    netuid: NetUid,
    index: NetUidStorageIndex,
    uid: u16,
    block: u64,
) -> bool {
    let last = LAST_UPDATE.get(state, (index,)).get(usize::from(uid)).copied().unwrap_or(0);
    last == 0 || block.saturating_sub(last) >= WEIGHTS_SET_RATE_LIMIT.get(state, (netuid,))
}

/// What keeps every weights call out of the pool: too little stake.
pub(super) fn check_stake(state: &impl Read, hotkey: &AccountId32, netuid: NetUid) -> Result<(), Error> {
    if has_min_stake(state, hotkey, netuid) { Ok(()) } else { Err(Error::NotEnoughStakeToSetWeights) }
}

/// What keeps a call out of the pool that sets weights or commits to a hash: too little stake, then too short an
/// interval.
pub(super) fn check_pool(
    state: &impl Read,
    block: u64,
    hotkey: &AccountId32,
    netuid: NetUid,
    mechanism: MechId,
) -> Result<(), Error> {
    check_stake(state, hotkey, netuid)?;
    match UIDS.get(state, (netuid, hotkey.clone())) {
        Some(uid) if !passes_rate_limit(state, netuid, NetUidStorageIndex::new(netuid, mechanism), uid, block) => {
            Err(Error::SettingWeightsTooFast)
        }
        _ => Ok(()),
    }
}

/// The checks of `internal_set_weights`, in its order; the signer's UID when they pass. With commit-reveal the interval
/// was checked when the weights were committed.
fn check(
    state: &impl Read,
    block: u64,
    hotkey: &AccountId32,
    (netuid, mechanism): (NetUid, MechId),
    vector: &Vector<'_>,
) -> Result<u16, Error> {
    let Vector { uids, values, version_key } = *vector;
    let refuse_if = |refused: bool, error: Error| if refused { Err(error) } else { Ok(()) };
    refuse_if(netuid == NetUid::ROOT, Error::CanNotSetRootNetworkWeights)?;
    refuse_if(uids.len() != values.len(), Error::WeightVecNotEqualSize)?;
    let exists = NETWORKS_ADDED.get(state, (netuid,)) && mechanism < MECHANISM_COUNT.get(state, (netuid,));
    refuse_if(!exists, Error::MechanismDoesNotExist)?;
    let neurons = SUBNETWORK_N.get(state, (netuid,));
    refuse_if(uids.len() > usize::from(neurons), Error::UidsLengthExceedUidsInSubNet)?;
    let uid = UIDS.get(state, (netuid, hotkey.clone())).ok_or(Error::HotKeyNotRegisteredInSubNet)?;
    refuse_if(!has_min_stake(state, hotkey, netuid), Error::NotEnoughStakeToSetWeights)?;
    let required_key = WEIGHTS_VERSION_KEY.get(state, (netuid,));
    refuse_if(required_key != 0 && version_key < required_key, Error::IncorrectWeightVersionKey)?;
    let index = NetUidStorageIndex::new(netuid, mechanism);
    let is_committed = COMMIT_REVEAL_ENABLED.get(state, (netuid,));
    let is_in_time = is_committed || passes_rate_limit(state, netuid, index, uid, block);
    refuse_if(!is_in_time, Error::SettingWeightsTooFast)?;
    let is_self_weight = uids == [uid];
    let permit = VALIDATOR_PERMIT.get(state, (netuid,)).get(usize::from(uid)).copied().unwrap_or(false);
    refuse_if(!(is_self_weight || permit || is_owner(state, hotkey, netuid)), Error::NeuronNoValidatorPermit)?;
    refuse_if(has_duplicates(uids), Error::DuplicateUids)?;
    refuse_if(uids.iter().any(|uid| *uid >= neurons), Error::UidVecContainInvalidOne)?;
    let min_length = usize::from(MIN_ALLOWED_WEIGHTS.get(state, (netuid,)).min(neurons));
    refuse_if(!is_self_weight && uids.len() < min_length, Error::WeightVecLengthIsLow)?;
    let limit = MAX_WEIGHTS_LIMIT.get(state, (netuid,));
    refuse_if(!is_self_weight && !is_within_limit(&max_upscale(values), limit), Error::MaxWeightExceeded)?;
    Ok(uid)
}

/// Writes a validator's weights when every check passes and commit-reveal is off.
pub(super) fn submit(
    execution: &mut Execution<'_>,
    hotkey: &AccountId32,
    of: (NetUid, MechId),
    vector: &Vector<'_>,
) -> Result<(), Error> {
    if COMMIT_REVEAL_ENABLED.get(execution.state, (of.0,)) {
        return Err(Error::CommitRevealEnabled);
    }
    set(execution, hotkey, of, vector, None)
}

/// Writes a validator's weights when every check passes; `committed` is the block of the timelocked commitment that
/// they come from. With commit-reveal on, the update time stays that of the commitment.
pub(super) fn set(
    execution: &mut Execution<'_>,
    hotkey: &AccountId32,
    (netuid, mechanism): (NetUid, MechId),
    vector: &Vector<'_>,
    committed: Option<Block>,
) -> Result<(), Error> {
    let block = execution.block;
    let uid = check(execution.state, block, hotkey, (netuid, mechanism), vector)?;
    let index = NetUidStorageIndex::new(netuid, mechanism);
    let weights: Vec<_> = vector.uids.iter().copied().zip(max_upscale(vector.values)).collect();
    WEIGHTS.put(execution.state, (index, uid), &weights);
    if !COMMIT_REVEAL_ENABLED.get(execution.state, (netuid,)) {
        LAST_UPDATE.mutate(execution.state, (index,), |updates| replace_element(updates, uid, block));
    }
    execution.deposit(Event::WeightsSet(index, uid));
    execution.entries.landed.push(LandedWeights {
        block: Block(block),
        extrinsic: execution.extrinsic,
        committed,
        netuid: Netuid(netuid.0),
        mechanism: MechanismId(mechanism.0),
        uid: Uid(uid),
        hotkey: Hotkey(*hotkey.as_ref()),
        weights,
    });
    Ok(())
}

fn has_duplicates(uids: &[u16]) -> bool {
    let mut sorted = uids.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
}

/// Scales so that the largest value is 65535, as the runtime does in I32F32 (`vec_u16_max_upscale_to_u16`):
/// above 32768 by the truncated ratio 65535/max, else by the exact quotient, rounded half up.
fn max_upscale(values: &[u16]) -> Vec<u16> {
    const HALF: u128 = 1 << 31;
    let max = u128::from(values.iter().copied().max().unwrap_or(0));
    if max == 0 {
        return values.to_vec();
    }
    let full = u128::from(u16::MAX);
    values
        .iter()
        .map(|value| {
            let value = u128::from(*value);
            let scaled = if max > 32_768 { value * ((full << 32) / max) } else { ((value * full) << 32) / max };
            u16::try_from((scaled + HALF) >> 32).unwrap_or(u16::MAX)
        })
        .collect()
}

/// Whether the largest share is at most `limit / 65535` (`check_vec_max_limited`).
fn is_within_limit(weights: &[u16], limit: u16) -> bool {
    if limit == u16::MAX {
        return true;
    }
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let max = u128::from(weights.iter().copied().max().unwrap_or(0));
    sum == 0 || (max << 32) / sum <= (u128::from(limit) << 32) / u128::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_ALLOWED_UIDS, SUBNET_OWNER_HOTKEY, TOTAL_HOTKEY_ALPHA, register_neuron};
    use super::*;
    use crate::devnet::primitives::AlphaBalance;
    use crate::devnet::state::State;

    const NETUID: NetUid = NetUid(1);
    const MAIN: MechId = MechId(0);

    fn key(n: u8) -> AccountId32 {
        AccountId32::new([n; 32])
    }

    /// Four neurons registered at block 1, commit-reveal off, rate limit 10, minimum length 2; nobody has a permit.
    fn subnet() -> State {
        let mut state = State::default();
        NETWORKS_ADDED.put(&mut state, (NETUID,), &true);
        COMMIT_REVEAL_ENABLED.put(&mut state, (NETUID,), &false);
        WEIGHTS_SET_RATE_LIMIT.put(&mut state, (NETUID,), &10);
        MIN_ALLOWED_WEIGHTS.put(&mut state, (NETUID,), &2);
        MAX_ALLOWED_UIDS.put(&mut state, (NETUID,), &8);
        for n in 0..4 {
            register_neuron(&mut state, 1, NETUID, &key(n)).unwrap();
        }
        state
    }

    #[test]
    fn every_check_has_its_error_and_its_place_in_the_order() {
        let mut state = subnet();
        let mut at = 5;
        // One call that breaks every rule, mended rule by rule.
        let mut netuid = NetUid::ROOT;
        let mut mechanism = MechId(1);
        let (mut uids, mut values) = (vec![0, 1, 1, 9, 3], vec![1_u16]);
        let mut who = key(9);
        let mut version = 1;
        let try_it =
            |state: &State, at, who: &AccountId32, netuid, mechanism, uids: &[u16], values: &[u16], version_key| {
                check(state, at, who, (netuid, mechanism), &Vector { uids, values, version_key })
            };
        STAKE_THRESHOLD.put(&mut state, (), &100);
        WEIGHTS_VERSION_KEY.put(&mut state, (NETUID,), &7);
        MAX_WEIGHTS_LIMIT.put(&mut state, (NETUID,), &30_000);
        macro_rules! expect {
            ($error:ident) => {
                assert_eq!(try_it(&state, at, &who, netuid, mechanism, &uids, &values, version), Err(Error::$error))
            };
        }
        COMMIT_REVEAL_ENABLED.put(&mut state, (NetUid::ROOT,), &false);
        expect!(CanNotSetRootNetworkWeights);
        netuid = NETUID;
        expect!(WeightVecNotEqualSize);
        values = vec![65_535, 1, 1, 1, 1];
        expect!(MechanismDoesNotExist);
        mechanism = MAIN;
        expect!(UidsLengthExceedUidsInSubNet);
        (uids, values) = (vec![0, 0, 9], vec![65_535, 1, 1]);
        expect!(HotKeyNotRegisteredInSubNet);
        who = key(2);
        expect!(NotEnoughStakeToSetWeights);
        TOTAL_HOTKEY_ALPHA.put(&mut state, (key(2), NETUID), &AlphaBalance(100));
        expect!(IncorrectWeightVersionKey);
        version = 7;
        expect!(SettingWeightsTooFast);
        at = 11;
        expect!(NeuronNoValidatorPermit);
        VALIDATOR_PERMIT.put(&mut state, (NETUID,), &vec![false, false, true, false]);
        expect!(DuplicateUids);
        (uids, values) = (vec![9], vec![1]);
        expect!(UidVecContainInvalidOne);
        uids = vec![0];
        expect!(WeightVecLengthIsLow);
        (uids, values) = (vec![0, 1], vec![65_535, 1]);
        expect!(MaxWeightExceeded);
        (uids, values) = (vec![0, 1, 3], vec![1, 1, 1]);
        assert_eq!(try_it(&state, at, &who, netuid, mechanism, &uids, &values, version), Ok(2));
    }

    fn vector<'a>(uids: &'a [u16], values: &'a [u16]) -> Vector<'a> {
        Vector { uids, values, version_key: 0 }
    }

    #[test]
    fn with_commit_reveal_weights_come_only_by_revealing_and_at_any_time() {
        let mut state = subnet();
        VALIDATOR_PERMIT.put(&mut state, (NETUID,), &vec![true; 4]);
        COMMIT_REVEAL_ENABLED.put(&mut state, (NETUID,), &true);
        let mut execution = Execution::new(&mut state, 5, 3);
        let refused = submit(&mut execution, &key(0), (NETUID, MAIN), &vector(&[1, 2], &[1, 2]));
        assert_eq!(refused, Err(Error::CommitRevealEnabled));
        set(&mut execution, &key(0), (NETUID, MAIN), &vector(&[1, 2], &[1, 2]), Some(Block(2))).unwrap();
        assert_eq!(execution.entries.landed.first().unwrap().committed, Some(Block(2)));
        let index = NetUidStorageIndex::new(NETUID, MAIN);
        assert_eq!(LAST_UPDATE.get(&state, (index,)).first(), Some(&1), "as it was when the neuron registered");
    }

    #[test]
    fn a_self_weight_needs_no_permit_no_length_and_no_limit() {
        let mut state = subnet();
        MAX_WEIGHTS_LIMIT.put(&mut state, (NETUID,), &1);
        assert_eq!(check(&state, 20, &key(3), (NETUID, MAIN), &vector(&[3], &[5])), Ok(3));
        assert_eq!(
            check(&state, 20, &key(3), (NETUID, MAIN), &vector(&[2], &[5])),
            Err(Error::NeuronNoValidatorPermit)
        );
    }

    #[test]
    fn the_owner_needs_no_permit_and_no_stake() {
        let mut state = subnet();
        STAKE_THRESHOLD.put(&mut state, (), &1_000);
        SUBNET_OWNER_HOTKEY.put(&mut state, (NETUID,), &key(1));
        assert_eq!(check(&state, 20, &key(1), (NETUID, MAIN), &vector(&[0, 2], &[1, 1])), Ok(1));
        assert_eq!(check_pool(&state, 20, &key(1), NETUID, MAIN), Ok(()));
        assert_eq!(check_pool(&state, 20, &key(2), NETUID, MAIN), Err(Error::NotEnoughStakeToSetWeights));
    }

    #[test]
    fn weights_are_stored_upscaled_and_restart_the_interval() {
        let mut state = subnet();
        VALIDATOR_PERMIT.put(&mut state, (NETUID,), &vec![true; 4]);
        let mut execution = Execution::new(&mut state, 20, 3);
        submit(&mut execution, &key(0), (NETUID, MAIN), &vector(&[1, 2], &[1, 2])).unwrap();
        assert_eq!(execution.entries.landed.len(), 1);
        let index = NetUidStorageIndex::new(NETUID, MAIN);
        assert_eq!(WEIGHTS.get(&state, (index, 0)), [(1, 32_768), (2, 65_535)]);
        assert_eq!(LAST_UPDATE.get(&state, (index,)).first(), Some(&20));
        assert_eq!(check_pool(&state, 29, &key(0), NETUID, MAIN), Err(Error::SettingWeightsTooFast));
        assert_eq!(check_pool(&state, 30, &key(0), NETUID, MAIN), Ok(()));
    }

    #[test]
    fn upscaling_is_the_runtime_s() {
        assert_eq!(max_upscale(&[]), [0_u16; 0]);
        assert_eq!(max_upscale(&[0, 0]), [0, 0]);
        assert_eq!(max_upscale(&[1, 2, 3]), [21_845, 43_690, 65_535]);
        assert_eq!(max_upscale(&[32_768, 16_384]), [65_535, 32_768]);
        assert_eq!(
            max_upscale(&[40_000, 20_000, 1]),
            [65_535, 32_767, 2],
            "32767.5 by a truncated ratio is below the half"
        );
        for upscaled in [vec![65_535, 32_768, 1, 0], vec![65_535, 21_845, 43_690]] {
            assert_eq!(max_upscale(&upscaled), upscaled, "idempotent");
        }
    }

    #[test]
    fn the_limit_is_on_the_largest_share() {
        assert!(is_within_limit(&[65_535, 65_535], 32_768));
        assert!(!is_within_limit(&[65_535, 65_534], 32_767));
        assert!(is_within_limit(&[65_535, 1], u16::MAX));
        assert!(is_within_limit(&[0, 0], 1));
    }
}
