//! The scorer of the prism subnet.
//!
//! **Architecture track** (70 %): the tuned reference, that is the best rate of the reference recipe's grid, paired
//! with the hardest published baseline, tuned alike. **Training track** (30 %): the submission's own recipe, paired
//! with the hardest of the tuned reference on the same family, the best baseline, and (for quality only) the family's
//! best earlier recipe. A track that a submission doesn't bring counts one half, what the baseline has.
//!
//! The advantage that a card carries, and that rewards fold into a frontier, is always over reference and baselines:
//! the frontier itself subtracts the best earlier work, and it must be subtracted once.
use super::{
    components::{
        Pair, Probes, Scaling, benchmark_sanity, completeness, compute_efficiency, health, held_out,
        learning_and_scaling, parameter_efficiency, reproducibility, robustness, scaling, stability,
    },
    confirmation::{Confirmation, at_large_budget, confirm},
    hardest::Rival,
    pairing::{Measured, PairingError, mean_bits_per_byte, pooled_deviation, same_rows},
    reference::{ReferenceGrid, RunsError, own_recipe, with_repeats},
    shares::{standard_error, weigh},
    trial::{ended_by_trial, failed_itself, trial_card},
    work::{WorkCurve, is_python, work_ratio},
};
use crate::policy::{ArchitectureShares, DiagnosticThresholds, PolicyError, ScoreNumbers, TrainingShares};
use prism_core::{
    Evidence, Finite, Result, ScoreCard, Scorer, SubmissionId,
    evidence::Estimate,
    plan::RunRole,
    score::{Track, TrackScore},
    scorer::{Candidate, Round},
    submission::Precedence,
};
use std::collections::BTreeMap;

/// The scorer of the prism subnet. Its numbers are [`ScoreNumbers`], read from the round.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrismScorer;

const NAME: &str = "prism";
const VERSION: u32 = 2;
const CARD: &str = "prism/2";
/// What a track that isn't there counts: the baseline.
const BASELINE: f64 = 0.5;

impl Scorer for PrismScorer {
    fn name(&self) -> &str {
        NAME
    }
    fn version(&self) -> u32 {
        VERSION
    }
    fn score(&self, round: &Round<'_>) -> Result<Vec<ScoreCard>> {
        let numbers = ScoreNumbers::from_numbers(round.policy)?;
        let thresholds = DiagnosticThresholds::from_numbers(round.policy)?;
        ArchitectureShares::from_numbers(round.policy)?;
        TrainingShares::from_numbers(round.policy)?;
        let field = Field::of(round, numbers);
        let card = |candidate: &Candidate<'_>| {
            let field = field.as_ref().map_err(Clone::clone);
            let card = field.and_then(|field| field.card(candidate, round, field.pooled(numbers), &thresholds));
            card.unwrap_or_else(|refusal| refusal.card(candidate, CARD, &numbers))
        };
        Ok(round.candidates.iter().map(card).collect())
    }
}

/// Why there is no total.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    reason: String,
    /// Whether the submission's own runs failed by its own doing.
    own: bool,
}

impl Refusal {
    pub(super) fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), own: false }
    }

    /// A card without a total; of an incumbent that failed by its own doing, a confirmation that showed nothing. Were it no
    /// confirmation, code that fails where it sees itself unlucky would keep only the lucky ones, and code that fails
    /// from some day on would keep its title for good.
    pub(super) fn card(self, candidate: &Candidate<'_>, scorer: &str, numbers: &ScoreNumbers) -> ScoreCard {
        let mut card = ScoreCard::without_total(candidate.submission, candidate.family, scorer, self.reason);
        if !(candidate.incumbent && self.own) {
            return card;
        }
        let advantage = Estimate { mean: Finite::ZERO, standard_error: numbers.seed_deviation };
        let nothing = TrackScore { quality: Finite::ZERO, advantage, components: BTreeMap::new() };
        if candidate.kind.brings_architecture() {
            card.tracks.insert(Track::Architecture, nothing.clone());
        }
        if candidate.runs.iter().any(|run| run.task.role == RunRole::Recipe) {
            card.tracks.insert(Track::Training, nothing);
        }
        card.total = Some(Finite::ZERO);
        card.eligible = eligible(candidate, true, numbers, &mut card.reasons);
        card
    }
}

