//! What a title needs besides an advantage: that it holds at a larger budget.
use super::{
    hardest::{Rival, over_the_hardest},
    reference::RunsError,
};
use crate::policy::ScoreNumbers;
use prism_core::{
    Evidence, Finite, TaskId,
    evidence::{Estimate, RunOutcome},
    plan::RunRole,
};

/// The same run with a larger budget.
pub(super) fn at_large_budget<'a>(runs: &'a [Evidence], run: &Evidence) -> Result<Option<&'a Evidence>, RunsError> {
    let of: TaskId = run.task.id();
    let repeats =
        |other: &&Evidence| matches!(other.task.role, RunRole::LargeBudget { of: repeated, .. } if repeated == of);
    let mut found = runs.iter().filter(repeats);
    let first = found.next();
    if found.next().is_some() { Err(RunsError::Ambiguous("the larger budget".into())) } else { Ok(first) }
}

/// What a larger budget says of an advantage.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Confirmation {
    /// The advantage there, of the same sign.
    Holds(Estimate),
    /// No advantage: the lesser of the two, at most zero, with the reason.
    Lost(Estimate, String),
    /// Nobody knows yet, and why.
    Waits(String),
}

/// Compares a run at a larger budget with the hardest rival there. `base` is the advantage at the base budget: gains by
/// rates, priors and replay are largest at small budgets, so only one that is there at both counts, and it counts as much
/// as at the larger one.
pub(super) fn confirm(
    base: Estimate,
    large: Option<&Evidence>,
    rivals: &[Rival<'_>],
    calibrator: Option<&Evidence>,
    numbers: ScoreNumbers,
) -> Confirmation {
    let Some(large) = large else { return Confirmation::Waits("it was not run".into()) };
    let least = |other: Finite| Estimate { mean: base.mean.min(other).min(Finite::ZERO), ..base };
    match &large.outcome {
        RunOutcome::Completed => {}
        RunOutcome::Failed { class, reason } if class.is_subjects() => {
            return Confirmation::Lost(least(Finite::ZERO), format!("{}: {reason}", class.as_str()));
        }
        RunOutcome::Failed { reason, .. } => return Confirmation::Waits(reason.clone()),
    }
    match over_the_hardest(large, rivals, calibrator, numbers) {
        Ok(there) if there.mean > Finite::ZERO && base.mean > Finite::ZERO => Confirmation::Holds(there),
        Ok(there) => {
            let text =
                format!("{:+.4} bits per byte at the base budget, {:+.4} there", base.mean.get(), there.mean.get());
            Confirmation::Lost(least(there.mean), text)
        }
        Err(why) => Confirmation::Waits(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{
        fixture::{failed, grid, large},
        work::WorkCurve,
    };
    use prism_core::submission::FailureClass;

    fn estimate(mean: f64) -> Estimate {
        Estimate { mean: Finite::new(mean).unwrap(), standard_error: Finite::ZERO }
    }

    #[test]
    fn only_an_advantage_at_both_budgets_counts_and_it_counts_as_at_the_larger() {
        let of = |graph, bits| large(&grid(graph, &[(1.0, 4.0)])[0], 4, bits);
        let (gpt, free) = (of("gpt", 3.5), WorkCurve::default());
        let judge = |base: f64, run: Option<&Evidence>| {
            let rivals = [Rival { run: &gpt, work: &free }];
            confirm(estimate(base), run, &rivals, None, ScoreNumbers::default())
        };
        let Confirmation::Holds(there) = judge(0.5, Some(&of("new", 3.25))) else { panic!("not confirmed") };
        assert!((there.mean.get() - 0.2).abs() < 1e-9, "the larger budget's, not the base's: {there:?}");
        let lost = |confirmation| match confirmation {
            Confirmation::Lost(advantage, _) => advantage.mean.get(),
            other => panic!("{other:?}"),
        };
        assert!((lost(judge(0.5, Some(&of("new", 3.75)))) + 0.2).abs() < 1e-9);
        assert_eq!(lost(judge(-0.5, Some(&of("new", 3.25)))), -0.5);
        assert_eq!(lost(judge(0.5, Some(&failed(&of("new", 3.25), FailureClass::MinerCode)))), 0.0);
        let machine = failed(&of("new", 3.25), FailureClass::Infrastructure);
        for unknown in [None, Some(&machine)] {
            assert!(matches!(judge(0.5, unknown), Confirmation::Waits(_)));
        }
    }

    #[test]
    fn the_larger_run_is_found_by_the_task_that_it_repeats() {
        let runs = grid("new", &[(1.0, 4.0), (3.0, 3.5)]);
        let larger = large(&runs[1], 4, 3.0);
        let all = [runs[0].clone(), larger.clone()];
        assert_eq!(at_large_budget(&all, &runs[1]).unwrap(), Some(&larger));
        assert_eq!(at_large_budget(&all, &runs[0]).unwrap(), None);
        assert!(at_large_budget(&[larger.clone(), larger], &runs[1]).is_err());
    }
}
