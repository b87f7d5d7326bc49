//! One thread of the host for each running sandbox: it keeps the clock, counts, kills at limits, and sees everything dead.
//! It needs no runtime, so that limits hold whatever the host's own tasks are doing.
use super::{
    cgroup::{Group, Purpose},
    launch::{self, Launched},
    plan::{Ending, FromInit, Spent, ToInit, receive, send},
    user::Lease,
};
use crate::sandbox::{
    artifacts::{self, Caps, CollectError, Found},
    evidence::{Evidence, Tail},
};
use prism_core::{
    sandbox::{Limits, Usage},
    submission::FailureClass,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::OwnedFd,
    fs::{Timespec, fstatvfs},
    process::{Signal, pidfd_send_signal},
};
use std::{
    io,
    process::Child,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// Processor time that stopping takes, milliseconds: signals reach running processes at their next tick.
const STIRS: u64 = 50;
/// How much of standard error is kept.
const TAIL: u64 = 64 * 1024;
/// Limits on time are looked at this often at most, and at least.
const OFTEN: Duration = Duration::from_millis(10);
const SELDOM: Duration = Duration::from_millis(200);
/// What is dead but not gone by then never will be, by itself.
const GONE: Duration = Duration::from_secs(10);

/// What the warden, the running handle, its channel and its killers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    group: Group,
    first: OwnedFd,
    wire: OwnedFd,
    started: Instant,
    /// Processor time of the set-up, which isn't the work's.
    before: u64,
    channel: AtomicU64,
    state: Mutex<State>,
    frozen: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    killed: Option<(FailureClass, String)>,
    /// The work's first process ended by itself: a later kill changes nothing.
    over: bool,
    spent: Spent,
    /// Processor time when the sandbox's first process said that everything stands still, milliseconds.
    still: Option<u64>,
    peak_memory: u64,
    peak_processes: u32,
    /// The count at the end, once there is nothing more to count.
    last: Option<Usage>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills everything. The first call's class and reason stand, unless the work had ended before.
    pub(super) fn kill(&self, class: FailureClass, reason: &str) {
        {
            let mut state = self.state();
            if !state.over && state.killed.is_none() {
                state.killed = Some((class, reason.to_owned()));
            }
        }
        self.end();
    }

    /// The kernel ends all of a process namespace with its first process. What is frozen must be thawed to die (version 1).
    fn end(&self) {
        let _ = pidfd_send_signal(&self.first, Signal::KILL);
        let _ = self.group.freeze(false);
    }

    /// Counts bytes of the channel, and kills when they are too many.
    pub(super) fn count(&self, bytes: usize) -> io::Result<()> {
        let bytes = bytes as u64;
        let total = self.channel.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        if total <= self.limits.channel {
            return Ok(());
        }
        self.kill(FailureClass::Resource, &self.channel_reason());
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, self.channel_reason()))
    }

    /// Why the channel alone ended the work, or would have: what it had said may be read only after its end.
    pub(super) fn channel_over(&self) -> Option<(FailureClass, String)> {
        let over = self.channel.load(Ordering::Acquire) > self.limits.channel;
        over.then(|| (FailureClass::Resource, self.channel_reason()))
    }

    fn channel_reason(&self) -> String {
        format!("more than {} bytes on the channel", self.limits.channel)
    }

    /// What was used until now.
    pub(super) fn usage(&self) -> Usage {
        let mut state = self.state();
        if let Some(last) = state.last {
            return last;
        }
        self.look(&mut state);
        self.sum(&state)
    }

    fn look(&self, state: &mut State) {
        // The sandbox's own first process is in the group too.
        let processes = self.group.processes().map_or(state.spent.processes, |count| count.saturating_sub(1));
        state.peak_processes = state.peak_processes.max(processes);
        state.peak_memory = state.peak_memory.max(self.group.peak_memory().unwrap_or(state.spent.memory));
    }

    fn sum(&self, state: &State) -> Usage {
        let counted = self.group.cpu_millis().map(|millis| millis.saturating_sub(self.before));
        Usage {
            wall_millis: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            cpu_millis: counted.unwrap_or(state.spent.cpu_millis),
            peak_memory: state.peak_memory,
            oom_kills: self.group.oom_kills().unwrap_or(0),
            peak_processes: state.peak_processes,
        }
    }

    /// Asks for everything to stand still, or to go on.
    pub(super) fn freeze(&self, still: bool) -> io::Result<()> {
        if self.group.freezes() { self.group.freeze(still) } else { send(&self.wire, &ToInit::Freeze(still), &[]) }
    }

    /// Whether what [`Self::freeze`] asked for has come about; `None` when the sandbox's first process has to say so.
    pub(super) fn stands(&self, still: bool) -> Option<bool> {
        self.group.freezes().then(|| !still || self.group.frozen())
    }

    /// What the sandbox's first process says about freezing.
    pub(super) fn frozen(&self) -> watch::Receiver<bool> {
        self.frozen.subscribe()
    }

    /// Whether the work has ended, or was told to.
    pub(super) fn ending(&self) -> bool {
        let state = self.state();
        state.over || state.killed.is_some()
    }
}

