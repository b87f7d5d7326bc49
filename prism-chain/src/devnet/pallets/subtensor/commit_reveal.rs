//! Weights that are committed as a hash and revealed by a second call (`subnets/weights.rs`), and what commitments of
//! both kinds have in common.

use codec::Encode;
use prism_core::{Block, Epoch, Hotkey, MechanismId, Netuid};
use sp_crypto_hashing::blake2_256;

use super::epoch::{closed_form_epoch, epoch_at, is_stateful};
use super::neurons::replace_element;
use super::weights::{self, Vector, passes_rate_limit};
use super::{
    COMMIT_REVEAL_ENABLED, COMMIT_REVEAL_VERSION, Error, Event, LAST_UPDATE, MECHANISM_COUNT, NETWORKS_ADDED,
    REVEAL_PERIOD_EPOCHS, UIDS, WEIGHT_COMMITS,
};
use crate::devnet::dispatch::Execution;
use crate::devnet::ledger::CommittedWeights;
use crate::devnet::primitives::{AccountId32, H256, MechId, NetUid, NetUidStorageIndex};
use crate::devnet::state::Read;

/// Commitments that a hotkey may have open: in all by hash, in one epoch under a timelock.
pub(super) const MAX_OPEN_COMMITS: usize = 10;

/// A committed hash and when: since dynamic tempo the epoch, the block and a zero; before it the block and the first
/// and last block in which it can be revealed.
pub(in crate::devnet) type WeightCommit = (H256, u64, u64, u64);

/// The block of a commitment.
pub(super) fn block_of(state: &impl Read, commit: &WeightCommit) -> u64 {
    if is_stateful(state) { commit.2 } else { commit.1 }
}

fn epoch_of(state: &impl Read, netuid: NetUid, commit: &WeightCommit) -> u64 {
    if is_stateful(state) { commit.1 } else { closed_form_epoch(state, netuid, commit.1) }
}

/// The epoch in which a commitment can be revealed, and no other.
fn reveal_epoch(state: &impl Read, netuid: NetUid, commit: &WeightCommit) -> u64 {
    epoch_of(state, netuid, commit).saturating_add(REVEAL_PERIOD_EPOCHS.get(state, (netuid,)))
}

/// Whether its reveal epoch has passed.
pub(super) fn is_expired(state: &impl Read, netuid: NetUid, block: u64, commit: &WeightCommit) -> bool {
    epoch_at(state, netuid, block) > reveal_epoch(state, netuid, commit)
}

/// The checks that commitments of both kinds start with; the place of the hotkey's weights when they pass.
pub(super) fn check(
    state: &impl Read,
    block: u64,
    hotkey: &AccountId32,
    (netuid, mechanism): (NetUid, MechId),
    version: Option<u16>,
) -> Result<(NetUidStorageIndex, u16), Error> {
    let refuse_if = |refused: bool, error: Error| if refused { Err(error) } else { Ok(()) };
    let exists = NETWORKS_ADDED.get(state, (netuid,)) && mechanism < MECHANISM_COUNT.get(state, (netuid,));
    refuse_if(!exists, Error::MechanismDoesNotExist)?;
    refuse_if(!COMMIT_REVEAL_ENABLED.get(state, (netuid,)), Error::CommitRevealDisabled)?;
    let expected = COMMIT_REVEAL_VERSION.get(state, ());
    refuse_if(version.is_some_and(|version| version != expected), Error::IncorrectCommitRevealVersion)?;
    let uid = UIDS.get(state, (netuid, hotkey.clone())).ok_or(Error::HotKeyNotRegisteredInSubNet)?;
    let index = NetUidStorageIndex::new(netuid, mechanism);
    refuse_if(!passes_rate_limit(state, netuid, index, uid, block), Error::CommittingWeightsTooFast)?;
    Ok((index, uid))
}

/// What every accepted commitment leaves behind: the update time, and an entry of the ledger.
pub(super) fn committed(
    execution: &mut Execution<'_>,
    hotkey: &AccountId32,
    (netuid, mechanism): (NetUid, MechId),
    uid: u16,
    round: Option<u64>,
) {
    let block = execution.block;
    let index = NetUidStorageIndex::new(netuid, mechanism);
    LAST_UPDATE.mutate(execution.state, (index,), |updates| replace_element(updates, uid, block));
    execution.entries.committed.push(CommittedWeights {
        block: Block(block),
        extrinsic: execution.extrinsic,
        netuid: Netuid(netuid.0),
        mechanism: MechanismId(mechanism.0),
        hotkey: Hotkey(*hotkey.as_ref()),
        epoch: Epoch(epoch_at(execution.state, netuid, block)),
        round,
    });
}

