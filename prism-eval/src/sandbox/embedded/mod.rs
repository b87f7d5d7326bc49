//! The sandbox that needs nothing installed: Linux namespaces, started through this very program.
//!
//! A multithreaded process can't safely fork and go on, so the host starts its own program anew as *launcher*
//! ([`launcher::enter`]), which has one thread. The launcher clones the sandbox's *first process* into new user, mount,
//! process, network, IPC and host name namespaces, says who its user is outside, and puts it into control groups. The first
//! process takes the folders of the host that it is to show, gives up the host's user, builds a root of its own and gives
//! up every right; then it starts the *work*, which gets landlock rules, the list of system calls and its standard streams,
//! and is executed. A thread of the host, the *warden*, keeps clocks and limits.
//!
//! | who dies | what happens |
//! |---|---|
//! | the work's first process | the first process reports its status and ends; the kernel ends the rest |
//! | the first process | the kernel ends everything in its process namespace |
//! | the launcher | the first process is killed by its death signal |
//! | the host | the launcher sees the control socket's end, and kills the first process |
//!
//! The launcher ends last of all, so its end says that nothing is left. Scratch space is memory: the host holds a
//! descriptor of it, and reads what was left behind once everything is dead.
mod cgroup;
mod error;
mod init;
mod launch;
pub mod launcher;
mod name;
mod plan;
mod root;
mod running;
mod sys;
mod tree;
mod user;
mod warden;

pub use user::Users;

use super::artifacts::Caps;
use async_trait::async_trait;
use cgroup::{Group, Groups, Purpose};
use error::{Doing, EmbeddedError};
use launch::Launched;
use name::Host;
use plan::{Landlock, Plan, Program, Resources};
use prism_core::{
    Artifacts,
    error::{Error, Result},
    sandbox::{Capabilities, Limits, Network, Property, Running, Sandbox, SandboxSpec, Strength},
};
use running::EmbeddedRunning;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::OwnedFd,
    fs::Timespec,
    pipe::{PipeFlags, pipe_with},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    net::unix::pipe,
    sync::{OnceCell, oneshot},
};
use warden::Warden;

/// Bytes that a channel's pipe holds, where the kernel allows that many: fewer changes of context for tensors.
const PIPE: usize = 1 << 20;

/// How long a process that was killed may take to die.
const DYING: Duration = Duration::from_secs(2);

/// How embedded sandboxes are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// The program to start as launcher; its `main` calls [`launcher::enter`] first. `None`: this program.
    pub launcher: Option<PathBuf>,
    /// Marks this backend's sandboxes: small letters, digits and dashes, 32 at most. [`Sandbox::sweep`] removes those of
    /// dead hosts with this label; hosts that don't see each other's processes but share control groups need two labels.
    pub label: String,
    /// Users that work has on the host, where this process may give it one.
    pub users: Users,
    /// Whether control groups are used where they can be. Without them memory and processor time are a best effort.
    pub control_groups: bool,
    /// A control group of version 2 to make groups below, before anything below this process's own groups.
    pub control_group: Option<PathBuf>,
    /// Whether files in scratch space may be executed: compilers of models need it.
    pub executable_scratch: bool,
    /// How much work may leave behind.
    pub artifacts: Caps,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            launcher: None,
            label: "prism".into(),
            users: Users::default(),
            control_groups: true,
            control_group: None,
            executable_scratch: false,
            artifacts: Caps::default(),
        }
    }
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct EmbeddedSandbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: EmbeddedConfig,
    artifacts: Option<Arc<dyn Artifacts>>,
    groups: OnceLock<Groups>,
    /// What a trial showed: how far landlock holds, or why nothing works.
    trial: OnceCell<Result<Landlock, String>>,
}

/// What one sandbox is started with. Gives the groups back when it isn't.
struct Prepared {
    program: PathBuf,
    host: Host,
    plan: Plan,
    lease: user::Lease,
    group: Group,
}

