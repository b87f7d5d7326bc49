//! From evidence to score cards and standings: a measured cohort is settled in one transaction.
use super::{Validator, material::GRAPH};
use crate::store::{
    cohorts::{CohortStatus, Entrant, EntrantRole},
    runs::RunStatus,
    scores::Settlement,
    submissions::Reason,
};
use prism_core::{
    Block, Epoch, Error, Evidence, Fault, Kind, Result, Retry, ScoreCard, Standings, SubmissionId,
    artifacts::ArtifactsExt,
    evidence::RunOutcome,
    observer::Event,
    plan::RunRole,
    scorer::{Candidate, Round},
    submission::SubmissionStatus,
};
use prism_eval::{
    graph::{Limits, MAX_CANONICAL_BYTES, ResolvedGraph, class},
    policy::RewardNumbers,
};
use std::{collections::BTreeMap, time::Duration};

impl Validator {
    /// Scores the seeded cohort when none of its runs is due any more. Whether it was settled.
    pub(super) async fn settle_step(&self) -> Result<bool> {
        let parts = &self.0;
        let seeded = parts.store.unsettled_cohort().await?.filter(|c| c.status == CohortStatus::Seeded);
        let Some(cohort) = seeded else { return Ok(false) };
        if !parts.store.due_runs(cohort.number).await?.is_empty() {
            return Ok(false);
        }
        let again = parts.store.retry_baselines(cohort.number).await?;
        if again > 0 {
            let text = format!("{again} runs of baselines were given up; without them nobody can be scored");
            let error = Error::new(Kind::Unavailable, Fault::Infrastructure, text);
            return Err(error.retry(Retry::After(Duration::from_secs(300))));
        }
        let policy = cohort.policy.clone().unwrap_or_default();
        let entrants = parts.store.entrants(cohort.number).await?;
        let mut evidence = parts.store.evidence(cohort.number).await?;
        // A plan of which the machine left nothing but trials is no plan that its trials ended.
        for entrant in entrants.iter().filter(|entrant| entrant.role == EntrantRole::Candidate) {
            let runs = evidence.get(&entrant.submission).map(Vec::as_slice).unwrap_or_default();
            let trials = runs.iter().all(|run| matches!(run.task.role, RunRole::Trial { .. }));
            if trials && self.gave_up(cohort.number, entrant.submission).await?.is_some() {
                evidence.remove(&entrant.submission);
            }
        }
        let candidates = candidates(&entrants, &evidence, |role| role != EntrantRole::Baseline);
        let baselines = candidates_of_baselines(&entrants, &evidence);
        let round = Round::new(Epoch(cohort.number), &policy.numbers, &candidates, &baselines);
        let cards = parts.scorer.score(&round)?;
        check_cards(&candidates, &cards)?;

        let block = parts.chain.head().await?.finalized;
        let mut standings = parts.store.standings().await?;
        let reward = RewardNumbers::from_numbers(&policy.numbers)?;
        // Whole blocks; what is more than a number holds is no window.
        let window = block.0.saturating_sub(reward.trials_window.get() as u64);
        let mut outcomes = Vec::new();
        let with_cards = entrants.iter().filter(|e| e.role != EntrantRole::Baseline).zip(&cards);
        for (entrant, card) in with_cards {
            if card.eligible {
                let hotkey = entrant.precedence.hotkey;
                let trials = parts.store.tries(hotkey, entrant.family, Block(window)).await?;
                standings.record(card, hotkey, entrant.precedence, block, trials);
                self.classify(&mut standings, entrant).await?;
            }
            if entrant.role == EntrantRole::Candidate {
                let runs = evidence.get(&entrant.submission).map(Vec::as_slice).unwrap_or_default();
                let (status, reason) = self.outcome(cohort.number, card, runs).await?;
                outcomes.push((entrant.submission, status, reason));
            }
        }
        let slots = standings.confirmed(reward.least_confirmations()).slots(reward.margin, reward.z);
        for (submission, status, _) in &outcomes {
            parts.observer.on(&Event::Phase { submission: *submission, phase: status.as_str() });
        }
        let settlement = Settlement { cards, outcomes, standings, slots };
        parts.store.settle_cohort(cohort.number, settlement, parts.clock.now()).await?;
        tracing::info!(cohort = cohort.number, "cohort settled");
        self.write_manifests().await;
        Ok(true)
    }

