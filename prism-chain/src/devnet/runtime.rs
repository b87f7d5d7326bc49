//! The runtime: the pallets put together, and the versions it goes by.

use codec::{Decode, Encode};
use scale_info::TypeInfo;
use sp_crypto_hashing::blake2_64;

use super::dispatch::{DispatchClass, DispatchError, DispatchEventInfo, Execution, Pays, Weight};
use super::pallets::{balances, commitments, drand, subtensor, system, timestamp};
use super::primitives::AccountId32;

/// Every call, by pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) enum RuntimeCall {
    #[codec(index = 0)]
    System(system::Call),
    #[codec(index = 2)]
    Timestamp(timestamp::Call),
    #[codec(index = 5)]
    Balances(balances::Call),
    #[codec(index = 7)]
    SubtensorModule(subtensor::Call),
    #[codec(index = 18)]
    Commitments(commitments::Call),
}

/// Every event, by pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) enum RuntimeEvent {
    #[codec(index = 0)]
    System(system::Event),
    #[codec(index = 5)]
    Balances(balances::Event),
    #[codec(index = 7)]
    SubtensorModule(subtensor::Event),
    #[codec(index = 18)]
    Commitments(commitments::Event),
    #[codec(index = 26)]
    Drand(drand::Event),
}

/// Every module error, by pallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) enum RuntimeError {
    #[codec(index = 7)]
    SubtensorModule(subtensor::Error),
    #[codec(index = 18)]
    Commitments(commitments::Error),
}

impl From<system::Event> for RuntimeEvent {
    fn from(event: system::Event) -> Self {
        Self::System(event)
    }
}

impl From<balances::Event> for RuntimeEvent {
    fn from(event: balances::Event) -> Self {
        Self::Balances(event)
    }
}

impl From<commitments::Event> for RuntimeEvent {
    fn from(event: commitments::Event) -> Self {
        Self::Commitments(event)
    }
}

impl From<drand::Event> for RuntimeEvent {
    fn from(event: drand::Event) -> Self {
        Self::Drand(event)
    }
}

impl From<subtensor::Event> for RuntimeEvent {
    fn from(event: subtensor::Event) -> Self {
        Self::SubtensorModule(event)
    }
}

impl RuntimeCall {
    /// Runs the call for its signer. What it wrote stays only when it answers `Ok`.
    pub(super) fn dispatch(&self, execution: &mut Execution<'_>, signer: &AccountId32) -> Result<(), DispatchError> {
        execution.state.begin();
        let result = match self {
            Self::System(call) => call.dispatch(execution, signer),
            Self::Timestamp(call) => call.dispatch_signed(),
            Self::Balances(call) => call.dispatch(execution, signer),
            Self::SubtensorModule(call) => call.dispatch(execution, signer),
            Self::Commitments(call) => call.dispatch(execution, signer),
        };
        if result.is_ok() {
            execution.state.commit();
        } else {
            execution.state.rollback();
            execution.events.clear();
            execution.entries.clear();
        }
        result
    }

    /// What the final event of the extrinsic says about this call.
    pub(super) fn info(&self) -> DispatchEventInfo {
        let (class, pays_fee) = match self {
            Self::Timestamp(_) => (DispatchClass::Mandatory, Pays::Yes),
            Self::System(_) | Self::Balances(_) => (DispatchClass::Normal, Pays::Yes),
            Self::SubtensorModule(_) | Self::Commitments(_) => (DispatchClass::Normal, Pays::No),
        };
        DispatchEventInfo { weight: Weight::default(), class, pays_fee }
    }
}

/// `sp_version::RuntimeVersion`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) struct RuntimeVersion {
    pub(super) spec_name: String,
    pub(super) impl_name: String,
    pub(super) authoring_version: u32,
    pub(super) spec_version: u32,
    pub(super) impl_version: u32,
    pub(super) apis: Vec<([u8; 8], u32)>,
    pub(super) transaction_version: u32,
    pub(super) system_version: u8,
}

/// Runtime interfaces and their versions.
const APIS: [(&str, u32); 5] =
    [("Core", 5), ("Metadata", 2), ("TaggedTransactionQueue", 3), ("AccountNonceApi", 1), ("SubnetInfoRuntimeApi", 2)];

/// The version that clients key their caches by.
const TRANSACTION_VERSION: u32 = 1;

/// The runtime's version at this spec version.
pub(super) fn version(spec_version: u32) -> RuntimeVersion {
    RuntimeVersion {
        spec_name: "node-subtensor".to_owned(),
        impl_name: "node-subtensor".to_owned(),
        authoring_version: 1,
        spec_version,
        impl_version: 1,
        apis: APIS.iter().map(|(name, version)| (blake2_64(name.as_bytes()), *version)).collect(),
        transaction_version: TRANSACTION_VERSION,
        system_version: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::primitives::{NetUid, bounded};
    use super::*;

    #[test]
    fn call_data_is_what_clients_of_the_live_chain_encode() {
        // Made by subxt from finney's metadata at spec 393.
        let data = hex::decode("07002500080000010008ffff00800700000000000000").unwrap();
        let call = RuntimeCall::SubtensorModule(subtensor::Call::set_weights {
            netuid: NetUid(37),
            dests: vec![0, 1],
            weights: vec![65_535, 32_768],
            version_key: 7,
        });
        assert_eq!(call.encode(), data);
        assert_eq!(RuntimeCall::decode(&mut &data[..]), Ok(call));
    }

    #[test]
    fn a_commitment_s_call_data_is_what_clients_of_the_live_chain_encode() {
        let data = hex::decode("12002500040668656c6c6f").unwrap();
        let fields = vec![commitments::Data::Raw(bounded(b"hello"))].try_into().unwrap();
        let info = commitments::CommitmentInfo { fields };
        let call = RuntimeCall::Commitments(commitments::Call::set_commitment { netuid: NetUid(37), info });
        assert_eq!(call.encode(), data);
        assert_eq!(RuntimeCall::decode(&mut &data[..]), Ok(call));
    }

    #[test]
    fn api_ids_are_the_published_ones() {
        let ids: Vec<_> = version(425).apis.iter().map(|(id, _)| hex::encode(id)).collect();
        assert_eq!(&ids[..4], ["df6acb689907609b", "37e397fc7c91f5e4", "d2bc9897eed08f15", "bc9d89904f5b923f"]);
    }
}
