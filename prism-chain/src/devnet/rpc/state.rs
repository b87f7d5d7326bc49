//! `state_*`: storage, runtime calls, versions.

use std::sync::Arc;

use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use super::params::{Arguments, unhex};
use super::{accept, fault, send};
use crate::devnet::block::hex;
use crate::devnet::chain::Chain;
use crate::devnet::runtime::RuntimeVersion;
use crate::devnet::runtime_api::{self, CallError};
use crate::devnet::view::View;
use crate::devnet::{SharedChain, lock};

/// Keys in one page, as nodes allow.
const MAX_PAGE: usize = 1000;

pub(super) fn register(module: &mut RpcModule<SharedChain>) -> Result<(), RegisterMethodError> {
    module.register_method("state_getStorage", |params, chain, _| {
        let arguments = Arguments::of(&params)?;
        let key = arguments.bytes(0)?;
        let chain = lock(chain);
        Ok::<_, ErrorObjectOwned>(view(&chain, &arguments, 1)?.read(&key).map(hex))
    })?;
    module.register_method("state_getKeysPaged", |params, chain, _| {
        let arguments = Arguments::of(&params)?;
        let prefix = arguments.optional_bytes(0)?.unwrap_or_default();
        let count = arguments.count(1)?;
        if count > MAX_PAGE {
            return Err(fault::too_many(count, MAX_PAGE));
        }
        let start = arguments.optional_bytes(2)?;
        let chain = lock(chain);
        let keys = view(&chain, &arguments, 3)?.keys(&prefix, start.as_deref(), count);
        Ok(keys.into_iter().map(hex).collect::<Vec<_>>())
    })?;
    module.register_method("state_queryStorageAt", |params, chain, _| {
        let arguments = Arguments::of(&params)?;
        query(&lock(chain), &arguments)
    })?;
    module.register_method("state_call", |params, chain, _| {
        let arguments = Arguments::of(&params)?;
        let (method, parameters) = (arguments.text(0)?, arguments.bytes(1)?);
        let chain = lock(chain);
        let at = arguments.block(2, &chain)?;
        runtime_api::call(&chain, method, &parameters, at).map(hex).map_err(|error| fault::call(&error))
    })?;
    module.register_method("state_getMetadata", |params, chain, _| {
        let chain = lock(chain);
        let at = Arguments::of(&params)?.block(0, &chain)?;
        Ok::<_, ErrorObjectOwned>(hex(chain.runtime_at(at).metadata.oldest()))
    })?;
    module.register_method("state_getRuntimeVersion", |params, chain, _| {
        let chain = lock(chain);
        let at = Arguments::of(&params)?.block(0, &chain)?;
        Ok::<_, ErrorObjectOwned>(version(&chain.runtime_at(at).version))
    })?;
    module.register_alias("chain_getRuntimeVersion", "state_getRuntimeVersion")?;
    module.register_subscription(
        "state_subscribeRuntimeVersion",
        "state_runtimeVersion",
        "state_unsubscribeRuntimeVersion",
        |_, pending, chain, _| async move {
            let mut heads = lock(&chain).subscribe_heads();
            let Some(sink) = accept(pending).await else { return };
            let mut told = None;
            loop {
                let runtime = Arc::clone(lock(&chain).runtime());
                if told != Some(runtime.version.spec_version) {
                    told = Some(runtime.version.spec_version);
                    if send(&sink, &version(&runtime.version)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    () = sink.closed() => return,
                    head = heads.recv() => if matches!(head, Err(RecvError::Closed)) { return },
                }
            }
        },
    )?;
    Ok(())
}

fn view<'a>(chain: &'a Chain, arguments: &Arguments, index: usize) -> Result<View<'a>, ErrorObjectOwned> {
    let number = arguments.block(index, chain)?;
    chain.view_at(number).ok_or_else(|| fault::call(&CallError::Discarded(number)))
}

fn query(chain: &Chain, arguments: &Arguments) -> Result<Value, ErrorObjectOwned> {
    let keys = arguments.get(0).and_then(Value::as_array);
    let keys = keys.ok_or_else(|| fault::invalid_params("parameter 0 must be a list of keys"))?;
    if keys.len() > MAX_PAGE {
        return Err(fault::too_many(keys.len(), MAX_PAGE));
    }
    let view = view(chain, arguments, 1)?;
    let block = chain.block_at(arguments.block(1, chain)?).map(|block| hex(block.hash));
    let changes = keys
        .iter()
        .map(|key| {
            let bytes = key.as_str().and_then(unhex);
            let bytes = bytes.ok_or_else(|| fault::invalid_params("a key must be 0x and digits"))?;
            Ok((key.clone(), view.read(&bytes).map(hex)))
        })
        .collect::<Result<Vec<_>, ErrorObjectOwned>>()?;
    Ok(json!([{ "block": block, "changes": changes }]))
}

fn version(version: &RuntimeVersion) -> Value {
    json!({
        "specName": version.spec_name,
        "implName": version.impl_name,
        "authoringVersion": version.authoring_version,
        "specVersion": version.spec_version,
        "implVersion": version.impl_version,
        "apis": version.apis.iter().map(|(id, version)| (hex(id), version)).collect::<Vec<_>>(),
        "transactionVersion": version.transaction_version,
        "systemVersion": version.system_version,
        "stateVersion": version.system_version,
    })
}
