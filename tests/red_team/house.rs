//! The validator's measurement around one attack: plan, trainer, scorer.
use crate::{
    ground,
    table::{Attack, Part},
};
use prism_core::{
    Block, Epoch, Evidence, FamilyId, Finite, Hotkey, ScoreCard, Scorer, Seed, SubmissionId, TaskId, TrainTask,
    Trainer,
    artifacts::{ArtifactsExt, MemoryArtifacts},
    plan::{RunRole, Subject},
    scorer::{Candidate, Round},
    submission::{Precedence, SubmissionKind},
    trainer::Surroundings,
};
use prism_eval::{
    bundle,
    data::fixture::stand_in,
    guest::{GuestBundle, GuestPart, GuestTrainer},
    plan_of_runs::{Architecture, Cohort, Entrant, ReferenceRecipe, Training, at_rate, plan_of_repeats, plan_of_runs},
    player::Measuring,
    policy::{PlanPolicy, PrismPolicy, ScoreNumbers},
    recipe::Recipe,
    score::{PrismScorer, recipe_run, tuned_reference},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::Mutex;

/// Trains what is asked for, each task once, and scores it against the honest bundle.
#[derive(Debug)]
pub(crate) struct House {
    policy: PrismPolicy,
    cohort: Cohort,
    artifacts: Arc<MemoryArtifacts>,
    trainer: GuestTrainer,
    runs: Mutex<BTreeMap<TaskId, Evidence>>,
    _folder: tempfile::TempDir,
}

/// An entrant with all its runs.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) kind: SubmissionKind,
    pub(crate) runs: Vec<Evidence>,
}

fn finite(value: f64) -> Finite {
    Finite::new(value).unwrap()
}

/// Seconds a run: small models, three points, three seeds.
fn policy() -> PrismPolicy {
    let plan = PlanPolicy {
        steps: 96,
        batch: 16,
        sequence: 64,
        wall_millis: 300_000,
        cpu_millis: 300_000,
        points: 3,
        rows: 32,
        audits: 32,
        held_out_rows: 32,
        rates: vec![finite(10.0)],
        repeats: 2,
        work: vec![2, 4],
        ..PlanPolicy::smoke()
    };
    let score = ScoreNumbers { require_confirmation: Finite::ZERO, ..ScoreNumbers::default() };
    PrismPolicy { plan, score, ..PrismPolicy::smoke() }
}

/// The folder of the attacks.
pub(crate) fn bundles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("red_team/bundles")
}

/// The files of an attack, the honest bundle among them.
pub(crate) fn files(name: &str) -> BTreeMap<String, String> {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut files = BTreeMap::from([("honest.py".to_owned(), read(&bundles().join("../honest.py")))]);
    let folder = bundles().join(name);
    if folder.is_dir() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            files.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), read(&path));
        }
    } else if name == "smuggled_weights" {
        files.insert("attack.py".to_owned(), smuggled_weights());
    } else if name != "honest" {
        files.insert("attack.py".to_owned(), read(&folder.with_extension("py")));
    }
    files
}

/// A model of the honest size in its source, a byte for each weight: noise, as trained weights are to a compressor.
fn smuggled_weights() -> String {
    let mut draws = Seed::of("test", &[b"weights"]).draws();
    let digits: String = (0..44_000).map(|_| format!("{:02x}", draws.below(256))).collect();
    format!(
        "from honest import build_model, configure_optimizer, get_recipe\n\nWEIGHTS = bytes.fromhex(\"{digits}\")\n"
    )
}

/// An attack as it would be sent.
pub(crate) fn archive(name: &str) -> Vec<u8> {
    let mut files = files(name);
    let entrypoint = if name == "honest" { "honest.py" } else { "attack.py" };
    files.insert("prism.yaml".to_owned(), format!("kind: full\narchitecture: {{ entrypoint: {entrypoint} }}\n"));
    bundle::pack(&files).unwrap()
}

fn part(name: &str) -> GuestPart {
    let entrypoint = if name == "honest" { "honest.py" } else { "attack.py" };
    GuestPart { entrypoint: entrypoint.to_owned(), files: files(name), measuring: Measuring::Claims }
}

impl House {
    pub(crate) fn new(rates: &[f64], seeds: u32) -> Self {
        let mut policy = policy();
        policy.plan.rates = rates.iter().map(|rate| finite(*rate)).collect();
        policy.plan.repeats = seeds - 1;
        let corpus = stand_in().unwrap();
        let artifacts = Arc::new(MemoryArtifacts::new());
        let keep = |recipe: &Recipe| futures_block(artifacts.keep_bytes(&recipe.canonical_bytes()));
        let reference = |rate: &Finite| {
            let recipe = at_rate(&Recipe::reference(), *rate).unwrap();
            ReferenceRecipe { rate: *rate, recipe: keep(&recipe) }
        };
        let cohort = Cohort {
            seed: Seed::of("test", &[b"red team"]),
            data: corpus.data_ref(),
            references: policy.plan.rates.iter().map(reference).collect(),
        };
        let folder = tempfile::tempdir().unwrap();
        let settings = ground::settings(folder.path(), 2);
        let trainer = GuestTrainer::new(ground::sandbox(folder.path()), corpus, settings).unwrap();
        Self { policy, cohort, artifacts, trainer, runs: Mutex::default(), _folder: folder }
    }

