//! Getting onto a subnet.
use crate::{
    client::ChainClient,
    error::ChainError,
    extrinsic::{Place, subtensor},
    runtime::{AtBlock, Entry, account, number, subnet},
    signer::Signer,
};
use prism_core::{Block, Error, Fault, Hotkey, Kind, Netuid, Retry, Uid};
use std::time::Duration;
use subxt::{config::SubstrateConfig, error::EventsError, events::Events, utils::AccountId32};

const BURN: Entry = Entry::subtensor("Burn");
const REGISTRATION_ALLOWED: Entry = Entry::subtensor("NetworkRegistrationAllowed");

/// The least that an account keeps, rao (runtime: `EXISTENTIAL_DEPOSIT`).
const EXISTENTIAL_DEPOSIT: u64 = 500;
/// When to look at a moving price again: some blocks later.
const PAUSE: Duration = Duration::from_secs(60);

/// A registration that is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// The slot.
    pub uid: Uid,
    /// The block. It may not be final yet.
    pub block: Block,
}

/// Why a hotkey was not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// No subnet of this number, or the root, where nobody registers this way.
    #[error("subnet {0} does not exist, or takes no registrations of miners and validators")]
    NoSubnet(Netuid),
    /// The subnet's owner has closed registration.
    #[error("registration on subnet {0} is closed")]
    Closed(Netuid),
    /// The hotkey has a slot.
    #[error("hotkey {hotkey} is registered on subnet {netuid} as uid {uid}")]
    Registered {
        /// Whose.
        hotkey: Hotkey,
        /// Where.
        netuid: Netuid,
        /// The slot.
        uid: Uid,
    },
    /// The hotkey belongs to another coldkey.
    #[error("hotkey {hotkey} belongs to coldkey {owner}")]
    Owned {
        /// Which hotkey.
        hotkey: Hotkey,
        /// Whose it is.
        owner: Hotkey,
    },
    /// The price is above what was to be paid. It falls from block to block and rises with each registration.
    #[error("registration on subnet {netuid} costs {price} rao, above the limit of {limit}")]
    Price {
        /// Where.
        netuid: Netuid,
        /// The price at the moment, rao.
        price: u64,
        /// The most that was to be paid, rao.
        limit: u64,
    },
    /// The coldkey can't pay.
    #[error("coldkey {coldkey} has {free} rao free, registration costs {price} and {EXISTENTIAL_DEPOSIT} have to stay")]
    Balance {
        /// Who pays.
        coldkey: Hotkey,
        /// What it has, rao.
        free: u64,
        /// The price, rao.
        price: u64,
    },
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl From<RegistrationError> for Error {
    fn from(error: RegistrationError) -> Self {
        use RegistrationError as E;
        let (kind, fault, retry) = match error {
            E::Chain(error) => return error.into(),
            E::NoSubnet(_) => (Kind::NotFound, Fault::Validator, Retry::Never),
            E::Registered { .. } => (Kind::Conflict, Fault::Validator, Retry::Never),
            E::Closed(_) => (Kind::Refused, Fault::Policy, Retry::Never),
            E::Price { .. } => (Kind::Limit, Fault::Policy, Retry::After(PAUSE)),
            E::Owned { .. } | E::Balance { .. } => (Kind::Refused, Fault::Validator, Retry::Never),
        };
        Self::new(kind, fault, error.to_string()).retry(retry)
    }
}

