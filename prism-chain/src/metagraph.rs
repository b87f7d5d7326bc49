//! Who is on a subnet at one block.
use crate::{
    axon::{Announced, AxonInfo},
    client::ChainClient,
    epoch::EpochClock,
    error::ChainError,
    runtime::{Api, AtBlock, Entry, Runtime, account, hotkey, number, subnet},
};
use prism_core::{Block, Hotkey, MechanismId, Netuid, Uid};
use serde::Serialize;
use std::collections::BTreeMap;
use subxt::{dynamic::Value, utils::AccountId32};

pub use crate::hyperparameters::Hyperparameters;

pub(crate) const SUBNETWORK_N: Entry = Entry::subtensor("SubnetworkN");
const KEYS: Entry = Entry::subtensor("Keys");
const UIDS: Entry = Entry::subtensor("Uids");
const OWNER: Entry = Entry::subtensor("Owner");
const AXONS: Entry = Entry::subtensor("Axons");
const ACTIVE: Entry = Entry::subtensor("Active");
const VALIDATOR_PERMIT: Entry = Entry::subtensor("ValidatorPermit");
const LAST_UPDATE: Entry = Entry::subtensor("LastUpdate");
const BLOCK_AT_REGISTRATION: Entry = Entry::subtensor("BlockAtRegistration");
const CONSENSUS: Entry = Entry::subtensor("Consensus");
const INCENTIVE: Entry = Entry::subtensor("Incentive");
const DIVIDENDS: Entry = Entry::subtensor("Dividends");
const EMISSION: Entry = Entry::subtensor("Emission");
const TOTAL_HOTKEY_ALPHA: Entry = Entry::subtensor("TotalHotkeyAlpha");
const TAO_WEIGHT: Entry = Entry::subtensor("TaoWeight");
const WEIGHTS: Entry = Entry::subtensor("Weights");
const SUBNET_OWNER_HOTKEY: Entry = Entry::subtensor("SubnetOwnerHotkey");
const NETWORKS_ADDED: Entry = Entry::subtensor("NetworksAdded");

/// The runtime's own view of a subnet: chosen fields, in one answer.
const SELECTIVE_METAGRAPH: Api = Api::new("SubnetInfoRuntimeApi", "get_selective_metagraph");

/// The fields that are asked for (subtensor, rpc_info/metagraph.rs: `SelectiveMetagraphIndex`): hotkeys 52, coldkeys 53,
/// axons 55, active 56, validator_permit 57, last_update 59, emission 60, dividends 61, incentives 62, consensus 63,
/// block_at_registration 66, alpha_stake 67, tao_stake 68, total_stake 69. The answer is read by name; should the numbers
/// ever mean other fields, these are empty in it.
const SELECTED: [u16; 14] = [52, 53, 55, 56, 57, 59, 60, 61, 62, 63, 66, 67, 68, 69];

/// The root network, where stake is in TAO.
const ROOT: Netuid = Netuid(0);

/// Subnets per mechanism in the index of per-mechanism storage (subtensor, lib.rs: `GLOBAL_MAX_SUBNET_COUNT`).
const MAX_SUBNETS: u16 = 4096;

/// A slot of a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Member {
    /// The slot.
    pub uid: Uid,
    /// Who holds it.
    pub hotkey: Hotkey,
    /// The account that owns the hotkey.
    pub coldkey: Hotkey,
    /// Whether it set weights lately, as the last epoch saw it.
    pub active: bool,
    /// Whether it may set weights. Recomputed at epochs only.
    pub validator_permit: bool,
    /// Stake weight, rao: alpha on this subnet, and TAO on the root network times the chain's TAO weight. Permits go by
    /// it. From the runtime's own answer it includes what parents delegate; from storage it doesn't.
    pub stake: u64,
    /// Alpha in it, 1e-9.
    pub alpha: u64,
    /// TAO in it, rao, before the TAO weight.
    pub tao: u64,
    /// The block at which it last set weights, or registered.
    pub last_update: Block,
    /// The block at which it registered.
    pub registered: Block,
    /// Share of the miners' reward in the last epoch, 1/65535 of all.
    pub incentive: u16,
    /// Share of the validators' reward in the last epoch, 1/65535 of all.
    pub dividends: u16,
    /// Stake-weighted median of the weights it was given, 1/65535 of the largest.
    pub consensus: u16,
    /// What it earned in the last epoch, alpha, 1e-9.
    pub emission: u64,
    /// Where it says it can be reached.
    pub axon: Option<Announced>,
}

