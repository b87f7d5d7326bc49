//! A subnet in one answer (`rpc_info/metagraph.rs`): whole, or the fields that are asked for by their numbers.
//!
//! What this chain doesn't keep (names, pools, proof of work) is there as a subnet without it has it.

use codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

use super::pallets::commitments::COMMITMENT_OF;
use super::pallets::subtensor::{
    ACTIVE, ACTIVITY_CUTOFF, AXONS, AxonInfo, BLOCK_AT_REGISTRATION, BLOCKS_SINCE_LAST_STEP, BONDS_MOVING_AVERAGE,
    BURN, COMMIT_REVEAL_ENABLED, CONSENSUS, DIVIDENDS, EMISSION, EMISSION_PER_BLOCK, IMMUNITY_PERIOD, INCENTIVE, KAPPA,
    KEYS, LAST_STEP_BLOCK, LAST_UPDATE, MAX_ALLOWED_UIDS, MAX_ALLOWED_VALIDATORS, MAX_WEIGHTS_LIMIT,
    MIN_ALLOWED_WEIGHTS, NETWORK_REGISTERED_AT, NETWORKS_ADDED, OWNER, PRUNING_SCORES, RANK, REGISTRATION_ALLOWED,
    REVEAL_PERIOD_EPOCHS, SERVING_RATE_LIMIT, SUBNET_OWNER, SUBNET_OWNER_HOTKEY, SUBNETWORK_N, TEMPO, TRUST,
    VALIDATOR_PERMIT, WEIGHTS_SET_RATE_LIMIT, WEIGHTS_VERSION_KEY, stake,
};
use super::primitives::{AccountId32, AlphaBalance, MechId, NetUid, NetUidStorageIndex, PerU16, TaoBalance};
use super::state::Read;

/// `substrate_fixed`'s `I96F32`.
#[derive(Debug, Clone, Copy, Encode, Decode, TypeInfo)]
pub(super) struct FixedI128 {
    bits: i128,
}

/// What the owner says about a subnet.
#[derive(Debug, Clone, Encode, Decode, TypeInfo)]
#[allow(clippy::struct_field_names)] // the chain's own
pub(super) struct SubnetIdentityV3 {
    subnet_name: Vec<u8>,
    github_repo: Vec<u8>,
    subnet_contact: Vec<u8>,
    subnet_url: Vec<u8>,
    discord: Vec<u8>,
    description: Vec<u8>,
    logo_url: Vec<u8>,
    additional: Vec<u8>,
}

/// What a coldkey says about itself.
#[derive(Debug, Clone, Encode, Decode, TypeInfo)]
pub(super) struct ChainIdentityV2 {
    name: Vec<u8>,
    url: Vec<u8>,
    github_repo: Vec<u8>,
    image: Vec<u8>,
    discord: Vec<u8>,
    description: Vec<u8>,
    additional: Vec<u8>,
}

macro_rules! metagraph {
    ($($number:literal $name:ident: $type:ty,)*) => {
        /// All of a subnet.
        #[derive(Debug, Clone, Encode, Decode, TypeInfo)]
        pub(super) struct Metagraph {
            netuid: Compact<NetUid>,
            $($name: $type,)*
        }

        /// A subnet, as far as it was asked for.
        #[derive(Debug, Encode, Decode, TypeInfo)]
        pub(super) struct SelectiveMetagraph {
            netuid: Compact<NetUid>,
            $($name: Option<$type>,)*
            validators: Option<Vec<Compact<u16>>>,
            commitments: Option<Vec<(AccountId32, Vec<Compact<u8>>)>>,
        }

        impl Metagraph {
            fn select(self, fields: &[u16]) -> SelectiveMetagraph {
                SelectiveMetagraph {
                    netuid: self.netuid,
                    $($name: fields.contains(&$number).then_some(self.$name),)*
                    validators: None,
                    commitments: None,
                }
            }
        }
    };
}