impl ChainClient {
    /// Registers a hotkey on a subnet for at most `limit` rao, which the signer, the coldkey, pays. Checks first what the
    /// chain would refuse; waits for the registration to be in a block.
    ///
    /// # Errors
    /// Each reason by its name. `Chain` with `Missing` on a runtime without `register_limit`: there
    /// [`ChainClient::burned_register`] pays whatever is asked.
    pub async fn register(
        &self,
        coldkey: &dyn Signer,
        netuid: Netuid,
        hotkey: Hotkey,
        limit: u64,
    ) -> Result<Registration, RegistrationError> {
        self.at_best().await?.may_register(netuid, &coldkey.hotkey(), &hotkey, limit).await?;
        let arguments = [("netuid", subnet(netuid)), ("hotkey", account(&hotkey)), ("limit_price", number(limit))];
        match self.land(&subtensor("register_limit", arguments), coldkey).await {
            Ok((place, events)) => Ok(registered(place, &events, netuid, hotkey)?),
            // The price moved since it was read.
            Err(ChainError::Dispatch { error, .. })
                if error.name() == "SubtensorModule.RegistrationPriceLimitExceeded" =>
            {
                let price = self.registration_price(netuid).await?;
                Err(RegistrationError::Price { netuid, price, limit })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Registers a hotkey on a subnet; the signer's account, the coldkey, pays the price of the moment, whatever it is:
    /// [`ChainClient::register`] knows a limit. Waits for the registration to be in a block.
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
        Ok(registered(place, &events, netuid, hotkey)?.uid)
    }

    /// The price of a registration in rao, at the best block. It moves with every registration.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn registration_price(&self, netuid: Netuid) -> Result<u64, ChainError> {
        self.at_best().await?.get(BURN, vec![subnet(netuid)]).await
    }
}

impl AtBlock {
    /// The chain's own checks, in its order (subtensor, subnets/registration.rs: `do_register`).
    async fn may_register(
        &self,
        netuid: Netuid,
        coldkey: &Hotkey,
        hotkey: &Hotkey,
        limit: u64,
    ) -> Result<(), RegistrationError> {
        if netuid.0 == 0 || !self.subnet_exists(netuid).await? {
            return Err(RegistrationError::NoSubnet(netuid));
        }
        let price: u64 = self.get(BURN, vec![subnet(netuid)]).await?;
        if price > limit {
            return Err(RegistrationError::Price { netuid, price, limit });
        }
        if !self.get::<bool>(REGISTRATION_ALLOWED, vec![subnet(netuid)]).await? {
            return Err(RegistrationError::Closed(netuid));
        }
        if let Some(uid) = self.uid(netuid, hotkey).await? {
            return Err(RegistrationError::Registered { hotkey: *hotkey, netuid, uid });
        }
        let free = self.account(coldkey).await?.free;
        if free < price.saturating_add(EXISTENTIAL_DEPOSIT) {
            return Err(RegistrationError::Balance { coldkey: *coldkey, free, price });
        }
        match self.owner(hotkey).await? {
            Some(owner) if owner != *coldkey => Err(RegistrationError::Owned { hotkey: *hotkey, owner }),
            _ => Ok(()),
        }
    }
}

/// The slot, from the events of the block.
fn registered(
    place: Place,
    events: &Events<SubstrateConfig>,
    netuid: Netuid,
    hotkey: Hotkey,
) -> Result<Registration, ChainError> {
    let block = place.tip.number;
    let decode = |error: EventsError| ChainError::Decode {
        field: format!("NeuronRegistered in block {block}"),
        reason: error.to_string(),
    };
    for event in events.iter() {
        let event = event.map_err(decode)?;
        if (event.pallet_name(), event.event_name()) == ("SubtensorModule", "NeuronRegistered") {
            let (on, uid, who): (u16, u16, AccountId32) = event.decode_fields_unchecked_as().map_err(decode)?;
            if (on, who.0) == (netuid.0, hotkey.0) {
                return Ok(Registration { uid: Uid(uid), block: Block(block) });
            }
        }
    }
    Err(ChainError::Unset { item: format!("event NeuronRegistered of {hotkey} in block {block}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        devnet::{Hyperparameter, SubnetConfig},
        landing::{Landing, NETUID, key},
    };

    const PRICE: u64 = 5_000_000;

    async fn start() -> Landing {
        Landing::with(&["old"], SubnetConfig { burn: PRICE, ..SubnetConfig::default() }).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hotkey_registers_below_a_limit_and_is_found_by_its_names() {
        let chain = start().await;
        let (client, new) = (&chain.client, key("new").hotkey());
        let registration = chain.land(client.register(&key("rich"), NETUID, new, PRICE)).await.unwrap();
        assert_eq!((registration.uid, registration.block.0), (Uid(1), chain.devnet.head().0));
        assert_eq!(client.uid_of(NETUID, new).await.unwrap(), Some(Uid(1)));
        assert_eq!(client.owner_of(new).await.unwrap(), Some(key("rich").hotkey()));
        assert_eq!(client.owner_of(key("nobody").hotkey()).await.unwrap(), None);
        assert_eq!(chain.devnet.balance(key("rich").hotkey().0), 1_000_000_000 - PRICE);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_chain_would_refuse_is_refused_by_name_and_not_sent() {
        let chain = start().await;
        let (rich, new, old) = (key("rich"), key("new").hotkey(), key("old").hotkey());
        // No block is made: what is refused here never waits for one.
        let refused = |coldkey, netuid, hotkey, limit| {
            let client = chain.client.clone();
            async move { client.register(&coldkey, netuid, hotkey, limit).await.unwrap_err() }
        };
        for netuid in [Netuid(0), Netuid(9)] {
            let error = refused(rich.clone(), netuid, new, PRICE).await;
            assert!(matches!(error, RegistrationError::NoSubnet(on) if on == netuid), "{error}");
        }
        let error = refused(rich.clone(), NETUID, new, PRICE - 1).await;
        assert!(matches!(error, RegistrationError::Price { price: PRICE, .. }), "{error}");
        assert_eq!(Error::from(error).kind(), Kind::Limit);
        let error = refused(rich.clone(), NETUID, old, PRICE).await;
        assert!(matches!(error, RegistrationError::Registered { uid: Uid(0), .. }), "{error}");
        chain.devnet.endow(key("poor").hotkey().0, PRICE);
        chain.devnet.endow(key("other").hotkey().0, 2 * PRICE);
        chain.devnet.produce_blocks(1).await;
        let error = refused(key("poor"), NETUID, new, PRICE).await;
        assert!(matches!(error, RegistrationError::Balance { free: PRICE, price: PRICE, .. }), "{error}");
        chain.devnet.register(NETUID, key("elsewhere").hotkey(), rich.hotkey().0).unwrap();
        chain.devnet.set_hyperparameter(NETUID, Hyperparameter::RegistrationAllowed(false)).unwrap();
        chain.devnet.produce_blocks(1).await;
        let error = refused(rich, NETUID, new, PRICE).await;
        assert!(matches!(error, RegistrationError::Closed(NETUID)), "{error}");
    }
}
