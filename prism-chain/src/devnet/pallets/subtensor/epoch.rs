//! The stateful epoch schedule, and what an epoch recomputes (`coinbase/run_coinbase.rs`).

use super::{
    BLOCKS_SINCE_LAST_STEP, KEYS, LAST_EPOCH_BLOCK, LAST_STEP_BLOCK, MAX_ALLOWED_VALIDATORS, PENDING_EPOCH_AT,
    STAKE_THRESHOLD, SUBNET_EPOCH_INDEX, SUBNETWORK_N, TEMPO, VALIDATOR_PERMIT, stake,
};
use crate::devnet::dispatch::Execution;
use crate::devnet::primitives::{AccountId32, NetUid};
use crate::devnet::state::{Read, State};

/// Epochs run in one block; further ones wait for the next block.
const MAX_EPOCHS_PER_BLOCK: usize = 2;
/// Blocks without a step after which an epoch runs whatever the anchor says.
const MAX_TEMPO: u64 = 50_400;

fn is_due(state: &impl Read, netuid: NetUid, block: u64) -> bool {
    let tempo = u64::from(TEMPO.get(state, (netuid,)));
    let pending = PENDING_EPOCH_AT.get(state, (netuid,));
    tempo != 0
        && ((pending > 0 && block >= pending)
            || BLOCKS_SINCE_LAST_STEP.get(state, (netuid,)) > MAX_TEMPO
            || block.saturating_sub(LAST_EPOCH_BLOCK.get(state, (netuid,))) >= tempo)
}

/// The block at which the next epoch is expected; `None` for a subnet that doesn't run.
pub(in crate::devnet) fn next_epoch_start(state: &impl Read, netuid: NetUid) -> Option<u64> {
    let tempo = u64::from(TEMPO.get(state, (netuid,)));
    if tempo == 0 {
        return None;
    }
    let regular = LAST_EPOCH_BLOCK.get(state, (netuid,)).saturating_add(tempo);
    let pending = PENDING_EPOCH_AT.get(state, (netuid,));
    Some(if pending > 0 { regular.min(pending) } else { regular })
}

/// What happens at the start of every block: epochs that are due.
pub(in crate::devnet) fn block_step(execution: &mut Execution<'_>, subnets: &[NetUid]) {
    let block = execution.block;
    let mut ran = 0;
    for netuid in subnets.iter().copied() {
        let state = &mut *execution.state;
        BLOCKS_SINCE_LAST_STEP.mutate(state, (netuid,), |blocks| *blocks = blocks.saturating_add(1));
        if ran < MAX_EPOCHS_PER_BLOCK && is_due(state, netuid, block) {
            ran += 1;
            LAST_EPOCH_BLOCK.put(state, (netuid,), &block);
            LAST_STEP_BLOCK.put(state, (netuid,), &block);
            PENDING_EPOCH_AT.put(state, (netuid,), &0);
            SUBNET_EPOCH_INDEX.mutate(state, (netuid,), |index| *index = index.saturating_add(1));
            BLOCKS_SINCE_LAST_STEP.put(state, (netuid,), &0);
            update_permits(state, netuid);
        }
    }
}

/// Permits go to the neurons with the most stake, none to those below the stake threshold or without stake.
/// Of equal stakes the higher UID wins (`epoch/math.rs`, `is_topk_nonzero`).
fn update_permits(state: &mut State, netuid: NetUid) {
    let threshold = STAKE_THRESHOLD.get(state, ());
    let neurons = SUBNETWORK_N.get(state, (netuid,));
    let stakes: Vec<u64> = (0..neurons)
        .map(|uid| {
            let hotkey: AccountId32 = KEYS.get(state, (netuid, uid));
            Some(stake(state, &hotkey, netuid)).filter(|stake| *stake >= threshold).unwrap_or(0)
        })
        .collect();
    let seats = usize::from(MAX_ALLOWED_VALIDATORS.get(state, (netuid,)));
    VALIDATOR_PERMIT.put(state, (netuid,), &top_nonzero(&stakes, seats));
}

fn top_nonzero(stakes: &[u64], seats: usize) -> Vec<bool> {
    let mut ranked: Vec<_> = stakes.iter().copied().enumerate().collect();
    ranked.sort_by_key(|(uid, stake)| std::cmp::Reverse((*stake, *uid)));
    let mut permits = vec![false; stakes.len()];
    for (uid, stake) in ranked.into_iter().take(seats) {
        if let Some(permit) = permits.get_mut(uid) {
            *permit = stake > 0;
        }
    }
    permits
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETUID: NetUid = NetUid(1);

    fn run(state: &mut State, blocks: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        let mut epochs = Vec::new();
        for block in blocks {
            let before = SUBNET_EPOCH_INDEX.get(state, (NETUID,));
            block_step(&mut Execution::new(state, block, 0), &[NETUID]);
            if SUBNET_EPOCH_INDEX.get(state, (NETUID,)) > before {
                epochs.push(block);
            }
        }
        epochs
    }

    #[test]
    fn epochs_follow_the_anchor_by_one_tempo() {
        let mut state = State::default();
        TEMPO.put(&mut state, (NETUID,), &50);
        LAST_EPOCH_BLOCK.put(&mut state, (NETUID,), &10);
        assert_eq!(next_epoch_start(&state, NETUID), Some(60));
        assert_eq!(run(&mut state, 11..=170), [60, 110, 160]);
        assert_eq!(BLOCKS_SINCE_LAST_STEP.get(&state, (NETUID,)), 10);
    }

    #[test]
    fn a_pending_epoch_runs_once_and_moves_the_anchor() {
        let mut state = State::default();
        TEMPO.put(&mut state, (NETUID,), &20);
        LAST_EPOCH_BLOCK.put(&mut state, (NETUID,), &80);
        PENDING_EPOCH_AT.put(&mut state, (NETUID,), &95);
        assert_eq!(next_epoch_start(&state, NETUID), Some(95));
        assert_eq!(run(&mut state, 92..=120), [95, 115]);
    }

    #[test]
    fn tempo_zero_never_runs() {
        let mut state = State::default();
        TEMPO.put(&mut state, (NETUID,), &0);
        assert_eq!(next_epoch_start(&state, NETUID), None);
        assert_eq!(run(&mut state, 1..=1000), [0_u64; 0]);
    }

    #[test]
    fn at_most_two_subnets_run_in_a_block_and_the_third_in_the_next() {
        let mut state = State::default();
        let subnets = [NetUid(1), NetUid(2), NetUid(3)];
        for netuid in subnets {
            TEMPO.put(&mut state, (netuid,), &5);
        }
        block_step(&mut Execution::new(&mut state, 5, 0), &subnets);
        assert_eq!(LAST_EPOCH_BLOCK.get(&state, (NetUid(3),)), 0);
        block_step(&mut Execution::new(&mut state, 6, 0), &subnets);
        assert_eq!(LAST_EPOCH_BLOCK.get(&state, (NetUid(3),)), 6);
    }

    #[test]
    fn permits_go_to_the_most_stake() {
        assert_eq!(top_nonzero(&[5, 0, 9, 7], 2), [false, false, true, true]);
        assert_eq!(top_nonzero(&[5, 0, 9], 64), [true, false, true]);
        assert_eq!(top_nonzero(&[4, 4, 4], 2), [false, true, true]);
        assert_eq!(top_nonzero(&[], 2), [false; 0]);
    }
}
