//! Plain processes, for development: no wall at all.
use async_trait::async_trait;
use prism_core::{
    Error, Fault, Kind, Result, Sandbox,
    channel::{ByteSink, ByteSource},
    sandbox::{Capabilities, Channel, Killer, Limits, Running, SandboxOutcome, SandboxSpec, Usage},
    submission::FailureClass,
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::{Notify, oneshot},
    task::JoinHandle,
};

/// How often limits are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes of standard error that are kept.
const TAIL: usize = 16 * 1024;
/// Clock ticks of `/proc` per second on Linux (`sysconf(_SC_CLK_TCK)`, 100 on every architecture).
const TICK_MILLIS: u64 = 10;

/// Starts work as plain processes of this user, **without isolation**: whatever it runs can read, write and reach all that
/// this user can. For development with code of one's own.
///
/// Every property is absent. Each work has a process group of its own, killed on drop; time, memory and output are looked at
/// ten times a second and what leaves its group is lost from sight. There are no mounts: arguments and variables that name a
/// read-only path inside get the path outside, and `TMPDIR` is a folder of its own. Artifacts are not collected.
#[derive(Debug, Clone)]
pub struct UnsafeProcessSandbox {
    folder: PathBuf,
}

impl UnsafeProcessSandbox {
    /// Work finds its scratch space below this folder.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

#[async_trait]
impl Sandbox for UnsafeProcessSandbox {
    fn name(&self) -> &'static str {
        "unsafe process"
    }

    async fn probe(&self) -> Result<Capabilities> {
        Ok(Capabilities::default())
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Box<dyn Running>> {
        if let Some(property) = Capabilities::default().missing(&spec.required) {
            let text = format!("plain processes have no {property:?}, which is required");
            return Err(Error::new(Kind::Unsupported, Fault::Validator, text));
        }
        let unavailable =
            |e: io::Error| Error::new(Kind::Unavailable, Fault::Infrastructure, "process not startable").because(e);
        let scratch = tempfile::Builder::new().prefix("scratch-").tempdir_in(&self.folder).map_err(unavailable)?;
        let outside = |text: &str| outside(text, &spec.read_only);
        let [program, arguments @ ..] = spec.argv.as_slice() else {
            return Err(Error::new(Kind::Invalid, Fault::Validator, "no program to start"));
        };
        let mut command = Command::new(outside(program));
        command.args(arguments.iter().map(|argument| outside(argument)));
        command.env_clear().envs(spec.env.iter().map(|(name, value)| (name, outside(value))));
        command.env("TMPDIR", scratch.path()).current_dir(scratch.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).kill_on_drop(true).spawn().map_err(unavailable)?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let group = id.ok_or_else(|| Error::bug("process that was just started has no id"))?;
        let counter = Arc::new(Counter::default());
        let (source, sink, stderr) = (child.stdout.take(), child.stdin.take(), child.stderr.take());
        let channel = source.zip(sink).map(|(source, sink)| -> Channel {
            let (reads, writes) = (Arc::clone(&counter), Arc::clone(&counter));
            (Box::new(Source { pipe: source, counter: reads }), Box::new(Sink { pipe: Some(sink), counter: writes }))
        });
        let shared = Arc::new(Shared {
            group,
            started: Instant::now(),
            state: Mutex::default(),
            stop: Notify::new(),
            channel: counter,
        });
        let (tell, outcome) = oneshot::channel();
        let watch = watch(Arc::clone(&shared), child, stderr, spec.limits, scratch, tell);
        let watcher = tokio::spawn(watch);
        Ok(Box::new(Process { shared, channel: Mutex::new(channel), outcome: Some(outcome), _watcher: watcher }))
    }

    async fn sweep(&self) -> Result<usize> {
        Ok(0)
    }
}

/// The text with paths inside replaced by those outside.
fn outside(text: &str, read_only: &BTreeMap<String, PathBuf>) -> String {
    let found = read_only.iter().find_map(|(inside, outside)| Some((text.strip_prefix(inside.as_str())?, outside)));
    match found {
        Some((rest, outside)) if rest.is_empty() || rest.starts_with('/') => format!("{}{rest}", outside.display()),
        _ => text.to_owned(),
    }
}

#[derive(Debug, Default)]
struct Counter(AtomicU64);

#[derive(Debug)]
struct Shared {
    group: Pid,
    started: Instant,
    state: Mutex<State>,
    stop: Notify,
    channel: Arc<Counter>,
}

#[derive(Debug, Default)]
struct State {
    /// The first reason to kill.
    verdict: Option<(FailureClass, String)>,
    /// The group's id may be another's by now.
    reaped: bool,
    usage: Usage,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kill(&self, class: FailureClass, reason: &str) {
        let mut state = self.state();
        if state.verdict.is_none() {
            state.verdict = Some((class, reason.to_owned()));
        }
        self.signal(&state, Signal::KILL);
        self.stop.notify_one();
    }

