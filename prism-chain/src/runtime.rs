//! The chain's runtime as its metadata describes it: state, constants and calls by name, at one block.
use crate::{error::ChainError, transport::unboxed};
use codec::{Decode, Encode as _};
use prism_core::{Block, Hotkey, Netuid};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use subxt::{
    Metadata,
    client::{OfflineClient, OfflineClientAtBlock},
    config::{RpcConfigFor, SubstrateConfig, substrate::SpecVersionForRange},
    dynamic::Value,
    events::Events,
    ext::{
        frame_decode::storage::{StorageInfo, StorageTypeInfo as _, encode_storage_key_with_info},
        scale_decode::{self, DecodeAsType},
    },
    rpcs::LegacyRpcMethods,
    utils::{AccountId32, H256},
};

/// JSON-RPC as nodes of the legacy generation speak it.
pub(crate) type Rpc = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;

/// Newest metadata version that subxt 0.51 understands.
const NEWEST_METADATA: u32 = 16;
/// Keys in one `state_queryStorageAt`.
const KEYS_PER_CALL: usize = 256;

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

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.pallet, self.name)
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

/// Metadata by spec version, and what signing needs besides.
#[derive(Debug, Default)]
pub(crate) struct Runtimes(Mutex<BTreeMap<u32, OfflineClient<SubstrateConfig>>>);

