//! The suite of [`RewardPolicy`].
use super::{
    Broken, Check, Report,
    sample::{RewardCase, showing},
};
use crate::{
    error::Result,
    finite::Finite,
    hotkey::Hotkey,
    reward::{Allocation, RewardPolicy},
    score::Track,
    standings::Showing,
};
use std::{collections::BTreeMap, mem, thread};

/// Makes the policy under test, as often as asked.
pub type Fresh<'a> = &'a (dyn Fn() -> Box<dyn RewardPolicy> + Sync);

/// Checks every clause. The case is one that the policy takes, with at least two showings:
/// [`sample::reward_case`](super::sample::reward_case) where nothing special is wanted.
pub fn run(fresh: Fresh<'_>, case: &RewardCase) -> Report {
    let mut report = Report::new("RewardPolicy");
    type Clause = (u8, &'static str, fn(Fresh<'_>, &RewardCase) -> Check);
    let clauses: [Clause; 6] = [
        (1, "clause_1_the_same_case_gives_the_same_allocation", clause_1_the_same_case_gives_the_same_allocation),
        (2, "clause_2_shares_and_burn_sum_to_one", clause_2_shares_and_burn_sum_to_one),
        (3, "clause_3_only_registered_hotkeys_are_paid", clause_3_only_registered_hotkeys_are_paid),
        (4, "clause_4_nothing_to_pay_is_never_an_empty_pay", clause_4_nothing_to_pay_is_never_an_empty_pay),
        (5, "clause_5_the_order_of_showings_does_not_matter", clause_5_the_order_of_showings_does_not_matter),
        (6, "clause_6_equals_are_told_apart_by_precedence", clause_6_equals_are_told_apart_by_precedence),
    ];
    for (number, name, clause) in clauses {
        report.check_now(number, name, || clause(fresh, case));
    }
    report
}

fn allocate(policy: &dyn RewardPolicy, case: &RewardCase) -> Result<Allocation> {
    policy.allocate(&case.standings, &case.context())
}

/// Twice by one policy, once by another, once on another thread.
pub fn clause_1_the_same_case_gives_the_same_allocation(fresh: Fresh<'_>, case: &RewardCase) -> Check {
    let policy = fresh();
    let first = allocate(&*policy, case)?;
    let elsewhere = thread::scope(|scope| scope.spawn(|| allocate(&*policy, case)).join());
    let elsewhere = elsewhere.map_err(|_| Broken("panicked on another thread".into()))?;
    for again in [allocate(&*policy, case)?, allocate(&*fresh(), case)?, elsewhere?] {
        ensure!(again == first, "the same case gave {again:?} after {first:?}");
    }
    Ok(())
}

/// The case, its first showing alone, its advantages a million times smaller and larger, and a hundred hotkeys more.
pub fn clause_2_shares_and_burn_sum_to_one(fresh: Fresh<'_>, case: &RewardCase) -> Check {
    let mut cases = vec![case.clone(); 4];
    if let [_, alone, small, large] = cases.as_mut_slice() {
        alone.standings.showings.truncate(1);
        for (case, factor) in [(small, 1e-6), (large, 1e6)] {
            for showing in &mut case.standings.showings {
                for value in [&mut showing.advantage.mean, &mut showing.advantage.standard_error] {
                    *value = Finite::new(value.get() * factor).unwrap_or(*value);
                }
            }
        }
    }
    let mut many = case.clone();
    for number in 100..200 {
        let showing = showing(number, number, Track::Architecture, 1.0 + f64::from(number) / 7.0);
        many.registered.insert(showing.hotkey);
        many.standings.showings.push(showing);
    }
    cases.push(many);
    for case in cases {
        let Allocation::Pay { shares, burn } = allocate(&*fresh(), &case)? else { continue };
        ensure!(burn >= Finite::ZERO, "{burn} is burned, less than nothing");
        let bad = shares.iter().find(|(_, share)| **share <= Finite::ZERO);
        ensure!(bad.is_none(), "a share is not above zero: {bad:?}");
        let sum = shares.values().map(|share| share.get()).sum::<f64>() + burn.get();
        ensure!((sum - 1.0).abs() <= 1e-12, "shares and burn sum to {sum}");
    }
    Ok(())
}