/// Everything there is to know once all is dead.
#[derive(Debug)]
pub(super) struct End {
    pub(super) evidence: Evidence,
    pub(super) usage: Usage,
    pub(super) stderr: Tail,
    /// What the work left behind, or why it can't be taken.
    pub(super) left: Result<Option<Found>, CollectError>,
}

/// What a warden watches over.
#[derive(Debug)]
pub(super) struct Warden {
    pub(super) launched: Launched,
    pub(super) limits: Limits,
    pub(super) group: Group,
    pub(super) lease: Lease,
    pub(super) stderr: OwnedFd,
    pub(super) caps: Caps,
}

impl Warden {
    /// Watches until everything is dead. Hands back the shared part first; when nobody takes it, ends everything.
    pub(super) fn watch(self, started: oneshot::Sender<Arc<Shared>>, ended: oneshot::Sender<End>) {
        let Self { launched, limits, group, lease, stderr, caps } = self;
        let Launched { launcher, control, wire, first, scratch, .. } = launched;
        let shared = Arc::new(Shared {
            before: group.cpu_millis().unwrap_or(0),
            started: Instant::now(),
            limits,
            group,
            first,
            wire,
            channel: AtomicU64::new(0),
            state: Mutex::default(),
            frozen: watch::Sender::new(false),
        });
        if started.send(Arc::clone(&shared)).is_err() {
            shared.kill(FailureClass::Cancelled, "nobody waits for it");
        }
        let mut watch =
            Watch { shared: &shared, stderr: Some(stderr), tail: Tail::new(tail(&shared.limits)), ending: None };
        let lost = watch.until_gone(&control, launcher);
        watch.read_rest();
        let Watch { tail, ending, .. } = watch;
        let over = tail.total() > shared.limits.stderr;
        let mut evidence = shared.evidence(ending, over);
        if evidence.killed.is_none() && evidence.oom_kills == 0 && ending.is_none() {
            evidence.lost = Some(lost.unwrap_or_else(|| "the sandbox's first process died".into()));
        }
        evidence.scratch_full = is_full(&scratch);
        let usage = {
            let mut state = shared.state();
            shared.look(&mut state);
            let usage = shared.sum(&state);
            state.last = Some(usage);
            usage
        };
        shared.group.remove();
        drop(lease);
        let left = if ended.is_closed() { Ok(None) } else { artifacts::find(&scratch, caps) };
        let _ = ended.send(End { evidence, usage, stderr: tail, left });
    }
}

fn tail(limits: &Limits) -> usize {
    usize::try_from(limits.stderr.min(TAIL)).unwrap_or(0)
}

/// Whether no byte or no file more fits.
fn is_full(scratch: &OwnedFd) -> bool {
    fstatvfs(scratch).is_ok_and(|space| space.f_bavail == 0 || space.f_favail == 0)
}

impl Shared {
    fn evidence(&self, ending: Option<Ending>, stderr_over: bool) -> Evidence {
        let mut killed = self.state().killed.clone();
        // Said before the end, read only after it.
        if stderr_over {
            killed.get_or_insert((FailureClass::Resource, stderr_reason(&self.limits)));
        }
        Evidence {
            killed,
            exit: ending.and_then(|ending| ending.exit),
            signal: ending.and_then(|ending| ending.signal),
            oom_kills: self.group.oom_kills().unwrap_or(0),
            refused_processes: self.group.refused_processes().unwrap_or(0),
            ..Evidence::default()
        }
    }
}

fn stderr_reason(limits: &Limits) -> String {
    format!("more than {} bytes on standard error", limits.stderr)
}

struct Watch<'a> {
    shared: &'a Shared,
    stderr: Option<OwnedFd>,
    tail: Tail,
    ending: Option<Ending>,
}

