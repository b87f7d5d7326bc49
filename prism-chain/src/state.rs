//! The chain's state at one block.
use crate::{
    error::ChainError,
    runtime::{Api, Entry, Rpc, Runtime, Runtimes, account, state_call},
    transport::unboxed,
};
use prism_core::{Block, Hotkey};
use std::{collections::BTreeMap, sync::Arc};
use subxt::{
    config::{Header as _, SubstrateConfig},
    dynamic::Value,
    events::Events,
    ext::scale_decode::{self, DecodeAsType},
    utils::H256,
};

const ACCOUNT: Entry = Entry::new("System", "Account");
const EVENTS: Entry = Entry::new("System", "Events");

/// Keys in one `state_queryStorageAt`.
const KEYS_PER_CALL: usize = 256;

/// Where state and runtimes are read from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) rpc: Rpc,
    pub(crate) runtimes: Runtimes,
}

/// State and runtime at one block.
#[derive(Debug, Clone)]
pub(crate) struct AtBlock {
    pub(crate) number: u64,
    pub(crate) hash: H256,
    /// The runtime in the block's state, which runs the next block.
    pub(crate) runtime: Runtime,
    source: Arc<Source>,
}

impl AtBlock {
    pub(crate) async fn new(source: &Arc<Source>, number: u64, hash: H256) -> Result<Self, ChainError> {
        let runtime = source.runtimes.at(&source.rpc, hash).await?;
        Ok(Self { number, hash, runtime, source: Arc::clone(source) })
    }

    pub(crate) fn block(&self) -> Block {
        Block(self.number)
    }

    pub(crate) fn rpc(&self) -> &Rpc {
        &self.source.rpc
    }

    pub(crate) fn spec(&self) -> u32 {
        self.runtime.spec_version()
    }

    /// Whether the runtime has the entry at all.
    pub(crate) fn has(&self, entry: Entry) -> bool {
        self.runtime.entry(entry).is_ok()
    }

    /// The value under a key, or the entry's default.
    pub(crate) async fn get<T: DecodeAsType>(&self, entry: Entry, key: Vec<Value>) -> Result<T, ChainError> {
        let shown = format!("{entry}{}", show(&key));
        self.find(entry, key).await?.ok_or(ChainError::Unset { item: shown })
    }

    /// The value under a key, or the entry's default, or nothing.
    pub(crate) async fn find<T: DecodeAsType>(&self, entry: Entry, key: Vec<Value>) -> Result<Option<T>, ChainError> {
        let info = self.runtime.entry(entry)?;
        let key = self.runtime.key(entry, &info, key)?;
        let bytes = self.bytes(&key).await?;
        self.runtime.value(entry, &info, bytes.as_deref())
    }

