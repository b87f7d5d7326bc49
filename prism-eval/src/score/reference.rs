//! Which of a candidate's runs answers which question.
use super::pairing::{Measured, PairingError, mean_bits_per_byte};
use prism_core::{
    Evidence, Finite, TaskId,
    evidence::RunOutcome,
    plan::{RunRole, Subject},
    submission::FailureClass,
};

/// Why an architecture has no tuned reference, or a recipe no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunsError {
    /// None of the runs is a reference run.
    #[error("no reference run")]
    NoReference,
    /// None of the runs is of its own recipe.
    #[error("no run of its own recipe")]
    NoRecipe,
    /// Two different runs where the plan has one.
    #[error("more than one run of {0}")]
    Ambiguous(String),
    /// Runs of different architectures.
    #[error("the runs are of more than one architecture")]
    Mixed,
    /// A run that ended before its time.
    #[error("{run} failed ({class:?}): {reason}")]
    Failed {
        /// Which.
        run: String,
        /// From the host's evidence.
        class: FailureClass,
        /// For people.
        reason: String,
    },
    /// A run whose rows can't be read.
    #[error("{run}: {error}")]
    Malformed {
        /// Which.
        run: String,
        /// Why.
        error: PairingError,
    },
    /// Numbers that no component takes.
    #[error("{run}: {why}")]
    Unreadable {
        /// Which.
        run: String,
        /// Why.
        why: String,
    },
    /// No rate of the grid completed.
    #[error("the reference recipe failed at every rate; the first: {0}")]
    NoRate(String),
}

/// The reference run that counts: the rate of the grid with the fewest mean prequential bits per byte, the lowest of
/// equal ones. Failed and malformed runs are passed over; `None` when nothing is left.
#[must_use]
pub fn tuned_reference(runs: &[Evidence]) -> Option<&Evidence> {
    ReferenceGrid::of(runs).ok().map(|grid| grid.best)
}

/// The run of the candidate's own recipe, if it completed.
#[must_use]
pub fn recipe_run(runs: &[Evidence]) -> Option<&Evidence> {
    runs.iter().find(|run| run.task.role == RunRole::Recipe && run.is_completed())
}

/// One architecture under the reference recipe, at each rate of the grid.
#[derive(Debug, Clone)]
pub(super) struct ReferenceGrid<'a> {
    /// Ascending rates; `None` where the run diverged.
    pub(super) rates: Vec<(Finite, Option<&'a Evidence>)>,
    /// See [`tuned_reference`].
    pub(super) best: &'a Evidence,
    /// Mean prequential bits per byte of `best`.
    pub(super) mean: Finite,
    /// What diverged, for people.
    pub(super) diverged: Vec<String>,
}

impl<'a> ReferenceGrid<'a> {
    /// A rate at which the subject itself fails (it diverges) is a bad rate; a run that failed for another reason
    /// leaves the grid incomplete, and an incomplete grid tunes nothing.
    pub(super) fn of(runs: &'a [Evidence]) -> Result<Self, RunsError> {
        Self::over(runs, "reference run", |role| match role {
            RunRole::Reference { rate } => Some(*rate),
            _ => None,
        })
    }

    /// The same of the small runs before all others.
    pub(super) fn of_trials(runs: &'a [Evidence]) -> Result<Self, RunsError> {
        Self::over(runs, "trial", |role| match role {
            RunRole::Trial { rate } => *rate,
            _ => None,
        })
    }

    fn over(runs: &'a [Evidence], what: &str, rate_of: impl Fn(&RunRole) -> Option<Finite>) -> Result<Self, RunsError> {
        one_architecture(runs)?;
        let found = runs.iter().filter_map(|run| Some((rate_of(&run.task.role)?, run)));
        let mut found: Vec<(Finite, &Evidence)> = found.collect();
        found.sort_by_key(|(rate, _)| *rate);
        let mut grid = Vec::new();
        let mut diverged = Vec::new();
        let mut best: Option<(Finite, &Evidence)> = None;
        let mut last = None;
        for (rate, run) in found {
            let name = format!("{what} at rate {rate}");
            if last == Some(rate) {
                return Err(RunsError::Ambiguous(name));
            }
            last = Some(rate);
            match &run.outcome {
                RunOutcome::Failed { class: FailureClass::MinerCode, reason } => {
                    diverged.push(format!("{name} failed: {reason}"));
                    grid.push((rate, None));
                }
                RunOutcome::Failed { class, reason } => {
                    return Err(RunsError::Failed { run: name, class: *class, reason: reason.clone() });
                }
                RunOutcome::Completed => {
                    let mean = mean_bits_per_byte(run, Measured::Prequential)
                        .map_err(|error| RunsError::Malformed { run: name, error })?
                        .mean;
                    grid.push((rate, Some(run)));
                    if best.is_none_or(|(least, _)| mean < least) {
                        best = Some((mean, run));
                    }
                }
            }
        }
        match best {
            Some((mean, best)) => Ok(Self { rates: grid, best, mean, diverged }),
            None => Err(diverged.into_iter().next().map_or(RunsError::NoReference, RunsError::NoRate)),
        }
    }

    /// Whether another was tuned over the same rates, as far as both had to climb.
    pub(super) fn same_rates(&self, other: &Self) -> bool {
        self.rates.iter().zip(&other.rates).all(|((rate, _), (other, _))| rate == other)
    }
}

