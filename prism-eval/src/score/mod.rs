//! What evidence is worth.
//!
//! [`PrismScorer`] is the subnet's own, [`PrequentialScorer`] the plainest that can't be gamed by what isn't bits; a
//! config chooses by name ([`ScorerChoice`]). For another, start from [`scorer_fn`](prism_core::scorer_fn) and the functions
//! here: which run counts ([`tuned_reference`], [`recipe_run`]), what it shows ([`mean_bits_per_byte`]), and how it
//! compares on the same rows ([`paired_difference`]).
//!
//! ```
//! use prism_core::{ScoreCard, scorer_fn};
//! use prism_eval::score::{Measured::HeldOut, mean_bits_per_byte, paired_difference, single_track, tuned_reference};
//!
//! let held_out = scorer_fn("held-out", 1, |candidate, round| {
//!     let score = || {
//!         let run = tuned_reference(candidate.runs)?;
//!         let baseline = tuned_reference(round.baselines.first()?.runs)?;
//!         let bits = mean_bits_per_byte(run, HeldOut).ok()?.mean.get();
//!         let advantage = paired_difference(run, baseline, HeldOut).ok()?;
//!         Some(single_track(candidate, round, "held-out/1", 1.0 / (1.0 + bits), advantage))
//!     };
//!     let without = || ScoreCard::without_total(candidate.submission, candidate.family, "held-out/1", "not measured");
//!     Ok(score().unwrap_or_else(without))
//! });
//! # let _: Box<dyn prism_core::Scorer> = Box::new(held_out);
//! ```
#[cfg(test)]
mod budget_tests;
mod card;
mod components;
mod confirmation;
#[cfg(test)]
pub(crate) mod fixture;
mod hardest;
mod pairing;
mod prequential;
mod prism;
mod reference;
#[cfg(test)]
mod round_tests;
mod selection;
mod shares;
mod trial;
mod work;

pub use card::single_track;
pub use pairing::{
    Measured, PairingError, deviation_over_seeds, mean_bits_per_byte, paired_difference, paired_over_seeds,
    pooled_deviation, same_rows,
};
pub use prequential::PrequentialScorer;
pub use prism::PrismScorer;
pub use reference::{RunsError, recipe_run, runs_of, tuned_reference};
pub use selection::ScorerChoice;
pub(crate) use shares::not_measured;
pub use shares::{ARCHITECTURE_SHARES, TRAINING_SHARES};
pub use trial::{reaches_above_zero, trial_advantages};
