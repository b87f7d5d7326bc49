//! Which runs answer what a submission claims: data, made by a pure function.
//!
//! Nothing of the submission but the digests of what is run reaches a task, so equal work is one task, whoever sends it:
//! a copy is a hit in the cache and costs nothing.
use crate::{
    measure::{self, Cadence},
    policy::{PlanPolicy, PolicyError},
    recipe::{Optimizer, Recipe},
    score::{recipe_run, tuned_reference},
};
use prism_core::{
    Artifacts, Digest, Error, Evidence, Fault, Finite, Kind, Result, Seed, TaskId, TrainTask,
    artifacts::ArtifactsExt as _,
    plan::{DataRef, RunRole, Subject, TASK_SCHEMA},
    submission::SubmissionKind,
};
use std::collections::BTreeSet;

/// The reference recipe at one rate of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferenceRecipe {
    /// Multiple of the reference recipe's learning rates.
    pub rate: Finite,
    /// The canonical recipe, its rates already multiplied: see [`at_rate`].
    pub recipe: Digest,
}

/// What all runs of a cohort share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cohort {
    /// From the hash of a finalized block after the commitments.
    pub seed: Seed,
    /// The text.
    pub data: DataRef,
    /// One for each rate of [`PlanPolicy::ladder`], in that order.
    pub references: Vec<ReferenceRecipe>,
}

impl Cohort {
    /// A cohort under a policy; keeps the reference recipe at each rate of the ladder.
    ///
    /// # Errors
    /// A rate so high that the recipe's overflow, and those of keeping.
    pub async fn new<A: Artifacts + ?Sized>(
        seed: Seed,
        data: DataRef,
        policy: &PlanPolicy,
        artifacts: &A,
    ) -> Result<Self> {
        let mut references = Vec::new();
        for rate in policy.ladder() {
            let recipe = at_rate(&Recipe::reference(), rate).ok_or_else(|| {
                let text = format!("reference recipe overflows at rate {rate} of the policy");
                Error::new(Kind::Invalid, Fault::Validator, text)
            })?;
            let recipe = artifacts.keep_bytes(&recipe.canonical_bytes()).await?;
            references.push(ReferenceRecipe { rate, recipe });
        }
        Ok(Self { seed, data, references })
    }
}

/// An architecture, by digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// The canonical graph.
    Declared(Digest),
    /// The guest bundle with nothing but the architecture in it.
    Code(Digest),
}

/// How an entrant wants it trained, by digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Training {
    /// The canonical recipe.
    Declared(Digest),
    /// The guest bundle with architecture and hooks.
    Code(Digest),
}

/// What is to be measured: a submission or a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entrant {
    /// What it claims to bring. A baseline is an `ArchitectureOnly`.
    pub kind: SubmissionKind,
    /// Its own, or the target family's for a `TrainingForArch`.
    pub architecture: Architecture,
    /// Its own recipe. A declared one trains declared architectures and Python alike; code trains Python only.
    pub training: Option<Training>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The policy can't be carried out.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The run is too short for so much measuring.
    #[error(transparent)]
    Measuring(#[from] measure::PlanError),
    /// The reference recipes are not those of the grid.
    #[error("reference recipes are not one for each rate of the policy's ladder, in order")]
    References,
    /// A submission for a family that brings no recipe.
    #[error("a training_for_arch submission has no recipe to measure")]
    RecipeMissing,
    /// A submission without a training claim that brings a recipe.
    #[error("an architecture_only submission has a recipe, and claims none")]
    RecipeUnclaimed,
    /// Code that should train an architecture without code.
    #[error("training code can't train a declared architecture: its recipe must be declared too")]
    RecipeLanguage,
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        let fault = match error {
            PlanError::Policy(error) => return error.into(),
            PlanError::Measuring(_) | PlanError::References => Fault::Validator,
            PlanError::RecipeMissing | PlanError::RecipeUnclaimed | PlanError::RecipeLanguage => Fault::Miner,
        };
        Self::new(Kind::Invalid, fault, error.to_string())
    }
}

