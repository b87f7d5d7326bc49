//! Weights that are committed encrypted for a beacon's round, and opened by the chain (`coinbase/reveal_commits.rs`).

use codec::{Decode, Encode};
use prism_core::Block;
use sp_crypto_hashing::blake2_256;

use super::commit_reveal::{MAX_OPEN_COMMITS, check, committed};
use super::epoch::epoch_at;
use super::weights::{self, Vector};
use super::{Error, Event, MECHANISM_COUNT, REVEAL_PERIOD_EPOCHS, TIMELOCKED_WEIGHT_COMMITS};
use crate::devnet::beacon::{self, DevnetBeacon};
use crate::devnet::dispatch::Execution;
use crate::devnet::pallets::drand;
use crate::devnet::primitives::{AccountId32, Bounded, H256, MechId, NetUid, NetUidStorageIndex};
use crate::devnet::state::Read;
use crate::timelock::Ciphertext;

/// Bytes of an encrypted weight vector, as the chain limits them.
pub(in crate::devnet) type Sealed = Bounded<5000>;

/// Who committed, in which block, what, and for which round.
pub(in crate::devnet) type TimelockedCommit = (AccountId32, u64, Sealed, u64);

/// What is encrypted.
#[derive(Decode)]
struct Payload {
    hotkey: Vec<u8>,
    uids: Vec<u16>,
    values: Vec<u16>,
    version_key: u64,
}

/// What was encrypted before the hotkey became part of it.
#[derive(Decode)]
struct LegacyPayload {
    uids: Vec<u16>,
    values: Vec<u16>,
    version_key: u64,
}

/// What keeps a commitment out of the pool: a round that is out already.
pub(super) fn check_pool(state: &impl Read, round: u64) -> Result<(), Error> {
    if round < drand::LAST_STORED_ROUND.get(state, ()) { Err(Error::InvalidRevealRound) } else { Ok(()) }
}

/// Takes an encrypted vector.
pub(super) fn commit(
    execution: &mut Execution<'_>,
    hotkey: &AccountId32,
    of: (NetUid, MechId),
    (sealed, round): (&Sealed, u64),
    version: u16,
) -> Result<(), Error> {
    let block = execution.block;
    let (index, uid) = check(execution.state, block, hotkey, of, Some(version))?;
    let epoch = epoch_at(execution.state, of.0, block);
    let mut commits = TIMELOCKED_WEIGHT_COMMITS.get(execution.state, (index, epoch));
    if commits.iter().filter(|(who, ..)| who == hotkey).count() >= MAX_OPEN_COMMITS {
        return Err(Error::TooManyUnrevealedCommits);
    }
    commits.push((hotkey.clone(), block, sealed.clone(), round));
    TIMELOCKED_WEIGHT_COMMITS.put(execution.state, (index, epoch), &commits);
    let hash = H256(blake2_256(&sealed.encode()));
    execution.deposit(Event::TimelockedWeightsCommitted(hotkey.clone(), index, hash, round));
    committed(execution, hotkey, of, uid, Some(round));
    Ok(())
}

