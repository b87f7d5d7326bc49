//! A Bittensor development chain in this process.
//!
//! [`Devnet::start`] gives a chain that speaks the JSON-RPC of a node over a websocket on this machine: real SCALE
//! metadata, signatures that are checked, nonces and eras, blocks with events and storage, the pallets that a neuron
//! touches with the chain's own checks and error names, epochs with Yuma consensus, permits, rate limits, and
//! commit-reveal with a randomness beacon of its own. A client connects to [`Devnet::url`] as it would to any node; the
//! handle's other methods are what no client could do: make blocks, give stake, read the ledger, and let something go
//! wrong ([`Fault`]). With [`RuntimeMetadata::Given`] it speaks in the terms of another runtime, such as finney's.
//!
//! ```no_run
//! use prism_chain::devnet::{Devnet, DevnetConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let devnet = Devnet::start(DevnetConfig::default()).await?;
//! println!("{}", devnet.url());
//! devnet.produce_blocks(10).await;
//! assert_eq!(devnet.head().0, 10);
//! # Ok(()) }
//! ```
//!
//! What it is not: blocks have one author and no consensus; state and extrinsics roots are commitments, not trie
//! roots; calls cost no fee; what an epoch pays is told by `Emission` and not added to anybody's stake.
//!
//! With [`BlockClock::Simulated`] and [`BlockPace::Manual`] the same calls give the same blocks, hash for hash.

mod beacon;
mod block;
mod chain;
mod config;
mod dialect;
mod dispatch;
mod error;
mod extrinsic;
mod faults;
mod fixed;
mod genesis;
mod hyperparameters;
mod ledger;
mod line;
mod metadata;
mod metagraph;
mod pallets;
mod pool;
mod primitives;
mod rpc;
mod runtime;
mod runtime_api;
mod state;
mod storage;
mod transcode;
mod upgrade;
mod view;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonrpsee::server::ServerHandle;
use prism_core::{Epoch, Hotkey, MechanismId, Netuid, Uid};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use config::{
    BeaconConfig, BlockClock, BlockPace, DevnetConfig, GenesisNeuron, Hyperparameter, SubnetConfig, SubnetOwner,
};
pub use error::DevnetError;
pub use faults::Fault;
pub use ledger::{CommittedWeights, LandedWeights};
pub use upgrade::{RuntimeMetadata, RuntimeUpgrade};

use crate::timelock::Beacon;
use chain::Chain;
use line::Line;
use pallets::{balances, drand, subtensor};
use primitives::{AccountId32, AlphaBalance, MechId, NetUid, NetUidStorageIndex};
use rpc::{Cut, Interference};

/// The chain as node, server and handle share it.
type SharedChain = Arc<Mutex<Chain>>;

fn lock(chain: &Mutex<Chain>) -> MutexGuard<'_, Chain> {
    chain.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running development chain. Dropping it stops it.
///
/// What is set up by hand (the methods that change the chain) is part of the next block; the handle's own readers see
/// it at once, clients when that block is there, and those that read finalized state when it is final:
/// [`Devnet::settle`].
#[derive(Debug)]
pub struct Devnet {
    url: String,
    chain: SharedChain,
    finality_lag: u64,
    server: ServerHandle,
    line: Line,
    interference: Interference,
    relay: JoinHandle<()>,
    author: Option<JoinHandle<()>>,
}

impl Devnet {
    /// Starts a chain and its server, at its genesis block.
    ///
    /// # Errors
    /// [`DevnetError::Config`] for a configuration that contradicts itself, [`DevnetError::Listen`] when the address
    /// can't be had.
    pub async fn start(config: DevnetConfig) -> Result<Self, DevnetError> {
        let chain = Arc::new(Mutex::new(Chain::start(&config)?));
        let failed = |source| DevnetError::Listen { address: config.listen, source };
        let line = Line::new();
        let interference = Interference::new(line.clone());
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (behind, server) = rpc::serve(Arc::clone(&chain), interference.clone()).await.map_err(failed)?;
        let relay = line.relay(listener, behind);
        let author = match config.pace {
            BlockPace::Manual => None,
            BlockPace::Every(interval) => Some(tokio::spawn(author(Arc::clone(&chain), interval))),
        };
        let url = format!("ws://{address}");
        Ok(Self { url, chain, finality_lag: config.finality_lag, server, line, interference, relay, author })
    }

    /// Where clients connect: `ws://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes `count` blocks, one after the other, whatever the pace. Other tasks get a turn after each.
    pub async fn produce_blocks(&self, count: u32) {
        for _ in 0..count {
            lock(&self.chain).produce();
            tokio::task::yield_now().await;
        }
    }

