//! The parts of a score: each a pure function of paired evidence to `[0, 1]`, where one half is the baseline.
//!
//! All compare absolute bits per byte with a baseline measured at the same place; none looks at differences within one
//! submission, so a crippled small model or a bad start can only lose. What isn't bits per byte (health, efficiency,
//! reproducibility) may lift a component above one half only as far as the submission has an advantage in bits.
mod benchmark;
mod completeness;
mod efficiency;
mod health;
mod reproducibility;
mod robustness;
mod scaling;
mod stability;
mod steps;

pub(super) use benchmark::benchmark_sanity;
pub(super) use completeness::completeness;
pub(super) use efficiency::{compute_efficiency, parameter_efficiency};
pub(super) use health::health;
pub(super) use reproducibility::reproducibility;
pub(super) use robustness::robustness;
pub(super) use scaling::{Probes, Scaling, learning_and_scaling, scaling};
pub(super) use stability::stability;

use super::{
    pairing::{Measured, PairingError, paired_over_seeds},
    work::WorkCurve,
};
use crate::policy::ScoreNumbers;
use prism_core::{Evidence, Finite, evidence::Estimate};

/// A component before shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// In `[0, 1]`.
    pub(super) value: Finite,
    /// Of `value`, at most one half.
    pub(super) standard_error: Finite,
}

/// A component, or why there is no evidence for it.
pub(super) type Read = Result<Reading, String>;

/// The runs of a subject and of what it is compared with: the run that counts, then its repeats.
#[derive(Debug, Clone)]
pub(super) struct Pair<'a> {
    pub(super) subject: Vec<&'a Evidence>,
    pub(super) baseline: Vec<&'a Evidence>,
    /// Prequential, over seeds, at equal work.
    pub(super) advantage: Estimate,
    /// The same at equal tokens.
    pub(super) unpriced: Estimate,
    /// What the subject's work above the baseline's would gain the baseline on held-out rows.
    held_out_price: Estimate,
    pub(super) numbers: ScoreNumbers,
}

impl<'a> Pair<'a> {
    pub(super) fn of(
        subject: Vec<&'a Evidence>,
        baseline: Vec<&'a Evidence>,
        numbers: ScoreNumbers,
    ) -> Result<Self, PairingError> {
        let advantage = paired_over_seeds(&subject, &baseline, Measured::Prequential, numbers.seed_deviation)?;
        let held_out_price = Estimate { mean: Finite::ZERO, standard_error: Finite::ZERO };
        Ok(Self { subject, baseline, advantage, unpriced: advantage, held_out_price, numbers })
    }

    /// The same against a baseline that works `ratio` times as much.
    pub(super) fn at_equal_work(self, curve: &WorkCurve, ratio: f64) -> Result<Self, PairingError> {
        Ok(Self {
            advantage: less(self.unpriced, curve.gain(Measured::Prequential, ratio))?,
            held_out_price: curve.gain(Measured::HeldOut, ratio),
            ..self
        })
    }

    /// The runs that count.
    fn heads(&self) -> Result<(&'a Evidence, &'a Evidence), String> {
        match (self.subject.first(), self.baseline.first()) {
            (Some(subject), Some(baseline)) => Ok((subject, baseline)),
            _ => Err("no runs".into()),
        }
    }

    /// The advantage, zero when it is smaller than its noise.
    fn counted(&self) -> f64 {
        counted(self.advantage, &self.numbers)
    }

    /// Whether there is an advantage beyond its noise.
    pub(super) fn is_ahead(&self) -> bool {
        self.counted() > 0.0
    }

    /// A reading that may exceed one half only with an advantage in bits.
    fn gated(&self, value: f64) -> Read {
        let most = if self.is_ahead() { 1.0 } else { 0.5 };
        reading(value.min(most), 0.0)
    }
}

/// Learning: the prequential advantage, that is, the area between the learning curves.
pub(super) fn learning(pair: &Pair<'_>) -> Read {
    of_advantage(pair.advantage, &pair.numbers)
}

/// Quality after training: the advantage on held-out rows.
pub(super) fn held_out(pair: &Pair<'_>) -> Read {
    let deviation = pair.numbers.seed_deviation;
    let advantage = paired_over_seeds(&pair.subject, &pair.baseline, Measured::HeldOut, deviation)
        .and_then(|advantage| less(advantage, pair.held_out_price))
        .map_err(|error| error.to_string())?;
    of_advantage(advantage, &pair.numbers)
}

