//! Starting untrusted work.
use crate::{
    channel::{ByteSink, ByteSource},
    error::Result,
    id::Digest,
    submission::FailureClass,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Debug, path::PathBuf, sync::Arc};

/// Something a sandbox can promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Property {
    /// A user of its own, unknown to the host.
    UserNamespace,
    /// No way to any network.
    NoNetwork,
    /// Nothing outside the scratch space can be written.
    ReadOnlyRoot,
    /// Only system calls on a list.
    SyscallFilter,
    /// Only paths on a list.
    Landlock,
    /// A ceiling on memory.
    MemoryLimit,
    /// A ceiling on processor time.
    CpuTimeLimit,
    /// A ceiling on processes.
    ProcessLimit,
    /// A ceiling on bytes written.
    DiskLimit,
    /// A ceiling on output.
    OutputLimit,
    /// Graphics processors.
    Gpu,
}

/// How far a promise holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    /// Not at all.
    Absent,
    /// Against accidents.
    BestEffort,
    /// Against attackers.
    Enforced,
}

/// What a backend promises on this host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Capabilities(pub BTreeMap<Property, Strength>);

impl Capabilities {
    /// The strength of a property; `Absent` when nothing is said.
    #[must_use]
    pub fn of(&self, property: Property) -> Strength {
        self.0.get(&property).copied().unwrap_or(Strength::Absent)
    }

    /// The first required property that is not enforced.
    #[must_use]
    pub fn missing(&self, required: &[Property]) -> Option<Property> {
        required.iter().copied().find(|p| self.of(*p) != Strength::Enforced)
    }
}

/// What the work sees as its file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// A container image.
    Image {
        /// By digest, never by tag.
        digest: String,
    },
    /// Directories of this host, read-only, under their own names.
    HostDirectories(Vec<PathBuf>),
}

/// Where the work finds its scratch space; files that it leaves below [`ARTIFACTS`] are collected after its end.
pub const SCRATCH: &str = "/tmp";
/// Where the work leaves files for the host.
pub const ARTIFACTS: &str = "/tmp/artifacts";

/// What the work may use. A zero means none, not unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall clock, milliseconds.
    pub wall_millis: u64,
    /// Processor time, milliseconds.
    pub cpu_time_millis: u64,
    /// Memory, bytes.
    pub memory: u64,
    /// Processes and threads.
    pub processes: u32,
    /// Open files.
    pub files: u32,
    /// Bytes in one file.
    pub file_size: u64,
    /// Bytes of scratch space.
    pub scratch: u64,
    /// Files in scratch space.
    pub scratch_inodes: u32,
    /// Bytes of shared memory.
    pub shared_memory: u64,
    /// Bytes of standard error before the work is killed.
    pub stderr: u64,
    /// Bytes on the channel, both ways: the work's standard input and output.
    pub channel: u64,
}

/// The network of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// None at all.
    None,
    /// A loopback of its own.
    Loopback,
}

/// What to start, and under which limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Its file system.
    pub root: Root,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Further read-only paths: inside, outside.
    pub read_only: BTreeMap<String, PathBuf>,
    /// What it may use.
    pub limits: Limits,
    /// Its network.
    pub network: Network,
    /// Devices by id.
    pub gpus: Vec<String>,
    /// Properties that must be enforced.
    pub required: Vec<Property>,
    /// Marks for `sweep` and for people.
    pub labels: BTreeMap<String, String>,
}

/// What the host counted. Readable while the process runs, so that processor time can be bounded per phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Wall clock, milliseconds.
    pub wall_millis: u64,
    /// Processor time, milliseconds.
    pub cpu_millis: u64,
    /// Highest memory, bytes.
    pub peak_memory: u64,
    /// Kills for lack of memory.
    pub oom_kills: u32,
    /// Highest number of processes.
    pub peak_processes: u32,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxOutcome {
    /// None for success; else the class, from host evidence only.
    pub failure: Option<FailureClass>,
    /// For people.
    pub reason: String,
    /// Exit code of the first process.
    pub exit: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// What it used.
    pub usage: Usage,
    /// The end of standard error.
    pub stderr_tail: Vec<u8>,
    /// Bytes of standard error in all.
    pub stderr_total: u64,
    /// Files it left, by digest.
    pub artifacts: BTreeMap<String, Digest>,
}

/// Starts untrusted work under limits and hands back a running process with a byte channel; drop kills it.
///
/// 1. `start` refuses (`Unsupported`, fault `Validator`) when a required property is not `Enforced`.
/// 2. Nothing of the host's environment, files or descriptors is visible but what the spec names.
/// 3. At any limit everything is killed, within one second.
/// 4. The class in the outcome comes from host evidence only.
/// 5. After `wait` or drop no process, mount or control group of it is left.
/// 6. `sweep` removes what a crashed host left, and only what carries this backend's label.
/// 7. Between `freeze` and `thaw` nothing of the work runs; kill, drop and the wall clock still end it.
#[async_trait]
pub trait Sandbox: Debug + Send + Sync + 'static {
    /// The backend's name.
    fn name(&self) -> &str;
    /// What it promises on this host.
    async fn probe(&self) -> Result<Capabilities>;
    /// Starts work.
    async fn start(&self, spec: SandboxSpec) -> Result<Box<dyn Running>>;
    /// Removes leftovers; how many.
    async fn sweep(&self) -> Result<usize>;
}

/// Both ends of a process's channel, as the host holds them.
pub type Channel = (Box<dyn ByteSource>, Box<dyn ByteSink>);

/// A running process. Drop kills, without a runtime and without blocking for longer than a signal takes.
#[async_trait]
pub trait Running: Debug + Send + Sync {
    /// The channel, once; `None` afterwards.
    fn channel(&mut self) -> Option<Channel>;
    /// What it has used so far.
    async fn usage(&self) -> Result<Usage>;
    /// Stops everything of it where it stands. Idempotent.
    async fn freeze(&self) -> Result<()>;
    /// Lets it go on. Idempotent.
    async fn thaw(&self) -> Result<()>;
    /// Kills everything. Idempotent; also usable from another task.
    fn killer(&self) -> Box<dyn Killer>;
    /// Waits for the end.
    async fn wait(self: Box<Self>) -> Result<SandboxOutcome>;
}

/// Ends a running process from anywhere.
pub trait Killer: Debug + Send + Sync {
    /// Kills everything; the first call's class and reason stand in the outcome.
    fn kill(&self, class: FailureClass, reason: &str);
}

macro_rules! forward { ($($pointer:ident),*) => { $(
    #[async_trait]
    impl<T: Sandbox + ?Sized> Sandbox for $pointer<T> {
        fn name(&self) -> &str {
            (**self).name()
        }
        async fn probe(&self) -> Result<Capabilities> {
            (**self).probe().await
        }
        async fn start(&self, spec: SandboxSpec) -> Result<Box<dyn Running>> {
            (**self).start(spec).await
        }
        async fn sweep(&self) -> Result<usize> {
            (**self).sweep().await
        }
    }
)* } }
forward!(Box, Arc);
