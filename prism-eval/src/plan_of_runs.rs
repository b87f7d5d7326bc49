//! Which runs answer what a submission claims: data, made by a pure function.
//!
//! Nothing of the submission but the digests of what is run reaches a task, so equal work is one task, whoever sends it:
//! a copy is a hit in the cache and costs nothing.
use crate::{
    graph::GraphSpec,
    measure,
    policy::{PlanPolicy, PolicyError, Probe},
    recipe::{Optimizer, Recipe},
    score::{reaches_above_zero, recipe_run, trial_advantages, tuned_reference},
};
use prism_core::{
    Artifacts, Digest, Error, Evidence, Fault, Finite, Kind, Result, Seed, TaskId, TrainTask,
    artifacts::ArtifactsExt as _,
    plan::{DataRef, RunRole, Subject, TASK_SCHEMA},
    submission::SubmissionKind,
};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Digest of the policy in force, which every task carries: the plan's, unless there is more to it.
    pub policy: Digest,
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
        Ok(Self { seed, data, references, policy: policy.digest() })
    }

    /// The same under a whole policy, of which the plan is a part.
    #[must_use]
    pub fn under(mut self, policy: Digest) -> Self {
        self.policy = policy;
        self
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

/// As what somebody is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// A submission of this cohort: after a trial, where the policy has one.
    #[default]
    Candidate,
    /// A published baseline: whatever anybody is compared with.
    Baseline,
    /// A title holder of an earlier cohort, or who waits to become one: with a larger budget besides.
    Incumbent,
}

/// What is to be measured: a submission or a baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrant {
    /// As what.
    pub role: Role,
    /// What it claims to bring. A baseline is an `ArchitectureOnly`.
    pub kind: SubmissionKind,
    /// Its own, or the target family's for a `TrainingForArch`.
    pub architecture: Architecture,
    /// Its own recipe. A declared one trains declared architectures and Python alike; code trains Python only.
    pub training: Option<Training>,
    /// A declared architecture's canonical graph at each probe at which it has one. Python is the same bundle at all of
    /// them, with another `ctx`.
    pub probes: BTreeMap<Probe, Digest>,
}

impl Entrant {
    /// A candidate without graphs for probes.
    #[must_use]
    pub fn new(kind: SubmissionKind, architecture: Architecture, training: Option<Training>) -> Self {
        Self { role: Role::Candidate, kind, architecture, training, probes: BTreeMap::new() }
    }
}

/// Resolves an architecture anew for each probe of the policy, and keeps the canonical graphs. A probe whose context it
/// has no graph for, or none within the limits, is missing: it is lost.
///
/// # Errors
/// Those of keeping.
pub async fn keep_probes<A: Artifacts + ?Sized>(
    policy: &PlanPolicy,
    vocabulary: u32,
    spec: &GraphSpec,
    artifacts: &A,
) -> Result<BTreeMap<Probe, Digest>> {
    let mut probes = BTreeMap::new();
    for probe in &policy.probes {
        let context = policy.probe_context(*probe, vocabulary);
        if let Ok(graph) = spec.resolve(&context, &policy.probe_limits(*probe).within(&context)) {
            probes.insert(*probe, artifacts.keep_bytes(&graph.canonical_bytes()).await?);
        }
    }
    Ok(probes)
}

/// An entrant with its runs on record.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// Who.
    pub entrant: &'a Entrant,
    /// What was run, in any order.
    pub runs: &'a [Evidence],
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

/// The first runs of an entrant: for a candidate the trial, where the policy has one; for others all rates of the grid
/// and the own recipe too, and a baseline's trial. For a `TrainingForArch` the reference runs are the family's, most
/// likely in the cache.
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
    let mut tasks = match entrant.role {
        Role::Candidate | Role::Baseline => plan_of_trial(policy, cohort, entrant)?,
        Role::Incumbent => Vec::new(),
    };
    if entrant.role != Role::Candidate || tasks.is_empty() {
        tasks.extend(plan_of_grid(policy, cohort, entrant)?);
    }
    Ok(tasks)
}

