//! Under what a guest runs: one setting for all of a pool, so that a warm one fits every task.
use super::{Runtime, runner::INSIDE};
use crate::policy::SandboxLimits;
use prism_core::{
    sandbox::{Limits, Network, Property, Root, SandboxSpec},
    trainer::Surroundings,
};
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
                channel: 1 << 40,
                ..SandboxLimits::default().limits()
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

    /// The same for one run: with devices to itself, a process for each, and within its limits.
    #[must_use]
    pub(super) fn around(&self, around: &Surroundings) -> Self {
        let mut settings = self.clone();
        if let Some(limits) = &around.limits {
            let Limits { wall_millis, cpu_time_millis, channel, .. } = settings.limits;
            settings.limits = Limits { wall_millis, cpu_time_millis, channel, ..limits.clone() };
        }
        if !around.devices.is_empty() {
            settings.processes = u32::try_from(around.devices.len()).unwrap_or(u32::MAX);
            settings.gpus = around.devices.clone();
        }
        settings
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

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::artifacts::MemoryArtifacts;
    use std::sync::Arc;

    #[test]
    fn a_run_s_sandboxes_get_exactly_its_devices_a_process_for_each_and_its_limits() {
        let runtime = Runtime {
            python: "/usr/bin/python3".into(),
            python_version: "3".into(),
            torch_version: "2".into(),
            cuda: false,
            directories: vec!["/usr".into()],
            search: vec![],
            libraries: vec![],
            files: BTreeMap::new(),
        };
        let own = GuestSettings::new(runtime, "/tmp".into());
        let around = Surroundings::new(Arc::new(MemoryArtifacts::new()));
        assert_eq!(own.around(&around), own);
        let narrow = SandboxLimits { memory: 1 << 30, ..SandboxLimits::default() };
        let leased = around.clone().on_devices(vec!["3".into(), "5".into()]).within(narrow.limits());
        let spec = own.around(&leased).spec(Path::new("/runner"));
        assert_eq!(
            (spec.gpus.as_slice(), spec.network),
            (["3".to_owned(), "5".to_owned()].as_slice(), Network::Loopback)
        );
        assert_eq!((spec.limits.memory, spec.limits.wall_millis), (1 << 30, own.limits.wall_millis));
        assert_eq!(spec.limits.channel, own.limits.channel);
        let processes =
            spec.argv.iter().position(|word| word.ends_with("main.py")).map(|at| spec.argv[at + 2].as_str());
        assert_eq!(processes, Some("2"));
        assert_eq!(own.around(&around.within(SandboxLimits::default().limits())), own, "the defaults are the same");
    }
}
