//! The guest trainer: opens a bundle of Python by digest, and lets a guest play it.
use super::{Assignment, GuestBundle, GuestPlayer, GuestSettings, Pool, Spooled, bundle::MAX_CANONICAL_BYTES};
use crate::{
    data::{Corpus, Dealer},
    measure::{self, Checkpoint},
    recipe::Recipe,
};
use async_trait::async_trait;
use futures::future::{Either, select};
use prism_core::{
    Error, Evidence, Fault, Kind, Result, Sandbox, TrainTask, Trainer,
    artifacts::ArtifactsExt,
    plan::Subject,
    trainer::{Surroundings, TrainerInfo},
};
use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

/// Most bytes of a canonical recipe that are read.
const MAX_RECIPE: u64 = 64 << 10;

/// Trains bundles of Python, each in a sandbox of its own, audited by others.
#[derive(Debug)]
pub struct GuestTrainer {
    /// As it was made; a run may say otherwise.
    settings: GuestSettings,
    /// The pool that stands between runs.
    pool: Mutex<Arc<Pool>>,
    corpus: Arc<Corpus>,
    sandbox: Arc<dyn Sandbox>,
}

impl GuestTrainer {
    /// A trainer over one dataset. Its pool of sandboxes begins to fill on the runtime of the caller.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn new(sandbox: Arc<dyn Sandbox>, corpus: Arc<Corpus>, settings: GuestSettings) -> Result<Self> {
        let pool = Mutex::new(Arc::new(Pool::new(Arc::clone(&sandbox), settings.clone())?));
        Ok(Self { settings, pool, corpus, sandbox })
    }

    /// The sandboxes for a run: those that wait, where they are what it asks for. A run with devices to itself has its own,
    /// so that none that waits for somebody else ever holds one of them.
    fn pool(&self, around: &Surroundings) -> Result<Arc<Pool>> {
        let settings = self.settings.around(around);
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if *pool.settings() == settings {
            return Ok(Arc::clone(&pool));
        }
        let other = Arc::new(Pool::new(Arc::clone(&self.sandbox), settings)?);
        if around.devices.is_empty() {
            // Limits changed for all: those that wait under the old ones are let go.
            *pool = Arc::clone(&other);
        }
        Ok(other)
    }

    async fn open(&self, task: &TrainTask, around: &Surroundings) -> Result<Assignment> {
        let Subject::Guest { bundle, recipe } = task.subject else {
            let text = "guest trainer takes bundles of Python only";
            return Err(Error::new(Kind::Unsupported, Fault::Validator, text));
        };
        let bytes = around.artifacts.read(bundle, MAX_CANONICAL_BYTES as u64).await?;
        let bundle = GuestBundle::from_canonical_bytes(&bytes)?;
        let recipe = match recipe {
            Some(recipe) => {
                let bytes = around.artifacts.read(recipe, MAX_RECIPE).await?;
                Some(Recipe::from_canonical_bytes(&bytes).map_err(foreign)?)
            }
            None => None,
        };
        Assignment::new(task, &bundle, recipe, around.attempt)
    }

    async fn build(
        &self,
        pool: Arc<Pool>,
        assignment: Assignment,
        from: Option<&Checkpoint>,
        around: &Surroundings,
    ) -> Result<GuestPlayer> {
        let Some(from) = from else { return GuestPlayer::build(pool, assignment).await };
        let (saved, folder) = (from.state(), &self.settings.folder);
        let state = Spooled::fetch(folder, &*around.artifacts, saved.state, saved.bytes).await?;
        GuestPlayer::resume(pool, assignment, &state, from.optimizer_steps()).await
    }
}

/// This program wrote the document, under the same bounds.
fn foreign(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Corrupt, Fault::Validator, "document of the task is not one of this version").because(error)
}

#[async_trait]
impl Trainer for GuestTrainer {
    fn info(&self) -> TrainerInfo {
        let gpus = &self.settings.gpus;
        TrainerInfo {
            name: "guest".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            native: false,
            guest: true,
            devices: if gpus.is_empty() { vec!["cpu".into()] } else { gpus.clone() },
            // Every run draws its audits anew, and the corrections differ in their last bits.
            same_bits: false,
        }
    }

    async fn train(&self, task: &TrainTask, around: &Surroundings) -> Result<Evidence> {
        measure::plan::check(task)?;
        let from = match around.resume {
            Some(digest) => Some(Checkpoint::open(&*around.artifacts, digest, task).await?),
            None => None,
        };
        let resumes = from.as_ref().map(|from| from.resumes(around.attempt)).unwrap_or_default();
        let mut rows = Dealer::resumed(&self.corpus, task, &resumes)?;
        let assignment = self.open(task, around).await?;
        let runtime = &self.settings.runtime;
        let engine = format!(
            "guest/{} python/{} torch/{} {}",
            env!("CARGO_PKG_VERSION"),
            runtime.python_version,
            runtime.torch_version,
            self.sandbox.name()
        );
        let pool = self.pool(around)?;
        let devices = pool.settings().gpus.len() as u64;
        let processes = u64::from(pool.settings().processes);
        let build = self.build(pool, assignment, from.as_ref(), around);
        let built = match select(pin!(build), around.cancel.cancelled()).await {
            Either::Left((built, _)) => built,
            Either::Right(_) => Err(Error::new(Kind::Cancelled, Fault::Policy, "run was cancelled")),
        };
        let (mut evidence, device) = match built {
            Ok(player) => {
                let (device, parameters) = (player.welcome().device.clone(), player.reported_parameters());
                let player = Box::new(player);
                let mut evidence = match from {
                    Some(from) => measure::resume(player, task, &mut rows, around, from).await?,
                    None => measure::run(player, task, &mut rows, around).await?,
                };
                evidence.counters.insert("guest_reported_parameters".into(), parameters);
                (evidence, device)
            }
            Err(error) => {
                let outcome = measure::run::failed(error)?;
                let shown = from.map_or_else(|| measure::run::blank(task), |from| from.evidence(around.attempt));
                (Evidence { outcome, ..shown }, "cpu".to_owned())
            }
        };
        evidence.counters.insert("devices".into(), devices);
        evidence.counters.insert("processes".into(), processes);
        evidence.engine = engine;
        evidence.device = if device == "cpu" { format!("cpu/{}", std::env::consts::ARCH) } else { device };
        Ok(evidence)
    }
}
