//! Comparing at equal work: what a baseline gains by more of it.
//!
//! Three optimizer steps per batch learn more from the same tokens than one, and so does a larger model. A subject that
//! works `r` times as much is compared with a baseline that does so too: baselines are measured at several steps per
//! batch, and their gain is interpolated over `ln r` between them (and carried on beyond the last).
use super::{
    pairing::{Measured, PairingError, paired_difference},
    reference::{RunsError, completed},
};
use prism_core::{
    Evidence, Finite, TaskId,
    evidence::Estimate,
    plan::{RunRole, Subject},
};

/// What a baseline gains, in bits per byte, by working more than once per batch.
#[derive(Debug, Clone, Default)]
pub(super) struct WorkCurve {
    /// Ascending `ln` of the work; the gains never fall, because who works more may also leave it.
    prequential: Vec<(f64, Estimate)>,
    held_out: Vec<(f64, Estimate)>,
}

const NOTHING: Estimate = Estimate { mean: Finite::ZERO, standard_error: Finite::ZERO };

impl WorkCurve {
    /// The curve of the runs that repeat `run` with more steps per batch; without any, more work buys nothing.
    pub(super) fn of(runs: &[Evidence], run: &Evidence) -> Result<Self, RunsError> {
        let of: TaskId = run.task.id();
        let mut more: Vec<(u32, &Evidence)> = Vec::new();
        for other in runs {
            match other.task.role {
                RunRole::Work { of: worked, inner_steps } if worked == of => more.push((inner_steps, other)),
                _ => {}
            }
        }
        more.sort_by_key(|(inner_steps, _)| *inner_steps);
        let mut curve = Self::default();
        for (inner_steps, other) in more {
            let name = format!("run of {inner_steps} steps per batch");
            completed(other, &name)?;
            let work = f64::from(inner_steps.max(1)).ln();
            let malformed = |error: PairingError| RunsError::Malformed { run: name.clone(), error };
            let gain = paired_difference(other, run, Measured::Prequential).map_err(malformed)?;
            push(&mut curve.prequential, work, gain);
            if run.held_out.is_some() {
                let gain = paired_difference(other, run, Measured::HeldOut).map_err(malformed)?;
                push(&mut curve.held_out, work, gain);
            }
        }
        Ok(curve)
    }

    /// What `ratio` times the work gains; nothing for less.
    pub(super) fn gain(&self, measured: Measured, ratio: f64) -> Estimate {
        let points = match measured {
            Measured::Prequential | Measured::Late => &self.prequential,
            Measured::HeldOut => &self.held_out,
        };
        let work = ratio.ln();
        if work.is_nan() || work <= 0.0 {
            return NOTHING;
        }
        let (mut low, mut high) = ((0.0, NOTHING), None);
        for point in points {
            if let Some(last) = high {
                low = last;
            }
            high = Some(*point);
            if work <= point.0 {
                break;
            }
        }
        let Some(high) = high else { return NOTHING };
        let share = (work - low.0) / (high.0 - low.0);
        let between = |low: Finite, high: Finite| Finite::new(low.get() + share * (high.get() - low.get()));
        let mean = between(low.1.mean, high.1.mean).unwrap_or(high.1.mean);
        let error = between(low.1.standard_error, high.1.standard_error).unwrap_or(high.1.standard_error);
        Estimate { mean, standard_error: error.max(low.1.standard_error) }
    }
}

fn push(points: &mut Vec<(f64, Estimate)>, work: f64, gain: Estimate) {
    let least = points.last().map_or(NOTHING, |(_, last)| *last);
    points.push((work, if gain.mean > least.mean { gain } else { least }));
}

