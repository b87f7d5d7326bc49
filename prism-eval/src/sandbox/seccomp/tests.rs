//! Both forms of the list, run over calls by a BPF interpreter and by a reader of profiles.
use super::*;
use proptest::prelude::*;

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Verdict {
    Allow,
    Errno(u32),
    Kill,
}

#[cfg(target_arch = "x86_64")]
const HERE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const HERE: u32 = 0xc000_00b7;

/// What the kernel does with a program: the instructions that the compiler emits, of `linux/filter.h`.
fn interpret(program: &BpfProgram, arch: u32, number: i64, args: [u64; 6]) -> Verdict {
    let word = |at: u32| match at {
        0 => number as u32,
        4 => arch,
        8 | 12 => 0,
        _ => {
            let arg = args[((at - 16) / 8) as usize];
            if (at - 16).is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
        }
    };
    let (mut at, mut a) = (0, 0);
    loop {
        let step = &program[at];
        at += 1;
        let taken = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
        match step.code {
            0x20 => a = word(step.k),
            0x54 => a &= step.k,
            0x05 => at += step.k as usize,
            0x15 => at += taken(a == step.k),
            0x25 => at += taken(a > step.k),
            0x35 => at += taken(a >= step.k),
            0x06 => {
                return match step.k & 0xffff_0000 {
                    0x7fff_0000 => Verdict::Allow,
                    0x0005_0000 => Verdict::Errno(step.k & 0xffff),
                    _ => Verdict::Kill,
                };
            }
            other => panic!("instruction {other:#x}"),
        }
    }
}

/// Both programs: the strictest answer counts.
fn kernel(arch: u32, number: i64, args: [u64; 6]) -> Verdict {
    let answers = programs().unwrap().map(|program| interpret(&program, arch, number, args));
    match answers {
        [Verdict::Kill, _] | [_, Verdict::Kill] => Verdict::Kill,
        [Verdict::Errno(errno), _] | [_, Verdict::Errno(errno)] => Verdict::Errno(errno),
        _ => Verdict::Allow,
    }
}

/// What an engine does with the profile.
fn engine(name: &str, args: [u64; 6]) -> Verdict {
    let profile: Value = serde_json::from_str(&docker_profile()).unwrap();
    for entry in profile["syscalls"].as_array().unwrap() {
        let named = entry["names"].as_array().unwrap().iter().any(|one| one == name);
        let none = Vec::new();
        let holds = entry["args"].as_array().unwrap_or(&none).iter().all(|condition| {
            assert_eq!(condition["op"], "SCMP_CMP_MASKED_EQ");
            let arg = args[condition["index"].as_u64().unwrap() as usize];
            arg & condition["value"].as_u64().unwrap() == condition["valueTwo"].as_u64().unwrap()
        });
        if named && holds {
            return match entry["action"].as_str().unwrap() {
                "SCMP_ACT_ALLOW" => Verdict::Allow,
                _ => Verdict::Errno(entry["errnoRet"].as_u64().unwrap() as u32),
            };
        }
    }
    Verdict::Errno(profile["defaultErrnoRet"].as_u64().unwrap() as u32)
}

const REFUSED: Verdict = Verdict::Errno(1);

#[test]
fn what_helps_to_leave_a_sandbox_is_refused_by_both_forms() {
    let refused = [
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("process_vm_writev", libc::SYS_process_vm_writev),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("io_uring_enter", libc::SYS_io_uring_enter),
        ("io_uring_register", libc::SYS_io_uring_register),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("request_key", libc::SYS_request_key),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("kcmp", libc::SYS_kcmp),
        ("name_to_handle_at", libc::SYS_name_to_handle_at),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("memfd_secret", libc::SYS_memfd_secret),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("pivot_root", libc::SYS_pivot_root),
        ("chroot", libc::SYS_chroot),
        ("fsopen", libc::SYS_fsopen),
        ("open_tree", libc::SYS_open_tree),
        ("move_mount", libc::SYS_move_mount),
        ("mount_setattr", libc::SYS_mount_setattr),
        ("fanotify_init", libc::SYS_fanotify_init),
        ("quotactl", libc::SYS_quotactl),
        ("acct", libc::SYS_acct),
        ("reboot", libc::SYS_reboot),
        ("kexec_load", libc::SYS_kexec_load),
        ("init_module", libc::SYS_init_module),
        ("finit_module", libc::SYS_finit_module),
        ("settimeofday", libc::SYS_settimeofday),
        ("clock_settime", libc::SYS_clock_settime),
        ("swapon", libc::SYS_swapon),
        ("syslog", libc::SYS_syslog),
        ("seccomp", libc::SYS_seccomp),
        ("setuid", libc::SYS_setuid),
        ("setresuid", libc::SYS_setresuid),
        ("setgroups", libc::SYS_setgroups),
    ];
    for (name, number) in refused {
        assert_eq!((kernel(HERE, number, [0; 6]), engine(name, [0; 6])), (REFUSED, REFUSED), "{name}");
    }
}