/// The runs of an entrant: its architecture under the reference recipe at every rate of the grid, then its own recipe
/// where it brings one. For a `TrainingForArch` the first are the family's, most likely in the cache.
///
/// What follows from their evidence is [`plan_further`]'s to say.
///
/// # Errors
/// A policy that can't be carried out, reference recipes that are not the grid's, a recipe missing or unclaimed.
pub fn plan_of_runs(policy: &PlanPolicy, cohort: &Cohort, entrant: &Entrant) -> Result<Vec<TrainTask>, PlanError> {
    policy.check()?;
    if !cohort.references.iter().map(|reference| reference.rate).eq(policy.ladder()) {
        return Err(PlanError::References);
    }
    match (entrant.kind, entrant.training) {
        (SubmissionKind::TrainingForArch, None) => return Err(PlanError::RecipeMissing),
        (SubmissionKind::ArchitectureOnly, Some(_)) => return Err(PlanError::RecipeUnclaimed),
        _ => {}
    }
    let references = cohort.references.iter().take(policy.rates.len());
    let references = references.map(|reference| at_reference(policy, cohort, entrant, reference));
    let own = entrant.training.map(|training| {
        let subject = subject(entrant.architecture, training)?;
        task(policy, cohort, RunRole::Recipe, subject)
    });
    references.chain(own).collect()
}

fn at_reference(
    policy: &PlanPolicy,
    cohort: &Cohort,
    entrant: &Entrant,
    reference: &ReferenceRecipe,
) -> Result<TrainTask, PlanError> {
    let subject = subject(entrant.architecture, Training::Declared(reference.recipe))?;
    task(policy, cohort, RunRole::Reference { rate: reference.rate }, subject)
}

/// What follows from an entrant's runs on record: the next rate of [`PlanPolicy::climb`] while the highest tried is the
/// best; then repeats of the runs that count, and a baseline at more work. Only what is not on record; nothing when all
/// of it is.
///
/// # Errors
/// As [`plan_of_runs`].
pub fn plan_further(
    policy: &PlanPolicy,
    cohort: &Cohort,
    entrant: &Entrant,
    baseline: bool,
    runs: &[Evidence],
) -> Result<Vec<TrainTask>, PlanError> {
    let reference = tuned_reference(runs);
    if let Some(next) = reference.and_then(|best| next_rate(cohort, best, runs)) {
        return Ok(vec![at_reference(policy, cohort, entrant, next)?]);
    }
    let counting = reference.into_iter().chain(recipe_run(runs));
    let repeats = counting.flat_map(|run| plan_of_repeats(policy, &run.task));
    let work = reference.filter(|_| baseline).into_iter().flat_map(|run| plan_of_work(policy, &run.task));
    let known: BTreeSet<TaskId> = runs.iter().map(|run| run.task.id()).collect();
    Ok(repeats.chain(work).filter(|task| !known.contains(&task.id())).collect())
}

/// The rate above the best one, if no run has tried it or a higher one.
fn next_rate<'a>(cohort: &'a Cohort, best: &Evidence, runs: &[Evidence]) -> Option<&'a ReferenceRecipe> {
    let rate_of = |run: &Evidence| match run.task.role {
        RunRole::Reference { rate } => Some(rate),
        _ => None,
    };
    let (best, highest) = (rate_of(best)?, runs.iter().filter_map(rate_of).max()?);
    cohort.references.iter().find(|reference| best == highest && reference.rate > highest)
}

fn subject(architecture: Architecture, training: Training) -> Result<Subject, PlanError> {
    match (architecture, training) {
        (Architecture::Declared(graph), Training::Declared(recipe)) => Ok(Subject::Native { graph, recipe }),
        (Architecture::Code(bundle), Training::Declared(recipe)) => Ok(Subject::Guest { bundle, recipe: Some(recipe) }),
        (Architecture::Code(_), Training::Code(bundle)) => Ok(Subject::Guest { bundle, recipe: None }),
        (Architecture::Declared(_), Training::Code(_)) => Err(PlanError::RecipeLanguage),
    }
}

/// The same run under [`PlanPolicy::repeats`] further seeds: what tells a better idea from a lucky start.
#[must_use]
pub fn plan_of_repeats(policy: &PlanPolicy, run: &TrainTask) -> Vec<TrainTask> {
    let of = run.id();
    let repeat = |index| {
        let role = RunRole::Repeat { of, index };
        TrainTask { seed: run_seed(run.cohort, &role), role, ..run.clone() }
    };
    (1..=policy.repeats).map(repeat).collect()
}

