//! The plainest scorer: how few bits a submission needs, first of all and last of all.
//!
//! `1 / (1 + b)` with `b` the prequential bits per byte of the recipe's run, or else of the tuned reference, over seeds and
//! at equal work: what more work than the baseline's gains a baseline is added. To `b` come
//!
//! - a **tie-break** of at most half of [`PrequentialNumbers::tie_break`] in either direction, from the advantage on
//!   held-out rows. Two submissions whose bits differ by more than the whole of it stand in the order of their bits,
//!   whatever their held-out rows say;
//! - a **penalty for memorization**: what was saved, against the baseline, on the last quarter of the points and not on
//!   the held-out rows, beyond `z` standard errors. Row difficulty cancels on both sides.
//!
//! Rewards follow from the paired advantage over the hardest baseline at equal work, less the penalty; the tie-break moves
//! no money. Eligible as with [`PrismScorer`](super::PrismScorer): after a confirmation, and never of a resumed run.
use super::{
    components::Pair,
    pairing::{Measured, PairingError, mean_bits_per_byte, paired_over_seeds},
    prism::{Field, Refusal, Tuned, brought_recipe, eligible},
    reference::with_repeats,
    trial::{ended_by_trial, trial_card},
};
use crate::policy::{PrequentialNumbers, ScoreNumbers};
use prism_core::{
    Finite, Result, ScoreCard, Scorer,
    evidence::Estimate,
    score::{Component, Track, TrackScore},
    scorer::{Candidate, Round},
};
use std::collections::BTreeMap;

/// `1 / (1 + b)`, with `b` the prequential bits per byte over seeds and at equal work, a tie-break by held-out rows that can't
/// turn a clear difference round, and a price on memorization. Its numbers are [`PrequentialNumbers`] and [`ScoreNumbers`],
/// read from the round.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrequentialScorer;

const NAME: &str = "prequential";
const VERSION: u32 = 2;
const CARD: &str = "prequential/2";

impl Scorer for PrequentialScorer {
    fn name(&self) -> &str {
        NAME
    }
    fn version(&self) -> u32 {
        VERSION
    }
    fn score(&self, round: &Round<'_>) -> Result<Vec<ScoreCard>> {
        let numbers = ScoreNumbers::from_numbers(round.policy)?;
        let own = PrequentialNumbers::from_numbers(round.policy)?;
        let field = Field::of(round, numbers);
        let card = |candidate: &Candidate<'_>| {
            let field = field.as_ref().map_err(Clone::clone);
            let card = field.and_then(|field| card(candidate, round, field, (field.pooled(numbers), own)));
            card.unwrap_or_else(|refusal| refusal.card(candidate, CARD, &numbers))
        };
        Ok(round.candidates.iter().map(card).collect())
    }
}

fn card(
    candidate: &Candidate<'_>,
    round: &Round<'_>,
    field: &Field<'_>,
    (numbers, own): (ScoreNumbers, PrequentialNumbers),
) -> Result<ScoreCard, Refusal> {
    if ended_by_trial(candidate.runs) {
        return trial_card(candidate, round, CARD, numbers).map_err(Refusal::from);
    }
    let tuned = Tuned::of_candidate(candidate, numbers)?;
    let hardest = field.hardest(&tuned)?;
    let mut reasons = tuned.grid.diverged.clone();
    let mut tracks = BTreeMap::new();
    let mut penalties = BTreeMap::new();
    let mut counts = None;
    if candidate.kind.brings_architecture() {
        let work = field.work(tuned.grid.best, hardest.grid.best, numbers)?;
        let pair = Pair::of(tuned.runs.clone(), hardest.runs.clone(), numbers)?.at_equal_work(&hardest.work, work)?;
        let ranked = Ranked::of(&pair, numbers, own)?;
        tracks.insert(Track::Architecture, ranked.track(own, &mut reasons)?);
        penalties.insert(Track::Architecture, ranked.penalty);
        counts = Some((ranked, tuned.grid.best));
    }
    let recipe = brought_recipe(candidate)?;
    if let Some(recipe) = recipe {
        let runs = with_repeats(candidate.runs, recipe)?;
        let anchor = if hardest.grid.mean < tuned.grid.mean { hardest } else { &tuned };
        let work = field.work(recipe, anchor.grid.best, numbers)?;
        let pair = Pair::of(runs, anchor.runs.clone(), numbers)?.at_equal_work(&hardest.work, work)?;
        let ranked = Ranked::of(&pair, numbers, own)?;
        tracks.insert(Track::Training, ranked.track(own, &mut reasons)?);
        penalties.insert(Track::Training, ranked.penalty);
        counts = Some((ranked, recipe));
    }
    let (ranked, run) = counts.ok_or(PairingError::Empty("by the subject"))?;
    let total = ranked.quality()?;
    let confirmed = !candidate.incumbent
        || field.confirm(&mut tracks, (&tuned, hardest, recipe), candidate.runs, numbers, &mut reasons)?;
    // Taken from whatever is paid, also where that is the larger budget's.
    for (score, penalty) in tracks.values_mut().zip(penalties.values()) {
        score.advantage.mean = finite(score.advantage.mean.get() - penalty)?;
    }
    Ok(ScoreCard {
        submission: candidate.submission,
        family: candidate.family,
        scorer: CARD.to_owned(),
        total: Some(total),
        standard_error: Some(ranked.standard_error()?),
        bits_per_byte: mean_bits_per_byte(run, Measured::Prequential).ok(),
        tracks,
        eligible: eligible(candidate, confirmed, &numbers, &mut reasons),
        reasons,
    })
}

