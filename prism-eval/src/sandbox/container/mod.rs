//! Work in containers of Docker or Podman, over the engine's socket.
//!
//! Every container has an init of the engine's, no network but a loopback, a read-only root, no capabilities, no new
//! privileges, this crate's list of system calls, limits on memory (without swap), processes, open files, file sizes and
//! scratch space, and namespaces of its own. The host counts time and bytes itself and kills at the limits; it never
//! reads a log, and nothing the work writes decides what its end is called.
//!
//! Containers are watched on a thread of the backend's own. Dropping a running one signals its first process at once
//! where this host sees it (which ends all of its processes) and leaves the record to that thread; a program that exits
//! before the thread is done leaves the record to the next [`sweep`](Sandbox::sweep).
mod cgroup;
mod create;
mod engine;
mod error;
pub mod image;
mod profile;
mod running;
mod space;
mod streams;

pub use create::{OWNER_LABEL, RUN_LABEL};
pub use engine::candidates;
pub use error::ContainerError;

use super::artifacts::Caps;
use async_trait::async_trait;
use bollard::{
    Docker,
    models::SystemInfo,
    query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder},
};
use create::{ApiVersion, Around};
use engine::Engine;
use prism_core::{
    Artifacts, Result, Sandbox,
    sandbox::{Capabilities, Property, Running, SandboxSpec, Strength},
};
use profile::Profile;
use running::{ContainerRunning, Shared, Watch};
use space::Space;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::sync::oneshot;

/// The user that work runs as: none of Debian, Fedora or Alpine has it, and distroless images call it `nonroot`.
pub const NOBODY: u32 = 65532;

/// How GPUs are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GpuRequest {
    /// By NVIDIA's device ids: indices or UUIDs. Needs nvidia-container-toolkit.
    #[default]
    Nvidia,
    /// By the Container Device Interface: names like `nvidia.com/gpu=0`.
    Cdi,
}

/// Where scratch space lies when files that work leaves are to be collected, and where they go.
#[derive(Debug, Clone)]
pub struct ArtifactSpace {
    /// A folder of this program's own, on the engine's machine. A sized tmpfs is mounted below it for each container,
    /// which takes the right to mount.
    pub folder: PathBuf,
    /// Keeps what is collected.
    pub store: Arc<dyn Artifacts>,
    /// How much is collected.
    pub caps: Caps,
}

/// How containers are made.
#[derive(Debug, Clone)]
pub struct ContainerConfig {
    /// Sockets of engines, best first; [`candidates`] lists them.
    pub sockets: Vec<PathBuf>,
    /// Whose containers these are. Two programs on one engine need two names, or one sweeps the other's.
    pub owner: String,
    /// The OCI runtime by the engine's name for it, like `runsc` or `kata`; the engine's default otherwise.
    pub runtime: Option<String>,
    /// How GPUs are asked for.
    pub gpu_request: GpuRequest,
    /// Whether programs in scratch space can be started. Compilers of kernels (Triton, Inductor) need it.
    pub executable_scratch: bool,
    /// User and group of the work.
    pub user: u32,
    /// Collects files below `/tmp/artifacts`, a folder that is there for it. Without this, scratch space is the container's
    /// own, and gone with it.
    pub artifacts: Option<ArtifactSpace>,
}

impl ContainerConfig {
    /// The defaults: no runtime by name, NVIDIA's ids, scratch space for data alone, nothing collected.
    #[must_use]
    pub fn new(sockets: Vec<PathBuf>, owner: impl Into<String>) -> Self {
        Self {
            sockets,
            owner: owner.into(),
            runtime: None,
            gpu_request: GpuRequest::default(),
            executable_scratch: false,
            user: NOBODY,
            artifacts: None,
        }
    }
}

/// Docker or Podman as a [`Sandbox`].
#[derive(Debug)]
pub struct ContainerSandbox {
    engine: Arc<Engine>,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ContainerConfig,
    api: ApiVersion,
    podman: bool,
    info: SystemInfo,
    seccomp: Profile,
    socket: PathBuf,
    /// Tells this sandbox's starts from those of another process with the same owner.
    nonce: u64,
    starts: AtomicU64,
    /// Starts that aren't over: what a sweep leaves alone.
    live: Arc<Mutex<BTreeSet<String>>>,
    sees: Arc<AtomicBool>,
}

