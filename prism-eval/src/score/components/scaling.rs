//! Whether an advantage holds at other sizes: wider, deeper, on longer rows, in larger batches.
//!
//! Each probe is a paired advantage over the hardest baseline **at that probe**, in absolute bits per byte, at equal
//! work, capped. Nothing compares a submission with itself at another size: whoever makes his base model bad to look
//! good at twice the size has lost at the base, and whoever leaves a probe out or fails at it has lost the probe.
use super::{Pair, Read, counted, learning, reading};
use crate::{
    policy::ScoreNumbers,
    score::{
        hardest::{Rival, over_the_hardest},
        reference::RunsError,
        work::WorkCurve,
    },
};
use prism_core::{Evidence, Finite, evidence::RunOutcome, plan::RunRole};
use std::collections::{BTreeMap, BTreeSet};

/// Axes whose probes join the learning dynamics.
const GROWTH: [&str; 2] = ["size", "depth"];
/// Axes whose probes join robustness.
const STABILITY: [&str; 2] = ["sequence", "batch"];

/// Axis and factor.
type Key<'a> = (&'a str, Finite);

/// The scaling probes of one entrant.
#[derive(Debug, Clone, Default)]
pub(in crate::score) struct Probes<'a>(BTreeMap<Key<'a>, &'a Evidence>);

impl<'a> Probes<'a> {
    pub(in crate::score) fn of(runs: &'a [Evidence]) -> Result<Self, RunsError> {
        let mut probes = BTreeMap::new();
        for run in runs {
            if let RunRole::ScalingProbe { axis, factor } = &run.task.role
                && probes.insert((axis.as_str(), *factor), run).is_some()
            {
                return Err(RunsError::Ambiguous(format!("probe of {axis} at factor {factor}")));
            }
        }
        Ok(Self(probes))
    }
}

/// A probe's advantage as a part of full marks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::score) struct Share {
    /// In `[-1, 1]`.
    pub(super) value: f64,
    /// Standard error of `value`.
    pub(super) error: f64,
}

/// What the probes showed.
#[derive(Debug, Clone, Default)]
pub(in crate::score) struct Scaling {
    /// At other sizes and depths.
    pub(in crate::score) growth: Vec<Share>,
    /// On longer rows and in larger batches.
    pub(in crate::score) stability: Vec<Share>,
}

