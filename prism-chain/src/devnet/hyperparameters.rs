//! A subnet's hyperparameters in one answer (`rpc_info/subnet_info.rs`): as the list of names and values that the third
//! version is, and as the structure that the second is.

use codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

use super::pallets::subtensor::{
    ACTIVITY_CUTOFF, BONDS_MOVING_AVERAGE, BURN, COMMIT_REVEAL_ENABLED, IMMUNITY_PERIOD, KAPPA, MAX_ALLOWED_VALIDATORS,
    MAX_WEIGHTS_LIMIT, MIN_ALLOWED_WEIGHTS, NETWORKS_ADDED, REGISTRATION_ALLOWED, REVEAL_PERIOD_EPOCHS,
    SERVING_RATE_LIMIT, TEMPO, WEIGHTS_SET_RATE_LIMIT, WEIGHTS_VERSION_KEY,
};
use super::primitives::{NetUid, TaoBalance};
use super::state::Read;

/// `substrate_fixed`'s `I32F32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) struct FixedI64 {
    bits: i64,
}

/// `substrate_fixed`'s `U64F64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) struct FixedU128 {
    bits: u128,
}

/// A value of a hyperparameter.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(dead_code)] // the chain's own variants, of which not all are needed
pub(super) enum HyperparamValue {
    Bool(bool),
    U16(Compact<u16>),
    U32(Compact<u32>),
    U64(Compact<u64>),
    U128(Compact<u128>),
    TaoBalance(Compact<TaoBalance>),
    I32F32(FixedI64),
    U64F64(FixedU128),
}

/// A hyperparameter.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(super) struct HyperparamEntry {
    name: Vec<u8>,
    value: HyperparamValue,
}

/// The second version.
#[derive(Debug, Clone, Encode, Decode, TypeInfo)]
pub(super) struct SubnetHyperparamsV2 {
    rho: Compact<u16>,
    kappa: Compact<u16>,
    immunity_period: Compact<u16>,
    min_allowed_weights: Compact<u16>,
    max_weights_limit: Compact<u16>,
    tempo: Compact<u16>,
    min_difficulty: Compact<u64>,
    max_difficulty: Compact<u64>,
    weights_version: Compact<u64>,
    weights_rate_limit: Compact<u64>,
    adjustment_interval: Compact<u16>,
    activity_cutoff: Compact<u64>,
    registration_allowed: bool,
    target_regs_per_interval: Compact<u16>,
    min_burn: Compact<TaoBalance>,
    max_burn: Compact<TaoBalance>,
    bonds_moving_avg: Compact<u64>,
    max_regs_per_block: Compact<u16>,
    serving_rate_limit: Compact<u64>,
    max_validators: Compact<u16>,
    adjustment_alpha: Compact<u64>,
    difficulty: Compact<u64>,
    commit_reveal_period: Compact<u64>,
    commit_reveal_weights_enabled: bool,
    alpha_high: Compact<u16>,
    alpha_low: Compact<u16>,
    liquid_alpha_enabled: bool,
    alpha_sigmoid_steepness: FixedI64,
    yuma_version: Compact<u16>,
    subnet_is_active: bool,
    transfers_enabled: bool,
    bonds_reset_enabled: bool,
    user_liquidity_enabled: bool,
}

