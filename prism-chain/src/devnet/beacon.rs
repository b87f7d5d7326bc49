//! The devnet's own randomness beacon: its key is in this process, so a pulse can be made for any round.
//!
//! What is stored of it is which rounds are out; a pulse itself is made when somebody reads it. A week of rounds would
//! otherwise cost a signature each.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::config::BeaconConfig;
use super::pallets::drand::{BeaconConfiguration, LAST_STORED_ROUND, OLDEST_STORED_ROUND, PULSES, Pulse};
use super::primitives::{Bounded, bounded};
use super::state::{Read, State};
use crate::timelock::{Beacon, BeaconKey};

/// Rounds that the chain keeps: a week of quicknet's (pallet drand, `MAX_KEPT_PULSES`).
const KEPT_ROUNDS: u64 = 216_000;

/// The beacon, and what goes wrong with it.
#[derive(Debug)]
pub(super) struct DevnetBeacon {
    key: BeaconKey,
    beacon: Beacon,
    /// Rounds that the chain never gets to see.
    lost: BTreeSet<u64>,
    /// Whether rounds are held back for now.
    pub(super) is_silent: bool,
}

impl DevnetBeacon {
    pub(super) fn new(config: &BeaconConfig) -> Self {
        let key = BeaconKey::from_seed(&config.seed);
        let beacon = Beacon {
            public_key: key.public_key(),
            genesis_unix: config.genesis_unix,
            period: config.period.as_secs().max(1),
        };
        Self { key, beacon, lost: BTreeSet::new(), is_silent: false }
    }

    /// What clients encrypt for.
    pub(super) fn parameters(&self) -> Beacon {
        self.beacon
    }

    /// As the Drand pallet stores it.
    pub(super) fn configuration(&self) -> BeaconConfiguration {
        BeaconConfiguration {
            public_key: bounded(self.beacon.public_key),
            period: u32::try_from(self.beacon.period).unwrap_or(u32::MAX),
            genesis_time: u32::try_from(self.beacon.genesis_unix).unwrap_or(u32::MAX),
            hash: bounded(Sha256::digest(self.beacon.public_key)),
            group_hash: bounded(Sha256::digest(self.beacon.public_key)),
            scheme_id: bounded(b"bls-unchained-g1-rfc9380"),
            metadata: bounded(b"prism devnet"),
        }
    }

    /// The newest round that is out at this time, zero before the first.
    fn newest(&self, unix_millis: u64) -> u64 {
        let since = (unix_millis / 1000).checked_sub(self.beacon.genesis_unix);
        since.map_or(0, |since| (since / self.beacon.period).saturating_add(1))
    }

    /// What a chain knows that starts at this time.
    pub(super) fn initialize(&self, state: &mut State, unix_millis: u64) {
        let newest = self.newest(unix_millis);
        LAST_STORED_ROUND.put(state, (), &newest);
        OLDEST_STORED_ROUND.put(state, (), &newest);
    }

    /// Stores the rounds that came out until now, and forgets the oldest; the new ones.
    pub(super) fn store(&self, state: &mut State, unix_millis: u64) -> Vec<u64> {
        let last = LAST_STORED_ROUND.get(state, ());
        let newest = self.newest(unix_millis);
        if self.is_silent || newest <= last {
            return Vec::new();
        }
        LAST_STORED_ROUND.put(state, (), &newest);
        let oldest = newest.saturating_sub(KEPT_ROUNDS - 1);
        if OLDEST_STORED_ROUND.get(state, ()) < oldest {
            OLDEST_STORED_ROUND.put(state, (), &oldest);
        }
        // The pallet takes 50 rounds with one extrinsic; after a long silence the event names the newest of them.
        (last.max(newest.saturating_sub(50)) + 1..=newest).filter(|round| !self.lost.contains(round)).collect()
    }

    /// Makes rounds that aren't out yet never come.
    pub(super) fn lose(&mut self, state: &impl Read, rounds: std::ops::RangeInclusive<u64>) {
        let last = LAST_STORED_ROUND.get(state, ());
        let kept = *rounds.start()..=(*rounds.end()).min(rounds.start().saturating_add(KEPT_ROUNDS));
        self.lost.extend(kept.filter(|round| *round > last));
    }

    fn is_stored(&self, state: &impl Read, round: u64) -> bool {
        (OLDEST_STORED_ROUND.get(state, ())..=LAST_STORED_ROUND.get(state, ())).contains(&round)
            && !self.lost.contains(&round)
    }