/// One run with its repeats, in bits per byte.
#[derive(Debug, Clone, Copy)]
struct Ranked {
    /// Prequential, over seeds, at equal work.
    bits: f64,
    penalty: f64,
    /// At most half of the tie-break in either direction; better is positive.
    tie: f64,
    advantage: Estimate,
}

impl Ranked {
    fn of(pair: &Pair<'_>, numbers: ScoreNumbers, own: PrequentialNumbers) -> Result<Self, Refusal> {
        let mut bits = 0.0;
        for run in &pair.subject {
            bits += mean_bits_per_byte(run, Measured::Prequential)?.mean.get() / pair.subject.len() as f64;
        }
        // What work above the baseline's is worth is the difference between the two advantages.
        let bits = bits + pair.unpriced.mean.get() - pair.advantage.mean.get();
        if bits < 0.0 {
            return Err(Refusal::new("fewer than zero bits per byte"));
        }
        let mut ranked = Self { bits, penalty: 0.0, tie: 0.0, advantage: pair.advantage };
        // A plan without held-out rows has none for anybody.
        if pair.subject.iter().any(|run| run.task.measuring.held_out_rows > 0) {
            let over = |measured| paired_over_seeds(&pair.subject, &pair.baseline, measured, numbers.seed_deviation);
            let (late, held_out) = (over(Measured::Late)?, over(Measured::HeldOut)?);
            ranked.penalty = own.memorization.get() * memorized(late, held_out, numbers.z.get());
            let whole = (held_out.mean.get() / own.tie_scale.get()).clamp(-1.0, 1.0);
            ranked.tie = 0.5 * own.tie_break.get() * whole;
        }
        Ok(ranked)
    }

    /// `1 / (1 + b)`: 1 for no bits, falling as they grow.
    fn quality(&self) -> Result<Finite, Refusal> {
        let bits = (self.bits + self.penalty - self.tie).max(0.0);
        finite(1.0 / (1.0 + bits))
    }

    /// Of the quality, to first order: `se / (1 + b)²`.
    fn standard_error(&self) -> Result<Finite, Refusal> {
        let quality = self.quality()?.get();
        finite(self.advantage.standard_error.get() * quality * quality)
    }

    fn track(&self, own: PrequentialNumbers, reasons: &mut Vec<String>) -> Result<TrackScore, Refusal> {
        if self.penalty > 0.0 {
            reasons.push(format!(
                "{:.4} bits per byte are taken: that much was won on the training text and not on held-out rows",
                self.penalty
            ));
        }
        if own.tie_break > Finite::ZERO {
            reasons.push(format!("held-out rows move it by {:.4} bits per byte, to break ties", self.tie));
        }
        let quality = self.quality()?;
        let standard_error = self.standard_error()?;
        let component = Component { value: quality, share: Finite::ONE, standard_error };
        Ok(TrackScore {
            quality,
            advantage: self.advantage,
            components: BTreeMap::from([("bits_per_byte".to_owned(), component)]),
        })
    }
}

/// What was saved on late training rows and not on held-out ones, as far as it is beyond the noise.
fn memorized(late: Estimate, held_out: Estimate, z: f64) -> f64 {
    let gap = late.mean.get() - held_out.mean.get();
    // Of different documents: both errors count.
    let noise = late.standard_error.get().hypot(held_out.standard_error.get());
    // A held-out loss is no memory: only what was really saved on training text can be.
    let gap = gap.min(late.mean.get().max(0.0));
    (gap - z * noise).max(0.0)
}

