//! A validator's parts without the chain: plan, trainers and cohort for whoever measures at home.
use super::place::Place;
use crate::progress::Progress;
use futures::stream::{self, TryStreamExt as _};
use prism_core::{
    Artifacts, Block, Cancel, Digest, Error, Evidence, FamilyId, Fault, Hotkey, Kind, Result, SubmissionId, TaskId,
    TrainTask, Trainer,
    artifacts::{ArtifactsExt as _, MemoryArtifacts},
    observer::Event,
    scorer::Candidate,
    submission::{Precedence, SubmissionKind},
    trainer::Surroundings,
};
use prism_eval::{
    data::Corpus,
    examination::{Content, Examination},
    graph::{self, Context, GraphSpec, Limits},
    guest::{self, GuestBundle, GuestPart},
    plan_of_runs::{Architecture, Cohort, Entrant, Measured, Role, Training, keep_probes, plan_further, plan_of_runs},
    policy::{PrismPolicy, Probe},
    review::Review,
    trainer::NativeTrainer,
};
use prism_neurons::{guests, validator::SeedRule};
use std::{collections::BTreeMap, sync::Arc};

/// The published family that everything is compared with.
const BASELINE: &str = "gpt";
/// The one that tells what a baseline's work takes, where Python is measured.
const PYTHON_BASELINE: &str = "gpt-python";
/// The cohort that a word seeds; a demo's first has the same number, and so the same rows.
const COHORT: u64 = 1;

/// One who is measured.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    id: SubmissionId,
    family: FamilyId,
    pub(crate) kind: SubmissionKind,
    entrant: Entrant,
    /// The architecture itself, where it is Python.
    code: Option<GuestPart>,
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
    corpus: Arc<Corpus>,
    workers: usize,
    progress: Arc<Progress>,
}

impl Bench {
    pub(crate) async fn new(
        policy: PrismPolicy,
        word: &str,
        corpus: Arc<Corpus>,
        workers: usize,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        policy.check()?;
        let artifacts = Arc::new(MemoryArtifacts::new());
        let seed = SeedRule::of_word(word, COHORT);
        let cohort = Cohort::new(seed, corpus.data_ref(), &policy.plan, &*artifacts).await?;
        let trainers: Vec<Arc<dyn Trainer>> = vec![Arc::new(NativeTrainer::new(Arc::clone(&corpus)))];
        Ok(Self { policy, cohort, artifacts, trainers, corpus, workers, progress })
    }

