//! Aura: only what clients read of it, the slot and its length.

use crate::devnet::storage::storage;

storage! { "Aura":
    /// The slot of the current block.
    CURRENT_SLOT "CurrentSlot" [] -> u64 = 0;
}
