//! Getting onto a subnet.
use crate::{
    client::ChainClient,
    error::ChainError,
    extrinsic::subtensor,
    runtime::{Entry, account, subnet},
    signer::Signer,
};
use prism_core::{Hotkey, Netuid, Uid};
use subxt::{error::EventsError, utils::AccountId32};

impl ChainClient {
    /// Registers a hotkey on a subnet; the signer's account, the coldkey, pays the price of the moment. Waits for the
    /// registration to be in a block.
    ///
    /// # Errors
    /// `Rejected` by the pool, `Dispatch` with the chain's own name, `Expired` or `Deadline` when no block takes it; `Key`.
    pub async fn burned_register(
        &self,
        coldkey: &dyn Signer,
        netuid: Netuid,
        hotkey: Hotkey,
    ) -> Result<Uid, ChainError> {
        let call = subtensor("burned_register", [("netuid", subnet(netuid)), ("hotkey", account(&hotkey))]);
        let (place, events) = self.land(&call, coldkey).await?;
        let decode = |error: EventsError| ChainError::Decode {
            field: format!("NeuronRegistered in block {}", place.tip.number),
            reason: error.to_string(),
        };
        for event in events.iter() {
            let event = event.map_err(decode)?;
            if (event.pallet_name(), event.event_name()) == ("SubtensorModule", "NeuronRegistered") {
                let (on, uid, who): (u16, u16, AccountId32) = event.decode_fields_unchecked_as().map_err(decode)?;
                if (on, who.0) == (netuid.0, hotkey.0) {
                    return Ok(Uid(uid));
                }
            }
        }
        Err(ChainError::Unset { item: format!("event NeuronRegistered of {hotkey} in block {}", place.tip.number) })
    }

    /// The slot that a hotkey holds on a subnet, at the best block.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn uid_of(&self, netuid: Netuid, hotkey: Hotkey) -> Result<Option<Uid>, ChainError> {
        self.at_best().await?.uid(netuid, &hotkey).await
    }

    /// The free balance of an account in rao, at the best block.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn balance(&self, account: Hotkey) -> Result<u64, ChainError> {
        Ok(self.at_best().await?.account(&account).await?.free)
    }

    /// The price of a registration in rao, at the best block. It moves with every registration.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn registration_price(&self, netuid: Netuid) -> Result<u64, ChainError> {
        self.at_best().await?.get(Entry::subtensor("Burn"), vec![subnet(netuid)]).await
    }
}
