//! What an epoch writes: Yuma consensus of each mechanism, put together (`subnets/mechanism.rs`,
//! `epoch_with_mechanisms`).

use super::commit_reveal::{block_of, is_expired};
use super::yuma::{self, Inputs, Outcome};
use super::{
    ACTIVE, ACTIVITY_CUTOFF, BLOCK_AT_REGISTRATION, BLOCKS_SINCE_LAST_STEP, BONDS, BONDS_MOVING_AVERAGE, BONDS_PENALTY,
    COMMIT_REVEAL_ENABLED, CONSENSUS, DIVIDENDS, EMISSION, INCENTIVE, KAPPA, KEYS, LAST_UPDATE, MAX_ALLOWED_VALIDATORS,
    MECHANISM_COUNT, PRUNING_SCORES, RANK, STAKE_THRESHOLD, STAKE_WEIGHT, SUBNET_OWNER_HOTKEY, SUBNETWORK_N, TEMPO,
    TIMELOCKED_WEIGHT_COMMITS, TRUST, UIDS, VALIDATOR_PERMIT, VALIDATOR_TRUST, WEIGHT_COMMITS, WEIGHTS, stake,
};
use crate::devnet::fixed::Fixed;
use crate::devnet::primitives::{AccountId32, AlphaBalance, MechId, NetUid, NetUidStorageIndex, PerU16};
use crate::devnet::state::State;

/// What a block adds to the next epoch's emission, in 1e-9 alpha: one alpha, less the owner's cut of 11796/65535.
pub(in crate::devnet) const EMISSION_PER_BLOCK: u64 = 820_004_577;

/// Runs Yuma consensus for every mechanism of a subnet and stores what comes out.
pub(super) fn run(state: &mut State, block: u64, netuid: NetUid) {
    let common = inputs(state, block, netuid);
    let blocks = BLOCKS_SINCE_LAST_STEP.get(state, (netuid,));
    let emission = blocks.saturating_mul(EMISSION_PER_BLOCK);
    let mechanisms = u64::from(MECHANISM_COUNT.get(state, (netuid,)).0.max(1));
    let mut outcomes = Vec::new();
    for (mechanism, part) in (0_u8..).zip(split(emission, mechanisms)) {
        let index = NetUidStorageIndex::new(netuid, MechId(mechanism));
        let inputs = Inputs { emission: part, ..of_mechanism(state, block, netuid, index, &common) };
        let outcome = yuma::epoch(&inputs);
        store_mechanism(state, index, &inputs, &outcome);
        outcomes.push(outcome);
    }
    store(state, netuid, &outcomes);
}

/// Equal parts, the remainder with the first.
fn split(amount: u64, parts: u64) -> Vec<u64> {
    let part = amount.checked_div(parts).unwrap_or(0);
    let first = amount.saturating_sub(part.saturating_mul(parts.saturating_sub(1)));
    std::iter::once(first).chain(std::iter::repeat(part)).take(usize::try_from(parts).unwrap_or(0)).collect()
}

fn inputs(state: &State, block: u64, netuid: NetUid) -> Inputs {
    let neurons = 0..SUBNETWORK_N.get(state, (netuid,));
    let threshold = STAKE_THRESHOLD.get(state, ());
    let owner = SUBNET_OWNER_HOTKEY.contains(state, (netuid,)).then(|| SUBNET_OWNER_HOTKEY.get(state, (netuid,)));
    let staked = |uid| {
        let hotkey: AccountId32 = KEYS.get(state, (netuid, uid));
        Some(stake(state, &hotkey, netuid)).filter(|stake| *stake >= threshold).unwrap_or(0)
    };
    Inputs {
        block,
        tempo: TEMPO.get(state, (netuid,)),
        activity_cutoff: u64::from(ACTIVITY_CUTOFF.get(state, (netuid,))),
        stake: neurons.clone().map(staked).collect(),
        permits: VALIDATOR_PERMIT.get(state, (netuid,)),
        max_validators: MAX_ALLOWED_VALIDATORS.get(state, (netuid,)),
        registered: neurons.map(|uid| BLOCK_AT_REGISTRATION.get(state, (netuid, uid))).collect(),
        owner: owner.and_then(|owner| UIDS.get(state, (netuid, owner))),
        kappa: KAPPA.get(state, (netuid,)),
        bonds_penalty: BONDS_PENALTY.get(state, (netuid,)),
        bonds_moving_average: BONDS_MOVING_AVERAGE.get(state, (netuid,)),
        ..Inputs::default()
    }
}

