//! `chain_*`: blocks, headers and their subscriptions.

use std::sync::Arc;

use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::{PendingSubscriptionSink, RpcModule};
use serde_json::Value;
use tokio::sync::broadcast;

use super::params::Arguments;
use super::{accept, fault, send};
use crate::devnet::block::{Block, hex};
use crate::devnet::chain::Chain;
use crate::devnet::{SharedChain, lock};

/// Block numbers that one `chain_getBlockHash` may ask for.
const MAX_NUMBERS: usize = 1000;

pub(super) fn register(module: &mut RpcModule<SharedChain>) -> Result<(), RegisterMethodError> {
    module.register_method("chain_getBlockHash", |params, chain, _| {
        let arguments = Arguments::of(&params)?;
        block_hash(&lock(chain), arguments.get(0))
    })?;
    module.register_method("chain_getFinalizedHead", |_, chain, _| hex(lock(chain).finalized().hash))?;
    module.register_method("chain_getHeader", |params, chain, _| {
        let block = block(&lock(chain), &Arguments::of(&params)?)?;
        Ok::<_, ErrorObjectOwned>(block.map_or(Value::Null, |block| block.header.json()))
    })?;
    module.register_method("chain_getBlock", |params, chain, _| {
        let block = block(&lock(chain), &Arguments::of(&params)?)?;
        Ok::<_, ErrorObjectOwned>(block.map_or(Value::Null, |block| block.json()))
    })?;
    for (subscribe, item, unsubscribe) in [
        ("chain_subscribeNewHeads", "chain_newHead", "chain_unsubscribeNewHeads"),
        ("chain_subscribeAllHeads", "chain_allHead", "chain_unsubscribeAllHeads"),
    ] {
        module.register_subscription(subscribe, item, unsubscribe, |_, pending, chain, _| async move {
            let (first, receiver) = {
                let chain = lock(&chain);
                (Arc::clone(chain.head()), chain.subscribe_heads())
            };
            forward(pending, first, receiver).await;
        })?;
    }
    module.register_subscription(
        "chain_subscribeFinalizedHeads",
        "chain_finalizedHead",
        "chain_unsubscribeFinalizedHeads",
        |_, pending, chain, _| async move {
            let (first, receiver) = {
                let chain = lock(&chain);
                (chain.finalized(), chain.subscribe_finalized_heads())
            };
            forward(pending, first, receiver).await;
        },
    )?;
    Ok(())
}

fn block(chain: &Chain, arguments: &Arguments) -> Result<Option<Arc<Block>>, ErrorObjectOwned> {
    Ok(match arguments.optional_hash(0)? {
        None => Some(Arc::clone(chain.head())),
        Some(hash) => chain.block(hash),
    })
}

/// Hash of the head, of a numbered block, or of each in a list. Numbers may be hexadecimal text.
fn block_hash(chain: &Chain, number: Option<&Value>) -> Result<Value, ErrorObjectOwned> {
    match number {
        None => Ok(Value::from(hex(chain.head().hash))),
        Some(Value::Array(numbers)) if numbers.len() > MAX_NUMBERS => Err(fault::too_many(numbers.len(), MAX_NUMBERS)),
        Some(Value::Array(numbers)) => {
            numbers.iter().map(|number| numbered(chain, number)).collect::<Result<Vec<_>, _>>().map(Value::from)
        }
        Some(number) => numbered(chain, number),
    }
}

fn numbered(chain: &Chain, number: &Value) -> Result<Value, ErrorObjectOwned> {
    let number = match number {
        Value::String(text) => text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()),
        number => number.as_u64(),
    };
    let number = number.ok_or_else(|| fault::invalid_params("block number must be a number or 0x and digits"))?;
    Ok(chain.block_at(number).map_or(Value::Null, |block| Value::from(hex(block.hash))))
}

/// Sends the first header, then every new one, until the subscriber goes. Who is too slow misses some.
async fn forward(pending: PendingSubscriptionSink, first: Arc<Block>, mut blocks: broadcast::Receiver<Arc<Block>>) {
    let Some(sink) = accept(pending).await else { return };
    if send(&sink, &first.header.json()).await.is_err() {
        return;
    }
    loop {
        let block = tokio::select! {
            () = sink.closed() => return,
            block = blocks.recv() => block,
        };
        match block {
            Ok(block) if send(&sink, &block.header.json()).await.is_ok() => {}
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            _ => return,
        }
    }
}
