//! The chain as the validator's loop reads it.
use crate::{
    client::{ChainClient, Tip},
    error::ChainError,
};
use async_trait::async_trait;
use prism_core::{
    Block, ChainView, Epoch, Error, Fault, Kind, Netuid, Result,
    chain_view::{Head, Neuron},
};
use std::sync::atomic::{AtomicU64, Ordering};

/// [`ChainView`] over a Subtensor chain.
#[derive(Debug)]
pub struct SubtensorView {
    client: ChainClient,
    /// The newest block that was seen final.
    finalized: AtomicU64,
}

impl SubtensorView {
    /// A view over a connection.
    #[must_use]
    pub fn new(client: ChainClient) -> Self {
        Self { client, finalized: AtomicU64::new(0) }
    }

    /// The block at this height of the best chain.
    async fn tip(&self, block: Block) -> Result<Tip> {
        match self.client.tip_at(block).await {
            Err(ChainError::UnknownBlock(_)) => Err(not_yet(block, "in the chain")),
            tip => Ok(tip?),
        }
    }
}

fn not_yet(block: Block, what: &str) -> Error {
    Error::new(Kind::NotFound, Fault::Infrastructure, format!("block {block} is not {what} yet"))
}

#[async_trait]
impl ChainView for SubtensorView {
    async fn head(&self) -> Result<Head> {
        // Final first: the best block, read later, is then not behind it.
        let final_now = self.client.finalized().await?.number;
        // Another endpoint, or an answer that was overtaken, may show less than was seen.
        let finalized = self.finalized.fetch_max(final_now, Ordering::Relaxed).max(final_now);
        let best = self.client.best().await?;
        if best.number < finalized {
            return Err(ChainError::Behind { what: "best", block: best.number, expected: finalized }.into());
        }
        Ok(Head { block: Block(best.number), hash: best.hash.0, finalized: Block(finalized) })
    }

    async fn finalized_hash(&self, block: Block) -> Result<[u8; 32]> {
        // What this very node holds final: it may be another, slower one than a moment ago.
        if block.0 > self.client.finalized().await?.number {
            return Err(not_yet(block, "final"));
        }
        Ok(self.tip(block).await?.hash.0)
    }

    async fn epoch_at(&self, netuid: Netuid, block: Block) -> Result<Epoch> {
        let at = self.client.at(self.tip(block).await?).await?;
        Ok(at.epoch_clock(netuid).await?.epoch(block, netuid))
    }

    async fn neurons(&self, netuid: Netuid, at: Block) -> Result<Vec<Neuron>> {
        let metagraph = self.client.at(self.tip(at).await?).await?.metagraph(netuid).await?;
        let neurons = metagraph.members.into_iter().map(|member| Neuron {
            hotkey: member.hotkey,
            uid: member.uid,
            validator_permit: member.validator_permit,
            stake: member.stake,
        });
        Ok(neurons.collect())
    }
}
