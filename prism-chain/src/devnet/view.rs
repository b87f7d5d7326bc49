//! A block's storage as clients read it: what the state has, and what is made when it is read.

use std::borrow::Cow;

use super::beacon::DevnetBeacon;
use super::state::At;

/// The storage after one block.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    state: At<'a>,
    beacon: &'a DevnetBeacon,
}

impl<'a> View<'a> {
    pub(super) fn new(state: At<'a>, beacon: &'a DevnetBeacon) -> Self {
        Self { state, beacon }
    }

    /// The state underneath, in this crate's own types.
    pub(super) fn state(&self) -> At<'a> {
        self.state
    }

    /// The value under `key`, if there is one.
    pub(super) fn read(&self, key: &[u8]) -> Option<Cow<'a, [u8]>> {
        match DevnetBeacon::round_of(key) {
            Some(round) => self.beacon.pulse(&self.state, round).map(|pulse| Cow::Owned(codec::Encode::encode(&pulse))),
            None => self.state.read_for(key).map(Cow::Borrowed),
        }
    }

    /// Up to `count` present keys that start with `prefix` and sort after `start`.
    pub(super) fn keys(&self, prefix: &[u8], start: Option<&[u8]>, count: usize) -> Vec<Vec<u8>> {
        let mut keys: Vec<_> = self.state.keys(prefix, start, count).into_iter().map(<[u8]>::to_vec).collect();
        let pulses = self.beacon.keys(&self.state, prefix);
        keys.extend(pulses.into_iter().filter(|key| start.is_none_or(|start| key.as_slice() > start)).take(count));
        keys.sort_unstable();
        keys.truncate(count);
        keys
    }
}