    /// Makes as many blocks as it takes for all that was done until now to be final.
    pub async fn settle(&self) {
        let blocks = self.finality_lag.saturating_add(1);
        self.produce_blocks(u32::try_from(blocks).unwrap_or(u32::MAX)).await;
    }

    /// Number and hash of the newest block.
    #[must_use]
    pub fn head(&self) -> (u64, [u8; 32]) {
        let chain = lock(&self.chain);
        (chain.head().header.number, chain.head().hash.0)
    }

    /// Number and hash of the newest final block.
    #[must_use]
    pub fn finalized(&self) -> (u64, [u8; 32]) {
        let block = lock(&self.chain).finalized();
        (block.header.number, block.hash.0)
    }

    /// Hash of block `number`, if it is retained.
    #[must_use]
    pub fn block_hash(&self, number: u64) -> Option<[u8; 32]> {
        lock(&self.chain).block_at(number).map(|block| block.hash.0)
    }

    /// Gives an account `rao` more.
    pub fn endow(&self, account: [u8; 32], rao: u64) {
        lock(&self.chain).set_up(|execution| balances::mint(execution.state, &AccountId32::new(account), rao));
    }

    /// What an account has free, in rao.
    #[must_use]
    pub fn balance(&self, account: [u8; 32]) -> u64 {
        let chain = lock(&self.chain);
        pallets::system::ACCOUNT.get(chain.open_state(), (AccountId32::new(account),)).data.free
    }

    /// Registers a hotkey, free of charge and whether or not registration is open. On a full subnet it replaces a
    /// neuron, as any registration. A hotkey that is registered keeps its UID.
    ///
    /// # Errors
    /// [`DevnetError::UnknownSubnet`]; [`DevnetError::Registration`] when no slot can be had.
    pub fn register(&self, netuid: Netuid, hotkey: Hotkey, coldkey: [u8; 32]) -> Result<Uid, DevnetError> {
        let mut chain = lock(&self.chain);
        let id = known(&chain, netuid)?;
        let hotkey = AccountId32::new(hotkey.0);
        if let Some(uid) = subtensor::UIDS.get(chain.open_state(), (id, hotkey.clone())) {
            return Ok(Uid(uid));
        }
        chain.set_up(|execution| {
            subtensor::OWNER.put(execution.state, (hotkey.clone(),), &AccountId32::new(coldkey));
            let uid = subtensor::register_neuron(execution.state, execution.block, id, &hotkey)
                .map_err(|error| DevnetError::Registration { netuid: netuid.0, error: format!("{error:?}") })?;
            execution.deposit(subtensor::Event::NeuronRegistered(id, uid, hotkey.clone()));
            Ok(Uid(uid))
        })
    }

    /// The UID that a hotkey has now.
    #[must_use]
    pub fn uid(&self, netuid: Netuid, hotkey: Hotkey) -> Option<Uid> {
        let chain = lock(&self.chain);
        subtensor::UIDS.get(chain.open_state(), (NetUid(netuid.0), AccountId32::new(hotkey.0))).map(Uid)
    }

    /// Sets the alpha on a hotkey, in 1e-9. Permits follow at the next epoch.
    pub fn set_stake(&self, netuid: Netuid, hotkey: Hotkey, stake: u64) {
        lock(&self.chain).set_up(|execution| {
            let key = (AccountId32::new(hotkey.0), NetUid(netuid.0));
            subtensor::TOTAL_HOTKEY_ALPHA.put(execution.state, key, &AlphaBalance(stake));
        });
    }

    /// Lets a neuron set weights, until the next epoch decides by stake.
    ///
    /// # Errors
    /// [`DevnetError::UnknownSubnet`], [`DevnetError::UnknownNeuron`].
    pub fn grant_permit(&self, netuid: Netuid, uid: Uid) -> Result<(), DevnetError> {
        let mut chain = lock(&self.chain);
        let id = known(&chain, netuid)?;
        if uid.0 >= subtensor::SUBNETWORK_N.get(chain.open_state(), (id,)) {
            return Err(DevnetError::UnknownNeuron { netuid: netuid.0, uid: uid.0 });
        }
        chain.set_up(|execution| {
            subtensor::VALIDATOR_PERMIT.mutate(execution.state, (id,), |permits| {
                subtensor::replace_element(permits, uid.0, true);
            });
        });
        Ok(())
    }

    /// Sets a hyperparameter of a subnet.
    ///
    /// # Errors
    /// [`DevnetError::UnknownSubnet`].
    pub fn set_hyperparameter(&self, netuid: Netuid, parameter: Hyperparameter) -> Result<(), DevnetError> {
        let mut chain = lock(&self.chain);
        let id = known(&chain, netuid)?;
        chain.set_up(|execution| {
            genesis::set(execution.state, execution.block.saturating_sub(1), id, parameter);
        });
        Ok(())
    }

