//! A storage map read whole, in pages at one block.
use crate::{
    error::ChainError,
    runtime::{AtBlock, Entry, subnet},
    transport::unboxed,
};
use prism_core::{Hotkey, Netuid};
use std::collections::BTreeMap;
use subxt::ext::{frame_decode::storage::encode_storage_key_with_info, scale_decode::DecodeAsType};

/// Keys in one page.
const PAGE: u32 = 256;
/// Most keys that are read: some hundreds of times what a subnet has slots.
const MOST: usize = 65_536;

impl AtBlock {
    /// All values of a map from subnet and account, for one subnet; none in a runtime without the map.
    pub(super) async fn by_account<T: DecodeAsType>(
        &self,
        entry: Entry,
        netuid: Netuid,
    ) -> Result<BTreeMap<Hotkey, T>, ChainError> {
        self.in_pages(entry, netuid, PAGE).await
    }

    /// The same, so many keys at a time.
    pub(super) async fn in_pages<T: DecodeAsType>(
        &self,
        entry: Entry,
        netuid: Netuid,
        size: u32,
    ) -> Result<BTreeMap<Hotkey, T>, ChainError> {
        if !self.has(entry) {
            return Ok(BTreeMap::new());
        }
        let info = self.runtime.entry(entry)?;
        let prefix =
            encode_storage_key_with_info(entry.pallet, entry.name, [subnet(netuid)], &info, self.runtime.types())
                .map_err(|error| ChainError::Encode {
                    item: format!("key of {entry}"),
                    spec: self.spec(),
                    reason: error.to_string(),
                })?;
        let mut values = BTreeMap::new();
        let mut start: Option<Vec<u8>> = None;
        loop {
            let keys = self.page(entry, &prefix, start.as_deref(), size).await?;
            let whole = u32::try_from(keys.len()).map_or(true, |keys| keys >= size);
            for (key, bytes) in keys.iter().zip(self.all_bytes(&keys).await?) {
                // A key ends with the account, whichever of the concatenating hashers is before it.
                let account =
                    key.get(prefix.len()..).and_then(<[u8]>::last_chunk).ok_or_else(|| odd(entry, "ends early"))?;
                let value = bytes.ok_or_else(|| odd(entry, "has no value"))?;
                if let Some(value) = self.runtime.value(entry, &info, Some(&value))? {
                    values.insert(Hotkey(*account), value);
                }
            }
            if !whole {
                return Ok(values);
            }
            if values.len() >= MOST {
                return Err(ChainError::Answer {
                    call: "state_getKeysPaged".into(),
                    reason: format!("{entry} has more than {MOST} keys for subnet {netuid}"),
                });
            }
            start = keys.into_iter().next_back();
        }
    }

    /// The keys behind `start`, ascending, each below the prefix: a node that repeats itself would keep the reader for ever.
    async fn page(
        &self,
        entry: Entry,
        prefix: &[u8],
        start: Option<&[u8]>,
        size: u32,
    ) -> Result<Vec<Vec<u8>>, ChainError> {
        const CALL: &str = "state_getKeysPaged";
        let keys = self.rpc().state_get_keys_paged(prefix, size, start, Some(self.hash)).await;
        let keys = keys.map_err(|error| unboxed(CALL, error))?;
        let mut before = start;
        for key in &keys {
            if !key.starts_with(prefix) || before.is_some_and(|before| before >= key.as_slice()) {
                return Err(odd(entry, "is out of order"));
            }
            before = Some(key);
        }
        Ok(keys)
    }
}

fn odd(entry: Entry, what: &str) -> ChainError {
    ChainError::Answer { call: "state_getKeysPaged".into(), reason: format!("a key of {entry} {what}") }
}
