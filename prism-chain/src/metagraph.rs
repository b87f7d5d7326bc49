//! Who is on a subnet, and its hyperparameters, at one block.
use crate::{
    client::ChainClient,
    epoch::EpochClock,
    error::ChainError,
    runtime::{AtBlock, Entry, account, hotkey, number, subnet},
};
use prism_core::{Block, Hotkey, MechanismId, Netuid, Uid};
use std::collections::BTreeMap;
use subxt::utils::AccountId32;

const SUBNETWORK_N: Entry = Entry::subtensor("SubnetworkN");
const KEYS: Entry = Entry::subtensor("Keys");
const UIDS: Entry = Entry::subtensor("Uids");
const VALIDATOR_PERMIT: Entry = Entry::subtensor("ValidatorPermit");
const LAST_UPDATE: Entry = Entry::subtensor("LastUpdate");
const TOTAL_HOTKEY_ALPHA: Entry = Entry::subtensor("TotalHotkeyAlpha");
const WEIGHTS: Entry = Entry::subtensor("Weights");
const SUBNET_OWNER_HOTKEY: Entry = Entry::subtensor("SubnetOwnerHotkey");
const NETWORKS_ADDED: Entry = Entry::subtensor("NetworksAdded");

/// Subnets per mechanism in the index of per-mechanism storage (subtensor, lib.rs: `GLOBAL_MAX_SUBNET_COUNT`).
const MAX_SUBNETS: u16 = 4096;

/// A slot of a subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The slot.
    pub uid: Uid,
    /// Who holds it.
    pub hotkey: Hotkey,
    /// Whether it may set weights. Recomputed at epochs only.
    pub validator_permit: bool,
    /// Alpha behind the hotkey on this subnet, 1e-9.
    pub stake: u64,
    /// The block at which it last set weights, or registered.
    pub last_update: Block,
}

/// A subnet's members at one block, ordered by UID.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metagraph {
    /// The subnet.
    pub netuid: Netuid,
    /// The block.
    pub block: Block,
    /// Its members.
    pub members: Vec<Member>,
}

/// A subnet's rules at one block.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hyperparameters {
    /// Blocks per epoch.
    pub tempo: u16,
    /// Blocks between two weight vectors of one neuron.
    pub weights_rate_limit: u64,
    /// The least version key that is accepted; zero accepts all.
    pub weights_version_key: u64,
    /// Fewest weights in a vector; no more than there are neurons.
    pub min_allowed_weights: u16,
    /// Largest weight's share of the sum, in 1/65535.
    pub max_weights_limit: u16,
    /// Whether weights must be committed before they are revealed.
    pub commit_reveal: bool,
    /// Number of mechanisms.
    pub mechanisms: u8,
    /// Number of slots that are taken.
    pub neurons: u16,
    /// Number of slots.
    pub max_neurons: u16,
    /// Blocks for which a new neuron can't be replaced.
    pub immunity_period: u16,
    /// Price of a registration, rao.
    pub burn: u64,
    /// Least stake with which weights can be set, rao; on all subnets.
    pub stake_threshold: u64,
}

impl ChainClient {
    /// The subnet's members at a block; at the newest final one without it.
    ///
    /// # Errors
    /// `UnknownBlock` for a block that isn't there; those of a read, with the entry's name.
    pub async fn metagraph(&self, netuid: Netuid, at: Option<Block>) -> Result<Metagraph, ChainError> {
        self.at_or_final(at).await?.metagraph(netuid).await
    }

    /// The subnet's rules at a block; at the newest final one without it.
    ///
    /// # Errors
    /// As [`ChainClient::metagraph`].
    pub async fn hyperparameters(&self, netuid: Netuid, at: Option<Block>) -> Result<Hyperparameters, ChainError> {
        self.at_or_final(at).await?.hyperparameters(netuid).await
    }

