//! Signals of whole curves, paired.
use super::Pair;
use crate::measure::signals::curve;
use prism_core::{Evidence, evidence::Estimate};

/// What of a curve counts: fewer are better.
pub(super) type Signal<'a> = &'a dyn Fn(&Evidence) -> Option<f64>;

/// The baseline's mean over seeds minus the subject's, over `scale`, in `[-1, 1]`; zero where seeds scatter so much that
/// it is within `z` standard errors. `None` where one side has none.
pub(super) fn difference(pair: &Pair<'_>, signal: Signal<'_>, scale: f64) -> Option<f64> {
    let values = |runs: &[&Evidence]| runs.iter().map(|run| signal(run)).collect::<Option<Vec<f64>>>();
    let (subject, baseline) = (values(&pair.subject)?, values(&pair.baseline)?);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let difference = mean(&baseline) - mean(&subject);
    // Of one run alone the scatter is not known.
    let error = |values: &[f64]| Estimate::of(values).map_or(0.0, |estimate| estimate.standard_error.get());
    let error = error(&subject).hypot(error(&baseline));
    let counts = difference.abs() >= pair.numbers.z.get() * error;
    let value = if counts { (difference / scale).clamp(-1.0, 1.0) } else { 0.0 };
    (!value.is_nan()).then_some(value)
}

/// Fraction of spiking steps, of a curve that the host witnessed.
pub(super) fn spiking(run: &Evidence, name: &str, factor: f64) -> Option<f64> {
    curve::spikes(curve::host(run, name)?, factor)
}
