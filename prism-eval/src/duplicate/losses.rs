//! How alike the losses of two submissions are on the same rows: evidence that no renaming changes.
use prism_core::{Evidence, Finite, plan::RunRole};
use serde::{Deserialize, Serialize};

/// Fewer rows say nothing.
const FEWEST_ROWS: usize = 16;

/// How alike two submissions' differences from a baseline are, row by row.
///
/// First look, on measured runs: 0.75 for the same GPT under another seed, 0.73 for one whose weights are reparametrised,
/// 0.55 for one that replays, 0.37 for one with a prior. That it separates families was not shown: it is for a person
/// who looks, never a reason by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossLikeness {
    /// Correlation (Pearson) of the differences, -1 to 1.
    pub correlation: Finite,
    /// Mean bits per byte that the submission saves over the other.
    pub advantage: Finite,
    /// Rows compared.
    pub rows: u32,
    /// Multiple of the reference recipe's rate at which both were measured.
    pub rate: Finite,
}

/// How alike the losses of two submissions are: the correlation of what each differs from a baseline by, over the rows
/// of all points after the first, in runs of the reference recipe at the rate that suits the first best. `None` where
/// the three have no such run in common, or too few rows.
#[must_use]
pub fn likeness(one: &[Evidence], other: &[Evidence], baseline: &[Evidence]) -> Option<LossLikeness> {
    let mut best: Option<(f64, LossLikeness)> = None;
    for run in one {
        let RunRole::Reference { rate } = run.task.role else { continue };
        let same = |runs: &[Evidence]| runs.iter().find(|other| other.task.role == run.task.role).and_then(rows);
        let (Some(first), Some(second), Some(base)) = (rows(run), same(other), same(baseline)) else { continue };
        if first.len() < FEWEST_ROWS || first.len() != second.len() || first.len() != base.len() {
            continue;
        }
        let from = |rows: &[f64]| -> Vec<f64> { rows.iter().zip(&base).map(|(bits, base)| bits - base).collect() };
        let count = first.len() as f64;
        let mean = first.iter().sum::<f64>() / count;
        let advantage = second.iter().zip(&first).map(|(b, a)| b - a).sum::<f64>() / count;
        let (Some(correlation), Some(advantage)) =
            (correlation(&from(&first), &from(&second)).and_then(Finite::new), Finite::new(advantage))
        else {
            continue;
        };
        let found = LossLikeness { correlation, advantage, rows: u32::try_from(first.len()).unwrap_or(u32::MAX), rate };
        if best.as_ref().is_none_or(|(least, _)| mean < *least) {
            best = Some((mean, found));
        }
    }
    best.map(|(_, found)| found)
}

/// Bits per byte of the rows that a run shares with the others of its cohort: none of one that was resumed.
fn rows(run: &Evidence) -> Option<Vec<f64>> {
    let shared = run.is_completed() && run.resumed == 0;
    shared.then(|| run.points.iter().skip(1).flat_map(|point| point.row_bits_per_byte()).collect())
}

fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let count = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / count, b.iter().sum::<f64>() / count);
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(a - mean_a, b - mean_b)).sum::<f64>();
    let (both, own, others) = (sum(&|a, b| a * b), sum(&|a, _| a * a), sum(&|_, b| b * b));
    let product = (own * others).sqrt();
    (product > 0.0).then(|| (both / product).clamp(-1.0, 1.0))
}
