//! The way to the chain: one connection that mends itself, and the chain's blocks.
use crate::{
    error::ChainError,
    runtime::{Rpc, Runtime, Runtimes},
    state::{AtBlock, Source},
    transport::{Transport, unboxed},
};
use codec::Encode as _;
use prism_core::{Block, Hotkey};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use subxt::{
    OnlineClient,
    backend::LegacyBackend,
    config::{Hasher as _, Header as _, SubstrateConfig, substrate::BlakeTwo256},
    rpcs::RpcClient,
    utils::H256,
};
use tokio::{sync::OwnedMutexGuard, time::Instant};

pub use crate::transport::ChainConfig;

/// A block's place and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) number: u64,
    pub(crate) hash: H256,
}

/// A connection to the chain. Clones share it.
#[derive(Debug, Clone)]
pub struct ChainClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Arc<Source>,
    transport: Arc<Transport>,
    wire: RpcClient,
    genesis: [u8; 32],
    /// One for each account that sent something: its calls go one after the other.
    lanes: Mutex<BTreeMap<Hotkey, Arc<tokio::sync::Mutex<()>>>>,
    /// The best block, and when it was seen first.
    newest: Mutex<Option<(u64, Instant)>>,
}

impl ChainClient {
    /// Connects to the first endpoint that answers and is on the right chain.
    ///
    /// # Errors
    /// `NoEndpoint` and `Endpoint` for a configuration that names no websocket; `Connect`, `WrongChain` or `Deadline` when no
    /// endpoint serves.
    pub async fn connect(config: ChainConfig) -> Result<Self, ChainError> {
        let transport = Arc::new(Transport::new(config)?);
        let genesis = transport.genesis().await?;
        let wire = RpcClient::new(Arc::clone(&transport));
        let source = Arc::new(Source { rpc: Rpc::new(wire.clone()), runtimes: Runtimes::new(genesis) });
        let (lanes, newest) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { source, transport, wire, genesis, lanes, newest })))
    }

    /// The hash of block 0: which chain this is.
    #[must_use]
    pub fn genesis(&self) -> [u8; 32] {
        self.0.genesis
    }

    /// subxt's own client over the same connection, for calls that this crate doesn't wrap.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn subxt(&self) -> Result<OnlineClient<SubstrateConfig>, ChainError> {
        let backend = LegacyBackend::builder().build(self.0.wire.clone());
        OnlineClient::from_backend(Arc::new(backend))
            .await
            .map_err(|error| ChainError::Answer { call: "chain_getBlockHash".into(), reason: error.to_string() })
    }

    /// The time between two blocks, as the runtime has it.
    ///
    /// # Errors
    /// Those of a read; `Missing` when the runtime doesn't say.
    pub async fn block_time(&self) -> Result<Duration, ChainError> {
        self.at_finalized().await?.block_time()
    }

    /// The runtime in force, which runs the block after the best one.
    ///
    /// # Errors
    /// Those of a read; `Decode` for metadata that is none.
    pub async fn runtime(&self) -> Result<Runtime, ChainError> {
        Ok(self.at_best().await?.runtime)
    }

    pub(crate) fn rpc(&self) -> &Rpc {
        &self.0.source.rpc
    }

    /// Waits for the account's turn: while the guard lives, nothing else of this client signs for it.
    pub(crate) async fn lane(&self, account: Hotkey) -> OwnedMutexGuard<()> {
        let lane = {
            let mut lanes = self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lanes.entry(account).or_default())
        };
        lane.lock_owned().await
    }

    /// The best block.
    pub(crate) async fn best(&self) -> Result<Tip, ChainError> {
        const CALL: &str = "chain_getHeader";
        let header = self.rpc().chain_get_header(None).await.map_err(|error| unboxed(CALL, error))?;
        let header = header.ok_or_else(|| ChainError::UnknownBlock("best".into()))?;
        if self.stands_still(header.number()) {
            tracing::warn!(
                block = header.number(),
                "the chain endpoint's best block stands still, trying the next one"
            );
            self.0.transport.rotate().await;
        }
        Ok(Tip { number: header.number(), hash: BlakeTwo256.hash(&header.encode()) })
    }

    /// Whether the best block has been this one for too long: a node without peers answers, but its chain doesn't grow.
    fn stands_still(&self, number: u64) -> bool {
        let mut newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match *newest {
            Some((known, since)) if known >= number => {
                let still = since.elapsed() > self.0.transport.stall();
                if still {
                    *newest = Some((known, Instant::now()));
                }
                still
            }
            _ => {
                *newest = Some((number, Instant::now()));
                false
            }
        }
    }

    /// The newest final block.
    pub(crate) async fn finalized(&self) -> Result<Tip, ChainError> {
        let hash =
            self.rpc().chain_get_finalized_head().await.map_err(|error| unboxed("chain_getFinalizedHead", error))?;
        let header =
            self.rpc().chain_get_header(Some(hash)).await.map_err(|error| unboxed("chain_getHeader", error))?;
        let header = header.ok_or_else(|| ChainError::UnknownBlock(format!("{hash:?}")))?;
        Ok(Tip { number: header.number(), hash })
    }

    /// The block at a height of the best chain.
    pub(crate) async fn tip_at(&self, block: Block) -> Result<Tip, ChainError> {
        let hash = self
            .rpc()
            .chain_get_block_hash(Some(block.0.into()))
            .await
            .map_err(|error| unboxed("chain_getBlockHash", error))?;
        let hash = hash.ok_or_else(|| ChainError::UnknownBlock(block.to_string()))?;
        Ok(Tip { number: block.0, hash })
    }

    /// The extrinsics of a block, as bytes.
    pub(crate) async fn extrinsics(&self, hash: H256) -> Result<Vec<Vec<u8>>, ChainError> {
        let details = self.rpc().chain_get_block(Some(hash)).await.map_err(|error| unboxed("chain_getBlock", error))?;
        let details = details.ok_or_else(|| ChainError::UnknownBlock(format!("{hash:?}")))?;
        Ok(details.block.extrinsics.into_iter().map(|bytes| bytes.0).collect())
    }

    /// State and runtime at a block.
    pub(crate) async fn at(&self, tip: Tip) -> Result<AtBlock, ChainError> {
        AtBlock::new(&self.0.source, tip.number, tip.hash).await
    }

    /// State and runtime at the newest final block.
    pub(crate) async fn at_finalized(&self) -> Result<AtBlock, ChainError> {
        self.at(self.finalized().await?).await
    }

    /// State and runtime at the best block.
    pub(crate) async fn at_best(&self) -> Result<AtBlock, ChainError> {
        self.at(self.best().await?).await
    }
}

impl AtBlock {
    /// The time between two blocks.
    pub(crate) fn block_time(&self) -> Result<Duration, ChainError> {
        Ok(Duration::from_millis(self.constant("Aura", "SlotDuration")?))
    }
}

#[cfg(test)]
mod tests;
