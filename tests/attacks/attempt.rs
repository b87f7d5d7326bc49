//! One start of one payload: how it is set up, what is asserted of every end, and what an attack can ask of it.
use super::world::{World, survivors};
use prism_core::{
    channel::{ByteSink, ByteSource},
    sandbox::{Limits, Network, Property, Running, SandboxOutcome, SandboxSpec},
    submission::FailureClass,
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// What no limit ended by then is not held by any.
const GIVE_UP: Duration = Duration::from_secs(120);
/// From a limit to the end, milliseconds, on a machine with much else to do. (The contract's second is the conformance
/// suite's to hold.)
const AFTER_LIMIT: u64 = 10_000;
/// A wall clock for what only that can end: time enough for an interpreter to start on such a machine.
pub(crate) const SHORT: u64 = 3000;
/// Where payloads are inside.
pub(crate) const PAYLOADS: &str = "/attacks";

pub(crate) const MIB: u64 = 1 << 20;

/// Fails an attack with a formatted reason when a condition doesn't hold.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}
pub(crate) use ensure;

/// A payload that is about to start.
pub(crate) struct Attempt<'a> {
    world: &'a World,
    what: String,
    marker: String,
    pub(crate) spec: SandboxSpec,
    input: Input,
    read: bool,
}

/// What happens to the payload's standard input.
#[derive(Clone, Copy, PartialEq)]
enum Input {
    Ends,
    StaysOpen,
}

impl<'a> Attempt<'a> {
    /// `GROUP.NAME` of a payload, and its arguments; limits that no harmless payload meets.
    pub(crate) fn new(world: &'a World, what: &str, arguments: &[&str]) -> Self {
        let marker = world.marker();
        let script = format!("{PAYLOADS}/attack.py");
        let mut argv: Vec<String> =
            [&*world.backend.python, "-I", "-S", "-B", &script, &marker, what].map(str::to_owned).into();
        argv.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let promised = [
            Property::NoNetwork,
            Property::ReadOnlyRoot,
            Property::SyscallFilter,
            Property::ProcessLimit,
            Property::DiskLimit,
            Property::OutputLimit,
        ];
        let spec = SandboxSpec {
            root: world.backend.root.clone(),
            argv,
            env: [("PRISM_GIVEN".to_owned(), "1".to_owned())].into(),
            read_only: [(PAYLOADS.to_owned(), world.payloads.clone())].into(),
            limits: Limits {
                wall_millis: 30_000,
                cpu_time_millis: 10_000,
                memory: 256 * MIB,
                processes: 64,
                files: 256,
                file_size: 64 * MIB,
                scratch: 16 * MIB,
                scratch_inodes: 4096,
                shared_memory: 16 * MIB,
                stderr: 65_536,
                channel: MIB,
            },
            network: Network::None,
            gpus: vec![],
            required: promised.into(),
            labels: [("attack".to_owned(), what.to_owned())].into(),
        };
        Self { world, what: what.to_owned(), marker, spec, input: Input::Ends, read: true }
    }

    pub(crate) fn limits(mut self, tighten: impl FnOnce(&mut Limits)) -> Self {
        tighten(&mut self.spec.limits);
        self
    }

    pub(crate) fn network(mut self, network: Network) -> Self {
        self.spec.network = network;
        self
    }

    /// Keeps its standard input open.
    pub(crate) fn open_input(mut self) -> Self {
        self.input = Input::StaysOpen;
        self
    }

    /// Leaves its output unread.
    pub(crate) fn unread(mut self) -> Self {
        self.read = false;
        self
    }