    /// Says of a declared family what its operators make it, once it has shown something.
    async fn classify(&self, standings: &mut Standings, entrant: &Entrant) -> Result<()> {
        let facts = standings.families.entry(entrant.family).or_default();
        let Some(graph) = entrant.material.get(GRAPH).filter(|_| facts.class.is_none()) else { return Ok(()) };
        let bytes = self.0.artifacts.read(*graph, MAX_CANONICAL_BYTES as u64).await?;
        // It was resolved within the limits of the plan that it was measured under; today's may be others.
        facts.class = ResolvedGraph::from_canonical_bytes(&bytes, &Limits::default()).ok().map(|graph| class(&graph));
        Ok(())
    }

    /// Why the machine gave up a run of a submission, if it did.
    async fn gave_up(&self, cohort: u64, submission: SubmissionId) -> Result<Option<String>> {
        let runs = self.0.store.runs(cohort, submission).await?;
        Ok(runs.into_iter().filter(|run| run.status == RunStatus::Abandoned).find_map(|run| run.error))
    }

    /// What becomes of a submission: measured, failed by its own doing, or failed for lack of a machine.
    async fn outcome(
        &self,
        cohort: u64,
        card: &ScoreCard,
        runs: &[Evidence],
    ) -> Result<(SubmissionStatus, Option<Reason>)> {
        if card.total.is_some() {
            return Ok((SubmissionStatus::Completed, None));
        }
        let failed = runs.iter().find_map(|run| match &run.outcome {
            RunOutcome::Failed { class, reason } => Some(Reason::new(format!("run.{}", class.as_str()), reason)),
            RunOutcome::Completed => None,
        });
        let abandoned = self.gave_up(cohort, card.submission).await?;
        let reason = failed
            .or_else(|| abandoned.map(|error| Reason::new("run.infrastructure", error)))
            .unwrap_or_else(|| Reason::new("score.none", card.reasons.join("; ")));
        Ok((SubmissionStatus::Failed, Some(reason)))
    }
}

fn candidates<'a>(
    entrants: &[Entrant],
    evidence: &'a BTreeMap<SubmissionId, Vec<Evidence>>,
    wanted: impl Fn(EntrantRole) -> bool,
) -> Vec<Candidate<'a>> {
    let chosen = entrants.iter().filter(|entrant| wanted(entrant.role));
    chosen
        .map(|entrant| Candidate {
            submission: entrant.submission,
            kind: entrant.kind,
            precedence: entrant.precedence,
            family: entrant.family,
            runs: evidence.get(&entrant.submission).map(Vec::as_slice).unwrap_or_default(),
            incumbent: entrant.role == EntrantRole::Incumbent,
        })
        .collect()
}

fn candidates_of_baselines<'a>(
    entrants: &[Entrant],
    evidence: &'a BTreeMap<SubmissionId, Vec<Evidence>>,
) -> Vec<Candidate<'a>> {
    candidates(entrants, evidence, |role| role == EntrantRole::Baseline)
}

/// A scorer of somebody else's may break its contract; money hangs on it.
fn check_cards(candidates: &[Candidate<'_>], cards: &[ScoreCard]) -> Result<()> {
    let named = candidates.iter().map(|c| c.submission).eq(cards.iter().map(|card| card.submission));
    let in_range = |card: &ScoreCard| card.total.is_none_or(|total| (0.0..=1.0).contains(&total.get()));
    if named && cards.iter().all(in_range) {
        return Ok(());
    }
    Err(Error::bug("the scorer broke its contract: one card for each candidate, in order, totals in [0, 1]"))
}
