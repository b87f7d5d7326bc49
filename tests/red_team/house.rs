//! The validator's measurement around one attack: plan, trainer, scorer.
use crate::{
    ground,
    table::{Attack, Part},
};
use prism_core::{
    Block, Epoch, Evidence, FamilyId, Finite, Hotkey, ScoreCard, Scorer, Seed, SubmissionId, TaskId, TrainTask,
    Trainer,
    artifacts::{ArtifactsExt, MemoryArtifacts},
    scorer::{Candidate, Round},
    submission::{Precedence, SubmissionKind},
    trainer::Surroundings,
};
use prism_eval::{
    bundle,
    data::fixture::stand_in,
    guest::{GuestBundle, GuestPart, GuestTrainer},
    plan_of_runs::{Architecture, Cohort, Entrant, Measured as Planned, Role, Training, plan_further, plan_of_runs},
    player::Measuring,
    policy::{PlanPolicy, PrismPolicy, ScoreNumbers},
    score::{PrismScorer, tuned_reference},
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

/// The grid of the official policy, one step higher: runs as short as these need higher rates.
const GRID: [f64; 3] = [3.0, 10.0, 30.0];
const CLIMB: [f64; 3] = [100.0, 300.0, 1000.0];

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
        probes: vec![],
        ..PlanPolicy::smoke()
    };
    let score = ScoreNumbers { require_confirmation: Finite::ZERO, pay_smoke: Finite::ONE, ..ScoreNumbers::default() };
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
    pub(crate) async fn new(tuned: bool, seeds: u32) -> Self {
        let mut policy = policy();
        if tuned {
            policy.plan.rates = GRID.map(finite).to_vec();
            policy.plan.climb = CLIMB.map(finite).to_vec();
        }
        policy.plan.repeats = seeds - 1;
        let corpus = stand_in().unwrap();
        let artifacts = Arc::new(MemoryArtifacts::new());
        let seed = Seed::of("test", &[b"red team"]);
        let cohort = Cohort::new(seed, corpus.data_ref(), &policy.plan, &*artifacts).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let settings = ground::settings(folder.path(), 2);
        let trainer = GuestTrainer::new(ground::sandbox(folder.path()), corpus, settings).unwrap();
        Self { policy, cohort, artifacts, trainer, runs: Mutex::default(), _folder: folder }
    }

    /// The honest bundle under the reference recipe, at more work too: what attacks are compared with.
    pub(crate) async fn baseline(&self) -> Measured {
        let kind = SubmissionKind::ArchitectureOnly;
        let architecture = Architecture::Code(self.keep(part("honest"), None).await);
        let entrant = Entrant { role: Role::Baseline, ..Entrant::new(kind, architecture, None) };
        let measured = self.measure(&entrant).await;
        let outcomes = || measured.runs.iter().map(|run| run.outcome.clone()).collect::<Vec<_>>();
        assert!(tuned_reference(&measured.runs).is_some(), "honest bundle: {:?}", outcomes());
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
        self.measure(&Entrant::new(kind, Architecture::Code(architecture), training)).await
    }

    async fn keep(&self, architecture: GuestPart, training: Option<GuestPart>) -> prism_core::Digest {
        let bundle = GuestBundle { architecture, training };
        self.artifacts.keep_bytes(&bundle.canonical_bytes()).await.unwrap()
    }

    async fn measure(&self, entrant: &Entrant) -> Measured {
        let plan = &self.policy.plan;
        let mut runs = Vec::new();
        let mut tasks = plan_of_runs(plan, &self.cohort, entrant).unwrap();
        while !tasks.is_empty() {
            for task in &tasks {
                runs.push(self.run(task).await);
            }
            tasks = plan_further(plan, &self.cohort, &[Planned { entrant, runs: &runs }]).unwrap().remove(0);
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

impl Attack {
    /// Whether the reference recipe is tuned for it, or runs at the one rate that suits the honest bundle.
    pub(crate) fn is_tuned(&self) -> bool {
        self.part == Part::Tuned
    }
}