impl EmbeddedSandbox {
    /// Starts nothing yet.
    #[must_use]
    pub fn new(config: EmbeddedConfig) -> Self {
        Self(Arc::new(Inner { config, artifacts: None, groups: OnceLock::new(), trial: OnceCell::new() }))
    }

    /// Keeps what work leaves behind in a store; without one only its digests are known.
    #[must_use]
    pub fn with_artifacts(self, artifacts: Arc<dyn Artifacts>) -> Self {
        let config = self.0.config.clone();
        Self(Arc::new(Inner { config, artifacts: Some(artifacts), groups: OnceLock::new(), trial: OnceCell::new() }))
    }

    /// Why nothing can be started on this host, once a trial has failed.
    pub async fn obstacle(&self) -> Option<String> {
        self.trial().await.err()
    }

    async fn trial(&self) -> Result<Landlock, String> {
        let trial = self.0.trial.get_or_init(|| async {
            let inner = Arc::clone(&self.0);
            let tried = tokio::task::spawn_blocking(move || inner.try_out()).await;
            let tried = tried.map_err(|e| e.to_string()).and_then(|tried| tried.map_err(|e| Error::from(e).chain()));
            if let Err(reason) = &tried {
                tracing::warn!(reason, "embedded sandboxes don't work here");
            }
            tried
        });
        trial.await.clone()
    }

    fn refusal(&self, spec: &SandboxSpec, can: &Capabilities) -> Option<EmbeddedError> {
        let spec_error = |text: &str| Some(EmbeddedError::Spec(text.to_owned()));
        let limits = &spec.limits;
        if let Some(property) = can.missing(&spec.required) {
            return Some(EmbeddedError::Missing(property));
        }
        if !spec.gpus.is_empty() {
            return Some(EmbeddedError::Gpus);
        }
        if !Host::fits(&self.0.config.label) {
            return spec_error("the label of embedded sandboxes is not 1 to 32 small letters, digits and dashes");
        }
        if spec.argv.is_empty() {
            return spec_error("there is no program to start");
        }
        if [limits.memory, limits.processes.into(), limits.files.into()].contains(&0) {
            return spec_error("a program can't start without memory, processes or files");
        }
        let words = spec.argv.iter().chain(spec.env.keys()).chain(spec.env.values());
        if words.clone().any(|word| word.contains('\0')) || spec.env.keys().any(|k| k.is_empty() || k.contains('=')) {
            return spec_error("an argument or variable can't be passed to a program");
        }
        None
    }
}

impl Inner {
    fn groups(&self) -> &Groups {
        self.groups.get_or_init(|| {
            let groups = Groups::find(self.config.control_group.as_deref());
            if self.config.control_groups { groups } else { groups.unused() }
        })
    }

    /// Carries out the whole set-up with nothing to execute.
    fn try_out(&self) -> Result<Landlock, EmbeddedError> {
        let limits = Limits {
            wall_millis: 10_000,
            cpu_time_millis: 10_000,
            memory: 256 << 20,
            processes: 8,
            files: 64,
            file_size: 0,
            scratch: 1 << 20,
            scratch_inodes: 16,
            shared_memory: 1 << 20,
            stderr: 0,
            channel: 0,
        };
        let prepared = self.prepare(None, Vec::new(), &limits, Network::Loopback)?;
        let (input, output) = pipe_with(PipeFlags::CLOEXEC).doing("making a pipe")?;
        let error = output.try_clone().doing("copying a pipe")?;
        let (launched, group, _lease) = prepared.launch([input, output, error])?;
        let landlock = launched.landlock;
        launch::end(launched, &group);
        group.remove();
        Ok(landlock)
    }