/// A difference of two estimates. Errors add in squares: rows are paired, so that this is too much rather than too little.
pub(super) fn less(advantage: Estimate, price: Estimate) -> Result<Estimate, PairingError> {
    let finite = |value| Finite::new(value).ok_or(PairingError::Overflow);
    let (a, p) = (advantage.standard_error.get(), price.standard_error.get());
    Ok(Estimate {
        mean: finite(advantage.mean.get() - price.mean.get())?,
        standard_error: finite((a * a + p * p).sqrt())?,
    })
}

/// `1/2 + 1/2 · clamp(advantage / scale, -1, 1)`; an advantage of fewer than `z` standard errors counts as zero.
pub(super) fn of_advantage(advantage: Estimate, numbers: &ScoreNumbers) -> Read {
    let scale = numbers.scale.get();
    let value = 0.5 + 0.5 * (counted(advantage, numbers) / scale).clamp(-1.0, 1.0);
    reading(value, 0.5 * advantage.standard_error.get() / scale)
}

fn counted(advantage: Estimate, numbers: &ScoreNumbers) -> f64 {
    let mean = advantage.mean.get();
    if mean.abs() < numbers.z.get() * advantage.standard_error.get() { 0.0 } else { mean }
}

fn reading(value: f64, standard_error: f64) -> Read {
    let finite = |value: f64| Finite::new(value).ok_or_else(|| "numbers too large".to_owned());
    Ok(Reading { value: finite(value.clamp(0.0, 1.0))?, standard_error: finite(standard_error.min(0.5))? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fixture::{run, with_held_out, with_points};

    fn pair_of(numbers: ScoreNumbers, subject: &[&[f64]], baseline: &[&[f64]]) -> (Evidence, Evidence, ScoreNumbers) {
        (with_points(&run("subject"), subject), with_points(&run("baseline"), baseline), numbers)
    }

    fn exact() -> ScoreNumbers {
        ScoreNumbers { seed_deviation: Finite::ZERO, ..ScoreNumbers::default() }
    }

    #[test]
    fn half_the_scale_is_three_quarters_and_the_cap_holds() {
        for (saved, value) in [(0.0, 0.5), (0.125, 0.75), (0.25, 1.0), (9.0, 1.0), (-0.125, 0.25), (-9.0, 0.0)] {
            let (subject, baseline, numbers) = pair_of(exact(), &[&[10.0 - saved, 11.0 - saved]], &[&[10.0, 11.0]]);
            let pair = Pair::of(vec![&subject], vec![&baseline], numbers).unwrap();
            assert!((learning(&pair).unwrap().value.get() - value).abs() < 1e-12, "{saved}");
        }
    }

    #[test]
    fn an_advantage_within_its_noise_is_the_baseline() {
        // Saved: 0 and 0.2. Mean 0.1, standard error 0.1: one, less than two.
        let (subject, baseline, numbers) = pair_of(exact(), &[&[10.0, 10.8]], &[&[10.0, 11.0]]);
        let pair = Pair::of(vec![&subject], vec![&baseline], numbers).unwrap();
        assert_eq!(learning(&pair).unwrap().value.get(), 0.5);
        let bold = ScoreNumbers { z: Finite::ZERO, ..numbers };
        let pair = Pair::of(vec![&subject], vec![&baseline], bold).unwrap();
        assert!((learning(&pair).unwrap().value.get() - 0.7).abs() < 1e-9);
    }

    #[test]
    fn held_out_rows_are_read_where_they_are_and_missed_where_not() {
        let (subject, baseline) =
            (with_held_out(&run("subject"), &[3.9, 4.9]), with_held_out(&run("baseline"), &[4.0, 5.0]));
        let pair = Pair::of(vec![&subject], vec![&baseline], exact()).unwrap();
        assert!((held_out(&pair).unwrap().value.get() - 0.7).abs() < 1e-9);
        let blind = Evidence { held_out: None, ..subject };
        let pair = Pair::of(vec![&blind], vec![&baseline], exact()).unwrap();
        assert_eq!(held_out(&pair).unwrap_err(), "no rows were measured after training");
    }
}
