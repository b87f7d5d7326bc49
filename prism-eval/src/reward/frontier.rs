//! Pools that pay increments on the frontier.
use super::{
    decay::claims,
    pools::{Pool, pay},
};
use crate::policy::RewardNumbers;
use prism_core::{
    Finite, Result, RewardPolicy, Standings, SubmissionId,
    reward::{Allocation, RewardContext},
    score::Track,
    standings::{Class, Increment},
};
use std::collections::BTreeSet;

/// 60/40 pools that pay what each showing added to the best before it: see [`Standings::frontier`]. Only what was confirmed
/// `reward.confirmations` times counts.
///
/// A pool pays `min(1, sum of credit / reward.target)`; the rest is burned, and so is the credit of a hotkey that is no
/// longer registered. Each part of a credit loses half its worth every `reward.half_life` blocks from the first confirmation
/// that showed it, whoever's ([`Increment::known`]), and less while the pool can't pay all of it: what it is paid in all from
/// then on depends neither on when that was nor on who else is paid. The frontier itself doesn't age, so nobody is paid again
/// for what is known. The numbers are [`RewardNumbers`], read from the context.
///
/// A pool for a class of architectures ([`RewardNumbers::class_part`]) pays the increments on the frontier of that class
/// alone, and the two others share what the classes leave. There, the first family of a class is paid for the leader's whole
/// advantage once more if it is the leader with another operator added: an operator who opens one buys diversity at
/// that price, at most the pool. None is open by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrontierPools;

impl RewardPolicy for FrontierPools {
    fn name(&self) -> &str {
        "frontier"
    }

    fn allocate(&self, standings: &Standings, context: &RewardContext<'_>) -> Result<Allocation> {
        let numbers = RewardNumbers::from_numbers(context.policy)?;
        let standings = standings.confirmed(numbers.least_confirmations());
        let (architecture, training): (Vec<Increment>, Vec<Increment>) = standings
            .frontier(numbers.margin, numbers.z)
            .into_iter()
            .partition(|increment| increment.showing.track == Track::Architecture);
        let common = 1.0 - numbers.class_parts();
        let whole = |_: &Increment| 1.0;
        let published = |increment: &Increment| {
            let facts = standings.families.get(&increment.showing.family);
            if facts.is_some_and(|facts| facts.published) { 1.0 } else { numbers.untransferred.get() }
        };
        let mut pools = vec![
            Pool {
                part: common * numbers.architecture_pool.get(),
                claims: claims(&architecture, whole, context.block, &numbers),
            },
            Pool {
                part: common * numbers.training_pool.get(),
                claims: claims(&training, published, context.block, &numbers),
            },
        ];
        for (class, part) in open_classes(&numbers) {
            let increments = standings.frontier_of_class(class, numbers.margin, numbers.z);
            pools.push(Pool { part: part.get(), claims: claims(&increments, whole, context.block, &numbers) });
        }
        Ok(pay(&pools, Some(numbers.target), context.registered))
    }
}

/// Whose increments are paid: they are measured again in every cohort.
#[must_use]
pub fn title_holders(standings: &Standings, numbers: &RewardNumbers) -> BTreeSet<SubmissionId> {
    let standings = &standings.confirmed(numbers.least_confirmations());
    let classes = open_classes(numbers);
    let of_classes = classes.flat_map(|(class, _)| standings.frontier_of_class(class, numbers.margin, numbers.z));
    let increments = standings.frontier(numbers.margin, numbers.z).into_iter().chain(of_classes);
    increments.map(|increment| increment.showing.submission).collect()
}

/// Who is measured again in the next cohort: title holders, and who may become one.
#[must_use]
pub fn to_be_confirmed(standings: &Standings, numbers: &RewardNumbers) -> BTreeSet<SubmissionId> {
    let mut again = title_holders(standings, numbers);
    again.extend(standings.contenders(numbers.least_confirmations(), numbers.margin, numbers.z));
    again
}

