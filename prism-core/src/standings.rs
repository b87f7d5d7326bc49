//! Who showed what, in the order of arrival: the facts that rewards are a pure function of.
use crate::{
    evidence::Estimate,
    finite::Finite,
    hotkey::Hotkey,
    id::{Block, FamilyId, SubmissionId},
    score::{ScoreCard, Track},
    submission::Precedence,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of [`Standings`] that this crate writes.
pub const STANDINGS_SCHEMA: u32 = 1;

/// One advantage that was measured and counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Showing {
    /// Of which submission.
    pub submission: SubmissionId,
    /// Who is paid for it.
    pub hotkey: Hotkey,
    /// On which family.
    pub family: FamilyId,
    /// For what.
    pub track: Track,
    /// Its place in the order of arrival.
    pub precedence: Precedence,
    /// Bits per byte saved against the hardest baseline.
    pub advantage: Estimate,
    /// The block of its confirmation, from which it ages.
    pub since: Block,
}

/// All showings on record; a snapshot, not a handle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standings {
    /// [`STANDINGS_SCHEMA`].
    pub schema: u32,
    /// In any order; rules that depend on order sort by precedence.
    pub showings: Vec<Showing>,
}

impl Standings {
    /// No showing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { schema: STANDINGS_SCHEMA, showings: Vec::new() }
    }

    /// Adds the tracks of an eligible card. A submission has one showing per track: the newest measurement, ageing from
    /// the first.
    pub fn record(&mut self, card: &ScoreCard, hotkey: Hotkey, precedence: Precedence, since: Block) {
        if !card.eligible {
            return;
        }
        for (track, score) in &card.tracks {
            let place = self.showings.iter().position(|s| (s.submission, s.track) == (card.submission, *track));
            let since = place.map_or(since, |place| self.showings.swap_remove(place).since);
            self.showings.push(Showing {
                submission: card.submission,
                hotkey,
                family: card.family,
                track: *track,
                precedence,
                advantage: score.advantage,
                since,
            });
        }
    }

    /// The increments on the frontier, in order of arrival.
    ///
    /// On each frontier (the architecture track as a whole; the training track per family) a showing is credited
    /// `max(0, advantage - best earlier advantage - margin)`, and moves the frontier only when it is credited. The first
    /// is measured against zero, the baseline. The sum telescopes: splitting one's work, copying, renaming and sybils
    /// can't raise it. A step of less than `z` standard errors, those of the showing and of the frontier together, counts
    /// as none: both were measured, and luck alone would otherwise move the frontier.
    #[must_use]
    pub fn frontier(&self, margin: Finite, z: Finite) -> Vec<Increment> {
        let mut order: Vec<&Showing> = self.showings.iter().collect();
        order.sort_by_key(|s| (s.precedence, s.submission, s.track));
        // Advantage at the frontier and its standard error; the baseline has neither.
        let mut best: BTreeMap<(Track, Option<FamilyId>), (f64, f64)> = BTreeMap::new();
        let mut increments = Vec::new();
        for showing in order {
            let (advantage, error) = (showing.advantage.mean.get(), showing.advantage.standard_error.get());
            let family = (showing.track != Track::Architecture).then_some(showing.family);
            let held = best.entry((showing.track, family)).or_insert((0.0, 0.0));
            if advantage - held.0 < z.get() * error.hypot(held.1) {
                continue;
            }
            let credit = advantage - held.0 - margin.get();
            if let Some(credit) = Finite::new(credit).filter(|c| c.get() > 0.0) {
                *held = (advantage, error);
                increments.push(Increment { showing: showing.clone(), credit });
            }
        }
        increments
    }
}