    async fn bytes(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ChainError> {
        let value = self.source.rpc.state_get_storage(key, Some(self.hash)).await;
        value.map_err(|error| unboxed("state_getStorage", error))
    }

    /// The values under many keys of one entry, in the order of the keys.
    pub(crate) async fn find_all<T: DecodeAsType>(
        &self,
        entry: Entry,
        keys: Vec<Vec<Value>>,
    ) -> Result<Vec<Option<T>>, ChainError> {
        let info = self.runtime.entry(entry)?;
        let keys = keys.into_iter().map(|key| self.runtime.key(entry, &info, key)).collect::<Result<Vec<_>, _>>()?;
        let found = self.all_bytes(&keys).await?;
        found.iter().map(|bytes| self.runtime.value(entry, &info, bytes.as_deref())).collect()
    }

    /// The bytes under storage keys, in their order.
    pub(crate) async fn all_bytes(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, ChainError> {
        const CALL: &str = "state_queryStorageAt";
        let mut values = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(KEYS_PER_CALL) {
            let asked = chunk.iter().map(Vec::as_slice);
            let sets = self.source.rpc.state_query_storage_at(asked, Some(self.hash)).await;
            let sets = sets.map_err(|error| unboxed(CALL, error))?;
            let mut found: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
            for (key, value) in sets.into_iter().flat_map(|set| set.changes) {
                found.insert(key.0, value.map(|bytes| bytes.0));
            }
            for key in chunk {
                // A node lists every key that was asked, absent ones with null; silence isn't absence.
                let bytes = found.get(key).ok_or_else(|| ChainError::Answer {
                    call: CALL.to_owned(),
                    reason: format!("key 0x{} is not in it", hex::encode(key)),
                })?;
                values.push(bytes.clone());
            }
        }
        Ok(values)
    }

    /// Values of several entries, read in one call. Entries that the runtime doesn't have are left out.
    pub(crate) async fn gather(
        &self,
        wanted: impl IntoIterator<Item = (Entry, Vec<Value>)>,
    ) -> Result<Gathered<'_>, ChainError> {
        let (mut entries, mut keys) = (Vec::new(), Vec::new());
        for (entry, key) in wanted {
            if let Ok(info) = self.runtime.entry(entry) {
                keys.push(self.runtime.key(entry, &info, key)?);
                entries.push(entry);
            }
        }
        let values = self.all_bytes(&keys).await?;
        Ok(Gathered { runtime: &self.runtime, found: entries.into_iter().zip(values).collect() })
    }

    /// What a method of the runtime answers, undecoded.
    pub(crate) async fn call_api(&self, api: Api, arguments: Vec<Value>) -> Result<Vec<u8>, ChainError> {
        let input = self.runtime.api_input(api, arguments)?;
        self.call_raw(&api.to_string(), &input).await
    }

    /// The same with the arguments already encoded.
    pub(crate) async fn call_raw(&self, method: &str, input: &[u8]) -> Result<Vec<u8>, ChainError> {
        state_call(&self.source.rpc, method, input, self.hash).await
    }

    /// A constant of the runtime.
    pub(crate) fn constant<T: DecodeAsType>(&self, pallet: &str, name: &str) -> Result<T, ChainError> {
        self.runtime.constant(pallet, name)
    }

    /// The runtime that ran this block and wrote its events: the one in its parent's state. In the block of an upgrade
    /// that is another one than the block's own.
    pub(crate) async fn executor(&self) -> Result<Runtime, ChainError> {
        if self.number == 0 {
            return Ok(self.runtime.clone());
        }
        let header = self.source.rpc.chain_get_header(Some(self.hash)).await;
        let header = header.map_err(|error| unboxed("chain_getHeader", error))?;
        let header = header.ok_or_else(|| ChainError::UnknownBlock(format!("{:?}", self.hash)))?;
        if header.number() != self.number {
            let reason = format!("block {:?} is number {}, not {}", self.hash, header.number(), self.number);
            return Err(ChainError::Answer { call: "chain_getHeader".into(), reason });
        }
        self.source.runtimes.at(&self.source.rpc, header.parent_hash).await
    }

    /// The events of the block.
    pub(crate) async fn events(&self) -> Result<Events<SubstrateConfig>, ChainError> {
        Ok(self.executed().await?.1)
    }

    /// The events of the block, and the runtime that wrote them.
    pub(crate) async fn executed(&self) -> Result<(Runtime, Events<SubstrateConfig>), ChainError> {
        let executor = self.executor().await?;
        let info = executor.entry(EVENTS)?;
        let key = executor.key(EVENTS, &info, vec![])?;
        let bytes = self.bytes(&key).await?.unwrap_or_default();
        let events = executor.client().events().from_bytes(bytes);
        Ok((executor, events))
    }

    /// The account's next nonce, and its free balance in rao.
    pub(crate) async fn account(&self, hotkey: &Hotkey) -> Result<Account, ChainError> {
        let info: AccountInfo = self.get(ACCOUNT, vec![account(hotkey)]).await?;
        Ok(Account { nonce: info.nonce.into(), free: info.data.free })
    }
}

/// Values of several entries at one block.
#[derive(Debug)]
pub(crate) struct Gathered<'a> {
    runtime: &'a Runtime,
    found: Vec<(Entry, Option<Vec<u8>>)>,
}

impl Gathered<'_> {
    /// The entry's value, or its default, or nothing; nothing, too, in a runtime without the entry.
    pub(crate) fn find<T: DecodeAsType>(&self, entry: Entry) -> Result<Option<T>, ChainError> {
        match self.found.iter().find(|(known, _)| *known == entry) {
            Some((_, bytes)) => self.runtime.value(entry, &self.runtime.entry(entry)?, bytes.as_deref()),
            None => Ok(None),
        }
    }

    /// The entry's value, or its default.
    pub(crate) fn get<T: DecodeAsType>(&self, entry: Entry) -> Result<T, ChainError> {
        match self.find(entry)? {
            Some(value) => Ok(value),
            None => Err(match self.runtime.entry(entry) {
                Ok(_) => ChainError::Unset { item: entry.to_string() },
                Err(missing) => missing,
            }),
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