fn open_classes(numbers: &RewardNumbers) -> impl Iterator<Item = (Class, Finite)> {
    let part = |class| (class, numbers.class_part(class));
    Class::ALL.map(part).into_iter().filter(|(_, part)| *part > Finite::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::{
        Block, Epoch, FamilyId, Finite, Hotkey, SubmissionId,
        evidence::Estimate,
        standings::{FamilyFacts, Showing},
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
            confirmations: 8,
            since: Block(100),
            trials: 1,
        }
    }

    /// Families from 198 on are published.
    fn on_record(showings: Vec<Showing>) -> Standings {
        let published = FamilyFacts { published: true, class: None };
        let families = (198..203u8).map(|family| (FamilyId([family; 32]), published)).collect();
        Standings { families, ..Standings::of(showings) }
    }

    fn allocate_at(block: u64, showings: Vec<Showing>, registered: &[u8], numbers: &[(&str, f64)]) -> Allocation {
        let numbers: BTreeMap<String, Finite> =
            numbers.iter().map(|(name, value)| ((*name).to_owned(), finite(*value))).collect();
        let registered = registered.iter().map(|byte| Hotkey([*byte; 32])).collect();
        let context = RewardContext::new(Block(block), Epoch(1), &registered, None, &numbers);
        FrontierPools.allocate(&on_record(showings), &context).unwrap()
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
    fn a_known_recipe_on_another_family_is_not_paid_again() {
        let known = showing(1, 1, Track::Training, 200, 0.09);
        let variant = |place, family| showing(place, 2, Track::Training, family, 0.09);
        let (alone, _) = paid(&allocate(vec![known.clone()], &[1, 2]));
        let (shares, _) = paid(&allocate(vec![known.clone(), variant(2, 7), variant(3, 201)], &[1, 2]));
        assert_eq!(shares, alone);
        // Half of a target of 0.1 for the architecture, and the recipe on it is as known as before.
        let moved = showing(4, 2, Track::Architecture, 7, 0.09);
        let (shares, _) = paid(&allocate(vec![known, variant(5, 7), moved], &[1, 2]));
        assert!(close(shares[&1], 0.2) && close(shares[&2], 0.3));
    }

    #[test]
    fn a_recipe_that_was_not_shown_on_a_published_family_keeps_what_the_policy_leaves_it() {
        let showings = || vec![showing(1, 1, Track::Architecture, 7, 0.09), showing(2, 2, Track::Training, 7, 0.09)];
        let (whole, _) = paid(&allocate(showings(), &[1, 2]));
        let (half, burn) = paid(&allocate_at(100, showings(), &[1, 2], &[("reward.untransferred", 0.5)]));
        assert!(close(whole[&2], 0.2) && close(half[&2], 0.1) && close(whole[&1], half[&1]) && close(burn, 0.6));
    }

    #[test]
    fn a_class_with_a_pool_pays_its_own_frontier_and_the_others_share_the_rest() {
        let class = |class| FamilyFacts { published: false, class: Some(class) };
        let mut standings =
            on_record(vec![showing(1, 1, Track::Architecture, 1, 0.24), showing(2, 2, Track::Architecture, 2, 0.09)]);
        standings.families.insert(FamilyId([1; 32]), class(Class::Attention));
        standings.families.insert(FamilyId([2; 32]), class(Class::Recurrent));
        let numbers = BTreeMap::from([("reward.class_recurrent".to_owned(), finite(0.1))]);
        let registered = [1, 2].map(|byte| Hotkey([byte; 32])).into();
        let context = RewardContext::new(Block(100), Epoch(1), &registered, None, &numbers);
        let (shares, burn) = paid(&FrontierPools.allocate(&standings, &context).unwrap());
        // A credit of 0.05 is half of the target: half of a tenth. The leader has all of 0.6 of what is left.
        assert!(close(shares[&1], 0.54) && close(shares[&2], 0.05) && close(burn, 0.41), "{shares:?} {burn}");
        let numbers = RewardNumbers::from_numbers(&numbers).unwrap();
        assert_eq!(title_holders(&standings, &numbers).len(), 2);
        assert_eq!(title_holders(&standings, &RewardNumbers::default()).len(), 1);
    }

    #[test]
    fn a_policy_number_out_of_range_is_an_error() {
        let numbers = BTreeMap::from([("reward.target".to_owned(), Finite::ZERO)]);
        let registered = BTreeSet::new();
        let context = RewardContext::new(Block(1), Epoch(1), &registered, None, &numbers);
        let error = FrontierPools.allocate(&Standings::new(), &context).unwrap_err();
        assert!(error.to_string().starts_with("policy number `reward.target` is 0"));
    }

    /// Blocks between two looks at what is paid.
    const STEP: u64 = 5_000;

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
        #![proptest_config(ProptestConfig::with_cases(48))]

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

        /// One miner's work on both tracks, shown at once under one hotkey; and in parts, in any order of the tracks, under
        /// any hotkeys, on any families (published ones, its own, one that is known), confirmed at any later time.
        #[test]
        fn splitting_ones_work_over_hotkeys_families_and_time_never_pays(
            parts in prop::collection::vec((0.0f64..0.15, any::<bool>(), 1u8..8, 0u8..4, 0u64..40), 1..8),
            other in 0.0f64..0.4, rival_first: bool,
        ) {
            let sums = |track: bool| parts.iter().filter(|part| part.1 == track).map(|part| part.0).sum::<f64>();
            let (architecture, training) = (sums(false), sums(true));
            let rival_place = if rival_first { 0 } else { 100 };
            let rivals = || [
                showing(rival_place, 9, Track::Architecture, 150, other),
                showing(rival_place + 1, 9, Track::Training, 200, other),
            ];
            let mut whole = vec![
                showing(10, 1, Track::Architecture, 1, architecture), showing(11, 1, Track::Training, 201, training),
            ];
            let mut reached = [0.0, 0.0];
            let mut split = Vec::new();
            for (place, (step, track, hotkey, family, later)) in (10u64..).zip(&parts) {
                reached[usize::from(*track)] += step;
                let shown = reached[usize::from(*track)];
                let (track, family) = match (track, family) {
                    (false, family) => (Track::Architecture, 1 + family),
                    (true, 0) => (Track::Training, 200),
                    (true, family) => (Track::Training, *family),
                };
                let since = Block(100 + later * STEP);
                split.push(Showing { since, ..showing(place, *hotkey, track, family, shown) });
            }
            whole.extend(rivals());
            split.extend(rivals());
            let registered: Vec<u8> = (0..10).collect();
            let mine = |showings: &[Showing], block| -> f64 {
                let known = showings.iter().filter(|showing| showing.since.0 <= block).cloned().collect();
                let (shares, _) = paid(&allocate_at(block, known, &registered, &[]));
                shares.iter().filter(|(hotkey, _)| **hotkey != 9).map(|(_, share)| share).sum()
            };
            // Over all the time until nearly everything is paid out, looking in the middle of each step.
            let over_time =
                |showings: &[Showing]| (0..600).map(|n| mine(showings, 100 + STEP / 2 + n * STEP)).sum::<f64>();
            let (split, whole) = (over_time(&split), over_time(&whole));
            prop_assert!(split <= whole * 1.005 + 0.02, "{} > {}", split, whole);
        }
    }
}