    /// The pulse of a round, if the chain has it.
    pub(super) fn pulse(&self, state: &impl Read, round: u64) -> Option<Pulse> {
        self.is_stored(state, round).then(|| {
            let signature = self.key.sign(round);
            Pulse { round, randomness: bounded(Sha256::digest(signature)), signature: bounded(signature) }
        })
    }

    /// The round whose pulse is under this storage key, if it is one.
    pub(super) fn round_of(key: &[u8]) -> Option<u64> {
        let round = u64::from_le_bytes(*key.last_chunk()?);
        (PULSES.key(&(round,)) == key).then_some(round)
    }

    /// The storage keys of the pulses that the chain has, if `prefix` leads to them; sorted.
    pub(super) fn keys(&self, state: &impl Read, prefix: &[u8]) -> Vec<Vec<u8>> {
        let map = PULSES.prefix();
        if !(prefix.starts_with(&map) || (map.starts_with(prefix) && !prefix.is_empty())) {
            return Vec::new();
        }
        let rounds = OLDEST_STORED_ROUND.get(state, ())..=LAST_STORED_ROUND.get(state, ());
        let keys = rounds.filter(|round| !self.lost.contains(round)).map(|round| PULSES.key(&(round,)));
        let mut keys: Vec<_> = keys.filter(|key| key.starts_with(prefix)).collect();
        keys.sort_unstable();
        keys
    }
}

/// A signature of 48 bytes as stored.
pub(super) fn signature(pulse: &Pulse) -> Option<[u8; 48]> {
    let bytes: &Bounded<144> = &pulse.signature;
    bytes.as_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000_000;

    fn beacon() -> DevnetBeacon {
        DevnetBeacon::new(&BeaconConfig { genesis_unix: 1_000, ..BeaconConfig::default() })
    }

    #[test]
    fn rounds_come_out_every_period_and_open_what_was_encrypted_for_them() {
        let (beacon, mut state) = (beacon(), State::default());
        beacon.initialize(&mut state, 1_000_000);
        assert_eq!(LAST_STORED_ROUND.get(&state, ()), 1);
        assert_eq!(beacon.store(&mut state, 1_002_999), [0_u64; 0]);
        assert_eq!(beacon.store(&mut state, 1_012_000), [2, 3, 4, 5]);
        assert_eq!(beacon.pulse(&state, 6), None);
        let pulse = beacon.pulse(&state, 5).unwrap();
        let sealed = beacon.parameters().encrypt(5, b"x", &mut rand::thread_rng()).unwrap();
        assert_eq!(sealed.decrypt(&signature(&pulse).unwrap()).unwrap(), b"x");
        assert_eq!(beacon.parameters().due(5), 1_012);
    }

    #[test]
    fn only_a_week_is_kept() {
        let (beacon, mut state) = (beacon(), State::default());
        beacon.initialize(&mut state, START);
        let before = LAST_STORED_ROUND.get(&state, ());
        let named = beacon.store(&mut state, START + 3_000 * KEPT_ROUNDS);
        assert_eq!(named.len(), 50);
        assert_eq!(OLDEST_STORED_ROUND.get(&state, ()), before + 1);
        assert_eq!(beacon.pulse(&state, before), None);
    }

    #[test]
    fn lost_rounds_never_come_and_held_back_ones_come_late() {
        let (mut beacon, mut state) = (beacon(), State::default());
        beacon.initialize(&mut state, 1_000_000);
        beacon.lose(&state, 1..=3);
        beacon.is_silent = true;
        assert_eq!(beacon.store(&mut state, 1_012_000), [0_u64; 0]);
        beacon.is_silent = false;
        assert_eq!(beacon.store(&mut state, 1_012_000), [4, 5]);
        assert!(beacon.pulse(&state, 1).is_some(), "it was out already");
        assert_eq!(beacon.pulse(&state, 3), None);
    }

    #[test]
    fn pulses_have_keys_as_if_each_were_stored() {
        let (beacon, mut state) = (beacon(), State::default());
        beacon.initialize(&mut state, 1_000_000);
        beacon.store(&mut state, 1_030_000);
        let keys = beacon.keys(&state, &PULSES.prefix());
        assert_eq!(keys.len(), 11);
        assert!(keys.is_sorted());
        let mut rounds: Vec<_> = keys.iter().map(|key| DevnetBeacon::round_of(key).unwrap()).collect();
        rounds.sort_unstable();
        assert_eq!(rounds, (1..=11).collect::<Vec<_>>());
        assert_eq!(DevnetBeacon::round_of(&LAST_STORED_ROUND.key(&())), None);
    }
}