    fn prepare(
        &self,
        program: Option<Program>,
        entries: Vec<plan::Entry>,
        limits: &Limits,
        network: Network,
    ) -> Result<Prepared, EmbeddedError> {
        let config = &self.config;
        let launcher = launch::program(config.launcher.as_deref())?;
        let host = Host::this(&config.label);
        let lease = user::lease(config.users)?;
        let groups = self.groups();
        let group = groups.make(&host.next_name()).doing("making control groups")?;
        // The sandbox's own first process counts too.
        let processes = u64::from(limits.processes).saturating_add(1);
        let plan = Plan {
            program,
            entries,
            outside: lease.outside,
            groups: group.joins(),
            loopback: network == Network::Loopback,
            scratch: limits.scratch,
            scratch_inodes: limits.scratch_inodes.into(),
            scratch_executable: config.executable_scratch,
            shared_memory: limits.shared_memory,
            resources: Resources {
                files: limits.files.into(),
                file_size: limits.file_size,
                cpu_seconds: limits.cpu_time_millis.div_ceil(1000).saturating_add(1),
                processes: (!groups.serve(Purpose::Processes)).then_some(processes),
                data: (!groups.serve(Purpose::Memory)).then_some(limits.memory),
            },
            account: warden::must_account(groups),
        };
        let prepared = Prepared { program: launcher, host, plan, lease, group };
        match prepared.group.limit(limits.memory, processes) {
            Ok(()) => Ok(prepared),
            Err(error) => {
                prepared.group.remove();
                Err(error).doing("limiting control groups")
            }
        }
    }
}

impl Prepared {
    fn launch(self, standard: launch::Standard) -> Result<(Launched, Group, user::Lease), EmbeddedError> {
        match launch::launch(&self.program, &self.host, &self.plan, standard) {
            Ok(launched) => Ok((launched, self.group, self.lease)),
            Err(error) => {
                self.group.remove();
                Err(error)
            }
        }
    }
}

/// Where to look for a program: as the shell does, by the work's own `PATH`.
fn program(spec: &SandboxSpec) -> Program {
    let name = spec.argv.first().cloned().unwrap_or_default();
    let paths = match spec.env.get("PATH") {
        _ if name.contains('/') => vec![name],
        path => {
            let path = path.map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
            path.split(':').filter(|folder| folder.starts_with('/')).map(|folder| format!("{folder}/{name}")).collect()
        }
    };
    let environment = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Program { paths, arguments: spec.argv.clone(), environment }
}

/// The host's ends of the work's standard streams.
struct HostEnds {
    output: pipe::Receiver,
    input: pipe::Sender,
    stderr: OwnedFd,
}

fn streams() -> Result<(HostEnds, launch::Standard), EmbeddedError> {
    let pair = || pipe_with(PipeFlags::CLOEXEC).doing("making a pipe");
    let (input, to_input) = pair()?;
    let (from_output, output) = pair()?;
    let (stderr, error) = pair()?;
    for pipe in [&to_input, &from_output] {
        // Not vital: users without rights have a quota for large pipes.
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
    }
    rustix::io::ioctl_fionbio(&stderr, true).doing("setting up a pipe")?;
    let ends = HostEnds {
        output: pipe::Receiver::from_owned_fd(from_output).doing("setting up a pipe")?,
        input: pipe::Sender::from_owned_fd(to_input).doing("setting up a pipe")?,
        stderr,
    };
    Ok((ends, [input, output, error]))
}

#[async_trait]
impl Sandbox for EmbeddedSandbox {
    fn name(&self) -> &str {
        "embedded"
    }