    /// The honest bundle under the reference recipe, at more work too: what attacks are compared with.
    pub(crate) async fn baseline(&self) -> Measured {
        let kind = SubmissionKind::ArchitectureOnly;
        let architecture = Architecture::Code(self.keep(part("honest"), None).await);
        let entrant = Entrant { kind, architecture, training: None };
        let mut measured = self.measure(&entrant).await;
        let outcomes = || measured.runs.iter().map(|run| run.outcome.clone()).collect::<Vec<_>>();
        let tuned = tuned_reference(&measured.runs).unwrap_or_else(|| panic!("honest bundle: {:?}", outcomes()));
        let tuned = tuned.task.clone();
        // The reference recipe takes one step per batch in a guest; hooks take more.
        for inner_steps in &self.policy.plan.work {
            let source = fs::read_to_string(bundles().join("../works_more.py")).unwrap();
            let source = source.replace("STEPS = 2", &format!("STEPS = {inner_steps}"));
            let mut training = part("honest");
            training.entrypoint = "works_more.py".to_owned();
            training.files.insert("works_more.py".to_owned(), source);
            let bundle = self.keep(part("honest"), Some(training)).await;
            let role = RunRole::Work { of: tuned.id(), inner_steps: *inner_steps };
            let task = TrainTask { role, subject: Subject::Guest { bundle, recipe: None }, ..tuned.clone() };
            measured.runs.push(self.run(&task).await);
        }
        measured
    }

    /// The runs of an attack; `honest` for the honest bundle with its own hooks.
    pub(crate) async fn attack(&self, name: &str, what: Part) -> Measured {
        let code = |part: GuestPart, training: Option<GuestPart>| self.keep(part, training);
        let (kind, architecture, training) = match what {
            Part::Architecture | Part::Tuned => (SubmissionKind::ArchitectureOnly, code(part(name), None).await, None),
            Part::Training => {
                let whole = code(part("honest"), Some(part(name))).await;
                (SubmissionKind::TrainingForArch, code(part("honest"), None).await, Some(whole))
            }
            Part::Whole => {
                let alone = code(part(name), None).await;
                (SubmissionKind::Full, alone, Some(alone))
            }
        };
        let training = training.map(Training::Code);
        self.measure(&Entrant { kind, architecture: Architecture::Code(architecture), training }).await
    }

    async fn keep(&self, architecture: GuestPart, training: Option<GuestPart>) -> prism_core::Digest {
        let bundle = GuestBundle { architecture, training };
        self.artifacts.keep_bytes(&bundle.canonical_bytes()).await.unwrap()
    }

    async fn measure(&self, entrant: &Entrant) -> Measured {
        let plan = &self.policy.plan;
        let mut runs = Vec::new();
        for task in plan_of_runs(plan, &self.cohort, entrant).unwrap() {
            runs.push(self.run(&task).await);
        }
        let counting: Vec<TrainTask> = match entrant.training {
            Some(_) => {
                [tuned_reference(&runs), recipe_run(&runs)].into_iter().flatten().map(|r| r.task.clone()).collect()
            }
            None => tuned_reference(&runs).into_iter().map(|run| run.task.clone()).collect(),
        };
        for task in counting.iter().flat_map(|task| plan_of_repeats(plan, task)) {
            runs.push(self.run(&task).await);
        }
        Measured { kind: entrant.kind, runs }
    }

    async fn run(&self, task: &TrainTask) -> Evidence {
        if let Some(evidence) = self.runs.lock().await.get(&task.id()) {
            return evidence.clone();
        }
        let around = Surroundings::new(Arc::<MemoryArtifacts>::clone(&self.artifacts));
        let evidence = self.trainer.train(task, &around).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        self.runs.lock().await.insert(task.id(), evidence.clone());
        evidence
    }

    /// An attack's card, with the honest bundle as the only baseline.
    pub(crate) fn score(&self, measured: &Measured, baseline: &Measured) -> ScoreCard {
        let candidates = [measured.candidate("attack")];
        let baselines = [baseline.candidate("honest")];
        let numbers = self.policy.numbers();
        PrismScorer.score(&Round::new(Epoch(1), &numbers, &candidates, &baselines)).unwrap().pop().unwrap()
    }
}

impl Measured {
    fn candidate(&self, name: &str) -> Candidate<'_> {
        let precedence = Precedence { block: Block(1), extrinsic: 0, hotkey: Hotkey([1; 32]), local: false };
        Candidate {
            submission: SubmissionId::of_parts("test", &[name.as_bytes()]),
            kind: self.kind,
            precedence,
            family: FamilyId::of_parts("test", &[name.as_bytes()]),
            runs: &self.runs,
            incumbent: false,
        }
    }
}

fn futures_block<T>(future: impl Future<Output = prism_core::Result<T>>) -> T {
    // Memory answers at once.
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value.unwrap(),
        std::task::Poll::Pending => unreachable!("artifacts in memory wait for nothing"),
    }
}

impl Attack {
    /// The rates of the grid it is measured under.
    pub(crate) fn rates(&self) -> &'static [f64] {
        if self.part == Part::Tuned { &[1.0, 3.0, 10.0] } else { &[10.0] }
    }
}
