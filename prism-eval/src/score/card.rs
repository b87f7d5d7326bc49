//! Score cards for scorers of one number.
use super::prism::eligible;
use crate::policy::ScoreNumbers;
use prism_core::{
    Finite, ScoreCard,
    evidence::Estimate,
    score::{Component, Track, TrackScore},
    scorer::{Candidate, Round},
};
use std::collections::BTreeMap;

/// A card with one track, the training track for a `TrainingForArch` and the architecture track for others: what a scorer of
/// one number needs to return. Eligible as [`PrismScorer`](super::PrismScorer)'s are, by the numbers of the round's policy: in a
/// cohort after the one that it won, measured officially, and never of a run that was resumed. `quality` is moved into
/// `[0, 1]`; one that is not a number gives a card without a total. Rewards follow from `advantage`.
#[must_use]
pub fn single_track(
    candidate: &Candidate<'_>,
    round: &Round<'_>,
    scorer: &str,
    quality: f64,
    advantage: Estimate,
) -> ScoreCard {
    let without = |reason: &str| ScoreCard::without_total(candidate.submission, candidate.family, scorer, reason);
    let numbers = match ScoreNumbers::from_numbers(round.policy) {
        Ok(numbers) => numbers,
        Err(error) => return without(&error.to_string()),
    };
    let Some(quality) = Finite::new(quality) else { return without("the score is not a number") };
    let quality = quality.clamp(Finite::ZERO, Finite::ONE);
    let track = if candidate.kind.brings_architecture() { Track::Architecture } else { Track::Training };
    let component = Component { value: quality, share: Finite::ONE, standard_error: Finite::ZERO };
    let components = BTreeMap::from([(scorer.to_owned(), component)]);
    let mut card = without("");
    card.reasons.clear();
    card.total = Some(quality);
    card.eligible = eligible(candidate, true, &numbers, &mut card.reasons);
    card.tracks.insert(track, TrackScore { quality, advantage, components });
    card
}