/// A subnet's members at one block, ordered by UID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Metagraph {
    /// The subnet.
    pub netuid: Netuid,
    /// The block.
    pub block: Block,
    /// Its members.
    pub members: Vec<Member>,
}

/// Nothing for one that was never announced, or was taken back.
fn announced(info: AxonInfo) -> Option<Announced> {
    Some(Announced::from(info)).filter(|announced| !announced.axon.is_withdrawn())
}

impl Runtime {
    /// Reads what `SubnetInfoRuntimeApi_get_selective_metagraph` answered at a block; nothing for a subnet that doesn't
    /// exist.
    ///
    /// # Errors
    /// `Missing` in a runtime without the method, `Decode` for bytes that are no such answer, `Unset` for one without
    /// hotkeys, permits, update times or stakes.
    pub fn metagraph(&self, netuid: Netuid, block: Block, answer: &[u8]) -> Result<Option<Metagraph>, ChainError> {
        let Some(record) = self.api_record(SELECTIVE_METAGRAPH, answer)? else { return Ok(None) };
        let unset = |name: &str| ChainError::Unset { item: format!("{SELECTIVE_METAGRAPH}.{name}") };
        let hotkeys: Vec<AccountId32> = record.maybe("hotkeys")?.ok_or_else(|| unset("hotkeys"))?;
        let permits: Vec<bool> = record.maybe("validator_permit")?.ok_or_else(|| unset("validator_permit"))?;
        let updates: Vec<u64> = record.maybe("last_update")?.ok_or_else(|| unset("last_update"))?;
        let stakes: Vec<u64> = record.maybe("total_stake")?.ok_or_else(|| unset("total_stake"))?;
        if hotkeys.len() > usize::from(u16::MAX) {
            let reason = format!("there are {} hotkeys on one subnet", hotkeys.len());
            return Err(ChainError::Decode { field: SELECTIVE_METAGRAPH.to_string(), reason });
        }
        let columns = Columns {
            coldkeys: shown(record.maybe("coldkeys")),
            axons: shown(record.maybe::<Vec<AxonInfo>>("axons")).into_iter().map(announced).collect(),
            active: shown(record.maybe("active")),
            permits,
            stakes,
            alpha: shown(record.maybe("alpha_stake")),
            tao: shown(record.maybe("tao_stake")),
            updates,
            registered: shown(record.maybe("block_at_registration")),
            incentives: shown(record.maybe("incentives")),
            dividends: shown(record.maybe("dividends")),
            consensus: shown(record.maybe("consensus")),
            emission: shown(record.maybe("emission")),
        };
        Ok(Some(columns.metagraph(netuid, block, hotkeys.into_iter().map(hotkey))))
    }
}

/// A column that is only shown: should its form change, it is left out, and no validator stops for it.
fn shown<T>(column: Result<Option<Vec<T>>, ChainError>) -> Vec<T> {
    let column = column.unwrap_or_else(|error| {
        tracing::warn!(%error, "a column of the metagraph is left out");
        None
    });
    column.unwrap_or_default()
}

