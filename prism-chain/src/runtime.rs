//! The chain's runtime as its metadata describes it: state, constants, calls and interfaces by name.
use crate::{error::ChainError, record::Record, transport::unboxed};
use codec::{Decode, Encode as _};
use frame_metadata::{META_RESERVED, RuntimeMetadata, RuntimeMetadataPrefixed};
use prism_core::{Hotkey, Netuid};
use scale_info::{PortableRegistry, TypeDef, form::PortableForm};
use std::{borrow::Cow, collections::VecDeque, fmt};
use subxt::{
    Metadata,
    client::{OfflineClient, OfflineClientAtBlock},
    config::{RpcConfigFor, SubstrateConfig, substrate::SpecVersionForRange},
    dynamic::Value,
    ext::{
        frame_decode::{
            runtime_apis::encode_runtime_api_inputs,
            storage::{StorageInfo, StorageTypeInfo as _, encode_storage_key_with_info},
        },
        scale_decode::DecodeAsType,
    },
    rpcs::LegacyRpcMethods,
    utils::{AccountId32, H256},
};
use tokio::sync::Mutex;

pub(crate) use crate::state::AtBlock;

/// JSON-RPC as nodes of the legacy generation speak it.
pub(crate) type Rpc = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;

/// Newest metadata version that subxt 0.51 understands.
const NEWEST_METADATA: u32 = 16;
/// Runtimes that are kept: the one in force, the next one, and those of blocks that are looked back at.
const KEPT_RUNTIMES: usize = 4;

/// A storage entry, by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) pallet: &'static str,
    pub(crate) name: &'static str,
}

impl Entry {
    pub(crate) const fn new(pallet: &'static str, name: &'static str) -> Self {
        Self { pallet, name }
    }
    /// Of Subtensor's own pallet.
    pub(crate) const fn subtensor(name: &'static str) -> Self {
        Self::new("SubtensorModule", name)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.pallet, self.name)
    }
}

/// A method of a runtime interface, by its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Api {
    pub(crate) interface: &'static str,
    pub(crate) method: &'static str,
}

impl Api {
    pub(crate) const fn new(interface: &'static str, method: &'static str) -> Self {
        Self { interface, method }
    }
}

/// As `state_call` wants it.
impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.interface, self.method)
    }
}

/// A key part or call argument.
pub(crate) fn number(value: impl Into<u128>) -> Value {
    Value::u128(value.into())
}

/// An account as key part or call argument.
pub(crate) fn account(hotkey: &Hotkey) -> Value {
    Value::from_bytes(hotkey.0)
}

/// A subnet as key part or call argument.
pub(crate) fn subnet(netuid: Netuid) -> Value {
    number(netuid.0)
}

/// A hotkey as the chain stores it.
pub(crate) fn hotkey(account: AccountId32) -> Hotkey {
    Hotkey(account.0)
}

/// A runtime as its metadata describes it. No connection is needed to encode for it and to decode what it answered.
#[derive(Debug, Clone)]
pub struct Runtime {
    client: OfflineClientAtBlock<SubstrateConfig>,
}

impl Runtime {
    /// From metadata as `state_getMetadata` gives it (versions 14 to 16), such as a file of it. The runtime's version is
    /// read from the constant `System.Version`.
    ///
    /// # Errors
    /// `Decode` for bytes that are not whole metadata, `Missing` without the constant.
    pub fn from_metadata(bytes: &[u8]) -> Result<Self, ChainError> {
        let metadata = decode_metadata(bytes, "metadata")?;
        let missing = || ChainError::Missing { item: "constant System.Version".into(), spec: 0 };
        let system = metadata.pallet_by_name("System").ok_or_else(missing)?;
        let constant = system.constant_by_name("Version").ok_or_else(missing)?;
        let version = Record::read(constant.value(), constant.ty(), metadata.types(), "constant System.Version")?;
        let version = version.ok_or_else(missing)?;
        let spec = version.field::<u32>("spec_version")?.ok_or_else(missing)?;
        let transaction = version.field::<u32>("transaction_version")?.ok_or_else(missing)?;
        Self::new(metadata, spec, transaction, [0; 32])
    }

