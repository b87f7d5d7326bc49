//! System: accounts and their nonces, block hashes, events.

use codec::{Decode, Encode};
use scale_info::TypeInfo;
use sp_crypto_hashing::blake2_256;

use crate::devnet::dispatch::{DispatchError, DispatchEventInfo, Execution};
use crate::devnet::primitives::{AccountId32, H256};
use crate::devnet::runtime::RuntimeEvent;
use crate::devnet::state::State;
use crate::devnet::storage::storage;

/// How many block hashes the runtime remembers: the longest life of a mortal transaction.
pub(in crate::devnet) const BLOCK_HASH_COUNT: u32 = 2400;

/// Calls of the System pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types)]
pub(in crate::devnet) enum Call {
    #[codec(index = 0)]
    remark { remark: Vec<u8> },
    #[codec(index = 7)]
    remark_with_event { remark: Vec<u8> },
}

/// Events of the System pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) enum Event {
    #[codec(index = 0)]
    ExtrinsicSuccess { dispatch_info: DispatchEventInfo },
    #[codec(index = 1)]
    ExtrinsicFailed { dispatch_error: DispatchError, dispatch_info: DispatchEventInfo },
    #[codec(index = 2)]
    CodeUpdated,
    #[codec(index = 3)]
    NewAccount { account: AccountId32 },
    #[codec(index = 5)]
    Remarked { sender: AccountId32, hash: H256 },
}

/// When in its block an event happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) enum Phase {
    ApplyExtrinsic(u32),
    Finalization,
    Initialization,
}

/// One event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) struct EventRecord {
    pub(in crate::devnet) phase: Phase,
    pub(in crate::devnet) event: RuntimeEvent,
    pub(in crate::devnet) topics: Vec<H256>,
}

/// Balances of an account, in rao.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) struct AccountData {
    pub(in crate::devnet) free: u64,
    pub(in crate::devnet) reserved: u64,
    pub(in crate::devnet) frozen: u64,
    pub(in crate::devnet) flags: u128,
}

/// An account: its nonce, the reasons for it to exist, its balances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) struct AccountInfo {
    pub(in crate::devnet) nonce: u32,
    pub(in crate::devnet) consumers: u32,
    pub(in crate::devnet) providers: u32,
    pub(in crate::devnet) sufficients: u32,
    pub(in crate::devnet) data: AccountData,
}

storage! { "System":
    /// Accounts by id.
    ACCOUNT "Account" [Blake2_128Concat AccountId32] -> AccountInfo = AccountInfo::default();
    /// Number of signed and inherent extrinsics in the block.
    EXTRINSIC_COUNT "ExtrinsicCount" [] -> u32;
    /// Hashes of the last [`BLOCK_HASH_COUNT`] blocks.
    BLOCK_HASH "BlockHash" [Twox64Concat u32] -> H256 = H256::zero();
    /// Number of the block.
    NUMBER "Number" [] -> u32 = 0;
    /// Hash of the block before.
    PARENT_HASH "ParentHash" [] -> H256 = H256::zero();
    /// Everything that happened in the block.
    EVENTS "Events" [] -> Vec<EventRecord> = Vec::new();
}

/// Opens block `number` on top of `parent`.
pub(in crate::devnet) fn initialize(state: &mut State, number: u32, parent: H256) {
    NUMBER.put(state, (), &number);
    PARENT_HASH.put(state, (), &parent);
    EVENTS.remove(state, ());
    if let Some(before) = number.checked_sub(1) {
        BLOCK_HASH.put(state, (before,), &parent);
        if let Some(old) = before.checked_sub(BLOCK_HASH_COUNT).filter(|old| *old > 0) {
            BLOCK_HASH.remove(state, (old,));
        }
    }
}

impl Call {
    pub(in crate::devnet) fn dispatch(
        &self,
        execution: &mut Execution<'_>,
        sender: &AccountId32,
    ) -> Result<(), DispatchError> {
        if let Self::remark_with_event { remark } = self {
            execution.deposit(Event::Remarked { sender: sender.clone(), hash: H256(blake2_256(remark)) });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_hashes_are_kept_for_the_life_of_a_mortal_transaction_and_genesis_for_ever() {
        let mut state = State::default();
        for number in 0..=BLOCK_HASH_COUNT + 10 {
            initialize(&mut state, number, H256::repeat_byte(1));
            state.seal(u64::from(number));
        }
        assert!(BLOCK_HASH.contains(&state, (0,)));
        assert!(!BLOCK_HASH.contains(&state, (9,)));
        assert!(BLOCK_HASH.contains(&state, (10,)));
        assert!(BLOCK_HASH.contains(&state, (BLOCK_HASH_COUNT + 9,)));
    }
}
