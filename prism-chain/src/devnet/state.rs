//! The chain's state: keys and values with their recent history.
//!
//! Every key keeps the values it had at the retained blocks, so a read pinned to an older block sees what was
//! true there. Writes go to the *open* block, the one being built; [`State::seal`] makes them part of history.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use codec::Encode;
use sp_crypto_hashing::blake2_256;

/// Something storage can be read from: the open block, or a sealed one.
pub(super) trait Read {
    /// The raw value under `key`, if there is one.
    fn read(&self, key: &[u8]) -> Option<&[u8]>;
}

type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
/// Values of one key by the block that wrote them, oldest first; `None` is a removal.
type History = VecDeque<(u64, Option<Vec<u8>>)>;

/// Versioned storage with one open block on top.
#[derive(Debug, Default)]
pub(super) struct State {
    sealed: BTreeMap<Vec<u8>, History>,
    open: Changes,
    /// Writes of the extrinsic being dispatched; dropped when it fails.
    trial: Option<Changes>,
    /// Which keys each retained block changed, for pruning.
    journal: VecDeque<(u64, Vec<Vec<u8>>)>,
    root: [u8; 32],
}

impl State {
    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.layer().insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.layer().insert(key, None);
    }

    fn layer(&mut self) -> &mut Changes {
        self.trial.as_mut().unwrap_or(&mut self.open)
    }

    /// Starts a trial: later writes can be dropped together.
    pub(super) fn begin(&mut self) {
        self.trial = Some(Changes::new());
    }

    /// Keeps the writes since [`State::begin`].
    pub(super) fn commit(&mut self) {
        if let Some(trial) = self.trial.take() {
            self.open.extend(trial);
        }
    }

    /// Drops the writes since [`State::begin`].
    pub(super) fn rollback(&mut self) {
        self.trial = None;
    }

    /// Makes the open writes the state of `block` and returns the state root.
    ///
    /// The root is `blake2_256(parent root ++ SCALE(changes))`: a commitment to the whole history in the header's
    /// place for it. It is not a Merkle-Patricia root, so storage proofs can't be made from it.
    pub(super) fn seal(&mut self, block: u64) -> [u8; 32] {
        let changes = std::mem::take(&mut self.open);
        let mut preimage = self.root.to_vec();
        changes.encode_to(&mut preimage);
        self.root = blake2_256(&preimage);
        let keys = changes.keys().cloned().collect();
        for (key, value) in changes {
            self.sealed.entry(key).or_default().push_back((block, value));
        }
        self.journal.push_back((block, keys));
        self.root
    }

    /// Goes back to the state after `block`, whose root was `root`. The open block's writes are gone as well.
    pub(super) fn revert(&mut self, block: u64, root: [u8; 32]) {
        self.open.clear();
        self.trial = None;
        self.root = root;
        while self.journal.back().is_some_and(|(at, _)| *at > block) {
            let Some((_, keys)) = self.journal.pop_back() else { break };
            for key in keys {
                let Some(history) = self.sealed.get_mut(&key) else { continue };
                while history.back().is_some_and(|(at, _)| *at > block) {
                    history.pop_back();
                }
                if history.is_empty() {
                    self.sealed.remove(&key);
                }
            }
        }
    }

    /// Forgets what only blocks before `oldest` could see.
    pub(super) fn prune(&mut self, oldest: u64) {
        while let Some((block, _)) = self.journal.front() {
            if *block > oldest {
                break;
            }
            let Some((_, keys)) = self.journal.pop_front() else { break };
            for key in keys {
                let Some(history) = self.sealed.get_mut(&key) else { continue };
                while history.get(1).is_some_and(|(at, _)| *at <= oldest) {
                    history.pop_front();
                }
                if history.len() == 1 && history.front().is_some_and(|(at, value)| *at <= oldest && value.is_none()) {
                    self.sealed.remove(&key);
                }
            }
        }
    }

    /// All present keys that start with `prefix`, the open block's included.
    pub(super) fn keys(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
        fn under<'a, V>(map: &'a BTreeMap<Vec<u8>, V>, prefix: &'a [u8]) -> impl Iterator<Item = &'a Vec<u8>> {
            let range = map.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
            range.map(|(key, _)| key).take_while(move |key| key.starts_with(prefix))
        }
        let mut keys: Vec<&Vec<u8>> = under(&self.sealed, prefix).chain(under(&self.open, prefix)).collect();
        keys.extend(self.trial.iter().flat_map(|trial| under(trial, prefix)));
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().filter(|key| self.read(key).is_some()).cloned().collect()
    }

    /// The state as it was after `block`.
    pub(super) fn at(&self, block: u64) -> At<'_> {
        At { state: self, block }
    }
}

impl Read for State {
    fn read(&self, key: &[u8]) -> Option<&[u8]> {
        let written = self.trial.as_ref().and_then(|trial| trial.get(key)).or_else(|| self.open.get(key));
        match written {
            Some(value) => value.as_deref(),
            None => self.sealed.get(key)?.back()?.1.as_deref(),
        }
    }
}