/// A start that isn't over.
#[derive(Debug)]
struct Live {
    run: String,
    live: Arc<Mutex<BTreeSet<String>>>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

impl ContainerSandbox {
    /// Connects to the first engine that answers.
    ///
    /// # Errors
    /// `Unavailable` when none does.
    pub async fn connect(config: ContainerConfig) -> Result<Self, ContainerError> {
        let engine = Engine::connect(&config.sockets).await?;
        let (api, version, info) = engine
            .call(|docker| async move {
                let api = docker.client_version();
                let version = docker.version().await.map_err(ContainerError::call("say its version"))?;
                let info = docker.info().await.map_err(ContainerError::call("describe itself"))?;
                Ok((ApiVersion(api.major_version, api.minor_version), version, info))
            })
            .await?;
        let podman = version.components.iter().flatten().any(|component| component.name == "Podman Engine");
        let inner = Inner {
            api,
            podman,
            info,
            seccomp: Profile::new(super::seccomp::docker_profile(), podman)?,
            socket: engine.socket.clone(),
            nonce: RandomState::new().hash_one(0),
            starts: AtomicU64::new(0),
            live: Arc::default(),
            sees: Arc::default(),
            config,
        };
        Ok(Self { engine: Arc::new(engine), inner: Arc::new(inner) })
    }

    /// Where the engine listens.
    #[must_use]
    pub fn socket(&self) -> &std::path::Path {
        &self.inner.socket
    }
}

#[async_trait]
impl Sandbox for ContainerSandbox {
    fn name(&self) -> &str {
        "container"
    }

    async fn probe(&self) -> Result<Capabilities> {
        let info = self
            .engine
            .call(|docker| async move { docker.info().await.map_err(ContainerError::call("describe itself")) });
        Ok(self.inner.capabilities(&info.await?))
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Box<dyn Running>> {
        let (inner, engine) = (Arc::clone(&self.inner), Arc::clone(&self.engine));
        let started = self.engine.call(move |docker| async move { inner.start(docker, engine, spec).await });
        Ok(Box::new(started.await?))
    }

    async fn sweep(&self) -> Result<usize> {
        let inner = Arc::clone(&self.inner);
        Ok(self.engine.call(move |docker| async move { inner.sweep(&docker).await }).await?)
    }
}

impl Inner {
    /// Makes a container, attaches to it, starts it, and has it watched. On the engine's thread.
    async fn start(
        &self,
        docker: Docker,
        engine: Arc<Engine>,
        spec: SandboxSpec,
    ) -> Result<ContainerRunning, ContainerError> {
        if let Some(missing) = self.capabilities(&self.info).missing(&spec.required) {
            return Err(ContainerError::NotEnforced(missing, self.socket.clone()));
        }
        if self.podman && !spec.gpus.is_empty() {
            return Err(ContainerError::NoGpus);
        }
        let digest = create::image_by_digest(&spec.root)?;
        let image = image_id(&docker, digest).await?;
        let live = self.begin();
        let space = match &self.config.artifacts {
            Some(to) => Some(Space::mount(&to.folder, &live.run, &spec.limits, &self.config)?),
            None => None,
        };
        let around = Around {
            config: &self.config,
            api: self.api,
            podman: self.podman,
            seccomp: &self.seccomp.option,
            image: &image,
            space: space.as_ref().map(Space::path),
            run: &live.run,
        };
        let body = create::body(&spec, &around)?;
        let name = CreateContainerOptionsBuilder::new().name(&format!("prism-{}", live.run)).build();
        let made = docker.create_container(Some(name), body).await.map_err(ContainerError::call("make a container"))?;
        match self.launch(&docker, engine, &spec, made.id.clone(), space, live).await {
            Ok(running) => Ok(running),
            Err(error) => {
                if let Err(error) = running::remove(&docker, &made.id).await {
                    tracing::warn!(container = made.id, %error, "container that didn't start is left for a sweep");
                }
                Err(error)
            }
        }
    }

