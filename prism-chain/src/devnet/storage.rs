//! Typed storage entries: one declaration gives the key scheme, the accessors and the metadata.

use std::marker::PhantomData;

use codec::{Decode, Encode};
use frame_metadata::v15::{StorageEntryMetadata, StorageEntryModifier, StorageEntryType, StorageHasher};
use scale_info::{MetaType, TypeInfo};
use sp_crypto_hashing::{blake2_128, twox_64, twox_128};

use super::state::{Read, State};

/// How a map key becomes part of the storage key. All three keep the key itself readable at the end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hasher {
    Identity,
    Blake2_128Concat,
    Twox64Concat,
}

impl Hasher {
    fn append(self, encoded: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Identity => {}
            Self::Blake2_128Concat => out.extend(blake2_128(encoded)),
            Self::Twox64Concat => out.extend(twox_64(encoded)),
        }
        out.extend(encoded);
    }

    fn described(self) -> StorageHasher {
        match self {
            Self::Identity => StorageHasher::Identity,
            Self::Blake2_128Concat => StorageHasher::Blake2_128Concat,
            Self::Twox64Concat => StorageHasher::Twox64Concat,
        }
    }
}

/// The keys of an entry: `()` for a plain value, `(A,)` for a map, `(A, B)` for a double map.
pub(super) trait Keys {
    fn append(&self, hashers: &[Hasher], out: &mut Vec<u8>);
    fn described() -> Option<MetaType>;
}

impl Keys for () {
    fn append(&self, _: &[Hasher], _: &mut Vec<u8>) {}
    fn described() -> Option<MetaType> {
        None
    }
}

impl<A: Encode + TypeInfo + 'static> Keys for (A,) {
    fn append(&self, hashers: &[Hasher], out: &mut Vec<u8>) {
        if let [hasher] = hashers {
            hasher.append(&self.0.encode(), out);
        }
    }
    fn described() -> Option<MetaType> {
        Some(MetaType::new::<A>())
    }
}

impl<A: Encode + TypeInfo + 'static, B: Encode + TypeInfo + 'static> Keys for (A, B) {
    fn append(&self, hashers: &[Hasher], out: &mut Vec<u8>) {
        if let [first, second] = hashers {
            first.append(&self.0.encode(), out);
            second.append(&self.1.encode(), out);
        }
    }
    fn described() -> Option<MetaType> {
        Some(MetaType::new::<(A, B)>())
    }
}

/// What a read of an absent key answers.
pub(super) trait Query<V> {
    type Answer;
    const MODIFIER: StorageEntryModifier;
    fn answer(&self, stored: Option<V>) -> Self::Answer;
    /// SCALE bytes of the answer for an absent key, as the metadata gives them.
    fn fallback(&self) -> Vec<u8>;
}

/// An absent key reads as this default.
#[derive(Debug, Clone, Copy)]
pub(super) struct OrDefault<V>(pub(super) fn() -> V);
/// An absent key reads as `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct OrNone;

impl<V: Encode> Query<V> for OrDefault<V> {
    type Answer = V;
    const MODIFIER: StorageEntryModifier = StorageEntryModifier::Default;
    fn answer(&self, stored: Option<V>) -> V {
        stored.unwrap_or_else(self.0)
    }
    fn fallback(&self) -> Vec<u8> {
        (self.0)().encode()
    }
}

impl<V> Query<V> for OrNone {
    type Answer = Option<V>;
    const MODIFIER: StorageEntryModifier = StorageEntryModifier::Optional;
    fn answer(&self, stored: Option<V>) -> Option<V> {
        stored
    }
    fn fallback(&self) -> Vec<u8> {
        vec![0]
    }
}

/// One storage entry of a pallet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<K, V, Q> {
    pallet: &'static str,
    name: &'static str,
    hashers: &'static [Hasher],
    query: Q,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V, Q> Entry<K, V, Q> {
    pub(super) const fn new(pallet: &'static str, name: &'static str, hashers: &'static [Hasher], query: Q) -> Self {
        Self { pallet, name, hashers, query, types: PhantomData }
    }
}

impl<K: Keys, V: Encode + Decode + TypeInfo + 'static, Q: Query<V>> Entry<K, V, Q> {
    /// `twox_128(pallet) ++ twox_128(entry) ++ hashed keys`.
    pub(super) fn key(&self, keys: &K) -> Vec<u8> {
        let mut key = Vec::with_capacity(96);
        key.extend(self.prefix());
        keys.append(self.hashers, &mut key);
        key
    }

    /// What all keys of this entry start with.
    pub(super) fn prefix(&self) -> Vec<u8> {
        [twox_128(self.pallet.as_bytes()), twox_128(self.name.as_bytes())].concat()
    }

    pub(super) fn get(&self, state: &impl Read, keys: K) -> Q::Answer {
        let stored = state.read(&self.key(&keys)).and_then(|mut bytes| V::decode(&mut bytes).ok());
        self.query.answer(stored)
    }

    pub(super) fn contains(&self, state: &impl Read, keys: K) -> bool {
        state.read(&self.key(&keys)).is_some()
    }

    pub(super) fn put(&self, state: &mut State, keys: K, value: &V) {
        state.put(self.key(&keys), value.encode());
    }

    pub(super) fn remove(&self, state: &mut State, keys: K) {
        state.remove(self.key(&keys));
    }

    pub(super) fn metadata(&self) -> StorageEntryMetadata {
        let value = MetaType::new::<V>();
        let ty = match K::described() {
            None => StorageEntryType::Plain(value),
            Some(key) => StorageEntryType::Map {
                hashers: self.hashers.iter().map(|hasher| hasher.described()).collect(),
                key,
                value,
            },
        };
        StorageEntryMetadata {
            name: self.name,
            modifier: Q::MODIFIER,
            ty,
            default: self.query.fallback(),
            docs: Vec::new(),
        }
    }
}

