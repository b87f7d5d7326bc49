//! Score cards for scorers of one number.
use prism_core::{
    Finite, ScoreCard,
    evidence::Estimate,
    score::{Component, Track, TrackScore},
    scorer::Candidate,
};
use std::collections::BTreeMap;

/// An eligible card with one track, the training track for a `TrainingForArch` and the architecture track for others:
/// what a scorer of one number needs to return; not eligible when a run was resumed, for that one's rows are not all
/// those of the others. `quality` is moved into `[0, 1]`; one that is not a number gives a card
/// without a total. Rewards follow from `advantage`.
#[must_use]
pub fn single_track(candidate: &Candidate<'_>, scorer: &str, quality: f64, advantage: Estimate) -> ScoreCard {
    let without = |reason| ScoreCard::without_total(candidate.submission, candidate.family, scorer, reason);
    let Some(quality) = Finite::new(quality) else { return without("the score is not a number") };
    let quality = quality.clamp(Finite::ZERO, Finite::ONE);
    let track = if candidate.kind.brings_architecture() { Track::Architecture } else { Track::Training };
    let component = Component { value: quality, share: Finite::ONE, standard_error: Finite::ZERO };
    let components = BTreeMap::from([(scorer.to_owned(), component)]);
    let mut card = without("");
    card.reasons.clear();
    card.total = Some(quality);
    card.eligible = candidate.runs.iter().all(|run| run.resumed == 0);
    card.tracks.insert(track, TrackScore { quality, advantage, components });
    card
}
