//! The first process of a sandbox: it builds the walls around itself, starts the work inside, reaps, counts and reports.
//!
//! It is the launcher's copy in new namespaces, with one thread. It gives up every right before it starts the work, can't
//! be looked into from inside, and ignores every signal from inside (`pid_namespaces(7)`). When it ends, the kernel ends
//! everything else in the sandbox.
use super::{
    plan::{Ending, FromInit, INSIDE, Landlock, Plan, Refusal, Spent, Step, ToInit, receive, send},
    root::{self, HOSTNAME, Scratch},
    sys::{self, Side},
};
use crate::sandbox::seccomp;
use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd, AsRawFd, OwnedFd},
    fs::{Mode, OFlags, Timespec},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{DumpableBehavior, Pid, Resource, Rlimit, Signal, WaitOptions, setrlimit},
    thread::{CapabilitySet, CapabilitySets},
};
use std::{
    ffi::CString,
    io,
    path::Path,
    time::{Duration, Instant},
};

/// How often the work's processes are counted where no control group does it.
const COUNT_EVERY: Duration = Duration::from_millis(50);
/// What a refusal of the work's process begins with.
const FAILED: u8 = b'!';
/// How readily the kernel ends the work rather than anything else when memory runs out (`oom_score_adj`).
const EXPENDABLE: &[u8] = b"500";

/// What the first process holds.
#[derive(Debug)]
pub(super) struct Ends {
    /// A byte when the launcher has said who the user is; the end when it is gone.
    pub(super) release: OwnedFd,
    /// Where it joins its control groups.
    pub(super) groups: Vec<OwnedFd>,
    /// To the host.
    pub(super) wire: OwnedFd,
    /// The work's standard input, output and error.
    pub(super) standard: [OwnedFd; 3],
}

/// Never returns to where it was cloned: the value is this process's exit code.
pub(super) fn run(plan: &Plan, ends: Ends) -> i32 {
    let Ends { release, wire, groups, standard } = ends;
    match start(plan, &release, groups, standard) {
        Err(refusal) => {
            let _ = send(&wire, &FromInit::Refused(refusal), &[]);
            1
        }
        Ok(Running { pid, children, landlock, scratch }) => {
            if send(&wire, &FromInit::Started(landlock), &[scratch.0.as_fd()]).is_err() {
                return 1;
            }
            // Held here, it would keep the space alive; the host has its own.
            drop(scratch);
            supervise(pid, &children, &wire, plan.account)
        }
    }
}

struct Running {
    pid: Pid,
    children: OwnedFd,
    landlock: Landlock,
    scratch: Scratch,
}

fn start(plan: &Plan, release: &OwnedFd, groups: Vec<OwnedFd>, standard: [OwnedFd; 3]) -> Result<Running, Refusal> {
    // Before anything that uses memory or time.
    for (file, group) in plan.groups.iter().zip(&groups) {
        rustix::io::write(group, b"0").step(format!("join {}", file.display()))?;
    }
    drop(groups);
    wait_for_launcher(release)?;
    // Both while this process is still who the host takes it for.
    let expendable = rustix::fs::open("/proc/self/oom_score_adj", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let sources = root::take_sources(plan)?;
    rustix::process::setsid().step("start a session")?;
    rustix::system::sethostname(HOSTNAME.as_bytes()).step("set the host name")?;
    if plan.loopback {
        sys::loopback_up().step("bring up loopback")?;
    }
    become_inside(plan)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).step("tie to the launcher")?;
    if launcher_is_gone(release) {
        return Err(Refusal::new("tie to the launcher", "it is gone"));
    }
    let scratch = root::build(plan, sources)?;
    // What it sees as their root is its own.
    sys::unshare_control_groups().step("leave the host's control groups")?;
    rustix::thread::set_no_new_privs(true).step("forbid new privileges")?;
    drop_capabilities().step("drop capabilities")?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).step("hide memory")?;
    let children = sys::child_signals().step("watch children")?;
    let filters = seccomp::programs().map_err(|e| Refusal::new("compile the system call filter", e.to_string()))?;
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC).step("make a pipe")?;
    // The work inherits the score; this process takes its own back. Neither is vital.
    let score = |text: &[u8]| expendable.as_ref().is_ok_and(|file| rustix::io::pwrite(file, text, 0).is_ok());
    let mut before = [0; 8];
    let length = expendable.as_ref().map_or(0, |file| rustix::io::pread(file, &mut before, 0).unwrap_or(0));
    score(EXPENDABLE);
    let pid = match sys::clone(0).step("start the work's process")? {
        Side::Child => work(plan, &standard, &tell, &filters),
        Side::Parent(pid) => pid,
    };
    score(before.get(..length).unwrap_or_default());
    drop((tell, standard));
    let landlock = hear(&told)?;
    Ok(Running { pid, children, landlock, scratch })
}

