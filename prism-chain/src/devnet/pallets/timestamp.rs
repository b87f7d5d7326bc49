//! Timestamp: the block's time, set by the first extrinsic of each block.

use codec::{Decode, Encode};
use scale_info::TypeInfo;

use crate::devnet::dispatch::{DispatchError, Execution};
use crate::devnet::storage::storage;

/// Calls of the Timestamp pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types)]
pub(in crate::devnet) enum Call {
    #[codec(index = 0)]
    set {
        #[codec(compact)]
        now: u64,
    },
}

storage! { "Timestamp":
    /// Milliseconds since the Unix epoch.
    NOW "Now" [] -> u64 = 0;
}

impl Call {
    /// Only the block's author sets the time, so a signed call is refused.
    pub(in crate::devnet) fn dispatch_signed(&self) -> Result<(), DispatchError> {
        Err(DispatchError::BadOrigin)
    }

    /// Runs the call as the author's own statement about the block.
    pub(in crate::devnet) fn dispatch_inherent(&self, execution: &mut Execution<'_>) {
        let Self::set { now } = self;
        NOW.put(execution.state, (), now);
    }
}
