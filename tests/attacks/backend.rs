//! The backends under attack.
use super::{
    Verdict,
    engine::{self, TestEngine},
};
use prism_core::{
    Sandbox,
    artifacts::MemoryArtifacts,
    sandbox::{Capabilities, Root},
};
use prism_eval::sandbox::{
    artifacts::Caps,
    container::{ArtifactSpace, ContainerConfig, ContainerSandbox},
    embedded::{EmbeddedConfig, EmbeddedSandbox},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};
use tokio::time::sleep;

/// Tells a second process of this suite whose sandboxes to start.
const LABEL: &str = "PRISM_ATTACK_LABEL";

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Namespaces of this kernel, as whoever runs the suite.
    Embedded,
    /// The same as a user without rights.
    EmbeddedAsUser,
    /// Docker or Podman.
    Container,
}

impl Which {
    /// Those that can be attacked by whoever runs the suite.
    pub(crate) fn all(root: bool) -> Vec<Self> {
        if root {
            vec![Self::Embedded, Self::EmbeddedAsUser, Self::Container]
        } else {
            vec![Self::Embedded, Self::Container]
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::EmbeddedAsUser => "embedded_as_plain_user",
            Self::Container => "container",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        Self::all(true).into_iter().find(|which| which.name() == name).expect("a backend of this suite")
    }

    /// Whether a suite that runs as root has to step down for it.
    pub(crate) fn as_plain_user(self) -> bool {
        self == Self::EmbeddedAsUser
    }

    /// Whether its runs end with their host only when somebody sweeps.
    pub(crate) fn outlives_its_host(self) -> bool {
        self == Self::Container
    }
}

/// One of them, ready.
pub(crate) struct Backend {
    pub(crate) kind: Which,
    pub(crate) sandbox: Arc<dyn Sandbox>,
    pub(crate) root: Root,
    /// The interpreter inside.
    pub(crate) python: String,
    pub(crate) can: Capabilities,
    /// Whether it hands files on.
    pub(crate) collects: bool,
    /// Whose sandboxes these are.
    label: String,
    groups: BTreeSet<PathBuf>,
    /// Runs for as long as it is held.
    _engine: Option<Arc<TestEngine>>,
}

impl Backend {
    pub(crate) async fn open(kind: Which) -> Result<Self, String> {
        // A label of this suite's own: its sweep must not touch what other suites run at the same time.
        let label = env::var(LABEL).unwrap_or_else(|_| format!("attacks-{}", std::process::id()));
        match kind {
            Which::Embedded | Which::EmbeddedAsUser => Self::embedded(kind, label).await,
            Which::Container => Self::container(label).await,
        }
    }

    async fn embedded(kind: Which, label: String) -> Result<Self, String> {
        let config = EmbeddedConfig { label: label.clone(), ..EmbeddedConfig::default() };
        let sandbox = EmbeddedSandbox::new(config).with_artifacts(Arc::new(MemoryArtifacts::new()));
        if let Some(obstacle) = sandbox.obstacle().await {
            return Err(format!("embedded sandboxes do not work on this host: {obstacle}"));
        }
        let sandbox: Arc<dyn Sandbox> = Arc::new(sandbox);
        let (python, directories) = interpreter()?;
        let can = sandbox.probe().await.map_err(|error| format!("probe: {error:?}"))?;
        let (root, groups) = (Root::HostDirectories(directories), groups(&label));
        Ok(Self { kind, sandbox, root, python, can, collects: true, groups, label, _engine: None })
    }

    async fn container(label: String) -> Result<Self, String> {
        // Setting up an engine blocks, and building an image takes a runtime of its own.
        let set_up = std::thread::spawn(|| {
            let engine = engine::engine();
            let image = engine.image();
            (engine, image)
        });
        let (engine, image) = set_up.join().map_err(|_| "there is no container engine, and none could be set up")?;
        let mut config = ContainerConfig::new(vec![engine.socket().into()], label.clone());
        // The space for artifacts is mounted, which takes root.
        let collects = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
        if collects {
            let (folder, store) = (engine.folder().join(&label), Arc::new(MemoryArtifacts::new()));
            config.artifacts = Some(ArtifactSpace { folder, store, caps: Caps::default() });
        }
        let sandbox = ContainerSandbox::connect(config).await.map_err(|error| format!("{error}"))?;
        let sandbox: Arc<dyn Sandbox> = Arc::new(sandbox);
        let can = sandbox.probe().await.map_err(|error| format!("probe: {error:?}"))?;
        let python = engine::python().python.display().to_string();
        let (root, groups) = (Root::Image { digest: image }, groups(&label));
        Ok(Self { kind: Which::Container, sandbox, root, python, can, collects, groups, label, _engine: Some(engine) })
    }

    /// Whether the first process inside is ours, and closed to the guest.
    pub(crate) fn guards_first_process(&self) -> bool {
        matches!(self.kind, Which::Embedded | Which::EmbeddedAsUser)
    }

    /// What another process of this suite needs to attack the same one.
    pub(crate) fn environment(&self) -> BTreeMap<&'static str, String> {
        [(LABEL, self.label.clone())].into()
    }

    /// Nothing of it is left on this host, some moments after the last end.
    pub(crate) async fn remains(&self) -> Verdict {
        let mut left = self.left();
        for _ in 0..60 {
            if left.is_empty() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
            left = self.left();
        }
        if !left.is_empty() {
            return Err(format!("left: {left:?}"));
        }
        let swept = self.sandbox.sweep().await.map_err(|error| format!("sweep: {error:?}"))?;
        if swept > 0 {
            return Err(format!("left: {swept} things that a sweep has found"));
        }
        Ok("no process, mount, control group or file is left; no setting changed; nobody called".into())
    }

    /// Control groups, mounts, and files in the temporary folder of a suite that has one of its own.
    fn left(&self) -> Vec<PathBuf> {
        let mut left: Vec<_> = groups(&self.label).difference(&self.groups).cloned().collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        left.extend(points.filter(|point| point.contains(&self.label)).map(PathBuf::from));
        if self.kind.as_plain_user() {
            left.extend(fs::read_dir(env::temp_dir()).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        left
    }
}

/// An interpreter of this host by its real path, and the folders that it needs.
fn interpreter() -> Result<(String, Vec<PathBuf>), String> {
    let ask = "import os, sys; print(os.path.realpath(sys.executable)); print(sys.base_prefix)";
    for python in ["/usr/bin/python3", "/usr/local/bin/python3", "python3"] {
        let Ok(answer) = Command::new(python).args(["-I", "-S", "-c", ask]).output() else { continue };
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let mut lines = text.lines();
        let (Some(real), Some(prefix)) = (lines.next(), lines.next()) else { continue };
        let mut directories: Vec<_> =
            ["/usr", "/lib", "/lib64"].map(PathBuf::from).into_iter().filter(|path| path.exists()).collect();
        if !directories.iter().any(|top| Path::new(prefix).starts_with(top)) {
            directories.push(prefix.into());
        }
        return Ok((real.to_owned(), directories));
    }
    Err("no python3 on this host: the payloads are written in Python (apt-get install python3)".into())
}

/// Control groups with a word in their names.
fn groups(label: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = ahead.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(label) {
                    found.insert(entry.path());
                }
                ahead.push(entry.path());
            }
        }
    }
    found
}
