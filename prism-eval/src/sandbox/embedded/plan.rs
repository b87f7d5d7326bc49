//! What the host, the launcher and the sandbox's first process say to each other.
//!
//! Two socket pairs of kind `SEQPACKET`: *control* between host and launcher (descriptor 0 of the launcher), and *wire*
//! between host and first process. The plan travels in a file in memory, whose descriptor is sent.
use rustix::{
    fd::{AsFd, OwnedFd},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::BorrowedFd,
    path::PathBuf,
};

/// What the launcher calls itself to the host: name and version of this protocol.
pub(super) const HELLO: &str = "prism-sandbox/1";
/// `argv[0]` of a launcher, and of the first process of a sandbox.
pub(super) const MARKER: &str = "prism-sandbox-launcher";
/// A message is at most this long.
const MESSAGE: usize = 16 * 1024;
/// Descriptors in one message, at most.
const DESCRIPTORS: usize = 8;

/// One thing in the sandbox's file system. Paths inside are relative to its root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Entry {
    /// A file or folder of the host, read-only.
    Bind {
        /// Where it appears.
        at: PathBuf,
        /// The host's path.
        from: PathBuf,
        /// Whether it is a folder.
        folder: bool,
    },
    /// A symbolic link.
    Link {
        /// Where it appears.
        at: PathBuf,
        /// What it says.
        to: PathBuf,
    },
}

/// What to execute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Program {
    /// Paths to try in turn.
    pub(super) paths: Vec<String>,
    /// Its arguments, its own name first.
    pub(super) arguments: Vec<String>,
    /// `NAME=value`.
    pub(super) environment: Vec<String>,
}

/// The user and group that the sandbox's own (`INSIDE`) are on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outside {
    /// User.
    pub(super) user: u32,
    /// Group.
    pub(super) group: u32,
    /// Whether they are others than the launcher's own, which takes a privileged launcher.
    pub(super) other: bool,
}

/// User and group inside.
pub(super) const INSIDE: u32 = 65_532;

/// All that a launcher needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// What to execute; nothing for a trial of the set-up alone.
    pub(super) program: Option<Program>,
    /// The file system, parents before what is below them.
    pub(super) entries: Vec<Entry>,
    /// Who the work is on the host.
    pub(super) outside: Outside,
    /// Files by which the sandbox's first process joins its control groups.
    pub(super) groups: Vec<PathBuf>,
    /// Whether loopback comes up.
    pub(super) loopback: bool,
    /// Bytes of scratch space.
    pub(super) scratch: u64,
    /// Files in scratch space.
    pub(super) scratch_inodes: u64,
    /// Whether programs in scratch space may be executed.
    pub(super) scratch_executable: bool,
    /// Bytes of shared memory.
    pub(super) shared_memory: u64,
    /// Resource limits.
    pub(super) resources: Resources,
    /// Whether the first process counts what the work uses, because no control group does.
    pub(super) account: bool,
}

/// Limits of `setrlimit`. `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Resources {
    /// Open files.
    pub(super) files: u64,
    /// Bytes in a file.
    pub(super) file_size: u64,
    /// Seconds of processor time of one process.
    pub(super) cpu_seconds: u64,
    /// Processes of the user.
    pub(super) processes: Option<u64>,
    /// Bytes of data of one process.
    pub(super) data: Option<u64>,
}

/// How far landlock holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Landlock {
    /// Not on this kernel.
    Absent,
    /// What this kernel knows of it.
    Partial,
    /// All that was asked for.
    Full,
}

/// From launcher to host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FromLauncher {
    /// First of all: this is a launcher, and it speaks this protocol.
    Hello(String),
    /// The first process exists; its descriptor comes along.
    Cloned,
    /// Nothing was started.
    Refused(Refusal),
}

/// From the sandbox's first process to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FromInit {
    /// Everything is set up and the program was executed; the scratch space's descriptor comes along.
    Started(Landlock),
    /// The program was not executed.
    Refused(Refusal),
    /// What the work has used so far.
    Spent(Spent),
    /// Everything stands still, or goes on.
    Frozen(bool),
    /// The work's first process ended.
    Ended(Ending),
}

/// How a process ended: one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ending {
    /// With this exit code.
    pub(super) exit: Option<i32>,
    /// By this signal.
    pub(super) signal: Option<i32>,
}

/// From the host to the sandbox's first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ToInit {
    /// Stand still, or go on.
    Freeze(bool),
}

/// What could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusal {
    /// What was tried.
    pub(super) step: String,
    /// Why it failed.
    pub(super) reason: String,
    /// The error number, zero for none.
    pub(super) errno: i32,
    /// Whether all walls stood, and it was the program that could not be executed.
    pub(super) program: bool,
}

impl Refusal {
    pub(super) fn new(step: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { step: step.into(), reason: reason.into(), errno: 0, program: false }
    }
}

/// Names the step that an error stopped.
pub(super) trait Step<T> {
    /// `what` was tried.
    fn step(self, what: impl Into<String>) -> Result<T, Refusal>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, what: impl Into<String>) -> Result<T, Refusal> {
        self.map_err(|e| {
            let error: io::Error = e.into();
            let errno = error.raw_os_error().unwrap_or(0);
            Refusal { step: what.into(), reason: error.to_string(), errno, program: false }
        })
    }
}

/// What pid 1 counts on hosts without control groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spent {
    /// Processor time, milliseconds.
    pub(super) cpu_millis: u64,
    /// Resident memory now, bytes.
    pub(super) memory: u64,
    /// Processes and threads now.
    pub(super) processes: u32,
}

/// Sends one message.
pub(super) fn send<T: Serialize>(socket: impl AsFd, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Receives one message and its descriptors; `None` when the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut text = vec![0; MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut into = [IoSliceMut::new(&mut text)];
        match recvmsg(&socket, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => break received,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    text.truncate(received.bytes);
    Ok(Some((serde_json::from_slice(&text)?, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn a_message_comes_over_with_its_descriptors_and_the_end_is_seen() {
        let (here, there) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let file = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::io::write(&file, b"abc").unwrap();
        let sent = FromInit::Refused(Refusal::new("mount", "no"));
        send(&here, &sent, &[file.as_fd()]).unwrap();
        let (got, fds) = receive::<FromInit>(&there).unwrap().unwrap();
        assert_eq!((got, fds.len()), (sent, 1));
        let mut text = [0; 3];
        rustix::io::pread(&fds[0], &mut text, 0).unwrap();
        assert_eq!(&text, b"abc");
        drop(here);
        assert!(receive::<FromInit>(&there).unwrap().is_none());
    }
}
