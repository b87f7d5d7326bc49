//! Curves over the steps of one run: how smooth, how steady, how often they spike.
use prism_core::{
    Evidence, Finite,
    evidence::{Series, Witness},
};

/// Steps that the median looks back.
const WINDOW: usize = 32;
/// Steps before a value can be a spike.
const WARM: usize = 8;
/// Shortest curve that says anything.
const SHORTEST: usize = 16;

/// A curve that the host witnessed.
pub(crate) fn host<'a>(run: &'a Evidence, name: &str) -> Option<&'a Series> {
    run.series.get(name).filter(|series| series.witness == Witness::Host)
}

/// Each value after the warm-up over the median of the up to 32 values before it. Free of units, and neither a slow start nor
/// a large one shows. `None` for fewer than 16 values.
fn over_recent_median(series: &Series) -> Option<Vec<f64>> {
    let values = &series.values;
    if values.len() < SHORTEST {
        return None;
    }
    let mut window: Vec<Finite> = Vec::with_capacity(WINDOW);
    let ratios = values.iter().enumerate().skip(WARM).map(|(end, value)| {
        window.clear();
        window.extend(values.get(end.saturating_sub(WINDOW)..end).unwrap_or_default());
        let middle = window.len() / 2;
        let (_, median, _) = window.select_nth_unstable(middle);
        let (value, median) = (value.get(), median.get().max(0.0));
        // A curve that lies at zero doesn't leave it.
        if value <= median { value / median.max(f64::MIN_POSITIVE) } else { value / median }
    });
    Some(ratios.collect())
}

/// Fraction of the steps after the warm-up at which a value exceeds `factor` times its recent median: 0 to 1, lower is
/// steadier.
pub(crate) fn spikes(series: &Series, factor: f64) -> Option<f64> {
    let ratios = over_recent_median(series)?;
    let spikes = ratios.iter().filter(|ratio| **ratio > factor).count();
    Some(spikes as f64 / ratios.len() as f64)
}

/// The largest value over its recent median, of a curve that the host witnessed.
pub(crate) fn largest_spike(run: &Evidence, name: &str) -> Option<Finite> {
    let ratios = over_recent_median(host(run, name)?)?;
    Finite::new(ratios.into_iter().fold(0.0, f64::max).min(f64::MAX))
}
