//! Who of a cohort has to wait when more came than its budget holds.
use prism_core::{Block, Digest, Hotkey, Seed, SubmissionId};
use std::collections::BTreeMap;

/// A submission with a place in the draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lot {
    pub(super) submission: SubmissionId,
    pub(super) hotkey: Hotkey,
    /// When it came.
    pub(super) block: Block,
    /// What its plan may take at most.
    pub(super) cost: u64,
}

/// Who waits for the next cohort: whoever the budget, in the order of the draw, does not hold any more.
///
/// Those that came before the cohort opened have waited once and go first. Then every hotkey's first submission, in an
/// order drawn from the cohort's seed, then every second one: many submissions of one hotkey crowd out nobody but each
/// other. The first of all is never left out.
pub(super) fn waiting(seed: Seed, opened: Block, lots: &[Lot], budget: u64) -> Vec<SubmissionId> {
    let stream = seed.stream("lots");
    let mut ranks: BTreeMap<Hotkey, u32> = BTreeMap::new();
    let mut by_arrival = lots.to_vec();
    by_arrival.sort_by_key(|lot| (lot.block, lot.submission));
    let mut order: Vec<_> = by_arrival
        .into_iter()
        .map(|lot| {
            let rank = ranks.entry(lot.hotkey).or_default();
            *rank += 1;
            let draw = Digest::of_parts("prism/lot/1", &[&stream.0.0, &lot.submission.0]);
            ((lot.block >= opened, *rank, draw), lot)
        })
        .collect();
    order.sort_by_key(|(key, _)| *key);
    let mut spent = 0_u64;
    let mut waiting = Vec::new();
    for (place, (_, lot)) in order.into_iter().enumerate() {
        match spent.checked_add(lot.cost).filter(|sum| *sum <= budget) {
            Some(sum) => spent = sum,
            None if place == 0 => spent = budget,
            None => waiting.push(lot.submission),
        }
    }
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn lot(hotkey: u8, number: u64, block: u64) -> Lot {
        let submission = SubmissionId::of_parts("test", &[&[hotkey], &number.to_le_bytes()]);
        Lot { submission, hotkey: Hotkey([hotkey; 32]), block: Block(block), cost: 10 }
    }

    fn seed(word: u64) -> Seed {
        Seed::of("test", &[&word.to_le_bytes()])
    }

    #[test]
    fn many_submissions_of_one_hotkey_crowd_out_nobody_else_and_who_waited_goes_first() {
        let spam = (0..50).map(|number| lot(1, number, 10));
        let honest: Vec<Lot> = (2..10).map(|hotkey| lot(hotkey, 0, 11)).collect();
        let lots: Vec<Lot> = spam.chain(honest.iter().copied()).collect();
        let waits: BTreeSet<_> = waiting(seed(1), Block(5), &lots, 90).into_iter().collect();
        assert_eq!(waits.len(), 49);
        assert!(honest.iter().all(|lot| !waits.contains(&lot.submission)));
        let patient = [lot(1, 99, 4)];
        let waits = waiting(seed(1), Block(5), &[&lots[..], &patient].concat(), 10);
        assert!(!waits.contains(&patient[0].submission) && waits.len() == lots.len());
    }

    proptest! {
        #[test]
        fn the_draw_is_the_seeds_keeps_the_budget_and_never_leaves_all_out(
            hotkeys in prop::collection::vec((0u8..5, 0u64..20, 1u64..40), 1..30), budget in 0u64..400, salt: u64,
        ) {
            let lots: Vec<Lot> = (0..).zip(&hotkeys).map(|(n, (hotkey, block, cost))| {
                Lot { cost: *cost, ..lot(*hotkey, n, *block) }
            }).collect();
            let waits = waiting(seed(salt), Block(10), &lots, budget);
            prop_assert!(waits.len() < lots.len());
            let waiters: BTreeSet<_> = waits.iter().copied().collect();
            let cost: u64 = lots.iter().filter(|lot| !waiters.contains(&lot.submission)).map(|lot| lot.cost).sum();
            prop_assert!(cost <= budget || waits.len() + 1 == lots.len());
            let mut reversed = lots.clone();
            reversed.reverse();
            let again: BTreeSet<_> = waiting(seed(salt), Block(10), &reversed, budget).into_iter().collect();
            prop_assert_eq!(waiters, again, "in any order of the list");
        }
    }
}
