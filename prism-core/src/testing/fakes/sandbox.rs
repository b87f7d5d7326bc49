use crate::{
    channel::{ByteSink, ByteSource},
    error::{Error, Fault, Kind, Result},
    sandbox::{Capabilities, Channel, Killer, Limits, Running, Sandbox, SandboxOutcome, SandboxSpec, Usage},
    submission::FailureClass,
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::poll_fn,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

/// What work would use if nobody stopped it. A maximum means "without end".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Wall clock, milliseconds.
    pub wall_millis: u64,
    /// Processor time, milliseconds.
    pub cpu_millis: u64,
    /// Memory, bytes.
    pub memory: u64,
    /// Processes.
    pub processes: u32,
    /// Scratch space, bytes.
    pub scratch: u64,
    /// Standard error, bytes.
    pub stderr: u64,
    /// Channel, bytes.
    pub channel: u64,
}

impl Demand {
    /// The first limit that it meets.
    fn exceeds(&self, limits: &Limits) -> Option<&'static str> {
        let met = [
            (self.wall_millis > limits.wall_millis, "wall clock"),
            (self.cpu_millis > limits.cpu_time_millis, "processor time"),
            (self.memory > limits.memory, "memory"),
            (self.processes > limits.processes, "processes"),
            (self.scratch > limits.scratch, "scratch space"),
            (self.stderr > limits.stderr, "standard error"),
            (self.channel > limits.channel, "channel"),
        ];
        met.into_iter().find_map(|(met, what)| met.then_some(what))
    }

    fn within(&self, limits: &Limits) -> Usage {
        Usage {
            wall_millis: self.wall_millis.min(limits.wall_millis),
            cpu_millis: self.cpu_millis.min(limits.cpu_time_millis),
            peak_memory: self.memory.min(limits.memory),
            oom_kills: u32::from(self.memory > limits.memory),
            peak_processes: self.processes.min(limits.processes),
        }
    }
}

/// What scripted work does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Act {
    /// What it says on the channel, at once.
    pub says: Vec<u8>,
    /// Whether it then sends back what it gets until the channel is closed.
    pub echoes: bool,
    /// What it says on standard error.
    pub stderr: Vec<u8>,
    /// What it would use.
    pub demand: Demand,
    /// Its exit code.
    pub exit: i32,
}

/// A sandbox that starts nothing: its work is a script in this process, its clock and its memory are told, not used. It
/// isolates nothing and says so (every property is absent) unless told to claim otherwise, for tests of whoever asks.
#[derive(Clone)]
pub struct ScriptedSandbox {
    script: Arc<dyn Fn(&SandboxSpec) -> Act + Send + Sync>,
    claims: Capabilities,
    host: Arc<Mutex<Host>>,
}

#[derive(Debug, Default)]
struct Host {
    alive: usize,
    /// Labels of what crashed hosts left.
    left: Vec<String>,
}

const NAME: &str = "scripted";

impl ScriptedSandbox {
    /// Work does as the script says.
    pub fn new(script: impl Fn(&SandboxSpec) -> Act + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), claims: Capabilities::default(), host: Arc::default() }
    }

    /// The same, saying that it has these properties. It hasn't.
    #[must_use]
    pub fn claiming(mut self, claims: Capabilities) -> Self {
        self.claims = claims;
        self
    }

    /// How much work is under way.
    #[must_use]
    pub fn alive(&self) -> usize {
        lock(&self.host).alive
    }

    /// Leaves something under a backend's label, as a crash does. This one's label is its name.
    pub fn leave(&self, label: &str) {
        lock(&self.host).left.push(label.to_owned());
    }

    /// How much is left under a label.
    #[must_use]
    pub fn left(&self, label: &str) -> usize {
        lock(&self.host).left.iter().filter(|l| *l == label).count()
    }

    /// Removes what is left under a label; how much.
    pub fn clear(&self, label: &str) -> usize {
        let mut host = lock(&self.host);
        let before = host.left.len();
        host.left.retain(|l| l != label);
        before - host.left.len()
    }
}

