//! Pools that pay increments on the frontier.
use super::pools::{Claim, pay};
use crate::policy::RewardNumbers;
use prism_core::{
    Block, FamilyId, Result, RewardPolicy, Standings,
    reward::{Allocation, RewardContext},
    score::Track,
    standings::Increment,
};
use std::collections::BTreeSet;

/// 60/40 pools that pay what each showing added to the best before it: see [`Standings::frontier`].
///
/// A credit loses half its worth every `reward.half_life` blocks from its confirmation; the frontier itself doesn't
/// age, so nobody is paid again for what is known. A pool pays `min(1, sum of credit / reward.target)`; the rest is
/// burned, and so is the credit of a hotkey that is no longer registered. The numbers are [`RewardNumbers`], read from
/// the context.
///
/// On the training track a family has a frontier of its own once it moved the architecture frontier; all others, the
/// published ones among them, share one. Anybody can make a family, and a known recipe is new on each of them: on
/// frontiers of their own, it would be paid again on every trivial variant of an architecture.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrontierPools;

/// Stands for all families that did not move the architecture frontier.
const COMMON: FamilyId = FamilyId([0; 32]);

impl RewardPolicy for FrontierPools {
    fn name(&self) -> &str {
        "frontier"
    }

    fn allocate(&self, standings: &Standings, context: &RewardContext<'_>) -> Result<Allocation> {
        let numbers = RewardNumbers::from_numbers(context.policy)?;
        let claim = |increment: &Increment| Claim {
            track: increment.showing.track,
            hotkey: increment.showing.hotkey,
            credit: increment.credit.get() * decay(increment.showing.since, context.block, &numbers),
        };
        let increments = with_common_family(standings, &numbers).frontier(numbers.margin, numbers.z);
        let claims: Vec<Claim> = increments.iter().map(claim).collect();
        Ok(pay(&claims, &numbers, Some(numbers.target), context.registered))
    }
}

/// The standings with the training tracks of all families that did not move the architecture frontier put on one.
fn with_common_family(standings: &Standings, numbers: &RewardNumbers) -> Standings {
    let increments = standings.frontier(numbers.margin, numbers.z);
    let moved: BTreeSet<FamilyId> = increments
        .iter()
        .filter(|increment| increment.showing.track == Track::Architecture)
        .map(|increment| increment.showing.family)
        .collect();
    let mut standings = standings.clone();
    for showing in &mut standings.showings {
        if showing.track == Track::Training && !moved.contains(&showing.family) {
            showing.family = COMMON;
        }
    }
    standings
}