/// Each hotkey gone in its turn, then all but one.
pub fn clause_3_only_registered_hotkeys_are_paid(fresh: Fresh<'_>, case: &RewardCase) -> Check {
    for hotkey in &case.registered {
        let mut without = case.clone();
        without.registered.remove(hotkey);
        let only = RewardCase { registered: [*hotkey].into(), ..case.clone() };
        for case in [without, only] {
            let Allocation::Pay { shares, .. } = allocate(&*fresh(), &case)? else { continue };
            let stranger = shares.keys().find(|hotkey| !case.registered.contains(hotkey));
            ensure!(stranger.is_none(), "{stranger:?} is paid and not registered");
        }
    }
    Ok(())
}

/// No showing, nobody registered, no advantage.
pub fn clause_4_nothing_to_pay_is_never_an_empty_pay(fresh: Fresh<'_>, case: &RewardCase) -> Check {
    let mut cases = vec![case.clone(); 3];
    if let [nothing, nobody, worse] = cases.as_mut_slice() {
        nothing.standings.showings.clear();
        nobody.registered.clear();
        for showing in &mut worse.standings.showings {
            showing.advantage.mean = Finite::new(-1.0).unwrap_or_default();
        }
    }
    for (what, case) in ["no showing", "nobody registered", "no advantage"].into_iter().zip(cases) {
        match allocate(&*fresh(), &case)? {
            Allocation::Pay { shares, burn } if shares.is_empty() => {
                return Err(Broken(format!("{what}: an empty vector is paid, {burn} burned")));
            }
            Allocation::Pay { shares, .. } if what != "no advantage" => {
                return Err(Broken(format!("{what}: paid {shares:?}")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Every rotation, forwards and backwards.
pub fn clause_5_the_order_of_showings_does_not_matter(fresh: Fresh<'_>, case: &RewardCase) -> Check {
    let first = allocate(&*fresh(), case)?;
    for turn in 0..case.standings.showings.len() {
        let mut turned = case.clone();
        turned.standings.showings.rotate_left(turn);
        for _ in 0..2 {
            let again = allocate(&*fresh(), &turned)?;
            ensure!(again == first, "in another order the allocation is {again:?} instead of {first:?}");
            turned.standings.showings.reverse();
        }
    }
    Ok(())
}

/// Two showings that differ in hotkey, submission and place only: when they change places, they change shares.
pub fn clause_6_equals_are_told_apart_by_precedence(fresh: Fresh<'_>, case: &RewardCase) -> Check {
    for track in [Track::Architecture, Track::Training] {
        let mut equal = [showing(1, 1, track, 0.5), showing(2, 1, track, 0.5)];
        let before = paid(fresh, case, &equal)?;
        let [one, two] = &mut equal;
        mem::swap(&mut one.precedence.block, &mut two.precedence.block);
        let after = paid(fresh, case, &equal)?;
        let swapped = after.map(|(one, two, burn)| (two, one, burn));
        ensure!(swapped == before, "equals were paid {before:?}, and {after:?} when they had changed places");
    }
    Ok(())
}

type Pair = Option<(Option<Finite>, Option<Finite>, Finite)>;

/// What hotkeys 1 and 2 and nobody get, when these showings are all there is.
fn paid(fresh: Fresh<'_>, case: &RewardCase, showings: &[Showing]) -> Result<Pair> {
    let mut case = case.clone();
    case.standings.showings = showings.to_vec();
    case.registered = showings.iter().map(|s| s.hotkey).collect();
    let share = |shares: &BTreeMap<Hotkey, Finite>, number| shares.get(&Hotkey([number; 32])).copied();
    Ok(match allocate(&*fresh(), &case)? {
        Allocation::Pay { shares, burn } => Some((share(&shares, 1), share(&shares, 2), burn)),
        Allocation::Burn { .. } | Allocation::KeepPrevious { .. } => None,
    })
}
