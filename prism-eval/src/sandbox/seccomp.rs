//! The one list of system calls that untrusted work may make, and its two forms: BPF programs for the embedded sandbox,
//! JSON for container engines.
//!
//! Whatever is not listed fails with `EPERM`. The list began as Docker's default profile, less what helps to leave a
//! sandbox or to reach rarely used parts of the kernel: `ptrace`, `process_vm_*`, `pidfd_getfd`, `io_uring_*`, the keyring,
//! `userfaultfd`, `bpf`, `perf_event_open`, `kcmp`, file handles, `memfd_secret`, namespaces, mounts, `modify_ldt`,
//! asynchronous I/O of the old kind, changes of identity, and `timer_create`, whose signal may be one that continues a
//! stopped process. `clone3` fails with `ENOSYS`, since its flags are behind a pointer: C libraries then use `clone`. Calls
//! of another architecture (x32 among them) are not on the list.
//!
//! Conditions only say what is allowed, and look at the low 32 bits alone where the kernel does: a rule that forbids one
//! value of a 64-bit register is passed by setting a bit that the kernel cuts off (CVE-2019-10063).
mod calls;

use calls::{COMMON, Call, LEGACY, NEWER};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Argument `index`, under `mask`, is `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Masked {
    index: u8,
    mask: u64,
    value: u64,
}

const fn masked(index: u8, mask: u64, value: u64) -> Masked {
    Masked { index, mask, value }
}

/// The low half of a register: what the kernel looks at where an argument is an `int`.
const INT: u64 = 0xffff_ffff;

/// `CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}`. `CLONE_NEWTIME` has no place in the flags of `clone`.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// A call that is allowed in at least one way.
type Conditional = (Call, Vec<Way>);

/// `TIOCSTI` and `TIOCLINUX`: they put characters into a terminal.
const INJECTION: &[u32] = &[0x5412, 0x541c];
/// The sandbox's first process has the work's own user, and must be neither limited nor slowed down by it.
const FIRST_PROCESS: &[u32] = &[1];

/// Calls that are allowed with some arguments only.
fn conditional() -> Vec<Conditional> {
    let any = |ways: &[Masked]| ways.iter().map(|one| Way::All(vec![*one])).collect::<Vec<_>>();
    let none_of = |index, values| vec![Way::NoneOf { index, values }];
    #[cfg(target_arch = "x86_64")]
    let mknod = Some(libc::SYS_mknod);
    #[cfg(not(target_arch = "x86_64"))]
    let mknod = None;
    // Plain files (with or without their type), pipes and sockets; no devices.
    let nodes = |index| {
        any(&[0, libc::S_IFREG, libc::S_IFIFO, libc::S_IFSOCK]
            .map(|kind| masked(index, u64::from(libc::S_IFMT), u64::from(kind))))
    };
    let family = |family: i32| masked(0, INT, family.unsigned_abs().into());
    vec![
        (("clone", Some(libc::SYS_clone)), any(&[masked(0, NEW_NAMESPACES, 0)])),
        (
            ("socket", Some(libc::SYS_socket)),
            [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6]
                .map(|one| Way::All(vec![family(one)]))
                .into_iter()
                // NETLINK_ROUTE: `getifaddrs` needs it.
                .chain([Way::All(vec![family(libc::AF_NETLINK), masked(2, INT, 0)])])
                .collect(),
        ),
        (("socketpair", Some(libc::SYS_socketpair)), any(&[family(libc::AF_UNIX)])),
        (("personality", Some(libc::SYS_personality)), any(&[masked(0, INT, 0), masked(0, INT, INT)])),
        (("ioctl", Some(libc::SYS_ioctl)), none_of(1, INJECTION)),
        (("prlimit64", Some(libc::SYS_prlimit64)), none_of(0, FIRST_PROCESS)),
        (("sched_setaffinity", Some(libc::SYS_sched_setaffinity)), none_of(0, FIRST_PROCESS)),
        (("sched_setattr", Some(libc::SYS_sched_setattr)), none_of(0, FIRST_PROCESS)),
        (("sched_setparam", Some(libc::SYS_sched_setparam)), none_of(0, FIRST_PROCESS)),
        (("sched_setscheduler", Some(libc::SYS_sched_setscheduler)), none_of(0, FIRST_PROCESS)),
        (("setpriority", Some(libc::SYS_setpriority)), none_of(1, FIRST_PROCESS)),
        (("ioprio_set", Some(libc::SYS_ioprio_set)), none_of(1, FIRST_PROCESS)),
        (("mknod", mknod), nodes(1)),
        (("mknodat", Some(libc::SYS_mknodat)), nodes(2)),
        // Huge pages are not counted against the memory of a control group.
        (("mmap", Some(libc::SYS_mmap)), any(&[masked(3, libc::MAP_HUGETLB.unsigned_abs().into(), 0)])),
        (("memfd_create", Some(libc::SYS_memfd_create)), any(&[masked(1, libc::MFD_HUGETLB.into(), 0)])),
        (("shmget", Some(libc::SYS_shmget)), any(&[masked(2, libc::SHM_HUGETLB.unsigned_abs().into(), 0)])),
    ]
}

/// What a call's arguments must be, for one of the ways in which it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// All of these hold.
    All(Vec<Masked>),
    /// The low half of argument `index` is none of these.
    NoneOf { index: u8, values: &'static [u32] },
}

/// All 32-bit numbers but these, as numbers with a given beginning each: `(mask, value)`. On the way down to each value
/// from its highest bit, every turn that leads to none of them is one beginning.
fn others(values: &[u32]) -> Vec<(u32, u32)> {
    let mut beginnings = Vec::new();
    let mut ways: Vec<Vec<u32>> = vec![values.to_vec()];
    for bit in (0..32).rev() {
        let mask = !0 << bit;
        let mut below = Vec::new();
        for way in ways {
            let (ones, zeros): (Vec<u32>, Vec<u32>) = way.iter().partition(|value| *value & (1 << bit) != 0);
            let Some(value) = way.first() else { continue };
            for (side, set) in [(ones, 1 << bit), (zeros, 0)] {
                if side.is_empty() {
                    beginnings.push((mask, value & (mask << 1) | set));
                } else {
                    below.push(side);
                }
            }
        }
        ways = below;
    }
    beginnings
}

fn unconditional() -> impl Iterator<Item = Call> {
    let all = COMMON.iter().chain(NEWER).chain(LEGACY);
    all.map(|(name, number)| (name.strip_prefix("SYS_").unwrap_or(name), *number))
}

/// The list as BPF programs, to be installed one after the other: first `clone3`, since one filter has one error number
/// only, and this list itself doesn't allow to install filters.
///
/// # Errors
/// When this architecture is not x86-64, AArch64 or 64-bit RISC-V.
pub fn programs() -> Result<[BpfProgram; 2], BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, absent, arch)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        unconditional().filter_map(|(_, number)| number).map(|number| (number, Vec::new())).collect();
    for ((_, number), ways) in conditional() {
        let Some(number) = number else { continue };
        let ways: Result<Vec<_>, _> = ways.into_iter().map(rule).collect();
        rules.insert(number, ways?);
    }
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let list = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?;
    Ok([clone3.try_into()?, list.try_into()?])
}

fn rule(way: Way) -> Result<SeccompRule, BackendError> {
    let condition = |index, mask, operator, value| {
        let width = if mask <= INT { SeccompCmpArgLen::Dword } else { SeccompCmpArgLen::Qword };
        SeccompCondition::new(index, width, operator, value)
    };
    let conditions: Result<Vec<_>, _> = match way {
        Way::All(all) => all
            .into_iter()
            .map(|Masked { index, mask, value }| condition(index, mask, SeccompCmpOp::MaskedEq(mask), value))
            .collect(),
        Way::NoneOf { index, values } => {
            values.iter().map(|value| condition(index, INT, SeccompCmpOp::Ne, u64::from(*value))).collect()
        }
    };
    SeccompRule::new(conditions?)
}

/// The list as the JSON profile that Docker and Podman take, inline or from a file. Other architectures than the first of
/// each pair are refused by their absence.
#[must_use]
pub fn docker_profile() -> String {
    let names: Vec<&str> = unconditional().map(|(name, _)| name).filter(|name| *name != "clone3").collect();
    let mut calls = vec![json!({ "names": names, "action": "SCMP_ACT_ALLOW" })];
    for ((name, _), ways) in conditional() {
        // Engines know no "none of these in the low half": each other beginning is a way of its own.
        let ways = ways.into_iter().flat_map(|way| match way {
            Way::All(all) => vec![all],
            Way::NoneOf { index, values } => {
                others(values).into_iter().map(|(mask, value)| vec![masked(index, mask.into(), value.into())]).collect()
            }
        });
        for conditions in ways {
            let args: Vec<Value> = conditions
                .iter()
                .map(|Masked { index, mask, value }| {
                    json!({ "index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" })
                })
                .collect();
            calls.push(json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": args }));
        }
    }
    calls.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS }));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "archMap": [
            { "architecture": "SCMP_ARCH_X86_64", "subArchitectures": [] },
            { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": [] },
        ],
        "syscalls": calls,
    })
    .to_string()
}

#[cfg(test)]
mod tests;
