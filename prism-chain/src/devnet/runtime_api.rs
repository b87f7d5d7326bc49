//! Runtime interfaces: what `state_call` answers.

use codec::{Decode, Encode};

use super::chain::Chain;
use super::hyperparameters;
use super::metadata::OpaqueMetadata;
use super::metagraph;
use super::pallets::{subtensor, system};
use super::primitives::{AccountId32, MechId, NetUid};

/// Why a runtime call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// No such method.
    #[error("Exported method {0} is not found")]
    Unknown(String),
    /// The parameters aren't those of the method.
    #[error("Bad input data provided to {method}: {reason}")]
    Input {
        /// The method.
        method: String,
        /// What the decoder said.
        reason: String,
    },
    /// The block's state is gone.
    #[error("State already discarded for block {0}")]
    Discarded(u64),
}

/// Answers `method` with SCALE parameters on the state of block `at`.
pub(super) fn call(chain: &Chain, method: &str, parameters: &[u8], at: u64) -> Result<Vec<u8>, CallError> {
    let state = chain.state_at(at).ok_or(CallError::Discarded(at))?;
    let runtime = chain.runtime_at(at);
    let mut input = parameters;
    let bad_input = |error: codec::Error| CallError::Input { method: method.to_owned(), reason: error.to_string() };
    let answer = match method {
        "Core_version" => runtime.version.encode(),
        "Metadata_metadata" => OpaqueMetadata(runtime.metadata.oldest().to_vec()).encode(),
        "Metadata_metadata_versions" => runtime.metadata.versions().encode(),
        "Metadata_metadata_at_version" => {
            let version = u32::decode(&mut input).map_err(bad_input)?;
            runtime.metadata.at_version(version).map(|bytes| OpaqueMetadata(bytes.to_vec())).encode()
        }
        "AccountNonceApi_account_nonce" => {
            let account = AccountId32::decode(&mut input).map_err(bad_input)?;
            system::ACCOUNT.get(&state, (account,)).nonce.encode()
        }
        "TaggedTransactionQueue_validate_transaction" => {
            let _source = u8::decode(&mut input).map_err(bad_input)?;
            let transaction = Vec::<u8>::decode(&mut input).map_err(bad_input)?;
            chain.validate(&transaction.encode(), at).map_err(bad_input)?.encode()
        }
        "SubnetInfoRuntimeApi_get_next_epoch_start_block" => {
            let netuid = NetUid::decode(&mut input).map_err(bad_input)?;
            subtensor::next_epoch_start(&state, netuid).encode()
        }
        "SubnetInfoRuntimeApi_get_subnet_hyperparams_v2" => {
            hyperparameters::v2(&state, NetUid::decode(&mut input).map_err(bad_input)?).encode()
        }
        "SubnetInfoRuntimeApi_get_subnet_hyperparams_v3" => {
            hyperparameters::v3(&state, NetUid::decode(&mut input).map_err(bad_input)?).encode()
        }
        "SubnetInfoRuntimeApi_get_metagraph" => {
            let netuid = NetUid::decode(&mut input).map_err(bad_input)?;
            metagraph::whole(&state, at, netuid, MechId(0)).encode()
        }
        "SubnetInfoRuntimeApi_get_mechagraph" => {
            let (netuid, mechanism) = Decode::decode(&mut input).map_err(bad_input)?;
            metagraph::whole(&state, at, netuid, mechanism).encode()
        }
        "SubnetInfoRuntimeApi_get_selective_metagraph" => {
            let (netuid, fields) = <(NetUid, Vec<u16>)>::decode(&mut input).map_err(bad_input)?;
            metagraph::selective(&state, at, (netuid, MechId(0)), &fields).encode()
        }
        "SubnetInfoRuntimeApi_get_selective_mechagraph" => {
            let (netuid, mechanism, fields) = <(NetUid, MechId, Vec<u16>)>::decode(&mut input).map_err(bad_input)?;
            metagraph::selective(&state, at, (netuid, mechanism), &fields).encode()
        }
        _ => return Err(CallError::Unknown(method.to_owned())),
    };
    // Only what depends on the subnets has types that differ between runtimes.
    match (&runtime.dialect, method.split_once('_')) {
        (Some(dialect), Some((interface @ "SubnetInfoRuntimeApi", name))) => {
            dialect.answer(interface, name, &answer).ok_or_else(|| CallError::Unknown(method.to_owned()))
        }
        _ => Ok(answer),
    }
}
