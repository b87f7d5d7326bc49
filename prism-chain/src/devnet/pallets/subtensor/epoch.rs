//! When epochs run (`coinbase/run_coinbase.rs`).

use super::{
    BLOCKS_SINCE_LAST_STEP, CLOSED_FORM_EPOCHS, LAST_EPOCH_BLOCK, LAST_STEP_BLOCK, PENDING_EPOCH_AT,
    REVEAL_PERIOD_EPOCHS, SUBNET_EPOCH_INDEX, TEMPO, emission, timelocked,
};
use crate::devnet::beacon::DevnetBeacon;
use crate::devnet::dispatch::Execution;
use crate::devnet::primitives::NetUid;
use crate::devnet::state::{Read, State};

/// Epochs run in one block; further ones wait for the next block.
const MAX_EPOCHS_PER_BLOCK: usize = 2;
/// Blocks without a step after which an epoch runs whatever the anchor says.
const MAX_TEMPO: u64 = 50_400;

/// Whether epochs follow an anchor in the state, as since dynamic tempo. Before it they followed from the block's number.
pub(super) fn is_stateful(state: &impl Read) -> bool {
    !CLOSED_FORM_EPOCHS.get(state, ())
}

/// The epoch of a block before dynamic tempo: `(block + netuid + 1) / (tempo + 1)`.
pub(super) fn closed_form_epoch(state: &impl Read, netuid: NetUid, block: u64) -> u64 {
    let tempo = u64::from(TEMPO.get(state, (netuid,)));
    block.saturating_add(u64::from(netuid.0) + 1) / (tempo + 1)
}

/// The first and last block in which what was committed in `block` can be revealed, before dynamic tempo.
pub(super) fn closed_form_reveal_blocks(state: &impl Read, netuid: NetUid, block: u64) -> (u64, u64) {
    let length = u64::from(TEMPO.get(state, (netuid,))) + 1;
    let epoch = closed_form_epoch(state, netuid, block).saturating_add(REVEAL_PERIOD_EPOCHS.get(state, (netuid,)));
    let first = epoch.saturating_mul(length).saturating_sub(u64::from(netuid.0) + 1);
    (first, first.saturating_add(length - 1))
}

/// The epoch that `block`, the one being built, belongs to.
pub(in crate::devnet) fn epoch_at(state: &impl Read, netuid: NetUid, block: u64) -> u64 {
    if is_stateful(state) {
        SUBNET_EPOCH_INDEX.get(state, (netuid,)).saturating_add(u64::from(is_due(state, netuid, block)))
    } else {
        closed_form_epoch(state, netuid, block)
    }
}

/// Goes over from epochs by number to epochs by anchor, or back, as a runtime upgrade does: nothing is cut short.
pub(in crate::devnet) fn set_stateful(state: &mut State, subnets: &[NetUid], block: u64, stateful: bool) {
    if is_stateful(state) == stateful {
        return;
    }
    for netuid in subnets.iter().copied().filter(|_| stateful) {
        let epoch = closed_form_epoch(state, netuid, block);
        let length = u64::from(TEMPO.get(state, (netuid,))) + 1;
        let began = epoch.saturating_mul(length).saturating_sub(u64::from(netuid.0) + 1);
        SUBNET_EPOCH_INDEX.put(state, (netuid,), &epoch);
        LAST_EPOCH_BLOCK.put(state, (netuid,), &began);
    }
    CLOSED_FORM_EPOCHS.put(state, (), &!stateful);
}

fn is_due(state: &impl Read, netuid: NetUid, block: u64) -> bool {
    let tempo = u64::from(TEMPO.get(state, (netuid,)));
    if !is_stateful(state) {
        return tempo != 0 && block.saturating_add(u64::from(netuid.0) + 1).is_multiple_of(tempo + 1);
    }
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
    if !is_stateful(state) {
        return None;
    }
    let regular = LAST_EPOCH_BLOCK.get(state, (netuid,)).saturating_add(tempo);
    let pending = PENDING_EPOCH_AT.get(state, (netuid,));
    Some(if pending > 0 { regular.min(pending) } else { regular })
}

/// What happens at the start of every block: commitments whose time has come are opened, then epochs that are due run.
pub(in crate::devnet) fn block_step(execution: &mut Execution<'_>, subnets: &[NetUid], beacon: &DevnetBeacon) {
    for netuid in subnets.iter().copied() {
        timelocked::reveal(execution, netuid, beacon);
    }
    run_epochs(execution, subnets);
}

fn run_epochs(execution: &mut Execution<'_>, subnets: &[NetUid]) {
    let block = execution.block;
    let mut ran = 0;
    for netuid in subnets.iter().copied() {
        let state = &mut *execution.state;
        BLOCKS_SINCE_LAST_STEP.mutate(state, (netuid,), |blocks| *blocks = blocks.saturating_add(1));
        if ran < MAX_EPOCHS_PER_BLOCK && is_due(state, netuid, block) {
            ran += 1;
            LAST_STEP_BLOCK.put(state, (netuid,), &block);
            if is_stateful(state) {
                LAST_EPOCH_BLOCK.put(state, (netuid,), &block);
                PENDING_EPOCH_AT.put(state, (netuid,), &0);
                SUBNET_EPOCH_INDEX.mutate(state, (netuid,), |index| *index = index.saturating_add(1));
            }
            emission::run(state, block, netuid);
            BLOCKS_SINCE_LAST_STEP.put(state, (netuid,), &0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETUID: NetUid = NetUid(1);

    fn run(state: &mut State, blocks: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        let mut epochs = Vec::new();
        for block in blocks {
            let before = SUBNET_EPOCH_INDEX.get(state, (NETUID,));
            run_epochs(&mut Execution::new(state, block, 0), &[NETUID]);
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
    fn before_dynamic_tempo_epochs_follow_from_the_block_s_number() {
        let mut state = State::default();
        TEMPO.put(&mut state, (NETUID,), &10);
        CLOSED_FORM_EPOCHS.put(&mut state, (), &true);
        let mut ran = Vec::new();
        for block in 1..=40 {
            run_epochs(&mut Execution::new(&mut state, block, 0), &[NETUID]);
            if LAST_STEP_BLOCK.get(&state, (NETUID,)) == block {
                ran.push(block);
            }
        }
        assert_eq!(ran, [9, 20, 31], "block + netuid + 1 is a multiple of tempo + 1");
        assert_eq!([8, 9, 19, 20].map(|block| epoch_at(&state, NETUID, block)), [0, 1, 1, 2]);
        assert_eq!(closed_form_reveal_blocks(&state, NETUID, 8), (9, 19));
        // An upgrade takes the epochs over: the next is one tempo after the last.
        set_stateful(&mut state, &[NETUID], 40, true);
        assert_eq!((epoch_at(&state, NETUID, 40), next_epoch_start(&state, NETUID)), (3, Some(41)));
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
        run_epochs(&mut Execution::new(&mut state, 5, 0), &subnets);
        assert_eq!(LAST_EPOCH_BLOCK.get(&state, (NetUid(3),)), 0);
        run_epochs(&mut Execution::new(&mut state, 6, 0), &subnets);
        assert_eq!(LAST_EPOCH_BLOCK.get(&state, (NetUid(3),)), 6);
    }
}