    fn new(metadata: Metadata, spec: u32, transaction: u32, genesis: [u8; 32]) -> Result<Self, ChainError> {
        let config = SubstrateConfig::builder()
            .set_genesis_hash(H256(genesis))
            .set_metadata_for_spec_versions([(spec, metadata.arc())])
            .set_spec_version_for_block_ranges([SpecVersionForRange {
                block_range: 0..u64::MAX,
                spec_version: spec,
                transaction_version: transaction,
            }])
            .build();
        let client = OfflineClient::new_with_config(config).at_block(0_u64);
        let client =
            client.map_err(|error| ChainError::Decode { field: "runtime".into(), reason: error.to_string() })?;
        Ok(Self { client })
    }

    /// The runtime's version, which grows with every upgrade.
    #[must_use]
    pub fn spec_version(&self) -> u32 {
        self.client.spec_version()
    }

    pub(crate) fn client(&self) -> &OfflineClientAtBlock<SubstrateConfig> {
        &self.client
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        self.client.metadata_ref()
    }

    pub(crate) fn types(&self) -> &PortableRegistry {
        self.metadata().types()
    }

    pub(crate) fn missing(&self, item: impl Into<String>) -> ChainError {
        ChainError::Missing { item: item.into(), spec: self.spec_version() }
    }

    /// What the metadata says about a storage entry.
    pub(crate) fn entry(&self, entry: Entry) -> Result<StorageInfo<'_, u32>, ChainError> {
        let info = self.metadata().storage_info(entry.pallet, entry.name);
        info.map_err(|_| self.missing(format!("storage entry {entry}")))
    }

    /// The key of a value.
    pub(crate) fn key(
        &self,
        entry: Entry,
        info: &StorageInfo<'_, u32>,
        key: Vec<Value>,
    ) -> Result<Vec<u8>, ChainError> {
        let encode = |reason: String| self.unencodable(format!("key of {entry}"), reason);
        if key.len() != info.keys.len() {
            return Err(encode(format!("it has {} parts, {} were given", info.keys.len(), key.len())));
        }
        encode_storage_key_with_info(entry.pallet, entry.name, key, info, self.types())
            .map_err(|error| encode(error.to_string()))
    }

    /// A stored value, or the entry's default, or nothing.
    pub(crate) fn value<T: DecodeAsType>(
        &self,
        entry: Entry,
        info: &StorageInfo<'_, u32>,
        bytes: Option<&[u8]>,
    ) -> Result<Option<T>, ChainError> {
        let bytes = bytes.map(Cow::Borrowed).or_else(|| info.default_value.clone());
        bytes.map(|bytes| self.typed(&bytes, info.value_id, || entry.to_string())).transpose()
    }

    /// A constant.
    pub(crate) fn constant<T: DecodeAsType>(&self, pallet: &str, name: &str) -> Result<T, ChainError> {
        let item = || format!("constant {pallet}.{name}");
        let constant = self.metadata().pallet_by_name(pallet).and_then(|pallet| pallet.constant_by_name(name));
        let constant = constant.ok_or_else(|| self.missing(item()))?;
        self.typed(constant.value(), constant.ty(), item)
    }

    /// Whether the runtime describes the method.
    pub(crate) fn has_api(&self, api: Api) -> bool {
        self.output(api).is_ok()
    }

    /// The arguments of a method.
    pub(crate) fn api_input(&self, api: Api, arguments: Vec<Value>) -> Result<Vec<u8>, ChainError> {
        self.output(api)?;
        encode_runtime_api_inputs(api.interface, api.method, arguments, self.metadata(), self.types())
            .map_err(|error| self.unencodable(format!("input of {api}"), error.to_string()))
    }

    /// A method's answer, field by field; nothing for a `None`.
    pub(crate) fn api_record<'a>(&'a self, api: Api, bytes: &'a [u8]) -> Result<Option<Record<'a>>, ChainError> {
        Record::read(bytes, self.output(api)?, self.types(), &api.to_string())
    }

    fn output(&self, api: Api) -> Result<u32, ChainError> {
        let interface = self.metadata().runtime_api_trait_by_name(api.interface);
        let method = interface.and_then(|interface| interface.method_by_name(api.method));
        method.map(|method| method.output_ty()).ok_or_else(|| self.missing(format!("runtime interface {api}")))
    }

    fn unencodable(&self, item: String, reason: String) -> ChainError {
        ChainError::Encode { item, spec: self.spec_version(), reason }
    }

    fn typed<T: DecodeAsType>(&self, mut bytes: &[u8], ty: u32, field: impl Fn() -> String) -> Result<T, ChainError> {
        let value = T::decode_as_type(&mut bytes, ty, self.types())
            .map_err(|error| ChainError::Decode { field: field(), reason: error.to_string() })?;
        if bytes.is_empty() {
            Ok(value)
        } else {
            Err(ChainError::Decode { field: field(), reason: format!("{} bytes are left over", bytes.len()) })
        }
    }
}

