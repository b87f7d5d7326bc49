//! `system_*`: what chain and node this is.

use jsonrpsee::RpcModule;
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::json;
use sp_core::crypto::Ss58Codec;

use super::fault;
use super::params::Arguments;
use crate::devnet::primitives::AccountId32;
use crate::devnet::{SharedChain, lock};

pub(super) fn register(module: &mut RpcModule<SharedChain>) -> Result<(), RegisterMethodError> {
    module.register_method("system_chain", |_, _, _| "PRISM devnet")?;
    module.register_method("system_chainType", |_, _, _| "Development")?;
    module.register_method("system_name", |_, _, _| "prism-devnet")?;
    module.register_method("system_version", |_, _, _| env!("CARGO_PKG_VERSION"))?;
    module.register_method(
        "system_health",
        |_, _, _| json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false }),
    )?;
    module.register_method(
        "system_properties",
        |_, _, _| json!({ "ss58Format": 42, "tokenDecimals": 9, "tokenSymbol": "TAO" }),
    )?;
    module.register_method("system_accountNextIndex", |params, chain, _| {
        let arguments = Arguments::of(&params)?;
        let account = AccountId32::from_ss58check(arguments.text(0)?)
            .map_err(|error| fault::invalid_params(format!("parameter 0 must be an ss58 address: {error}")))?;
        Ok::<_, ErrorObjectOwned>(lock(chain).next_nonce(&account))
    })?;
    Ok(())
}
