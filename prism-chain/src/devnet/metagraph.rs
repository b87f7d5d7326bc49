//! A subnet in one answer (`rpc_info/metagraph.rs`): the fields of `SelectiveMetagraph` that this chain keeps, by their
//! names and in their order.

use codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

use super::pallets::subtensor::{
    ACTIVE, AXONS, AxonInfo, BLOCK_AT_REGISTRATION, CONSENSUS, DIVIDENDS, EMISSION, INCENTIVE, KEYS, LAST_UPDATE,
    NETWORKS_ADDED, OWNER, SUBNETWORK_N, TEMPO, TOTAL_HOTKEY_ALPHA, VALIDATOR_PERMIT,
};
use super::primitives::{AccountId32, AlphaBalance, MechId, NetUid, NetUidStorageIndex, PerU16, TaoBalance};
use super::state::Read;

/// A subnet, as far as it was asked for.
#[derive(Debug, Encode, Decode, TypeInfo)]
pub(super) struct SelectiveMetagraph {
    netuid: Compact<NetUid>,
    block: Option<Compact<u64>>,
    tempo: Option<Compact<u16>>,
    num_uids: Option<Compact<u16>>,
    hotkeys: Option<Vec<AccountId32>>,
    coldkeys: Option<Vec<AccountId32>>,
    axons: Option<Vec<AxonInfo>>,
    active: Option<Vec<bool>>,
    validator_permit: Option<Vec<bool>>,
    last_update: Option<Vec<Compact<u64>>>,
    emission: Option<Vec<Compact<AlphaBalance>>>,
    dividends: Option<Vec<Compact<u16>>>,
    incentives: Option<Vec<Compact<u16>>>,
    consensus: Option<Vec<Compact<u16>>>,
    block_at_registration: Option<Vec<Compact<u64>>>,
    alpha_stake: Option<Vec<Compact<AlphaBalance>>>,
    tao_stake: Option<Vec<Compact<TaoBalance>>>,
    total_stake: Option<Vec<Compact<TaoBalance>>>,
}

/// The fields with these numbers of a subnet at a block; none for a subnet that isn't there.
pub(super) fn selective(state: &impl Read, block: u64, netuid: NetUid, fields: &[u16]) -> Option<SelectiveMetagraph> {
    if !NETWORKS_ADDED.get(state, (netuid,)) {
        return None;
    }
    let index = NetUidStorageIndex::new(netuid, MechId(0));
    let count = SUBNETWORK_N.get(state, (netuid,));
    let hotkeys: Vec<AccountId32> = (0..count).map(|uid| KEYS.get(state, (netuid, uid))).collect();
    let shares = |column: Vec<PerU16>| Some(column.into_iter().map(|share| Compact(share.0)).collect());
    let alpha = |hotkey: &AccountId32| TOTAL_HOTKEY_ALPHA.get(state, (hotkey.clone(), netuid)).0;
    let mut answer = SelectiveMetagraph {
        netuid: Compact(netuid),
        block: None,
        tempo: None,
        num_uids: None,
        hotkeys: None,
        coldkeys: None,
        axons: None,
        active: None,
        validator_permit: None,
        last_update: None,
        emission: None,
        dividends: None,
        incentives: None,
        consensus: None,
        block_at_registration: None,
        alpha_stake: None,
        tao_stake: None,
        total_stake: None,
    };
    for field in fields {
        match field {
            7 => answer.block = Some(Compact(block)),
            8 => answer.tempo = Some(Compact(TEMPO.get(state, (netuid,)))),
            30 => answer.num_uids = Some(Compact(count)),
            52 => answer.hotkeys = Some(hotkeys.clone()),
            53 => answer.coldkeys = Some(hotkeys.iter().map(|key| OWNER.get(state, (key.clone(),))).collect()),
            55 => {
                let axon = |key: &AccountId32| AXONS.get(state, (netuid, key.clone())).unwrap_or_default();
                answer.axons = Some(hotkeys.iter().map(axon).collect());
            }
            56 => answer.active = Some(ACTIVE.get(state, (netuid,))),
            57 => answer.validator_permit = Some(VALIDATOR_PERMIT.get(state, (netuid,))),
            59 => answer.last_update = Some(LAST_UPDATE.get(state, (index,)).into_iter().map(Compact).collect()),
            60 => answer.emission = Some(EMISSION.get(state, (netuid,)).into_iter().map(Compact).collect()),
            61 => answer.dividends = shares(DIVIDENDS.get(state, (netuid,))),
            62 => answer.incentives = shares(INCENTIVE.get(state, (index,))),
            63 => answer.consensus = shares(CONSENSUS.get(state, (netuid,))),
            66 => {
                let at = |uid| Compact(BLOCK_AT_REGISTRATION.get(state, (netuid, uid)));
                answer.block_at_registration = Some((0..count).map(at).collect());
            }
            67 => answer.alpha_stake = Some(hotkeys.iter().map(|key| Compact(AlphaBalance(alpha(key)))).collect()),
            // This chain has no root stake.
            68 => answer.tao_stake = Some(hotkeys.iter().map(|_| Compact(TaoBalance(0))).collect()),
            69 => answer.total_stake = Some(hotkeys.iter().map(|key| Compact(TaoBalance(alpha(key)))).collect()),
            _ => {}
        }
    }
    Some(answer)
}
