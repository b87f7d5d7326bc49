//! The system calls that have no safe wrapper.
//!
//! All of this runs in the launcher and what it starts: processes with one thread.
#![allow(unsafe_code)]
use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

/// Which side of a `clone` this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The new process.
    Child,
    /// The old one, with the new one's number as seen from here.
    Parent(rustix::process::Pid),
}

fn done(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A new process in new namespaces (`CLONE_NEW*`), with a copy of this one's memory, as `fork` does.
pub(super) fn clone(namespaces: i32) -> io::Result<Side> {
    let flags = i64::from(namespaces) | i64::from(libc::SIGCHLD);
    // SAFETY: no shared memory, stack or thread-local storage is asked for, so this is `fork`. The caller has one thread, so
    // no lock is held in the copy by a thread that it lacks.
    let pid = done(unsafe { libc::syscall(libc::SYS_clone, flags, 0_i64, 0_i64, 0_i64, 0_i64) })?;
    let pid = i32::try_from(pid).unwrap_or(0);
    Ok(rustix::process::Pid::from_raw(pid).map_or(Side::Child, Side::Parent))
}

/// Moves this process into a control group namespace of its own.
pub(super) fn unshare_control_groups() -> io::Result<()> {
    // SAFETY: no memory is involved, and descriptors stay shared as they are.
    done(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }.into()).map(drop)
}

/// Sets attributes (`MOUNT_ATTR_*`) of a mount, or of the whole tree of mounts below it.
pub(super) fn set_mount_attributes(mount: impl AsFd, attributes: u64, recursive: bool) -> io::Result<()> {
    let set = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a string, `set` lives across the call and is as long as is said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const set,
            size_of::<libc::mount_attr>(),
        )
    };
    done(result).map(drop)
}

/// Brings up the loopback interface of this network namespace.
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which lives across the call.
    done(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into()).map(drop)
}

/// Closes all descriptors but these and the first three. `keep` is at most a few.
pub(super) fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3_u32;
    for fd in keep.into_iter().chain([u32::MAX]) {
        if first < fd {
            // SAFETY: the caller holds no descriptor in this range that it will use again.
            done(unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) })?;
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// A descriptor that can be read when a child has ended; `SIGCHLD` isn't delivered any other way from here on.
pub(super) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by `sigemptyset` before it is used; no pointer outlives the calls.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        done(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()).into())?;
        let fd = done(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)))
    }
}

/// Signals as a fresh process has them: none blocked, all with their default action.
pub(super) fn default_signals() {
    // SAFETY: no handler is installed, and this process has one thread. A signal whose action can't be changed stays as is.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
    }
}

/// Signals as a launcher needs them, whatever its host ignores: children can be waited for, and a reader that is gone is an
/// error.
pub(super) fn launcher_signals() {
    default_signals();
    // SAFETY: no handler is installed, and this process has one thread.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Ends this process at once: nothing of what its copy was in the middle of is carried out.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: `_exit` runs no handlers and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Sends a signal to every process of this process namespace but this one, its first.
pub(super) fn signal_all(signal: i32) {
    // SAFETY: no memory is involved. That there is nobody to signal is no failure.
    unsafe { libc::kill(-1, signal) };
}

/// Becomes another program. Returns only when that failed.
pub(super) fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|one| one.as_ptr()).chain([ptr::null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both lists end with a null pointer, and all strings live across the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}