impl<A, B, V, Q> Entry<(A, B), V, Q>
where
    A: Encode + TypeInfo + 'static,
    B: Encode + TypeInfo + 'static,
    V: Encode + Decode + TypeInfo + 'static,
    Q: Query<V>,
{
    /// What the keys under one first key start with.
    pub(super) fn prefix_of(&self, first: &A) -> Vec<u8> {
        let mut key = self.prefix();
        if let Some(hasher) = self.hashers.first() {
            hasher.append(&first.encode(), &mut key);
        }
        key
    }
}

impl<K: Keys, V: Encode + Decode + TypeInfo + 'static> Entry<K, V, OrDefault<V>> {
    /// Reads, changes and writes back the value.
    pub(super) fn mutate(&self, state: &mut State, keys: K, change: impl FnOnce(&mut V)) {
        let key = self.key(&keys);
        let stored = state.read(&key).and_then(|mut bytes| V::decode(&mut bytes).ok());
        let mut value = self.query.answer(stored);
        change(&mut value);
        state.put(key, value.encode());
    }
}

/// Declares a pallet's storage: constants of type [`Entry`], and `storage()` with their metadata.
///
/// `NAME "ChainName" [Hasher Key, ..] -> Value;` reads as `Option`; with `= default`, as the value.
macro_rules! storage {
    ($pallet:literal: $($(#[$doc:meta])* $item:ident $name:literal
        [$($hasher:ident $key:ty),*] -> $value:ty $(= $default:expr)?;)*) => {
        $($crate::devnet::storage::storage!(@entry $pallet $(#[$doc])* $item $name
            [$($hasher $key),*] -> $value $(= $default)?);)*

        /// The metadata of this pallet's storage.
        pub(in crate::devnet) fn storage() -> frame_metadata::v15::PalletStorageMetadata {
            frame_metadata::v15::PalletStorageMetadata {
                prefix: $pallet,
                entries: vec![$($item.metadata()),*],
            }
        }
    };
    (@entry $pallet:literal $(#[$doc:meta])* $item:ident $name:literal
        [$($hasher:ident $key:ty),*] -> $value:ty = $default:expr) => {
        $(#[$doc])*
        pub(in crate::devnet) const $item: $crate::devnet::storage::Entry<
            ($($key,)*), $value, $crate::devnet::storage::OrDefault<$value>,
        > = $crate::devnet::storage::Entry::new(
            $pallet,
            $name,
            &[$($crate::devnet::storage::Hasher::$hasher),*],
            $crate::devnet::storage::OrDefault(|| $default),
        );
    };
    (@entry $pallet:literal $(#[$doc:meta])* $item:ident $name:literal
        [$($hasher:ident $key:ty),*] -> $value:ty) => {
        $(#[$doc])*
        pub(in crate::devnet) const $item: $crate::devnet::storage::Entry<
            ($($key,)*), $value, $crate::devnet::storage::OrNone,
        > = $crate::devnet::storage::Entry::new(
            $pallet,
            $name,
            &[$($crate::devnet::storage::Hasher::$hasher),*],
            $crate::devnet::storage::OrNone,
        );
    };
}
pub(super) use storage;

#[cfg(test)]
mod tests {
    use super::super::pallets::{subtensor, system};
    use super::super::primitives::{AccountId32, NetUid};

    #[test]
    fn keys_are_those_of_the_live_chain() {
        let account = AccountId32::new([1; 32]);
        let key = hex::encode(system::ACCOUNT.key(&(account.clone(),)));
        // The published prefix of System.Account, blake2_128 of the account, the account.
        assert!(key.starts_with("26aa394eea5630e07c48ae0c9558cef7b99d880ec681799c0cf30e8886371da9"));
        assert!(key.ends_with(&hex::encode([1; 32])));
        assert_eq!(key.len(), 2 * (32 + 16 + 32));
        let key = hex::encode(subtensor::UIDS.key(&(NetUid(258), account)));
        assert!(key.starts_with("658faa385070e074c85bf6b568cf0555"));
        assert_eq!(&key[64..68], "0201", "Identity: the number as it is");
        assert_eq!(key.len(), 2 * (32 + 2 + 16 + 32));
        assert_eq!(subtensor::REVEAL_PERIOD_EPOCHS.key(&(NetUid(1),)).len(), 32 + 8 + 2);
    }
}