metagraph! {
    1 name: Vec<Compact<u8>>,
    2 symbol: Vec<Compact<u8>>,
    3 identity: Option<SubnetIdentityV3>,
    4 network_registered_at: Compact<u64>,
    5 owner_hotkey: AccountId32,
    6 owner_coldkey: AccountId32,
    7 block: Compact<u64>,
    8 tempo: Compact<u16>,
    9 last_step: Compact<u64>,
    10 blocks_since_last_step: Compact<u64>,
    11 subnet_emission: Compact<u64>,
    12 alpha_in: Compact<AlphaBalance>,
    13 alpha_out: Compact<AlphaBalance>,
    14 tao_in: Compact<TaoBalance>,
    15 alpha_out_emission: Compact<AlphaBalance>,
    16 alpha_in_emission: Compact<AlphaBalance>,
    17 tao_in_emission: Compact<TaoBalance>,
    18 pending_alpha_emission: Compact<AlphaBalance>,
    19 pending_root_emission: Compact<TaoBalance>,
    20 subnet_volume: Compact<u128>,
    21 moving_price: FixedI128,
    22 rho: Compact<u16>,
    23 kappa: Compact<u16>,
    24 min_allowed_weights: Compact<u16>,
    25 max_weights_limit: Compact<u16>,
    26 weights_version: Compact<u64>,
    27 weights_rate_limit: Compact<u64>,
    28 activity_cutoff: Compact<u64>,
    29 max_validators: Compact<u16>,
    30 num_uids: Compact<u16>,
    31 max_uids: Compact<u16>,
    32 burn: Compact<TaoBalance>,
    33 difficulty: Compact<u64>,
    34 registration_allowed: bool,
    35 pow_registration_allowed: bool,
    36 immunity_period: Compact<u16>,
    37 min_difficulty: Compact<u64>,
    38 max_difficulty: Compact<u64>,
    39 min_burn: Compact<TaoBalance>,
    40 max_burn: Compact<TaoBalance>,
    41 adjustment_alpha: Compact<u64>,
    42 adjustment_interval: Compact<u16>,
    43 target_regs_per_interval: Compact<u16>,
    44 max_regs_per_block: Compact<u16>,
    45 serving_rate_limit: Compact<u64>,
    46 commit_reveal_weights_enabled: bool,
    47 commit_reveal_period: Compact<u64>,
    48 liquid_alpha_enabled: bool,
    49 alpha_high: Compact<u16>,
    50 alpha_low: Compact<u16>,
    51 bonds_moving_avg: Compact<u64>,
    52 hotkeys: Vec<AccountId32>,
    53 coldkeys: Vec<AccountId32>,
    54 identities: Vec<Option<ChainIdentityV2>>,
    55 axons: Vec<AxonInfo>,
    56 active: Vec<bool>,
    57 validator_permit: Vec<bool>,
    58 pruning_score: Vec<Compact<u16>>,
    59 last_update: Vec<Compact<u64>>,
    60 emission: Vec<Compact<AlphaBalance>>,
    61 dividends: Vec<Compact<u16>>,
    62 incentives: Vec<Compact<u16>>,
    63 consensus: Vec<Compact<u16>>,
    64 trust: Vec<Compact<u16>>,
    65 rank: Vec<Compact<u16>>,
    66 block_at_registration: Vec<Compact<u64>>,
    67 alpha_stake: Vec<Compact<AlphaBalance>>,
    68 tao_stake: Vec<Compact<TaoBalance>>,
    69 total_stake: Vec<Compact<TaoBalance>>,
    70 tao_dividends_per_hotkey: Vec<(AccountId32, Compact<TaoBalance>)>,
    71 alpha_dividends_per_hotkey: Vec<(AccountId32, Compact<AlphaBalance>)>,
}

/// Numbers of the two fields that only the selective answer has.
const VALIDATORS: u16 = 72;
const COMMITMENTS: u16 = 73;

