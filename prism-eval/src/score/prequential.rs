//! The smallest scorer: how few bits a submission needs, and nothing else.
use super::{
    card::single_track,
    pairing::{Measured, mean_bits_per_byte, paired_difference},
    reference::{recipe_run, tuned_reference},
};
use prism_core::{ScoreCard, Scorer, scorer_fn};

/// `1 / (1 + bits per byte)`, prequential, of the recipe's run or else of the tuned reference; the advantage is over
/// the hardest baseline that saw the same rows. For boards and comparisons: it rewards compute, size and luck alike.
#[must_use]
pub fn prequential() -> impl Scorer {
    scorer_fn("prequential", 1, |candidate, round| {
        let without = |reason: String| {
            Ok(ScoreCard::without_total(candidate.submission, candidate.family, "prequential/1", reason))
        };
        let Some(run) = recipe_run(candidate.runs).or_else(|| tuned_reference(candidate.runs)) else {
            return without("no completed run".into());
        };
        let bits = match mean_bits_per_byte(run, Measured::Prequential) {
            Ok(bits) if bits.mean.get() >= 0.0 => bits,
            Ok(_) => return without("fewer than zero bits per byte".into()),
            Err(error) => return without(error.to_string()),
        };
        let baselines = round.baselines.iter().filter_map(|baseline| tuned_reference(baseline.runs));
        let advantage = baselines
            .filter_map(|baseline| paired_difference(run, baseline, Measured::Prequential).ok())
            .min_by_key(|advantage| advantage.mean);
        let Some(advantage) = advantage else { return without("no baseline saw the same rows".into()) };
        let mut card = single_track(candidate, "prequential/1", 1.0 / (1.0 + bits.mean.get()), advantage);
        card.bits_per_byte = Some(bits);
        Ok(card)
    })
}
