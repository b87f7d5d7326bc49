//! The transaction pool: signed transactions that wait for a block.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use tokio::sync::mpsc;

use super::extrinsic::{Signed, TransactionValidityError};
use super::primitives::{AccountId32, H256};

/// Transactions that may wait, and their bytes together.
const MAX_TRANSACTIONS: usize = 4096;
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// Blocks for which a transaction that was included isn't taken again: half an hour.
const BAN_BLOCKS: u64 = 150;
/// Accepted transactions have the same priority, so none replaces another (runtime 425).
pub(super) const PRIORITY: u64 = 1;

/// What a submitter is told about its transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum TransactionStatus {
    /// Its nonce is ahead of the account's.
    Future,
    Ready,
    Broadcast(Vec<String>),
    InBlock(String),
    /// Its block isn't of the best chain any more.
    Retracted(String),
    Finalized(String),
    Invalid,
}

impl TransactionStatus {
    /// Whether nothing follows.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Finalized(_) | Self::Invalid)
    }
}

/// Tells one submitter. A submitter that doesn't listen loses news, not the pool its time.
#[derive(Debug, Clone)]
pub(super) struct Watcher(mpsc::Sender<TransactionStatus>);

impl Watcher {
    pub(super) fn new() -> (Self, mpsc::Receiver<TransactionStatus>) {
        let (sender, receiver) = mpsc::channel(8);
        (Self(sender), receiver)
    }

    pub(super) fn tell(&self, status: TransactionStatus) {
        let _ = self.0.try_send(status);
    }
}

/// Why a transaction isn't taken into the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PoolError {
    /// Not the bytes of an opaque extrinsic.
    BadFormat(String),
    /// Not an extrinsic of this runtime.
    Verification(String),
    Validity(TransactionValidityError),
    TemporarilyBanned,
    AlreadyImported(H256),
    TooLowPriority,
    ImmediatelyDropped,
}

/// A transaction that waits.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) hash: H256,
    pub(super) bytes: Vec<u8>,
    pub(super) transaction: Box<Signed>,
    pub(super) signer: AccountId32,
    /// Birth block of the era that the signature was checked for.
    pub(super) birth: u64,
    /// The runtime that the signature was checked for.
    pub(super) spec_version: u32,
    pub(super) watchers: Vec<Watcher>,
}

impl Pending {
    pub(super) fn tell(&self, status: &TransactionStatus) {
        for watcher in &self.watchers {
            watcher.tell(status.clone());
        }
    }
}

/// Waiting transactions in order of arrival, at most one for each account and nonce.
#[derive(Debug, Default)]
pub(super) struct Pool {
    waiting: BTreeMap<u64, Pending>,
    by_nonce: HashMap<(AccountId32, u32), u64>,
    by_hash: HashMap<H256, u64>,
    banned: HashMap<H256, u64>,
    arrivals: u64,
    bytes: usize,
}

impl Pool {
    /// Whether these bytes are known here already, before anything else is looked at.
    pub(super) fn check_known(&self, hash: H256) -> Result<(), PoolError> {
        if self.by_hash.contains_key(&hash) {
            Err(PoolError::AlreadyImported(hash))
        } else if self.banned.contains_key(&hash) {
            Err(PoolError::TemporarilyBanned)
        } else {
            Ok(())
        }
    }

    /// Takes a valid transaction.
    pub(super) fn insert(&mut self, pending: Pending) -> Result<(), PoolError> {
        let nonce = (pending.signer.clone(), pending.transaction.nonce);
        if self.by_nonce.contains_key(&nonce) {
            return Err(PoolError::TooLowPriority);
        }
        let bytes = self.bytes.saturating_add(pending.bytes.len());
        if self.waiting.len() >= MAX_TRANSACTIONS || bytes > MAX_BYTES {
            return Err(PoolError::ImmediatelyDropped);
        }
        self.bytes = bytes;
        self.by_nonce.insert(nonce, self.arrivals);
        self.by_hash.insert(pending.hash, self.arrivals);
        self.waiting.insert(self.arrivals, pending);
        self.arrivals += 1;
        Ok(())
    }

    /// Places of the waiting transactions, in order of arrival.
    pub(super) fn places(&self) -> Vec<u64> {
        self.waiting.keys().copied().collect()
    }

    pub(super) fn get(&self, place: u64) -> Option<&Pending> {
        self.waiting.get(&place)
    }

    pub(super) fn remove(&mut self, place: u64) -> Option<Pending> {
        let pending = self.waiting.remove(&place)?;
        self.by_nonce.remove(&(pending.signer.clone(), pending.transaction.nonce));
        self.by_hash.remove(&pending.hash);
        self.bytes = self.bytes.saturating_sub(pending.bytes.len());
        Some(pending)
    }

    /// Refuses these bytes for a while, because they are in block `now`.
    pub(super) fn ban(&mut self, hash: H256, now: u64) {
        self.banned.insert(hash, now.saturating_add(BAN_BLOCKS));
    }

    /// Takes back a transaction whose block was undone; it has waited before.
    pub(super) fn take_back(&mut self, pending: Pending) {
        self.banned.remove(&pending.hash);
        if let Err(_full) = self.insert(pending) {
            tracing::debug!("a transaction of an undone block doesn't fit into the pool");
        }
    }

    /// Forgets all that waits.
    pub(super) fn clear(&mut self) {
        *self = Self { arrivals: self.arrivals, ..Self::default() };
    }

    /// Forgets bans that are over.
    pub(super) fn lift_bans(&mut self, now: u64) {
        self.banned.retain(|_, until| *until > now);
    }

    /// The next nonce of an account when all its waiting transactions in sequence are counted.
    pub(super) fn next_nonce(&self, account: &AccountId32, from: u32) -> u32 {
        let mut nonce = from;
        while self.by_nonce.contains_key(&(account.clone(), nonce)) {
            nonce = nonce.saturating_add(1);
        }
        nonce
    }
}