fn wait_for_launcher(release: &OwnedFd) -> Result<(), Refusal> {
    match rustix::io::read(release, &mut [0]).step("wait for the launcher")? {
        1 => Ok(()),
        _ => Err(Refusal::new("wait for the launcher", "it is gone")),
    }
}

/// Takes the sandbox's user and group, the only ones it has. Rights in the sandbox's own namespaces stay.
fn become_inside(plan: &Plan) -> Result<(), Refusal> {
    if plan.outside.other {
        rustix::thread::set_thread_groups(&[]).step("leave groups")?;
    }
    let (user, group) = (rustix::fs::Uid::from_raw(INSIDE), rustix::fs::Gid::from_raw(INSIDE));
    rustix::thread::set_thread_res_gid(group, group, group).step("become the sandbox's group")?;
    rustix::thread::set_thread_res_uid(user, user, user).step("become the sandbox's user")
}

fn launcher_is_gone(release: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(release, PollFlags::IN)];
    let gone = poll(&mut fds, Some(&Timespec::default())).is_ok_and(|n| n > 0);
    gone && fds.iter().any(|fd| fd.revents().contains(PollFlags::HUP))
}

fn limit(plan: &Plan) -> io::Result<()> {
    let resources = &plan.resources;
    let limits = [
        (Resource::Nofile, Some(resources.files)),
        (Resource::Fsize, Some(resources.file_size)),
        (Resource::Cpu, Some(resources.cpu_seconds)),
        (Resource::Nproc, resources.processes),
        (Resource::Data, resources.data),
        // Zero would keep core files away, but not programs of the host that a core pattern pipes to; one keeps both
        // away (`fs/coredump.c`).
        (Resource::Core, Some(1)),
        (Resource::Memlock, Some(8 << 20)),
        (Resource::Msgqueue, Some(1 << 20)),
        (Resource::Sigpending, Some(4096)),
        (Resource::Nice, Some(0)),
        (Resource::Rtprio, Some(0)),
    ];
    for (resource, limit) in limits {
        // A hard limit can't be raised without rights on the host; a lower one is kept.
        let Some(limit) = limit else { continue };
        let hard = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX).min(limit);
        setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?;
    }
    Ok(())
}

fn drop_capabilities() -> io::Result<()> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The first number that this kernel doesn't know.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(rustix::thread::set_capabilities(None, none)?)
}

/// One letter before the program is executed; a mark and a refusal when that fails, or what precedes it.
fn hear(told: &OwnedFd) -> Result<Landlock, Refusal> {
    let mut text = Vec::new();
    let mut chunk = [0; 256];
    while text.len() < 4096 {
        match rustix::io::read(told, &mut chunk) {
            Ok(0) => break,
            Ok(count) => text.extend(chunk.iter().take(count)),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).step("hear from the work's process"),
        }
    }
    if let Some(at) = text.iter().position(|byte| *byte == FAILED) {
        let why = text.get(at.saturating_add(1)..).unwrap_or_default();
        return Err(serde_json::from_slice(why).unwrap_or_else(|_| Refusal::new("start the work", "it can't say why")));
    }
    match text.as_slice() {
        b"n" => Ok(Landlock::Absent),
        b"p" => Ok(Landlock::Partial),
        b"f" => Ok(Landlock::Full),
        _ => Err(Refusal::new("start the work", "its process ended before")),
    }
}

