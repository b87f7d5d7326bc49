//! Which run's curve stands for a submission.
use crate::wire::CurvePoint;
use prism_core::{
    Evidence,
    evidence::{Point, Series, Witness},
};
use prism_eval::score::{recipe_run, tuned_reference};

/// Points of a curve; longer ones are thinned evenly.
const MOST: usize = 512;
/// The series that a trusted player's run carries, bits per byte on each step's rows before they were trained on.
const TRAINING: &str = "train_bits_per_byte";

/// The curve of the miner's own recipe, or else of the reference run that counts: at each step where the host saw the
/// training itself, else at the measuring points.
pub(super) fn curve(runs: &[Evidence]) -> Vec<CurvePoint> {
    let Some(run) = recipe_run(runs).or_else(|| tuned_reference(runs)) else { return Vec::new() };
    let points: Vec<CurvePoint> = match run.series.get(TRAINING).filter(|series| series.witness == Witness::Host) {
        Some(series) => of_series(series),
        None => run.points.iter().filter_map(of_point).collect(),
    };
    let stride = points.len().div_ceil(MOST).max(1);
    points.into_iter().step_by(stride).collect()
}

fn of_series(series: &Series) -> Vec<CurvePoint> {
    let pairs = series.steps.iter().zip(&series.values);
    pairs.map(|(step, value)| CurvePoint { step: *step, bits_per_byte: *value }).collect()
}

fn of_point(point: &Point) -> Option<CurvePoint> {
    Some(CurvePoint { step: point.step, bits_per_byte: point.bits_per_byte()? })
}
