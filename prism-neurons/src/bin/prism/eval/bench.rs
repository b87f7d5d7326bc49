//! A validator's parts without the chain: plan, trainers and cohort for whoever measures at home.
use crate::progress::Progress;
use futures::stream::{self, TryStreamExt as _};
use prism_core::{
    Block, Cancel, Error, Evidence, FamilyId, Fault, Hotkey, Kind, Result, SubmissionId, TaskId, TrainTask, Trainer,
    artifacts::{ArtifactsExt as _, MemoryArtifacts},
    scorer::Candidate,
    submission::{Precedence, SubmissionKind},
    trainer::Surroundings,
};
use prism_eval::{
    data,
    examination::{Content, Examination},
    graph::{Context, Limits, baselines, family},
    plan_of_runs::{
        Architecture, Cohort, Entrant, ReferenceRecipe, Training, at_rate, plan_of_repeats, plan_of_runs, plan_of_work,
    },
    policy::PrismPolicy,
    recipe::Recipe,
    score::{recipe_run, tuned_reference},
    trainer::NativeTrainer,
};
use prism_neurons::validator::SeedRule;
use std::{collections::BTreeMap, sync::Arc};

/// The published families that everything is compared with.
const BASELINES: [&str; 1] = ["gpt"];
/// The cohort that a word seeds; a demo's first has the same number, and so the same rows.
const COHORT: u64 = 1;

/// One who is measured.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    id: SubmissionId,
    family: FamilyId,
    pub(crate) kind: SubmissionKind,
    baseline: bool,
    entrant: Entrant,
}

impl Subject {
    /// The subject with its runs, for a scorer.
    pub(crate) fn candidate<'a>(&self, runs: &'a [Evidence]) -> Candidate<'a> {
        let precedence = Precedence { block: Block(0), extrinsic: 0, hotkey: Hotkey([0; 32]), local: true };
        Candidate { submission: self.id, kind: self.kind, precedence, family: self.family, runs, incumbent: false }
    }
}

/// Everything that a measurement needs.
#[derive(Debug)]
pub(crate) struct Bench {
    policy: PrismPolicy,
    cohort: Cohort,
    artifacts: Arc<MemoryArtifacts>,
    trainers: Vec<Arc<dyn Trainer>>,
    workers: usize,
    progress: Arc<Progress>,
}

impl Bench {
    pub(crate) async fn new(policy: PrismPolicy, word: &str, workers: usize, progress: Arc<Progress>) -> Result<Self> {
        policy.check()?;
        let corpus = data::fixture::stand_in()?;
        let artifacts = Arc::new(MemoryArtifacts::new());
        let mut references = Vec::new();
        for rate in &policy.plan.rates {
            let recipe = at_rate(&Recipe::reference(), *rate)
                .ok_or_else(|| Error::bug(format!("reference recipe overflows at rate {rate}")))?;
            let recipe = artifacts.keep_bytes(&recipe.canonical_bytes()).await?;
            references.push(ReferenceRecipe { rate: *rate, recipe });
        }
        let cohort = Cohort { seed: SeedRule::of_word(word, COHORT), data: corpus.data_ref(), references };
        let trainers: Vec<Arc<dyn Trainer>> = vec![Arc::new(NativeTrainer::new(corpus))];
        Ok(Self { policy, cohort, artifacts, trainers, workers, progress })
    }

    pub(crate) fn policy(&self) -> &PrismPolicy {
        &self.policy
    }

    /// The numbers that architectures may depend on, at the base size.
    pub(crate) fn context(&self) -> Context {
        self.policy.plan.context(self.cohort.data.vocabulary)
    }

    /// The bounds that architectures are held to.
    pub(crate) fn limits(&self) -> Limits {
        self.policy.plan.limits().within(&self.context())
    }

    /// What of a bundle is measured.
    ///
    /// # Errors
    /// `NotFound` for a recipe whose target is no published family: others are a validator's to know.
    pub(crate) async fn subject(&self, examination: &Examination, id: SubmissionId) -> Result<Subject> {
        let Content::Native { graph, recipe } = &examination.content else {
            let text = "this build measures no bundle of Python";
            return Err(Error::new(Kind::Unsupported, Fault::Validator, text));
        };
        let kind = examination.kind();
        let training = match recipe {
            Some(recipe) => Some(Training::Declared(self.artifacts.keep_bytes(&recipe.canonical_bytes()).await?)),
            None => None,
        };
        if let (Some(graph), Some(family)) = (graph, examination.family()) {
            let graph = self.artifacts.keep_bytes(&graph.canonical_bytes()).await?;
            let entrant = Entrant { kind, architecture: Architecture::Declared(graph), training };
            return Ok(Subject { id, family, kind, baseline: false, entrant });
        }
        let target = self.published(examination.target().unwrap_or_default()).await?;
        let entrant = Entrant { kind, architecture: target.entrant.architecture, training };
        Ok(Subject { id, family: target.family, kind, baseline: false, entrant })
    }

