//! The calls themselves, by name and number.

/// A call: its name as container engines know it, and its number here; `None` where this architecture has no such call.
pub(super) type Call = (&'static str, Option<i64>);

macro_rules! calls { ($($call:ident)*) => { &[$((stringify!($call), Some(libc::$call))),*] } }

/// Calls of every architecture that are allowed whatever their arguments are.
pub(super) const COMMON: &[Call] = calls! {
    SYS_accept SYS_accept4 SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_getres SYS_clock_gettime
    SYS_clock_nanosleep SYS_clone3 SYS_close SYS_close_range SYS_connect SYS_copy_file_range SYS_dup SYS_dup3
    SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat
    SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fchdir SYS_fchmod
    SYS_fchmodat SYS_fchown SYS_fchownat SYS_fcntl SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock
    SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv
    SYS_get_robust_list SYS_getcpu SYS_getcwd SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups
    SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom SYS_getresgid
    SYS_getresuid SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid
    SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch SYS_ioprio_get SYS_kill
    SYS_lgetxattr SYS_linkat SYS_listen SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr
    SYS_madvise SYS_membarrier SYS_mincore SYS_mkdirat SYS_mlock SYS_mlock2 SYS_mlockall SYS_mprotect
    SYS_mq_getsetattr SYS_mq_notify SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap
    SYS_mseal SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall SYS_munmap
    SYS_nanosleep SYS_newfstatat SYS_openat SYS_openat2 SYS_pidfd_open SYS_pidfd_send_signal SYS_pipe2
    SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl SYS_pread64 SYS_preadv SYS_preadv2
    SYS_pselect6 SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv
    SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_removexattr SYS_renameat2 SYS_restart_syscall SYS_rseq
    SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend
    SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_get_priority_max SYS_sched_get_priority_min
    SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_getscheduler SYS_sched_rr_get_interval
    SYS_sched_yield SYS_semctl SYS_semget SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg
    SYS_sendto SYS_set_robust_list SYS_set_tid_address SYS_setitimer SYS_setpgid SYS_setsid SYS_setsockopt
    SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_splice SYS_statfs
    SYS_statx SYS_symlinkat SYS_sync SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill SYS_timer_create SYS_timer_delete
    SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime SYS_timerfd_create SYS_timerfd_gettime
    SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask SYS_uname SYS_unlinkat SYS_utimensat
    SYS_vmsplice SYS_wait4 SYS_waitid SYS_write SYS_writev
};

/// Newer calls, which `libc` doesn't name everywhere. Numbers from 424 on are the same on all architectures.
pub(super) const NEWER: &[Call] = &[
    ("cachestat", Some(451)),
    ("fchmodat2", Some(452)),
    ("map_shadow_stack", Some(453)),
    ("futex_wake", Some(454)),
    ("futex_wait", Some(455)),
    ("futex_requeue", Some(456)),
];

/// Calls that only older architectures have.
#[cfg(target_arch = "x86_64")]
pub(super) const LEGACY: &[Call] = calls! {
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_wait
    SYS_eventfd SYS_fork SYS_futimesat SYS_get_thread_area SYS_getdents SYS_getpgrp SYS_getrlimit
    SYS_inotify_init SYS_lchown SYS_link SYS_lstat SYS_mkdir SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink
    SYS_rename SYS_renameat SYS_rmdir SYS_select SYS_set_thread_area SYS_setrlimit SYS_signalfd SYS_stat
    SYS_symlink SYS_sync_file_range SYS_time SYS_unlink SYS_utime SYS_utimes SYS_vfork
};

/// Calls that only older architectures have, for the form that goes by names.
#[cfg(target_arch = "aarch64")]
pub(super) const LEGACY: &[Call] = &[
    // The two that this architecture has as well (`asm-generic/unistd.h`).
    ("renameat", Some(38)),
    ("sync_file_range", Some(84)),
    ("access", None),
    ("alarm", None),
    ("arch_prctl", None),
    ("chmod", None),
    ("chown", None),
    ("creat", None),
    ("dup2", None),
    ("epoll_create", None),
    ("epoll_wait", None),
    ("eventfd", None),
    ("fork", None),
    ("futimesat", None),
    ("get_thread_area", None),
    ("getdents", None),
    ("getpgrp", None),
    ("getrlimit", None),
    ("inotify_init", None),
    ("lchown", None),
    ("link", None),
    ("lstat", None),
    ("mkdir", None),
    ("open", None),
    ("pause", None),
    ("pipe", None),
    ("poll", None),
    ("readlink", None),
    ("rename", None),
    ("rmdir", None),
    ("select", None),
    ("set_thread_area", None),
    ("setrlimit", None),
    ("signalfd", None),
    ("stat", None),
    ("symlink", None),
    ("time", None),
    ("unlink", None),
    ("utime", None),
    ("utimes", None),
    ("vfork", None),
];
