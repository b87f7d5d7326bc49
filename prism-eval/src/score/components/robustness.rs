//! Whether an architecture is better only where it was tuned.
use super::{Read, counted, reading, scaling::Share};
use crate::{
    policy::ScoreNumbers,
    score::{
        pairing::{Measured, paired_over_seeds},
        reference::ReferenceGrid,
    },
};

/// The advantage at each rate of the grid over the baseline at the same rate, and at each probe of sequence and batch
/// over the baseline there, capped, and averaged: `1/2 + 1/2 · mean of clamp(advantage / scale, -1, 1)`. A rate at which
/// the subject alone diverged counts as the baseline's full advantage; one at which the baseline did, as none, for there
/// is nothing to compare with. A probe may lift it only with an advantage at the base (`ahead`): to be stable and worse is
/// no idea.
pub(in crate::score) fn robustness(
    subject: &ReferenceGrid<'_>,
    baseline: &ReferenceGrid<'_>,
    stability: &[Share],
    ahead: bool,
    numbers: &ScoreNumbers,
) -> Read {
    let scale = numbers.scale.get();
    let (mut sum, mut errors, mut rates) = (0.0, 0.0, 0.0);
    for ((_, subject), (_, baseline)) in subject.rates.iter().zip(&baseline.rates) {
        rates += 1.0;
        match (subject, baseline) {
            (Some(subject), Some(baseline)) => {
                let deviation = numbers.seed_deviation;
                let advantage = paired_over_seeds(&[subject], &[baseline], Measured::Prequential, deviation)
                    .map_err(|error| error.to_string())?;
                sum += (counted(advantage, numbers) / scale).clamp(-1.0, 1.0);
                errors += advantage.standard_error.get() / scale;
            }
            (None, Some(_)) => sum -= 1.0,
            (_, None) => {}
        }
    }
    for share in stability {
        rates += 1.0;
        sum += if ahead { share.value } else { share.value.min(0.0) };
        errors += share.error;
    }
    if rates == 0.0 {
        return Err("no rates".into());
    }
    reading(0.5 + 0.5 * sum / rates, 0.5 * errors / rates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fixture::{failed, grid};
    use prism_core::submission::FailureClass;

    #[test]
    fn an_architecture_that_is_better_at_one_rate_only_is_not_robust() {
        let baseline = grid("baseline", &[(1.0, 4.0), (3.0, 3.5), (10.0, 3.6)]);
        let baseline = ReferenceGrid::of(&baseline).unwrap();
        let value = |runs: &[prism_core::Evidence]| {
            let subject = ReferenceGrid::of(runs).unwrap();
            robustness(&subject, &baseline, &[], true, &ScoreNumbers::default()).unwrap().value.get()
        };
        assert!((value(&grid("subject", &[(1.0, 4.0), (3.0, 3.0), (10.0, 4.6)])) - 0.5).abs() < 1e-9);
        let mut runs = grid("subject", &[(1.0, 3.0), (3.0, 3.0), (10.0, 3.0)]);
        assert!((value(&runs) - 1.0).abs() < 1e-9);
        runs[2] = failed(&runs[2], FailureClass::MinerCode);
        assert!((value(&runs) - (0.5 + 0.5 / 3.0)).abs() < 1e-9);
    }

    #[test]
    fn a_baseline_that_diverges_pays_nobody() {
        let mut runs = grid("baseline", &[(1.0, 4.0), (3.0, 3.5)]);
        runs[1] = failed(&runs[1], FailureClass::MinerCode);
        let (baseline, subject) = (ReferenceGrid::of(&runs).unwrap(), grid("subject", &[(1.0, 4.0), (3.0, 3.0)]));
        let subject = ReferenceGrid::of(&subject).unwrap();
        assert_eq!(robustness(&subject, &baseline, &[], true, &ScoreNumbers::default()).unwrap().value.get(), 0.5);
    }

    #[test]
    fn a_probe_counts_as_much_as_a_rate_and_lifts_nobody_who_is_not_ahead() {
        let runs = grid("any", &[(1.0, 4.0)]);
        let grid = ReferenceGrid::of(&runs).unwrap();
        let value = |probe: f64, ahead: bool| {
            let probe = Share { value: probe, error: 0.0 };
            robustness(&grid, &grid, &[probe], ahead, &ScoreNumbers::default()).unwrap().value.get()
        };
        assert_eq!((value(1.0, true), value(1.0, false), value(-1.0, false)), (0.75, 0.5, 0.25));
    }
}