impl Watch<'_> {
    /// Until the launcher has gone, which it does last of all. What went wrong with it, if something did.
    fn until_gone(&mut self, control: &OwnedFd, mut launcher: Child) -> Option<String> {
        let limits = &self.shared.limits;
        let wall = self.shared.started + Duration::from_millis(limits.wall_millis);
        let mut look = self.shared.started;
        let mut dying: Option<Instant> = None;
        let mut heard = true;
        let mut lost = None;
        loop {
            let now = Instant::now();
            if now >= wall {
                self.shared.kill(FailureClass::Resource, &format!("wall clock beyond {} ms", limits.wall_millis));
            }
            if now >= look {
                look = now + self.look();
            }
            if self.shared.ending() {
                // Again and again: a freeze may have come in between.
                self.shared.end();
                let since = *dying.get_or_insert(now);
                if now.duration_since(since) > GONE {
                    let _ = launcher.kill();
                    lost = Some("the sandbox can't be ended".to_owned());
                    break;
                }
            }
            let left = look.min(if dying.is_some() { now + OFTEN } else { wall }).saturating_duration_since(now);
            let left = Timespec::try_from(left).unwrap_or_default();
            let mut fds = vec![PollFd::new(control, PollFlags::IN)];
            let wire = heard.then_some(fds.len());
            fds.extend(heard.then(|| PollFd::new(&self.shared.wire, PollFlags::IN)));
            let stderr = self.stderr.as_ref().map(|_| fds.len());
            fds.extend(self.stderr.as_ref().map(|stderr| PollFd::new(stderr, PollFlags::IN)));
            match poll(&mut fds, Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    self.shared.kill(FailureClass::Infrastructure, &format!("host can't watch: {error}"));
                    break;
                }
            }
            let ready = |at: Option<usize>| at.and_then(|at| fds.get(at)).is_some_and(|fd| !fd.revents().is_empty());
            let (gone, said, shouted) = (ready(Some(0)), ready(wire), ready(stderr));
            drop(fds);
            if shouted {
                self.read();
            }
            if said {
                heard = self.hear();
            }
            if gone && !said {
                break;
            }
        }
        let _ = launcher.wait();
        // Dead before the launcher, unless that was killed by somebody else.
        let patience = Timespec::try_from(GONE).unwrap_or_default();
        let _ = poll(&mut [PollFd::new(&self.shared.first, PollFlags::IN)], Some(&patience));
        lost
    }

    /// Looks at what is counted; how long until the next look.
    fn look(&self) -> Duration {
        let shared = self.shared;
        let usage = shared.usage();
        let left = shared.limits.cpu_time_millis.saturating_sub(usage.cpu_millis);
        if left == 0 {
            shared.kill(FailureClass::Resource, &format!("processor time beyond {} ms", shared.limits.cpu_time_millis));
        }
        // Where no control group holds memory, the first process's count has to: limits of a process know nothing of memory
        // that is shared, nor of its children's.
        if shared.group.peak_memory().is_none() && usage.peak_memory > shared.limits.memory {
            shared.kill(FailureClass::Resource, &format!("memory beyond {} bytes", shared.limits.memory));
        }
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        Duration::from_millis(left / processors).clamp(OFTEN, SELDOM)
    }

    /// One message of the sandbox's first process; whether there can be more.
    fn hear(&mut self) -> bool {
        match receive(&self.shared.wire) {
            Ok(Some((FromInit::Ended(ending), _))) => {
                self.ending = Some(ending);
                self.shared.state().over = true;
                true
            }
            Ok(Some((FromInit::Spent(spent), _))) => {
                let mut state = self.shared.state();
                state.spent = spent;
                self.shared.look(&mut state);
                // Stopped by signals, work can have itself woken by others: what can't be held is ended.
                let woken = state.still.is_some_and(|then| spent.cpu_millis > then.saturating_add(STIRS));
                drop(state);
                if woken {
                    self.shared.kill(FailureClass::Policy, "work went on while it was frozen");
                }
                true
            }
            Ok(Some((FromInit::Frozen(still), _))) => {
                let mut state = self.shared.state();
                state.still = still.then_some(state.spent.cpu_millis);
                drop(state);
                self.shared.frozen.send_replace(still);
                true
            }
            Ok(Some(_)) => true,
            Ok(None) | Err(_) => false,
        }
    }

    /// Some of standard error. Beyond the limit nothing more is read: everything is killed.
    fn read(&mut self) {
        let Some(stderr) = &self.stderr else { return };
        let mut chunk = [0; 16 * 1024];
        match rustix::io::read(stderr, &mut chunk) {
            Ok(0) => self.stderr = None,
            Ok(count) => self.tail.push(chunk.get(..count).unwrap_or_default()),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => self.stderr = None,
        }
        if self.tail.total() > self.shared.limits.stderr {
            self.stderr = None;
            self.shared.kill(FailureClass::Resource, &stderr_reason(&self.shared.limits));
        }
    }

    /// What stood in the pipe when its last writer died.
    fn read_rest(&mut self) {
        while self.stderr.is_some() {
            let before = self.tail.total();
            self.read();
            if self.tail.total() == before {
                break;
            }
        }
    }
}

/// Starts a warden for what was launched, or ends what was launched.
pub(super) fn start(
    warden: Warden,
    started: oneshot::Sender<Arc<Shared>>,
    ended: oneshot::Sender<End>,
) -> io::Result<()> {
    // The thread takes the warden from here, so that it isn't lost when there can be no thread.
    let place = Arc::new(Mutex::new(Some(warden)));
    let theirs = Arc::clone(&place);
    let take = |place: &Mutex<Option<Warden>>| place.lock().unwrap_or_else(PoisonError::into_inner).take();
    let spawned = std::thread::Builder::new().name("prism-sandbox".into()).spawn(move || {
        if let Some(warden) = take(&theirs) {
            warden.watch(started, ended);
        }
    });
    spawned.map(drop).inspect_err(|_| {
        if let Some(Warden { launched, group, .. }) = take(&place) {
            launch::end(launched, &group);
            group.remove();
        }
    })
}

/// Whether the work's use must be counted by the sandbox's first process.
pub(super) fn must_account(groups: &super::cgroup::Groups) -> bool {
    !groups.serve(Purpose::Time)
}