/// The run of the candidate's own recipe.
pub(super) fn own_recipe(runs: &[Evidence]) -> Result<&Evidence, RunsError> {
    let mut own = runs.iter().filter(|run| run.task.role == RunRole::Recipe);
    let run = own.next().ok_or(RunsError::NoRecipe)?;
    if own.next().is_some() {
        return Err(RunsError::Ambiguous("its own recipe".into()));
    }
    completed(run, "run of its own recipe")?;
    Ok(run)
}

/// A run and its repeats under other seeds, in order of their index.
pub(super) fn with_repeats<'a>(runs: &'a [Evidence], run: &'a Evidence) -> Result<Vec<&'a Evidence>, RunsError> {
    let of: TaskId = run.task.id();
    let mut repeats: Vec<(u32, &Evidence)> = Vec::new();
    for other in runs {
        match other.task.role {
            RunRole::Repeat { of: repeated, index } if repeated == of => repeats.push((index, other)),
            _ => {}
        }
    }
    repeats.sort_by_key(|(index, _)| *index);
    let mut all = vec![run];
    let mut last = None;
    for (index, repeat) in repeats {
        let name = format!("repeat {index}");
        if last == Some(index) {
            return Err(RunsError::Ambiguous(name));
        }
        last = Some(index);
        completed(repeat, &name)?;
        all.push(repeat);
    }
    Ok(all)
}

/// A run and its repeats under other seeds, in order of their index; the run alone where repeats are ambiguous or one
/// failed.
#[must_use]
pub fn runs_of<'a>(runs: &'a [Evidence], run: &'a Evidence) -> Vec<&'a Evidence> {
    with_repeats(runs, run).unwrap_or_else(|_| vec![run])
}

pub(super) fn completed(run: &Evidence, name: &str) -> Result<(), RunsError> {
    match &run.outcome {
        RunOutcome::Completed => Ok(()),
        RunOutcome::Failed { class, reason } => {
            Err(RunsError::Failed { run: name.to_owned(), class: *class, reason: reason.clone() })
        }
    }
}

fn one_architecture(runs: &[Evidence]) -> Result<(), RunsError> {
    // A bundle with hooks of its own has another digest than its architecture alone, and a declared architecture has
    // another one at each probe.
    let base = runs.iter().filter(|run| !matches!(run.task.role, RunRole::ScalingProbe { .. }));
    let mut architectures = base.filter_map(|run| match &run.task.subject {
        Subject::Native { graph, .. } => Some(graph),
        Subject::Guest { bundle, recipe: Some(_) } => Some(bundle),
        _ => None,
    });
    let first = architectures.next();
    if architectures.any(|architecture| Some(architecture) != first) { Err(RunsError::Mixed) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fixture::{failed, grid, recipe, repeat, run};

    #[test]
    fn the_rate_with_the_fewest_bits_counts_and_a_diverged_one_is_passed_over() {
        let mut runs = grid("graph", &[(1.0, 4.0), (3.0, 3.5), (10.0, 3.9)]);
        let rate = |runs: &[Evidence]| tuned_reference(runs).unwrap().task.role.clone();
        let three = RunRole::Reference { rate: Finite::new(3.0).unwrap() };
        assert_eq!(rate(&runs), three);
        runs.reverse();
        assert_eq!(rate(&runs), three);
        let one = RunRole::Reference { rate: Finite::ONE };
        let runs = [runs[2].clone(), failed(&runs[1], FailureClass::MinerCode)];
        assert_eq!(rate(&runs), one);
        assert_eq!(ReferenceGrid::of(&runs).unwrap().diverged.len(), 1);
    }

    #[test]
    fn a_grid_that_was_not_measured_through_tunes_nothing() {
        let mut runs = grid("graph", &[(1.0, 4.0), (3.0, 3.5)]);
        runs[1] = failed(&runs[1], FailureClass::Infrastructure);
        assert!(matches!(ReferenceGrid::of(&runs), Err(RunsError::Failed { .. })));
        let all = runs.iter().map(|run| failed(run, FailureClass::MinerCode)).collect::<Vec<_>>();
        assert!(matches!(ReferenceGrid::of(&all), Err(RunsError::NoRate(_))));
        assert!(matches!(ReferenceGrid::of(&[]), Err(RunsError::NoReference)));
        let twice = [runs[0].clone(), runs[0].clone()];
        assert!(matches!(ReferenceGrid::of(&twice), Err(RunsError::Ambiguous(_))));
        let mixed = [runs[0].clone(), grid("other", &[(3.0, 1.0)]).remove(0)];
        assert!(matches!(ReferenceGrid::of(&mixed), Err(RunsError::Mixed)));
    }

    #[test]
    fn repeats_are_found_by_the_task_they_repeat_and_a_failed_one_is_not_hidden() {
        let own = recipe(&run("graph"), 3.0);
        let runs = [repeat(&own, 2, 3.2), own.clone(), repeat(&own, 1, 3.1), repeat(&run("graph"), 1, 9.0)];
        let found = with_repeats(&runs, &own).unwrap();
        assert_eq!(found, [&runs[1], &runs[2], &runs[0]]);
        assert_eq!(own_recipe(&runs).unwrap(), &own);
        let runs = [own.clone(), failed(&runs[2], FailureClass::Resource)];
        assert!(matches!(with_repeats(&runs, &own), Err(RunsError::Failed { .. })));
        assert!(own_recipe(&[failed(&own, FailureClass::MinerCode)]).is_err());
    }
}