/// The work's own process, up to the program. Never returns.
fn work(plan: &Plan, standard: &[OwnedFd; 3], tell: &OwnedFd, filters: &[seccompiler::BpfProgram]) -> ! {
    let refusal = match walls(plan, standard, tell, filters) {
        Ok(()) => match &plan.program {
            // A trial ends here, with everything in place.
            None => sys::exit(0),
            Some(program) => {
                let strings =
                    |all: &[String]| all.iter().filter_map(|s| CString::new(s.as_str()).ok()).collect::<Vec<_>>();
                let (arguments, environment) = (strings(&program.arguments), strings(&program.environment));
                let mut last = io::Error::from_raw_os_error(libc::ENOENT);
                for path in strings(&program.paths) {
                    let error = sys::execute(&path, &arguments, &environment);
                    if error.raw_os_error() != Some(libc::ENOENT) {
                        last = error;
                    }
                }
                let refused = Err::<(), _>(last).step(format!("execute {}", program.paths.join(" or "))).err();
                refused.map(|refusal| Refusal { program: true, ..refusal })
            }
        },
        Err(refusal) => Some(refusal),
    };
    let text = serde_json::to_vec(&refusal).unwrap_or_default();
    let _ = rustix::io::write(tell, &[&[FAILED], text.as_slice()].concat());
    sys::exit(1)
}

fn walls(
    plan: &Plan,
    standard: &[OwnedFd; 3],
    tell: &OwnedFd,
    filters: &[seccompiler::BpfProgram],
) -> Result<(), Refusal> {
    rustix::process::setsid().step("start a session")?;
    let [input, output, error] = standard;
    rustix::stdio::dup2_stdin(input).step("set standard input")?;
    rustix::stdio::dup2_stdout(output).step("set standard output")?;
    rustix::stdio::dup2_stderr(error).step("set standard error")?;
    sys::close_all_but(&[tell.as_raw_fd()]).step("close descriptors")?;
    sys::default_signals();
    // Of the work alone: a first process that ran into a limit of its own would take the sandbox with it.
    limit(plan).step("limit resources")?;
    let landlock = restrict_paths(plan).map_err(|e| Refusal::new("restrict paths", e.to_string()))?;
    for filter in filters {
        let applied = seccompiler::apply_filter(filter);
        applied.map_err(|e| Refusal::new("filter system calls", e.to_string()))?;
    }
    let word = match landlock {
        Landlock::Absent => b"n",
        Landlock::Partial => b"p",
        Landlock::Full => b"f",
    };
    rustix::io::write(tell, word).step("tell the first process").map(drop)
}

/// Paths on a list, by landlock: a second wall behind the mounts, and no signals or abstract sockets to the outside.
/// TCP is left to the network namespace, since a rule for ports would deny loopback.
fn restrict_paths(plan: &Plan) -> Result<Landlock, landlock::RulesetError> {
    let abi = ABI::V6;
    let read = AccessFs::from_read(abi);
    let data: BitFlags<AccessFs> = AccessFs::from_all(abi) & !(AccessFs::Execute | AccessFs::IoctlDev);
    let scratch = if plan.scratch_executable { data | AccessFs::Execute } else { data };
    let look = AccessFs::ReadFile | AccessFs::ReadDir;
    let places = plan.entries.iter().filter_map(|entry| match entry {
        super::plan::Entry::Bind { at, .. } => Some(Path::new("/").join(at)),
        super::plan::Entry::Link { .. } => None,
    });
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(["/"], AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(places, read))?
        .add_rules(path_beneath_rules(["/etc", "/proc"], look))?
        .add_rules(path_beneath_rules(["/dev"], look | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(["/tmp"], scratch))?
        .add_rules(path_beneath_rules(["/dev/shm"], data))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::NotEnforced => Landlock::Absent,
    })
}

