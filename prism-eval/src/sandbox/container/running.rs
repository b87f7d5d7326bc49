//! A running container: what watches it, what ends it, and what its end is called.
use super::{
    ArtifactSpace,
    cgroup::{self, Cgroup, Sample},
    engine::Engine,
    error::ContainerError,
    space::Space,
    streams::{ChannelSink, ChannelSource},
};
use crate::sandbox::{
    artifacts::{self, CollectError},
    evidence::{Evidence, Tail},
};
use async_trait::async_trait;
use bollard::{
    Docker,
    models::ContainerState,
    query_parameters::{KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, StatsOptionsBuilder},
};
use futures::StreamExt;
use prism_core::{
    Digest, Error, Fault, Kind, Result,
    sandbox::{Channel, Killer, Limits, Running, SandboxOutcome, Usage},
    submission::FailureClass,
};
use rustix::process::{Pid, Signal};
use std::{
    collections::BTreeMap,
    fmt, mem,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

/// Bytes of standard error that are kept.
const TAIL: usize = 64 * 1024;
/// Between two looks at the counters: files of this host, else the engine's own count.
const LOOK: Duration = Duration::from_millis(50);
const ASK: Duration = Duration::from_millis(250);
/// For the engine's own count. The first may take a second where it can't be had at once.
const ANSWER: Duration = Duration::from_secs(3);
/// Between two looks at a container of which the engine says nothing.
const GLANCE: Duration = Duration::from_millis(300);
/// From a kill until an engine that doesn't see its effect is given up.
const DYING: Duration = Duration::from_secs(20);
/// For processes that are busy in the kernel to stand still.
const FREEZING: Duration = Duration::from_secs(10);
/// For the last bytes of standard error after the end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// For an engine that came back after it was lost.
const LOST: Duration = Duration::from_secs(10);
/// For the control groups to empty after removal, before survivors are called that.
const SETTLE: Duration = Duration::from_millis(500);

/// What the watcher, the handle, the killers and the streams of one container share.
pub(super) struct Shared {
    container: String,
    started: Instant,
    channel_limit: u64,
    channel: AtomicU64,
    verdict: Mutex<Option<(FailureClass, String)>>,
    wake: Notify,
    ended: watch::Sender<bool>,
    /// The container's first process, where this host sees it.
    init: Option<OwnedFd>,
    cgroup: Option<Cgroup>,
    seen: Mutex<Sample>,
    tail: Mutex<Tail>,
    frozen: tokio::sync::Mutex<bool>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("container", &self.container).finish_non_exhaustive()
    }
}

impl Shared {
    /// A container that has just started, with its first process where the engine names it and this host sees it.
    pub(super) fn new(container: String, pid: Option<i32>, limits: &Limits) -> Self {
        let group = |pid| Cgroup::of(pid, &container);
        let init = pid.filter(|pid| group(*pid).is_some()).and_then(|pid| {
            let process =
                rustix::process::pidfd_open(Pid::from_raw(pid)?, rustix::process::PidfdFlags::empty()).ok()?;
            // Looked up again: the number may have gone to another process before it was opened.
            group(pid).map(|group| (process, group))
        });
        let (init, cgroup) = init.unzip();
        Self {
            started: Instant::now(),
            channel_limit: limits.channel,
            channel: AtomicU64::new(0),
            verdict: Mutex::default(),
            wake: Notify::new(),
            ended: watch::Sender::new(false),
            init,
            seen: Mutex::default(),
            tail: Mutex::new(Tail::new(TAIL)),
            frozen: tokio::sync::Mutex::new(false),
            cgroup,
            container,
        }
    }

    /// Kills, from any thread and without waiting: at once where the first process is visible, and by the engine.
    pub(super) fn kill(&self, class: FailureClass, reason: &str) {
        if *self.ended.borrow() {
            return;
        }
        lock(&self.verdict).get_or_insert_with(|| (class, reason.into()));
        if let Some(init) = &self.init {
            // The end of the first process is the end of its namespace, so of all.
            let _ = rustix::process::pidfd_send_signal(init, Signal::KILL);
        }
        self.wake.notify_one();
    }