    /// Attaches before the start, so that no byte is missed.
    async fn launch(
        &self,
        docker: &Docker,
        engine: Arc<Engine>,
        spec: &SandboxSpec,
        container: String,
        space: Option<Space>,
        live: Live,
    ) -> Result<ContainerRunning, ContainerError> {
        let attach = || AttachContainerOptionsBuilder::new().stream(true);
        let talk = attach().stdin(true).stdout(true).build();
        let talk = docker.attach_container(&container, Some(talk)).await.map_err(ContainerError::call("attach"))?;
        let complain = attach().stderr(true).build();
        let complain =
            docker.attach_container(&container, Some(complain)).await.map_err(ContainerError::call("attach"))?;
        docker.start_container(&container, None).await.map_err(ContainerError::call("start a container"))?;
        let seen =
            docker.inspect_container(&container, None).await.map_err(ContainerError::call("look at a container"))?;
        let pid = seen.state.and_then(|state| state.pid).and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
        let shared = Arc::new(Shared::new(container, pid, &spec.limits));
        self.sees.fetch_or(shared.is_seen(), Ordering::Relaxed);
        if let (Some(space), Some(pid), true) = (&space, pid, shared.is_seen())
            && space.is_shown_to(pid) == Some(false)
        {
            return Err(ContainerError::Unsupported("bind scratch space: the engine has other mounts".into()));
        }
        let wires = streams::wires(&shared);
        let carriers = vec![
            tokio::spawn(streams::carry_out(talk.output, wires.spoken, Arc::clone(&shared))),
            tokio::spawn(streams::carry_in(talk.input, wires.heard)),
        ];
        let stderr = tokio::spawn(streams::keep_stderr(complain.output, spec.limits.stderr, Arc::clone(&shared)));
        let watch = Watch {
            docker: docker.clone(),
            shared: Arc::clone(&shared),
            limits: spec.limits.clone(),
            carriers,
            stderr,
            artifacts: space.zip(self.config.artifacts.clone()),
            sees: Arc::clone(&self.sees),
        };
        let (answer, outcome) = oneshot::channel();
        engine.spawn(move |_| async move {
            let over = watch.over().await;
            drop(live);
            // Dropped work has nobody who asks.
            let _ = answer.send(over);
        })?;
        Ok(ContainerRunning { engine, shared, channel: Some((wires.source, wires.sink)), outcome: Some(outcome) })
    }

    /// What the engine enforces, by what it says now.
    fn capabilities(&self, info: &SystemInfo) -> Capabilities {
        let mut all = capabilities(info, &self.config);
        if self.podman {
            all.0.insert(Property::Gpu, Strength::Absent);
        }
        all
    }

    fn begin(&self) -> Live {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let run = format!("{:016x}-{start}", self.nonce);
        self.live.lock().unwrap_or_else(PoisonError::into_inner).insert(run.clone());
        Live { run, live: Arc::clone(&self.live) }
    }

