//! Who is who: slots, owners, balances.
use crate::{
    client::ChainClient,
    error::ChainError,
    runtime::{AtBlock, Entry, account, hotkey, subnet},
};
use prism_core::{Hotkey, Netuid, Uid};
use subxt::utils::AccountId32;

const OWNER: Entry = Entry::subtensor("Owner");
const SUBNET_OWNER: Entry = Entry::subtensor("SubnetOwner");

/// Who owns a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubnetOwnership {
    /// The account that registered it, or bought it.
    pub coldkey: Hotkey,
    /// The hotkey that it named, free of permit and stake threshold.
    pub hotkey: Option<Hotkey>,
}

impl ChainClient {
    /// The slot that a hotkey holds on a subnet, at the best block.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn uid_of(&self, netuid: Netuid, hotkey: Hotkey) -> Result<Option<Uid>, ChainError> {
        self.at_best().await?.uid(netuid, &hotkey).await
    }

    /// The coldkey that a hotkey belongs to, at the best block; `None` for one that never registered.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn owner_of(&self, hotkey: Hotkey) -> Result<Option<Hotkey>, ChainError> {
        self.at_best().await?.owner(&hotkey).await
    }

    /// Who owns a subnet, at the best block; `None` for one that isn't there.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn subnet_owner(&self, netuid: Netuid) -> Result<Option<SubnetOwnership>, ChainError> {
        let at = self.at_best().await?;
        if !at.subnet_exists(netuid).await? {
            return Ok(None);
        }
        let (coldkey, hotkey) =
            tokio::try_join!(at.someone(SUBNET_OWNER, vec![subnet(netuid)]), at.owner_hotkey(netuid))?;
        Ok(coldkey.map(|coldkey| SubnetOwnership { coldkey, hotkey }))
    }

    /// The free balance of an account in rao, at the best block.
    ///
    /// # Errors
    /// Those of a read.
    pub async fn balance(&self, account: Hotkey) -> Result<u64, ChainError> {
        Ok(self.at_best().await?.account(&account).await?.free)
    }
}

impl AtBlock {
    /// The coldkey that a hotkey belongs to.
    pub(crate) async fn owner(&self, hotkey: &Hotkey) -> Result<Option<Hotkey>, ChainError> {
        self.someone(OWNER, vec![account(hotkey)]).await
    }

    /// An account; the zero account, such an entry's default, stands for none.
    async fn someone(&self, entry: Entry, key: Vec<subxt::dynamic::Value>) -> Result<Option<Hotkey>, ChainError> {
        let found: Option<AccountId32> = self.find(entry, key).await?;
        Ok(found.map(hotkey).filter(|key| key.0 != [0; 32]))
    }
}