/// A metagraph column by column. Columns may be shorter than there are members.
#[derive(Debug, Default)]
struct Columns {
    coldkeys: Vec<AccountId32>,
    axons: Vec<Option<Announced>>,
    active: Vec<bool>,
    permits: Vec<bool>,
    stakes: Vec<u64>,
    alpha: Vec<u64>,
    tao: Vec<u64>,
    updates: Vec<u64>,
    registered: Vec<u64>,
    incentives: Vec<u16>,
    dividends: Vec<u16>,
    consensus: Vec<u16>,
    emission: Vec<u64>,
}

impl Columns {
    fn metagraph(mut self, netuid: Netuid, block: Block, hotkeys: impl IntoIterator<Item = Hotkey>) -> Metagraph {
        fn at<T: Copy + Default>(column: &[T], row: u16) -> T {
            column.get(usize::from(row)).copied().unwrap_or_default()
        }
        let members = (0_u16..).zip(hotkeys).map(|(row, hotkey)| Member {
            uid: Uid(row),
            hotkey,
            coldkey: Hotkey(self.coldkeys.get(usize::from(row)).map_or([0; 32], |key| key.0)),
            active: at(&self.active, row),
            validator_permit: at(&self.permits, row),
            stake: at(&self.stakes, row),
            alpha: at(&self.alpha, row),
            tao: at(&self.tao, row),
            last_update: Block(at(&self.updates, row)),
            registered: Block(at(&self.registered, row)),
            incentive: at(&self.incentives, row),
            dividends: at(&self.dividends, row),
            consensus: at(&self.consensus, row),
            emission: at(&self.emission, row),
            axon: self.axons.get_mut(usize::from(row)).and_then(Option::take),
        });
        Metagraph { netuid, block, members: members.collect() }
    }
}

impl ChainClient {
    /// The subnet's members at a block; at the newest final one without it.
    ///
    /// # Errors
    /// `UnknownBlock` for a block that isn't there, `Unset` for a subnet that isn't; those of a read, with the entry's name.
    pub async fn metagraph(&self, netuid: Netuid, at: Option<Block>) -> Result<Metagraph, ChainError> {
        self.at_or_final(at).await?.metagraph(netuid).await
    }

    /// The subnet's epochs at a block; at the newest final one without it.
    ///
    /// # Errors
    /// As [`ChainClient::metagraph`].
    pub async fn epochs(&self, netuid: Netuid, at: Option<Block>) -> Result<EpochClock, ChainError> {
        self.at_or_final(at).await?.epoch_clock(netuid).await
    }

    /// The weights that a slot has set, as the chain keeps them, at a block; at the newest final one without it.
    ///
    /// # Errors
    /// As [`ChainClient::metagraph`].
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