impl fmt::Debug for ScriptedSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedSandbox")
            .field("claims", &self.claims)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Sandbox for ScriptedSandbox {
    fn name(&self) -> &str {
        NAME
    }
    async fn probe(&self) -> Result<Capabilities> {
        Ok(self.claims.clone())
    }
    async fn start(&self, spec: SandboxSpec) -> Result<Box<dyn Running>> {
        if let Some(property) = self.claims.missing(&spec.required) {
            let text = format!("sandbox {NAME} does not enforce {property:?}");
            return Err(Error::new(Kind::Unsupported, Fault::Validator, text));
        }
        let act = (self.script)(&spec);
        let waits = act.echoes && act.demand.exceeds(&spec.limits).is_none();
        let line = Line { bytes: act.says.iter().copied().collect(), echoes: waits, ..Line::default() };
        lock(&self.host).alive += 1;
        let line = Arc::new(Mutex::new(line));
        Ok(Box::new(Process { act, limits: spec.limits, line, taken: false, host: Arc::clone(&self.host) }))
    }
    async fn sweep(&self) -> Result<usize> {
        Ok(self.clear(NAME))
    }
}

/// The channel of scripted work: what it has said and not yet been read.
#[derive(Debug, Default)]
struct Line {
    bytes: VecDeque<u8>,
    /// Open, and sending back.
    echoes: bool,
    frozen: bool,
    killed: Option<(FailureClass, String)>,
    waiting: Vec<Waker>,
}

impl Line {
    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

#[derive(Debug)]
struct Process {
    act: Act,
    limits: Limits,
    line: Arc<Mutex<Line>>,
    taken: bool,
    host: Arc<Mutex<Host>>,
}

#[async_trait]
impl Running for Process {
    fn channel(&mut self) -> Option<Channel> {
        if std::mem::replace(&mut self.taken, true) {
            return None;
        }
        Some((Box::new(Outlet(Arc::clone(&self.line))), Box::new(Inlet(Arc::clone(&self.line)))))
    }

    async fn usage(&self) -> Result<Usage> {
        Ok(self.act.demand.within(&self.limits))
    }

    async fn freeze(&self) -> Result<()> {
        lock(&self.line).frozen = true;
        Ok(())
    }

    async fn thaw(&self) -> Result<()> {
        let mut line = lock(&self.line);
        line.frozen = false;
        line.wake();
        Ok(())
    }

    fn killer(&self) -> Box<dyn Killer> {
        Box::new(Hand(Arc::clone(&self.line)))
    }

    async fn wait(self: Box<Self>) -> Result<SandboxOutcome> {
        if !self.taken {
            lock(&self.line).echoes = false;
        }
        let killed = poll_fn(|context| {
            let mut line = lock(&self.line);
            if line.killed.is_none() && line.echoes {
                line.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(line.killed.clone())
        })
        .await;
        let Act { stderr, demand, exit, .. } = &self.act;
        let met = demand.exceeds(&self.limits);
        let (failure, reason) = match (killed, met) {
            (Some((class, reason)), _) => (Some(class), reason),
            (None, Some(what)) => (Some(FailureClass::Resource), format!("met its limit of {what}")),
            (None, None) if *exit != 0 => (Some(FailureClass::MinerCode), format!("ended with {exit}")),
            (None, None) => (None, String::new()),
        };
        let ended = matches!(failure, None | Some(FailureClass::MinerCode));
        Ok(SandboxOutcome {
            failure,
            reason,
            exit: ended.then_some(*exit),
            signal: (!ended).then_some(9),
            usage: demand.within(&self.limits),
            stderr_tail: stderr.clone(),
            stderr_total: stderr.len() as u64,
            artifacts: BTreeMap::new(),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        Hand(Arc::clone(&self.line)).kill(FailureClass::Cancelled, "dropped");
        let mut host = lock(&self.host);
        host.alive = host.alive.saturating_sub(1);
    }
}

#[derive(Debug)]
struct Hand(Arc<Mutex<Line>>);

impl Killer for Hand {
    fn kill(&self, class: FailureClass, reason: &str) {
        let mut line = lock(&self.0);
        line.killed.get_or_insert_with(|| (class, reason.to_owned()));
        line.frozen = false;
        line.echoes = false;
        line.wake();
    }
}

#[derive(Debug)]
struct Outlet(Arc<Mutex<Line>>);

#[async_trait]
impl ByteSource for Outlet {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| {
            let mut line = lock(&self.0);
            if line.frozen || (line.bytes.is_empty() && line.echoes && !into.is_empty()) {
                line.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(io::Read::read(&mut line.bytes, into))
        })
        .await
    }
}

#[derive(Debug)]
struct Inlet(Arc<Mutex<Line>>);

#[async_trait]
impl ByteSink for Inlet {
    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut line = lock(&self.0);
        if !line.echoes {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        line.bytes.extend(bytes);
        line.wake();
        Ok(())
    }
    async fn close(&mut self) -> io::Result<()> {
        let mut line = lock(&self.0);
        line.echoes = false;
        line.wake();
        Ok(())
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        let mut line = lock(&self.0);
        line.echoes = false;
        line.wake();
    }
}