impl From<RunsError> for Refusal {
    fn from(error: RunsError) -> Self {
        let own = match &error {
            RunsError::NoRate(_) => true,
            RunsError::Failed { class, .. } => class.is_subjects(),
            _ => false,
        };
        Self { reason: error.to_string(), own }
    }
}

impl From<PolicyError> for Refusal {
    fn from(error: PolicyError) -> Self {
        Self::new(error)
    }
}

impl From<PairingError> for Refusal {
    fn from(error: PairingError) -> Self {
        Self::new(error)
    }
}

/// What everybody is compared with: all published baselines, tuned. One that is missing would make the rest too easy
/// to beat, so then nobody has a total.
pub(super) struct Field<'a> {
    baselines: Vec<Tuned<'a>>,
    /// A baseline in Python, whose time stands for a baseline's work.
    calibrator: Option<Tuned<'a>>,
}

/// An architecture's tuned reference.
#[derive(Clone)]
pub(super) struct Tuned<'a> {
    key: (Finite, Precedence, SubmissionId),
    pub(super) grid: ReferenceGrid<'a>,
    pub(super) runs: Vec<&'a Evidence>,
    pub(super) work: WorkCurve,
    probes: Probes<'a>,
    /// With the budget at which titles are confirmed.
    large: Option<&'a Evidence>,
}

impl<'a> Tuned<'a> {
    pub(super) fn of(candidate: &Candidate<'a>, numbers: ScoreNumbers) -> Result<Self, RunsError> {
        let grid = ReferenceGrid::of(candidate.runs)?;
        let runs = with_repeats(candidate.runs, grid.best)?;
        let work = WorkCurve::of(candidate.runs, &runs, numbers.seed_deviation)?;
        let (probes, large) = (Probes::of(candidate.runs)?, at_large_budget(candidate.runs, grid.best)?);
        let key = (grid.mean, candidate.precedence, candidate.submission);
        Ok(Self { key, grid, runs, work, probes, large })
    }

    /// The reference on a candidate's family; where the family is another's, so is its failure.
    pub(super) fn of_candidate(candidate: &Candidate<'a>, numbers: ScoreNumbers) -> Result<Self, Refusal> {
        let own = candidate.kind.brings_architecture();
        Self::of(candidate, numbers).map_err(Refusal::from).map_err(|why| Refusal { own: why.own && own, ..why })
    }
}

impl<'a> Field<'a> {
    pub(super) fn of(round: &Round<'a>, numbers: ScoreNumbers) -> Result<Self, Refusal> {
        let mut baselines: Vec<_> = round.baselines.iter().filter(|baseline| !baseline.incumbent).collect();
        baselines.sort_by_key(|baseline| (baseline.precedence, baseline.submission));
        let baselines = baselines.into_iter().map(|baseline| {
            Tuned::of(baseline, numbers)
                .map_err(|error| Refusal::new(format!("baseline {}: {error}", baseline.family.short())))
        });
        let tuned: Vec<_> = baselines.collect::<Result<_, _>>()?;
        let (python, baselines): (Vec<_>, Vec<_>) = tuned.into_iter().partition(|tuned| is_python(tuned.grid.best));
        let calibrator = python.first().cloned();
        // Beside a declared one, a baseline in Python is its twin and tells no more than what work takes.
        let baselines = if baselines.is_empty() { python } else { baselines };
        if baselines.is_empty() {
            return Err(Refusal::new("no published baseline in the round"));
        }
        Ok(Self { baselines, calibrator })
    }

    /// The same numbers with the deviation over seeds as the baselines' repeats show it, if that is larger. Of the baselines
    /// alone: candidates that scatter on purpose would take everybody's advantage away.
    pub(super) fn pooled(&self, numbers: ScoreNumbers) -> ScoreNumbers {
        let groups: Vec<&[&Evidence]> = self.baselines.iter().map(|baseline| baseline.runs.as_slice()).collect();
        let pooled = pooled_deviation(&groups, Measured::Prequential).unwrap_or_default();
        ScoreNumbers { seed_deviation: numbers.seed_deviation.max(pooled), ..numbers }
    }