/// The second version's answer; none for a subnet that isn't there. What this chain doesn't have is at the chain's
/// defaults.
pub(super) fn v2(state: &impl Read, netuid: NetUid) -> Option<SubnetHyperparamsV2> {
    let key = (netuid,);
    NETWORKS_ADDED.get(state, key).then(|| SubnetHyperparamsV2 {
        rho: Compact(10),
        kappa: Compact(KAPPA.get(state, key)),
        immunity_period: Compact(IMMUNITY_PERIOD.get(state, key)),
        min_allowed_weights: Compact(MIN_ALLOWED_WEIGHTS.get(state, key)),
        max_weights_limit: Compact(MAX_WEIGHTS_LIMIT.get(state, key)),
        tempo: Compact(TEMPO.get(state, key)),
        min_difficulty: Compact(10_000_000),
        max_difficulty: Compact(u64::MAX / 4),
        weights_version: Compact(WEIGHTS_VERSION_KEY.get(state, key)),
        weights_rate_limit: Compact(WEIGHTS_SET_RATE_LIMIT.get(state, key)),
        adjustment_interval: Compact(100),
        activity_cutoff: Compact(u64::from(ACTIVITY_CUTOFF.get(state, key))),
        registration_allowed: REGISTRATION_ALLOWED.get(state, key),
        target_regs_per_interval: Compact(2),
        // The price doesn't move here.
        min_burn: Compact(BURN.get(state, key)),
        max_burn: Compact(BURN.get(state, key)),
        bonds_moving_avg: Compact(BONDS_MOVING_AVERAGE.get(state, key)),
        max_regs_per_block: Compact(1),
        serving_rate_limit: Compact(SERVING_RATE_LIMIT.get(state, key)),
        max_validators: Compact(MAX_ALLOWED_VALIDATORS.get(state, key)),
        adjustment_alpha: Compact(0),
        difficulty: Compact(10_000_000),
        commit_reveal_period: Compact(REVEAL_PERIOD_EPOCHS.get(state, key)),
        commit_reveal_weights_enabled: COMMIT_REVEAL_ENABLED.get(state, key),
        alpha_high: Compact(58_982),
        alpha_low: Compact(45_875),
        liquid_alpha_enabled: false,
        alpha_sigmoid_steepness: FixedI64 { bits: 1000 << 32 },
        yuma_version: Compact(2),
        subnet_is_active: true,
        transfers_enabled: true,
        bonds_reset_enabled: false,
        user_liquidity_enabled: false,
    })
}

/// The third version's answer; none for a subnet that isn't there.
pub(super) fn v3(state: &impl Read, netuid: NetUid) -> Option<Vec<HyperparamEntry>> {
    use HyperparamValue as V;
    let all = v2(state, netuid)?;
    let entries = [
        ("kappa", V::U16(all.kappa)),
        ("immunity_period", V::U16(all.immunity_period)),
        ("min_allowed_weights", V::U16(all.min_allowed_weights)),
        ("max_weights_limit", V::U16(all.max_weights_limit)),
        ("tempo", V::U16(all.tempo)),
        ("weights_version", V::U64(all.weights_version)),
        ("weights_rate_limit", V::U64(all.weights_rate_limit)),
        ("activity_cutoff", V::U64(all.activity_cutoff)),
        ("registration_allowed", V::Bool(all.registration_allowed)),
        ("target_regs_per_interval", V::U16(all.target_regs_per_interval)),
        ("min_burn", V::TaoBalance(all.min_burn)),
        ("max_burn", V::TaoBalance(all.max_burn)),
        ("bonds_moving_avg", V::U64(all.bonds_moving_avg)),
        ("max_regs_per_block", V::U16(all.max_regs_per_block)),
        ("serving_rate_limit", V::U64(all.serving_rate_limit)),
        ("max_validators", V::U16(all.max_validators)),
        ("commit_reveal_period", V::U64(all.commit_reveal_period)),
        ("commit_reveal_weights_enabled", V::Bool(all.commit_reveal_weights_enabled)),
        ("alpha_high", V::U16(all.alpha_high)),
        ("alpha_low", V::U16(all.alpha_low)),
        ("liquid_alpha_enabled", V::Bool(all.liquid_alpha_enabled)),
        ("alpha_sigmoid_steepness", V::I32F32(all.alpha_sigmoid_steepness)),
        ("yuma_version", V::U16(all.yuma_version)),
        ("subnet_is_active", V::Bool(all.subnet_is_active)),
        ("transfers_enabled", V::Bool(all.transfers_enabled)),
        ("bonds_reset_enabled", V::Bool(all.bonds_reset_enabled)),
        ("user_liquidity_enabled", V::Bool(all.user_liquidity_enabled)),
    ];
    Some(entries.into_iter().map(|(name, value)| HyperparamEntry { name: name.as_bytes().to_vec(), value }).collect())
}
