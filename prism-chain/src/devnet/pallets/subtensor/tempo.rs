//! The owner's calls about epochs (`coinbase/tempo_control.rs`).

use super::{
    ADMIN_FREEZE_WINDOW, COMMIT_REVEAL_ENABLED, Error, Event, LAST_EPOCH_BLOCK, NETWORKS_ADDED, PENDING_EPOCH_AT,
    SUBNET_OWNER, TEMPO, next_epoch_start,
};
use crate::devnet::dispatch::{DispatchError, Execution};
use crate::devnet::primitives::{AccountId32, NetUid};
use crate::devnet::state::Read;

/// The tempos that an owner can choose.
const TEMPOS: std::ops::RangeInclusive<u16> = 360..=50_400;

fn check_owner(state: &impl Read, who: &AccountId32, netuid: NetUid) -> Result<(), DispatchError> {
    if !NETWORKS_ADDED.get(state, (netuid,)) {
        return Err(Error::SubnetNotExists.into());
    }
    let is_owner = SUBNET_OWNER.contains(state, (netuid,)) && SUBNET_OWNER.get(state, (netuid,)) == *who;
    if is_owner { Ok(()) } else { Err(DispatchError::BadOrigin) }
}

/// Blocks until the next epoch.
fn remaining(state: &impl Read, netuid: NetUid, block: u64) -> u64 {
    next_epoch_start(state, netuid).map_or(u64::MAX, |next| next.saturating_sub(block))
}

/// Changes the tempo and starts its count anew.
pub(super) fn set_tempo(
    execution: &mut Execution<'_>,
    who: &AccountId32,
    netuid: NetUid,
    tempo: u16,
) -> Result<(), DispatchError> {
    check_owner(execution.state, who, netuid)?;
    if !TEMPOS.contains(&tempo) {
        return Err(Error::TempoOutOfBounds.into());
    }
    if remaining(execution.state, netuid, execution.block) < u64::from(ADMIN_FREEZE_WINDOW.get(execution.state, ())) {
        return Err(Error::AdminActionProhibitedDuringWeightsWindow.into());
    }
    TEMPO.put(execution.state, (netuid,), &tempo);
    LAST_EPOCH_BLOCK.put(execution.state, (netuid,), &execution.block);
    PENDING_EPOCH_AT.put(execution.state, (netuid,), &0);
    execution.deposit(Event::TempoSet(netuid, tempo));
    Ok(())
}

/// Asks for an epoch as soon as the owner's calls have been frozen for long enough.
pub(super) fn trigger_epoch(
    execution: &mut Execution<'_>,
    who: &AccountId32,
    netuid: NetUid,
) -> Result<(), DispatchError> {
    check_owner(execution.state, who, netuid)?;
    if COMMIT_REVEAL_ENABLED.get(execution.state, (netuid,)) {
        return Err(Error::DynamicTempoBlockedByCommitReveal.into());
    }
    if PENDING_EPOCH_AT.get(execution.state, (netuid,)) != 0 {
        return Err(Error::EpochTriggerAlreadyPending.into());
    }
    let window = u64::from(ADMIN_FREEZE_WINDOW.get(execution.state, ()));
    if remaining(execution.state, netuid, execution.block) < window {
        return Err(Error::AutoEpochAlreadyImminent.into());
    }
    let fires_at = execution.block.saturating_add(window);
    PENDING_EPOCH_AT.put(execution.state, (netuid,), &fires_at);
    execution.deposit(Event::EpochTriggered { netuid, by: who.clone(), fires_at });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devnet::state::State;

    const NETUID: NetUid = NetUid(1);

    #[test]
    fn only_the_owner_moves_epochs_and_not_right_before_one() {
        let mut state = State::default();
        let (owner, other) = (AccountId32::new([1; 32]), AccountId32::new([2; 32]));
        NETWORKS_ADDED.put(&mut state, (NETUID,), &true);
        SUBNET_OWNER.put(&mut state, (NETUID,), &owner);
        TEMPO.put(&mut state, (NETUID,), &400);
        let set =
            |state: &mut State, block, who, tempo| set_tempo(&mut Execution::new(state, block, 1), who, NETUID, tempo);
        let trigger = |state: &mut State, block| trigger_epoch(&mut Execution::new(state, block, 1), &owner, NETUID);
        assert_eq!(set(&mut state, 5, &other, 500), Err(DispatchError::BadOrigin));
        assert_eq!(set(&mut state, 5, &owner, 359), Err(Error::TempoOutOfBounds.into()));
        assert_eq!(set(&mut state, 395, &owner, 500), Err(Error::AdminActionProhibitedDuringWeightsWindow.into()));
        assert_eq!(trigger(&mut state, 5), Err(Error::DynamicTempoBlockedByCommitReveal.into()));
        COMMIT_REVEAL_ENABLED.put(&mut state, (NETUID,), &false);
        assert_eq!(trigger(&mut state, 395), Err(Error::AutoEpochAlreadyImminent.into()));
        assert_eq!(trigger(&mut state, 5), Ok(()));
        assert_eq!(next_epoch_start(&state, NETUID), Some(15));
        assert_eq!(trigger(&mut state, 5), Err(Error::EpochTriggerAlreadyPending.into()));
        PENDING_EPOCH_AT.put(&mut state, (NETUID,), &0);
        assert_eq!(set(&mut state, 5, &owner, 500), Ok(()));
        assert_eq!(next_epoch_start(&state, NETUID), Some(505));
    }
}