/// Reads all probes that a baseline completed: `clamp(advantage / scale, -1, 1)`, an advantage within its noise
/// counting as zero. A probe that the subject failed at or doesn't have is lost to the baseline: minus one. One that
/// this machine failed at is left out, and one whose work can't be compared.
pub(in crate::score) fn scaling(
    subject: &Probes<'_>,
    baselines: &[(&Probes<'_>, &WorkCurve)],
    calibrator: Option<&Probes<'_>>,
    numbers: ScoreNumbers,
    reasons: &mut Vec<String>,
) -> Scaling {
    let completed = |probes: &Probes<'_>| -> Vec<(String, Finite)> {
        let done = probes.0.iter().filter(|(_, run)| run.is_completed());
        done.map(|((axis, factor), _)| ((*axis).to_owned(), *factor)).collect()
    };
    let asked: BTreeSet<(String, Finite)> = baselines.iter().flat_map(|(probes, _)| completed(probes)).collect();
    let mut scaling = Scaling::default();
    for (axis, factor) in &asked {
        let key = (axis.as_str(), *factor);
        let name = format!("probe of {axis} at factor {factor}");
        let rivals: Vec<Rival<'_>> = baselines
            .iter()
            .filter_map(|(probes, work)| Some(Rival { run: probes.0.get(&key).copied()?, work }))
            .filter(|rival| rival.run.is_completed())
            .collect();
        let calibrator = calibrator.and_then(|probes| probes.0.get(&key).copied());
        let share = match subject.0.get(&key) {
            None => Err(Some("it was not run".to_owned())),
            Some(run) => share(run, &rivals, calibrator, numbers),
        };
        let share = match share {
            Ok(share) => share,
            Err(Some(lost)) => {
                reasons.push(format!("architecture: {name} is lost: {lost}"));
                Share { value: -1.0, error: 0.0 }
            }
            Err(None) => {
                reasons.push(format!("architecture: {name} is not measured and counts for nothing"));
                continue;
            }
        };
        if GROWTH.contains(&axis.as_str()) {
            scaling.growth.push(share);
        } else if STABILITY.contains(&axis.as_str()) {
            scaling.stability.push(share);
        }
    }
    scaling
}

/// `Err(Some)` when the subject lost it by its own doing, `Err(None)` when nobody knows.
fn share(
    run: &Evidence,
    rivals: &[Rival<'_>],
    calibrator: Option<&Evidence>,
    numbers: ScoreNumbers,
) -> Result<Share, Option<String>> {
    match &run.outcome {
        RunOutcome::Completed => {}
        RunOutcome::Failed { class, reason } if class.is_subjects() => {
            return Err(Some(format!("{}: {reason}", class.as_str())));
        }
        RunOutcome::Failed { .. } => return Err(None),
    }
    let advantage = over_the_hardest(run, rivals, calibrator, numbers).map_err(|_| None)?;
    let scale = numbers.scale.get();
    Ok(Share {
        value: (counted(advantage, &numbers) / scale).clamp(-1.0, 1.0),
        error: advantage.standard_error.get() / scale,
    })
}

/// Learning at the base size, and where there are probes of size and depth, in equal part with their mean.
pub(in crate::score) fn learning_and_scaling(pair: &Pair<'_>, growth: &[Share]) -> Read {
    let base = learning(pair)?;
    if growth.is_empty() {
        return Ok(base);
    }
    let count = growth.len() as f64;
    let (value, error) =
        growth.iter().fold((0.0, 0.0), |(v, e), share| (v + share.value / count, e + share.error / count));
    reading(0.5 * base.value.get() + 0.5 * (0.5 + 0.5 * value), 0.5 * base.standard_error.get() + 0.25 * error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fixture::{failed, grid, probe, run, with_points, worked};
    use prism_core::submission::FailureClass;
    use proptest::prelude::*;

    fn numbers() -> ScoreNumbers {
        let finite = |value| Finite::new(value).unwrap();
        ScoreNumbers { seed_deviation: Finite::ZERO, scale: finite(0.5), z: Finite::ZERO, ..ScoreNumbers::default() }
    }

    fn read(subject: &[Evidence], baseline: &[Evidence]) -> (Scaling, Vec<String>) {
        let (work, mut reasons) = (WorkCurve::default(), Vec::new());
        let (subject, baseline) = (Probes::of(subject).unwrap(), Probes::of(baseline).unwrap());
        let scaling = scaling(&subject, &[(&baseline, &work)], None, numbers(), &mut reasons);
        (scaling, reasons)
    }

    fn values(shares: &[Share]) -> Vec<f64> {
        shares.iter().map(|share| share.value).collect()
    }

    #[test]
    fn each_probe_is_compared_with_the_baseline_at_that_probe_and_sorted_by_its_axis() {
        let baseline = [("size", 4.0), ("depth", 3.0), ("batch", 4.0), ("sequence", 4.0)];
        let baseline = baseline.map(|(axis, bits)| probe(&run("gpt"), axis, 2.0, bits));
        // The curve's mean falls by four fifths of what its end does.
        let subject = [("size", 3.75), ("depth", 3.25), ("batch", 4.0), ("sequence", 9.0)];
        let subject = subject.map(|(axis, bits)| probe(&run("new"), axis, 2.0, bits));
        let (scaling, reasons) = read(&subject, &baseline);
        let near = |shares: &[Share], expected: [f64; 2]| {
            values(shares).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9) && shares.len() == 2
        };
        assert!(near(&scaling.growth, [-0.4, 0.4]), "{scaling:?}");
        assert!(near(&scaling.stability, [0.0, -1.0]), "{scaling:?}");
        assert!(reasons.is_empty());
    }

    #[test]
    fn a_probe_left_out_or_failed_at_is_lost_and_one_that_the_machine_failed_at_is_not() {
        let baseline = ["size", "depth", "batch"].map(|axis| probe(&run("gpt"), axis, 2.0, 4.0));
        let good = probe(&run("new"), "size", 2.0, 3.0);
        let broken = failed(&probe(&run("new"), "depth", 2.0, 3.0), FailureClass::Resource);
        let (scaling, reasons) = read(&[good.clone(), broken.clone()], &baseline);
        assert_eq!((values(&scaling.growth), values(&scaling.stability)), (vec![-1.0, 1.0], vec![-1.0]));
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        let unlucky = failed(&broken, FailureClass::Infrastructure);
        assert_eq!(values(&read(&[good.clone(), unlucky], &baseline).0.growth), [1.0]);
        // What no baseline was asked, nobody is.
        assert!(read(std::slice::from_ref(&good), &[]).0.growth.is_empty());
        let twice = [good.clone(), good];
        assert!(matches!(Probes::of(&twice), Err(RunsError::Ambiguous(_))));
    }

    #[test]
    fn a_model_that_is_larger_at_the_probe_pays_for_its_work() {
        let baseline = [probe(&run("gpt"), "size", 2.0, 4.0)];
        let once = run("gpt");
        let twice = worked(&once, 2);
        let points = [8.0, 4.0, 3.5, 3.25, 3.0].map(|bits| [bits; 4]);
        let twice = with_points(&twice, &points.each_ref().map(<[f64; 4]>::as_slice));
        let runs = [once.clone(), twice];
        let work = WorkCurve::of(&runs, &[&once], Finite::ZERO).unwrap();
        let mut large = probe(&run("new"), "size", 2.0, 3.5);
        let value = |subject: &Evidence| {
            let runs = [subject.clone()];
            let (subject, baseline) = (Probes::of(&runs).unwrap(), Probes::of(&baseline).unwrap());
            scaling(&subject, &[(&baseline, &work)], None, numbers(), &mut Vec::new()).growth[0].value
        };
        let free = value(&large);
        large.counters.insert("flops_per_token".into(), 12_000);
        assert!(value(&large) < free - 0.5, "{} of {free}", value(&large));
    }

    proptest! {
        #[test]
        fn probes_move_learning_both_ways_and_only_within_their_half(ends in prop::collection::vec(0.5f64..8.0, 1..4), base in 0.5f64..8.0) {
            let axes = ["size", "depth", "size"];
            let of = |graph: &str, ends: &[f64]| -> Vec<Evidence> {
                let probes = ends.iter().enumerate();
                probes.map(|(n, end)| probe(&run(graph), axes[n], 2.0 + n as f64, *end)).collect()
            };
            let (subject, baseline) = (of("new", &ends), of("gpt", &vec![4.0; ends.len()]));
            let (scaling, _) = read(&subject, &baseline);
            let head = grid("new", &[(1.0, base)]).remove(0);
            let other = run("gpt");
            let pair = Pair::of(vec![&head], vec![&other], numbers()).unwrap();
            let (alone, joined) = (learning(&pair).unwrap(), learning_and_scaling(&pair, &scaling.growth).unwrap());
            let mean = values(&scaling.growth).iter().sum::<f64>() / ends.len() as f64;
            prop_assert!((-1.0..=1.0).contains(&mean));
            prop_assert!((joined.value.get() - (0.5 * alone.value.get() + 0.25 + 0.25 * mean)).abs() < 1e-9);
            prop_assert_eq!(learning_and_scaling(&pair, &[]).unwrap(), alone);
        }
    }
}
