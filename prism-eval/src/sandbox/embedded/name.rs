//! Names that say whose sandbox something is: on control groups and on launchers. Sweeping goes by them.
use super::plan::MARKER;
use std::sync::atomic::{AtomicU64, Ordering};

/// What every group's name begins with.
const PREFIX: &str = "prism-sandbox";

/// A host process: its number and when it started, since numbers come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    label: String,
    pid: u32,
    /// Ticks after the machine's start.
    started: u64,
}

fn started(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 22 of proc_pid_stat(5); what follows the name begins with field 3.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

impl Host {
    /// This process.
    pub(super) fn this(label: &str) -> Self {
        let pid = std::process::id();
        Self { label: label.to_owned(), pid, started: started(pid).unwrap_or(0) }
    }

    /// Whether a label can be part of a name.
    pub(super) fn fits(label: &str) -> bool {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=32).contains(&label.len()) && label.bytes().all(plain)
    }

    /// A name that no other sandbox has.
    pub(super) fn next_name(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("{PREFIX}.{}.{}.{}.{number}", self.label, self.pid, self.started)
    }

    /// What a launcher is given as arguments.
    pub(super) fn arguments(&self) -> [String; 3] {
        [self.label.clone(), self.pid.to_string(), self.started.to_string()]
    }

    fn parse(label: &str, pid: &str, started: &str) -> Option<Self> {
        Some(Self { label: label.to_owned(), pid: pid.parse().ok()?, started: started.parse().ok()? })
    }

    /// Whose group this is.
    pub(super) fn of_group(name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        match [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?] {
            [PREFIX, label, pid, started, _] if parts.next().is_none() => Self::parse(label, pid, started),
            _ => None,
        }
    }

    /// Whose launcher, or sandbox's first process, has this command line (`/proc/PID/cmdline`).
    pub(super) fn of_launcher(command: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(command).ok()?;
        let mut parts = text.split('\0');
        match [parts.next()?, parts.next()?, parts.next()?, parts.next()?] {
            [MARKER, label, pid, started] => Self::parse(label, pid, started),
            _ => None,
        }
    }

    /// Whether it has this label.
    pub(super) fn labelled(&self, label: &str) -> bool {
        self.label == label
    }

    /// Whether it still runs.
    pub(super) fn lives(&self) -> bool {
        started(self.pid) == Some(self.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_whose_they_are() {
        let host = Host::this("ours");
        assert!(host.lives());
        assert_eq!(Host::of_group(&host.next_name()), Some(host.clone()));
        assert_ne!(host.next_name(), host.next_name());
        let command = format!("{MARKER}\0{}\0", host.arguments().join("\0"));
        assert_eq!(Host::of_launcher(command.as_bytes()), Some(host.clone()));
        assert!(!Host { started: host.started + 1, ..host }.lives());
        for stranger in
            ["prism-sandbox.ours.1.2", "prism-sandbox.ours.1.2.3.4", "docker.ours.1.2.3", "prism-sandbox.o.x.2.3"]
        {
            assert_eq!(Host::of_group(stranger), None, "{stranger}");
        }
        assert_eq!(Host::of_launcher(b"sleep\x00ours\x001\x002\x00"), None);
    }

    #[test]
    fn labels_are_plain() {
        assert!(Host::fits("prism-1"));
        for label in ["", "a.b", "a/b", "A", "..", &"x".repeat(33)] {
            assert!(!Host::fits(label), "{label}");
        }
    }
}