    /// The published baselines.
    pub(crate) async fn baselines(&self) -> Result<Vec<Subject>> {
        let mut subjects = Vec::new();
        for name in BASELINES {
            subjects.push(self.published(name).await?);
        }
        Ok(subjects)
    }

    async fn published(&self, name: &str) -> Result<Subject> {
        let Some(spec) = baselines::spec(name) else {
            let shown: String = name.escape_debug().take(80).collect();
            let text =
                format!("`architecture_id` is {shown}, which is no published family ({})", baselines::NAMES.join(", "));
            return Err(Error::new(Kind::NotFound, Fault::Miner, text));
        };
        let graph = spec?.resolve(&self.context(), &self.limits())?;
        let kind = SubmissionKind::ArchitectureOnly;
        let architecture = Architecture::Declared(self.artifacts.keep_bytes(&graph.canonical_bytes()).await?);
        let (family, entrant) = (family(&graph), Entrant { kind, architecture, training: None });
        let id = SubmissionId::of_parts("prism/baseline/1", &[&family.0]);
        Ok(Subject { id, family, kind, baseline: true, entrant })
    }

    /// The runs of all, each once: equal work is one task.
    pub(crate) fn plans<'a>(&self, subjects: impl Iterator<Item = &'a Subject>) -> Result<Vec<TrainTask>> {
        let mut tasks = BTreeMap::new();
        for subject in subjects {
            for task in self.plan(subject)? {
                tasks.insert(task.id(), task);
            }
        }
        Ok(tasks.into_values().collect())
    }

    fn plan(&self, subject: &Subject) -> Result<Vec<TrainTask>> {
        Ok(plan_of_runs(&self.policy.plan, &self.cohort, &subject.entrant)?)
    }

    /// Carries out tasks, some at the same time.
    pub(crate) async fn carry_out(&self, tasks: Vec<TrainTask>, cancel: &Cancel) -> Result<BTreeMap<TaskId, Evidence>> {
        stream::iter(tasks.into_iter().map(Ok))
            .map_ok(|task| self.train(task, cancel))
            .try_buffer_unordered(self.workers)
            .try_collect()
            .await
    }

    async fn train(&self, task: TrainTask, cancel: &Cancel) -> Result<(TaskId, Evidence)> {
        let trainer = self.trainers.iter().find(|trainer| trainer.info().takes(&task.subject));
        let trainer = trainer.ok_or_else(|| {
            Error::new(Kind::Unsupported, Fault::Validator, format!("no trainer here takes task {}", task.id()))
        })?;
        let around = Surroundings::new(Arc::<MemoryArtifacts>::clone(&self.artifacts))
            .observed_by(Arc::<Progress>::clone(&self.progress))
            .cancelled_by(cancel.child());
        let evidence = trainer.train(&task, &around).await?;
        let of = task.budget.steps;
        around.observer.on(&prism_core::observer::Event::Progress { task: task.id(), done: of, of });
        Ok((task.id(), evidence))
    }

    /// Adds what is planned when the best rates are known: repeats of the runs that count, and baselines at more work.
    pub(crate) async fn carry_out_further<'a>(
        &self,
        mut evidence: BTreeMap<TaskId, Evidence>,
        subjects: impl Iterator<Item = &'a Subject>,
        cancel: &Cancel,
    ) -> Result<BTreeMap<TaskId, Evidence>> {
        let mut tasks = BTreeMap::new();
        for subject in subjects {
            for task in self.further(subject, &self.runs_of(subject, &evidence)?) {
                tasks.insert(task.id(), task);
            }
        }
        self.progress.expect_more(tasks.len());
        evidence.extend(self.carry_out(tasks.into_values().collect(), cancel).await?);
        Ok(evidence)
    }

    fn further(&self, subject: &Subject, runs: &[Evidence]) -> Vec<TrainTask> {
        let policy = &self.policy.plan;
        let reference = tuned_reference(runs);
        let counting = reference.into_iter().chain(recipe_run(runs));
        let repeats = counting.flat_map(|run| plan_of_repeats(policy, &run.task));
        let work = reference.filter(|_| subject.baseline).into_iter().flat_map(|run| plan_of_work(policy, &run.task));
        repeats.chain(work).collect()
    }

    /// A subject's runs among all: those of its plan, then repeats, then those at more work.
    pub(crate) fn runs_of(&self, subject: &Subject, evidence: &BTreeMap<TaskId, Evidence>) -> Result<Vec<Evidence>> {
        let found = |task: &TrainTask| evidence.get(&task.id()).cloned();
        let mut runs: Vec<Evidence> = self.plan(subject)?.iter().filter_map(found).collect();
        let further: Vec<Evidence> = self.further(subject, &runs).iter().filter_map(found).collect();
        runs.extend(further);
        Ok(runs)
    }

    /// What a reader must know about these numbers.
    pub(crate) fn notes(&self) -> Vec<String> {
        vec![
            "public text and a seed that you chose: a validator's rows are others, and only paired differences on them \
             are paid"
                .to_owned(),
        ]
    }
}