    async fn probe(&self) -> Result<Capabilities> {
        let Ok(landlock) = self.trial().await else { return Ok(Capabilities::default()) };
        let groups = self.0.groups();
        let counted = |purpose| if groups.serve(purpose) { Strength::Enforced } else { Strength::BestEffort };
        let processes = match groups.serve(Purpose::Processes) || user::privileged() || processes_by_namespace() {
            true => Strength::Enforced,
            false => Strength::BestEffort,
        };
        let landlock = match landlock {
            Landlock::Absent => Strength::Absent,
            Landlock::Partial | Landlock::Full => Strength::Enforced,
        };
        Ok(Capabilities(BTreeMap::from([
            (Property::UserNamespace, Strength::Enforced),
            (Property::NoNetwork, Strength::Enforced),
            (Property::ReadOnlyRoot, Strength::Enforced),
            (Property::SyscallFilter, Strength::Enforced),
            (Property::Landlock, landlock),
            (Property::MemoryLimit, counted(Purpose::Memory)),
            (Property::CpuTimeLimit, counted(Purpose::Time)),
            (Property::ProcessLimit, processes),
            (Property::DiskLimit, Strength::Enforced),
            (Property::OutputLimit, Strength::Enforced),
            (Property::Gpu, Strength::Absent),
        ])))
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Box<dyn Running>> {
        let can = self.probe().await?;
        if let Some(refusal) = self.refusal(&spec, &can) {
            return Err(refusal.into());
        }
        if let Some(obstacle) = self.obstacle().await {
            return Err(EmbeddedError::Unable(obstacle).into());
        }
        tracing::debug!(program = ?spec.argv.first(), labels = ?spec.labels, "starting an embedded sandbox");
        let (HostEnds { output, input, stderr }, standard) = streams()?;
        let (started, starting) = oneshot::channel();
        let (ended, ending) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        let launching = tokio::task::spawn_blocking(move || {
            let entries = tree::lay_out(&spec.root, &spec.read_only).map_err(EmbeddedError::from)?;
            let prepared = inner.prepare(Some(program(&spec)), entries, &spec.limits, spec.network)?;
            let (launched, group, lease) = prepared.launch(standard)?;
            let warden = Warden { launched, limits: spec.limits, group, lease, stderr };
            warden::start(warden, started, ended).doing("starting a thread")
        });
        let broken = |e| Error::bug("starting a sandbox broke off").because(e);
        launching.await.map_err(broken)??;
        let shared = starting.await.map_err(|_| EmbeddedError::Abandoned)?;
        Ok(Box::new(EmbeddedRunning {
            shared,
            ended: Some(ending),
            channel: Some((output, input)),
            artifacts: self.0.artifacts.clone(),
            caps: self.0.config.artifacts,
        }))
    }

    async fn sweep(&self) -> Result<usize> {
        let inner = Arc::clone(&self.0);
        let swept = tokio::task::spawn_blocking(move || {
            let label = &inner.config.label;
            let abandoned = |host: Option<Host>| host.is_some_and(|host| host.labelled(label) && !host.lives());
            let processes = sweep_processes(|command| abandoned(Host::of_launcher(command)));
            processes + inner.groups().sweep(|name| abandoned(Host::of_group(name)))
        });
        swept.await.map_err(|e| Error::bug("sweeping broke off").because(e))
    }
}

/// Since Linux 5.14 `RLIMIT_NPROC` is counted in each user namespace.
fn processes_by_namespace() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 14)
}

/// Kills launchers, and sandboxes' first processes, whose command line `abandoned` says yes to; how many launchers.
fn sweep_processes(abandoned: impl Fn(&[u8]) -> bool) -> usize {
    let Ok(folders) = std::fs::read_dir("/proc") else { return 0 };
    let mut swept = 0;
    for pid in folders.filter_map(|f| f.ok()?.file_name().to_str()?.parse::<i32>().ok()) {
        let command = || std::fs::read(format!("/proc/{pid}/cmdline"));
        let Some(number) = rustix::process::Pid::from_raw(pid) else { continue };
        if !command().is_ok_and(|command| abandoned(&command)) {
            continue;
        }
        // Held by descriptor, so that the number can't come to name another process between look and kill.
        let Ok(held) = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty()) else { continue };
        let ours = command().is_ok_and(|command| abandoned(&command));
        if ours && rustix::process::pidfd_send_signal(&held, rustix::process::Signal::KILL).is_ok() {
            swept += 1;
            let mut dead = [PollFd::new(&held, PollFlags::IN)];
            let _ = poll(&mut dead, Some(&Timespec { tv_sec: DYING.as_secs().cast_signed(), tv_nsec: 0 }));
        }
    }
    swept
}