/// A mechanism of a subnet at a block; none for a subnet that isn't there.
pub(super) fn whole(state: &impl Read, block: u64, netuid: NetUid, mechanism: MechId) -> Option<Metagraph> {
    if !NETWORKS_ADDED.get(state, (netuid,)) {
        return None;
    }
    let index = NetUidStorageIndex::new(netuid, mechanism);
    let count = SUBNETWORK_N.get(state, (netuid,));
    let hotkeys: Vec<AccountId32> = (0..count).map(|uid| KEYS.get(state, (netuid, uid))).collect();
    let owners = hotkeys.iter().map(|key| OWNER.get(state, (key.clone(),)));
    let axon = |key: &AccountId32| AXONS.get(state, (netuid, key.clone())).unwrap_or_default();
    let numbers = |mut column: Vec<u16>| -> Vec<Compact<u16>> {
        // Neurons that came since the last epoch aren't in what it wrote.
        column.resize(usize::from(count), 0);
        column.into_iter().map(Compact).collect()
    };
    let shares = |column: Vec<PerU16>| numbers(column.into_iter().map(|share| share.0).collect());
    let alpha: Vec<u64> = hotkeys.iter().map(|key| stake(state, key, netuid)).collect();
    let dividends = DIVIDENDS.get(state, (netuid,));
    let emission = EMISSION.get(state, (netuid,));
    let paid = hotkeys.iter().zip(&dividends).zip(&emission).filter(|((_, share), _)| share.0 > 0);
    let blocks = BLOCKS_SINCE_LAST_STEP.get(state, (netuid,));
    let text = |text: &str| text.bytes().map(Compact).collect();
    Some(Metagraph {
        netuid: Compact(netuid),
        name: text("devnet"),
        symbol: text("d"),
        identity: None,
        network_registered_at: Compact(NETWORK_REGISTERED_AT.get(state, (netuid,))),
        owner_hotkey: SUBNET_OWNER_HOTKEY.get(state, (netuid,)),
        owner_coldkey: SUBNET_OWNER.get(state, (netuid,)),
        block: Compact(block),
        tempo: Compact(TEMPO.get(state, (netuid,))),
        last_step: Compact(LAST_STEP_BLOCK.get(state, (netuid,))),
        blocks_since_last_step: Compact(blocks),
        subnet_emission: Compact(0),
        alpha_in: Compact(AlphaBalance(0)),
        alpha_out: Compact(AlphaBalance(alpha.iter().copied().fold(0, u64::saturating_add))),
        tao_in: Compact(TaoBalance(0)),
        alpha_out_emission: Compact(AlphaBalance(1_000_000_000)),
        alpha_in_emission: Compact(AlphaBalance(0)),
        tao_in_emission: Compact(TaoBalance(0)),
        pending_alpha_emission: Compact(AlphaBalance(blocks.saturating_mul(EMISSION_PER_BLOCK))),
        pending_root_emission: Compact(TaoBalance(0)),
        subnet_volume: Compact(0),
        moving_price: FixedI128 { bits: 0 },
        rho: Compact(10),
        kappa: Compact(KAPPA.get(state, (netuid,))),
        min_allowed_weights: Compact(MIN_ALLOWED_WEIGHTS.get(state, (netuid,))),
        max_weights_limit: Compact(MAX_WEIGHTS_LIMIT.get(state, (netuid,))),
        weights_version: Compact(WEIGHTS_VERSION_KEY.get(state, (netuid,))),
        weights_rate_limit: Compact(WEIGHTS_SET_RATE_LIMIT.get(state, (netuid,))),
        activity_cutoff: Compact(u64::from(ACTIVITY_CUTOFF.get(state, (netuid,)))),
        max_validators: Compact(MAX_ALLOWED_VALIDATORS.get(state, (netuid,))),
        num_uids: Compact(count),
        max_uids: Compact(MAX_ALLOWED_UIDS.get(state, (netuid,))),
        burn: Compact(BURN.get(state, (netuid,))),
        difficulty: Compact(10_000_000),
        registration_allowed: REGISTRATION_ALLOWED.get(state, (netuid,)),
        pow_registration_allowed: false,
        immunity_period: Compact(IMMUNITY_PERIOD.get(state, (netuid,))),
        min_difficulty: Compact(10_000_000),
        max_difficulty: Compact(u64::MAX / 4),
        min_burn: Compact(TaoBalance(500_000)),
        max_burn: Compact(TaoBalance(100_000_000_000)),
        adjustment_alpha: Compact(0),
        adjustment_interval: Compact(100),
        target_regs_per_interval: Compact(2),
        max_regs_per_block: Compact(1),
        serving_rate_limit: Compact(SERVING_RATE_LIMIT.get(state, (netuid,))),
        commit_reveal_weights_enabled: COMMIT_REVEAL_ENABLED.get(state, (netuid,)),
        commit_reveal_period: Compact(REVEAL_PERIOD_EPOCHS.get(state, (netuid,))),
        liquid_alpha_enabled: false,
        alpha_high: Compact(58_982),
        alpha_low: Compact(45_875),
        bonds_moving_avg: Compact(BONDS_MOVING_AVERAGE.get(state, (netuid,))),
        coldkeys: owners.collect(),
        identities: vec![None; usize::from(count)],
        axons: hotkeys.iter().map(axon).collect(),
        active: ACTIVE.get(state, (netuid,)),
        validator_permit: VALIDATOR_PERMIT.get(state, (netuid,)),
        pruning_score: numbers(PRUNING_SCORES.get(state, (netuid,))),
        last_update: LAST_UPDATE.get(state, (index,)).into_iter().map(Compact).collect(),
        incentives: shares(INCENTIVE.get(state, (index,))),
        consensus: shares(CONSENSUS.get(state, (netuid,))),
        trust: numbers(TRUST.get(state, (netuid,))),
        rank: numbers(RANK.get(state, (netuid,))),
        block_at_registration: (0..count).map(|uid| Compact(BLOCK_AT_REGISTRATION.get(state, (netuid, uid)))).collect(),
        // This chain has no root stake.
        tao_stake: vec![Compact(TaoBalance(0)); usize::from(count)],
        total_stake: alpha.iter().map(|alpha| Compact(TaoBalance(*alpha))).collect(),
        alpha_stake: alpha.into_iter().map(|alpha| Compact(AlphaBalance(alpha))).collect(),
        tao_dividends_per_hotkey: Vec::new(),
        alpha_dividends_per_hotkey: paid.map(|((key, _), paid)| (key.clone(), Compact(*paid))).collect(),
        emission: emission.into_iter().map(Compact).collect(),
        dividends: shares(dividends),
        hotkeys,
    })
}

/// The fields with these numbers of a mechanism of a subnet at a block; none for a subnet that isn't there.
pub(super) fn selective(
    state: &impl Read,
    block: u64,
    (netuid, mechanism): (NetUid, MechId),
    fields: &[u16],
) -> Option<SelectiveMetagraph> {
    let whole = whole(state, block, netuid, mechanism)?;
    let (hotkeys, permits) = (whole.hotkeys.clone(), whole.validator_permit.clone());
    let mut answer = whole.select(fields);
    if fields.contains(&VALIDATORS) {
        let validators = (0..).zip(permits).filter(|(_, permit)| *permit);
        answer.validators = Some(validators.map(|(uid, _)| Compact(uid)).collect());
    }
    if fields.contains(&COMMITMENTS) {
        let commitment = |hotkey: AccountId32| {
            let commitment = COMMITMENT_OF.get(state, (netuid, hotkey.clone()))?;
            Some((hotkey, commitment.encode().into_iter().map(Compact).collect()))
        };
        answer.commitments = Some(hotkeys.into_iter().filter_map(commitment).collect());
    }
    Some(answer)
}