/// `2^(-age / half-life)`; a showing from a later block has no age.
fn decay(since: Block, now: Block, numbers: &RewardNumbers) -> f64 {
    (-(now.0.saturating_sub(since.0) as f64) / numbers.half_life.get()).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::{
        Epoch, Finite, Hotkey, SubmissionId,
        evidence::Estimate,
        standings::{STANDINGS_SCHEMA, Showing},
        submission::Precedence,
        testing::{reward as conformance, sample},
    };
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn finite(value: f64) -> Finite {
        Finite::new(value).unwrap()
    }

    fn showing(place: u64, hotkey: u8, track: Track, family: u8, advantage: f64) -> Showing {
        let hotkey = Hotkey([hotkey; 32]);
        Showing {
            submission: SubmissionId::of_parts("test", &[&place.to_le_bytes()]),
            hotkey,
            family: FamilyId([family; 32]),
            track,
            precedence: Precedence { block: Block(place), extrinsic: 0, hotkey, local: false },
            advantage: Estimate { mean: finite(advantage), standard_error: Finite::ZERO },
            since: Block(100),
        }
    }

    fn allocate_at(block: u64, showings: Vec<Showing>, registered: &[u8], numbers: &[(&str, f64)]) -> Allocation {
        let numbers: BTreeMap<String, Finite> =
            numbers.iter().map(|(name, value)| ((*name).to_owned(), finite(*value))).collect();
        let registered = registered.iter().map(|byte| Hotkey([*byte; 32])).collect();
        let context = RewardContext::new(Block(block), Epoch(1), &registered, None, &numbers);
        let standings = Standings { schema: STANDINGS_SCHEMA, showings };
        FrontierPools.allocate(&standings, &context).unwrap()
    }

    fn allocate(showings: Vec<Showing>, registered: &[u8]) -> Allocation {
        allocate_at(100, showings, registered, &[])
    }

    /// Shares by the hotkey's byte, and the burned rest.
    fn paid(allocation: &Allocation) -> (BTreeMap<u8, f64>, f64) {
        match allocation {
            Allocation::Pay { shares, burn } => {
                (shares.iter().map(|(hotkey, share)| (hotkey.0[0], share.get())).collect(), burn.get())
            }
            _ => (BTreeMap::new(), 1.0),
        }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn the_policy_keeps_the_contract() {
        conformance::run(&|| Box::new(FrontierPools), &sample::reward_case()).assert_ok();
    }

    #[test]
    fn a_pool_pays_its_part_of_the_target_and_burns_the_rest() {
        // Credit 0.09 - 0.04 of a target of 0.1 is half of the 60 % pool; 0.24 - 0.04 is all of the 40 % pool.
        let showings = vec![showing(1, 1, Track::Architecture, 1, 0.09), showing(2, 2, Track::Training, 200, 0.24)];
        let (shares, burn) = paid(&allocate(showings, &[1, 2]));
        assert!(close(shares[&1], 0.3) && close(shares[&2], 0.4) && close(burn, 0.3));
    }

    #[test]
    fn increments_share_a_full_pool_and_a_copy_gets_nothing() {
        // Credits 0.15 and 0.05 on one frontier: three quarters and one quarter of 0.6.
        let first = showing(1, 1, Track::Architecture, 1, 0.19);
        let better = showing(3, 3, Track::Architecture, 3, 0.28);
        let copy = showing(2, 2, Track::Architecture, 1, 0.19);
        let (shares, burn) = paid(&allocate(vec![better, copy, first], &[1, 2, 3]));
        assert!(close(shares[&1], 0.45) && close(shares[&3], 0.15) && close(burn, 0.4));
        assert!(!shares.contains_key(&2));
    }

    #[test]
    fn a_credit_halves_with_each_half_life_and_never_moves_the_frontier_back() {
        let showings =
            || vec![showing(1, 1, Track::Architecture, 1, 0.09), showing(2, 2, Track::Architecture, 1, 0.09)];
        let at = |block| paid(&allocate_at(block, showings(), &[1, 2], &[("reward.half_life", 50.0)])).0;
        assert!(close(at(100)[&1], 0.3) && close(at(150)[&1], 0.15) && close(at(200)[&1], 0.075));
        assert!(close(at(0)[&1], 0.3));
        assert!(!at(200).contains_key(&2));
    }

    #[test]
    fn the_credit_of_an_unregistered_hotkey_burns() {
        let showings =
            || vec![showing(1, 1, Track::Architecture, 1, 0.24), showing(2, 2, Track::Architecture, 1, 0.48)];
        let (both, _) = paid(&allocate(showings(), &[1, 2]));
        let (one, burn) = paid(&allocate(showings(), &[2]));
        assert!(close(one[&2], both[&2]) && close(burn, 1.0 - one[&2]));
        let nobody = allocate(showings(), &[]);
        assert_eq!(nobody, Allocation::Burn { reason: "no registered hotkey has credit".into() });
    }

    #[test]
    fn nothing_better_than_the_baselines_burns_everything() {
        let burn = Allocation::Burn { reason: "nothing on record is better than the baselines".into() };
        assert_eq!(allocate(vec![], &[1]), burn);
        assert_eq!(allocate(vec![showing(1, 1, Track::Architecture, 1, -0.3)], &[1]), burn);
        assert_eq!(allocate(vec![showing(1, 1, Track::Architecture, 1, 0.039)], &[1]), burn);
    }

    #[test]
    fn a_known_recipe_on_a_variant_that_adds_nothing_is_not_paid_again() {
        let known = showing(1, 1, Track::Training, 200, 0.09);
        let variant = |place, family| showing(place, 2, Track::Training, family, 0.09);
        let (alone, _) = paid(&allocate(vec![known.clone()], &[1, 2]));
        let (shares, _) = paid(&allocate(vec![known.clone(), variant(2, 7), variant(3, 8)], &[1, 2]));
        assert_eq!(shares, alone);
        // Half of a target of 0.1 for the architecture; the two recipes fill the training pool and share it.
        let moved = showing(4, 2, Track::Architecture, 7, 0.09);
        let (shares, _) = paid(&allocate(vec![known, variant(2, 7), moved], &[1, 2]));
        assert!(close(shares[&1], 0.2) && close(shares[&2], 0.3 + 0.2));
    }

    #[test]
    fn a_policy_number_out_of_range_is_an_error() {
        let numbers = BTreeMap::from([("reward.target".to_owned(), Finite::ZERO)]);
        let registered = BTreeSet::new();
        let context = RewardContext::new(Block(1), Epoch(1), &registered, None, &numbers);
        let error = FrontierPools.allocate(&Standings::new(), &context).unwrap_err();
        assert!(error.to_string().starts_with("policy number `reward.target` is 0"));
    }

    prop_compose! {
        fn any_showing()(place in 1u64..50, hotkey in 1u8..6, training: bool, family in 198u8..203,
                         mean in -0.5f64..0.8, error in 0.0f64..0.1, since in 0u64..400_000) -> Showing {
            let track = if training { Track::Training } else { Track::Architecture };
            let standard_error = finite(error);
            let plain = showing(place, hotkey, track, family, mean);
            Showing { advantage: Estimate { mean: finite(mean), standard_error }, since: Block(since), ..plain }
        }
    }

    proptest! {
        #[test]
        fn shares_and_burn_sum_to_one_and_the_order_of_the_record_does_not_matter(
            showings in prop::collection::vec(any_showing(), 0..20),
            registered in prop::collection::vec(1u8..6, 0..5),
        ) {
            // A submission has one showing per track.
            let mut showings = showings;
            showings.sort_by_key(|showing| (showing.submission, showing.track));
            showings.dedup_by_key(|showing| (showing.submission, showing.track));
            let allocation = allocate_at(300_000, showings.clone(), &registered, &[]);
            if let Allocation::Pay { shares, burn } = &allocation {
                prop_assert!(!shares.is_empty());
                prop_assert!(shares.values().all(|share| *share > Finite::ZERO) && *burn >= Finite::ZERO);
                prop_assert!(shares.keys().all(|hotkey| registered.contains(&hotkey.0[0])));
                let sum = shares.values().map(|share| share.get()).sum::<f64>() + burn.get();
                prop_assert!((sum - 1.0).abs() <= 1e-12, "{}", sum);
            }
            let backward = showings.into_iter().rev().collect();
            prop_assert_eq!(allocate_at(300_000, backward, &registered, &[]), allocation);
        }

        #[test]
        fn splitting_one_advantage_over_sybils_never_pays_more(
            steps in prop::collection::vec(0.0f64..0.1, 1..5), other in 0.0f64..0.3, training: bool,
        ) {
            let track = if training { Track::Training } else { Track::Architecture };
            let total: f64 = steps.iter().sum();
            let rival = showing(100, 9, track, 200, other);
            let mut sum = 0.0;
            let parts = (1u8..).zip(&steps).map(|(place, step)| {
                sum += step;
                showing(u64::from(place), place, track, 200, sum)
            });
            let split: Vec<Showing> = parts.chain([rival.clone()]).collect();
            let whole = vec![showing(1, 1, track, 200, total), rival];
            let mine = |allocation: &Allocation| -> f64 {
                paid(allocation).0.iter().filter(|(hotkey, _)| **hotkey != 9).map(|(_, share)| share).sum()
            };
            let registered: Vec<u8> = (1..10).collect();
            let (split, whole) = (mine(&allocate(split, &registered)), mine(&allocate(whole, &registered)));
            prop_assert!(split <= whole + 1e-12, "{} > {}", split, whole);
        }
    }
}