    /// The subnet's epochs at a block; at the newest final one without it.
    ///
    /// # Errors
    /// As [`ChainClient::metagraph`].
    pub async fn epochs(&self, netuid: Netuid, at: Option<Block>) -> Result<EpochClock, ChainError> {
        self.at_or_final(at).await?.epoch_clock(netuid).await
    }

    /// The weights that a slot has set, as the chain keeps them, at a block; at the newest final one without it.
    pub async fn weights(
        &self,
        netuid: Netuid,
        mechanism: MechanismId,
        uid: Uid,
        at: Option<Block>,
    ) -> Result<BTreeMap<Uid, u16>, ChainError> {
        let weights = self.at_or_final(at).await?.weights(storage_index(netuid, mechanism), uid).await?;
        Ok(weights.into_iter().collect())
    }

    async fn at_or_final(&self, at: Option<Block>) -> Result<AtBlock, ChainError> {
        match at {
            Some(block) => self.at(self.tip_at(block).await?).await,
            None => self.at_finalized().await,
        }
    }
}

/// The number under which a mechanism's weights and update times are stored: `mechanism * 4096 + netuid`.
pub(crate) fn storage_index(netuid: Netuid, mechanism: MechanismId) -> u16 {
    u16::from(mechanism.0).saturating_mul(MAX_SUBNETS).saturating_add(netuid.0)
}

impl AtBlock {
    pub(crate) async fn metagraph(&self, netuid: Netuid) -> Result<Metagraph, ChainError> {
        let index = number(storage_index(netuid, MechanismId(0)));
        let (count, permits, updates) = tokio::try_join!(
            self.get::<u16>(SUBNETWORK_N, vec![subnet(netuid)]),
            self.get::<Vec<bool>>(VALIDATOR_PERMIT, vec![subnet(netuid)]),
            self.get::<Vec<u64>>(LAST_UPDATE, vec![index]),
        )?;
        let slots = (0..count).map(|uid| vec![subnet(netuid), number(uid)]).collect();
        let hotkeys: Vec<_> = self.find_all::<AccountId32>(KEYS, slots).await?.into_iter().collect();
        let hotkeys: Vec<Hotkey> = hotkeys
            .into_iter()
            .enumerate()
            .map(|(uid, key)| {
                key.map(hotkey).ok_or_else(|| ChainError::Unset { item: format!("{KEYS}[{netuid}, {uid}]") })
            })
            .collect::<Result<_, _>>()?;
        let stakes = hotkeys.iter().map(|key| vec![account(key), subnet(netuid)]).collect();
        let stakes = self.find_all::<u64>(TOTAL_HOTKEY_ALPHA, stakes).await?;
        let members = (0..count).zip(hotkeys).zip(stakes).map(|((uid, hotkey), stake)| Member {
            uid: Uid(uid),
            hotkey,
            validator_permit: permits.get(usize::from(uid)).copied().unwrap_or(false),
            stake: stake.unwrap_or(0),
            last_update: Block(updates.get(usize::from(uid)).copied().unwrap_or(0)),
        });
        Ok(Metagraph { netuid, block: self.block(), members: members.collect() })
    }

    pub(crate) async fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ChainError> {
        let key = || vec![subnet(netuid)];
        let of = Entry::subtensor;
        let (tempo, weights_rate_limit, weights_version_key, min_allowed_weights, max_weights_limit, commit_reveal) = tokio::try_join!(
            self.get(of("Tempo"), key()),
            self.get(of("WeightsSetRateLimit"), key()),
            self.get(of("WeightsVersionKey"), key()),
            self.get(of("MinAllowedWeights"), key()),
            self.get(of("MaxWeightsLimit"), key()),
            self.get(of("CommitRevealWeightsEnabled"), key()),
        )?;
        let (mechanisms, neurons, max_neurons, immunity_period, burn, stake_threshold) = tokio::try_join!(
            self.get(of("MechanismCountCurrent"), key()),
            self.get(SUBNETWORK_N, key()),
            self.get(of("MaxAllowedUids"), key()),
            self.get(of("ImmunityPeriod"), key()),
            self.get(of("Burn"), key()),
            self.get(of("StakeThreshold"), vec![]),
        )?;
        Ok(Hyperparameters {
            tempo,
            weights_rate_limit,
            weights_version_key,
            min_allowed_weights,
            max_weights_limit,
            commit_reveal,
            mechanisms,
            neurons,
            max_neurons,
            immunity_period,
            burn,
            stake_threshold,
        })
    }