    /// The baseline with the fewest bits, once all were found to have seen the candidate's rows at the same rates.
    pub(super) fn hardest(&self, tuned: &Tuned<'_>) -> Result<&Tuned<'a>, Refusal> {
        for baseline in &self.baselines {
            same_rows(tuned.grid.best, baseline.grid.best, Measured::Prequential)?;
            if !tuned.grid.same_rates(&baseline.grid) {
                return Err(Refusal::new("the reference recipe was tuned over other rates than the baselines'"));
            }
        }
        let hardest = self.baselines.iter().min_by_key(|baseline| baseline.key);
        hardest.ok_or_else(|| Refusal::new("no published baseline in the round"))
    }

    /// How many times the work of what it is compared with a subject did.
    pub(super) fn work(&self, subject: &Evidence, against: &Evidence, numbers: ScoreNumbers) -> Result<f64, Refusal> {
        let calibrator = self.calibrator.as_ref().map(|tuned| tuned.grid.best);
        work_ratio(subject, against, calibrator, numbers.work_tolerance.get()).map_err(Refusal::new)
    }

    /// The probes of an architecture against those of the baselines.
    fn scaling(&self, tuned: &Tuned<'_>, numbers: ScoreNumbers, reasons: &mut Vec<String>) -> Scaling {
        let baselines: Vec<_> = self.baselines.iter().map(|baseline| (&baseline.probes, &baseline.work)).collect();
        let calibrator = self.calibrator.as_ref().map(|tuned| &tuned.probes);
        scaling(&tuned.probes, &baselines, calibrator, numbers, reasons)
    }

    /// What the larger budget says of a title, where it is part of the plan: each track's advantage there over the hardest of
    /// all baselines, and for a recipe of the reference on its own family too. Whether all is known.
    pub(super) fn confirm<'s>(
        &'s self,
        tracks: &mut BTreeMap<Track, TrackScore>,
        (tuned, hardest, own): (&'s Tuned<'a>, &'s Tuned<'a>, Option<&Evidence>),
        runs: &'s [Evidence],
        numbers: ScoreNumbers,
        reasons: &mut Vec<String>,
    ) -> Result<bool, Refusal> {
        if self.baselines.iter().all(|baseline| baseline.large.is_none()) {
            return Ok(true);
        }
        let completed = |baseline: &'s Tuned<'a>| {
            let run = baseline.large.filter(|run| run.is_completed())?;
            Some(Rival { run, work: &baseline.work })
        };
        let mut rivals: Vec<_> = self.baselines.iter().filter_map(completed).collect();
        if rivals.len() < self.baselines.len() {
            reasons.push("not confirmed: a baseline was not measured through at the larger budget".into());
            return Ok(false);
        }
        let calibrator = self.calibrator.as_ref().and_then(|tuned| tuned.large);
        let mut known = true;
        for (track, score) in tracks {
            let large = match (track, own) {
                (Track::Training, Some(own)) => at_large_budget(runs, own)?,
                _ => tuned.large,
            };
            if *track == Track::Training {
                match tuned.large {
                    Some(run) if run.is_completed() => rivals.push(Rival { run, work: &hardest.work }),
                    Some(run) if failed_itself(run) => {
                        score.advantage.mean = score.advantage.mean.min(Finite::ZERO);
                        reasons.push("training: the reference recipe failed on its family at the larger budget".into());
                        continue;
                    }
                    _ => {
                        known = false;
                        reasons.push("training: the reference recipe was not measured at the larger budget".into());
                        continue;
                    }
                }
            }
            match confirm(score.advantage, large, &rivals, calibrator, numbers) {
                Confirmation::Holds(there) => score.advantage = there,
                Confirmation::Lost(there, why) => {
                    score.advantage = there;
                    reasons.push(format!("{}: the larger budget does not confirm it: {why}", name(*track)));
                }
                Confirmation::Waits(why) => {
                    known = false;
                    reasons.push(format!("{}: not confirmed at the larger budget: {why}", name(*track)));
                }
            }
        }
        Ok(known)
    }

