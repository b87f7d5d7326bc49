//! Whether training ran smoothly.
use super::{Pair, Read};
use prism_core::{
    Evidence, Finite,
    evidence::{Series, Witness},
};

/// A curve, and how many times the median of the values before it a value must exceed to be a spike. Norms scatter by
/// tens of percent from batch to batch, losses by a few.
pub(in crate::score) type Signal = (&'static str, f64);

/// What an architecture's health is read from.
pub(in crate::score) const ARCHITECTURE_SIGNALS: [Signal; 2] = [("gradient_norm", 3.0), ("activation_rms", 3.0)];
/// What a recipe's stability is read from.
pub(in crate::score) const TRAINING_SIGNALS: [Signal; 2] = [("train_bits_per_byte", 1.25), ("gradient_norm", 3.0)];

/// Steps that the median looks back.
const WINDOW: usize = 32;
/// Steps before a value can be a spike.
const WARM: usize = 8;
/// Shortest curve that says anything.
const SHORTEST: usize = 16;
/// Difference in the fraction of spiking steps that gives or takes full marks.
const SCALE: f64 = 0.1;

/// Fewer spikes than the baseline: `1/2 + 1/2 · clamp((baseline's fraction - subject's) / 0.1, -1, 1)`, averaged over
/// the signals that the host witnessed on both sides, above one half only with an advantage in bits.
///
/// The fraction counts spikes against the run's own recent median, so it is free of units, and neither a slow start
/// nor a large one helps.
pub(in crate::score) fn health(pair: &Pair<'_>, signals: &[Signal]) -> Read {
    let (subject, baseline) = pair.heads()?;
    let differences: Vec<f64> = signals
        .iter()
        .filter_map(|(name, factor)| {
            Some(spiking(host(baseline, name)?, *factor)? - spiking(host(subject, name)?, *factor)?)
        })
        .collect();
    if differences.is_empty() {
        let names: Vec<&str> = signals.iter().map(|(name, _)| *name).collect();
        return Err(format!("no host-witnessed {} on both sides", names.join(" or ")));
    }
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    pair.gated(0.5 + 0.5 * (mean / SCALE).clamp(-1.0, 1.0))
}

fn host<'a>(run: &'a Evidence, name: &str) -> Option<&'a Series> {
    run.series.get(name).filter(|series| series.witness == Witness::Host)
}

/// Fraction of the values after the warm-up that spike.
fn spiking(series: &Series, factor: f64) -> Option<f64> {
    let values = &series.values;
    if values.len() < SHORTEST {
        return None;
    }
    let mut spikes = 0u32;
    let mut window: Vec<Finite> = Vec::with_capacity(WINDOW);
    for (end, value) in values.iter().enumerate().skip(WARM) {
        window.clear();
        window.extend(values.get(end.saturating_sub(WINDOW)..end)?);
        let middle = window.len() / 2;
        let (_, median, _) = window.select_nth_unstable(middle);
        spikes += u32::from(value.get() > factor * median.get().max(0.0));
    }
    Some(f64::from(spikes) / (values.len() - WARM) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::ScoreNumbers,
        score::fixture::{run, with_points},
    };

    fn curve(spikes: usize) -> Series {
        let value = |step| if (10..10 + spikes).contains(&step) { 50.0 } else { 1.0 + 0.01 * step as f64 };
        Series {
            witness: Witness::Host,
            steps: (0..48).collect(),
            values: (0..48).map(|step| Finite::new(value(step)).unwrap()).collect(),
        }
    }

    fn value(saved: f64, subject: Series, baseline: Series) -> Option<f64> {
        let with = |name: &str, bits: f64, series| {
            let mut run = with_points(&run(name), &[&[bits, bits]]);
            run.series = [("gradient_norm".to_owned(), series)].into();
            run
        };
        let (subject, baseline) = (with("subject", 4.0 - saved, subject), with("baseline", 4.0, baseline));
        let pair = Pair::of(vec![&subject], vec![&baseline], ScoreNumbers::default()).unwrap();
        health(&pair, &ARCHITECTURE_SIGNALS).ok().map(|reading| reading.value.get())
    }

    #[test]
    fn spikes_are_counted_against_the_median_of_the_steps_before() {
        assert_eq!(spiking(&curve(0), 3.0), Some(0.0));
        assert_eq!(spiking(&curve(2), 3.0), Some(2.0 / 40.0));
        let falling =
            Series { values: (0..48).map(|s| Finite::new(100.0 / f64::from(s + 1)).unwrap()).collect(), ..curve(0) };
        assert_eq!(spiking(&falling, 3.0), Some(0.0));
        let short = Series { values: vec![Finite::ONE; 15], ..curve(0) };
        assert_eq!(spiking(&short, 3.0), None);
    }

    #[test]
    fn spikes_lose_and_their_absence_wins_only_with_an_advantage() {
        assert_eq!(value(0.5, curve(2), curve(0)), Some(0.25));
        assert_eq!(value(0.5, curve(0), curve(2)), Some(0.75));
        assert_eq!(value(0.0, curve(0), curve(2)), Some(0.5));
        assert_eq!(value(0.0, curve(2), curve(0)), Some(0.25));
    }

    #[test]
    fn what_a_guest_reports_is_not_read() {
        let guest = Series { witness: Witness::Guest, ..curve(0) };
        assert_eq!(value(0.5, guest, curve(2)), None);
    }
}