/// The head of `sp_version::RuntimeVersion`.
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
    /// The runtime in force at a block. An upgrade in mid-run shows here as another spec version.
    async fn at(&self, rpc: &Rpc, genesis: [u8; 32], hash: H256) -> Result<OfflineClient<SubstrateConfig>, ChainError> {
        let bytes = state_call(rpc, "Core_version", &[], hash).await?;
        let version: Version = decode(&bytes, "runtime version")?;
        let spec = version.spec_version;
        if let Some(known) = self.lock().get(&spec) {
            return Ok(known.clone());
        }
        let bytes = fetch_metadata(rpc, hash).await?;
        let metadata = Metadata::decode_from(&bytes).map_err(|error| ChainError::Decode {
            field: format!("metadata of spec {spec}"),
            reason: error.to_string(),
        })?;
        let config = SubstrateConfig::builder()
            .set_genesis_hash(H256(genesis))
            .set_metadata_for_spec_versions([(spec, metadata.arc())])
            .set_spec_version_for_block_ranges([SpecVersionForRange {
                block_range: 0..u64::MAX,
                spec_version: spec,
                transaction_version: version.transaction_version,
            }])
            .build();
        let client = OfflineClient::new_with_config(config);
        tracing::info!(spec, "read the metadata of the chain's runtime");
        self.lock().insert(spec, client.clone());
        Ok(client)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u32, OfflineClient<SubstrateConfig>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decode<T: Decode>(mut bytes: &[u8], field: &str) -> Result<T, ChainError> {
    T::decode(&mut bytes).map_err(|error| ChainError::Decode { field: field.to_owned(), reason: error.to_string() })
}

async fn state_call(rpc: &Rpc, api: &str, arguments: &[u8], at: H256) -> Result<Vec<u8>, ChainError> {
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

/// State and runtime at one block.
#[derive(Debug, Clone)]
pub(crate) struct AtBlock {
    pub(crate) number: u64,
    pub(crate) hash: H256,
    pub(crate) client: OfflineClientAtBlock<SubstrateConfig>,
    rpc: Arc<Rpc>,
}

impl AtBlock {
    pub(crate) async fn new(
        rpc: &Arc<Rpc>,
        runtimes: &Runtimes,
        genesis: [u8; 32],
        number: u64,
        hash: H256,
    ) -> Result<Self, ChainError> {
        let runtime = runtimes.at(rpc, genesis, hash).await?;
        let client = runtime
            .at_block(number)
            .map_err(|error| ChainError::Decode { field: "runtime".into(), reason: error.to_string() })?;
        Ok(Self { number, hash, client, rpc: Arc::clone(rpc) })
    }

    pub(crate) fn block(&self) -> Block {
        Block(self.number)
    }

    pub(crate) fn spec(&self) -> u32 {
        self.client.spec_version()
    }

    /// Whether the runtime has the entry at all.
    pub(crate) fn has(&self, entry: Entry) -> bool {
        self.info(entry).is_ok()
    }

    /// The value under a key, or the entry's default.
    pub(crate) async fn get<T: DecodeAsType>(&self, entry: Entry, key: Vec<Value>) -> Result<T, ChainError> {
        let shown = format!("{entry}{}", show(&key));
        self.find(entry, key).await?.ok_or(ChainError::Unset { item: shown })
    }

    /// The value under a key, or the entry's default, or nothing.
    pub(crate) async fn find<T: DecodeAsType>(&self, entry: Entry, key: Vec<Value>) -> Result<Option<T>, ChainError> {
        let info = self.info(entry)?;
        let key = self.key(entry, &info, key)?;
        let bytes = self.bytes(&key).await?;
        self.value(entry, &info, bytes.as_deref())
    }

    async fn bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ChainError> {
        self.rpc.state_get_storage(key, Some(self.hash)).await.map_err(|error| unboxed("state_getStorage", error))
    }

    /// The values under many keys of one entry, in the order of the keys.
    pub(crate) async fn find_all<T: DecodeAsType>(
        &self,
        entry: Entry,
        keys: Vec<Vec<Value>>,
    ) -> Result<Vec<Option<T>>, ChainError> {
        const CALL: &str = "state_queryStorageAt";
        let info = self.info(entry)?;
        let keys = keys.into_iter().map(|key| self.key(entry, &info, key)).collect::<Result<Vec<_>, _>>()?;
        let mut values = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(KEYS_PER_CALL) {
            let asked = chunk.iter().map(Vec::as_slice);
            let sets =
                self.rpc.state_query_storage_at(asked, Some(self.hash)).await.map_err(|error| unboxed(CALL, error))?;
            let mut found: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
            for (key, value) in sets.into_iter().flat_map(|set| set.changes) {
                found.insert(key.0, value.map(|bytes| bytes.0));
            }
            for key in chunk {
                // A node lists every key that was asked, absent ones with null; silence isn't absence.
                let bytes = found.get(key).ok_or_else(|| ChainError::Answer {
                    call: CALL.to_owned(),
                    reason: format!("a key of {entry} is not in it"),
                })?;
                values.push(self.value(entry, &info, bytes.as_deref())?);
            }
        }
        Ok(values)
    }

    /// A constant of the runtime.
    pub(crate) fn constant<T: DecodeAsType>(&self, pallet: &str, name: &str) -> Result<T, ChainError> {
        let metadata = self.client.metadata_ref();
        let constant = metadata.pallet_by_name(pallet).and_then(|pallet| pallet.constant_by_name(name));
        let constant = constant
            .ok_or_else(|| ChainError::Missing { item: format!("constant {pallet}.{name}"), spec: self.spec() })?;
        let field = || format!("constant {pallet}.{name}");
        self.typed(constant.value(), constant.ty(), field)
    }

    /// The events of the block, as stored.
    pub(crate) async fn events(&self) -> Result<Events<SubstrateConfig>, ChainError> {
        let entry = Entry::new("System", "Events");
        let info = self.info(entry)?;
        let bytes = self.bytes(&self.key(entry, &info, vec![])?).await?;
        Ok(self.client.events().from_bytes(bytes.unwrap_or_default()))
    }

    /// The account's next nonce, and its free balance in rao.
    pub(crate) async fn account(&self, hotkey: &Hotkey) -> Result<Account, ChainError> {
        let info: AccountInfo = self.get(Entry::new("System", "Account"), vec![account(hotkey)]).await?;
        Ok(Account { nonce: info.nonce.into(), free: info.data.free })
    }

    fn info(&self, entry: Entry) -> Result<StorageInfo<'_, u32>, ChainError> {
        self.client
            .metadata_ref()
            .storage_info(entry.pallet, entry.name)
            .map_err(|_| ChainError::Missing { item: format!("storage entry {entry}"), spec: self.spec() })
    }

    fn key(&self, entry: Entry, info: &StorageInfo<'_, u32>, key: Vec<Value>) -> Result<Vec<u8>, ChainError> {
        let encode = |reason: String| ChainError::Encode { item: format!("key of {entry}"), spec: self.spec(), reason };
        if key.len() != info.keys.len() {
            return Err(encode(format!("it has {} parts, {} were given", info.keys.len(), key.len())));
        }
        encode_storage_key_with_info(entry.pallet, entry.name, key, info, self.client.metadata_ref().types())
            .map_err(|error| encode(error.to_string()))
    }

    fn value<T: DecodeAsType>(
        &self,
        entry: Entry,
        info: &StorageInfo<'_, u32>,
        bytes: Option<&[u8]>,
    ) -> Result<Option<T>, ChainError> {
        let bytes = bytes.map(Cow::Borrowed).or_else(|| info.default_value.clone());
        bytes.map(|bytes| self.typed(&bytes, info.value_id, || entry.to_string())).transpose()
    }

    fn typed<T: DecodeAsType>(&self, mut bytes: &[u8], ty: u32, field: impl Fn() -> String) -> Result<T, ChainError> {
        let value = T::decode_as_type(&mut bytes, ty, self.client.metadata_ref().types())
            .map_err(|error| ChainError::Decode { field: field(), reason: error.to_string() })?;
        if bytes.is_empty() {
            Ok(value)
        } else {
            Err(ChainError::Decode { field: field(), reason: format!("{} bytes are left over", bytes.len()) })
        }
    }
}

fn show(key: &[Value]) -> String {
    let parts: Vec<_> = key.iter().map(ToString::to_string).collect();
    format!("[{}]", parts.join(", "))
}

/// What the chain keeps for an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) nonce: u64,
    pub(crate) free: u64,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
struct AccountInfo {
    nonce: u32,
    data: AccountData,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "scale_decode")]
struct AccountData {
    free: u64,
}

/// A hotkey as the chain stores it.
pub(crate) fn hotkey(account: AccountId32) -> Hotkey {
    Hotkey(account.0)
}
