//! The backends under attack.
use super::Verdict;
use prism_core::{
    Sandbox,
    artifacts::MemoryArtifacts,
    sandbox::{Capabilities, Root},
};
use prism_eval::sandbox::embedded::{EmbeddedConfig, EmbeddedSandbox};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
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
}

impl Which {
    /// Those that can be attacked by whoever runs the suite.
    pub(crate) fn all(root: bool) -> Vec<Self> {
        if root { vec![Self::Embedded, Self::EmbeddedAsUser] } else { vec![Self::Embedded] }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::EmbeddedAsUser => "embedded_as_plain_user",
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
        false
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
    /// Whose sandboxes these are.
    label: String,
    groups: BTreeSet<PathBuf>,
}

impl Backend {
    pub(crate) async fn open(kind: Which, _: &Path) -> Result<Self, String> {
        // A label of this suite's own: its sweep must not touch what other suites run at the same time.
        let label = env::var(LABEL).unwrap_or_else(|_| format!("attacks-{}", std::process::id()));
        let config = EmbeddedConfig { label: label.clone(), ..EmbeddedConfig::default() };
        let sandbox = EmbeddedSandbox::new(config).with_artifacts(Arc::new(MemoryArtifacts::new()));
        if let Some(obstacle) = sandbox.obstacle().await {
            return Err(format!("embedded sandboxes do not work on this host: {obstacle}"));
        }
        let sandbox: Arc<dyn Sandbox> = Arc::new(sandbox);
        let (python, directories) = interpreter()?;
        let can = sandbox.probe().await.map_err(|error| format!("probe: {error:?}"))?;
        Ok(Self { kind, sandbox, root: Root::HostDirectories(directories), python, can, groups: groups(&label), label })
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
        Ok("no process, mount, control group or file is left; no setting changed; nobody called".into())
    }

    /// Control groups, and files in the temporary folder of a suite that has one of its own.
    fn left(&self) -> Vec<PathBuf> {
        let mut left: Vec<_> = groups(&self.label).difference(&self.groups).cloned().collect();
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
