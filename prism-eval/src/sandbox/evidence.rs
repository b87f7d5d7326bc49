//! From what the host saw to the class of an end. Nothing that the work printed is looked at.
use prism_core::submission::FailureClass;
use std::collections::VecDeque;

/// What the host saw of an end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What failed on the host's side: the backend was lost, its first process died.
    pub lost: Option<String>,
    /// The first kill by the host, with its class.
    pub killed: Option<(FailureClass, String)>,
    /// Exit code of the work's first process.
    pub exit: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Kills for lack of memory, as the control group counts them.
    pub oom_kills: u32,
    /// Processes that the limit refused, as the control group counts them.
    pub refused_processes: u64,
    /// Scratch space or its files were used up at the end.
    pub scratch_full: bool,
    /// Why what the work left behind can't be taken.
    pub artifacts: Option<String>,
}

impl Evidence {
    /// The class, `None` for success, and the reason for people.
    ///
    /// Order: infrastructure, what the host killed for, resources, policy, the work's own failure. A limit that was met
    /// counts only when the first process failed too: work may survive a child that didn't.
    #[must_use]
    pub fn classify(&self) -> (Option<FailureClass>, String) {
        if let Some(reason) = &self.lost {
            return (Some(FailureClass::Infrastructure), reason.clone());
        }
        if let Some((class, reason)) = &self.killed {
            return (Some(*class), reason.clone());
        }
        let failed = self.exit != Some(0);
        let met = match self.signal {
            _ if failed && self.oom_kills > 0 => Some(format!("memory limit met, {} processes killed", self.oom_kills)),
            Some(libc::SIGXCPU) => Some("processor time of one process used up".to_owned()),
            Some(libc::SIGXFSZ) => Some("size of one file exceeded".to_owned()),
            _ if failed && self.refused_processes > 0 => {
                Some(format!("process limit met, {} processes refused", self.refused_processes))
            }
            _ if failed && self.scratch_full => Some("scratch space used up".to_owned()),
            _ => None,
        };
        if let Some(reason) = met {
            return (Some(FailureClass::Resource), reason);
        }
        if self.signal == Some(libc::SIGSYS) {
            return (Some(FailureClass::Policy), "killed by the system call filter".to_owned());
        }
        if let Some(reason) = &self.artifacts {
            return (Some(FailureClass::Policy), reason.clone());
        }
        match (self.exit, self.signal) {
            (Some(0), _) => (None, String::new()),
            (Some(code), _) => (Some(FailureClass::MinerCode), format!("ended with exit code {code}")),
            (None, Some(signal)) => (Some(FailureClass::MinerCode), format!("ended by signal {signal}")),
            (None, None) => (Some(FailureClass::Infrastructure), "ended without a status".to_owned()),
        }
    }
}

/// The end of a stream, and how much there was in all.
#[derive(Debug, Clone)]
pub struct Tail {
    bytes: VecDeque<u8>,
    keep: usize,
    total: u64,
}

impl Tail {
    /// Keeps the last `keep` bytes.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        Self { bytes: VecDeque::new(), keep, total: 0 }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        self.bytes.extend(bytes.iter().skip(bytes.len().saturating_sub(self.keep)));
        let surplus = self.bytes.len().saturating_sub(self.keep);
        self.bytes.drain(..surplus);
    }

    /// Bytes seen in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The last bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(evidence: Evidence) -> Option<FailureClass> {
        evidence.classify().0
    }

    #[test]
    fn a_stronger_class_hides_a_weaker_one() {
        let mut all = Evidence {
            lost: Some("lost".into()),
            killed: Some((FailureClass::Cancelled, "stop".into())),
            exit: None,
            signal: Some(libc::SIGSYS),
            oom_kills: 1,
            refused_processes: 1,
            scratch_full: true,
            artifacts: Some("symbolic link".into()),
        };
        assert_eq!(class(all.clone()), Some(FailureClass::Infrastructure));
        all.lost = None;
        assert_eq!(all.classify(), (Some(FailureClass::Cancelled), "stop".into()));
        all.killed = None;
        assert_eq!(class(all.clone()), Some(FailureClass::Resource));
        all.oom_kills = 0;
        assert!(all.classify().1.contains("process limit"));
        all.refused_processes = 0;
        assert!(all.classify().1.contains("scratch"));
        all.scratch_full = false;
        assert_eq!(class(all.clone()), Some(FailureClass::Policy));
        all.signal = None;
        all.exit = Some(3);
        assert_eq!(class(all.clone()), Some(FailureClass::Policy));
        all.artifacts = None;
        assert_eq!(class(all.clone()), Some(FailureClass::MinerCode));
        all.exit = Some(0);
        assert_eq!(class(all), None);
    }

    #[test]
    fn a_limit_met_by_a_child_does_not_fail_work_that_ended_well() {
        let met =
            Evidence { exit: Some(0), oom_kills: 3, refused_processes: 9, scratch_full: true, ..Evidence::default() };
        assert_eq!(class(met), None);
    }

    #[test]
    fn an_end_without_any_status_is_no_miners_fault() {
        assert_eq!(class(Evidence::default()), Some(FailureClass::Infrastructure));
    }

    #[test]
    fn a_tail_keeps_the_end_and_counts_everything() {
        let mut tail = Tail::new(4);
        tail.push(b"ab");
        tail.push(b"cdefgh");
        tail.push(b"i");
        assert_eq!(tail.total(), 9);
        assert_eq!(tail.into_bytes(), b"fghi");
        let mut none = Tail::new(0);
        none.push(b"xyz");
        assert_eq!((none.total(), none.into_bytes()), (3, vec![]));
    }
}
