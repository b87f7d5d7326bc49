//! A block's storage as clients read it: what the state has, and what is made when it is read.

use std::borrow::Cow;

use codec::Encode;

use super::beacon::DevnetBeacon;
use super::state::At;
use super::upgrade::Runtime;

/// The storage after one block.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    state: At<'a>,
    beacon: &'a DevnetBeacon,
    runtime: &'a Runtime,
}

impl<'a> View<'a> {
    pub(super) fn new(state: At<'a>, beacon: &'a DevnetBeacon, runtime: &'a Runtime) -> Self {
        Self { state, beacon, runtime }
    }

    /// The value under `key` in the runtime's terms, if there is one.
    pub(super) fn read(&self, key: &[u8]) -> Option<Cow<'a, [u8]>> {
        let value = match DevnetBeacon::round_of(key) {
            Some(round) => Cow::Owned(self.beacon.pulse(&self.state, round)?.encode()),
            None => Cow::Borrowed(self.state.read_for(key)?),
        };
        match &self.runtime.dialect {
            Some(dialect) => dialect.value(key, value),
            None => Some(value),
        }
    }

    /// Up to `count` present keys that start with `prefix` and sort after `start`.
    pub(super) fn keys(&self, prefix: &[u8], start: Option<&[u8]>, count: usize) -> Vec<Vec<u8>> {
        let has = |key: &[u8]| self.runtime.dialect.as_ref().is_none_or(|dialect| dialect.has_key(key));
        let stored = self.state.keys(prefix, start).filter(|key| has(key)).take(count);
        let mut keys: Vec<_> = stored.map(<[u8]>::to_vec).collect();
        let pulses = self.beacon.keys(&self.state, prefix);
        keys.extend(pulses.into_iter().filter(|key| start.is_none_or(|start| key.as_slice() > start)).take(count));
        keys.sort_unstable();
        keys.truncate(count);
        keys
    }
}