    /// The epoch that a subnet is in.
    ///
    /// # Errors
    /// [`DevnetError::UnknownSubnet`].
    pub fn epoch(&self, netuid: Netuid) -> Result<Epoch, DevnetError> {
        let chain = lock(&self.chain);
        let id = known(&chain, netuid)?;
        let state = chain.state_at(chain.head().header.number).ok_or(DevnetError::UnknownSubnet(netuid.0))?;
        Ok(Epoch(subtensor::epoch_at(&state, id, chain.head().header.number)))
    }

    /// The weights a neuron has set, as the chain stores them: `(uid, weight)`, the largest weight 65535.
    #[must_use]
    pub fn weights(&self, netuid: Netuid, mechanism: MechanismId, uid: Uid) -> Vec<(u16, u16)> {
        let index = NetUidStorageIndex::new(NetUid(netuid.0), MechId(mechanism.0));
        subtensor::WEIGHTS.get(lock(&self.chain).open_state(), (index, uid.0))
    }

    /// Every weight vector that landed, in chain order: the devnet's own record to hold receipts against. It keeps
    /// the newest 65536.
    #[must_use]
    pub fn ledger(&self) -> Vec<LandedWeights> {
        lock(&self.chain).ledger().landed()
    }

    /// Every commitment to weights that the chain took, in chain order; the newest 65536.
    #[must_use]
    pub fn commitments_to_weights(&self) -> Vec<CommittedWeights> {
        lock(&self.chain).ledger().committed()
    }

    /// The randomness beacon's parameters: what to encrypt for. The chain has them in `Drand.BeaconConfig`.
    #[must_use]
    pub fn beacon(&self) -> Beacon {
        lock(&self.chain).beacon().parameters()
    }

    /// The newest round of the beacon that the chain has.
    #[must_use]
    pub fn newest_round(&self) -> u64 {
        drand::LAST_STORED_ROUND.get(lock(&self.chain).open_state(), ())
    }

    /// Lets something go wrong.
    ///
    /// # Errors
    /// [`DevnetError::Config`] for an upgrade to metadata that can't be read or doesn't fit.
    pub fn inject(&self, fault: Fault) -> Result<(), DevnetError> {
        match fault {
            Fault::Drop => self.line.cut(),
            Fault::DropBeforeSubmit => self.interference.cut(Cut::BeforePool),
            Fault::DropAfterSubmit => self.interference.cut(Cut::AfterPool),
            Fault::HalfDead => self.line.mute(),
            Fault::RateLimit { calls } => self.interference.refuse(calls),
            Fault::PoolLoss => lock(&self.chain).lose_pool(),
            Fault::FinalityStall => lock(&self.chain).stall(true),
            Fault::Reorg { blocks } => lock(&self.chain).reorganize(blocks),
            Fault::Upgrade(upgrade) => lock(&self.chain).upgrade(&upgrade)?,
            Fault::LostRounds(rounds) => {
                let mut chain = lock(&self.chain);
                let (beacon, state) = chain.beacon_mut();
                beacon.lose(state, rounds);
            }
            Fault::BeaconSilence => lock(&self.chain).beacon_mut().0.is_silent = true,
        }
        Ok(())
    }

    /// Ends every fault that stays, and forgets those that wait for an occasion.
    pub fn mend(&self) {
        self.interference.clear();
        self.line.unmute();
        let mut chain = lock(&self.chain);
        chain.stall(false);
        chain.beacon_mut().0.is_silent = false;
    }

    /// The spec version of the newest block's runtime.
    #[must_use]
    pub fn spec_version(&self) -> u32 {
        lock(&self.chain).runtime().version.spec_version
    }

    /// Stops the chain and waits until its server is gone, for at most five seconds: a client that doesn't take its
    /// goodbye is left behind.
    pub async fn stop(self) {
        let (server, relay) = (self.server.clone(), self.relay.abort_handle());
        drop(self);
        let gone = async {
            server.stopped().await;
            while !relay.is_finished() {
                tokio::task::yield_now().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), gone).await;
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        if let Some(author) = self.author.take() {
            author.abort();
        }
        self.relay.abort();
        // An error says that it has stopped already.
        let _ = self.server.stop();
    }
}

fn known(chain: &Chain, netuid: Netuid) -> Result<NetUid, DevnetError> {
    let id = NetUid(netuid.0);
    if subtensor::NETWORKS_ADDED.get(chain.open_state(), (id,)) {
        Ok(id)
    } else {
        Err(DevnetError::UnknownSubnet(netuid.0))
    }
}

/// Makes a block at every tick.
async fn author(chain: SharedChain, interval: Duration) {
    // An interval of zero isn't one.
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    // The first tick is at once; the first block comes an interval later.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        lock(&chain).produce();
    }
}