    fn signal(&self, state: &State, signal: Signal) {
        if !state.reaped {
            // Nothing is left of a group that is not found.
            let _ = kill_process_group(self.group, signal);
        }
    }

    /// Adds up what `/proc` says of the group.
    fn look(&self) -> Usage {
        let mut state = self.state();
        if !state.reaped {
            let (cpu, memory, processes) = group_usage(self.group);
            let usage = &mut state.usage;
            usage.wall_millis = millis(self.started.elapsed());
            usage.cpu_millis = usage.cpu_millis.max(cpu);
            usage.peak_memory = usage.peak_memory.max(memory);
            usage.peak_processes = usage.peak_processes.max(processes);
        }
        state.usage
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Processor milliseconds (with ended children), resident bytes and processes of a group.
fn group_usage(group: Pid) -> (u64, u64, u32) {
    let (mut cpu, mut memory, mut processes) = (0u64, 0u64, 0);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // Fields follow the name, which ends with the last parenthesis (proc(5)).
        let Some((_, fields)) = text.rsplit_once(')') else { continue };
        let fields: Vec<i64> = fields.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
        let field = |number: usize| fields.get(number).copied().unwrap_or_default();
        if field(2) != i64::from(group.as_raw_nonzero().get()) {
            continue;
        }
        let ticks: i64 = (11..15).map(field).sum();
        cpu += ticks.unsigned_abs() * TICK_MILLIS;
        memory += field(21).unsigned_abs() * 4096;
        processes += 1;
    }
    (cpu, memory, processes)
}

/// Looks after one process until its end.
async fn watch(
    shared: Arc<Shared>,
    mut child: Child,
    stderr: Option<ChildStderr>,
    limits: Limits,
    scratch: TempDir,
    tell: oneshot::Sender<SandboxOutcome>,
) {
    let mut pump = tokio::spawn(pump(Arc::clone(&shared), stderr, limits.stderr));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.ok(),
            () = shared.stop.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        let usage = shared.look();
        let bounds = [
            ("wall clock", usage.wall_millis, limits.wall_millis),
            ("processor time", usage.cpu_millis, limits.cpu_time_millis),
            ("memory", usage.peak_memory, limits.memory),
            ("channel", shared.channel.0.load(Ordering::Relaxed), limits.channel),
        ];
        if let Some((what, got, limit)) = bounds.into_iter().find(|(_, got, limit)| got > limit) {
            shared.kill(FailureClass::Resource, &format!("{what}: {got}, the limit is {limit}"));
        }
    };
    let (verdict, usage) = {
        let mut state = shared.state();
        // The leader is gone; its group lives on in what it started.
        shared.signal(&state, Signal::KILL);
        state.reaped = true;
        state.usage.wall_millis = millis(shared.started.elapsed());
        (state.verdict.take(), state.usage)
    };
    // What left the group may hold the pipe open.
    let said = tokio::time::timeout(LOOK * 5, &mut pump).await;
    pump.abort();
    let (stderr_tail, stderr_total) = said.ok().and_then(Result::ok).unwrap_or_default();
    drop(scratch);
    let _ = tell.send(outcome(status, verdict, usage, stderr_tail, stderr_total));
}

fn outcome(
    status: Option<ExitStatus>,
    verdict: Option<(FailureClass, String)>,
    usage: Usage,
    stderr_tail: Vec<u8>,
    stderr_total: u64,
) -> SandboxOutcome {
    let (exit, signal) = status.map_or((None, None), |status| (status.code(), status.signal()));
    let (failure, reason) = match verdict {
        Some((class, reason)) => (Some(class), reason),
        None => match (exit, signal) {
            (Some(0), _) => (None, String::new()),
            (Some(code), _) => (Some(FailureClass::MinerCode), format!("exit code {code}")),
            (None, Some(signal)) => (Some(FailureClass::MinerCode), format!("signal {signal}")),
            (None, None) => (Some(FailureClass::Infrastructure), "its end was not seen".to_owned()),
        },
    };
    let artifacts = BTreeMap::new();
    SandboxOutcome { failure, reason, exit, signal, usage, stderr_tail, stderr_total, artifacts }
}

/// Reads standard error to its end or its limit: the last bytes, and how many there were.
async fn pump(shared: Arc<Shared>, stderr: Option<ChildStderr>, limit: u64) -> (Vec<u8>, u64) {
    let (mut tail, mut total) = (VecDeque::new(), 0);
    let Some(mut stderr) = stderr else { return (vec![], 0) };
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = stderr.read(&mut bytes).await {
        total += count as u64;
        tail.extend(bytes.iter().take(count));
        tail.drain(..tail.len().saturating_sub(TAIL));
        if total > limit {
            shared.kill(FailureClass::Resource, &format!("standard error: more than {limit} bytes"));
            break;
        }
    }
    (tail.into(), total)
}

/// A running process group; drop kills it.
#[derive(Debug)]
struct Process {
    shared: Arc<Shared>,
    /// A channel alone isn't `Sync`.
    channel: Mutex<Option<Channel>>,
    outcome: Option<oneshot::Receiver<SandboxOutcome>>,
    /// Reaps also after a drop.
    _watcher: JoinHandle<()>,
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.outcome.is_some() {
            self.shared.kill(FailureClass::Cancelled, "dropped");
        }
    }
}