    /// The same with sandboxes for Python, where the bundle is of Python or trains it.
    ///
    /// # Errors
    /// No runtime is installed, or no sandbox does what is required.
    pub(crate) async fn prepared_for(mut self, examination: &Examination, place: &Place) -> Result<Self> {
        let target = examination.target().unwrap_or_default();
        if !matches!(examination.content, Content::Python(_)) && guest::baselines::architecture(target).is_none() {
            return Ok(self);
        }
        let config = place.config()?;
        let artifacts: Arc<dyn Artifacts> = Arc::<MemoryArtifacts>::clone(&self.artifacts);
        let (folder, environment) = (&config.data.folder, guests::EngineEnvironment::of_process());
        let python = guests::trainer(&config.guest, folder, Arc::clone(&self.corpus), artifacts, &environment).await?;
        let python = python.ok_or_else(|| {
            let text = format!("no runtime for Python in {}: run `prism runtime install`", folder.display());
            Error::new(Kind::Unsupported, Fault::Validator, text)
        })?;
        self.trainers.push(Arc::new(python));
        Ok(self)
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
    /// `NotFound` for a recipe whose target is no published family: others are a validator's to know. `Invalid` for
    /// code that is to train a declared architecture.
    pub(crate) async fn subject(&self, examination: &Examination, id: SubmissionId) -> Result<Subject> {
        let kind = examination.kind();
        let (graph, recipe) = match &examination.content {
            Content::Native { graph, recipe } => (graph, recipe),
            Content::Python(review) => return self.python(examination, review, id).await,
        };
        let training = match recipe {
            Some(recipe) => Some(Training::Declared(self.artifacts.keep_bytes(&recipe.canonical_bytes()).await?)),
            None => None,
        };
        if let (Some(graph), Some(family)) = (graph, examination.family()) {
            let graph = self.artifacts.keep_bytes(&graph.canonical_bytes()).await?;
            let mut entrant = Entrant::new(kind, Architecture::Declared(graph), training);
            if let Some(spec) = examination.bundle.graph()? {
                entrant.probes = self.keep_probes(&spec).await?;
            }
            return Ok(Subject { id, family, kind, entrant, code: None });
        }
        let target = self.published(examination.target().unwrap_or_default()).await?;
        let entrant = Entrant::new(kind, target.entrant.architecture, training);
        Ok(Subject { id, kind, entrant, ..target })
    }

    async fn python(&self, examination: &Examination, review: &Review, id: SubmissionId) -> Result<Subject> {
        let kind = examination.kind();
        let (architecture, family) = match (&review.parts.architecture, review.family) {
            (Some(architecture), Some(family)) => (architecture.clone(), family),
            _ => {
                let target = self.published(examination.target().unwrap_or_default()).await?;
                let text = "the target family is declared, and only declared recipes train it";
                (target.code.ok_or_else(|| Error::invalid(text))?, target.family)
            }
        };
        let alone = self.keep_guest(&architecture, None).await?;
        let training = match kind.brings_recipe() {
            true => Some(Training::Code(self.keep_guest(&architecture, review.parts.training.clone()).await?)),
            false => None,
        };
        let entrant = Entrant::new(kind, Architecture::Code(alone), training);
        Ok(Subject { id, family, kind, entrant, code: Some(architecture) })
    }

    async fn keep_guest(&self, architecture: &GuestPart, training: Option<GuestPart>) -> Result<Digest> {
        let bundle = GuestBundle { architecture: architecture.clone(), training };
        self.artifacts.keep_bytes(&bundle.canonical_bytes()).await
    }

    /// The published baselines: what it is compared with, and in Python what tells its work.
    pub(crate) async fn baselines(&self) -> Result<Vec<Subject>> {
        let python = self.trainers.iter().any(|trainer| trainer.info().guest);
        let mut subjects = Vec::new();
        for name in [BASELINE].into_iter().chain(python.then_some(PYTHON_BASELINE)) {
            subjects.push(self.published(name).await?);
        }
        Ok(subjects)
    }

    async fn published(&self, name: &str) -> Result<Subject> {
        let kind = SubmissionKind::ArchitectureOnly;
        let mut probes = BTreeMap::new();
        let (family, architecture, code) = if let Some(spec) = graph::baselines::spec(name) {
            let spec = spec?;
            probes = self.keep_probes(&spec).await?;
            let graph = spec.resolve(&self.context(), &self.limits())?;
            let digest = self.artifacts.keep_bytes(&graph.canonical_bytes()).await?;
            (graph::family(&graph), Architecture::Declared(digest), None)
        } else if let Some(code) = guest::baselines::architecture(name) {
            let (code, family) = code?;
            (family, Architecture::Code(self.keep_guest(&code, None).await?), Some(code))
        } else {
            let shown: String = name.escape_debug().take(80).collect();
            let known =
                graph::baselines::NAMES.into_iter().chain(guest::baselines::NAMES).collect::<Vec<_>>().join(", ");
            let text = format!("`architecture_id` is {shown}, which is no published family ({known})");
            return Err(Error::new(Kind::NotFound, Fault::Miner, text));
        };
        let id = SubmissionId::of_parts("prism/baseline/1", &[&family.0]);
        let entrant = Entrant { role: Role::Baseline, probes, ..Entrant::new(kind, architecture, None) };
        Ok(Subject { id, family, kind, entrant, code })
    }

    async fn keep_probes(&self, spec: &GraphSpec) -> Result<BTreeMap<Probe, Digest>> {
        keep_probes(&self.policy.plan, self.cohort.data.vocabulary, spec, &*self.artifacts).await
    }

    /// The first runs of a subject, and nothing that follows from them.
    pub(crate) async fn first_runs(&self, subject: &Subject, cancel: &Cancel) -> Result<Vec<Evidence>> {
        let tasks = self.plan(subject)?;
        self.progress.expect_runs(tasks.len());
        let evidence = self.carry_out(tasks.clone(), cancel).await?;
        Ok(tasks.iter().filter_map(|task| evidence.get(&task.id()).cloned()).collect())
    }

    /// All runs of all subjects, for each in the order of its plan: the first, then what follows from the evidence.
    /// Equal work is one task, and done once.
    pub(crate) async fn measure(&self, subjects: &[&Subject], cancel: &Cancel) -> Result<Vec<Vec<Evidence>>> {
        let mut plans = subjects.iter().map(|subject| self.plan(subject)).collect::<Result<Vec<_>>>()?;
        let mut evidence: BTreeMap<TaskId, Evidence> = BTreeMap::new();
        let mut runs = vec![Vec::new(); subjects.len()];
        while plans.iter().any(|tasks| !tasks.is_empty()) {
            let due: BTreeMap<TaskId, &TrainTask> = plans.iter().flatten().map(|task| (task.id(), task)).collect();
            let due: Vec<TrainTask> =
                due.into_iter().filter(|(id, _)| !evidence.contains_key(id)).map(|(_, task)| task.clone()).collect();
            match evidence.is_empty() {
                true => self.progress.expect_runs(due.len()),
                false => self.progress.expect_more(due.len()),
            }
            evidence.extend(self.carry_out(due, cancel).await?);
            for (runs, tasks) in runs.iter_mut().zip(&plans) {
                runs.extend(tasks.iter().filter_map(|task| evidence.get(&task.id()).cloned()));
            }
            let field = subjects.iter().zip(&runs).map(|(subject, runs)| Measured { entrant: &subject.entrant, runs });
            plans = plan_further(&self.policy.plan, &self.cohort, &field.collect::<Vec<_>>())?;
        }
        Ok(runs)
    }

    fn plan(&self, subject: &Subject) -> Result<Vec<TrainTask>> {
        Ok(plan_of_runs(&self.policy.plan, &self.cohort, &subject.entrant)?)
    }

    /// Carries out tasks, some at the same time.
    async fn carry_out(&self, tasks: Vec<TrainTask>, cancel: &Cancel) -> Result<BTreeMap<TaskId, Evidence>> {
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
        around.observer.on(&Event::Progress { task: task.id(), done: of, of });
        Ok((task.id(), evidence))
    }
}
