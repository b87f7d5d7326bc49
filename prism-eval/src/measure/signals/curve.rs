//! Curves of one run: how fast they fall, how smooth and steady they are, how often they spike.
//!
//! Those over steps are read where the host witnessed them, which is where no submitted code runs; those over measuring
//! points are the host's own for everybody.
use prism_core::{
    Evidence, Finite,
    evidence::{Point, Series, Witness},
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

/// Each value after the warm-up over the median of the up to 32 values before it. Free of units, and neither a slow start
/// nor a large one shows. `None` for fewer than 16 values.
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

/// Fraction of the steps after the warm-up at which a value exceeds `factor` times the median of the up to 32 values before
/// it: 0 to 1, lower is steadier. Norms scatter by tens of percent from batch to batch, losses by a few: factors of 3
/// and of 1.25 are far outside either.
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

/// `1 / (1 + d)`, with `d` the root mean square distance from 1 of each value over its recent median: above 0, at most 1,
/// higher is steadier. Like the coefficient of variation, but a trend of the whole curve does not count.
pub(crate) fn steadiness(series: &Series) -> Option<f64> {
    let ratios = over_recent_median(series)?;
    let squares: f64 = ratios.iter().map(|ratio| (ratio - 1.0) * (ratio - 1.0)).sum();
    Some(1.0 / (1.0 + (squares / ratios.len() as f64).sqrt()))
}

/// Standard deviation of a curve around whatever smooth curve it follows, over its last three quarters, in its own units:
/// 0 up, lower is smoother. From second differences, in which any locally straight trend cancels, so that fast learning
/// is not roughness: `sqrt(2 / 3 · mean((y[i-1] + y[i+1]) / 2 - y[i])²)` (Gasser, Sroka, Jennen-Steinmetz 1986).
pub(crate) fn roughness(series: &Series) -> Option<f64> {
    let later = series.values.get(series.values.len() / 4..)?;
    if later.len() < SHORTEST {
        return None;
    }
    let squares: f64 = later
        .windows(3)
        .filter_map(|three| match three {
            [a, b, c] => Some((0.5 * a.get() + 0.5 * c.get() - b.get()).powi(2)),
            _ => None,
        })
        .sum();
    Some((2.0 / 3.0 * squares / (later.len() - 2) as f64).sqrt())
}

/// Bits per byte that were given back from one measuring point to the next, summed: 0 up, lower is better. Rows of one
/// point may be harder than the last one's, for everybody alike: it tells something beside a baseline's on the same rows.
pub(crate) fn relapse(run: &Evidence) -> Option<f64> {
    let curve: Vec<f64> =
        run.points.iter().map(|point| point.bits_per_byte().map(Finite::get)).collect::<Option<_>>()?;
    let rises = curve.windows(2).filter_map(|two| match two {
        [before, after] => Some((after - before).max(0.0)),
        _ => None,
    });
    (curve.len() > 2).then(|| rises.sum())
}

/// Bits per byte of whoever knows nothing but the size of the vocabulary: `log2 V` per position. The start of every
/// learning curve; what a model loses at first is its own affair, and would reward a bad one.
pub(crate) fn uniform(run: &Evidence, point: &Point) -> Option<f64> {
    let bytes: u64 = point.row_bytes.iter().map(|bytes| u64::from(*bytes)).sum();
    let positions = point.row_bytes.len() as f64 * f64::from(run.task.budget.sequence);
    let bits = positions * f64::from(run.task.data.vocabulary.max(1)).log2();
    (bytes > 0).then(|| bits / bytes as f64)
}

/// Bits per byte learnt for each doubling of the tokens, from [`uniform`] at the first batch to the last measuring point:
/// higher is faster, below 0 is worse than knowing nothing.
pub(crate) fn learning_speed(run: &Evidence) -> Option<f64> {
    let last = run.points.last()?;
    let batch = f64::from(run.task.budget.batch) * f64::from(run.task.budget.sequence);
    let doublings = (last.tokens as f64 / batch).log2();
    let learnt = uniform(run, last)? - last.bits_per_byte()?.get();
    (doublings >= 1.0).then(|| learnt / doublings).filter(|speed| speed.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fixture::{run, with_points};

    fn series(values: impl IntoIterator<Item = f64>) -> Series {
        let values: Vec<Finite> = values.into_iter().map(|value| Finite::new(value).unwrap()).collect();
        Series { witness: Witness::Host, steps: (0..values.len() as u64).collect(), values }
    }

    fn spiked(count: usize) -> Series {
        series((0..48).map(|step| if (10..10 + count).contains(&step) { 50.0 } else { 1.0 + 0.01 * step as f64 }))
    }

    #[test]
    fn spikes_are_counted_against_the_median_of_the_steps_before() {
        assert_eq!(spikes(&spiked(0), 3.0), Some(0.0));
        assert_eq!(spikes(&spiked(2), 3.0), Some(2.0 / 40.0));
        assert_eq!(spikes(&series((0..48).map(|s| 100.0 / f64::from(s + 1))), 3.0), Some(0.0));
        assert_eq!(spikes(&series([0.0; 48]), 3.0), Some(0.0));
        assert_eq!(spikes(&series([1.0; 15]), 3.0), None);
    }

    #[test]
    fn a_steady_curve_is_one_and_its_trend_does_not_count() {
        assert_eq!(steadiness(&series([3.0; 48])), Some(1.0));
        let falling = steadiness(&series((0..480).map(|s| 2.0 - 0.001 * f64::from(s)))).unwrap();
        let shaky = steadiness(&series((0..480).map(|s| if s % 2 == 0 { 1.0 } else { 3.0 }))).unwrap();
        assert!(falling > 0.95 && shaky < 0.65, "{falling} {shaky}");
    }

    #[test]
    fn roughness_is_the_deviation_around_the_trend() {
        assert!(roughness(&series((0..100).map(|s| 9.0 - 0.05 * f64::from(s)))).unwrap() < 1e-12);
        // Alternating by one around a line: every second difference is 2, and 4 · 2 / 3 is its share.
        let rough = roughness(&series((0..100).map(|s| if s % 2 == 0 { 1.0 } else { -1.0 }))).unwrap();
        assert!((rough - (2.0f64 / 3.0 * 4.0).sqrt()).abs() < 1e-12);
        // White noise with a deviation of 0.1.
        let mut draws = prism_core::Seed::of("test", &[b"noise"]).draws();
        let mut noise = || (0..12).map(|_| draws.below(1 << 20) as f64 / 1_048_576.0).sum::<f64>() - 6.0;
        let curve = series((0..4000).map(|s| 5.0 - f64::from(s) * 1e-3 + 0.1 * noise()));
        assert!((roughness(&curve).unwrap() - 0.1).abs() < 0.01);
    }

    #[test]
    fn what_is_given_back_between_points_is_summed() {
        let run = with_points(&run("any"), &[&[8.0, 8.0], &[5.0, 5.0], &[5.5, 5.5], &[4.0, 4.0], &[4.25, 4.25]]);
        assert_eq!(relapse(&run), Some(0.75));
        assert_eq!(relapse(&with_points(&run, &[&[8.0, 8.0], &[9.0, 9.0]])), None);
    }

    #[test]
    fn learning_speed_starts_at_the_vocabulary_and_not_at_the_first_loss() {
        // Rows of 32 positions over 8 bytes, 256 tokens: 32 bits per byte know nothing. The last point is at 100 steps of
        // 256 tokens, a batch.
        let of = |first: f64| {
            learning_speed(&with_points(&run("any"), &[&[first; 2], &[9.0; 2], &[9.0; 2], &[9.0; 2], &[4.0; 2]]))
                .unwrap()
        };
        assert!((of(8.0) - 28.0 / 100f64.log2()).abs() < 1e-12);
        assert_eq!(of(8.0), of(100.0));
        assert_eq!(learning_speed(&with_points(&run("any"), &[&[8.0, 8.0]])), None);
    }
}