#[async_trait]
impl Running for Process {
    fn channel(&mut self) -> Option<Channel> {
        self.channel.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn usage(&self) -> Result<Usage> {
        Ok(self.shared.look())
    }

    async fn freeze(&self) -> Result<()> {
        self.shared.signal(&self.shared.state(), Signal::STOP);
        Ok(())
    }

    async fn thaw(&self) -> Result<()> {
        self.shared.signal(&self.shared.state(), Signal::CONT);
        Ok(())
    }

    fn killer(&self) -> Box<dyn Killer> {
        Box::new(ProcessKiller(Arc::clone(&self.shared)))
    }

    async fn wait(mut self: Box<Self>) -> Result<SandboxOutcome> {
        drop(self.channel());
        // Waited for by reference, so that a dropped wait still kills.
        let outcome = match &mut self.outcome {
            Some(outcome) => outcome.await,
            None => return Err(Error::bug("process was waited for twice")),
        };
        self.outcome = None;
        outcome.map_err(|_| Error::bug("nobody looked after a process"))
    }
}

#[derive(Debug)]
struct ProcessKiller(Arc<Shared>);

impl Killer for ProcessKiller {
    fn kill(&self, class: FailureClass, reason: &str) {
        self.0.kill(class, reason);
    }
}

#[derive(Debug)]
struct Source {
    pipe: ChildStdout,
    counter: Arc<Counter>,
}

#[async_trait]
impl ByteSource for Source {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.pipe.read(into).await?;
        self.counter.0.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[derive(Debug)]
struct Sink {
    pipe: Option<ChildStdin>,
    counter: Arc<Counter>,
}

#[async_trait]
impl ByteSink for Sink {
    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let pipe = self.pipe.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        self.counter.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        pipe.write_all(bytes).await?;
        pipe.flush().await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.pipe = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::{
        channel::ByteSourceExt,
        sandbox::{Network, Property, Root},
    };