/// Reaps whatever ends, does what the host says, until the work's first process has ended or the host is gone.
fn supervise(main: Pid, children: &OwnedFd, wire: &OwnedFd, account: bool) -> i32 {
    let mut spent = Spent::default();
    let mut counted = Instant::now();
    loop {
        if let Some(ending) = reap(main) {
            if account {
                count(&mut spent);
                let _ = send(wire, &FromInit::Spent(spent), &[]);
            }
            return i32::from(send(wire, &FromInit::Ended(ending), &[]).is_err());
        }
        let mut fds = [PollFd::new(children, PollFlags::IN), PollFd::new(wire, PollFlags::IN)];
        let patience = if account { Timespec::try_from(COUNT_EVERY).ok() } else { None };
        let ready = poll(&mut fds, patience.as_ref());
        if matches!(ready, Err(error) if error != Errno::INTR) {
            return 1;
        }
        let [signalled, said] = fds.map(|fd| !fd.revents().is_empty());
        if signalled {
            let _ = rustix::io::read(children, &mut [0; 1024]);
        }
        // Children that end all the time are no reason to count all the time.
        if account && counted.elapsed() >= COUNT_EVERY {
            counted = Instant::now();
            count(&mut spent);
            if send(wire, &FromInit::Spent(spent), &[]).is_err() {
                return 1;
            }
        }
        if said {
            let Ok(Some((ToInit::Freeze(freeze), _))) = receive::<ToInit>(wire) else { return 1 };
            sys::signal_all(if freeze { libc::SIGSTOP } else { libc::SIGCONT });
            if account {
                count(&mut spent);
                let _ = send(wire, &FromInit::Spent(spent), &[]);
            }
            if send(wire, &FromInit::Frozen(freeze), &[]).is_err() {
                return 1;
            }
        }
    }
}

/// How the work's first process ended, once it has exited or was killed; a stop is neither.
fn reap(main: Pid) -> Option<Ending> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == main && (status.exited() || status.signaled()) {
            ended = Some(Ending { exit: status.exit_status(), signal: status.terminating_signal() });
        }
    }
    ended
}

/// Adds up what `/proc` says of every process here. Time of a child whose parent ignores `SIGCHLD` goes nowhere when it
/// ends between two counts, so this is a best effort. Never goes down.
fn count(spent: &mut Spent) {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let page = rustix::param::page_size() as u64;
    let (mut time, mut memory, mut processes) = (0_u64, 0_u64, 0_u32);
    let Ok(folders) = std::fs::read_dir("/proc") else { return };
    for name in folders.filter_map(|f| f.ok()?.file_name().into_string().ok()) {
        let Ok(pid) = name.parse::<u32>() else { continue };
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name, in brackets, may hold anything.
        let Some((_, fields)) = text.rsplit_once(')') else { continue };
        let field = |number: usize| -> u64 {
            // proc_pid_stat(5) counts from 1; what follows the name begins with field 3.
            fields.split_ascii_whitespace().nth(number - 3).and_then(|f| f.parse().ok()).unwrap_or(0)
        };
        let of_children = field(16).saturating_add(field(17));
        if pid == 1 {
            time = time.saturating_add(of_children);
            continue;
        }
        time = time.saturating_add(field(14)).saturating_add(field(15)).saturating_add(of_children);
        memory = memory.saturating_add(field(24).saturating_mul(page));
        processes = processes.saturating_add(u32::try_from(field(20)).unwrap_or(0));
    }
    spent.cpu_millis = spent.cpu_millis.max(time.saturating_mul(1000) / ticks);
    spent.memory = memory;
    spent.processes = processes;
}