/// The same run of a baseline with more optimizer steps on each batch, at each of [`PlanPolicy::work`]: see there.
fn plan_of_work(policy: &PlanPolicy, run: &TrainTask) -> Vec<TrainTask> {
    let of = run.id();
    let more = |inner_steps| TrainTask { role: RunRole::Work { of, inner_steps }, ..run.clone() };
    policy.work.iter().copied().map(more).collect()
}

/// A recipe with all its learning rates multiplied; `None` when a rate overflows.
#[must_use]
pub fn at_rate(recipe: &Recipe, rate: Finite) -> Option<Recipe> {
    let mut scaled = recipe.clone();
    for group in &mut scaled.groups {
        let (Optimizer::Adamw { learning_rate, .. }
        | Optimizer::Lion { learning_rate, .. }
        | Optimizer::Muon { learning_rate, .. }) = &mut group.optimizer;
        *learning_rate = Finite::new(learning_rate.get() * rate.get())?;
    }
    Some(scaled)
}

fn task(policy: &PlanPolicy, cohort: &Cohort, role: RunRole, subject: Subject) -> Result<TrainTask, PlanError> {
    let budget = policy.budget()?;
    let cadence = Cadence {
        points: policy.points,
        window_tokens: policy.window_tokens,
        rows: policy.rows,
        audits: policy.audits,
        held_out_rows: policy.held_out_rows,
        alarm_bits: policy.alarm_bits,
    };
    Ok(TrainTask {
        schema: TASK_SCHEMA,
        seed: run_seed(cohort.seed, &role),
        role,
        subject,
        data: cohort.data.clone(),
        measuring: cadence.plan(&budget, &cohort.seed)?,
        budget,
        context: policy.context(cohort.data.vocabulary).to_map(),
        cohort: cohort.seed,
        policy: policy.digest(),
    })
}