/// What one showing added to the best before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increment {
    /// Whose.
    pub showing: Showing,
    /// Bits per byte beyond the best earlier advantage and the margin; above zero.
    pub credit: Finite,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::TrackScore;
    use proptest::prelude::*;

    fn showing(place: u64, advantage: f64, family: u8) -> Showing {
        let hotkey = Hotkey([u8::try_from(place % 251).unwrap(); 32]);
        Showing {
            submission: SubmissionId::of_parts("test", &[&place.to_le_bytes()]),
            hotkey,
            family: FamilyId([family; 32]),
            track: Track::Architecture,
            precedence: Precedence { block: Block(place), extrinsic: 0, hotkey, local: false },
            advantage: Estimate { mean: Finite::new(advantage).unwrap(), standard_error: Finite::ZERO },
            since: Block(place),
        }
    }

    fn credits(showings: Vec<Showing>, margin: f64) -> Vec<f64> {
        let standings = Standings { schema: STANDINGS_SCHEMA, showings };
        let margin = Finite::new(margin).unwrap();
        standings.frontier(margin, Finite::ZERO).iter().map(|i| i.credit.get()).collect()
    }

    #[test]
    fn a_new_measurement_replaces_the_old_one_and_keeps_its_age() {
        let mut standings = Standings::new();
        let old = showing(1, 0.3, 1);
        let mut card = ScoreCard::without_total(old.submission, old.family, "test/1", "none");
        let estimate = |mean| Estimate { mean: Finite::new(mean).unwrap(), standard_error: Finite::ZERO };
        let track = |mean| TrackScore { quality: Finite::ONE, advantage: estimate(mean), components: BTreeMap::new() };
        card.tracks.insert(Track::Architecture, track(0.3));
        standings.record(&card, old.hotkey, old.precedence, Block(7));
        assert!(standings.showings.is_empty(), "not eligible");
        card.eligible = true;
        standings.record(&card, old.hotkey, old.precedence, Block(7));
        card.tracks.insert(Track::Architecture, track(0.2));
        standings.record(&card, old.hotkey, old.precedence, Block(9));
        let [only] = standings.showings.as_slice() else { panic!("{standings:?}") };
        assert_eq!((only.since, only.advantage), (Block(7), estimate(0.2)));
    }

    #[test]
    fn a_copy_is_credited_nothing() {
        assert_eq!(credits(vec![showing(1, 0.3, 1), showing(2, 0.3, 1)], 0.01).len(), 1);
        assert_eq!(credits(vec![showing(1, 0.3, 1), showing(2, 0.305, 2)], 0.01).len(), 1);
    }

    #[test]
    fn an_advantage_within_its_noise_is_credited_nothing() {
        let mut noisy = showing(1, 0.3, 1);
        noisy.advantage.standard_error = Finite::new(0.2).unwrap();
        let standings = Standings { schema: STANDINGS_SCHEMA, showings: vec![noisy] };
        assert!(standings.frontier(Finite::ZERO, Finite::new(2.0).unwrap()).is_empty());
        assert_eq!(standings.frontier(Finite::ZERO, Finite::ONE).len(), 1);
    }

    #[test]
    fn a_step_within_the_noise_of_both_measurements_moves_nothing() {
        let noisy = |place, advantage| {
            let mut showing = showing(place, advantage, 1);
            showing.advantage.standard_error = Finite::new(0.01).unwrap();
            showing
        };
        let frontier = |second| {
            let standings = Standings { schema: STANDINGS_SCHEMA, showings: vec![noisy(1, 0.3), noisy(2, second)] };
            standings.frontier(Finite::ZERO, Finite::new(2.0).unwrap()).len()
        };
        // The difference has a standard error of 0.0141: 0.025 is beyond two of one, not of both.
        assert_eq!((frontier(0.325), frontier(0.33)), (1, 2));
    }

    proptest! {
        #[test]
        fn splitting_work_over_many_submissions_never_raises_the_sum(
            steps in prop::collection::vec(0.0f64..0.2, 1..12), margin in 0.0f64..0.05,
        ) {
            let total: f64 = steps.iter().sum();
            let mut sum = 0.0;
            let split: Vec<Showing> = (1u64..)
                .zip(&steps)
                .map(|(place, step)| {
                    sum += step;
                    showing(place, sum, 1)
                })
                .collect();
            let whole: f64 = credits(vec![showing(1, total, 1)], margin).iter().sum();
            let parts: f64 = credits(split, margin).iter().sum();
            prop_assert!(parts <= whole + 1e-12, "{} > {}", parts, whole);
        }

        #[test]
        fn the_order_of_the_record_does_not_matter(advantages in prop::collection::vec(0.0f64..1.0, 0..12)) {
            let forward: Vec<Showing> = (1u64..).zip(&advantages).map(|(p, a)| showing(p, *a, 1)).collect();
            let backward: Vec<Showing> = forward.iter().rev().cloned().collect();
            prop_assert_eq!(credits(forward, 0.01), credits(backward, 0.01));
        }
    }
}