fn of_mechanism(state: &State, block: u64, netuid: NetUid, index: NetUidStorageIndex, common: &Inputs) -> Inputs {
    let neurons = 0..SUBNETWORK_N.get(state, (netuid,));
    let mut last_update = LAST_UPDATE.get(state, (index,));
    last_update.resize(common.stake.len(), 0);
    Inputs {
        last_update,
        committed: committed(state, block, netuid, index, common.stake.len()),
        weights: neurons.clone().map(|uid| WEIGHTS.get(state, (index, uid))).collect(),
        bonds: neurons.map(|uid| BONDS.get(state, (index, uid))).collect(),
        ..common.clone()
    }
}

/// The block of each neuron's oldest open commitment. Weights that it will reveal can't mean a neuron that came later.
fn committed(state: &State, block: u64, netuid: NetUid, index: NetUidStorageIndex, count: usize) -> Vec<Option<u64>> {
    let mut oldest = vec![None; count];
    if !COMMIT_REVEAL_ENABLED.get(state, (netuid,)) {
        return oldest;
    }
    let mut note = |hotkey: AccountId32, at: u64| {
        let uid = UIDS.get(state, (netuid, hotkey)).map(usize::from);
        if let Some(cell) = uid.and_then(|uid| oldest.get_mut(uid)) {
            *cell = Some(cell.map_or(at, |before: u64| before.min(at)));
        }
    };
    for key in state.keys(&WEIGHT_COMMITS.prefix_of(&index)) {
        let Some(account) = key.last_chunk::<32>().map(|bytes| AccountId32::new(*bytes)) else { continue };
        let commits = WEIGHT_COMMITS.get(state, (index, account.clone())).unwrap_or_default();
        for commit in commits.iter().filter(|commit| !is_expired(state, netuid, block, commit)) {
            note(account.clone(), block_of(state, commit));
        }
    }
    for key in state.keys(&TIMELOCKED_WEIGHT_COMMITS.prefix_of(&index)) {
        let Some(epoch) = key.last_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else { continue };
        // Those whose reveal epoch has passed are gone by now.
        for (hotkey, at, ..) in TIMELOCKED_WEIGHT_COMMITS.get(state, (index, epoch)) {
            note(hotkey, at);
        }
    }
    oldest
}

fn store_mechanism(state: &mut State, index: NetUidStorageIndex, inputs: &Inputs, outcome: &Outcome) {
    let incentive = outcome.incentive.iter().map(|share| PerU16(share.to_share())).collect();
    INCENTIVE.put(state, (index,), &incentive);
    for ((uid, bonds), permit) in (0_u16..).zip(&outcome.bonds).zip(&outcome.new_permits) {
        let had_permit = inputs.permits.get(usize::from(uid)).copied().unwrap_or(false);
        if *permit {
            BONDS.put(state, (index, uid), &bonds.iter().map(|(to, bond)| (*to, bond.to_share())).collect());
        } else if had_permit {
            BONDS.put(state, (index, uid), &Vec::new());
        }
    }
}

fn store(state: &mut State, netuid: NetUid, outcomes: &[Outcome]) {
    let Some(first) = outcomes.first() else { return };
    let count = first.stake.len();
    let part = Fixed::ratio(1, outcomes.len() as u128);
    // Shares of equal mechanisms are averaged; a single one keeps its own to the last bit.
    let shares = |of: fn(&Outcome) -> &Vec<Fixed>| -> Vec<u16> {
        let share = |uid: usize| -> Fixed {
            outcomes.iter().filter_map(|outcome| of(outcome).get(uid)).map(|share| share.times(part)).sum()
        };
        (0..count).map(|uid| share(uid).to_share()).collect()
    };
    let typed = |shares: Vec<u16>| -> Vec<PerU16> { shares.into_iter().map(PerU16).collect() };
    let paid = |uid: usize| -> u64 { outcomes.iter().filter_map(|outcome| outcome.emission.get(uid)).sum() };
    ACTIVE.put(state, (netuid,), &first.active);
    STAKE_WEIGHT.put(state, (netuid,), &shares(|outcome| &outcome.stake));
    VALIDATOR_PERMIT.put(state, (netuid,), &first.new_permits);
    CONSENSUS.put(state, (netuid,), &typed(shares(|outcome| &outcome.consensus)));
    VALIDATOR_TRUST.put(state, (netuid,), &typed(shares(|outcome| &outcome.validator_trust)));
    DIVIDENDS.put(state, (netuid,), &typed(shares(|outcome| &outcome.dividends)));
    RANK.put(state, (netuid,), &shares(|outcome| &outcome.incentive));
    TRUST.put(state, (netuid,), &shares(|outcome| &outcome.trust));
    EMISSION.put(state, (netuid,), &(0..count).map(|uid| AlphaBalance(paid(uid))).collect());
    let largest = first.pruning.iter().copied().max().unwrap_or_default();
    let pruning = first.pruning.iter().map(|score| score.over(largest).to_share()).collect();
    PRUNING_SCORES.put(state, (netuid,), &pruning);
}
