//! `author_*`: handing in transactions and hearing what becomes of them.

use codec::Decode;
use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::types::ErrorObjectOwned;

use super::params::Arguments;
use super::{accept, fault, send};
use crate::devnet::block::hex;
use crate::devnet::pool::{PoolError, Watcher};
use crate::devnet::primitives::H256;
use crate::devnet::{SharedChain, lock};

pub(super) fn register(module: &mut RpcModule<SharedChain>) -> Result<(), RegisterMethodError> {
    module.register_method("author_submitExtrinsic", |params, chain, _| {
        submit(&Arguments::of(&params)?, chain, None).map(hex)
    })?;
    module.register_subscription(
        "author_submitAndWatchExtrinsic",
        "author_extrinsicUpdate",
        "author_unwatchExtrinsic",
        |params, pending, chain, _| async move {
            let (watcher, mut news) = Watcher::new();
            let submitted = Arguments::of(&params).and_then(|arguments| submit(&arguments, &chain, Some(watcher)));
            if let Err(error) = submitted {
                pending.reject(error).await;
                return;
            }
            let Some(sink) = accept(pending).await else { return };
            loop {
                let status = tokio::select! {
                    () = sink.closed() => return,
                    status = news.recv() => status,
                };
                match status {
                    Some(status) if send(&sink, &status).await.is_ok() && !status.is_final() => {}
                    _ => return,
                }
            }
        },
    )?;
    Ok(())
}

fn submit(arguments: &Arguments, chain: &SharedChain, watcher: Option<Watcher>) -> Result<H256, ErrorObjectOwned> {
    let bytes = arguments.bytes(0)?;
    let opaque = Vec::<u8>::decode(&mut bytes.as_slice()).map_err(|error| PoolError::BadFormat(error.to_string()));
    opaque.and_then(|_| lock(chain).submit(bytes, watcher)).map_err(|error| fault::pool(&error))
}
