//! The program started anew, as launcher: one thread, nothing inherited but three descriptors, so that it may clone.
use super::{
    cgroup,
    init::{self, Ends},
    plan::{FromLauncher, HELLO, MARKER, Plan, Refusal, Step, receive, send},
    sys::{self, Side},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags, Timespec},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal},
};
use std::{
    os::fd::AsRawFd,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

/// Plans are at most this long: arguments and environment may be long, but not without end.
const PLAN: u64 = 16 << 20;
/// Exit code of a launcher that could not talk to its host.
const MUTE: i32 = 125;

static ENTERED: AtomicBool = AtomicBool::new(false);

/// Must be the first line of `main` in every program that starts embedded sandboxes, before any thread exists.
///
/// Returns at once in a program that was started normally. In one that the sandbox started anew, as launcher, it takes
/// over and never returns. Without it, and without a configured launcher, the sandbox refuses to start anything.
pub fn enter() {
    let named = std::env::args_os().next();
    if named.is_some_and(|name| name == MARKER) {
        std::process::exit(serve());
    }
    ENTERED.store(true, Ordering::Release);
}

/// Whether this program may be started anew as launcher.
pub(super) fn entered() -> bool {
    ENTERED.load(Ordering::Acquire)
}

/// Whether this process is itself a launcher whose program went on without [`enter`]: it must not start others.
pub(super) fn astray() -> bool {
    std::env::args_os().next().is_some_and(|name| name == MARKER)
}

fn serve() -> i32 {
    sys::launcher_signals();
    if sys::close_all_but(&[]).is_err() {
        return MUTE;
    }
    // A socket that closes at `exec`, unlike descriptor 0 itself, and that this process alone holds.
    let Ok(control) = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3) else { return MUTE };
    let hello = send(&control, &FromLauncher::Hello(HELLO.into()), &[]);
    let nothing = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty());
    if hello.is_err() || !nothing.is_ok_and(|nothing| rustix::stdio::dup2_stdin(nothing).is_ok()) {
        return MUTE;
    }
    match launch(&control) {
        Ok((pid, groups)) => outlive(&control, pid, &groups),
        Err(refusal) => match send(&control, &FromLauncher::Refused(refusal), &[]) {
            Ok(()) => 1,
            Err(_) => MUTE,
        },
    }
}

/// The sandbox's first process, and the files by which it joined its groups.
fn launch(control: &OwnedFd) -> Result<(Pid, Vec<PathBuf>), Refusal> {
    let threads = std::fs::read_dir("/proc/self/task").step("count threads")?.count();
    if threads != 1 {
        return Err(Refusal::new(
            "count threads",
            format!("there are {threads}: the launcher must come first in main"),
        ));
    }
    let Some(((), descriptors)) = receive::<()>(control).step("hear the plan")? else {
        return Err(Refusal::new("hear the plan", "the host is gone"));
    };
    let descriptors: Result<[OwnedFd; 5], _> = descriptors.try_into();
    let [plan, wire, input, output, error] =
        descriptors.map_err(|_| Refusal::new("hear the plan", "it came without its descriptors"))?;
    let plan = read_plan(&plan)?;
    let (release, released) = pipe_with(PipeFlags::CLOEXEC).step("make a pipe")?;
    let namespaces = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS;
    let groups = open_groups(&plan)?;
    let ends = Ends { release, wire, groups, standard: [input, output, error] };
    let pid = match sys::clone(namespaces).step("make namespaces")? {
        Side::Child => {
            let keep = [&ends.release, &ends.wire].into_iter().chain(&ends.groups).chain(&ends.standard);
            let keep: Vec<i32> = keep.map(AsRawFd::as_raw_fd).collect();
            // The launcher's end of the control socket, above all: the host waits for its last copy to close.
            std::mem::forget(released);
            let code = match sys::close_all_but(&keep) {
                Ok(()) => init::run(&plan, ends),
                Err(_) => 1,
            };
            sys::exit(code)
        }
        Side::Parent(pid) => pid,
    };
    drop(ends);
    let prepared = name_user(&plan, pid).and_then(|()| {
        rustix::io::write(&released, b"!").step("release the first process")?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).step("open the first process")?;
        send(control, &FromLauncher::Cloned, &[descriptor.as_fd()]).step("tell the host")
    });
    if let Err(refusal) = prepared {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        return Err(refusal);
    }
    // Kept open until this process ends: its end tells the first process that the launcher is gone.
    std::mem::forget(released);
    Ok((pid, plan.groups))
}

fn read_plan(file: &OwnedFd) -> Result<Plan, Refusal> {
    let length = rustix::fs::fstat(file).step("read the plan")?.st_size;
    let length = u64::try_from(length).ok().filter(|length| *length <= PLAN);
    let length = length.ok_or_else(|| Refusal::new("read the plan", "it is too long"))?;
    let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut done = 0;
    while let Some(rest) = text.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(file, rest, done as u64).step("read the plan")? {
            0 => break,
            count => done += count,
        }
    }
    serde_json::from_slice(&text).map_err(|e| Refusal::new("read the plan", e.to_string()))
}

/// Opened with this process's rights, for the first process to name itself in.
fn open_groups(plan: &Plan) -> Result<Vec<OwnedFd>, Refusal> {
    let open = |file: &PathBuf| {
        rustix::fs::open(file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).step(format!("open {}", file.display()))
    };
    plan.groups.iter().map(open).collect()
}

/// Says who the sandbox's user is outside, which only the outside can.
fn name_user(plan: &Plan, pid: Pid) -> Result<(), Refusal> {
    let process = format!("/proc/{}", pid.as_raw_nonzero());
    let put = |file: &str, text: String| {
        std::fs::write(format!("{process}/{file}"), text).step(format!("write {file} of the first process"))
    };
    let outside = &plan.outside;
    if !outside.other {
        put("setgroups", "deny".into())?;
    }
    let inside = super::plan::INSIDE;
    put("uid_map", format!("{inside} {} 1\n", outside.user))?;
    put("gid_map", format!("{inside} {} 1\n", outside.group))
}

/// Waits until the sandbox has ended, or the host is gone; ends it then. When this process ends, all of it has ended.
fn outlive(control: &OwnedFd, pid: Pid, groups: &[PathBuf]) -> i32 {
    let Ok(first) = pidfd_open(pid, PidfdFlags::empty()) else { return wait_for(pid) };
    loop {
        let mut fds = [PollFd::new(&first, PollFlags::IN), PollFd::new(control, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => break,
        }
        let [ended, gone] = fds.map(|fd| !fd.revents().is_empty());
        if ended || gone {
            break;
        }
    }
    let _ = pidfd_send_signal(&first, Signal::KILL);
    if !host_is_gone(control) {
        return wait_for(pid);
    }
    // What is frozen can't die, and nobody else is left to thaw it or to clear up.
    cgroup::thaw_joined(groups);
    let code = wait_for(pid);
    cgroup::remove_joined(groups);
    code
}

fn host_is_gone(control: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(control, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

fn wait_for(pid: Pid) -> i32 {
    loop {
        match rustix::process::waitpid(Some(pid), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            Ok(Some((_, status))) if !(status.exited() || status.signaled()) => {}
            _ => return 0,
        }
    }
}
