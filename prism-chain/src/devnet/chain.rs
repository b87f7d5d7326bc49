//! The chain itself: blocks, state, pool, finality. Synchronous and deterministic; the node around it adds time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use codec::Encode;
use sp_crypto_hashing::blake2_256;
use tokio::sync::broadcast;

use super::beacon::DevnetBeacon;
use super::block::{Block, Header, hex, slot_log};
use super::config::{BlockClock, DevnetConfig};
use super::dispatch::{DispatchClass, DispatchEventInfo, Execution, Pays, Weight};
use super::extrinsic::{
    self, Extrinsic, Implicit, InvalidTransaction, MAX_EXTRINSIC_BYTES, TransactionValidityError, UnknownTransaction,
};
use super::ledger::Ledger;
use super::metadata::Metadata;
use super::pallets::system::{EventRecord, Phase};
use super::pallets::{aura, commitments, drand, subtensor, system, timestamp};
use super::pool::{Pending, Pool, PoolError, TransactionStatus, Watcher};
use super::primitives::{AccountId32, H256, NetUid};
use super::runtime::{self, RuntimeCall, RuntimeEvent, RuntimeVersion};
use super::state::{At, Read, State};
use super::view::View;

/// Signed extrinsics a block takes.
const MAX_EXTRINSICS_PER_BLOCK: usize = 1024;
/// Headers a slow subscriber may fall behind before it misses some.
const HEADS_BUFFER: usize = 1024;

/// A transaction in a block that isn't final yet.
#[derive(Debug)]
struct Included {
    number: u64,
    block: H256,
    watchers: Vec<Watcher>,
}

/// The chain.
#[derive(Debug)]
pub(super) struct Chain {
    clock: BlockClock,
    slot: Duration,
    finality_lag: u64,
    retained: u64,
    version: RuntimeVersion,
    metadata: Metadata,
    subnets: Vec<NetUid>,
    beacon: DevnetBeacon,
    state: State,
    /// Retained blocks, oldest first, the head last.
    blocks: VecDeque<Arc<Block>>,
    numbers: HashMap<H256, u64>,
    genesis: Arc<Block>,
    finalized: u64,
    pool: Pool,
    included: VecDeque<Included>,
    /// Events of what was set up by hand for the next block.
    open_events: Vec<RuntimeEvent>,
    ledger: Ledger,
    heads: broadcast::Sender<Arc<Block>>,
    finalized_heads: broadcast::Sender<Arc<Block>>,
}

impl Chain {
    /// A chain with its genesis block, whose state `genesis` makes.
    pub(super) fn new(config: &DevnetConfig, subnets: Vec<NetUid>, genesis: impl FnOnce(&mut Execution<'_>)) -> Self {
        let version = runtime::version(config.spec_version);
        let slot_millis = u64::try_from(config.slot.as_millis()).unwrap_or(u64::MAX);
        let mut state = State::default();
        system::initialize(&mut state, 0, H256::zero());
        let now = Self::time(config.clock, config.slot, 0, 0);
        timestamp::NOW.put(&mut state, (), &now);
        let beacon = DevnetBeacon::new(&config.beacon);
        drand::BEACON_CONFIG.put(&mut state, (), &beacon.configuration());
        beacon.initialize(&mut state, now);
        genesis(&mut Execution::new(&mut state, 0, 0));
        let header = Header {
            parent: H256::zero(),
            number: 0,
            state_root: state.seal(0),
            extrinsics_root: blake2_256(&Vec::<Vec<u8>>::new().encode()),
            logs: Vec::new(),
        };
        let genesis = Arc::new(Block { hash: header.hash(), header, extrinsics: Vec::new() });
        let mut chain = Self {
            clock: config.clock,
            slot: config.slot,
            finality_lag: config.finality_lag,
            retained: config.retained_blocks.max(256),
            metadata: Metadata::new(&version, slot_millis),
            version,
            subnets,
            beacon,
            state,
            blocks: VecDeque::from([Arc::clone(&genesis)]),
            numbers: HashMap::from([(genesis.hash, 0)]),
            genesis,
            finalized: 0,
            pool: Pool::default(),
            included: VecDeque::new(),
            open_events: Vec::new(),
            ledger: Ledger::default(),
            heads: broadcast::channel(HEADS_BUFFER).0,
            finalized_heads: broadcast::channel(HEADS_BUFFER).0,
        };
        chain.open();
        chain
    }

    fn time(clock: BlockClock, slot: Duration, number: u64, before: u64) -> u64 {
        let slot = u64::try_from(slot.as_millis()).unwrap_or(u64::MAX);
        match clock {
            BlockClock::Simulated { genesis_millis } => genesis_millis.saturating_add(number.saturating_mul(slot)),
            BlockClock::Wall => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
                u64::try_from(now).unwrap_or(u64::MAX).max(before.saturating_add(1))
            }
        }
    }