    fn spec(script: &str) -> SandboxSpec {
        SandboxSpec {
            root: Root::HostDirectories(vec![]),
            argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            read_only: BTreeMap::new(),
            limits: Limits {
                wall_millis: 20_000,
                cpu_time_millis: 20_000,
                memory: 1 << 30,
                processes: 100,
                files: 100,
                file_size: 1 << 20,
                scratch: 1 << 20,
                scratch_inodes: 100,
                shared_memory: 1 << 20,
                stderr: 4096,
                channel: 1 << 20,
            },
            network: Network::None,
            gpus: vec![],
            required: vec![],
            labels: BTreeMap::new(),
        }
    }

    async fn start(spec: SandboxSpec) -> Result<Box<dyn Running>> {
        UnsafeProcessSandbox::new(std::env::temp_dir()).start(spec).await
    }

    #[tokio::test]
    async fn a_channel_carries_both_ways_and_the_environment_is_the_specs() {
        let mut running = start(spec("read line; echo $line $HOME $TMPDIR")).await.unwrap();
        let (mut source, mut sink) = running.channel().unwrap();
        assert!(running.channel().is_none());
        sink.write_all(b"hello\n").await.unwrap();
        let said = source.read_all("channel", 1000).await.unwrap();
        let said = String::from_utf8(said).unwrap();
        assert!(said.starts_with("hello ") && said.contains("scratch-"), "{said:?}");
        let outcome = running.wait().await.unwrap();
        assert_eq!((outcome.failure, outcome.exit), (None, Some(0)));
    }

    #[tokio::test]
    async fn limits_kills_and_exits_have_their_class() {
        let outcome = start(spec("echo no >&2; exit 3")).await.unwrap().wait().await.unwrap();
        assert_eq!((outcome.failure, outcome.exit), (Some(FailureClass::MinerCode), Some(3)));
        assert_eq!(outcome.stderr_tail, b"no\n");
        let outcome = start(spec("while true; do echo much >&2; done")).await.unwrap().wait().await.unwrap();
        assert_eq!(outcome.failure, Some(FailureClass::Resource));
        let mut short = spec("sleep 60 & sleep 60");
        short.limits.wall_millis = 300;
        let outcome = start(short).await.unwrap().wait().await.unwrap();
        assert_eq!(outcome.failure, Some(FailureClass::Resource));
        let running = start(spec("sleep 60")).await.unwrap();
        running.killer().kill(FailureClass::Policy, "first");
        running.killer().kill(FailureClass::Cancelled, "second");
        let outcome = running.wait().await.unwrap();
        assert_eq!((outcome.failure, outcome.reason.as_str()), (Some(FailureClass::Policy), "first"));
    }

    #[tokio::test]
    async fn a_drop_kills_the_whole_group_and_nothing_required_is_promised() {
        let mut running = start(spec("sleep 60 & echo started; sleep 60")).await.unwrap();
        let (mut source, _sink) = running.channel().unwrap();
        let mut said = [0; 8];
        assert_eq!(source.read(&mut said).await.unwrap(), 8);
        drop(running);
        // The pipe ends when the last process that holds it is gone.
        let end = tokio::time::timeout(Duration::from_secs(10), source.read(&mut said)).await;
        assert_eq!(end.unwrap().unwrap(), 0);
        let required = SandboxSpec { required: vec![Property::NoNetwork], ..spec("true") };
        assert_eq!(start(required).await.unwrap_err().kind(), Kind::Unsupported);
    }

    #[test]
    fn paths_inside_are_those_outside() {
        let read_only = BTreeMap::from([("/opt/prism".to_owned(), PathBuf::from("/a/b"))]);
        for (text, expected) in
            [("/opt/prism", "/a/b"), ("/opt/prism/x.py", "/a/b/x.py"), ("/opt/prismatic", "/opt/prismatic")]
        {
            assert_eq!(outside(text, &read_only), expected);
        }
    }
}