/// What follows from the runs on record, for each of a whole cohort's entrants: the whole plan after a trial that
/// passed; the next rate of [`PlanPolicy::climb`] while the highest tried is the best; then repeats of the runs that
/// count, an architecture's probes, a baseline at more work, and where somebody is to be confirmed, he and the baselines
/// with a larger budget. Only what is not on record; nothing for anybody when all of it is.
///
/// # Errors
/// As [`plan_of_runs`].
pub fn plan_further(
    policy: &PlanPolicy,
    cohort: &Cohort,
    field: &[Measured<'_>],
) -> Result<Vec<Vec<TrainTask>>, PlanError> {
    let baselines: Vec<&[Evidence]> =
        field.iter().filter(|one| one.entrant.role == Role::Baseline).map(|one| one.runs).collect();
    let confirms = field.iter().any(|one| one.entrant.role == Role::Incumbent);
    let declared = |one: &Measured<'_>| matches!(one.entrant.architecture, Architecture::Declared(_));
    let among_declared = field.iter().any(|one| one.entrant.role == Role::Baseline && declared(one));
    let next = |one: &Measured<'_>| {
        let known: BTreeSet<TaskId> = one.runs.iter().map(|run| run.task.id()).collect();
        let mut tasks = next_of(policy, cohort, one, &baselines, confirms)?;
        if one.entrant.role == Role::Baseline && among_declared && !declared(one) {
            // Its time stands for a baseline's work; what seeds and work are worth, its declared twin tells.
            tasks.retain(|task| !matches!(task.role, RunRole::Repeat { .. } | RunRole::Work { .. }));
        }
        tasks.retain(|task| !known.contains(&task.id()));
        Ok(tasks)
    };
    field.iter().map(next).collect()
}

fn next_of(
    policy: &PlanPolicy,
    cohort: &Cohort,
    one: &Measured<'_>,
    baselines: &[&[Evidence]],
    confirms: bool,
) -> Result<Vec<TrainTask>, PlanError> {
    let Measured { entrant, runs } = *one;
    if let (Role::Candidate, Some(trial)) = (entrant.role, policy.trial) {
        // An error is a trial that is not over, or not through; either way there is nothing to follow from.
        let advantages = trial_advantages(entrant.kind, runs, baselines, trial.seed_deviation);
        if !advantages.is_ok_and(|advantages| reaches_above_zero(&advantages, trial.z)) {
            return Ok(Vec::new());
        }
    }
    let grid = plan_of_grid(policy, cohort, entrant)?;
    let known: BTreeSet<TaskId> = runs.iter().map(|run| run.task.id()).collect();
    if grid.iter().any(|task| !known.contains(&task.id())) {
        return Ok(grid);
    }
    let reference = tuned_reference(runs);
    if let Some(next) = reference.and_then(|best| next_rate(cohort, best, runs)) {
        return Ok(vec![at_reference(policy, cohort, entrant, next)?]);
    }
    let counting: Vec<&TrainTask> = reference.into_iter().chain(recipe_run(runs)).map(|run| &run.task).collect();
    let mut tasks: Vec<TrainTask> = counting.iter().flat_map(|run| plan_of_repeats(policy, run)).collect();
    let baseline = entrant.role == Role::Baseline;
    if let Some(reference) = reference.map(|run| &run.task) {
        if entrant.kind.brings_architecture() {
            tasks.extend(plan_of_probes(policy, cohort, entrant, reference)?);
        }
        if baseline {
            let seeds: Vec<TrainTask> =
                [reference.clone()].into_iter().chain(plan_of_repeats(policy, reference)).collect();
            tasks.extend(seeds.iter().flat_map(|run| plan_of_work(policy, run)));
        }
    }
    if policy.confirmation_factor > 1 && (entrant.role == Role::Incumbent || (baseline && confirms)) {
        for run in counting {
            tasks.push(at_large_budget(policy, run)?);
        }
    }
    Ok(tasks)
}

/// The architecture under the reference recipe at every rate of the grid, then its own recipe where it brings one.
fn plan_of_grid(policy: &PlanPolicy, cohort: &Cohort, entrant: &Entrant) -> Result<Vec<TrainTask>, PlanError> {
    let references = cohort.references.iter().take(policy.rates.len());
    let references = references.map(|reference| at_reference(policy, cohort, entrant, reference));
    let own = entrant.training.map(|training| {
        let subject = subject(entrant.architecture, training)?;
        task(policy, cohort, RunRole::Recipe, subject)
    });
    references.chain(own).collect()
}

/// The same with the trial's budget; nothing without a trial.
fn plan_of_trial(policy: &PlanPolicy, cohort: &Cohort, entrant: &Entrant) -> Result<Vec<TrainTask>, PlanError> {
    let Some(budget) = policy.trial_budget() else { return Ok(Vec::new()) };
    let mut tasks = plan_of_grid(policy, cohort, entrant)?;
    for task in &mut tasks {
        let rate = match task.role {
            RunRole::Reference { rate } => Some(rate),
            _ => None,
        };
        task.role = RunRole::Trial { rate };
        task.measuring = policy.cadence(&budget).plan(&budget, &cohort.seed)?;
        task.budget = budget.clone();
    }
    Ok(tasks)
}