/// Takes a hash.
pub(super) fn commit(
    execution: &mut Execution<'_>,
    hotkey: &AccountId32,
    of: (NetUid, MechId),
    hash: H256,
) -> Result<(), Error> {
    let (block, netuid) = (execution.block, of.0);
    let (index, uid) = check(execution.state, block, hotkey, of, None)?;
    let state = &*execution.state;
    let mut commits = WEIGHT_COMMITS.get(state, (index, hotkey.clone())).unwrap_or_default();
    let expired = commits.iter().take_while(|commit| is_expired(state, netuid, block, commit)).count();
    commits.drain(..expired);
    if commits.len() >= MAX_OPEN_COMMITS {
        return Err(Error::TooManyUnrevealedCommits);
    }
    commits.push(if is_stateful(state) {
        (hash, epoch_at(state, netuid, block), block, 0)
    } else {
        let (first, last) = super::epoch::closed_form_reveal_blocks(state, netuid, block);
        (hash, block, first, last)
    });
    WEIGHT_COMMITS.put(execution.state, (index, hotkey.clone()), &commits);
    execution.deposit(Event::WeightsCommitted(hotkey.clone(), index, hash));
    committed(execution, hotkey, of, uid, None);
    Ok(())
}

/// What is hashed: `blake2_256(SCALE(hotkey, index, uids, values, salt, version key))`.
pub(super) fn hash(hotkey: &AccountId32, index: NetUidStorageIndex, vector: &Vector<'_>, salt: &[u16]) -> H256 {
    H256(blake2_256(&(hotkey, index, vector.uids, vector.values, salt, vector.version_key).encode()))
}

/// The place of a hash among the commitments that are still open, and how many before it have expired.
fn position(
    state: &impl Read,
    block: u64,
    netuid: NetUid,
    commits: &[WeightCommit],
    hash: H256,
) -> Result<usize, Error> {
    let expired = commits.iter().take_while(|commit| is_expired(state, netuid, block, commit)).count();
    let (gone, open) = commits.split_at(expired);
    match open.iter().position(|commit| commit.0 == hash) {
        Some(position) => Ok(expired + position),
        None if gone.iter().any(|commit| commit.0 == hash) => Err(Error::ExpiredWeightCommit),
        None if open.is_empty() => Err(Error::NoWeightsCommitFound),
        None => Err(Error::InvalidRevealCommitHashNotMatch),
    }
}