fn finite(value: f64) -> Result<Finite, Refusal> {
    Finite::new(value).ok_or_else(|| Refusal::new("numbers too large"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fixture::{grid, with_held_out};
    use prism_core::{
        Block, Epoch, Evidence, FamilyId, Hotkey, SubmissionId,
        submission::{Precedence, SubmissionKind},
    };
    use proptest::prelude::*;

    /// A reference run with its curve and held-out rows moved.
    fn moved(curve: f64, late: f64, held_out: f64) -> Evidence {
        let mut run = grid("graph", &[(1.0, 4.0)]).remove(0);
        let count = run.points.len();
        for (index, point) in run.points.iter_mut().enumerate() {
            let by = curve + if index + 2 >= count { late } else { 0.0 };
            for bits in &mut point.row_bits {
                *bits = Finite::new(bits.get() + 8.0 * by).unwrap();
            }
        }
        with_held_out(&run, &[4.0, 4.25, 3.75, 4.5].map(|bits| bits + held_out))
    }

    fn scored(run: Evidence) -> ScoreCard {
        let baseline = [moved(0.0, 0.0, 0.0)];
        let run = [run];
        let candidate = |runs, incumbent| Candidate {
            submission: SubmissionId::of_parts("test", &[b"one"]),
            kind: SubmissionKind::ArchitectureOnly,
            precedence: Precedence { block: Block(1), extrinsic: 0, hotkey: Hotkey([0; 32]), local: false },
            family: FamilyId([1; 32]),
            runs,
            incumbent,
        };
        let (policy, baselines, candidates) = (BTreeMap::new(), [candidate(&baseline, false)], [candidate(&run, true)]);
        PrequentialScorer.score(&Round::new(Epoch(1), &policy, &candidates, &baselines)).unwrap().remove(0)
    }

    fn bits(card: &ScoreCard) -> f64 {
        1.0 / card.total.unwrap().get() - 1.0
    }

    /// Of the baseline: (8 + 5 + 4.5 + 4.25 + 4) / 5 + 0.125.
    const BASE: f64 = 5.275;

    #[test]
    fn the_total_is_one_over_one_plus_the_bits() {
        let card = scored(moved(0.0, 0.0, 0.0));
        assert!((bits(&card) - BASE).abs() < 1e-9);
        assert!(card.eligible);
        // A quarter of a bit less everywhere, and a whole tie-break with it.
        let card = scored(moved(-0.25, 0.0, -0.25));
        assert!((bits(&card) - (BASE - 0.25 - 0.005)).abs() < 1e-9);
        assert!((card.tracks[&Track::Architecture].advantage.mean.get() - 0.25).abs() < 1e-9);
        assert!((card.bits_per_byte.unwrap().mean.get() - (BASE - 0.25)).abs() < 1e-9);
    }

    #[test]
    fn what_was_won_on_the_training_text_alone_is_taken_again() {
        // Half a bit at the last two of five points, nothing on held-out rows. The noise is that of the seeds: 0.01 on
        // each side, of both measurements.
        let card = scored(moved(0.0, -0.5, 0.0));
        let penalty = 0.5 - 2.0 * (4.0f64 * 0.0001).sqrt();
        assert!((bits(&card) - (BASE - 0.2 + penalty)).abs() < 1e-9, "{}", bits(&card));
        assert!((card.tracks[&Track::Architecture].advantage.mean.get() - (0.2 - penalty)).abs() < 1e-9);
        assert!(card.reasons.iter().any(|reason| reason.contains("not on held-out rows")), "{:?}", card.reasons);
        // The same gain on held-out rows is learning, and so is a loss of both.
        for run in [moved(0.0, -0.5, -0.5), moved(0.0, 0.5, 0.5)] {
            assert!(!scored(run).reasons.iter().any(|reason| reason.contains("not on held-out rows")));
        }
        // Who is worse on held-out rows without having won on training text has not memorised: the tie-break says it.
        assert!((bits(&scored(moved(0.0, 0.0, 9.0))) - (BASE + 0.005)).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn no_held_out_row_reorders_a_clear_difference(
            bits_of_one in -1.0f64..1.0, clear in 0.010001f64..1.0, one in -4.0f64..4.0, other in -4.0f64..4.0,
        ) {
            let own = PrequentialNumbers::default();
            let of = |bits: f64, held_out: f64| {
                let tie = 0.5 * own.tie_break.get() * (held_out / own.tie_scale.get()).clamp(-1.0, 1.0);
                let advantage = Estimate { mean: Finite::ZERO, standard_error: Finite::ZERO };
                Ranked { bits: 4.0 + bits, penalty: 0.0, tie, advantage }.quality().unwrap()
            };
            prop_assert!(of(bits_of_one, one) > of(bits_of_one + clear, other));
            let near = scored(moved(bits_of_one, 0.0, bits_of_one + 0.3));
            let far = scored(moved(bits_of_one + clear, 0.0, bits_of_one + clear - 0.3));
            // The second looks better on held-out rows; what it saved there was not saved by memory.
            if !near.reasons.iter().any(|reason| reason.contains("are taken")) {
                prop_assert!(near.total > far.total, "{near:?} {far:?}");
            }
        }

        #[test]
        fn the_penalty_is_never_more_than_what_was_saved_on_late_rows(
            late in -2.0f64..2.0, held_out in -2.0f64..2.0, error in 0.0f64..0.5, z in 0.0f64..3.0,
        ) {
            let estimate = |mean: f64| Estimate {
                mean: Finite::new(mean).unwrap(), standard_error: Finite::new(error).unwrap(),
            };
            let taken = memorized(estimate(late), estimate(held_out), z);
            prop_assert!(taken >= 0.0 && taken <= late.max(0.0));
            prop_assert!(late > held_out || taken == 0.0);
        }
    }
}
