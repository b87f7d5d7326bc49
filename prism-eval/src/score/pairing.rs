//! Runs compared on the rows that both were measured on: the only comparison whose noise is small enough.
//!
//! Rows differ more from one another than ideas do. Row by row, that difficulty cancels; what is left is the
//! variance of the rows' differences, the variance over seeds, and where claims were corrected, that of the audits.
use crate::measure::checkpoint::OWN_ROWS_FROM;
use prism_core::{
    Evidence, Finite,
    evidence::{Estimate, Point},
    plan::Subject,
};

/// Which rows of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measured {
    /// All measuring points in the window that counts: rows predicted before they were trained on. Their mean is the
    /// prequential code length, the area under the learning curve.
    Prequential,
    /// The last quarter of those points, at least one: what the trained model does on text of the training split.
    Late,
    /// The held-out rows after training.
    HeldOut,
}

/// Why two runs can't be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// A run that didn't complete.
    #[error("a run did not complete")]
    Failed,
    /// Nothing was measured there.
    #[error("no rows were measured {0}")]
    Empty(&'static str),
    /// Runs of other rows.
    #[error("the runs differ in {0}, so they did not see the same rows")]
    Other(&'static str),
    /// Claims of a guest that nobody checked.
    #[error("the point at step {0} was not audited, and the claims of a guest count for nothing")]
    Unaudited(u64),
    /// A point that contradicts itself.
    #[error("point {0} has not one number of bits for each row, or a row without bytes")]
    Malformed(usize),
    /// Fewer than three runs that differ in their seed alone.
    #[error("fewer than three seeds")]
    FewSeeds,
    /// Fewer than two rows at every point.
    #[error("too few rows to estimate a standard error")]
    TooFew,
    /// Sums beyond what a number can hold.
    #[error("bits too large to be compared")]
    Overflow,
}

/// Bits per byte of the rows at each point, in order.
type Rates = Vec<Vec<f64>>;

/// Bits per byte saved by `subject` against `baseline` on the same rows; negative when it is worse.
///
/// The mean is over all rows alike. The standard error is that of the rows' differences around their own point's mean,
/// pooled over points (points are fixed, rows are drawn): `sqrt(Σ (d - mean of point)² / (rows - points) / rows)`.
/// Where claims were corrected by audits, the scatter of the correction ([`Point::audit_variance`]) is added.
///
/// A run that was resumed has rows of its own from there on. Differences to rows of others scatter by the difficulty of
/// both, so that the same formula gives the wider error of what is not paired.
///
/// # Errors
/// Runs that failed, are malformed, or were not measured on the same rows.
pub fn paired_difference(
    subject: &Evidence,
    baseline: &Evidence,
    measured: Measured,
) -> Result<Estimate, PairingError> {
    paired_over_seeds(&[subject], &[baseline], measured, Finite::ZERO)
}

/// [`paired_difference`] of the means over seeds, with the variance over seeds in the standard error:
/// `se² = rows + audits + s²/n` of both sides. `s` is `seed_deviation`, an estimate pooled over other models of the size;
/// where there are three runs or more, the standard deviation of their means if that is larger. Of three runs it is often
/// near nothing by luck alone.
///
/// # Errors
/// As [`paired_difference`]; also when a side has no run.
pub fn paired_over_seeds(
    subject: &[&Evidence],
    baseline: &[&Evidence],
    measured: Measured,
    seed_deviation: Finite,
) -> Result<Estimate, PairingError> {
    let first = subject.first().ok_or(PairingError::Empty("by the subject"))?;
    baseline.first().ok_or(PairingError::Empty("by the baseline"))?;
    for other in subject.iter().chain(baseline) {
        same_rows(first, other, measured)?;
    }
    let audits = variance_of_audits(subject, measured)? + variance_of_audits(baseline, measured)?;
    let (subject, baseline) = (rates_of_all(subject, measured)?, rates_of_all(baseline, measured)?);
    let seeds = variance_over_seeds(&subject, seed_deviation) + variance_over_seeds(&baseline, seed_deviation);
    let (subject, baseline) = (mean_over_seeds(&subject), mean_over_seeds(&baseline));
    let differences: Rates = baseline
        .iter()
        .zip(&subject)
        .map(|(baseline, subject)| baseline.iter().zip(subject).map(|(b, s)| b - s).collect())
        .collect();
    let rows = estimate(&differences)?;
    widened(rows, seeds + audits)
}

/// Mean bits per byte over a run's rows, every row counting alike, with the standard error of rows and audits.
///
/// # Errors
/// A run that failed or is malformed.
pub fn mean_bits_per_byte(run: &Evidence, measured: Measured) -> Result<Estimate, PairingError> {
    widened(estimate(&rates(run, measured)?)?, variance_of_audits(&[run], measured)?)
}

/// The same mean, with more variance.
fn widened(estimate: Estimate, variance: f64) -> Result<Estimate, PairingError> {
    if variance == 0.0 {
        return Ok(estimate);
    }
    let error = (estimate.standard_error.get() * estimate.standard_error.get() + variance).sqrt();
    Ok(Estimate { standard_error: Finite::new(error).ok_or(PairingError::Overflow)?, ..estimate })
}

/// Whether two runs were measured on the same rows under the same budget. Where a run that was resumed has rows of its
/// own, they are as many.
///
/// # Errors
/// What differs.
pub fn same_rows(a: &Evidence, b: &Evidence, measured: Measured) -> Result<(), PairingError> {
    let (task, other) = (&a.task, &b.task);
    let differs = [
        (task.cohort != other.cohort, "cohort"),
        (task.data != other.data, "data"),
        (task.budget != other.budget, "budget"),
        (task.measuring != other.measuring, "measuring plan"),
    ];
    if let Some((_, what)) = differs.into_iter().find(|(differs, _)| *differs) {
        return Err(PairingError::Other(what));
    }
    let (points, others) = (points(a, measured)?, points(b, measured)?);
    if points.len() != others.len() {
        return Err(PairingError::Other("number of points"));
    }
    let shared = shared_until(a).min(shared_until(b));
    let same = |(a, b): (&&Point, &Point)| {
        let rows = if a.step > shared { a.row_bytes.len() == b.row_bytes.len() } else { a.row_bytes == b.row_bytes };
        a.step == b.step && rows
    };
    if !points.iter().zip(others).all(same) {
        return Err(PairingError::Other("steps or bytes of a point"));
    }
    Ok(())
}

/// The last step whose rows are everybody's.
fn shared_until(run: &Evidence) -> u64 {
    run.counters.get(OWN_ROWS_FROM).copied().unwrap_or(u64::MAX)
}

fn points(run: &Evidence, measured: Measured) -> Result<Vec<&Point>, PairingError> {
    if !run.is_completed() {
        return Err(PairingError::Failed);
    }
    let counts = |point: &&Point| point.step >= run.task.measuring.counts_from;
    let (points, place): (Vec<&Point>, _) = match measured {
        Measured::Prequential => (run.points.iter().filter(counts).collect(), "during training"),
        Measured::Late => {
            let mut points: Vec<&Point> = run.points.iter().filter(counts).collect();
            let early = points.len() - points.len().div_ceil(4);
            points.drain(..early);
            (points, "during training")
        }
        Measured::HeldOut => (run.held_out.iter().collect(), "after training"),
    };
    if points.iter().all(|point| point.row_bits.is_empty()) {
        return Err(PairingError::Empty(place));
    }
    let guest = matches!(run.task.subject, Subject::Guest { .. });
    if let Some(point) = points.iter().find(|point| guest && point.audits.is_empty()) {
        return Err(PairingError::Unaudited(point.step));
    }
    Ok(points)
}

/// What correcting by audits adds to the variance of the mean over runs, in bits per byte: a point's correction weighs
/// by its share of the rows, and is of as many positions to the byte as its rows have.
fn variance_of_audits(runs: &[&Evidence], measured: Measured) -> Result<f64, PairingError> {
    let mut variance = 0.0;
    for run in runs {
        let points = points(run, measured)?;
        let rows: usize = points.iter().map(|point| point.row_bytes.len()).sum();
        let positions = f64::from(run.task.budget.sequence);
        for point in points.iter().filter(|point| !point.audits.is_empty()) {
            let per_byte: f64 = point.row_bytes.iter().map(|bytes| positions / f64::from(*bytes)).sum();
            let weight = per_byte / rows as f64;
            variance += weight * weight * point.audit_variance();
        }
    }
    let runs = runs.len() as f64;
    let variance = variance / (runs * runs);
    if variance.is_finite() { Ok(variance) } else { Err(PairingError::Overflow) }
}

fn rates(run: &Evidence, measured: Measured) -> Result<Rates, PairingError> {
    let rates = points(run, measured)?.into_iter().enumerate().map(|(index, point)| {
        let rates = point.row_bits_per_byte();
        let whole = rates.len() == point.row_bytes.len() && rates.len() == point.row_bits.len();
        if whole { Ok(rates) } else { Err(PairingError::Malformed(index)) }
    });
    rates.collect()
}

fn rates_of_all(runs: &[&Evidence], measured: Measured) -> Result<Vec<Rates>, PairingError> {
    runs.iter().map(|run| rates(run, measured)).collect()
}

fn mean_over_seeds(runs: &[Rates]) -> Rates {
    let Some((first, others)) = runs.split_first() else { return Rates::new() };
    let mut sums = first.clone();
    for run in others {
        for (sums, rates) in sums.iter_mut().zip(run) {
            for (sum, rate) in sums.iter_mut().zip(rates) {
                *sum += rate;
            }
        }
    }
    for sum in sums.iter_mut().flatten() {
        *sum /= runs.len() as f64;
    }
    sums
}

/// Variance of the mean over runs.
fn variance_over_seeds(runs: &[Rates], pooled: Finite) -> f64 {
    let count = runs.len() as f64;
    if runs.len() < 3 {
        return pooled.get() * pooled.get() / count;
    }
    let means: Vec<f64> = runs.iter().map(|run| mean(run.iter().flatten())).collect();
    (squares_around_mean(&means) / (count - 1.0)).max(pooled.get() * pooled.get()) / count
}

fn squares_around_mean(values: &[f64]) -> f64 {
    let center = mean(values.iter());
    values.iter().map(|value| (value - center) * (value - center)).sum()
}

fn means_of_runs(runs: &[&Evidence], measured: Measured) -> Result<Vec<f64>, PairingError> {
    runs.iter().map(|run| mean_bits_per_byte(run, measured).map(|estimate| estimate.mean.get())).collect()
}

/// Standard deviation over seeds of the runs' mean bits per byte.
///
/// # Errors
/// Fewer than three runs, one that failed or is malformed.
pub fn deviation_over_seeds(runs: &[&Evidence], measured: Measured) -> Result<Finite, PairingError> {
    if runs.len() < 3 {
        return Err(PairingError::FewSeeds);
    }
    let means = means_of_runs(runs, measured)?;
    Finite::new((squares_around_mean(&means) / (means.len() - 1) as f64).sqrt()).ok_or(PairingError::Overflow)
}

/// The same, pooled over several groups of runs that differ in their seed alone: `sqrt(Σ squares / Σ (n - 1))` over the
/// groups of two or more. `None` with fewer than two degrees of freedom in all, or where a run can't be read.
#[must_use]
pub fn pooled_deviation(groups: &[&[&Evidence]], measured: Measured) -> Option<Finite> {
    let (mut squares, mut freedom) = (0.0, 0usize);
    for runs in groups.iter().filter(|runs| runs.len() > 1) {
        squares += squares_around_mean(&means_of_runs(runs, measured).ok()?);
        freedom += runs.len() - 1;
    }
    if freedom < 2 { None } else { Finite::new((squares / freedom as f64).sqrt()) }
}

fn mean<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

/// Mean over all rows; standard error from the variance within points, pooled.
fn estimate(points: &[Vec<f64>]) -> Result<Estimate, PairingError> {
    let rows: usize = points.iter().map(Vec::len).sum();
    let measured = points.iter().filter(|rows| !rows.is_empty()).count();
    if rows <= measured {
        return Err(PairingError::TooFew);
    }
    let squares: f64 = points
        .iter()
        .map(|rows| {
            let center = mean(rows.iter());
            rows.iter().map(|value| (value - center) * (value - center)).sum::<f64>()
        })
        .sum();
    let error = (squares / (rows - measured) as f64 / rows as f64).sqrt();
    let finite = |value| Finite::new(value).ok_or(PairingError::Overflow);
    Ok(Estimate { mean: finite(mean(points.iter().flatten()))?, standard_error: finite(error)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fixture::{run, with_held_out, with_points};
    use prism_core::evidence::Audit;
    use proptest::prelude::*;

    #[test]
    fn the_difference_is_taken_row_by_row_around_each_points_mean() {
        // Bits saved per byte: 1, 3 at the first point, 6, 8 at the second. Around their point: ±1. Mean 4.5.
        let baseline = with_points(&run("baseline"), &[&[10.0, 20.0], &[10.0, 20.0]]);
        let subject = with_points(&run("subject"), &[&[9.0, 17.0], &[4.0, 12.0]]);
        let estimate = paired_difference(&subject, &baseline, Measured::Prequential).unwrap();
        assert!((estimate.mean.get() - 4.5).abs() < 1e-12);
        assert!((estimate.standard_error.get() - (4.0f64 / 2.0 / 4.0).sqrt()).abs() < 1e-12);
        let reverse = paired_difference(&baseline, &subject, Measured::Prequential).unwrap();
        assert_eq!(reverse.mean.get(), -estimate.mean.get());
    }

    #[test]
    fn rows_of_a_resumed_run_are_compared_without_a_bias_and_with_the_error_of_unpaired_ones() {
        // Rows differ by up to 4 bits, ideas by 0.1.
        let rows = |point: u64, salt: u64| -> Vec<f64> {
            let mut draws = prism_core::Seed::of("test", &[&point.to_le_bytes(), &salt.to_le_bytes()]).draws();
            (0..200).map(|_| 4.0 + draws.below(4001) as f64 / 1000.0).collect()
        };
        let better = |rows: Vec<f64>| -> Vec<f64> { rows.into_iter().map(|bits| bits - 0.1).collect() };
        let of = |points: [Vec<f64>; 2]| with_points(&run("any"), &[&points[0], &points[1]]);
        let baseline = of([rows(0, 0), rows(1, 0)]);
        let clean = of([better(rows(0, 0)), better(rows(1, 0))]);
        let pair = |subject: &Evidence| paired_difference(subject, &baseline, Measured::Prequential).unwrap();
        assert!((pair(&clean).mean.get() - 0.1).abs() < 1e-9 && pair(&clean).standard_error.get() < 1e-9);
        let resumed: Vec<Estimate> =
            (1..=100).map(|salt| pair(&of([better(rows(0, 0)), better(rows(1, salt))]))).collect();
        let means: Vec<f64> = resumed.iter().map(|estimate| estimate.mean.get()).collect();
        let scatter = Estimate::of(&means).unwrap().standard_error.get() * 10.0;
        let told = mean(resumed.iter().map(|estimate| estimate.standard_error.get()).collect::<Vec<_>>().iter());
        assert!((mean(means.iter()) - 0.1).abs() < 3.0 * scatter, "{means:?}");
        // Against one baseline the scatter is that of the run's own rows alone; the error tells of both sides'.
        assert!(told > scatter && told < 2.0 * scatter, "{told} told, {scatter} there");
    }

    #[test]
    fn rows_of_a_resumed_run_may_have_other_bytes_after_it_went_on_and_must_be_as_many() {
        let base = with_held_out(&with_points(&run("any"), &[&[4.0, 6.0], &[4.0, 6.0]]), &[4.0, 6.0]);
        let change = |change: fn(&mut Evidence)| {
            let mut other = base.clone();
            change(&mut other);
            [Measured::Prequential, Measured::HeldOut].map(|measured| {
                let there = paired_difference(&other, &base, measured);
                assert_eq!(there.is_ok(), paired_difference(&base, &other, measured).is_ok());
                there.map(|_| ())
            })
        };
        let other_rows = |run: &mut Evidence| {
            for point in run.points.iter_mut().skip(1).chain(&mut run.held_out) {
                point.row_bytes = vec![16, 4];
            }
        };
        let bytes = Err(PairingError::Other("steps or bytes of a point"));
        assert_eq!(change(other_rows), [bytes.clone(), bytes.clone()]);
        let resumed = |run: &mut Evidence| {
            run.resumed = 1;
            run.counters.insert(OWN_ROWS_FROM.to_owned(), 0);
            for point in run.points.iter_mut().skip(1).chain(&mut run.held_out) {
                point.row_bytes = vec![16, 4];
            }
        };
        assert_eq!(change(resumed), [Ok(()), Ok(())]);
        let later = |run: &mut Evidence| {
            run.counters.insert(OWN_ROWS_FROM.to_owned(), 25);
            run.points[1].row_bytes = vec![16, 4];
        };
        assert_eq!(change(later), [bytes.clone(), Ok(())]);
        let fewer = |run: &mut Evidence| {
            run.counters.insert(OWN_ROWS_FROM.to_owned(), 0);
            run.points[1].row_bytes.truncate(1);
        };
        assert_eq!(change(fewer), [bytes, Ok(())]);
    }

    #[test]
    fn a_run_against_itself_is_exactly_nothing() {
        let run = run("any");
        for measured in [Measured::Prequential, Measured::HeldOut] {
            let estimate = paired_difference(&run, &run, measured).unwrap();
            assert_eq!((estimate.mean, estimate.standard_error), (Finite::ZERO, Finite::ZERO));
        }
    }

    #[test]
    fn few_seeds_take_the_pooled_deviation_and_many_their_own_if_it_is_larger() {
        let base = with_points(&run("baseline"), &[&[10.0, 10.0]]);
        let others = [9.0, 10.0, 11.0].map(|bits| with_points(&run("subject"), &[&[bits, bits]]));
        let [low, middle, high] = &others;
        let deviation = Finite::new(0.5).unwrap();
        let pair = |subject: &[&Evidence]| {
            let estimate = paired_over_seeds(subject, &[&base], Measured::Prequential, deviation).unwrap();
            (estimate.mean.get(), estimate.standard_error.get())
        };
        assert_eq!(pair(&[low]), (1.0, (0.25f64 + 0.25).sqrt()));
        assert_eq!(pair(&[low, middle]), (0.5, (0.25f64 / 2.0 + 0.25).sqrt()));
        // Means 9, 10, 11: variance 1 over three runs; the single baseline still takes the pooled one.
        let (mean, error) = pair(&[low, middle, high]);
        assert!(mean.abs() < 1e-12 && (error - (1.0f64 / 3.0 + 0.25).sqrt()).abs() < 1e-12);
        // Three that agree by luck are not surer than the pool.
        let (_, error) = pair(&[middle, middle, middle]);
        assert!((error - (0.25f64 / 3.0 + 0.25).sqrt()).abs() < 1e-12, "{error}");
    }

    #[test]
    fn the_deviation_over_seeds_is_pooled_over_groups() {
        let with = |bits: f64| with_points(&run("any"), &[&[bits, bits]]);
        let runs = [1.0, 2.0, 3.0, 10.0, 14.0].map(with);
        let [a, b, c, d, e] = runs.each_ref();
        assert_eq!(deviation_over_seeds(&[a, b, c], Measured::Prequential), Ok(Finite::ONE));
        assert_eq!(deviation_over_seeds(&[a, b], Measured::Prequential), Err(PairingError::FewSeeds));
        // Squares 2 and 8 over two and one degrees of freedom; a single run tells nothing.
        let pooled = pooled_deviation(&[&[a, b, c], &[d, e], &[a]], Measured::Prequential).unwrap();
        assert!((pooled.get() - (10.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(pooled_deviation(&[&[a, b]], Measured::Prequential), None);
    }

    #[test]
    fn late_rows_are_those_of_the_last_quarter_of_the_points_that_count() {
        let mut run = with_points(&run("any"), &[&[9.0; 2], &[8.0; 2], &[7.0; 2], &[6.0; 2], &[5.0; 2]]);
        let late = |run: &Evidence| mean_bits_per_byte(run, Measured::Late).unwrap().mean.get();
        assert_eq!(late(&run), 5.5);
        run.task.measuring.counts_from = 50;
        assert_eq!(late(&run), 5.0);
    }

    #[test]
    fn runs_of_other_rows_are_not_compared() {
        let base = run("baseline");
        let compare = |change: fn(&mut Evidence)| {
            let mut other = base.clone();
            change(&mut other);
            paired_difference(&other, &base, Measured::Prequential).unwrap_err()
        };
        assert_eq!(compare(|r| r.task.cohort = r.task.cohort.stream("other")), PairingError::Other("cohort"));
        assert_eq!(compare(|r| r.task.data.vocabulary += 1), PairingError::Other("data"));
        assert_eq!(compare(|r| r.task.budget.steps *= 2), PairingError::Other("budget"));
        assert_eq!(compare(|r| r.task.measuring.rows += 1), PairingError::Other("measuring plan"));
        assert_eq!(compare(|r| r.points.truncate(2)), PairingError::Other("number of points"));
        let bytes = PairingError::Other("steps or bytes of a point");
        assert_eq!(compare(|r| r.points[1].row_bytes[0] += 1), bytes);
        assert_eq!(compare(|r| r.points.clear()), PairingError::Empty("during training"));
        assert_eq!(compare(|r| r.points[0].row_bits.truncate(1)), PairingError::Malformed(0));
    }

    #[test]
    fn points_before_the_window_do_not_count() {
        let at = |early: f64| with_points(&run("any"), &[&[early, early], &[4.0, 6.0]]);
        let (mut good, mut bad) = (at(1.0), at(9.0));
        for run in [&mut good, &mut bad] {
            run.task.measuring.counts_from = 25;
        }
        assert_eq!(mean_bits_per_byte(&good, Measured::Prequential).unwrap().mean.get(), 5.0);
        assert_eq!(paired_difference(&good, &bad, Measured::Prequential).unwrap().mean, Finite::ZERO);
        good.task.measuring.counts_from = 26;
        assert_eq!(mean_bits_per_byte(&good, Measured::Prequential), Err(PairingError::Empty("during training")));
    }

    /// Two points of two rows of 8 bytes and 32 positions; the second's audits differ by ±1 bit a position.
    #[test]
    fn the_scatter_of_audits_is_part_of_the_error() {
        let finite = |value| Finite::new(value).unwrap();
        let audit = |audited| Audit { row: 0, position: 0, claimed: finite(2.0), audited: finite(audited) };
        let base = with_points(&run("any"), &[&[4.0, 4.0], &[4.0, 4.0]]);
        let mut audited = base.clone();
        audited.points[0].audits = vec![audit(2.0); 4];
        audited.points[1].audits = vec![audit(3.0), audit(1.0), audit(3.0), audit(1.0)];
        // Variance 4/16 a position, 4 positions a byte, half of the rows: 0.25 · 4² · 0.5².
        let error = |a, b| paired_difference(a, b, Measured::Prequential).unwrap().standard_error.get();
        assert_eq!(error(&base, &base), 0.0);
        assert!((error(&audited, &base) - 1.0).abs() < 1e-12);
        assert!((error(&audited, &audited) - 2f64.sqrt()).abs() < 1e-12);
        assert!(
            (mean_bits_per_byte(&audited, Measured::Prequential).unwrap().standard_error.get() - 1.0).abs() < 1e-12
        );
        let all = paired_over_seeds(&[&audited, &audited], &[&base], Measured::Prequential, Finite::ZERO).unwrap();
        assert!((all.standard_error.get() - 0.5f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn claims_of_a_guest_that_nobody_checked_count_for_nothing() {
        let base = run("any");
        let mut guest = base.clone();
        guest.task.subject = Subject::Guest { bundle: base.task.policy, recipe: None };
        let pair = |guest: &Evidence| paired_difference(guest, &base, Measured::Prequential);
        assert_eq!(pair(&guest), Err(PairingError::Unaudited(0)));
        let confirmed = Audit { row: 0, position: 0, claimed: Finite::ONE, audited: Finite::ONE };
        for point in &mut guest.points {
            point.audits = vec![confirmed];
        }
        assert_eq!(pair(&guest).unwrap().mean, Finite::ZERO);
        assert_eq!(paired_difference(&guest, &base, Measured::HeldOut), Err(PairingError::Unaudited(125)));
    }

    #[test]
    fn sums_beyond_a_number_are_an_error() {
        let base = with_points(&run("baseline"), &[&[1e308, 1e308, -1e308]]);
        let other = with_points(&run("subject"), &[&[-1e308, 1e308, 1e308]]);
        assert_eq!(paired_difference(&other, &base, Measured::Prequential), Err(PairingError::Overflow));
        let single = with_points(&run("single"), &[&[1.0], &[1.0]]);
        assert_eq!(mean_bits_per_byte(&single, Measured::Prequential), Err(PairingError::TooFew));
    }

    proptest! {
        #[test]
        fn the_pairing_is_antisymmetric_and_blind_to_row_difficulty(
            rows in prop::collection::vec((0.0f64..8.0, -1.0f64..1.0, -5.0f64..5.0), 3..40),
        ) {
            let bits = |f: fn(&(f64, f64, f64)) -> f64| rows.iter().map(f).collect::<Vec<_>>();
            let at = |bits: Vec<f64>| with_points(&run("x"), &[&bits]);
            let (base, subject) = (at(bits(|r| r.0)), at(bits(|r| r.0 - r.1)));
            let (hard, harder) = (at(bits(|r| r.0 + r.2)), at(bits(|r| r.0 + r.2 - r.1)));
            let pair = |s, b| paired_difference(s, b, Measured::Prequential).unwrap();
            let (plain, reverse, shifted) = (pair(&subject, &base), pair(&base, &subject), pair(&harder, &hard));
            prop_assert_eq!(plain.mean.get(), -reverse.mean.get());
            prop_assert_eq!(plain.standard_error, reverse.standard_error);
            prop_assert!((plain.mean.get() - shifted.mean.get()).abs() < 1e-9);
            prop_assert!((plain.standard_error.get() - shifted.standard_error.get()).abs() < 1e-9);
        }
    }
}