    /// Starts it.
    pub(crate) async fn start(self) -> Result<Started<'a>, String> {
        let began = Instant::now();
        let started = timeout(GIVE_UP, self.world.backend.sandbox.start(self.spec.clone())).await;
        let mut running = started
            .map_err(|_| format!("{}: start takes longer than {GIVE_UP:?}", self.what))?
            .map_err(|error| format!("{}: did not start: {error:?}", self.what))?;
        let (source, mut sink) = running.channel().ok_or("work has no channel")?;
        if self.input == Input::Ends {
            let _ = sink.close().await;
        }
        let Self { world, what, marker, spec, read, .. } = self;
        Ok(Started { world, what, marker, limits: spec.limits, read, began, running, source, sink, said: vec![] })
    }

    /// Starts it and waits for its end.
    pub(crate) async fn run(self) -> Result<End, String> {
        self.start().await?.end().await
    }
}

/// A payload that runs.
pub(crate) struct Started<'a> {
    world: &'a World,
    what: String,
    pub(crate) marker: String,
    limits: Limits,
    read: bool,
    began: Instant,
    pub(crate) running: Box<dyn Running>,
    source: Box<dyn ByteSource>,
    pub(crate) sink: Box<dyn ByteSink>,
    said: Vec<u8>,
}

impl Started<'_> {
    /// Waits until it has said something with this key.
    pub(crate) async fn hear(&mut self, key: &str) -> Result<(), String> {
        let mut chunk = [0; 4096];
        let until = Instant::now() + GIVE_UP;
        while !lines(&self.said).contains_key(key) {
            let left = until.saturating_duration_since(Instant::now());
            match timeout(left, self.source.read(&mut chunk)).await {
                Ok(Ok(count)) if count > 0 => self.said.extend_from_slice(&chunk[..count]),
                other => return Err(format!("{}: waited for {key:?}, got {other:?}", self.what)),
            }
        }
        Ok(())
    }

    /// Lets go of it without waiting.
    pub(crate) fn abandon(self) -> String {
        self.marker
    }

    /// Waits for the end, and asserts what holds after every end.
    pub(crate) async fn end(self) -> Result<End, String> {
        let Self { world, what, marker, limits, read, began, running, mut source, sink, mut said } = self;
        let mut chunk = vec![0; 65_536];
        let heard = async {
            if read {
                // Work that is killed may end its channel with an error.
                while let Ok(count) = source.read(&mut chunk).await {
                    if count == 0 || said.len() as u64 > limits.channel {
                        break;
                    }
                    said.extend_from_slice(&chunk[..count]);
                }
            }
            running.wait().await
        };
        let outcome = timeout(GIVE_UP, heard)
            .await
            .map_err(|_| format!("{what}: goes on for more than {GIVE_UP:?}"))?
            .map_err(|error| format!("{what}: its end is an error: {error:?}"))?;
        drop((source, sink));
        let end = End { what, lines: lines(&said), said, outcome, took: began.elapsed() };
        end.holds(world, &marker, &limits)?;
        Ok(end)
    }
}