    /// Starts the block after the head: from now on, writes belong to it.
    fn open(&mut self) {
        let parent = self.head().hash;
        let number = u32::try_from(self.next_number()).unwrap_or(u32::MAX);
        system::initialize(&mut self.state, number, parent);
    }

    /// Number of the block being built.
    pub(super) fn next_number(&self) -> u64 {
        self.head().header.number.saturating_add(1)
    }

    /// Changes state by hand, as part of the next block.
    pub(super) fn set_up<T>(&mut self, change: impl FnOnce(&mut Execution<'_>) -> T) -> T {
        let number = self.next_number();
        let mut execution = Execution::new(&mut self.state, number, 0);
        let answer = change(&mut execution);
        let (events, entries) = (execution.events, execution.entries);
        self.open_events.extend(events);
        self.ledger.extend(entries);
        answer
    }

    fn head_number(&self) -> u64 {
        self.head().header.number
    }

    /// Makes the next block.
    pub(super) fn produce(&mut self) -> Arc<Block> {
        let number = self.next_number();
        let mut events: Vec<EventRecord> = Vec::new();
        record(&mut events, Phase::Initialization, std::mem::take(&mut self.open_events));

        let mut execution = Execution::new(&mut self.state, number, 0);
        subtensor::block_step(&mut execution, &self.subnets, &self.beacon);
        commitments::block_step(&mut execution, &self.beacon);
        let (deposited, entries) = (execution.events, execution.entries);
        record(&mut events, Phase::Initialization, deposited);
        self.ledger.extend(entries);

        let mut extrinsics = vec![self.set_time(number, &mut events)];
        self.store_pulses(&mut events);
        let watchers = self.include_transactions(number, &mut extrinsics, &mut events);

        let slot = aura::CURRENT_SLOT.get(&self.state, ());
        system::EXTRINSIC_COUNT.put(&mut self.state, (), &u32::try_from(extrinsics.len()).unwrap_or(u32::MAX));
        system::EVENTS.put(&mut self.state, (), &events);
        let header = Header {
            parent: self.head().hash,
            number,
            state_root: self.state.seal(number),
            // A commitment to the extrinsics, but not the root of a trie: proofs can't be made from it.
            extrinsics_root: blake2_256(&extrinsics.encode()),
            logs: vec![slot_log(slot)],
        };
        let block = Arc::new(Block { hash: header.hash(), header, extrinsics });
        self.included.push_back(Included { number, block: block.hash, watchers });
        self.append(&block);
        block
    }

    /// The block's first extrinsic, by which its author sets the time.
    fn set_time(&mut self, number: u64, events: &mut Vec<EventRecord>) -> Vec<u8> {
        let before = timestamp::NOW.get(&self.state, ());
        let now = Self::time(self.clock, self.slot, number, before);
        let slot_millis = u64::try_from(self.slot.as_millis()).unwrap_or(u64::MAX).max(1);
        aura::CURRENT_SLOT.put(&mut self.state, (), &(now / slot_millis));
        let call = timestamp::Call::set { now };
        let mut execution = Execution::new(&mut self.state, number, 0);
        call.dispatch_inherent(&mut execution);
        let dispatch_info =
            DispatchEventInfo { weight: Weight::default(), class: DispatchClass::Mandatory, pays_fee: Pays::Yes };
        let success = system::Event::ExtrinsicSuccess { dispatch_info };
        record(events, Phase::ApplyExtrinsic(0), vec![success.into()]);
        extrinsic::encode_inherent(&RuntimeCall::Timestamp(call))
    }

    /// Takes over what the beacon published until the block's time. On the chain its author brings that in an extrinsic.
    fn store_pulses(&mut self, events: &mut Vec<EventRecord>) {
        let now = timestamp::NOW.get(&self.state, ());
        let rounds = self.beacon.store(&mut self.state, now);
        if !rounds.is_empty() {
            record(events, Phase::ApplyExtrinsic(0), vec![drand::Event::NewPulse { rounds }.into()]);
        }
    }

    /// Fills the block from the pool, in order of arrival, each account's transactions in order of nonce. Those that
    /// became invalid are dropped. Returns who waits for news of those in the block.
    fn include_transactions(
        &mut self,
        number: u64,
        extrinsics: &mut Vec<Vec<u8>>,
        events: &mut Vec<EventRecord>,
    ) -> Vec<Watcher> {
        let mut taken = Vec::new();
        loop {
            let before = taken.len();
            for place in self.pool.places() {
                if taken.len() >= MAX_EXTRINSICS_PER_BLOCK {
                    break;
                }
                match self.readiness(place, number) {
                    Err(()) => {
                        if let Some(pending) = self.pool.remove(place) {
                            pending.tell(&TransactionStatus::Invalid);
                        }
                    }
                    Ok(false) => {}
                    Ok(true) => {
                        if let Some(pending) = self.pool.remove(place) {
                            let index = u32::try_from(extrinsics.len()).unwrap_or(u32::MAX);
                            self.apply(&pending, number, index, events);
                            self.pool.ban(pending.hash, number);
                            extrinsics.push(pending.bytes);
                            taken.push(pending.watchers);
                        }
                    }
                }
            }
            if taken.len() == before || taken.len() >= MAX_EXTRINSICS_PER_BLOCK {
                break;
            }
        }
        taken.into_iter().flatten().collect()
    }

    /// Whether a waiting transaction can go into block `number` now; an error when it never can.
    fn readiness(&self, place: u64, number: u64) -> Result<bool, ()> {
        let Some(pending) = self.pool.get(place) else { return Ok(false) };
        let transaction = &pending.transaction;
        // The signature covers the era's birth block. Seen from a later era it would cover another one.
        if transaction.era.birth(number) != pending.birth {
            return Err(());
        }
        let valid = transaction.validate(&self.state, number).map_err(|_| ())?;
        Ok(valid.requires.is_empty())
    }

    fn apply(&mut self, pending: &Pending, number: u64, index: u32, events: &mut Vec<EventRecord>) {
        let call = &pending.transaction.call;
        system::ACCOUNT.mutate(&mut self.state, (pending.signer.clone(),), |account| {
            account.nonce = account.nonce.saturating_add(1);
        });
        let mut execution = Execution::new(&mut self.state, number, index);
        let outcome = match call.dispatch(&mut execution, &pending.signer) {
            Ok(()) => system::Event::ExtrinsicSuccess { dispatch_info: call.info() },
            Err(dispatch_error) => system::Event::ExtrinsicFailed { dispatch_error, dispatch_info: call.info() },
        };
        execution.deposit(outcome);
        let (deposited, entries) = (execution.events, execution.entries);
        record(events, Phase::ApplyExtrinsic(index), deposited);
        self.ledger.extend(entries);
    }

    fn append(&mut self, block: &Arc<Block>) {
        let number = block.header.number;
        for watcher in self.included.back().iter().flat_map(|included| &included.watchers) {
            watcher.tell(TransactionStatus::InBlock(hex(block.hash)));
        }
        self.numbers.insert(block.hash, number);
        self.blocks.push_back(Arc::clone(block));
        self.open();
        self.pool.lift_bans(number);
        while self.blocks.len() as u64 > self.retained {
            if let Some(old) = self.blocks.pop_front() {
                self.numbers.remove(&old.hash);
            }
        }
        self.state.prune(self.oldest());
        let _ = self.heads.send(Arc::clone(block));
        self.finalize(number.saturating_sub(self.finality_lag));
    }

    fn finalize(&mut self, number: u64) {
        while self.finalized < number {
            self.finalized += 1;
            let Some(block) = self.block_at(self.finalized) else { continue };
            let _ = self.finalized_heads.send(block);
        }
        while self.included.front().is_some_and(|included| included.number <= self.finalized) {
            if let Some(included) = self.included.pop_front() {
                for watcher in included.watchers {
                    watcher.tell(TransactionStatus::Finalized(hex(included.block)));
                }
            }
        }
    }

    /// Takes a transaction into the pool, or says why not. Returns its hash.
    pub(super) fn submit(&mut self, bytes: Vec<u8>, watcher: Option<Watcher>) -> Result<H256, PoolError> {
        if bytes.len() > MAX_EXTRINSIC_BYTES {
            return Err(PoolError::Validity(InvalidTransaction::ExhaustsResources.into()));
        }
        let hash = H256(blake2_256(&bytes));
        self.pool.check_known(hash)?;
        let now = self.next_number();
        let (transaction, is_ready) = self.admit(&bytes, now, &self.state)?;
        let signer = transaction.signer().map_err(|unknown| PoolError::Validity(unknown.into()))?.clone();
        let birth = transaction.era.birth(now);
        let watchers: Vec<Watcher> = watcher.into_iter().collect();
        let pending = Pending { hash, bytes, transaction, signer, birth, watchers: watchers.clone() };
        self.pool.insert(pending)?;
        for watcher in watchers {
            if is_ready {
                watcher.tell(TransactionStatus::Ready);
                watcher.tell(TransactionStatus::Broadcast(Vec::new()));
            } else {
                watcher.tell(TransactionStatus::Future);
            }
        }
        Ok(hash)
    }

    fn admit(&self, bytes: &[u8], now: u64, state: &impl Read) -> Result<(Box<extrinsic::Signed>, bool), PoolError> {
        let transaction = match extrinsic::decode(bytes).map_err(|error| PoolError::Verification(error.to_string()))? {
            Extrinsic::Bare => {
                let unknown = UnknownTransaction::NoUnsignedValidator;
                return Err(PoolError::Validity(unknown.into()));
            }
            Extrinsic::Signed(transaction) => transaction,
        };
        transaction.verify(state, now, self.implicit()).map_err(PoolError::Validity)?;
        let valid = transaction.validate(state, now).map_err(PoolError::Validity)?;
        Ok((transaction, valid.requires.is_empty()))
    }

    fn implicit(&self) -> Implicit {
        Implicit { spec_version: self.version.spec_version, genesis: self.genesis.hash }
    }

    /// What `validate_transaction` answers on top of block `at`.
    pub(super) fn validate(
        &self,
        bytes: &[u8],
        at: u64,
    ) -> Result<Result<extrinsic::ValidTransaction, TransactionValidityError>, codec::Error> {
        let Extrinsic::Signed(transaction) = extrinsic::decode(bytes)? else {
            return Ok(Err(UnknownTransaction::NoUnsignedValidator.into()));
        };
        let parent = self.block_at(at).map(|block| block.hash).unwrap_or_default();
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let state = Opened { base: self.state.at(at), key: system::BLOCK_HASH.key(&(number,)), value: parent };
        let now = at.saturating_add(1);
        Ok(transaction.verify(&state, now, self.implicit()).and_then(|()| transaction.validate(&state, now)))
    }

    /// The newest block.
    pub(super) fn head(&self) -> &Arc<Block> {
        self.blocks.back().unwrap_or(&self.genesis)
    }

    /// The newest final block.
    pub(super) fn finalized(&self) -> Arc<Block> {
        self.block_at(self.finalized).unwrap_or_else(|| Arc::clone(&self.genesis))
    }

    fn oldest(&self) -> u64 {
        self.blocks.front().map_or(0, |block| block.header.number)
    }

    /// The block with this number: retained, or genesis.
    pub(super) fn block_at(&self, number: u64) -> Option<Arc<Block>> {
        if number == 0 {
            return Some(Arc::clone(&self.genesis));
        }
        let index = usize::try_from(number.checked_sub(self.oldest())?).ok()?;
        self.blocks.get(index).map(Arc::clone)
    }

    /// The block with this hash: retained, or genesis.
    pub(super) fn block(&self, hash: H256) -> Option<Arc<Block>> {
        if hash == self.genesis.hash {
            return Some(Arc::clone(&self.genesis));
        }
        self.block_at(*self.numbers.get(&hash)?)
    }

    /// The state after block `number`, if it is retained.
    pub(super) fn state_at(&self, number: u64) -> Option<At<'_>> {
        (self.oldest()..=self.head_number()).contains(&number).then(|| self.state.at(number))
    }