    /// Counts bytes on the channel; false when they exceed its limit, which kills.
    pub(super) fn count(&self, bytes: usize) -> bool {
        let before = self.channel.fetch_add(bytes as u64, Ordering::Relaxed);
        let within = before.saturating_add(bytes as u64) <= self.channel_limit;
        if !within {
            self.kill(FailureClass::Resource, &format!("more than {} bytes on the channel", self.channel_limit));
        }
        within
    }

    /// Looks at or adds to the end of standard error.
    pub(super) fn stderr<T>(&self, with: impl FnOnce(&mut Tail) -> T) -> T {
        with(&mut lock(&self.tail))
    }

    /// Until the container has ended.
    pub(super) async fn ended(&self) {
        // The sender is in self: it can't be gone.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Whether this host sees the container's processes.
    pub(super) fn is_seen(&self) -> bool {
        self.cgroup.is_some()
    }

    fn is_killed(&self) -> bool {
        lock(&self.verdict).is_some()
    }

    /// Takes note of counters. They only grow: the group is gone before the last look.
    fn note(&self, sample: Sample) {
        let mut seen = lock(&self.seen);
        let (old, new) = (&mut seen.usage, sample.usage);
        old.cpu_millis = old.cpu_millis.max(new.cpu_millis);
        old.peak_memory = old.peak_memory.max(new.peak_memory);
        old.oom_kills = old.oom_kills.max(new.oom_kills);
        old.peak_processes = old.peak_processes.max(new.peak_processes);
        seen.refused_processes = seen.refused_processes.max(sample.refused_processes);
    }

    fn seen(&self) -> Sample {
        let mut seen = *lock(&self.seen);
        seen.usage.wall_millis = millis(self.started.elapsed());
        seen
    }

    /// Looks at the counters of this host, else asks the engine.
    async fn look(&self, docker: &Docker) -> Result<Sample, ContainerError> {
        match &self.cgroup {
            Some(group) => {
                if let Some(sample) = group.sample() {
                    self.note(sample);
                }
            }
            None if !*self.ended.borrow() => self.note(stats(docker, &self.container).await?),
            None => {}
        }
        Ok(self.seen())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The engine's own count of one container.
async fn stats(docker: &Docker, container: &str) -> Result<Sample, ContainerError> {
    let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
    let doing = "count what a container uses";
    let Some(answer) = docker.stats(container, Some(options)).next().await else { return Ok(Sample::default()) };
    let stats = answer.map_err(ContainerError::call(doing))?;
    let cpu = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage?.total_usage).unwrap_or(0);
    let memory = stats.memory_stats.and_then(|memory| memory.max_usage.max(memory.usage)).unwrap_or(0);
    let processes = stats.pids_stats.and_then(|pids| pids.current).unwrap_or(0);
    Ok(Sample {
        usage: Usage {
            cpu_millis: cpu / 1_000_000,
            peak_memory: memory,
            peak_processes: u32::try_from(processes).unwrap_or(u32::MAX),
            ..Usage::default()
        },
        refused_processes: 0,
    })
}

/// Removes a container and its record, running or not. One that is gone already is no error.
pub(super) async fn remove(docker: &Docker, container: &str) -> Result<(), ContainerError> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let removed = docker.remove_container(container, Some(options)).await;
    match removed.map_err(ContainerError::call("remove a container")) {
        Err(error) if error.status() != Some(404) => Err(error),
        _ => Ok(()),
    }
}

/// The host's handle of a container.
#[derive(Debug)]
pub(super) struct ContainerRunning {
    pub(super) engine: Arc<Engine>,
    pub(super) shared: Arc<Shared>,
    pub(super) channel: Option<(ChannelSource, ChannelSink)>,
    pub(super) outcome: Option<oneshot::Receiver<SandboxOutcome>>,
}

#[derive(Debug)]
struct ContainerKiller(Arc<Shared>);

impl Killer for ContainerKiller {
    fn kill(&self, class: FailureClass, reason: &str) {
        self.0.kill(class, reason);
    }
}

impl Drop for ContainerRunning {
    fn drop(&mut self) {
        self.shared.kill(FailureClass::Cancelled, "nobody holds it any more");
    }
}

#[async_trait]
impl Running for ContainerRunning {
    fn channel(&mut self) -> Option<Channel> {
        let (source, sink) = self.channel.take()?;
        Some((Box::new(source), Box::new(sink)))
    }