    fn card(
        &self,
        candidate: &Candidate<'_>,
        round: &Round<'_>,
        numbers: ScoreNumbers,
        thresholds: &DiagnosticThresholds,
    ) -> Result<ScoreCard, Refusal> {
        if ended_by_trial(candidate.runs) {
            return trial_card(candidate, round, CARD, numbers).map_err(Refusal::from);
        }
        let tuned = Tuned::of_candidate(candidate, numbers)?;
        let hardest = self.hardest(&tuned)?;
        let own = brought_recipe(candidate)?;
        let mut reasons = tuned.grid.diverged.clone();
        let mut tracks = BTreeMap::new();
        if candidate.kind.brings_architecture() {
            let work = self.work(tuned.grid.best, hardest.grid.best, numbers)?;
            let scaling = self.scaling(&tuned, numbers, &mut reasons);
            let rules = (numbers, thresholds);
            let score = architecture(&tuned, hardest, work, &scaling, rules, round.policy, &mut reasons)?;
            tracks.insert(Track::Architecture, score);
        } else {
            reasons.push("no architecture of its own: that track counts as the baseline".into());
        }
        if let Some(own) = own {
            let own = with_repeats(candidate.runs, own)?;
            let earlier = earlier_recipe(candidate, round);
            let anchor = if hardest.grid.mean < tuned.grid.mean { hardest } else { &tuned };
            let head = own.first().copied().ok_or(PairingError::Empty("by the subject"))?;
            let work = self.work(head, anchor.grid.best, numbers)?;
            let price = Price { work, curve: &hardest.work };
            tracks
                .insert(Track::Training, training(&own, anchor, price, &earlier, numbers, round.policy, &mut reasons)?);
        } else {
            reasons.push("no recipe of its own: that track counts as the baseline".into());
        }
        let of =
            |track| tracks.get(&track).map_or((BASELINE, 0.0), |score| (score.quality.get(), standard_error(score)));
        let (architecture, training) = (of(Track::Architecture), of(Track::Training));
        let (a, t) = (numbers.architecture.get(), numbers.training.get());
        let total = Finite::new(BASELINE + a * (architecture.0 - BASELINE) + t * (training.0 - BASELINE))
            .map(|total| total.clamp(Finite::ZERO, Finite::ONE));
        let confirmed = !candidate.incumbent
            || self.confirm(&mut tracks, (&tuned, hardest, own), candidate.runs, numbers, &mut reasons)?;
        let eligible = eligible(candidate, total.is_some() && confirmed, &numbers, &mut reasons);
        let mut bits: Vec<_> = [Some(tuned.grid.best), own]
            .into_iter()
            .flatten()
            .filter_map(|run| mean_bits_per_byte(run, Measured::Prequential).ok())
            .collect();
        bits.sort_by_key(|estimate| estimate.mean);
        Ok(ScoreCard {
            submission: candidate.submission,
            family: candidate.family,
            scorer: CARD.to_owned(),
            total,
            standard_error: Finite::new(a * architecture.1 + t * training.1),
            bits_per_byte: bits.first().copied(),
            tracks,
            eligible,
            reasons,
        })
    }
}

/// The run of the candidate's own recipe, if it brings one.
pub(super) fn brought_recipe<'a>(candidate: &Candidate<'a>) -> Result<Option<&'a Evidence>, RunsError> {
    match own_recipe(candidate.runs) {
        _ if !candidate.kind.brings_recipe() => Ok(None),
        // A full bundle may leave training to the reference recipe.
        Err(RunsError::NoRecipe) if candidate.kind.brings_architecture() => Ok(None),
        own => own.map(Some),
    }
}

/// Whether rewards may follow from a card, and why not. `known`: there is a total, and it is known whether the advantage
/// holds at the larger budget.
pub(super) fn eligible(
    candidate: &Candidate<'_>,
    known: bool,
    numbers: &ScoreNumbers,
    reasons: &mut Vec<String>,
) -> bool {
    // Its rows after the failure are its own: they are compared unpaired, and a title needs a clean repeat.
    let resumed = candidate.runs.iter().any(|run| run.resumed > 0);
    let unofficial = candidate.runs.iter().find(|run| !run.task.mode.is_official());
    let unofficial = unofficial.filter(|_| !numbers.pays_smoke()).map(|run| run.task.mode);
    let eligible = known && !resumed && unofficial.is_none();
    let eligible = eligible && (candidate.incumbent || !numbers.requires_confirmation());
    if let Some(mode) = unofficial {
        reasons.push(format!("not eligible: measured as {}", mode.as_str()));
    } else if resumed {
        reasons.push("not eligible: a run was resumed after a failure of the machine and waits for a clean one".into());
    } else if !eligible {
        reasons.push("not eligible: waits for a confirmation in a later cohort".into());
    } else if !candidate.incumbent {
        reasons.push("eligible without a confirmation, by policy: not for official use".into());
    }
    eligible
}

