//! The JSON-RPC server: the methods a node has for clients of the legacy interface.

mod author;
mod chain;
mod fault;
mod interference;
mod params;
mod state;
mod system;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jsonrpsee::server::middleware::rpc::RpcServiceBuilder;
use jsonrpsee::server::{BatchRequestConfig, Server, ServerConfig, ServerHandle};
use jsonrpsee::{Extensions, PendingSubscriptionSink, RpcModule, SubscriptionMessage, SubscriptionSink};
use serde::Serialize;

pub(super) use interference::{Cut, Interference};

use super::SharedChain;
use interference::Interfered;

/// Room for the largest extrinsic as hexadecimal digits.
const MAX_REQUEST_BYTES: u32 = 9 * 1024 * 1024;
const MAX_RESPONSE_BYTES: u32 = 32 * 1024 * 1024;
const MAX_CONNECTIONS: u32 = 256;
const MAX_SUBSCRIPTIONS_PER_CONNECTION: u32 = 256;
const MAX_BATCH: u32 = 64;

/// Starts the server on a port of its own, for the relay. It stops when the handle is told to.
pub(super) async fn serve(
    chain: SharedChain,
    interference: Interference,
) -> std::io::Result<(SocketAddr, ServerHandle)> {
    let config = ServerConfig::builder()
        .max_request_body_size(MAX_REQUEST_BYTES)
        .max_response_body_size(MAX_RESPONSE_BYTES)
        .max_connections(MAX_CONNECTIONS)
        .max_subscriptions_per_connection(MAX_SUBSCRIPTIONS_PER_CONNECTION)
        .set_batch_request_config(BatchRequestConfig::Limit(MAX_BATCH))
        .set_tcp_no_delay(true)
        .build();
    let middleware =
        RpcServiceBuilder::new().layer_fn(move |service| Interfered { service, interference: interference.clone() });
    let builder = Server::builder().set_config(config).set_rpc_middleware(middleware);
    let server = builder.build((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = server.local_addr()?;
    Ok((address, server.start(methods(chain).map_err(std::io::Error::other)?)))
}

/// All methods, and `rpc_methods` that lists them. The list has no `archive_` or `chainHead_` names, by which clients
/// know to use these.
pub(super) fn methods(chain: SharedChain) -> Result<RpcModule<SharedChain>, jsonrpsee::core::RegisterMethodError> {
    let mut module = RpcModule::from_arc(Arc::new(chain));
    chain::register(&mut module)?;
    state::register(&mut module)?;
    author::register(&mut module)?;
    system::register(&mut module)?;
    let mut names: Vec<String> = module.method_names().map(str::to_owned).collect();
    names.push("rpc_methods".to_owned());
    names.sort();
    module.register_method("rpc_methods", move |_, _, _: &Extensions| serde_json::json!({ "methods": names }))?;
    Ok(module)
}

/// Sends one item to a subscriber; an error says that it is gone.
async fn send<T: Serialize>(sink: &SubscriptionSink, item: &T) -> Result<(), ()> {
    let message = SubscriptionMessage::new(sink.method_name(), sink.subscription_id(), item).map_err(|_| ())?;
    sink.send(message).await.map_err(|_| ())
}

/// Accepts a subscription; `None` when the subscriber is gone already.
async fn accept(pending: PendingSubscriptionSink) -> Option<SubscriptionSink> {
    pending.accept().await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use crate::devnet::DevnetConfig;
    use crate::devnet::chain::Chain;

    use super::*;

    #[test]
    fn the_methods_are_those_of_the_legacy_interface_and_no_newer_one() {
        let config = DevnetConfig::default();
        let chain = Chain::start(&config).unwrap();
        let module = methods(Arc::new(Mutex::new(chain))).unwrap();
        let names: Vec<_> = module.method_names().collect();
        for needed in [
            "rpc_methods",
            "chain_getBlockHash",
            "chain_getFinalizedHead",
            "chain_getHeader",
            "chain_getBlock",
            "chain_subscribeNewHeads",
            "chain_unsubscribeNewHeads",
            "chain_subscribeFinalizedHeads",
            "chain_unsubscribeFinalizedHeads",
            "chain_subscribeAllHeads",
            "chain_unsubscribeAllHeads",
            "state_getStorage",
            "state_getKeysPaged",
            "state_queryStorageAt",
            "state_call",
            "state_getRuntimeVersion",
            "state_getMetadata",
            "author_submitExtrinsic",
            "author_submitAndWatchExtrinsic",
            "author_unwatchExtrinsic",
            "system_accountNextIndex",
            "system_chain",
            "system_name",
            "system_version",
            "system_health",
            "system_properties",
        ] {
            assert!(names.contains(&needed), "{needed}");
        }
        assert!(
            !names.iter().any(|name| ["archive_", "chainHead_", "transaction"].iter().any(|p| name.starts_with(p)))
        );
    }
}
