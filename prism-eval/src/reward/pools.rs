//! Pools paid out by hotkey, the rest burned.
use prism_core::{Finite, Hotkey, reward::Allocation};
use std::collections::{BTreeMap, BTreeSet};

/// One claim on a pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) hotkey: Hotkey,
    /// Above zero, in any unit that all claims on a pool share.
    pub(super) credit: f64,
}

/// A part of the whole, and who claims it.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    /// Of the whole, in `[0, 1]`; the parts of all pools sum to at most 1.
    pub(super) part: f64,
    pub(super) claims: Vec<Claim>,
}

/// Pays each pool in proportion to its claims, `min(1, sum / target)` of it in all. What is left, what an unregistered
/// hotkey claims, and what rounding leaves is burned; nobody else gets more for it.
pub(super) fn pay(pools: &[Pool], target: Option<Finite>, registered: &BTreeSet<Hotkey>) -> Allocation {
    let mut shares: BTreeMap<Hotkey, f64> = BTreeMap::new();
    for pool in pools {
        let claims = || pool.claims.iter().filter(|claim| claim.credit > 0.0);
        let sum: f64 = claims().map(|claim| claim.credit).sum();
        let full = sum.max(target.map_or(0.0, Finite::get));
        for claim in claims().filter(|claim| registered.contains(&claim.hotkey)) {
            *shares.entry(claim.hotkey).or_insert(0.0) += pool.part * (claim.credit / full);
        }
    }
    // Below this a share rounds to no weight on any chain, and sums could drift from 1.
    let finite = |(hotkey, share)| Some((hotkey, Finite::new(share).filter(|share| share.get() > 1e-15)?));
    let shares: BTreeMap<Hotkey, Finite> = shares.into_iter().filter_map(finite).collect();
    let paid: f64 = shares.values().map(|share| share.get()).sum();
    let claimed = pools.iter().any(|pool| !pool.claims.is_empty());
    match Finite::new((1.0 - paid).max(0.0)) {
        Some(burn) if !shares.is_empty() => Allocation::Pay { shares, burn },
        _ if !claimed => Allocation::Burn { reason: "nothing on record is better than the baselines".into() },
        _ => Allocation::Burn { reason: "no registered hotkey has credit".into() },
    }
}
