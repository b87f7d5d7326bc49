//! The chain itself: blocks, state, pool, finality. Synchronous and deterministic; the node around it adds time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use codec::Encode;
use prism_core::Block as BlockNumber;
use sp_crypto_hashing::blake2_256;
use tokio::sync::broadcast;

use super::beacon::DevnetBeacon;
use super::block::{Block, Header, hex, other_log, slot_log};
use super::config::{BlockClock, DevnetConfig};
use super::dialect::Dialect;
use super::dispatch::{DispatchClass, DispatchEventInfo, Execution, Pays, Weight};
use super::error::DevnetError;
use super::extrinsic::{
    self, Extrinsic, Implicit, InvalidTransaction, MAX_EXTRINSIC_BYTES, TransactionValidityError, UnknownTransaction,
};
use super::genesis;
use super::ledger::Ledger;
use super::pallets::system::{EventRecord, Phase};
use super::pallets::{aura, commitments, drand, subtensor, system, timestamp};
use super::pool::{Pending, Pool, PoolError, TransactionStatus, Watcher};
use super::primitives::{AccountId32, H256, NetUid};
use super::runtime::{RuntimeCall, RuntimeEvent, RuntimeVersion};
use super::state::{At, Read, State};
use super::upgrade::{Runtime, RuntimeUpgrade};
use super::view::View;

/// Signed extrinsics a block takes.
const MAX_EXTRINSICS_PER_BLOCK: usize = 1024;
/// Headers a slow subscriber may fall behind before it misses some.
const HEADS_BUFFER: usize = 1024;

/// The transactions of a block that isn't final yet.
#[derive(Debug)]
struct Included {
    number: u64,
    block: H256,
    transactions: Vec<Pending>,
}

impl Included {
    fn tell(&self, status: &TransactionStatus) {
        for transaction in &self.transactions {
            transaction.tell(status);
        }
    }
}

/// The chain.
#[derive(Debug)]
pub(super) struct Chain {
    clock: BlockClock,
    slot: Duration,
    finality_lag: u64,
    retained: u64,
    first_runtime: Arc<Runtime>,
    /// Later runtimes, each with the first block whose state has it.
    runtimes: Vec<(u64, Arc<Runtime>)>,
    /// The runtime that the next block brings.
    upgrade: Option<Arc<Runtime>>,
    subnets: Vec<NetUid>,
    beacon: DevnetBeacon,
    state: State,
    /// Retained blocks, oldest first, the head last.
    blocks: VecDeque<Arc<Block>>,
    numbers: HashMap<H256, u64>,
    genesis: Arc<Block>,
    finalized: u64,
    /// Whether finality stands still.
    is_stalled: bool,
    /// How often blocks were undone: later ones differ from those.
    forks: u64,
    pool: Pool,
    included: VecDeque<Included>,
    /// Events of what was set up by hand for the next block.
    open_events: Vec<RuntimeEvent>,
    ledger: Ledger,
    heads: broadcast::Sender<Arc<Block>>,
    finalized_heads: broadcast::Sender<Arc<Block>>,
}

impl Chain {
    /// The chain that the configuration describes, with its genesis block.
    pub(super) fn start(config: &DevnetConfig) -> Result<Self, DevnetError> {
        let subnets = genesis::validate(config)?;
        let runtime = RuntimeUpgrade::to(config.spec_version).metadata(config.metadata.clone());
        let runtime = Runtime::new(&runtime, millis(config.slot))?;
        Ok(Self::new(config, runtime, subnets, |execution| genesis::build(config, execution)))
    }