    /// Whether the subnet exists.
    pub(crate) async fn subnet_exists(&self, netuid: Netuid) -> Result<bool, ChainError> {
        self.get(NETWORKS_ADDED, vec![subnet(netuid)]).await
    }

    /// The slot that a hotkey holds.
    pub(crate) async fn uid(&self, netuid: Netuid, hotkey: &Hotkey) -> Result<Option<Uid>, ChainError> {
        Ok(self.find(UIDS, vec![subnet(netuid), account(hotkey)]).await?.map(Uid))
    }

    /// The slots that hotkeys hold, in the order of the hotkeys.
    pub(crate) async fn uids(&self, netuid: Netuid, hotkeys: &[Hotkey]) -> Result<Vec<Option<Uid>>, ChainError> {
        let keys = hotkeys.iter().map(|key| vec![subnet(netuid), account(key)]).collect();
        Ok(self.find_all(UIDS, keys).await?.into_iter().map(|uid| uid.map(Uid)).collect())
    }

    /// Who holds these slots, in their order.
    pub(crate) async fn holders(&self, netuid: Netuid, uids: &[Uid]) -> Result<Vec<Option<Hotkey>>, ChainError> {
        let keys = uids.iter().map(|uid| vec![subnet(netuid), number(uid.0)]).collect();
        let holders = self.find_all::<AccountId32>(KEYS, keys).await?;
        Ok(holders.into_iter().map(|key| key.map(hotkey)).collect())
    }

    /// The hotkey of the subnet's owner, if it has one.
    pub(crate) async fn owner_hotkey(&self, netuid: Netuid) -> Result<Option<Hotkey>, ChainError> {
        let owner: Option<AccountId32> = self.find(SUBNET_OWNER_HOTKEY, vec![subnet(netuid)]).await?;
        // The entry's default, the zero account, stands for none.
        Ok(owner.map(hotkey).filter(|key| key.0 != [0; 32]))
    }

    /// Whether the slot may set weights.
    pub(crate) async fn permit(&self, netuid: Netuid, uid: Uid) -> Result<bool, ChainError> {
        let permits: Vec<bool> = self.get(VALIDATOR_PERMIT, vec![subnet(netuid)]).await?;
        Ok(permits.get(usize::from(uid.0)).copied().unwrap_or(false))
    }

    /// The block at which the slot last set weights, or registered.
    pub(crate) async fn last_update(&self, index: u16, uid: Uid) -> Result<u64, ChainError> {
        let updates: Vec<u64> = self.get(LAST_UPDATE, vec![number(index)]).await?;
        Ok(updates.get(usize::from(uid.0)).copied().unwrap_or(0))
    }

    /// The weights that the slot has set.
    pub(crate) async fn weights(&self, index: u16, uid: Uid) -> Result<Vec<(Uid, u16)>, ChainError> {
        let row: Vec<(u16, u16)> = self.get(WEIGHTS, vec![number(index), number(uid.0)]).await?;
        Ok(row.into_iter().map(|(uid, weight)| (Uid(uid), weight)).collect())
    }

    /// Alpha behind a hotkey on a subnet, 1e-9.
    pub(crate) async fn alpha(&self, netuid: Netuid, hotkey: &Hotkey) -> Result<u64, ChainError> {
        self.get(TOTAL_HOTKEY_ALPHA, vec![account(hotkey), subnet(netuid)]).await
    }
}
