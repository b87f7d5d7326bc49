//! Starting a launcher from the host, and talking it through the set-up. Blocking; every wait has a deadline.
use super::{
    cgroup::Group,
    error::{Doing, EmbeddedError},
    launcher,
    name::Host,
    plan::{FromInit, FromLauncher, HELLO, Landlock, MARKER, Plan, receive, send},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd, OwnedFd},
    fs::{MemfdFlags, Timespec, memfd_create},
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
};
use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// From the start of the program to its first word: time for a large one to be loaded on a busy machine.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// From the plan to the work's first instruction.
const SET_UP: Duration = Duration::from_secs(30);

/// Descriptors of the work that its program gets as standard input, output and error.
pub(super) type Standard = [OwnedFd; 3];

/// A sandbox whose work runs.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) launcher: Child,
    pub(super) control: OwnedFd,
    pub(super) wire: OwnedFd,
    /// The sandbox's first process.
    pub(super) first: OwnedFd,
    /// Its scratch space.
    pub(super) scratch: OwnedFd,
    pub(super) landlock: Landlock,
}

/// The program that becomes the launcher, checked before anything is started.
pub(super) fn program(configured: Option<&Path>) -> Result<PathBuf, EmbeddedError> {
    match configured {
        _ if launcher::astray() => Err(EmbeddedError::NotEntered),
        Some(path) => Ok(path.to_owned()),
        None if launcher::entered() => Ok("/proc/self/exe".into()),
        None => Err(EmbeddedError::NotEntered),
    }
}

/// Starts the launcher and has it carry out the plan. When this fails, what was started is ended.
pub(super) fn launch(program: &Path, host: &Host, plan: &Plan, standard: Standard) -> Result<Launched, EmbeddedError> {
    let pair = || socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (control, theirs) = pair().doing("making the control socket")?;
    let (wire, far_wire) = pair().doing("making the wire")?;
    let text = serde_json::to_vec(plan).map_err(std::io::Error::from).doing("writing the plan")?;
    let file = memfd_create("plan", MemfdFlags::CLOEXEC).doing("making the plan's file")?;
    let mut written = 0;
    while let Some(rest) = text.get(written..).filter(|rest| !rest.is_empty()) {
        written += rustix::io::write(&file, rest).doing("writing the plan")?;
    }
    let mut command = Command::new(program);
    command.arg0(MARKER).args(host.arguments()).env_clear().current_dir("/");
    // What the loader itself needs to load the program, and nothing else of this process's environment.
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", path);
    }
    // A group of its own: a terminal's interrupt is for the host, which decides what becomes of its work.
    command.process_group(0).stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().doing("starting the launcher")?;
    drop(command);
    // The plan waits in the socket for whoever proves to be a launcher, so that a launcher needn't wait for it.
    let [input, output, error] = &standard;
    let fds = [file.as_fd(), far_wire.as_fd(), input.as_fd(), output.as_fd(), error.as_fd()];
    let sent = send(&control, &(), &fds).doing("sending the plan");
    let talked = hear_hello(&control, program).and_then(|()| {
        sent?;
        // From here on only the sandbox's processes hold them, so that their end is seen.
        drop((far_wire, standard, file));
        hear_start(&control, &wire)
    });
    match talked {
        Ok((first, scratch, landlock)) => Ok(Launched { launcher: child, control, wire, first, scratch, landlock }),
        Err(error) => {
            // The first process, if there is one, dies with the launcher.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn hear_hello(control: &OwnedFd, program: &Path) -> Result<(), EmbeddedError> {
    let stranger = || EmbeddedError::NoHandshake(program.to_owned());
    match readable(control, None, Instant::now() + FIRST_WORD) {
        Ok(_) => {}
        // A program that takes the marker for nothing goes on with what it is for.
        Err(EmbeddedError::Deadline(_)) => return Err(stranger()),
        Err(error) => return Err(error),
    }
    match receive(control) {
        Ok(Some((FromLauncher::Hello(hello), _))) if hello == HELLO => Ok(()),
        _ => Err(stranger()),
    }
}

fn hear_start(control: &OwnedFd, wire: &OwnedFd) -> Result<(OwnedFd, OwnedFd, Landlock), EmbeddedError> {
    let by = Instant::now() + SET_UP;
    let gone = || EmbeddedError::Io("setting up", std::io::Error::other("the launcher is gone"));
    readable(control, None, by)?;
    let first = match receive(control).doing("hearing from the launcher")? {
        Some((FromLauncher::Cloned, descriptors)) => descriptors.into_iter().next().ok_or_else(gone)?,
        Some((FromLauncher::Refused(refusal), _)) => {
            // What stopped the first process, if something did, is why the launcher could go no further with it.
            let first = readable(wire, None, Instant::now()).ok().and_then(|()| receive(wire).ok().flatten());
            return Err(match first {
                Some((FromInit::Refused(first), _)) => first.into(),
                _ => refusal.into(),
            });
        }
        _ => return Err(gone()),
    };
    // The launcher says no more, but it may end.
    readable(wire, Some(control), by)?;
    match receive(wire).doing("hearing from the first process")? {
        Some((FromInit::Started(landlock), descriptors)) => {
            Ok((first, descriptors.into_iter().next().ok_or_else(gone)?, landlock))
        }
        Some((FromInit::Refused(refusal), _)) => Err(refusal.into()),
        _ => Err(gone()),
    }
}

/// Waits until the first can be read, or the second too.
fn readable(fd: &OwnedFd, or: Option<&OwnedFd>, by: Instant) -> Result<(), EmbeddedError> {
    loop {
        let left = by.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap_or_default();
        let mut fds: Vec<PollFd<'_>> =
            [Some(fd), or].into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Err(EmbeddedError::Deadline("setting up")),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).doing("waiting for the launcher"),
        }
    }
}

/// Ends what was launched and waits until all of it is gone.
pub(super) fn end(launched: Launched, group: &Group) {
    let Launched { mut launcher, control, first, .. } = launched;
    let _ = rustix::process::pidfd_send_signal(&first, rustix::process::Signal::KILL);
    let _ = group.freeze(false);
    drop(control);
    let _ = launcher.wait();
}
