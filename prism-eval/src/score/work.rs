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
use std::collections::BTreeMap;

/// What a baseline gains, in bits per byte, by working more than once per batch.
#[derive(Debug, Clone, Default)]
pub(super) struct WorkCurve {
    /// Ascending `ln` of the work; the gains never fall, because who works more may also leave it.
    prequential: Vec<(f64, Estimate)>,
    held_out: Vec<(f64, Estimate)>,
}

const NOTHING: Estimate = Estimate { mean: Finite::ZERO, standard_error: Finite::ZERO };

impl WorkCurve {
    /// The curve of the runs that repeat `seeds` (a run and its repeats) with more steps per batch, averaged over them;
    /// without any, more work buys nothing. `seed_deviation` is a run's over seeds, where fewer than three tell it.
    pub(super) fn of(runs: &[Evidence], seeds: &[&Evidence], seed_deviation: Finite) -> Result<Self, RunsError> {
        let seeds: BTreeMap<TaskId, &Evidence> = seeds.iter().map(|run| (run.task.id(), *run)).collect();
        let mut more: BTreeMap<u32, Vec<(&Evidence, &Evidence)>> = BTreeMap::new();
        for other in runs {
            if let RunRole::Work { of, inner_steps } = other.task.role
                && let Some(once) = seeds.get(&of)
            {
                more.entry(inner_steps).or_default().push((other, once));
            }
        }
        let mut curve = Self::default();
        for (inner_steps, pairs) in more {
            let name = format!("run of {inner_steps} steps per batch");
            let (mut prequential, mut held_out) = (Vec::new(), Vec::new());
            for (other, once) in pairs {
                completed(other, &name)?;
                let malformed = |error: PairingError| RunsError::Malformed { run: name.clone(), error };
                prequential.push(paired_difference(other, once, Measured::Prequential).map_err(malformed)?);
                if once.held_out.is_some() {
                    held_out.push(paired_difference(other, once, Measured::HeldOut).map_err(malformed)?);
                }
            }
            let work = f64::from(inner_steps.max(1)).ln();
            for (points, gains) in [(&mut curve.prequential, prequential), (&mut curve.held_out, held_out)] {
                if let Some(gain) = mean_over_seeds(&gains, seed_deviation) {
                    push(points, work, gain);
                }
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

/// Mean of the seeds' gains. The rows are the same under every seed, so that their errors do not shrink with more of
/// them: `se² = (mean of the errors)² + s² / n`, with `s` the gains' deviation over three or more seeds. A gain is a
/// difference of two runs, so fewer take twice the variance of one.
fn mean_over_seeds(gains: &[Estimate], seed_deviation: Finite) -> Option<Estimate> {
    if gains.is_empty() {
        return None;
    }
    let count = gains.len() as f64;
    let mean = gains.iter().map(|gain| gain.mean.get()).sum::<f64>() / count;
    let rows = gains.iter().map(|gain| gain.standard_error.get()).sum::<f64>() / count;
    let variance = match gains.len() {
        0..=2 => 2.0 * seed_deviation.get() * seed_deviation.get(),
        _ => gains.iter().map(|gain| (gain.mean.get() - mean).powi(2)).sum::<f64>() / (count - 1.0),
    };
    let error = Finite::new(rows.hypot((variance / count).sqrt()))?;
    Some(Estimate { mean: Finite::new(mean)?, standard_error: error })
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
    use crate::score::fixture::{repeat, run, with_points, worked};
    use prism_core::{Digest, evidence::Work};

    const START: [&[f64]; 2] = [&[8.0, 8.0], &[4.0, 4.0]];

    fn curve(gains: &[(u32, f64)]) -> WorkCurve {
        let once = with_points(&run("baseline"), &START);
        let more = gains.iter().map(|(steps, gain)| {
            with_points(&worked(&once, *steps), &[&[8.0 - gain, 8.0 - gain], &[4.0 - gain, 4.0 - gain]])
        });
        let runs: Vec<Evidence> = [once.clone()].into_iter().chain(more).collect();
        WorkCurve::of(&runs, &[&once], Finite::ZERO).unwrap()
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
    fn a_gain_is_the_mean_over_seeds_with_the_error_of_their_scatter() {
        let once = with_points(&run("baseline"), &START);
        let seeds: Vec<Evidence> = [once.clone()]
            .into_iter()
            .chain([1, 2].map(|index| with_points(&repeat(&once, index, 4.0), &START)))
            .collect();
        let gains = [0.25, 0.5, 0.75];
        let more = seeds
            .iter()
            .zip(gains)
            .map(|(seed, gain)| with_points(&worked(seed, 2), &[&[8.0 - gain, 8.0 - gain], &[4.0 - gain, 4.0 - gain]]));
        let runs: Vec<Evidence> = seeds.iter().cloned().chain(more).collect();
        let of = |seeds: &[&Evidence], deviation: f64| {
            let curve = WorkCurve::of(&runs, seeds, Finite::new(deviation).unwrap()).unwrap();
            let gain = curve.gain(Measured::Prequential, 2.0);
            (gain.mean.get(), gain.standard_error.get())
        };
        let all: Vec<&Evidence> = seeds.iter().collect();
        // Deviation 0.25 over three seeds.
        let (mean, error) = of(&all, 9.0);
        assert!((mean - 0.5).abs() < 1e-12 && (error - 0.25 / 3f64.sqrt()).abs() < 1e-12, "{mean} {error}");
        // One seed alone knows nothing of its luck.
        let (mean, error) = of(&[&seeds[0]], 0.1);
        assert!((mean - 0.25).abs() < 1e-12 && (error - 0.02f64.sqrt()).abs() < 1e-12, "{mean} {error}");
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
