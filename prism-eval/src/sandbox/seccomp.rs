//! The one list of system calls that untrusted work may make, and its two forms: BPF programs for the embedded sandbox,
//! JSON for container engines.
//!
//! Whatever is not listed fails with `EPERM`. The list began as Docker's default profile, less what helps to leave a
//! sandbox or to reach rarely used parts of the kernel: `ptrace`, `process_vm_*`, `pidfd_getfd`, `io_uring_*`, the keyring,
//! `userfaultfd`, `bpf`, `perf_event_open`, `kcmp`, file handles, `memfd_secret`, namespaces, mounts, `modify_ldt`,
//! asynchronous I/O of the old kind, and changes of identity. `clone3` fails with `ENOSYS`, since its flags are behind a
//! pointer: C libraries then use `clone`. Calls of another architecture (x32 among them) are not on the list.
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

/// A call that is allowed when all conditions of at least one alternative hold.
type Conditional = (Call, Vec<Vec<Masked>>);

/// Calls that are allowed with some arguments only.
fn conditional() -> Vec<Conditional> {
    let any = |alternatives: &[Masked]| alternatives.iter().map(|one| vec![*one]).collect::<Vec<_>>();
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
            vec![
                vec![family(libc::AF_UNIX)],
                vec![family(libc::AF_INET)],
                vec![family(libc::AF_INET6)],
                // NETLINK_ROUTE: `getifaddrs` needs it.
                vec![family(libc::AF_NETLINK), masked(2, INT, 0)],
            ],
        ),
        (("socketpair", Some(libc::SYS_socketpair)), any(&[family(libc::AF_UNIX)])),
        (("personality", Some(libc::SYS_personality)), any(&[masked(0, INT, 0), masked(0, INT, INT)])),
        (("ioctl", Some(libc::SYS_ioctl)), any(&all_but_terminal_injection(1))),
        (("prlimit64", Some(libc::SYS_prlimit64)), any(&all_but_the_first_process(0))),
        (("sched_setaffinity", Some(libc::SYS_sched_setaffinity)), any(&all_but_the_first_process(0))),
        (("sched_setattr", Some(libc::SYS_sched_setattr)), any(&all_but_the_first_process(0))),
        (("sched_setparam", Some(libc::SYS_sched_setparam)), any(&all_but_the_first_process(0))),
        (("sched_setscheduler", Some(libc::SYS_sched_setscheduler)), any(&all_but_the_first_process(0))),
        (("setpriority", Some(libc::SYS_setpriority)), any(&all_but_the_first_process(1))),
        (("ioprio_set", Some(libc::SYS_ioprio_set)), any(&all_but_the_first_process(1))),
        (("mknod", mknod), nodes(1)),
        (("mknodat", Some(libc::SYS_mknodat)), nodes(2)),
        // Huge pages are not counted against the memory of a control group.
        (("mmap", Some(libc::SYS_mmap)), any(&[masked(3, libc::MAP_HUGETLB.unsigned_abs().into(), 0)])),
        (("memfd_create", Some(libc::SYS_memfd_create)), any(&[masked(1, libc::MFD_HUGETLB.into(), 0)])),
        (("shmget", Some(libc::SYS_shmget)), any(&[masked(2, libc::SHM_HUGETLB.unsigned_abs().into(), 0)])),
    ]
}

/// Every 32-bit request but `TIOCSTI` (0x5412) and `TIOCLINUX` (0x541c), which put characters into a terminal: a request is
/// neither when it differs from 0x541 above the low four bits, or when those bits are neither 2 nor 0xc.
fn all_but_terminal_injection(index: u8) -> Vec<Masked> {
    const PREFIX: u64 = 0x5410;
    let above = (4..32).map(|bit| masked(index, 1 << bit, !PREFIX & (1 << bit)));
    // Both values are even; their bits 3 and 2 are equal, and bit 1 is the opposite of those.
    let low = [(0b0001, 0b0001), (0b1100, 0b1000), (0b1100, 0b0100), (0b1110, 0b0000), (0b1110, 0b1110)];
    above.chain(low.map(|(mask, value)| masked(index, mask, value))).collect()
}

/// Every process but number 1, which has the work's own user and must be neither limited nor slowed down by it: some bit
/// but the lowest is set, or the lowest isn't.
fn all_but_the_first_process(index: u8) -> Vec<Masked> {
    let above = (1..32).map(|bit| masked(index, 1 << bit, 1 << bit));
    above.chain([masked(index, 1, 0)]).collect()
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
    for ((_, number), alternatives) in conditional() {
        let Some(number) = number else { continue };
        let mut alternative_rules = Vec::new();
        for conditions in alternatives {
            let conditions: Result<Vec<_>, _> = conditions
                .into_iter()
                .map(|Masked { index, mask, value }| {
                    let width = if mask <= INT { SeccompCmpArgLen::Dword } else { SeccompCmpArgLen::Qword };
                    SeccompCondition::new(index, width, SeccompCmpOp::MaskedEq(mask), value)
                })
                .collect();
            alternative_rules.push(SeccompRule::new(conditions?)?);
        }
        rules.insert(number, alternative_rules);
    }
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let list = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)?;
    Ok([clone3.try_into()?, list.try_into()?])
}

/// The list as the JSON profile that Docker and Podman take, inline or from a file. Other architectures than the first of
/// each pair are refused by their absence.
#[must_use]
pub fn docker_profile() -> String {
    let names: Vec<&str> = unconditional().map(|(name, _)| name).filter(|name| *name != "clone3").collect();
    let mut calls = vec![json!({ "names": names, "action": "SCMP_ACT_ALLOW" })];
    for ((name, _), alternatives) in conditional() {
        for conditions in alternatives {
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