fn name(track: Track) -> &'static str {
    match track {
        Track::Architecture => "architecture",
        _ => "training",
    }
}

/// What a subject's work is worth: how many times the other's it was, and what that gains a baseline.
struct Price<'a> {
    work: f64,
    curve: &'a WorkCurve,
}

fn architecture(
    tuned: &Tuned<'_>,
    hardest: &Tuned<'_>,
    work: f64,
    scaling: &Scaling,
    (numbers, thresholds): (ScoreNumbers, &DiagnosticThresholds),
    policy: &BTreeMap<String, Finite>,
    reasons: &mut Vec<String>,
) -> Result<TrackScore, Refusal> {
    let pair = Pair::of(tuned.runs.clone(), hardest.runs.clone(), numbers)?.at_equal_work(&hardest.work, work)?;
    let mut notes = Vec::new();
    let reads = [
        learning_and_scaling(&pair, &scaling.growth),
        held_out(&pair),
        compute_efficiency(&pair),
        parameter_efficiency(&pair),
        health(&pair, thresholds, &mut notes),
        robustness(&tuned.grid, &hardest.grid, &scaling.stability, pair.is_ahead(), &numbers),
        benchmark_sanity(&pair, policy),
    ];
    reasons.extend(notes.into_iter().map(|note| format!("architecture: {note}")));
    if scaling.growth.is_empty() {
        reasons.push("architecture: no scaling probe is part of the plan; learning counts at base size alone".into());
    }
    let shares = ArchitectureShares::from_numbers(policy)?.list();
    weigh("architecture", shares, reads, pair.advantage, reasons)
        .ok_or_else(|| Refusal::new("no component of the architecture track could be read"))
}

fn training(
    own: &[&Evidence],
    anchor: &Tuned<'_>,
    price: Price<'_>,
    earlier: &[Vec<&Evidence>],
    numbers: ScoreNumbers,
    policy: &BTreeMap<String, Finite>,
    reasons: &mut Vec<String>,
) -> Result<TrackScore, Refusal> {
    let anchored = Pair::of(own.to_vec(), anchor.runs.clone(), numbers)?.at_equal_work(price.curve, price.work)?;
    // An earlier recipe of the family is compared with where it saw the same rows.
    let mut pair = anchored.clone();
    let mut least = anchor.grid.mean;
    for runs in earlier {
        let mean = runs.first().map(|run| mean_bits_per_byte(run, Measured::Prequential));
        let Some(Ok(mean)) = mean else { continue };
        if mean.mean < least
            && let Ok(harder) = Pair::of(own.to_vec(), runs.clone(), numbers)
            && let Ok(harder) = harder.at_equal_work(price.curve, price.work)
        {
            (least, pair) = (mean.mean, harder);
        }
    }
    let reads = [
        held_out(&pair),
        stability(&pair),
        benchmark_sanity(&pair, policy),
        compute_efficiency(&pair),
        reproducibility(&pair),
        Err("the recipe ran on one family alone".into()),
        completeness(&pair),
    ];
    let shares = TrainingShares::from_numbers(policy)?.list();
    weigh("training", shares, reads, anchored.advantage, reasons)
        .ok_or_else(|| Refusal::new("no component of the training track could be read"))
}

/// The completed recipe runs of the same family that came before, with their repeats, in order of arrival.
fn earlier_recipe<'a>(candidate: &Candidate<'_>, round: &Round<'a>) -> Vec<Vec<&'a Evidence>> {
    let mut earlier: Vec<&Candidate<'a>> = round
        .candidates
        .iter()
        .chain(round.baselines)
        .filter(|other| other.family == candidate.family && other.kind.brings_recipe())
        .filter(|other| (other.precedence, other.submission) < (candidate.precedence, candidate.submission))
        .collect();
    earlier.sort_by_key(|other| (other.precedence, other.submission));
    let runs = earlier.iter().filter_map(|other| with_repeats(other.runs, own_recipe(other.runs).ok()?).ok());
    runs.collect()
}