    fn new(
        config: &DevnetConfig,
        runtime: Runtime,
        subnets: Vec<NetUid>,
        genesis: impl FnOnce(&mut Execution<'_>),
    ) -> Self {
        let mut state = State::default();
        system::initialize(&mut state, 0, H256::zero());
        let now = Self::time(config.clock, config.slot, 0, 0);
        timestamp::NOW.put(&mut state, (), &now);
        let beacon = DevnetBeacon::new(&config.beacon);
        drand::BEACON_CONFIG.put(&mut state, (), &beacon.configuration());
        beacon.initialize(&mut state, now);
        genesis(&mut Execution::new(&mut state, 0, 0));
        subtensor::set_stateful(&mut state, &subnets, 0, runtime.has_stateful_epochs());
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
            first_runtime: Arc::new(runtime),
            runtimes: Vec::new(),
            upgrade: None,
            subnets,
            beacon,
            state,
            blocks: VecDeque::from([Arc::clone(&genesis)]),
            numbers: HashMap::from([(genesis.hash, 0)]),
            genesis,
            finalized: 0,
            is_stalled: false,
            forks: 0,
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
        let slot = millis(slot);
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

    /// Makes the next block from what waits in the pool.
    pub(super) fn produce(&mut self) -> Arc<Block> {
        self.build(true)
    }

    fn build(&mut self, takes_transactions: bool) -> Arc<Block> {
        let number = self.next_number();
        let runtime = Arc::clone(self.runtime());
        let dialect = runtime.dialect.as_ref();
        let mut events: Vec<EventRecord> = Vec::new();
        record(&mut events, Phase::Initialization, std::mem::take(&mut self.open_events));

        let mut execution = Execution::new(&mut self.state, number, 0);
        subtensor::block_step(&mut execution, &self.subnets, &self.beacon);
        commitments::block_step(&mut execution, &self.beacon);
        let (deposited, entries) = (execution.events, execution.entries);
        record(&mut events, Phase::Initialization, deposited);
        self.ledger.extend(entries);

        let mut extrinsics = vec![self.set_time(number, &mut events, dialect)];
        self.store_pulses(&mut events);
        let transactions = if takes_transactions {
            self.include_transactions(number, &mut extrinsics, &mut events)
        } else {
            Vec::new()
        };
        if let Some(upgrade) = self.upgrade.take() {
            subtensor::set_stateful(&mut self.state, &self.subnets, number, upgrade.has_stateful_epochs());
            record(&mut events, Phase::Finalization, vec![system::Event::CodeUpdated.into()]);
            self.runtimes.push((number, upgrade));
        }

        let slot = aura::CURRENT_SLOT.get(&self.state, ());
        system::EXTRINSIC_COUNT.put(&mut self.state, (), &u32::try_from(extrinsics.len()).unwrap_or(u32::MAX));
        match dialect {
            Some(dialect) => self.state.put(system::EVENTS.key(&()), dialect.encode_events(&events)),
            None => system::EVENTS.put(&mut self.state, (), &events),
        }
        let mut logs = vec![slot_log(slot)];
        if self.forks > 0 {
            logs.push(other_log(&self.forks.encode()));
        }
        let header = Header {
            parent: self.head().hash,
            number,
            state_root: self.state.seal(number),
            // A commitment to the extrinsics, but not the root of a trie: proofs can't be made from it.
            extrinsics_root: blake2_256(&extrinsics.encode()),
            logs,
        };
        let block = Arc::new(Block { hash: header.hash(), header, extrinsics });
        self.included.push_back(Included { number, block: block.hash, transactions });
        self.append(&block);
        block
    }

    /// The block's first extrinsic, by which its author sets the time.
    fn set_time(&mut self, number: u64, events: &mut Vec<EventRecord>, dialect: Option<&Dialect>) -> Vec<u8> {
        let before = timestamp::NOW.get(&self.state, ());
        let now = Self::time(self.clock, self.slot, number, before);
        let slot_millis = millis(self.slot).max(1);
        aura::CURRENT_SLOT.put(&mut self.state, (), &(now / slot_millis));
        let call = timestamp::Call::set { now };
        let mut execution = Execution::new(&mut self.state, number, 0);
        call.dispatch_inherent(&mut execution);
        let dispatch_info =
            DispatchEventInfo { weight: Weight::default(), class: DispatchClass::Mandatory, pays_fee: Pays::Yes };
        let success = system::Event::ExtrinsicSuccess { dispatch_info };
        record(events, Phase::ApplyExtrinsic(0), vec![success.into()]);
        extrinsic::encode_inherent(&RuntimeCall::Timestamp(call), dialect)
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
    /// became invalid are dropped. Returns those in the block.
    fn include_transactions(
        &mut self,
        number: u64,
        extrinsics: &mut Vec<Vec<u8>>,
        events: &mut Vec<EventRecord>,
    ) -> Vec<Pending> {
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
                            extrinsics.push(pending.bytes.clone());
                            taken.push(pending);
                        }
                    }
                }
            }
            if taken.len() == before || taken.len() >= MAX_EXTRINSICS_PER_BLOCK {
                break;
            }
        }
        taken
    }

    /// Whether a waiting transaction can go into block `number` now; an error when it never can.
    fn readiness(&self, place: u64, number: u64) -> Result<bool, ()> {
        let Some(pending) = self.pool.get(place) else { return Ok(false) };
        let transaction = &pending.transaction;
        // The signature covers the era's birth block. Seen from a later era it would cover another one.
        if transaction.era.birth(number) != pending.birth {
            return Err(());
        }
        // And the runtime's version.
        if pending.spec_version != self.runtime().version.spec_version {
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
        if let Some(included) = self.included.back() {
            included.tell(&TransactionStatus::InBlock(hex(block.hash)));
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
        if !self.is_stalled {
            self.finalize(number.saturating_sub(self.finality_lag));
        }
    }

    fn finalize(&mut self, number: u64) {
        while self.finalized < number {
            self.finalized += 1;
            let Some(block) = self.block_at(self.finalized) else { continue };
            let _ = self.finalized_heads.send(block);
        }
        while self.included.front().is_some_and(|included| included.number <= self.finalized) {
            if let Some(included) = self.included.pop_front() {
                included.tell(&TransactionStatus::Finalized(hex(included.block)));
            }
        }
    }

    /// Replaces the newest blocks, of those that aren't final, by as many empty ones. Their transactions wait again.
    pub(super) fn reorganize(&mut self, blocks: u64) {
        let head = self.head_number();
        let kept = head.saturating_sub(blocks).max(self.finalized);
        if kept == head {
            return;
        }
        let mut undone = Vec::new();
        while self.included.back().is_some_and(|included| included.number > kept) {
            undone.extend(self.included.pop_back());
        }
        while self.blocks.len() > 1 && self.head_number() > kept {
            if let Some(block) = self.blocks.pop_back() {
                self.numbers.remove(&block.hash);
            }
        }
        while self.runtimes.last().is_some_and(|(block, _)| *block > kept) {
            self.upgrade = self.runtimes.pop().map(|(_, runtime)| runtime);
        }
        let root = self.head().header.state_root;
        self.state.revert(kept, root);
        self.ledger.revert(BlockNumber(kept.saturating_add(1)));
        self.open_events.clear();
        self.forks += 1;
        self.open();
        for _ in kept..head {
            self.build(false);
        }
        for included in undone.into_iter().rev() {
            included.tell(&TransactionStatus::Retracted(hex(included.block)));
            included.transactions.into_iter().for_each(|pending| self.pool.take_back(pending));
        }
        self.drop_unverifiable();
    }

    /// Drops transactions whose signature doesn't hold on this branch: their era was born in a block that isn't there.
    fn drop_unverifiable(&mut self) {
        let now = self.next_number();
        for place in self.pool.places() {
            let Some(pending) = self.pool.get(place) else { continue };
            if pending.transaction.verify(&self.state, now, self.implicit()).is_err()
                && let Some(pending) = self.pool.remove(place)
            {
                pending.tell(&TransactionStatus::Invalid);
            }
        }
    }

    /// Brings another runtime with the next block.
    pub(super) fn upgrade(&mut self, upgrade: &RuntimeUpgrade) -> Result<(), DevnetError> {
        self.upgrade = Some(Arc::new(Runtime::new(upgrade, millis(self.slot))?));
        Ok(())
    }

    /// Lets finality stand still, or go on.
    pub(super) fn stall(&mut self, is_stalled: bool) {
        self.is_stalled = is_stalled;
        if !is_stalled {
            self.finalize(self.head_number().saturating_sub(self.finality_lag));
        }
    }

    /// Makes the pool forget what waits.
    pub(super) fn lose_pool(&mut self) {
        self.pool.clear();
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
        let spec_version = self.runtime().version.spec_version;
        let pending = Pending { hash, bytes, transaction, signer, birth, spec_version, watchers: watchers.clone() };
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
        let dialect = self.runtime().dialect.as_ref();
        let transaction =
            match extrinsic::decode(bytes, dialect).map_err(|error| PoolError::Verification(error.to_string()))? {
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
        self.implicit_of(&self.runtime().version)
    }

    fn implicit_of(&self, version: &RuntimeVersion) -> Implicit {
        Implicit {
            spec_version: version.spec_version,
            transaction_version: version.transaction_version,
            genesis: self.genesis.hash,
        }
    }

    /// What `validate_transaction` answers on top of block `at`.
    pub(super) fn validate(
        &self,
        bytes: &[u8],
        at: u64,
    ) -> Result<Result<extrinsic::ValidTransaction, TransactionValidityError>, codec::Error> {
        let runtime = self.runtime_at(at);
        let Extrinsic::Signed(transaction) = extrinsic::decode(bytes, runtime.dialect.as_ref())? else {
            return Ok(Err(UnknownTransaction::NoUnsignedValidator.into()));
        };
        let parent = self.block_at(at).map(|block| block.hash).unwrap_or_default();
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let state = Opened { base: self.state.at(at), key: system::BLOCK_HASH.key(&(number,)), value: parent };
        let now = at.saturating_add(1);
        Ok(transaction
            .verify(&state, now, self.implicit_of(&runtime.version))
            .and_then(|()| transaction.validate(&state, now)))
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
        Some(View::new(self.state_at(number)?, &self.beacon, self.runtime_at(number)))
    }

    /// The state of the block being built.
    pub(super) fn open_state(&self) -> &State {
        &self.state
    }

    /// The runtime that the state after block `number` has.
    pub(super) fn runtime_at(&self, number: u64) -> &Arc<Runtime> {
        let later = self.runtimes.iter().rev().find(|(first, _)| *first <= number);
        later.map_or(&self.first_runtime, |(_, runtime)| runtime)
    }

    /// The runtime of the newest block's state, which makes the next block.
    pub(super) fn runtime(&self) -> &Arc<Runtime> {
        self.runtime_at(self.head_number())
    }

    pub(super) fn beacon_mut(&mut self) -> (&mut DevnetBeacon, &State) {
        (&mut self.beacon, &self.state)
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