/// Metadata of untrusted origin.
fn decode_metadata(bytes: &[u8], field: &str) -> Result<Metadata, ChainError> {
    let wrong = |reason: String| ChainError::Decode { field: field.to_owned(), reason };
    if !bytes.starts_with(&META_RESERVED.to_le_bytes()) {
        return Err(wrong("it does not begin with `meta`".into()));
    }
    let mut rest = bytes;
    let RuntimeMetadataPrefixed(_, described) = RuntimeMetadataPrefixed::decode(&mut rest).map_err(|error| {
        // The codec's report is a tree; its leaf says what is wrong.
        let report = error.to_string();
        wrong(report.lines().last().unwrap_or_default().trim().to_owned())
    })?;
    if !rest.is_empty() {
        return Err(wrong(format!("{} bytes are left over", rest.len())));
    }
    let metadata = match described {
        RuntimeMetadata::V14(metadata) => Metadata::try_from(metadata),
        RuntimeMetadata::V15(metadata) => Metadata::try_from(metadata),
        RuntimeMetadata::V16(metadata) => {
            let extensions = metadata.extrinsic.transaction_extensions.len();
            let mut named = metadata.extrinsic.transaction_extensions_by_version.values().flatten();
            if let Some(index) = named.find(|index| usize::try_from(index.0).map_or(true, |index| index >= extensions))
            {
                return Err(wrong(format!("extension {} of {extensions} is named", index.0)));
            }
            Metadata::try_from(metadata)
        }
        other => return Err(wrong(format!("its version is {}, expected 14 to {NEWEST_METADATA}", other.version()))),
    };
    let metadata = metadata.map_err(|error| wrong(error.to_string()))?;
    if let Some(ty) = endless(metadata.types()) {
        return Err(wrong(format!("type {ty} contains itself")));
    }
    // Extrinsics are made in version 4, with the extensions of version 0.
    if metadata.extrinsic().transaction_extensions_by_version(0).is_none() {
        return Err(wrong("it describes no extensions of extrinsics".into()));
    }
    Ok(metadata)
}

/// A type of which every value would contain another one of it: decoding that wouldn't end. What a variant or a sequence
/// holds doesn't count, since every step into these takes a byte.
fn endless(types: &PortableRegistry) -> Option<u32> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        Open,
        Done,
    }
    let inner = |id: u32| -> Vec<u32> {
        match types.resolve(id).map(|ty| &ty.type_def) {
            Some(TypeDef::<PortableForm>::Composite(composite)) => {
                composite.fields.iter().map(|field| field.ty.id).collect()
            }
            Some(TypeDef::Tuple(tuple)) => tuple.fields.iter().map(|field| field.id).collect(),
            Some(TypeDef::Array(array)) => vec![array.type_param.id],
            Some(TypeDef::Compact(compact)) => vec![compact.type_param.id],
            _ => Vec::new(),
        }
    };
    let mut seen = vec![Seen::No; types.types.len()];
    for start in 0..u32::try_from(types.types.len()).unwrap_or(u32::MAX) {
        let mut path = vec![(start, false)];
        while let Some((id, left)) = path.pop() {
            let Some(state) = usize::try_from(id).ok().and_then(|id| seen.get_mut(id)) else { continue };
            match (left, *state) {
                (true, _) => *state = Seen::Done,
                (false, Seen::Done) => {}
                (false, Seen::Open) => return Some(id),
                (false, Seen::No) => {
                    *state = Seen::Open;
                    path.push((id, true));
                    path.extend(inner(id).into_iter().map(|id| (id, false)));
                }
            }
        }
    }
    None
}

