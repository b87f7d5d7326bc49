//! What a validator reads from the chain. Without this seam the loop would name subxt.
use crate::{
    error::Result,
    hotkey::Hotkey,
    id::{Block, Epoch, Netuid, Uid},
};
use async_trait::async_trait;
use std::{fmt::Debug, sync::Arc};

/// The chain's tip, as one node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Best block.
    pub block: Block,
    /// Its hash.
    pub hash: [u8; 32],
    /// Newest final block; at most `block`.
    pub finalized: Block,
}

/// One registered neuron.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neuron {
    /// Its key.
    pub hotkey: Hotkey,
    /// Its slot at the block asked for.
    pub uid: Uid,
    /// Whether it may set weights.
    pub validator_permit: bool,
    /// Its stake, rao.
    pub stake: u64,
}

/// Seeds, epochs, who is registered.
///
/// 1. `finalized_hash` gives one answer for a block, for ever; `NotFound` while the block isn't final.
/// 2. `epoch_at` doesn't fall when the block grows.
/// 3. `neurons` lists each hotkey and each UID once, ordered by UID.
/// 4. `head().finalized` never falls.
#[async_trait]
pub trait ChainView: Debug + Send + Sync + 'static {
    /// The tip.
    async fn head(&self) -> Result<Head>;
    /// Hash of a finalized block.
    async fn finalized_hash(&self, block: Block) -> Result<[u8; 32]>;
    /// The subnet's epoch at a block.
    async fn epoch_at(&self, netuid: Netuid, block: Block) -> Result<Epoch>;
    /// The subnet's neurons at a block.
    async fn neurons(&self, netuid: Netuid, at: Block) -> Result<Vec<Neuron>>;
}

macro_rules! forward { ($($pointer:ident),*) => { $(
    #[async_trait]
    impl<T: ChainView + ?Sized> ChainView for $pointer<T> {
        async fn head(&self) -> Result<Head> {
            (**self).head().await
        }
        async fn finalized_hash(&self, block: Block) -> Result<[u8; 32]> {
            (**self).finalized_hash(block).await
        }
        async fn epoch_at(&self, netuid: Netuid, block: Block) -> Result<Epoch> {
            (**self).epoch_at(netuid, block).await
        }
        async fn neurons(&self, netuid: Netuid, at: Block) -> Result<Vec<Neuron>> {
            (**self).neurons(netuid, at).await
        }
    }
)* } }
forward!(Box, Arc);
