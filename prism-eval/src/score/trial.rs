//! The small runs before all others: whether the rest of a plan is worth its work.
use super::{
    components::of_advantage,
    hardest::{Rival, hardest},
    pairing::{Measured, PairingError, paired_over_seeds},
    reference::{ReferenceGrid, RunsError},
    work::{WorkCurve, is_python},
};
use crate::policy::ScoreNumbers;
use prism_core::{
    Evidence, Finite, ScoreCard,
    evidence::{Estimate, RunOutcome},
    plan::RunRole,
    score::{Component, Track, TrackScore},
    scorer::{Candidate, Round},
    submission::SubmissionKind,
};
use std::collections::BTreeMap;

/// What trials showed on each track that a submission brings: the paired advantage over the hardest baseline's trial, and
/// for a recipe over the reference recipe on its own family where that is harder. Tracks whose trials all failed by the
/// submission's own doing are missing. Work has no price here: it is what the whole plan finds out.
///
/// # Errors
/// Trials that are missing, were not measured through, or not on the same rows and rates as the baselines'.
pub fn trial_advantages(
    kind: SubmissionKind,
    runs: &[Evidence],
    baselines: &[&[Evidence]],
    seed_deviation: Finite,
) -> Result<BTreeMap<Track, Estimate>, RunsError> {
    let mut tuned = Vec::new();
    for baseline in baselines {
        tuned.push(ReferenceGrid::of_trials(baseline)?);
    }
    // Beside a declared one, a baseline in Python is its twin.
    let declared = tuned.iter().any(|grid| !is_python(grid.best));
    let free = WorkCurve::default();
    let rivals: Vec<Rival<'_>> = tuned
        .iter()
        .filter(|grid| !(declared && is_python(grid.best)))
        .map(|grid| Rival { run: grid.best, work: &free })
        .collect();
    let (first, own) = (tuned.first().ok_or(RunsError::NoReference)?, ReferenceGrid::of_trials(runs));
    let own = match own {
        Ok(own) if own.same_rates(first) && own.rates.len() == first.rates.len() => Some(own),
        Ok(_) => return Err(RunsError::NoReference),
        Err(RunsError::NoRate(_)) => None,
        Err(error) => return Err(error),
    };
    let over = |subject: &Evidence, rivals: &[Rival<'_>]| {
        let name = || "trial".to_owned();
        let rival = hardest(rivals).ok_or(RunsError::NoReference)?;
        paired_over_seeds(&[subject], &[rival.run], Measured::Prequential, seed_deviation)
            .map_err(|error: PairingError| RunsError::Malformed { run: name(), error })
    };
    let mut advantages = BTreeMap::new();
    if let Some(own) = own.as_ref().filter(|_| kind.brings_architecture()) {
        advantages.insert(Track::Architecture, over(own.best, &rivals)?);
    }
    let recipe = runs.iter().find(|run| run.task.role == RunRole::Trial { rate: None });
    if let Some(run) = recipe.filter(|_| kind.brings_recipe()) {
        if run.is_completed() {
            let reference = own.as_ref().map(|own| Rival { run: own.best, work: &free });
            let rivals: Vec<Rival<'_>> = rivals.iter().copied().chain(reference).collect();
            advantages.insert(Track::Training, over(run, &rivals)?);
        } else if !failed_itself(run) {
            return Err(RunsError::NoRecipe);
        }
    }
    Ok(advantages)
}

/// Whether a run failed by its subject's own doing.
pub(super) fn failed_itself(run: &Evidence) -> bool {
    matches!(&run.outcome, RunOutcome::Failed { class, .. } if class.is_subjects())
}

/// Whether any track's confidence interval, `z` standard errors to each side, reaches above zero.
#[must_use]
pub fn reaches_above_zero(advantages: &BTreeMap<Track, Estimate>, z: Finite) -> bool {
    advantages.values().any(|advantage| advantage.mean.get() + z.get() * advantage.standard_error.get() > 0.0)
}

/// The card of a submission whose trials ended its plan: measured and below the baseline, without a title or reward.
pub(super) fn trial_card(
    candidate: &Candidate<'_>,
    round: &Round<'_>,
    scorer: &str,
    numbers: ScoreNumbers,
) -> Result<ScoreCard, RunsError> {
    let baselines = round.baselines.iter().filter(|baseline| !baseline.incumbent);
    let baselines: Vec<&[Evidence]> = baselines.map(|baseline| baseline.runs).collect();
    let advantages = trial_advantages(candidate.kind, candidate.runs, &baselines, numbers.seed_deviation)?;
    let reason = "the trial's advantage does not reach above zero: the rest of the plan was not run";
    let mut card = ScoreCard::without_total(candidate.submission, candidate.family, scorer, reason);
    let parts = [(Track::Architecture, numbers.architecture), (Track::Training, numbers.training)];
    let (mut total, mut error) = (0.5, 0.0);
    for (track, part) in parts {
        let Some(advantage) = advantages.get(&track).copied() else { continue };
        let unreadable = |why: String| RunsError::Unreadable { run: "trial".into(), why };
        let reading = of_advantage(advantage, &numbers).map_err(unreadable)?;
        total += part.get() * (reading.value.get() - 0.5);
        error += part.get() * reading.standard_error.get();
        let (value, standard_error) = (reading.value, reading.standard_error);
        let component = Component { value, share: Finite::ONE, standard_error };
        let components = BTreeMap::from([("trial".to_owned(), component)]);
        card.tracks.insert(track, TrackScore { quality: value, advantage, components });
    }
    if card.tracks.is_empty() {
        return Err(RunsError::NoReference);
    }
    card.total = Finite::new(total).map(|total| total.clamp(Finite::ZERO, Finite::ONE));
    card.standard_error = Finite::new(error);
    Ok(card)
}

/// Whether a submission's trials ended its plan: it has trials, and no run of the plan that follows them.
pub(super) fn ended_by_trial(runs: &[Evidence]) -> bool {
    let trial = |run: &Evidence| matches!(run.task.role, RunRole::Trial { .. });
    !runs.is_empty() && runs.iter().all(trial)
}