/// What keeps a reveal out of the pool: no such commitment, or not its epoch.
pub(super) fn check_pool(
    state: &impl Read,
    block: u64,
    hotkey: &AccountId32,
    (netuid, mechanism): (NetUid, MechId),
    (vector, salt): (&Vector<'_>, &[u16]),
) -> Result<(), Error> {
    let index = NetUidStorageIndex::new(netuid, mechanism);
    let hash = hash(hotkey, index, vector, salt);
    let commits = WEIGHT_COMMITS.get(state, (index, hotkey.clone())).unwrap_or_default();
    let commit = commits.iter().find(|commit| commit.0 == hash).ok_or(Error::NoWeightsCommitFound)?;
    if epoch_at(state, netuid, block) == reveal_epoch(state, netuid, commit) {
        Ok(())
    } else {
        Err(Error::RevealTooEarly)
    }
}

/// Opens a committed hash and sets its weights. Older commitments go with it.
pub(super) fn reveal(
    execution: &mut Execution<'_>,
    hotkey: &AccountId32,
    of: (NetUid, MechId),
    vector: &Vector<'_>,
    salt: &[u16],
) -> Result<(), Error> {
    let (block, (netuid, mechanism)) = (execution.block, of);
    let state = &*execution.state;
    if !COMMIT_REVEAL_ENABLED.get(state, (netuid,)) {
        return Err(Error::CommitRevealDisabled);
    }
    let index = NetUidStorageIndex::new(netuid, mechanism);
    let mut commits = WEIGHT_COMMITS.get(state, (index, hotkey.clone())).ok_or(Error::NoWeightsCommitFound)?;
    let hash = hash(hotkey, index, vector, salt);
    let position = position(state, block, netuid, &commits, hash)?;
    let due = commits.get(position).map(|commit| reveal_epoch(state, netuid, commit));
    if due != Some(epoch_at(state, netuid, block)) {
        return Err(Error::RevealTooEarly);
    }
    commits.drain(..=position);
    if commits.is_empty() {
        WEIGHT_COMMITS.remove(execution.state, (index, hotkey.clone()));
    } else {
        WEIGHT_COMMITS.put(execution.state, (index, hotkey.clone()), &commits);
    }
    weights::set(execution, hotkey, of, vector, None)?;
    execution.deposit(Event::WeightsRevealed(hotkey.clone(), index, hash));
    Ok(())
}

#[cfg(test)]
mod tests {
    use sp_core::{Pair, sr25519};

    use super::super::{
        LAST_EPOCH_BLOCK, MAX_ALLOWED_UIDS, MIN_ALLOWED_WEIGHTS, SUBNET_EPOCH_INDEX, TEMPO, VALIDATOR_PERMIT, WEIGHTS,
        WEIGHTS_SET_RATE_LIMIT, register_neuron,
    };
    use super::*;
    use crate::devnet::state::State;

    const NETUID: NetUid = NetUid(1);
    const OF: (NetUid, MechId) = (NETUID, MechId(0));
    const INDEX: NetUidStorageIndex = NetUidStorageIndex(1);
    const SALT: [u16; 2] = [5, 6];

    fn key(n: u8) -> AccountId32 {
        AccountId32::new([n; 32])
    }

    fn vector(version_key: u64) -> Vector<'static> {
        Vector { uids: &[1], values: &[9], version_key }
    }

    /// Two validators in epoch 3 since block 30, tempo 10, no rate limit.
    fn subnet() -> State {
        let mut state = State::default();
        NETWORKS_ADDED.put(&mut state, (NETUID,), &true);
        COMMIT_REVEAL_ENABLED.put(&mut state, (NETUID,), &true);
        WEIGHTS_SET_RATE_LIMIT.put(&mut state, (NETUID,), &0);
        MAX_ALLOWED_UIDS.put(&mut state, (NETUID,), &2);
        MIN_ALLOWED_WEIGHTS.put(&mut state, (NETUID,), &1);
        TEMPO.put(&mut state, (NETUID,), &10);
        for n in 0..2 {
            register_neuron(&mut state, 1, NETUID, &key(n)).unwrap();
        }
        VALIDATOR_PERMIT.put(&mut state, (NETUID,), &vec![true; 2]);
        enter(&mut state, 3);
        state
    }

    fn enter(state: &mut State, epoch: u64) {
        LAST_EPOCH_BLOCK.put(state, (NETUID,), &(epoch * 10));
        SUBNET_EPOCH_INDEX.put(state, (NETUID,), &epoch);
    }

    fn commit_at(state: &mut State, block: u64, version_key: u64) -> Result<(), Error> {
        let hash = hash(&key(0), INDEX, &vector(version_key), &SALT);
        commit(&mut Execution::new(state, block, 1), &key(0), OF, hash)
    }

    fn reveal_at(state: &mut State, block: u64, version_key: u64) -> Result<(), Error> {
        let pool = check_pool(state, block, &key(0), OF, (&vector(version_key), &SALT));
        let result = reveal(&mut Execution::new(state, block, 1), &key(0), OF, &vector(version_key), &SALT);
        if result.is_ok() {
            assert_eq!(pool, Ok(()));
        }
        result
    }

    #[test]
    fn the_hash_is_the_official_one() {
        let alice = AccountId32::new(sr25519::Pair::from_string("//Alice", None).unwrap().public().0);
        let vector = Vector { uids: &[0, 1, 2], values: &[100, 200, 65_535], version_key: 7 };
        assert_eq!(
            hex::encode(hash(&alice, INDEX, &vector, &[1, 2, 3, 4, 5, 6, 7, 8])),
            "8e5315973b942da75a27492dc34c475d83090def16d7e9ad602c892e01a1eb8f"
        );
    }

    #[test]
    fn a_hash_is_revealed_in_exactly_its_epoch() {
        let mut state = subnet();
        assert_eq!(reveal_at(&mut state, 31, 0), Err(Error::NoWeightsCommitFound));
        commit_at(&mut state, 31, 0).unwrap();
        assert_eq!(reveal_at(&mut state, 32, 0), Err(Error::RevealTooEarly));
        assert_eq!(reveal_at(&mut state, 32, 1), Err(Error::InvalidRevealCommitHashNotMatch));
        assert_eq!(reveal_at(&mut state, 40, 0), Ok(()), "block 40 begins epoch 4");
        assert_eq!(WEIGHTS.get(&state, (INDEX, 0)), [(1, 65_535)]);
        assert!(!WEIGHT_COMMITS.contains(&state, (INDEX, key(0))));
        commit_at(&mut state, 41, 0).unwrap();
        enter(&mut state, 6);
        assert_eq!(reveal_at(&mut state, 61, 0), Err(Error::ExpiredWeightCommit));
        assert_eq!(reveal_at(&mut state, 61, 1), Err(Error::NoWeightsCommitFound));
    }

    #[test]
    fn ten_hashes_may_be_open_and_expired_ones_make_room() {
        let mut state = subnet();
        for version_key in 0..10 {
            commit_at(&mut state, 31, version_key).unwrap();
        }
        assert_eq!(commit_at(&mut state, 32, 11), Err(Error::TooManyUnrevealedCommits));
        enter(&mut state, 4);
        assert_eq!(reveal_at(&mut state, 42, 8), Ok(()));
        assert_eq!(WEIGHT_COMMITS.get(&state, (INDEX, key(0))).unwrap().len(), 1, "older ones go with it");
        enter(&mut state, 5);
        commit_at(&mut state, 51, 0).unwrap();
        assert_eq!(WEIGHT_COMMITS.get(&state, (INDEX, key(0))).unwrap().len(), 1, "the expired one went");
    }
}
