//! Under what a guest runs: one setting for all of a pool, so that a warm one fits every task.
use super::{Runtime, runner::INSIDE};
use prism_core::sandbox::{Limits, Network, Property, Root, SandboxSpec};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// Under what guests run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestSettings {
    /// Python and PyTorch.
    pub runtime: Runtime,
    /// Instead of the runtime's folders of this host: a container image that has them, by digest.
    pub image: Option<String>,
    /// What each sandbox may use. Its wall clock also runs while it waits in the pool.
    pub limits: Limits,
    /// What the sandbox must enforce.
    pub required: Vec<Property>,
    /// Devices by id.
    pub gpus: Vec<String>,
    /// Threads of each process.
    pub threads: u32,
    /// Processes that train together, 1 to 8.
    pub processes: u32,
    /// Where runner and snapshots are put, on this host.
    pub folder: PathBuf,
    /// Sandboxes that wait, PyTorch imported.
    pub warm: usize,
    /// How long a start may take.
    pub start: Duration,
}

/// Most processes that train together (`torchrun` on one node).
pub const MAX_PROCESSES: u32 = 8;

impl GuestSettings {
    /// One process with one thread, one sandbox waiting, and limits for models of the base size on a machine of 16 GiB.
    #[must_use]
    pub fn new(runtime: Runtime, folder: PathBuf) -> Self {
        Self {
            runtime,
            image: None,
            limits: Limits {
                wall_millis: 24 * 3600 * 1000,
                cpu_time_millis: 8 * 24 * 3600 * 1000,
                memory: 8 << 30,
                processes: 512,
                files: 1024,
                file_size: 10_000_000_000,
                scratch: 4 << 30,
                scratch_inodes: 20_000,
                shared_memory: 256 << 20,
                stderr: 1 << 20,
                channel: 1 << 40,
            },
            required: vec![],
            gpus: vec![],
            threads: 1,
            processes: 1,
            folder,
            warm: 1,
            start: Duration::from_secs(120),
        }
    }

    /// What is started, with the runner's folder on this host.
    pub(super) fn spec(&self, runner: &Path) -> SandboxSpec {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let joined = |paths: &[PathBuf]| paths.iter().map(|p| text(p)).collect::<Vec<_>>().join(":");
        let flags = ["-s", "-S", "-B", "-X", "utf8"].map(str::to_owned);
        let mut argv = vec![text(&self.runtime.python)];
        argv.extend(flags);
        argv.extend([format!("{INSIDE}/main.py"), self.threads.to_string(), self.processes.to_string()]);
        argv.extend(self.runtime.search.iter().map(|path| text(path)));
        let threads = self.threads.to_string();
        let env = [
            ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
            ("HOME", "/tmp"),
            ("LANG", "C.UTF-8"),
            ("LD_LIBRARY_PATH", &joined(&self.runtime.libraries)),
            ("MKL_NUM_THREADS", &threads),
            ("OMP_NUM_THREADS", &threads),
            ("PATH", "/usr/bin:/bin"),
            // Sets of a player and of its auditor have one order.
            ("PYTHONHASHSEED", "0"),
        ];
        let mut directories = self.runtime.directories.clone();
        for path in self.runtime.search.iter().chain(&self.runtime.libraries) {
            if !directories.iter().any(|directory| path.starts_with(directory)) {
                directories.push(path.clone());
            }
        }
        SandboxSpec {
            root: match &self.image {
                Some(digest) => Root::Image { digest: digest.clone() },
                None => Root::HostDirectories(directories),
            },
            argv,
            env: env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            read_only: BTreeMap::from([(INSIDE.to_owned(), runner.to_owned())]),
            limits: self.limits.clone(),
            network: if self.processes > 1 { Network::Loopback } else { Network::None },
            gpus: self.gpus.clone(),
            required: self.required.clone(),
            labels: BTreeMap::from([("prism".to_owned(), "guest".to_owned())]),
        }
    }
}