    /// Removes what carries this owner's label and isn't this program's own running work.
    async fn sweep(&self, docker: &Docker) -> Result<usize, ContainerError> {
        let ours = HashMap::from([("label", vec![format!("{OWNER_LABEL}={}", self.config.owner)])]);
        let list = ListContainersOptionsBuilder::new().all(true).filters(&ours).build();
        let found = docker.list_containers(Some(list)).await.map_err(ContainerError::call("list containers"))?;
        let live = || self.live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut swept = 0;
        for container in found {
            let run = container.labels.unwrap_or_default().remove(RUN_LABEL).unwrap_or_default();
            let Some(id) = container.id.filter(|_| !live().contains(&run)) else { continue };
            running::remove(docker, &id).await?;
            swept += 1;
        }
        if let Some(to) = &self.config.artifacts {
            swept += space::sweep(&to.folder, &live());
        }
        Ok(swept)
    }
}

/// The id of an image that the engine has under this digest.
async fn image_id(docker: &Docker, digest: &str) -> Result<String, ContainerError> {
    let image = match docker.inspect_image(digest).await.map_err(ContainerError::call("look at an image")) {
        Err(error) if error.status() == Some(404) => return Err(ContainerError::NoImage(digest.into())),
        image => image?,
    };
    if image.config.is_some_and(|config| config.volumes.is_some_and(|volumes| !volumes.is_empty())) {
        return Err(ContainerError::ImageVolumes(digest.into()));
    }
    // A repository's digest names what was pulled; podman gives ids without the algorithm.
    let id = image.id.unwrap_or_default();
    let same = digest.contains('@') || digest.trim_start_matches("sha256:") == id.trim_start_matches("sha256:");
    if same { Ok(id) } else { Err(ContainerError::NoImage(digest.into())) }
}

/// What an engine enforces, from what it says about itself.
fn capabilities(info: &SystemInfo, config: &ContainerConfig) -> Capabilities {
    use Strength::{Absent, BestEffort, Enforced};
    let says = |what: &str| {
        info.security_options.iter().flatten().any(|option| option.split(',').any(|part| part.trim() == what))
    };
    let when = |is: Option<bool>, otherwise| if is == Some(true) { Enforced } else { otherwise };
    // A kernel of its own (gVisor, Kata) doesn't apply the host's filter, or not as it is.
    let own_kernel = config.runtime.as_deref().is_some_and(|name| !matches!(name, "runc" | "crun" | "nvidia"));
    let seccomp = match (says("name=seccomp"), own_kernel) {
        (false, _) => Absent,
        (true, true) => BestEffort,
        (true, false) => Enforced,
    };
    let memory = match (info.memory_limit, info.swap_limit) {
        (Some(true), Some(true)) => Enforced,
        (Some(true), _) => BestEffort,
        _ => Absent,
    };
    let runtimes = || info.runtimes.iter().flatten().map(|(name, _)| name.as_str());
    let gpu = match config.gpu_request {
        GpuRequest::Nvidia => runtimes().any(|name| name == "nvidia"),
        GpuRequest::Cdi => info.discovered_devices.as_ref().is_some_and(|devices| !devices.is_empty()),
    };
    let remapped = says("name=userns") || says("name=rootless");
    Capabilities(BTreeMap::from([
        (Property::UserNamespace, if remapped { Enforced } else { BestEffort }),
        (Property::NoNetwork, Enforced),
        (Property::ReadOnlyRoot, Enforced),
        (Property::SyscallFilter, seccomp),
        (Property::Landlock, Absent),
        (Property::MemoryLimit, memory),
        (Property::CpuTimeLimit, Enforced),
        (Property::ProcessLimit, when(info.pids_limit, Absent)),
        (Property::DiskLimit, Enforced),
        (Property::OutputLimit, Enforced),
        (Property::Gpu, if gpu { Enforced } else { Absent }),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::Runtime as OciRuntime;

    fn docker() -> SystemInfo {
        SystemInfo {
            security_options: Some(vec!["name=seccomp,profile=default".into()]),
            memory_limit: Some(true),
            swap_limit: Some(true),
            pids_limit: Some(true),
            runtimes: Some(HashMap::from([("runc".to_owned(), OciRuntime::default())])),
            ..SystemInfo::default()
        }
    }

    fn config() -> ContainerConfig {
        ContainerConfig::new(Vec::new(), "me")
    }

    #[test]
    fn an_engine_is_believed_no_more_than_it_says() {
        use Strength::{Absent, BestEffort, Enforced};
        let all = |info: &SystemInfo| {
            let can = capabilities(info, &config());
            let of = |property| can.of(property);
            [Property::SyscallFilter, Property::MemoryLimit, Property::ProcessLimit, Property::UserNamespace].map(of)
        };
        assert_eq!(all(&docker()), [Enforced, Enforced, Enforced, BestEffort]);
        assert_eq!(all(&SystemInfo { swap_limit: Some(false), ..docker() })[1], BestEffort);
        assert_eq!(all(&SystemInfo::default()), [Absent, Absent, Absent, BestEffort]);
        let remapped = Some(vec!["name=seccomp,profile=default".into(), "name=userns".into()]);
        assert_eq!(all(&SystemInfo { security_options: remapped, ..docker() })[3], Enforced);
    }

    #[test]
    fn a_kernel_of_its_own_does_not_promise_the_hosts_filter() {
        let filter = |runtime: Option<&str>| {
            let config = ContainerConfig { runtime: runtime.map(String::from), ..config() };
            capabilities(&docker(), &config).of(Property::SyscallFilter)
        };
        assert_eq!([None, Some("runc"), Some("crun")].map(filter), [Strength::Enforced; 3]);
        assert_eq!([Some("runsc"), Some("kata")].map(filter), [Strength::BestEffort; 2]);
    }

    #[test]
    fn gpus_are_promised_where_the_engine_knows_of_some() {
        let gpu = |info: &SystemInfo, request| {
            capabilities(info, &ContainerConfig { gpu_request: request, ..config() }).of(Property::Gpu)
        };
        assert_eq!(gpu(&docker(), GpuRequest::Nvidia), Strength::Absent);
        let nvidia = Some(HashMap::from([("nvidia".to_owned(), OciRuntime::default())]));
        let nvidia = SystemInfo { runtimes: nvidia, ..docker() };
        assert_eq!(gpu(&nvidia, GpuRequest::Nvidia), Strength::Enforced);
        assert_eq!(gpu(&nvidia, GpuRequest::Cdi), Strength::Absent);
    }
}