fn lines(said: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(said);
    text.lines().filter_map(|line| line.split_once('\t')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// A payload that has ended.
#[derive(Debug)]
pub(crate) struct End {
    what: String,
    /// What it found, by key.
    pub(crate) lines: BTreeMap<String, String>,
    /// All that it wrote to the channel.
    pub(crate) said: Vec<u8>,
    pub(crate) outcome: SandboxOutcome,
    /// By this suite's clock, start and end of the sandbox included.
    pub(crate) took: Duration,
}

impl End {
    /// What holds after every attack: nobody alive, nothing of the host's in what came out, every limit kept.
    fn holds(&self, world: &World, marker: &str, limits: &Limits) -> Result<(), String> {
        let Self { what, outcome, said, .. } = self;
        let alive = survivors(marker);
        ensure!(alive.is_empty(), "{what}: alive after its end: {alive:?}");
        for (place, bytes) in
            [("output", &**said), ("errors", &*outcome.stderr_tail), ("reason", outcome.reason.as_bytes())]
        {
            ensure!(!world.betrayed(bytes), "{what}: a secret of the host is in its {place}: {:?}", self.text());
        }
        ensure!(!outcome.artifacts.values().any(|digest| *digest == world.planted), "{what}: a secret was collected");
        ensure!(outcome.failure != Some(FailureClass::Infrastructure), "{what}: passes for our own failure: {self:?}");
        ensure!(said.len() as u64 <= limits.channel, "{what}: {} bytes on the channel", said.len());
        ensure!(
            outcome.stderr_tail.len() as u64 <= limits.stderr,
            "{what}: {} bytes of errors",
            outcome.stderr_tail.len()
        );
        let used = outcome.usage;
        ensure!(used.wall_millis <= limits.wall_millis + AFTER_LIMIT, "{what}: lasted {used:?}");
        if world.enforced(Property::CpuTimeLimit) {
            ensure!(used.cpu_millis <= limits.cpu_time_millis + AFTER_LIMIT, "{what}: computed {used:?}");
        }
        if world.enforced(Property::MemoryLimit) {
            ensure!(used.peak_memory <= limits.memory, "{what}: held {used:?}");
        }
        let safe = |name: &str| {
            let path = PathBuf::from(name);
            !name.is_empty() && path.is_relative() && !name.split('/').any(|part| matches!(part, "" | "." | ".."))
        };
        let unsafe_name = outcome.artifacts.keys().find(|name| !safe(name));
        ensure!(unsafe_name.is_none(), "{what}: artifact named {unsafe_name:?}");
        Ok(())
    }

    fn text(&self) -> String {
        let (said, errors) = (String::from_utf8_lossy(&self.said), String::from_utf8_lossy(&self.outcome.stderr_tail));
        format!("{}{}", said.chars().take(2000).collect::<String>(), errors.chars().take(2000).collect::<String>())
    }

    /// Ended with this class.
    pub(crate) fn class(&self, class: Option<FailureClass>) -> Result<(), String> {
        let SandboxOutcome { failure, reason, exit, signal, usage, .. } = &self.outcome;
        ensure!(
            *failure == class,
            "{}: called {failure:?} ({reason}; exit {exit:?}, signal {signal:?}, {usage:?}) instead of {class:?}; it said {:?}",
            self.what,
            self.text()
        );
        Ok(())
    }

    /// Ended well, with 0.
    pub(crate) fn well(&self) -> Result<(), String> {
        self.class(None)?;
        ensure!(self.outcome.exit == Some(0), "{}: exit {:?}", self.what, self.outcome.exit);
        Ok(())
    }

    /// What it said under a key.
    pub(crate) fn word(&self, key: &str) -> Result<&str, String> {
        let word = self.lines.get(key).map(String::as_str);
        word.ok_or_else(|| format!("{}: said nothing of {key:?}, but {:?}", self.what, self.text()))
    }

    /// A number that it said.
    pub(crate) fn number(&self, key: &str) -> Result<u64, String> {
        self.word(key)?.parse().map_err(|_| format!("{}: {key} is {:?}", self.what, self.lines[key]))
    }

    /// Every key with this beginning has one of these words; how many keys.
    pub(crate) fn each(&self, beginning: &str, words: &[&str]) -> Result<usize, String> {
        let of: Vec<_> = self.lines.iter().filter(|(key, _)| key.starts_with(beginning)).collect();
        ensure!(!of.is_empty(), "{}: said nothing of {beginning:?}, but {:?}", self.what, self.text());
        let wrong: Vec<_> = of.iter().filter(|(_, word)| !words.contains(&word.as_str())).collect();
        ensure!(wrong.is_empty(), "{}: {wrong:?} instead of {words:?}", self.what);
        Ok(of.len())
    }

    /// No key with this beginning has one of these words; how many keys.
    pub(crate) fn none(&self, beginning: &str, words: &[&str]) -> Result<usize, String> {
        let of: Vec<_> = self.lines.iter().filter(|(key, _)| key.starts_with(beginning)).collect();
        let wrong: Vec<_> = of.iter().filter(|(_, word)| words.contains(&word.as_str())).collect();
        ensure!(wrong.is_empty(), "{}: {wrong:?}", self.what);
        Ok(of.len())
    }
}