/// An architecture's tuned reference at the policy's probes; a probe at which it has no graph is lost, and not run.
fn plan_of_probes(
    policy: &PlanPolicy,
    cohort: &Cohort,
    entrant: &Entrant,
    reference: &TrainTask,
) -> Result<Vec<TrainTask>, PlanError> {
    let mut tasks = Vec::new();
    for probe in &policy.probes {
        let subject = match &reference.subject {
            Subject::Native { recipe, .. } => match entrant.probes.get(probe) {
                Some(graph) => Subject::Native { graph: *graph, recipe: *recipe },
                None => continue,
            },
            other => other.clone(),
        };
        let overflow = PolicyError::Plan("tokens or limits of a probe overflow");
        let budget = policy.probe_budget(*probe).ok_or(overflow)?;
        tasks.push(TrainTask {
            role: RunRole::ScalingProbe { axis: probe.axis.as_str().to_owned(), factor: probe.factor() },
            subject,
            measuring: policy.cadence(&budget).plan(&budget, &cohort.seed)?,
            budget,
            context: policy.probe_context(*probe, cohort.data.vocabulary).to_map(),
            ..reference.clone()
        });
    }
    Ok(tasks)
}

/// The same run with [`PlanPolicy::confirmation_factor`] times the tokens.
fn at_large_budget(policy: &PlanPolicy, run: &TrainTask) -> Result<TrainTask, PlanError> {
    let overflow = PolicyError::Plan("tokens or limits of the confirmation overflow");
    let budget = policy.large_budget().ok_or(overflow)?;
    let role = RunRole::LargeBudget { of: run.id(), factor: policy.confirmation_factor };
    let measuring = policy.cadence(&budget).plan(&budget, &run.cohort)?;
    Ok(TrainTask { role, budget, measuring, ..run.clone() })
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
    Ok(TrainTask {
        schema: TASK_SCHEMA,
        mode: policy.mode,
        seed: run_seed(cohort.seed, &role),
        role,
        subject,
        data: cohort.data.clone(),
        measuring: policy.cadence(&budget).plan(&budget, &cohort.seed)?,
        budget,
        context: policy.context(cohort.data.vocabulary).to_map(),
        cohort: cohort.seed,
        policy: cohort.policy,
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
    use crate::policy::{Axis, Trial};
    use prism_core::evidence::{Audit, Point};

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
            policy: policy.digest(),
        }
    }

    fn entrant(kind: SubmissionKind, graph: &str, recipe: Option<&str>) -> Entrant {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let training = recipe.map(|recipe| Training::Declared(digest(recipe)));
        Entrant::new(kind, Architecture::Declared(digest(graph)), training)
    }

    /// What follows for one entrant alone.
    fn further(policy: &PlanPolicy, cohort: &Cohort, entrant: &Entrant, runs: &[Evidence]) -> Vec<TrainTask> {
        plan_further(policy, cohort, &[Measured { entrant, runs }]).unwrap().remove(0)
    }

    /// Smoke without what each test adds itself.
    fn bare() -> PlanPolicy {
        PlanPolicy { probes: vec![], ..PlanPolicy::smoke() }
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
            let entrant = Entrant::new(SubmissionKind::Full, architecture, Some(training));
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
            audits: vec![Audit { row: 0, position: 0, claimed: Finite::ONE, audited: Finite::ONE }],
        };
        let points = task.measuring.points.iter().map(point).collect();
        Evidence { points, ..measure::run::blank(task) }
    }

    #[test]
    fn the_ladder_is_climbed_while_its_highest_rung_is_the_best_and_only_then_comes_what_repeats_it() {
        let climb = [30.0, 100.0].map(fixed).to_vec();
        let policy = PlanPolicy { climb, repeats: 1, ..bare() };
        let cohort = cohort(&policy, "a");
        let only = Entrant { role: Role::Baseline, ..entrant(SubmissionKind::ArchitectureOnly, "graph", None) };
        let mut runs: Vec<Evidence> =
            plan_of_runs(&policy, &cohort, &only).unwrap().iter().map(|t| ended(t, 4.0)).collect();
        assert_eq!(runs.len(), 3);
        let tasks = |runs: &[Evidence]| further(&policy, &cohort, &only, runs);
        let roles = |runs: &[Evidence]| tasks(runs).into_iter().map(|task| task.role).collect::<Vec<_>>();
        let at = |rate| RunRole::Reference { rate: fixed(rate) };
        let closing = |run: &Evidence| {
            let of = run.task.id();
            let repeat = plan_of_repeats(&policy, &run.task)[0].id();
            let work = |of| RunRole::Work { of, inner_steps: 2 };
            [RunRole::Repeat { of, index: 1 }, work(of), work(repeat)]
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

    /// The runs of a plan, all of which ended with so many bits per byte.
    fn done(tasks: &[TrainTask], bits: f64) -> Vec<Evidence> {
        tasks.iter().map(|task| ended(task, bits)).collect()
    }

    #[test]
    fn an_architecture_is_probed_at_other_sizes_under_its_tuned_rate_and_equal_tokens() {
        let probe = |axis, factor, percent| Probe { axis, factor, percent };
        let probes = [(Axis::Size, 50), (Axis::Depth, 100), (Axis::Sequence, 50), (Axis::Batch, 50)]
            .map(|(axis, percent)| probe(axis, 2, percent));
        let policy = PlanPolicy { probes: probes.to_vec(), ..bare() };
        let cohort = cohort(&policy, "a");
        let graph = |probe: &Probe| Digest::of(probe.to_string().as_bytes());
        let mut only = entrant(SubmissionKind::ArchitectureOnly, "graph", None);
        only.probes = probes.iter().map(|probe| (*probe, graph(probe))).collect();
        let mut runs = done(&plan_of_runs(&policy, &cohort, &only).unwrap(), 4.0);
        runs[1] = ended(&runs[1].task, 3.5);
        let tasks = further(&policy, &cohort, &only, &runs);
        let tokens = policy.tokens().unwrap();
        let seen: Vec<_> =
            tasks.iter().map(|task| (task.budget.batch, task.budget.sequence, task.budget.tokens)).collect();
        assert_eq!(seen, [(16, 64, tokens / 2), (16, 64, tokens), (8, 128, tokens / 2), (32, 64, tokens / 2)]);
        let context = |task: usize, name: &str| tasks[task].context[name];
        assert_eq!((context(0, "width_factor"), context(1, "depth_factor")), (2, 2));
        assert_eq!((context(2, "sequence_length"), context(3, "sequence_length")), (128, 64));
        for (task, probe) in tasks.iter().zip(&probes) {
            let factor = Finite::new(2.0).unwrap();
            assert_eq!(task.role, RunRole::ScalingProbe { axis: probe.axis.as_str().into(), factor });
            let recipe = cohort.references[1].recipe;
            assert_eq!(task.subject, Subject::Native { graph: graph(probe), recipe });
            assert_eq!(measure::plan::check(task), Ok(()));
        }
        // A graph that has none there is not run there, and a recipe's family is not probed for it.
        only.probes.remove(&probes[1]);
        assert_eq!(further(&policy, &cohort, &only, &runs).len(), 3);
        let recipe = entrant(SubmissionKind::TrainingForArch, "graph", Some("recipe"));
        let runs = done(&plan_of_runs(&policy, &cohort, &recipe).unwrap(), 4.0);
        assert_eq!(further(&policy, &cohort, &recipe, &runs), []);
        let python = Entrant { architecture: Architecture::Code(Digest::of(b"bundle")), probes: [].into(), ..only };
        let runs = done(&plan_of_runs(&policy, &cohort, &python).unwrap(), 4.0);
        let tasks = further(&policy, &cohort, &python, &runs);
        assert!(tasks.len() == 4 && tasks.iter().all(|task| task.subject == runs[0].task.subject));
    }

    #[test]
    fn a_baseline_in_python_beside_a_declared_one_only_tells_the_time() {
        let policy = PlanPolicy { repeats: 2, ..bare() };
        let cohort = cohort(&policy, "a");
        let baseline = |architecture| {
            let entrant = Entrant::new(SubmissionKind::ArchitectureOnly, architecture, None);
            Entrant { role: Role::Baseline, ..entrant }
        };
        let [gpt, python] = ["gpt", "python"].map(|name| Digest::of(name.as_bytes()));
        let field = [baseline(Architecture::Declared(gpt)), baseline(Architecture::Code(python))];
        let runs: Vec<_> = field.iter().map(|one| done(&plan_of_runs(&policy, &cohort, one).unwrap(), 4.0)).collect();
        let measured = [0, 1].map(|n| Measured { entrant: &field[n], runs: &runs[n] });
        let plans = plan_further(&policy, &cohort, &measured).unwrap();
        assert_eq!((plans[0].len(), plans[1].len()), (2 + 3, 0));
        assert_eq!(plan_further(&policy, &cohort, &measured[1..]).unwrap()[0].len(), 2 + 3, "alone it tells all");
    }

    #[test]
    fn a_candidate_is_tried_first_and_only_who_may_be_ahead_is_measured_in_full() {
        let policy = PlanPolicy { trial: Some(Trial::default()), ..bare() };
        let cohort = cohort(&policy, "a");
        let gpt = Entrant { role: Role::Baseline, ..entrant(SubmissionKind::ArchitectureOnly, "gpt", None) };
        let new = entrant(SubmissionKind::Full, "new", Some("recipe"));
        let first = plan_of_runs(&policy, &cohort, &new).unwrap();
        let trials = |tasks: &[TrainTask]| tasks.iter().filter(|t| matches!(t.role, RunRole::Trial { .. })).count();
        assert_eq!((first.len(), trials(&first)), (4, 4));
        assert!(first.iter().all(|task| task.budget.steps == 15 && measure::plan::check(task) == Ok(())));
        let all = plan_of_runs(&policy, &cohort, &gpt).unwrap();
        assert_eq!((all.len(), trials(&all)), (6, 3));
        let baseline = done(&all, 4.0);
        let next = |new: &Entrant, baseline: &[Evidence], runs: &[Evidence]| {
            let field = [Measured { entrant: &gpt, runs: baseline }, Measured { entrant: new, runs }];
            plan_further(&policy, &cohort, &field).unwrap().remove(1)
        };
        let whole = PlanPolicy { trial: None, ..policy.clone() };
        let roles = |tasks: &[TrainTask]| tasks.iter().map(|task| task.role.clone()).collect::<Vec<_>>();
        let grid = roles(&plan_of_runs(&whole, &cohort, &new).unwrap());
        let trial = |bits: [f64; 4]| first.iter().zip(bits).map(|(task, bits)| ended(task, bits)).collect::<Vec<_>>();
        assert_eq!(roles(&next(&new, &baseline, &trial([5.0, 3.9, 5.0, 5.0]))), grid, "one rate ahead is enough");
        assert_eq!(roles(&next(&new, &baseline, &trial([4.05, 4.05, 4.05, 9.0]))), grid, "within the noise");
        assert_eq!(roles(&next(&new, &baseline, &trial([5.0, 5.0, 5.0, 3.9]))), grid, "its recipe is ahead");
        assert_eq!(next(&new, &baseline, &trial([5.0; 4])), []);
        assert_eq!(next(&new, &baseline, &trial([3.0; 4])[..2]), [], "its trial is not over");
        assert_eq!(next(&new, &baseline[..2], &trial([3.0; 4])), [], "nor is the baseline's");
        let again = Entrant { role: Role::Incumbent, ..new };
        assert_eq!(roles(&plan_of_runs(&policy, &cohort, &again).unwrap()), grid);
    }

    #[test]
    fn a_title_is_confirmed_with_more_tokens_and_baselines_only_where_there_is_one() {
        let policy = PlanPolicy { confirmation_factor: 4, ..bare() };
        let cohort = cohort(&policy, "a");
        let gpt = Entrant { role: Role::Baseline, ..entrant(SubmissionKind::ArchitectureOnly, "gpt", None) };
        let new = entrant(SubmissionKind::Full, "new", Some("recipe"));
        let holder = Entrant { role: Role::Incumbent, ..new.clone() };
        let run = |entrant: &Entrant| done(&plan_of_runs(&policy, &cohort, entrant).unwrap(), 4.0);
        let large = |other: &Entrant| -> Vec<Vec<RunRole>> {
            let (baseline, runs) = (run(&gpt), run(other));
            let field = [Measured { entrant: &gpt, runs: &baseline }, Measured { entrant: other, runs: &runs }];
            let plans = plan_further(&policy, &cohort, &field).unwrap();
            let tasks = plans.iter().map(|tasks| {
                let large = tasks.iter().filter(|task| task.budget.tokens == 4 * policy.tokens().unwrap());
                large.map(|task| task.role.clone()).collect()
            });
            tasks.collect()
        };
        assert_eq!(large(&new), [vec![], vec![]]);
        let role = |run: &Evidence| RunRole::LargeBudget { of: run.task.id(), factor: 4 };
        let (baseline, runs) = (run(&gpt), run(&holder));
        assert_eq!(large(&holder), [vec![role(&baseline[0])], vec![role(&runs[0]), role(&runs[3])]]);
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
        assert!(matches!(short, Err(PlanError::Policy(_))));
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