#[test]
fn clone3_is_absent_so_that_libraries_fall_back() {
    let absent = Verdict::Errno(libc::ENOSYS as u32);
    assert_eq!(kernel(HERE, libc::SYS_clone3, [0; 6]), absent);
    assert_eq!(engine("clone3", [0; 6]), absent);
}

#[test]
fn calls_of_another_architecture_end_the_work_and_x32_is_refused() {
    assert_eq!(kernel(0x4000_0003, libc::SYS_read, [0; 6]), Verdict::Kill);
    assert_eq!(kernel(HERE, libc::SYS_read | 0x4000_0000, [0; 6]), REFUSED);
}

/// Calls, arguments, and whether they pass.
fn examples() -> Vec<(&'static str, i64, [u64; 6], bool)> {
    let first = |value| [value, 0, 0, 0, 0, 0];
    let second = |value| [0, value, 0, 0, 0, 0];
    let netlink = |protocol| [16, 3, protocol, 0, 0, 0];
    let high = 1 << 40;
    let mut all = vec![
        ("read", libc::SYS_read, first(0), true),
        ("clone", libc::SYS_clone, first(0x003d_0f00), true),
        ("clone", libc::SYS_clone, first(0x1000_0011), false),
        ("clone", libc::SYS_clone, first(0x0002_0011), false),
        ("socket", libc::SYS_socket, first(1), true),
        ("socket", libc::SYS_socket, first(2), true),
        ("socket", libc::SYS_socket, first(10), true),
        ("socket", libc::SYS_socket, netlink(0), true),
        ("socket", libc::SYS_socket, netlink(9), false),
        ("socket", libc::SYS_socket, first(17), false),
        ("socket", libc::SYS_socket, first(38), false),
        ("socket", libc::SYS_socket, first(40), false),
        ("socketpair", libc::SYS_socketpair, first(1), true),
        ("socketpair", libc::SYS_socketpair, first(2), false),
        ("personality", libc::SYS_personality, first(0), true),
        ("personality", libc::SYS_personality, first(0xffff_ffff), true),
        ("personality", libc::SYS_personality, first(u64::MAX), true),
        ("personality", libc::SYS_personality, first(0x0004_0000), false),
        ("ioctl", libc::SYS_ioctl, second(0x5412), false),
        ("ioctl", libc::SYS_ioctl, second(0x541c), false),
        ("ioctl", libc::SYS_ioctl, second(0x5412 | high), false),
        ("ioctl", libc::SYS_ioctl, second(0x541c | high), false),
        ("prlimit64", libc::SYS_prlimit64, first(0), true),
        ("prlimit64", libc::SYS_prlimit64, first(2), true),
        ("prlimit64", libc::SYS_prlimit64, first(3), true),
        ("prlimit64", libc::SYS_prlimit64, first(1), false),
        ("prlimit64", libc::SYS_prlimit64, first(1 | high), false),
        ("sched_setscheduler", libc::SYS_sched_setscheduler, first(1), false),
        ("setpriority", libc::SYS_setpriority, second(1), false),
        ("setpriority", libc::SYS_setpriority, second(0), true),
        ("mknodat", libc::SYS_mknodat, [0, 0, 0o010_644, 0, 0, 0], true),
        ("mknodat", libc::SYS_mknodat, [0, 0, 0o020_644, 0, 0, 0], false),
        ("mknodat", libc::SYS_mknodat, [0, 0, 0o060_644, 0, 0, 0], false),
        ("mmap", libc::SYS_mmap, [0, 0, 0, 0x22, 0, 0], true),
        ("mmap", libc::SYS_mmap, [0, 0, 0, 0x4_0022, 0, 0], false),
        ("memfd_create", libc::SYS_memfd_create, second(1), true),
        ("memfd_create", libc::SYS_memfd_create, second(4), false),
    ];
    let around = (0x5400..0x5430).filter(|request| ![0x5412, 0x541c].contains(request));
    all.extend(around.map(|request| ("ioctl", libc::SYS_ioctl, second(request), true)));
    all
}

#[test]
fn conditions_allow_what_they_should_and_nothing_else() {
    for (name, number, args, passes) in examples() {
        let wanted = if passes { Verdict::Allow } else { REFUSED };
        assert_eq!((kernel(HERE, number, args), engine(name, args)), (wanted, wanted), "{name} {args:x?}");
    }
}

#[test]
fn no_call_is_listed_twice() {
    let all: Vec<&str> =
        unconditional().map(|(n, _)| n).chain(conditional().into_iter().map(|((n, _), _)| n)).collect();
    let once: std::collections::BTreeSet<&str> = all.iter().copied().collect();
    assert_eq!(all.len(), once.len());
}

proptest! {
    #[test]
    fn both_forms_say_the_same(which in 0..17_usize, args in any::<[u64; 6]>(), request in any::<u32>()) {
        let ((name, number), _) = conditional().swap_remove(which);
        let mut args = args;
        args[1] = u64::from(request);
        if let Some(number) = number {
            prop_assert_eq!(kernel(HERE, number, args), engine(name, args));
        }
    }
}
