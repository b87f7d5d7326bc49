use super::assert_covers;
use crate::{
    error::Result,
    finite::Finite,
    hotkey::Hotkey,
    reward::{Allocation, BurnAll, RewardContext, RewardPolicy, reward_fn},
    standings::Standings,
    testing::{
        Report,
        reward::{Fresh, run},
        sample,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// Pays every increment on the frontier.
fn plain() -> impl RewardPolicy {
    reward_fn("plain", |standings, _| {
        let mut credit = BTreeMap::new();
        for increment in standings.frontier(Finite::ZERO, Finite::ZERO) {
            let sum: &mut Finite = credit.entry(increment.showing.hotkey).or_default();
            *sum = Finite::new(sum.get() + increment.credit.get()).unwrap();
        }
        credit
    })
}

/// Pays the showing that comes first of those with the highest advantage.
fn best_first(standings: &Standings) -> Option<Hotkey> {
    let best = standings.showings.iter().map(|s| s.advantage.mean).max().filter(|best| *best > Finite::ZERO)?;
    standings.showings.iter().filter(|s| s.advantage.mean == best).map(|s| s.hotkey).min()
}

#[derive(Debug)]
struct Mutant<P> {
    inner: P,
    breaks: u8,
    calls: AtomicU32,
}

fn all_to(hotkey: Hotkey) -> Allocation {
    Allocation::Pay { shares: [(hotkey, Finite::ONE)].into(), burn: Finite::ZERO }
}

impl<P: RewardPolicy> RewardPolicy for Mutant<P> {
    fn name(&self) -> &str {
        "mutant"
    }
    fn allocate(&self, standings: &Standings, context: &RewardContext<'_>) -> Result<Allocation> {
        let strangers: BTreeSet<Hotkey> = standings.showings.iter().map(|s| s.hotkey).collect();
        let mut context = *context;
        if self.breaks == 3 && !context.registered.is_empty() {
            context.registered = &strangers;
        }
        let mut allocation = self.inner.allocate(standings, &context)?;
        let pays = matches!(allocation, Allocation::Pay { .. });
        match (self.breaks, standings.showings.last(), &mut allocation) {
            (1, ..) if self.calls.fetch_add(1, Ordering::SeqCst) == 1 => {
                allocation = Allocation::KeepPrevious { reason: "second call".into() };
            }
            (2, _, Allocation::Pay { burn, .. }) => *burn = Finite::new(1e-9).unwrap(),
            (4, _, Allocation::Burn { .. }) => {
                allocation = Allocation::Pay { shares: BTreeMap::new(), burn: Finite::ONE };
            }
            // The newest by the list, where there are more than the two that are told apart by place.
            (5, Some(last), _) if pays && standings.showings.len() > 2 && context.registered.contains(&last.hotkey) => {
                allocation = all_to(last.hotkey);
            }
            (6, ..) if pays => {
                if let Some(hotkey) = best_first(standings).filter(|hotkey| context.registered.contains(hotkey)) {
                    allocation = all_to(hotkey);
                }
            }
            _ => {}
        }
        Ok(allocation)
    }
}

fn report(fresh: Fresh<'_>) -> Report {
    run(fresh, &sample::reward_case())
}

fn mutant(breaks: u8) -> Report {
    report(&|| Box::new(Mutant { inner: plain(), breaks, calls: AtomicU32::new(0) }))
}

#[test]
fn plain_policies_pass_as_themselves_in_a_box_and_in_an_arc() {
    report(&|| Box::new(plain())).assert_ok();
    report(&|| Box::new(BurnAll)).assert_ok();
    report(&|| Box::new(Box::new(plain()))).assert_ok();
    report(&|| Box::new(Arc::new(plain()))).assert_ok();
    assert_covers(&mutant(0), include_str!("../../reward.rs"));
    mutant(0).assert_ok();
}

mutants! { mutant;
    mutant_1_fails_exactly_clause_1 1
    mutant_2_fails_exactly_clause_2 2
    mutant_3_fails_exactly_clause_3 3
    mutant_4_fails_exactly_clause_4 4
    mutant_5_fails_exactly_clause_5 5
    mutant_6_fails_exactly_clause_6 6
}