    async fn usage(&self) -> Result<Usage> {
        let shared = Arc::clone(&self.shared);
        if shared.cgroup.is_some() {
            if let Some(sample) = shared.cgroup.as_ref().and_then(Cgroup::sample) {
                shared.note(sample);
            }
            return Ok(shared.seen().usage);
        }
        let seen = self.engine.call(move |docker| async move { shared.look(&docker).await }).await?;
        Ok(seen.usage)
    }

    async fn freeze(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let freeze = move |docker: Docker| async move {
            let mut frozen = shared.frozen.lock().await;
            if *frozen || shared.is_killed() || *shared.ended.borrow() {
                return Ok(());
            }
            let until = Instant::now() + FREEZING;
            loop {
                let paused = docker.pause_container(&shared.container).await;
                match paused.map_err(ContainerError::call("freeze a container")) {
                    Ok(()) => {
                        *frozen = true;
                        return Ok(());
                    }
                    // Work that has ended can't be stopped, and nothing of it runs.
                    Err(_) if shared.is_killed() || is_over(&docker, &shared.container).await => return Ok(()),
                    // A group of version 1 may fail to freeze while its processes are busy in the kernel, and runc gives
                    // up after some milliseconds.
                    Err(error) if error.status() == Some(500) && Instant::now() < until => {
                        sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(self.engine.call(freeze).await?)
    }

    async fn thaw(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let thaw = move |docker: Docker| async move {
            let mut frozen = shared.frozen.lock().await;
            if !*frozen {
                return Ok(());
            }
            let going =
                docker.unpause_container(&shared.container).await.map_err(ContainerError::call("thaw a container"));
            if let Err(error) = going
                && !is_over(&docker, &shared.container).await
            {
                return Err(error);
            }
            *frozen = false;
            Ok(())
        };
        Ok(self.engine.call(thaw).await?)
    }

    fn killer(&self) -> Box<dyn Killer> {
        Box::new(ContainerKiller(Arc::clone(&self.shared)))
    }

    async fn wait(mut self: Box<Self>) -> Result<SandboxOutcome> {
        // A channel that nobody took is closed, or the work might wait for it.
        self.channel = None;
        let outcome = self.outcome.take().ok_or_else(|| Error::bug("container is waited for twice"))?;
        Ok(outcome.await.map_err(|_| ContainerError::Gone)?)
    }
}

/// Whether the engine says that it has ended. An engine that says nothing doesn't.
async fn is_over(docker: &Docker, container: &str) -> bool {
    match docker.inspect_container(container, None).await.map_err(ContainerError::call("look at a container")) {
        Ok(seen) => seen.state.and_then(|state| state.running) == Some(false),
        Err(error) => error.status() == Some(404),
    }
}

/// Everything that ends with a container.
pub(super) struct Watch {
    pub(super) docker: Docker,
    pub(super) shared: Arc<Shared>,
    pub(super) limits: Limits,
    /// Carries the channel.
    pub(super) carriers: Vec<JoinHandle<()>>,
    /// Keeps standard error.
    pub(super) stderr: JoinHandle<()>,
    pub(super) artifacts: Option<(Space, ArtifactSpace)>,
    /// Whether this host has ever seen a process of this engine: work may end before it is looked at.
    pub(super) sees: Arc<AtomicBool>,
}

impl Watch {
    /// Watches a container to its end, removes it, looks for survivors and collects what it left.
    pub(super) async fn over(mut self) -> SandboxOutcome {
        let state = self.watch().await;
        let wall_millis = millis(self.shared.started.elapsed());
        self.shared.ended.send_replace(true);
        let killed = self.shared.is_killed();
        if killed || timeout(LAST_WORDS, &mut self.stderr).await.is_err() {
            self.stderr.abort();
        }
        if killed {
            self.carriers.iter().for_each(JoinHandle::abort);
        }
        let Sample { mut usage, refused_processes } = self.shared.seen();
        usage.wall_millis = wall_millis;
        let mut evidence = Evidence {
            killed: lock(&self.shared.verdict).clone().or_else(|| self.exceeded()),
            refused_processes,
            scratch_full: self.artifacts.as_ref().is_some_and(|(space, _)| space.is_full()),
            ..Evidence::default()
        };
        let state = state.unwrap_or_else(|error| {
            evidence.lost = Some(Error::from(error).chain());
            ContainerState::default()
        });
        if let Some(error) = state.error.filter(|error| !error.is_empty()) {
            evidence.lost.get_or_insert(error);
        }
        usage.oom_kills = usage.oom_kills.max(state.oom_killed.unwrap_or(false).into());
        evidence.oom_kills = usage.oom_kills;
        evidence.exit = state.exit_code.map(|exit| i32::try_from(exit).unwrap_or(i32::MAX));
        if evidence.exit == Some(i32::MAX) {
            // What a shim reports that took a traced stop for an exit: no process ends like this.
            evidence.artifacts = Some("the engine lost its first process".into());
        }
        if killed && evidence.exit == Some(128 + Signal::KILL.as_raw()) {
            (evidence.exit, evidence.signal) = (None, Some(Signal::KILL.as_raw()));
        }
        if let Err(error) = remove(&self.docker, &self.shared.container).await {
            tracing::warn!(container = self.shared.container, %error, "container is left for a sweep");
        }
        let survivors = self.survivors().await;
        if let Some(count @ 1..) = survivors {
            evidence.artifacts = Some(format!("{count} of its processes outlived its container"));
        }
        let artifacts = match self.artifacts.take() {
            // What survives could still change them, and what is refused is not looked at.
            Some((space, to)) if evidence.artifacts.is_none() => match collect(&space, &to).await {
                Ok(artifacts) => artifacts,
                Err(CollectError::Refused(why)) => {
                    evidence.artifacts = Some(why);
                    BTreeMap::new()
                }
                Err(CollectError::Failed(error)) => {
                    evidence.lost.get_or_insert(error.chain());
                    BTreeMap::new()
                }
            },
            _ => BTreeMap::new(),
        };
        let (failure, mut reason) = evidence.classify();
        if survivors.is_none() {
            reason.push_str(" (this host doesn't see the engine's processes, so survivors were not looked for)");
        }
        let tail = self.shared.stderr(|tail| mem::replace(tail, Tail::new(TAIL)));
        SandboxOutcome {
            failure,
            reason,
            exit: evidence.exit,
            signal: evidence.signal,
            usage,
            stderr_total: tail.total(),
            stderr_tail: tail.into_bytes(),
            artifacts,
        }
    }

    /// A cap on bytes that was passed before the end, and seen only after it.
    fn exceeded(&self) -> Option<(FailureClass, String)> {
        let over = |count: u64, cap: u64, what: &str| {
            (count > cap).then(|| (FailureClass::Resource, format!("more than {cap} bytes on {what}")))
        };
        let channel = over(self.shared.channel.load(Ordering::Relaxed), self.limits.channel, "the channel");
        channel.or_else(|| over(self.shared.stderr(|tail| tail.total()), self.limits.stderr, "standard error"))
    }

    /// Until the engine says that it has ended, killing it at its limits.
    async fn watch(&self) -> Result<ContainerState, ContainerError> {
        let shared = &self.shared;
        let end = end_of(&self.docker, &shared.container);
        tokio::pin!(end);
        let wall = Duration::from_millis(self.limits.wall_millis);
        let deadline = tokio::time::Instant::from_std(shared.started).checked_add(wall);
        let late = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(late);
        let counting = async {
            let mut looks = interval(if shared.is_seen() { LOOK } else { ASK });
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                // An engine that doesn't answer once is asked again.
                if let Ok(Ok(Sample { usage, .. })) = timeout(ANSWER, shared.look(&self.docker)).await
                    && usage.cpu_millis > self.limits.cpu_time_millis
                {
                    return;
                }
            }
        };
        tokio::pin!(counting);
        loop {
            tokio::select! {
                biased;
                state = &mut end => return state,
                () = shared.wake.notified() => break,
                () = &mut late => {
                    let reason = format!("the wall clock of {} ms ran out", self.limits.wall_millis);
                    shared.kill(FailureClass::Resource, &reason);
                }
                () = &mut counting => {
                    let reason = format!("more than {} ms of processor time", self.limits.cpu_time_millis);
                    shared.kill(FailureClass::Resource, &reason);
                }
            }
        }
        if shared.is_seen() {
            let _ = shared.look(&self.docker).await;
        }
        // Open connections would hold up the engine's own account of the end.
        self.carriers.iter().for_each(JoinHandle::abort);
        self.stderr.abort();
        let dying = async {
            kill(&self.docker, shared).await;
            end.await
        };
        let doing = "end a container that was killed";
        timeout(DYING, dying).await.unwrap_or(Err(ContainerError::Deadline { doing, seconds: DYING.as_secs() }))
    }

    /// Ends processes of the container that outlived it; how many there were. `None` when this host can't see them.
    async fn survivors(&self) -> Option<usize> {
        let group = self.shared.cgroup.as_ref();
        let look = || match group {
            Some(group) => Some(group.processes()),
            None => cgroup::processes_of(&self.shared.container),
        };
        let until = Instant::now() + SETTLE;
        if group.is_none() && !self.sees.load(Ordering::Relaxed) {
            return None;
        }
        let mut left = look()?;
        while !left.is_empty() && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
            left = look()?;
        }
        let survivors = left.len();
        let until = Instant::now() + DYING;
        while !left.is_empty() && Instant::now() < until {
            for pid in left.iter().filter_map(|pid| Pid::from_raw(*pid)) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            sleep(Duration::from_millis(20)).await;
            left = look()?;
        }
        if let Some(group) = group
            && survivors > 0
        {
            group.remove();
        }
        Some(survivors)
    }
}

/// Takes what work left, after its end.
async fn collect(space: &Space, to: &ArtifactSpace) -> Result<BTreeMap<String, Digest>, CollectError> {
    let folder = space.open().map_err(|error| {
        let message = "space for artifacts can't be opened";
        CollectError::Failed(Error::new(Kind::Unavailable, Fault::Infrastructure, message).because(error))
    })?;
    artifacts::collect(folder, to.caps, Some(to.store.as_ref())).await
}

/// Kills by the engine, frozen or not.
async fn kill(docker: &Docker, shared: &Shared) {
    let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
    // It may have ended by itself, and an engine that fails here is asked again by removal.
    let _ = docker.kill_container(&shared.container, Some(options)).await;
    // A freeze under way comes first; after it nothing freezes any more.
    if mem::take(&mut *shared.frozen.lock().await) {
        let _ = docker.unpause_container(&shared.container).await;
    }
}

/// Until a container has ended; how. The engine's word that it has is no more than a reason to look: some engines keep it
/// to themselves.
async fn end_of(docker: &Docker, container: &str) -> Result<ContainerState, ContainerError> {
    let waiting = docker.wait_container(container, None).into_future();
    tokio::pin!(waiting);
    let (mut told, mut lost) = (false, None);
    loop {
        tokio::select! {
            _ = &mut waiting, if !told => told = true,
            () = sleep(GLANCE) => {}
        }
        let seen = docker.inspect_container(container, None).await;
        match seen.map_err(ContainerError::call("look at a container")) {
            Ok(seen) => {
                lost = None;
                let state = seen.state.unwrap_or_default();
                if state.running == Some(false) {
                    return Ok(state);
                }
            }
            // Somebody else removed it.
            Err(error) if error.status() == Some(404) => return Err(error),
            Err(error) => {
                let since: &mut Instant = lost.get_or_insert_with(Instant::now);
                if since.elapsed() > LOST {
                    return Err(error);
                }
            }
        }
    }
}