/// The root of a run's random streams: from the cohort and the role alone. All runs but repeats share one seed (common
/// random numbers): a recipe that equals the reference learns bit for bit the same and is worth exactly nothing.
fn run_seed(cohort: Seed, role: &RunRole) -> Seed {
    match role {
        RunRole::Repeat { index, .. } => cohort.stream(&format!("run/repeat/{index}")),
        _ => cohort.stream("run"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::evidence::Point;

    fn fixed(value: f64) -> Finite {
        Finite::new(value).unwrap()
    }

    fn cohort(policy: &PlanPolicy, seed: &str) -> Cohort {
        let references = policy
            .ladder()
            .map(|rate| ReferenceRecipe { rate, recipe: Digest::of(format!("reference at {rate}").as_bytes()) });
        Cohort {
            seed: Seed::of("test", &[seed.as_bytes()]),
            data: DataRef { dataset: Digest::of(b"text"), tokenizer: Digest::of(b"bytes"), vocabulary: 256 },
            references: references.collect(),
        }
    }

    fn entrant(kind: SubmissionKind, graph: &str, recipe: Option<&str>) -> Entrant {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let training = recipe.map(|recipe| Training::Declared(digest(recipe)));
        Entrant { kind, architecture: Architecture::Declared(digest(graph)), training }
    }

    fn ids(tasks: &[TrainTask]) -> Vec<prism_core::TaskId> {
        tasks.iter().map(TrainTask::id).collect()
    }

    #[test]
    fn every_architecture_runs_the_whole_grid_and_a_recipe_once() {
        let policy = PlanPolicy::smoke();
        let cohort = cohort(&policy, "a");
        let full = entrant(SubmissionKind::Full, "graph", Some("recipe"));
        let tasks = plan_of_runs(&policy, &cohort, &full).unwrap();
        let rates: Vec<f64> = tasks
            .iter()
            .filter_map(|t| match t.role {
                RunRole::Reference { rate } => Some(rate.get()),
                _ => None,
            })
            .collect();
        assert_eq!(rates, [1.0, 3.0, 10.0]);
        assert_eq!(tasks.len(), 4);
        let recipe = tasks.last().unwrap();
        assert_eq!(recipe.role, RunRole::Recipe);
        let expected = Subject::Native { graph: Digest::of(b"graph"), recipe: Digest::of(b"recipe") };
        assert_eq!(recipe.subject, expected);
        assert!(tasks.iter().all(|t| t.budget.tokens == 300 * 16 * 64 && t.context["vocab_size"] == 256));
        let without = entrant(SubmissionKind::Full, "graph", None);
        assert_eq!(plan_of_runs(&policy, &cohort, &without).unwrap(), tasks[..3]);
    }

    #[test]
    fn a_copy_of_the_work_is_the_same_tasks() {
        let policy = PlanPolicy::smoke();
        let cohort = cohort(&policy, "a");
        let only = |kind, recipe| ids(&plan_of_runs(&policy, &cohort, &entrant(kind, "graph", recipe)).unwrap());
        let architecture = only(SubmissionKind::ArchitectureOnly, None);
        let full = only(SubmissionKind::Full, Some("recipe"));
        let training = only(SubmissionKind::TrainingForArch, Some("recipe"));
        assert_eq!(full, training);
        assert_eq!(architecture, full[..3]);
    }

    #[test]
    fn python_runs_the_grid_on_its_architecture_alone_and_its_hooks_once() {
        let policy = PlanPolicy::smoke();
        let cohort = cohort(&policy, "a");
        let [alone, whole, recipe] = ["alone", "whole", "recipe"].map(|text| Digest::of(text.as_bytes()));
        let plan = |architecture, training| {
            let entrant = Entrant { kind: SubmissionKind::Full, architecture, training: Some(training) };
            plan_of_runs(&policy, &cohort, &entrant)
        };
        let tasks = plan(Architecture::Code(alone), Training::Code(whole)).unwrap();
        let subjects: Vec<&Subject> = tasks.iter().map(|task| &task.subject).collect();
        for (subject, reference) in subjects.iter().zip(&cohort.references) {
            assert_eq!(**subject, Subject::Guest { bundle: alone, recipe: Some(reference.recipe) });
        }
        assert_eq!(*subjects[3], Subject::Guest { bundle: whole, recipe: None });
        let declared = plan(Architecture::Code(alone), Training::Declared(recipe)).unwrap();
        assert_eq!(declared[3].subject, Subject::Guest { bundle: alone, recipe: Some(recipe) });
        let wrong = plan(Architecture::Declared(alone), Training::Code(whole));
        assert_eq!(wrong, Err(PlanError::RecipeLanguage));
    }

    #[test]
    fn all_runs_but_repeats_share_one_seed_and_another_cohort_shares_nothing() {
        let policy = PlanPolicy { repeats: 3, ..PlanPolicy::smoke() };
        let plan = |name| {
            let cohort = cohort(&policy, name);
            plan_of_runs(&policy, &cohort, &entrant(SubmissionKind::Full, "graph", Some("recipe"))).unwrap()
        };
        let (first, second) = (plan("a"), plan("b"));
        let seeds: BTreeSet<String> = first.iter().map(|t| t.seed.0.to_string()).collect();
        assert_eq!(seeds.len(), 1);
        assert_ne!(first[0].seed, second[0].seed);
        assert_ne!(first[0].measuring.points, second[0].measuring.points);
        let repeats = plan_of_repeats(&policy, &first[1]);
        let seeds: BTreeSet<String> = repeats.iter().chain(&first).map(|t| t.seed.0.to_string()).collect();
        assert_eq!((repeats.len(), seeds.len()), (3, 4));
        assert!(repeats.iter().all(|t| t.subject == first[1].subject && t.cohort == first[1].cohort));
        assert_eq!(repeats[2].role, RunRole::Repeat { of: first[1].id(), index: 3 });
    }

    /// The run of a task that ended with so many bits per byte.
    fn ended(task: &TrainTask, bits: f64) -> Evidence {
        let bits = vec![Finite::new(bits * 8.0).unwrap(); 2];
        let point = |step: &u64| Point {
            step: *step,
            tokens: *step,
            row_bits: bits.clone(),
            row_bytes: vec![8; 2],
            audits: vec![],
        };
        let points = task.measuring.points.iter().map(point).collect();
        Evidence { points, ..measure::run::blank(task) }
    }

    #[test]
    fn the_ladder_is_climbed_while_its_highest_rung_is_the_best_and_only_then_comes_what_repeats_it() {
        let climb = [30.0, 100.0].map(fixed).to_vec();
        let policy = PlanPolicy { climb, repeats: 1, ..PlanPolicy::smoke() };
        let cohort = cohort(&policy, "a");
        let only = entrant(SubmissionKind::ArchitectureOnly, "graph", None);
        let mut runs: Vec<Evidence> =
            plan_of_runs(&policy, &cohort, &only).unwrap().iter().map(|t| ended(t, 4.0)).collect();
        assert_eq!(runs.len(), 3);
        let tasks = |runs: &[Evidence]| plan_further(&policy, &cohort, &only, true, runs).unwrap();
        let roles = |runs: &[Evidence]| tasks(runs).into_iter().map(|task| task.role).collect::<Vec<_>>();
        let at = |rate| RunRole::Reference { rate: fixed(rate) };
        let closing = |run: &Evidence| {
            let of = run.task.id();
            [RunRole::Repeat { of, index: 1 }, RunRole::Work { of, inner_steps: 2 }]
        };
        assert_eq!(roles(&runs), closing(&runs[0]), "of equals the lowest rate counts");
        runs[2] = ended(&runs[2].task, 3.9);
        assert_eq!(roles(&runs), [at(30.0)]);
        runs.push(ended(&tasks(&runs)[0], 3.8));
        assert_eq!(roles(&runs), [at(100.0)]);
        let (mut worse, mut best) = (runs.clone(), runs.clone());
        worse.push(ended(&tasks(&runs)[0], 3.81));
        assert_eq!(roles(&worse), closing(&runs[3]));
        best.push(ended(&tasks(&runs)[0], 3.7));
        assert_eq!(roles(&best), closing(&best[4]), "the ladder has an end");
        best.extend(tasks(&best).iter().map(|task| ended(task, 3.7)));
        assert_eq!(tasks(&best), []);
    }

    #[test]
    fn a_claim_without_its_recipe_and_foreign_references_are_refused() {
        let policy = PlanPolicy::smoke();
        let mut cohort = cohort(&policy, "a");
        let refused =
            |cohort: &Cohort, kind, recipe| plan_of_runs(&policy, cohort, &entrant(kind, "graph", recipe)).unwrap_err();
        assert_eq!(refused(&cohort, SubmissionKind::TrainingForArch, None), PlanError::RecipeMissing);
        assert_eq!(refused(&cohort, SubmissionKind::ArchitectureOnly, Some("r")), PlanError::RecipeUnclaimed);
        let hasty = PlanPolicy { steps: 8, ..policy.clone() };
        let short = plan_of_runs(&hasty, &cohort, &entrant(SubmissionKind::ArchitectureOnly, "graph", None));
        assert!(matches!(short, Err(PlanError::Measuring(_))));
        cohort.references.pop();
        assert_eq!(refused(&cohort, SubmissionKind::ArchitectureOnly, None), PlanError::References);
    }

    #[test]
    fn a_scaled_recipe_moves_its_rates_and_nothing_else() {
        let text = r#"{"schema":1,"groups":[
            {"roles":["matrix"],"optimizer":{"muon":{"learning_rate":0.02,"momentum":0.95,"weight_decay":0.1}}},
            {"roles":["embedding","gain","bias"],"optimizer":{"lion":
                {"learning_rate":0.001,"beta1":0.9,"beta2":0.99,"weight_decay":0.1}}}],
            "schedule":{"constant":{"warmup":0.1}},"clip":1.0,"loss":{"z_loss":0.0,"label_smoothing":0.0}}"#;
        let recipe: Recipe = serde_json::from_str(text).unwrap();
        let scaled: Recipe = serde_json::from_str(&text.replace("0.02", "0.04").replace("0.001", "0.002")).unwrap();
        assert_eq!(at_rate(&recipe, Finite::new(2.0).unwrap()), Some(scaled));
        assert_eq!(at_rate(&recipe, Finite::ONE), Some(recipe.clone()));
        let huge = at_rate(&recipe, Finite::new(1e308).unwrap()).unwrap();
        assert_eq!(at_rate(&huge, Finite::new(1e308).unwrap()), None);
    }
}