/// How many times the work of `baseline` a subject did on the same tokens.
///
/// Of declared architectures the host counts floating-point operations. Of Python it counts time, which is compared with
/// other Python on the same device: `calibrator` is a baseline's, and stands for one baseline's work. Clocks scatter, so
/// up to `tolerance` times counts as equal.
pub(super) fn work_ratio(
    subject: &Evidence,
    baseline: &Evidence,
    calibrator: Option<&Evidence>,
    tolerance: f64,
) -> Result<f64, String> {
    if !is_python(subject) {
        if is_python(baseline) {
            return Err("work of a declared architecture can't be compared with that of Python".into());
        }
        let operations = |run: &Evidence| {
            let count = run.counters.get("flops_per_token").copied().filter(|count| *count > 0);
            count.map(|count| count as f64 * f64::from(run.task.role.inner_steps()))
        };
        return match (operations(subject), operations(baseline)) {
            (Some(subject), Some(baseline)) => Ok(subject / baseline),
            _ => Err("no count of flops_per_token on both sides".into()),
        };
    }
    let against = if is_python(baseline) { Some(baseline) } else { calibrator };
    let against = against.ok_or("no baseline in Python ran beside it, so that its work can't be compared")?;
    let clocks = (subject.work, against.work);
    let (of_subject, of_baseline) = match clocks.1.gpu_millis {
        0 => (clocks.0.cpu_millis, clocks.1.cpu_millis),
        device => (clocks.0.gpu_millis, device),
    };
    if of_baseline == 0 {
        return Err("no work was counted of the baseline in Python".into());
    }
    let ratio = of_subject as f64 / of_baseline as f64;
    Ok(if ratio <= tolerance { ratio.min(1.0) } else { ratio })
}

/// Whether submitted code ran.
pub(super) fn is_python(run: &Evidence) -> bool {
    matches!(run.task.subject, Subject::Guest { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fixture::{run, with_points, worked};
    use prism_core::{Digest, evidence::Work};

    const START: [&[f64]; 2] = [&[8.0, 8.0], &[4.0, 4.0]];

    fn curve(gains: &[(u32, f64)]) -> WorkCurve {
        let once = with_points(&run("baseline"), &START);
        let more = gains.iter().map(|(steps, gain)| {
            with_points(&worked(&once, *steps), &[&[8.0 - gain, 8.0 - gain], &[4.0 - gain, 4.0 - gain]])
        });
        let runs: Vec<Evidence> = [once.clone()].into_iter().chain(more).collect();
        WorkCurve::of(&runs, &once).unwrap()
    }

    fn gain(curve: &WorkCurve, ratio: f64) -> f64 {
        curve.gain(Measured::Prequential, ratio).mean.get()
    }

    #[test]
    fn gains_lie_on_lines_over_the_logarithm_of_work() {
        let curve = curve(&[(4, 0.5), (2, 0.25)]);
        for (ratio, expected) in
            [(1.0, 0.0), (2.0, 0.25), (4.0, 0.5), (2f64.sqrt(), 0.125), (8.0, 0.75), (0.5, 0.0), (0.0, 0.0)]
        {
            assert!((gain(&curve, ratio) - expected).abs() < 1e-12, "{ratio}: {}", gain(&curve, ratio));
        }
        assert_eq!(gain(&curve, f64::NAN), 0.0);
    }

    #[test]
    fn more_work_that_harms_a_baseline_harms_nobody_else() {
        let curve = curve(&[(2, 0.25), (4, -1.0)]);
        for ratio in [2.0, 3.0, 4.0, 100.0] {
            assert!((gain(&curve, ratio) - 0.25).abs() < 1e-12, "{ratio}");
        }
        assert_eq!(gain(&WorkCurve::default(), 4.0), 0.0);
    }

    #[test]
    fn declared_work_is_counted_and_that_of_python_is_timed_against_python() {
        let baseline = run("baseline");
        let mut larger = run("larger");
        larger.counters.insert("flops_per_token".into(), 18_000);
        assert_eq!(work_ratio(&larger, &baseline, None, 1.1), Ok(3.0));
        let python = |cpu_millis| {
            let mut run = run("python");
            run.task.subject = Subject::Guest { bundle: Digest::of(b"python"), recipe: None };
            run.work = Work { cpu_millis, gpu_millis: 0 };
            run
        };
        let calibrator = python(1000);
        let ratio = |millis| work_ratio(&python(millis), &baseline, Some(&calibrator), 1.1).unwrap();
        assert_eq!((ratio(3000), ratio(1090), ratio(1200), ratio(500)), (3.0, 1.0, 1.2, 0.5));
        assert_eq!(work_ratio(&python(2000), &calibrator, None, 1.1), Ok(2.0));
        assert!(work_ratio(&python(1), &baseline, None, 1.1).is_err());
        assert!(work_ratio(&python(1), &baseline, Some(&python(0)), 1.1).is_err());
        assert!(work_ratio(&baseline, &calibrator, Some(&calibrator), 1.1).is_err());
    }
}