    pub(crate) async fn at_or_final(&self, at: Option<Block>) -> Result<AtBlock, ChainError> {
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

/// Stake weight of a hotkey without parents and children: `alpha + tao * weight / 2^64` (subtensor,
/// staking/stake_utils.rs).
pub(crate) fn stake_weight(alpha: u64, tao: u64, weight: u64) -> u64 {
    let tao = (u128::from(tao) * u128::from(weight)) >> 64;
    alpha.saturating_add(u64::try_from(tao).unwrap_or(u64::MAX))
}

impl AtBlock {
    /// The subnet's members: by the runtime's own answer, or from storage where that can't be had or read.
    pub(crate) async fn metagraph(&self, netuid: Netuid) -> Result<Metagraph, ChainError> {
        let no_subnet = || ChainError::Unset { item: format!("subnet {netuid}") };
        let answered = match self.selective_metagraph(netuid).await {
            Ok(metagraph) => return metagraph.ok_or_else(no_subnet),
            // A runtime before the interface, or metadata without interfaces.
            Err(error @ ChainError::Missing { .. }) => error,
            Err(
                error @ (ChainError::Node { .. }
                | ChainError::Decode { .. }
                | ChainError::Encode { .. }
                | ChainError::Unset { .. }),
            ) => {
                tracing::warn!(%error, "reading the metagraph from storage");
                error
            }
            Err(error) => return Err(error),
        };
        tracing::debug!(error = %answered, "no metagraph from the runtime");
        if !self.subnet_exists(netuid).await? {
            return Err(no_subnet());
        }
        self.stored_metagraph(netuid).await
    }

    async fn selective_metagraph(&self, netuid: Netuid) -> Result<Option<Metagraph>, ChainError> {
        let fields = Value::unnamed_composite(SELECTED.map(number));
        let answer = self.call_api(SELECTIVE_METAGRAPH, vec![subnet(netuid), fields]).await?;
        self.runtime.metagraph(netuid, self.block(), &answer)
    }

    /// The members from the storage maps: a call for the columns, and one for each map and 256 members.
    pub(crate) async fn stored_metagraph(&self, netuid: Netuid) -> Result<Metagraph, ChainError> {
        let of_subnet = [SUBNETWORK_N, ACTIVE, VALIDATOR_PERMIT, CONSENSUS, DIVIDENDS, EMISSION];
        // By mechanism, of which the first has the subnet's own number.
        let of_mechanism = [LAST_UPDATE, INCENTIVE];
        let wanted = of_subnet.into_iter().chain(of_mechanism).map(|entry| (entry, vec![subnet(netuid)]));
        let found = self.gather(wanted.chain([(TAO_WEIGHT, vec![])])).await?;
        let count: u16 = found.get(SUBNETWORK_N)?;
        let slots: Vec<_> = (0..count).map(|uid| vec![subnet(netuid), number(uid)]).collect();
        let keys = self.find_all::<AccountId32>(KEYS, slots.clone()).await?;
        let hotkeys: Vec<Hotkey> = keys
            .into_iter()
            .enumerate()
            .map(|(uid, key)| {
                key.map(hotkey).ok_or_else(|| ChainError::Unset { item: format!("{KEYS}[{netuid}, {uid}]") })
            })
            .collect::<Result<_, _>>()?;
        let on = |netuid: Netuid| hotkeys.iter().map(|key| vec![account(key), subnet(netuid)]).collect();
        let owners = hotkeys.iter().map(|key| vec![account(key)]).collect();
        let axons = hotkeys.iter().map(|key| vec![subnet(netuid), account(key)]).collect();
        let (alpha, tao, coldkeys, axons, registered) = tokio::try_join!(
            self.find_all::<u64>(TOTAL_HOTKEY_ALPHA, on(netuid)),
            self.find_all::<u64>(TOTAL_HOTKEY_ALPHA, on(ROOT)),
            self.find_all::<AccountId32>(OWNER, owners),
            self.find_all::<AxonInfo>(AXONS, axons),
            self.find_all::<u64>(BLOCK_AT_REGISTRATION, slots),
        )?;
        let all = |column: Vec<Option<u64>>| column.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>();
        let (alpha, tao) = (all(alpha), all(tao));
        let weight: u64 = found.find(TAO_WEIGHT)?.unwrap_or(0);
        let stakes = alpha.iter().zip(&tao).map(|(alpha, tao)| stake_weight(*alpha, *tao, weight)).collect();
        let columns = Columns {
            coldkeys: coldkeys.into_iter().map(|key| key.unwrap_or(AccountId32([0; 32]))).collect(),
            axons: axons.into_iter().map(|axon| axon.and_then(announced)).collect(),
            active: found.find(ACTIVE)?.unwrap_or_default(),
            permits: found.get(VALIDATOR_PERMIT)?,
            stakes,
            alpha,
            tao,
            updates: found.get(LAST_UPDATE)?,
            registered: all(registered),
            incentives: found.find(INCENTIVE)?.unwrap_or_default(),
            dividends: found.find(DIVIDENDS)?.unwrap_or_default(),
            consensus: found.find(CONSENSUS)?.unwrap_or_default(),
            emission: found.find(EMISSION)?.unwrap_or_default(),
        };
        Ok(columns.metagraph(netuid, self.block(), hotkeys))
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

#[cfg(test)]
mod tests;