    /// The storage after block `number` as clients read it, if it is retained.
    pub(super) fn view_at(&self, number: u64) -> Option<View<'_>> {
        Some(View::new(self.state_at(number)?, &self.beacon))
    }

    /// The state of the block being built.
    pub(super) fn open_state(&self) -> &State {
        &self.state
    }

    pub(super) fn version(&self) -> &RuntimeVersion {
        &self.version
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(super) fn beacon(&self) -> &DevnetBeacon {
        &self.beacon
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The next nonce of an account, waiting transactions counted.
    pub(super) fn next_nonce(&self, account: &AccountId32) -> u32 {
        let nonce = system::ACCOUNT.get(&self.state, (account.clone(),)).nonce;
        self.pool.next_nonce(account, nonce)
    }

    pub(super) fn subscribe_heads(&self) -> broadcast::Receiver<Arc<Block>> {
        self.heads.subscribe()
    }

    pub(super) fn subscribe_finalized_heads(&self) -> broadcast::Receiver<Arc<Block>> {
        self.finalized_heads.subscribe()
    }
}

fn record(records: &mut Vec<EventRecord>, phase: Phase, events: Vec<RuntimeEvent>) {
    records.extend(events.into_iter().map(|event| EventRecord { phase, event, topics: Vec::new() }));
}

/// A sealed block's state with the next block opened on it: its hash is known.
struct Opened<'a> {
    base: At<'a>,
    key: Vec<u8>,
    value: H256,
}

impl Read for Opened<'_> {
    fn read(&self, key: &[u8]) -> Option<&[u8]> {
        if key == self.key { Some(self.value.as_bytes()) } else { self.base.read(key) }
    }
}