/// The runtimes in use, by spec version, newest use last.
#[derive(Debug)]
pub(crate) struct Runtimes {
    genesis: [u8; 32],
    known: Mutex<VecDeque<Runtime>>,
}

/// The head of `sp_version::RuntimeVersion`, which every version of it begins with.
#[derive(Decode)]
struct Version {
    _spec_name: String,
    _impl_name: String,
    _authoring_version: u32,
    spec_version: u32,
    _impl_version: u32,
    _apis: Vec<([u8; 8], u32)>,
    transaction_version: u32,
}

impl Runtimes {
    pub(crate) fn new(genesis: [u8; 32]) -> Self {
        Self { genesis, known: Mutex::default() }
    }

    /// How many are kept.
    #[cfg(test)]
    pub(crate) async fn kept(&self) -> usize {
        self.known.lock().await.len()
    }

    /// The runtime in the state of a block, which runs the next one. An upgrade in mid-run shows here as another spec
    /// version.
    pub(crate) async fn at(&self, rpc: &Rpc, hash: H256) -> Result<Runtime, ChainError> {
        let bytes = state_call(rpc, "Core_version", &[], hash).await?;
        let version: Version = decode(&bytes, "runtime version")?;
        let spec = version.spec_version;
        // Held while the metadata is fetched, so that it is fetched once.
        let mut known = self.known.lock().await;
        let runtime = match known.iter().position(|runtime| runtime.spec_version() == spec) {
            Some(index) => known.remove(index),
            None => None,
        };
        let runtime = match runtime {
            Some(runtime) => runtime,
            None => {
                let bytes = fetch_metadata(rpc, hash).await?;
                let metadata = decode_metadata(&bytes, &format!("metadata of spec {spec}"))?;
                tracing::info!(spec, "read the metadata of the chain's runtime");
                Runtime::new(metadata, spec, version.transaction_version, self.genesis)?
            }
        };
        known.push_back(runtime.clone());
        while known.len() > KEPT_RUNTIMES {
            known.pop_front();
        }
        Ok(runtime)
    }
}

fn decode<T: Decode>(mut bytes: &[u8], field: &str) -> Result<T, ChainError> {
    T::decode(&mut bytes).map_err(|error| ChainError::Decode { field: field.to_owned(), reason: error.to_string() })
}

pub(crate) async fn state_call(rpc: &Rpc, api: &str, arguments: &[u8], at: H256) -> Result<Vec<u8>, ChainError> {
    rpc.state_call(api, Some(arguments), Some(at)).await.map_err(|error| unboxed(api, error))
}

async fn fetch_metadata(rpc: &Rpc, at: H256) -> Result<Vec<u8>, ChainError> {
    let versions = match state_call(rpc, "Metadata_metadata_versions", &[], at).await {
        Ok(bytes) => decode::<Vec<u32>>(&bytes, "list of metadata versions")?,
        // Runtimes before the versioned interface don't have the call.
        Err(ChainError::Node { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    if let Some(version) = versions.into_iter().filter(|version| (14..=NEWEST_METADATA).contains(version)).max() {
        let bytes = state_call(rpc, "Metadata_metadata_at_version", &version.encode(), at).await?;
        if let Some(metadata) = decode::<Option<Vec<u8>>>(&bytes, "metadata")? {
            return Ok(metadata);
        }
    }
    let bytes = state_call(rpc, "Metadata_metadata", &[], at).await?;
    decode(&bytes, "metadata")
}

#[cfg(test)]
pub(crate) mod tests;
