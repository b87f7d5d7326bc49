//! Which run's curve stands for a submission.
use crate::wire::CurvePoint;
use prism_core::{Evidence, evidence::Point, plan::RunRole};

/// The curve of the miner's own recipe, or else of the reference run that coded its training text shortest: bits per byte
/// at each measuring point, before those rows were trained on.
pub(super) fn curve(runs: &[Evidence]) -> Vec<CurvePoint> {
    let completed = || runs.iter().filter(|run| run.is_completed());
    let own = completed().find(|run| run.task.role == RunRole::Recipe);
    let references = completed().filter(|run| matches!(run.task.role, RunRole::Reference { .. }));
    let best = || references.min_by(|a, b| length(a).total_cmp(&length(b)));
    own.or_else(best).map(|run| run.points.iter().filter_map(point).collect()).unwrap_or_default()
}

fn point(point: &Point) -> Option<CurvePoint> {
    Some(CurvePoint { step: point.step, bits_per_byte: point.bits_per_byte()? })
}

fn length(run: &Evidence) -> f64 {
    run.prequential_rows().iter().sum()
}