/// Opens what is due on a subnet: the commitments of the epoch that lies one reveal period back. Those whose round
/// isn't out stay for the next block; those of earlier epochs are dropped. What doesn't open, or can't be set, is
/// dropped without an event, as on the chain.
pub(super) fn reveal(execution: &mut Execution<'_>, netuid: NetUid, beacon: &DevnetBeacon) {
    let period = REVEAL_PERIOD_EPOCHS.get(execution.state, (netuid,));
    let epoch = epoch_at(execution.state, netuid, execution.block);
    let reveal_epoch = epoch.saturating_sub(period);
    for mechanism in (0..MECHANISM_COUNT.get(execution.state, (netuid,)).0).map(MechId) {
        let index = NetUidStorageIndex::new(netuid, mechanism);
        for epoch in epochs(execution, index).into_iter().filter(|epoch| *epoch < reveal_epoch) {
            TIMELOCKED_WEIGHT_COMMITS.remove(execution.state, (index, epoch));
        }
        if epoch < period || !TIMELOCKED_WEIGHT_COMMITS.contains(execution.state, (index, reveal_epoch)) {
            continue;
        }
        let mut waiting = Vec::new();
        for commit in TIMELOCKED_WEIGHT_COMMITS.get(execution.state, (index, reveal_epoch)) {
            match beacon.pulse(execution.state, commit.3) {
                None => waiting.push(commit),
                Some(pulse) => open(execution, (netuid, mechanism), &commit, &pulse),
            }
        }
        if waiting.is_empty() {
            TIMELOCKED_WEIGHT_COMMITS.remove(execution.state, (index, reveal_epoch));
        } else if waiting.len() < TIMELOCKED_WEIGHT_COMMITS.get(execution.state, (index, reveal_epoch)).len() {
            TIMELOCKED_WEIGHT_COMMITS.put(execution.state, (index, reveal_epoch), &waiting);
        }
    }
}

/// The epochs for which commitments are stored.
pub(super) fn epochs(execution: &Execution<'_>, index: NetUidStorageIndex) -> Vec<u64> {
    let keys = execution.state.keys(&TIMELOCKED_WEIGHT_COMMITS.prefix_of(&index));
    keys.iter().filter_map(|key| key.last_chunk().map(|bytes| u64::from_le_bytes(*bytes))).collect()
}

fn open(execution: &mut Execution<'_>, of: (NetUid, MechId), commit: &TimelockedCommit, pulse: &drand::Pulse) {
    let (who, block, sealed, _) = commit;
    let Some(payload) = decrypt(who, sealed, pulse) else { return };
    let vector = Vector { uids: &payload.uids, values: &payload.values, version_key: payload.version_key };
    // The chain doesn't roll back what a failed setting wrote either: it fails before it writes.
    if weights::set(execution, who, of, &vector, Some(Block(*block))).is_ok() {
        let index = NetUidStorageIndex::new(of.0, of.1);
        execution.deposit(Event::TimelockedWeightsRevealed(index, who.clone()));
    }
}

