//! Who measures Python here: the sandbox and the runtime that the configuration names, as one trainer.
use crate::config::GuestConfig;
use prism_core::{Artifacts, Error, Fault, Kind, Result, Sandbox};
use prism_eval::{
    data::Corpus,
    guest::{GuestSettings, GuestTrainer, Runtime, runtime::DESCRIPTION},
    sandbox::{
        UnsafeProcessSandbox,
        container::{ContainerConfig, ContainerSandbox, candidates},
        detect::{Backends, Chosen, detect},
        embedded::EmbeddedSandbox,
    },
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Whose containers a program's are, when several share an engine.
const OWNER: &str = "prism";

/// What of the environment says where a container engine listens; libraries don't read it themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineEnvironment {
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
}

impl EngineEnvironment {
    /// As this process has it. For binaries.
    #[must_use]
    pub fn of_process() -> Self {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self { docker_host: std::env::var("DOCKER_HOST").ok(), runtime_dir }
    }
}

/// The trainer of Python, or `None` where no runtime is installed and none is named: bundles of Python then wait.
///
/// Sweeps what an earlier process left. Call it on the runtime that the trainer is used on.
///
/// # Errors
/// A runtime that is named and not there, or that changed; no sandbox that does what is required.
pub async fn trainer(
    config: &GuestConfig,
    folder: &Path,
    corpus: Arc<Corpus>,
    artifacts: Arc<dyn Artifacts>,
    environment: &EngineEnvironment,
) -> Result<Option<GuestTrainer>> {
    let installed = folder.join("runtime");
    let place = match &config.runtime {
        Some(path) => path,
        None if installed.join(DESCRIPTION).exists() => &installed,
        None => return Ok(None),
    };
    let runtime = Runtime::open(place)?;
    let chosen = sandbox(config, folder, artifacts, environment).await?;
    let swept = chosen.sandbox.sweep().await?;
    tracing::info!(sandbox = chosen.sandbox.name(), swept, best_effort = ?chosen.best_effort, "Python is measured");
    let scratch = folder.join("guests");
    std::fs::create_dir_all(&scratch).map_err(|e| {
        let text = format!("folder {} can't be made", scratch.display());
        Error::new(Kind::Unavailable, Fault::Validator, text).because(e)
    })?;
    let mut settings = GuestSettings::new(runtime, scratch);
    settings.required = chosen.required;
    settings.image = config.image.clone();
    settings.gpus = config.gpus.clone();
    settings.threads = config.threads;
    settings.processes = config.processes;
    settings.warm = config.warm as usize;
    settings.limits.memory = config.memory;
    GuestTrainer::new(chosen.sandbox, corpus, settings).map(Some)
}

async fn sandbox(
    config: &GuestConfig,
    folder: &Path,
    artifacts: Arc<dyn Artifacts>,
    environment: &EngineEnvironment,
) -> Result<Chosen> {
    let embedded_config = config.sandbox.embedded.clone();
    let (socket, runtime) = (config.engine_socket.clone(), config.engine_runtime.clone());
    let environment = environment.clone();
    let process_folder = folder.join("unsafe");
    let mut backends = Backends::default();
    backends.embedded = Some(Box::new(move || {
        Box::pin(async move {
            let sandbox = EmbeddedSandbox::new(embedded_config).with_artifacts(artifacts);
            Ok(Arc::new(sandbox) as Arc<dyn Sandbox>)
        })
    }));
    backends.container = Some(Box::new(move || {
        Box::pin(async move {
            let (host, dir) = (environment.docker_host.as_deref(), environment.runtime_dir.as_deref());
            let mut config = ContainerConfig::new(candidates(socket.as_deref(), host, dir)?, OWNER);
            config.runtime = runtime;
            Ok(Arc::new(ContainerSandbox::connect(config).await?) as Arc<dyn Sandbox>)
        })
    }));
    backends.process = Some(Box::new(move || {
        Box::pin(async move {
            std::fs::create_dir_all(&process_folder).map_err(|e| {
                let text = format!("folder {} can't be made", process_folder.display());
                Error::new(Kind::Unavailable, Fault::Validator, text).because(e)
            })?;
            Ok(Arc::new(UnsafeProcessSandbox::new(process_folder)) as Arc<dyn Sandbox>)
        })
    }));
    detect(&config.sandbox, !config.gpus.is_empty(), backends).await
}