/// The state after one sealed block.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    state: &'a State,
    block: u64,
}

impl<'a> At<'a> {
    fn version(&self, history: &'a History) -> Option<&'a [u8]> {
        history.iter().rev().find(|(at, _)| *at <= self.block)?.1.as_deref()
    }

    /// As [`Read::read`], for as long as the state is borrowed.
    pub(super) fn read_for(&self, key: &[u8]) -> Option<&'a [u8]> {
        self.version(self.state.sealed.get(key)?)
    }

    /// The present keys that start with `prefix` and sort after `start`.
    pub(super) fn keys(self, prefix: &[u8], start: Option<&[u8]>) -> impl Iterator<Item = &'a [u8]> {
        let from = match start {
            Some(start) if start >= prefix => Bound::Excluded(start),
            _ => Bound::Included(prefix),
        };
        self.state
            .sealed
            .range::<[u8], _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .filter(move |(_, history)| self.version(history).is_some())
            .map(|(key, _)| key.as_slice())
    }
}

impl Read for At<'_> {
    fn read(&self, key: &[u8]) -> Option<&[u8]> {
        self.read_for(key)
    }
}

#[cfg(test)]
mod tests {
    use super::{Read, State};

    fn put(state: &mut State, key: &[u8], value: &[u8]) {
        state.put(key.to_vec(), value.to_vec());
    }

    #[test]
    fn a_pinned_read_sees_its_own_block_only() {
        let mut state = State::default();
        put(&mut state, b"a", b"0");
        state.seal(0);
        put(&mut state, b"a", b"1");
        state.seal(1);
        state.remove(b"a".to_vec());
        state.seal(2);
        assert_eq!(state.at(0).read(b"a"), Some(&b"0"[..]));
        assert_eq!(state.at(1).read(b"a"), Some(&b"1"[..]));
        assert_eq!(state.at(2).read(b"a"), None);
        assert_eq!(state.read(b"a"), None);
    }

    #[test]
    fn pruning_keeps_what_retained_blocks_see_and_drops_the_rest() {
        let mut state = State::default();
        put(&mut state, b"old", b"kept");
        put(&mut state, b"gone", b"x");
        state.seal(0);
        for block in 1..=9_u8 {
            put(&mut state, b"n", &[block]);
            if block == 3 {
                state.remove(b"gone".to_vec());
            }
            state.seal(u64::from(block));
        }
        state.prune(5);
        assert_eq!(state.at(5).read(b"n"), Some(&[5][..]));
        assert_eq!(state.at(9).read(b"old"), Some(&b"kept"[..]));
        assert_eq!(state.at(2).read(b"n"), None, "pruned");
        assert!(!state.sealed.contains_key(&b"gone"[..]));
        assert_eq!(state.sealed.get(&b"n"[..]).map(std::collections::VecDeque::len), Some(5));
    }

    #[test]
    fn a_reverted_block_never_was() {
        let mut state = State::default();
        put(&mut state, b"a", b"0");
        let root = state.seal(0);
        let run = |state: &mut State| {
            put(state, b"a", b"1");
            put(state, b"b", b"1");
            state.seal(1)
        };
        let first = run(&mut state);
        put(&mut state, b"c", b"open");
        state.revert(0, root);
        assert_eq!((state.read(b"a"), state.read(b"b"), state.read(b"c")), (Some(&b"0"[..]), None, None));
        assert_eq!(run(&mut state), first);
    }

    #[test]
    fn a_rolled_back_trial_leaves_no_trace() {
        let mut state = State::default();
        put(&mut state, b"a", b"open");
        state.begin();
        put(&mut state, b"a", b"trial");
        assert_eq!(state.read(b"a"), Some(&b"trial"[..]));
        state.rollback();
        assert_eq!(state.read(b"a"), Some(&b"open"[..]));
        state.begin();
        state.remove(b"a".to_vec());
        state.commit();
        assert_eq!(state.read(b"a"), None);
    }

    #[test]
    fn keys_come_in_pages_in_order_and_as_of_the_block() {
        let mut state = State::default();
        for n in 0..10_u8 {
            put(&mut state, &[b'p', n], &[n]);
        }
        put(&mut state, b"q", b"other prefix");
        state.seal(0);
        state.remove(vec![b'p', 4]);
        state.seal(1);
        let first: Vec<_> = state.at(0).keys(b"p", None).take(6).collect();
        assert_eq!(first.len(), 6);
        let rest: Vec<_> = state.at(0).keys(b"p", first.last().copied()).collect();
        assert_eq!(rest, (6..10_u8).map(|n| vec![b'p', n]).collect::<Vec<_>>());
        assert_eq!(state.at(1).keys(b"p", None).count(), 9);
    }
}