fn decrypt(who: &AccountId32, sealed: &Sealed, pulse: &drand::Pulse) -> Option<Payload> {
    let plain = Ciphertext::from_bytes(sealed).ok()?.decrypt(&beacon::signature(pulse)?).ok()?;
    let legacy = || {
        let old = LegacyPayload::decode(&mut plain.as_slice()).ok()?;
        Some(Payload { hotkey: Vec::new(), uids: old.uids, values: old.values, version_key: old.version_key })
    };
    match Payload::decode(&mut plain.as_slice()) {
        Ok(payload) => match AccountId32::decode(&mut payload.hotkey.as_slice()) {
            Ok(hotkey) => (hotkey == *who).then_some(payload),
            Err(_) => legacy(),
        },
        Err(_) => legacy(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        COMMIT_REVEAL_ENABLED, LAST_EPOCH_BLOCK, LAST_UPDATE, MAX_ALLOWED_UIDS, MIN_ALLOWED_WEIGHTS, NETWORKS_ADDED,
        SUBNET_EPOCH_INDEX, TEMPO, VALIDATOR_PERMIT, WEIGHTS, WEIGHTS_SET_RATE_LIMIT, register_neuron,
    };
    use super::*;
    use crate::devnet::config::BeaconConfig;
    use crate::devnet::primitives::bounded;
    use crate::devnet::state::State;

    const NETUID: NetUid = NetUid(1);
    const OF: (NetUid, MechId) = (NETUID, MechId(0));
    const INDEX: NetUidStorageIndex = NetUidStorageIndex(1);

    fn key(n: u8) -> AccountId32 {
        AccountId32::new([n; 32])
    }

    /// A subnet of three validators with a tempo of 10, in its third epoch since block 30, and a beacon at round 1.
    fn subnet() -> (State, DevnetBeacon) {
        let mut state = State::default();
        NETWORKS_ADDED.put(&mut state, (NETUID,), &true);
        COMMIT_REVEAL_ENABLED.put(&mut state, (NETUID,), &true);
        WEIGHTS_SET_RATE_LIMIT.put(&mut state, (NETUID,), &5);
        MAX_ALLOWED_UIDS.put(&mut state, (NETUID,), &3);
        MIN_ALLOWED_WEIGHTS.put(&mut state, (NETUID,), &1);
        TEMPO.put(&mut state, (NETUID,), &10);
        for n in 0..3 {
            register_neuron(&mut state, 1, NETUID, &key(n)).unwrap();
        }
        VALIDATOR_PERMIT.put(&mut state, (NETUID,), &vec![true; 3]);
        LAST_EPOCH_BLOCK.put(&mut state, (NETUID,), &30);
        SUBNET_EPOCH_INDEX.put(&mut state, (NETUID,), &3);
        let beacon = DevnetBeacon::new(&BeaconConfig { genesis_unix: 1_000, ..BeaconConfig::default() });
        beacon.initialize(&mut state, 1_000_000);
        (state, beacon)
    }

    fn sealed(beacon: &DevnetBeacon, who: &AccountId32, round: u64, uids: Vec<u16>) -> Sealed {
        let values = vec![7_u16; uids.len()];
        let payload = (AsRef::<[u8]>::as_ref(who).to_vec(), uids, values, 0_u64).encode();
        bounded(beacon.parameters().encrypt(round, &payload, &mut rand::thread_rng()).unwrap().to_bytes())
    }

    fn commit_at(state: &mut State, block: u64, who: &AccountId32, sealed: &Sealed, round: u64) -> Result<(), Error> {
        commit(&mut Execution::new(state, block, 2), who, OF, (sealed, round), 4)
    }

    fn reveal_at(state: &mut State, block: u64, beacon: &DevnetBeacon) -> Vec<crate::devnet::runtime::RuntimeEvent> {
        let mut execution = Execution::new(state, block, 0);
        reveal(&mut execution, NETUID, beacon);
        execution.events
    }

    #[test]
    fn checks_come_in_the_runtime_s_order() {
        let (mut state, _) = subnet();
        let sealed = bounded([1]);
        let try_it = |state: &mut State, block, who: &AccountId32, of, version| {
            commit(&mut Execution::new(state, block, 2), who, of, (&sealed, 9), version).err()
        };
        let stranger = key(9);
        let elsewhere = (NETUID, MechId(1));
        COMMIT_REVEAL_ENABLED.put(&mut state, (NETUID,), &false);
        assert_eq!(try_it(&mut state, 5, &stranger, elsewhere, 3), Some(Error::MechanismDoesNotExist));
        assert_eq!(try_it(&mut state, 5, &stranger, OF, 3), Some(Error::CommitRevealDisabled));
        COMMIT_REVEAL_ENABLED.put(&mut state, (NETUID,), &true);
        assert_eq!(try_it(&mut state, 5, &stranger, OF, 3), Some(Error::IncorrectCommitRevealVersion));
        assert_eq!(try_it(&mut state, 5, &stranger, OF, 4), Some(Error::HotKeyNotRegisteredInSubNet));
        assert_eq!(try_it(&mut state, 5, &key(0), OF, 4), Some(Error::CommittingWeightsTooFast));
        WEIGHTS_SET_RATE_LIMIT.put(&mut state, (NETUID,), &0);
        for _ in 0..MAX_OPEN_COMMITS {
            assert_eq!(try_it(&mut state, 31, &key(0), OF, 4), None);
        }
        assert_eq!(try_it(&mut state, 31, &key(0), OF, 4), Some(Error::TooManyUnrevealedCommits));
        assert_eq!(try_it(&mut state, 31, &key(1), OF, 4), None, "the limit is each hotkey's own");
        assert_eq!(try_it(&mut state, 41, &key(0), OF, 4), None, "and the epoch's");
        assert_eq!(LAST_UPDATE.get(&state, (INDEX,)), [41, 31, 1]);
    }

    #[test]
    fn a_commitment_opens_in_the_reveal_epoch_as_soon_as_its_round_is_out_and_waits_for_it_till_then() {
        let (mut state, beacon) = subnet();
        commit_at(&mut state, 35, &key(0), &sealed(&beacon, &key(0), 3, vec![1, 2]), 3).unwrap();
        beacon.store(&mut state, 1_003_000);
        for block in 36..=40 {
            assert_eq!(reveal_at(&mut state, block, &beacon), []);
        }
        assert!(TIMELOCKED_WEIGHT_COMMITS.contains(&state, (INDEX, 3)), "epoch 4 began; round 3 is not out");
        beacon.store(&mut state, 1_006_000);
        let events = reveal_at(&mut state, 41, &beacon);
        assert_eq!(
            events,
            [Event::WeightsSet(INDEX, 0).into(), Event::TimelockedWeightsRevealed(INDEX, key(0)).into()]
        );
        assert_eq!(WEIGHTS.get(&state, (INDEX, 0)), [(1, 65_535), (2, 65_535)]);
        assert!(!TIMELOCKED_WEIGHT_COMMITS.contains(&state, (INDEX, 3)));
        assert_eq!(LAST_UPDATE.get(&state, (INDEX,)).first(), Some(&35));
    }

    #[test]
    fn a_commitment_whose_round_never_comes_is_dropped_with_its_reveal_epoch() {
        let (mut state, mut beacon) = subnet();
        beacon.lose(&state, 3..=3);
        commit_at(&mut state, 35, &key(0), &sealed(&beacon, &key(0), 3, vec![1]), 3).unwrap();
        beacon.store(&mut state, 1_060_000);
        assert_eq!(reveal_at(&mut state, 40, &beacon), []);
        assert!(TIMELOCKED_WEIGHT_COMMITS.contains(&state, (INDEX, 3)));
        SUBNET_EPOCH_INDEX.put(&mut state, (NETUID,), &5);
        LAST_EPOCH_BLOCK.put(&mut state, (NETUID,), &50);
        assert_eq!(reveal_at(&mut state, 51, &beacon), []);
        assert!(!TIMELOCKED_WEIGHT_COMMITS.contains(&state, (INDEX, 3)));
    }

    #[test]
    fn what_does_not_open_or_can_not_be_set_vanishes_without_a_word() {
        let (mut state, beacon) = subnet();
        let (mut broken, other) = (sealed(&beacon, &key(0), 2, vec![1]), sealed(&beacon, &key(1), 2, vec![1]));
        *broken.last_mut().unwrap() ^= 1;
        let out_of_range = sealed(&beacon, &key(2), 2, vec![7]);
        commit_at(&mut state, 35, &key(0), &broken, 2).unwrap();
        commit_at(&mut state, 40, &key(0), &other, 2).unwrap();
        commit_at(&mut state, 35, &key(1), &bounded([7; 300]), 2).unwrap();
        commit_at(&mut state, 35, &key(2), &out_of_range, 2).unwrap();
        beacon.store(&mut state, 1_060_000);
        assert_eq!(reveal_at(&mut state, 41, &beacon), []);
        assert!(!TIMELOCKED_WEIGHT_COMMITS.contains(&state, (INDEX, 3)));
        SUBNET_EPOCH_INDEX.put(&mut state, (NETUID,), &5);
        assert_eq!(reveal_at(&mut state, 42, &beacon), [], "another hotkey's vector");
        assert!((0..3).all(|uid| WEIGHTS.get(&state, (INDEX, uid)).is_empty()));
    }
}
