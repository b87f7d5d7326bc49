"""Attacks on the kernel's surface: calls that no guest needs, other processes, devices, settings of the host."""

import ctypes
import errno
import mmap
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

from wall import MACHINE, attempt, child, number, raw, say, say_call, word

# An argument that a call which is reached answers with EFAULT, EBADF or EINVAL, not with EPERM.
BAD = -1

MOUNTING = "mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr"

NEVER = """_sysctl acct add_key bpf clock_adjtime clock_settime create_module delete_module fanotify_init fanotify_mark
finit_module get_kernel_syms init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load
kexec_load keyctl lookup_dcookie memfd_secret migrate_pages move_pages name_to_handle_at nfsservctl open_by_handle_at
perf_event_open pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace query_module quotactl quotactl_fd
reboot request_key set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon sysfs syslog uselib
userfaultfd ustat vhangup"""

NAMESPACES = {
    "time": 0x80,
    "mount": 0x20000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}


def mounts():
    """Every call that changes what is mounted where."""
    for call in MOUNTING.split():
        say_call(call, call, BAD, BAD, BAD, BAD, BAD)
    return 0


def never():
    """Every call that no guest has a use for."""
    for call in NEVER.split():
        say_call(call, call, BAD, BAD, BAD, BAD, BAD)
    return 0


def unknown():
    """Numbers that no kernel knew when this was written."""
    for call in (700, 999, 4095):
        say_call(str(call), call, BAD, BAD, BAD, BAD, BAD)
    return 0


def namespaces():
    """New namespaces by all three ways; threads, which need one of them, must go on."""
    for name, flag in NAMESPACES.items():
        say_call(f"unshare {name}", "unshare", flag)
        say_call(f"setns {name}", "setns", BAD, flag)
        if name != "time":  # the flag is part of the signal there

            def clone():
                pid, error = raw("clone", flag | signal.SIGCHLD, 0, 0, 0, 0)
                if pid == 0:
                    os._exit(0)
                say(f"clone {name}", word(error) if error else "reached")

            child(clone)
    # Bits above the 32 that the kernel looks at.
    say_call("unshare high bits", "unshare", NAMESPACES["user"] | 1 << 32)
    arguments = (ctypes.c_uint64 * 11)(NAMESPACES["user"])
    pid, error = raw("clone3", arguments, ctypes.sizeof(arguments))
    if pid == 0:
        os._exit(0)
    say("clone3", word(error) if error else "reached")
    pid, error = raw("clone3", BAD, BAD)
    say("clone3 bad", word(error) if error else "reached")
    done = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    say("thread", "ok" if done else "lost")
    say("process", child(lambda: 7))
    return 0


def trace_me():
    """As first process: a stop that a careless parent takes for an end."""
    _, error = raw("ptrace", 0, 0, 0, 0)
    say("trace me", word(error) if error else "reached")
    os.kill(os.getpid(), signal.SIGSTOP)
    if os.fork() == 0:
        time.sleep(1000)
    time.sleep(1000)


def others():
    """The first process, the parent and a sibling: traced, read, written, robbed of descriptors."""
    room = ctypes.create_string_buffer(64)
    vector = (ctypes.c_uint64 * 2)(ctypes.addressof(room), 64)
    sibling = os.fork()
    if sibling == 0:
        time.sleep(1000)
    for name, pid in {"first": 1, "parent": os.getppid(), "sibling": sibling}.items():
        if pid == 0:
            continue
        for label, request in {"attach": 16, "seize": 0x4206}.items():
            say_call(f"{label} {name}", "ptrace", request, pid, 0, 0)
        say_call(f"read {name}", "process_vm_readv", pid, vector, 1, vector, 1, 0)
        say_call(f"write {name}", "process_vm_writev", pid, vector, 1, vector, 1, 0)
        say_call(f"compare {name}", "kcmp", os.getpid(), pid, 0, 0, 0)
        handle, _ = raw(434, pid, 0)  # pidfd_open
        say_call(f"rob {name}", "pidfd_getfd", handle, 0, 0)
        say_call(f"advise {name}", "process_madvise", handle, vector, 1, 21, 0)
    os.kill(sibling, signal.SIGKILL)
    os.waitpid(sibling, 0)
    return 0


def first_process():
    """What the first process's folder gives away."""
    for name in ("mem", "environ", "maps", "auxv", "syscall", "stack", "fd/0", "fd/1", "fd/3", "root/", "cwd/", "exe"):
        path = f"/proc/1/{name}"

        def look():
            if name.endswith("/"):
                return os.listdir(path)
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            # What stands in its standard streams is this process's own output.
            if name != "mem" and not name.startswith("fd/"):
                os.read(descriptor, 1 << 16)
            os.close(descriptor)

        say(name, attempt(look))
    say("write mem", attempt(lambda: os.close(os.open("/proc/1/mem", os.O_WRONLY))))
    say("list fd", attempt(os.listdir, "/proc/1/fd"))
    for name in ("environ", "cmdline", "cgroup", "mountinfo", "status"):
        try:
            with open(f"/proc/1/{name}", "rb") as file:
                say(f"content {name}", file.read(1 << 16))
        except OSError:
            pass
    # Its own memory is its own.
    mine = ctypes.create_string_buffer(b"before")
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        memory.seek(ctypes.addressof(mine))
        say("own mem", memory.read(6).decode())
    return 0


def foreign_abi():
    """Calls under another architecture's numbers, in a child that may be killed for it."""
    if MACHINE != "x86_64":
        say("skipped", MACHINE)
        return 0

    def x32():
        result, error = raw(number("getpid") | 0x40000000)
        say("x32 answer", word(error) if error else "reached")

    say("x32 end", child(x32))
    for label, (call, argument) in {"getpid": (20, 0), "unshare": (310, 0x10000000), "mount": (21, 0)}.items():

        def compat():
            # push rbx; mov eax, call; mov ebx, argument; int 0x80; pop rbx; ret
            code = b"\x53\xb8" + call.to_bytes(4, "little") + b"\xbb" + argument.to_bytes(4, "little") + b"\xcd\x80\x5b\xc3"
            room = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            room.write(code)
            address = ctypes.addressof(ctypes.c_char.from_buffer(room))
            result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
            say(f"int80 {label} answer", word(-result) if result < 0 else "reached")
            os._exit(0)

        say(f"int80 {label} end", child(compat))
    return 0


def foreign_abi_as_main():
    """The same by the process that the host waits for."""
    if MACHINE != "x86_64":
        say("skipped", MACHINE)
        return 0
    room = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    room.write(b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3")
    result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(room)))()
    say("answer", word(-result) if result < 0 else "reached")
    return 0


def personality():
    """Another personality; asking for the present one stays allowed."""
    for label, persona in {
        "no randomization": 0x0040000,
        "read implies exec": 0x0400000,
        "null page": 0x0100000,
        "svr4": 0x0004001,
        "high bits": 0x1_0040000,
    }.items():
        say_call(label, "personality", persona)
    say("now", raw("personality", 0xFFFFFFFF)[0])
    return 0


def terminal():
    """Input pushed into a terminal, the console's menu, a terminal of its own."""
    room = ctypes.create_string_buffer(b"x" * 64)
    for label, request in {"push": 0x5412, "console": 0x541C}.items():
        for descriptor in (0, 1, 2):
            say_call(f"{label} {descriptor}", "ioctl", descriptor, request, room)
        # The kernel looks at 32 bits of the request, a filter perhaps at 64.
        say_call(f"{label} high bits", "ioctl", 0, request | 1 << 32, room)
        say_call(f"{label} negative", "ioctl", 0, request | -1 << 32, room)
    for path in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/ttyS0", "/dev/vcs"):
        say(f"open {path}", attempt(lambda: os.close(os.open(path, os.O_RDWR | os.O_NOCTTY))))
    with open("/proc/self/stat") as file:
        say("tty", file.read().rpartition(")")[2].split()[4])
    return 0


def devices():
    """Device nodes of its own making, and those that are there."""
    for label, kind, device in (
        ("character", stat.S_IFCHR, os.makedev(1, 1)),
        ("block", stat.S_IFBLK, os.makedev(254, 0)),
        ("null", stat.S_IFCHR, os.makedev(1, 3)),
        ("whiteout", stat.S_IFCHR, 0),
    ):
        say(label, attempt(os.mknod, f"/tmp/{label}", kind | 0o600, device))
    for folder, _, names in os.walk("/dev"):
        for name in names:
            path = os.path.join(folder, name)
            found = os.lstat(path)
            if stat.S_ISLNK(found.st_mode):
                continue
            kind = "b" if stat.S_ISBLK(found.st_mode) else "c" if stat.S_ISCHR(found.st_mode) else "other"
            say(f"device {path}", f"{kind} {os.major(found.st_rdev)}:{os.minor(found.st_rdev)}")
    return 0


# Files that anybody may write: those of the process itself change nothing but itself, and what is written to the first
# four is a threshold that the writer itself waits for (Documentation/accounting/psi.rst).
THRESHOLDS = {f"/proc/pressure/{kind}" for kind in ("cpu", "io", "irq", "memory")}
OWN = {"current", "exec", "fscreate", "keycreate", "prev", "sockcreate",
       "comm", "clear_refs", "coredump_filter", "mem", "oom_adj", "oom_score_adj", "timerslack_ns", "autogroup", "sched",
       "timens_offsets", "fail-nth", "make-it-fail", "reset", "loginuid", "sessionid"}


def poke(path):
    """Opens a file for writing; what anybody may open is written to, since the right is asked for only then."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        if os.fstat(descriptor).st_rdev == os.makedev(1, 3) and stat.S_ISCHR(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENODEV, "masked")
        if path.endswith(("/uid_map", "/gid_map", "/projid_map", "/setgroups")):
            os.write(descriptor, b"deny" if path.endswith("groups") else b"0 0 1\n")
    finally:
        os.close(descriptor)


def settings():
    """Opens for writing, without writing, everything below /proc and /sys."""
    seen = 0
    # What a process with all rights over its namespaces could write.
    for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/self/uid_map",
                 "/proc/self/gid_map", "/proc/self/setgroups", "/proc/kcore", "/proc/kmsg",
                 "/dev/kmsg", "/dev/mem", "/proc/kallsyms", "/proc/timer_list", "/proc/sched_debug", "/proc/acpi",
                 "/proc/scsi", "/sys/kernel/uevent_helper", "/sys/firmware", "/sys/kernel/debug", "/sys/fs/cgroup"):
        say(f"write {path}", attempt(poke, path))
    end = time.monotonic() + 6
    for top in ("/proc/sys", "/sys", "/proc/fs", "/proc/irq", "/proc/driver", "/proc/bus", "/proc/tty", "/proc/scsi",
                "/proc/acpi", "/proc/pressure", "/proc/1", "/proc/self", "/proc"):
        for folder, folders, names in os.walk(top):
            if top == "/proc":
                folders.clear()
            if top == "/proc/self":
                folders[:] = [f for f in folders if f in ("attr", "net", "ns")]
            for name in names:
                if time.monotonic() > end:
                    say("unfinished", folder)
                    return 0
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    continue
                seen += 1
                try:
                    poke(path)
                except OSError:
                    continue
                if path not in THRESHOLDS and not (top == "/proc/self" and name in OWN):
                    say(f"writable {path}", "ok")
    say("oom_score_adj", attempt(lambda: os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"-1000")))
    for folder, _, names in os.walk("/sys/fs/cgroup"):
        for name in set(names) & {"release_agent", "notify_on_release", "cgroup.procs", "memory.max", "pids.max", "tasks",
                                  "memory.limit_in_bytes", "devices.allow", "cpu.max", "cgroup.subtree_control"}:
            say(f"cgroup {folder}/{name}", attempt(lambda: os.write(os.open(f"{folder}/{name}", os.O_WRONLY), b"0")))
    say("seen", seen)
    return 0


def privileges():
    """Another user, another group, rights; programs that come with them."""
    before = os.getresuid(), os.getresgid()
    say("ids", f"{os.getresuid()} {os.getresgid()} {os.getgroups()}")
    for label, action, arguments in (
        ("setuid", os.setuid, (0,)),
        ("setgid", os.setgid, (0,)),
        ("setresuid", os.setresuid, (0, 0, 0)),
        ("setreuid", os.setreuid, (0, 0)),
        ("setgroups", os.setgroups, ([0],)),
        ("setuid high", os.setuid, (1000,)),
    ):
        say(label, attempt(action, *arguments))
    # capset(all): more than there is can't be asked for.
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    _, error = raw(126 if MACHINE == "x86_64" else 91, header, data)
    say("capset", word(error))
    _, error = raw(157 if MACHINE == "x86_64" else 167, 38, 0, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, off
    say("new privileges", word(error))
    say("unchanged", before == (os.getresuid(), os.getresgid()))
    with open("/proc/self/status") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Groups"):
                say(f"status {key}", value.strip())
    gained, tried = 0, 0
    for folder in ("/usr/bin", "/usr/sbin", "/bin", "/usr/lib/openssh", "/usr/lib/dbus-1.0"):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            path = f"{folder}/{name}"
            try:
                if not os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID):
                    continue
                asked = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            except OSError:
                continue
            tried += 1
            try:
                for _ in range(20):
                    with open(f"/proc/{asked.pid}/status") as file:
                        ids = [l.split()[1:] for l in file if l.startswith(("Uid", "Gid"))]
                    mine = [[str(os.getuid())] * 4, [str(os.getgid())] * 4]
                    gained += ids != mine
                    time.sleep(0.001)
            except OSError:
                pass
            asked.kill()
            asked.wait()
    say("setuid programs", f"{gained} of {tried}")
    with open("/tmp/own", "w") as file:
        file.write("x")
    say("own setuid", attempt(os.chmod, "/tmp/own", 0o6777))
    say("own owner", attempt(os.chown, "/tmp/own", 0, 0))
    say("own capability", attempt(os.setxattr, "/tmp/own", "security.capability", b"\x01\x00\x00\x02" + b"\xff" * 16))
    return 0


def crash():
    """Ends by a fault, with as much of a core file as it may have."""
    import resource

    say("core", "{} {}".format(*resource.getrlimit(resource.RLIMIT_CORE)))
    with open("/proc/sys/kernel/core_pattern") as file:
        say("pattern", file.read().strip())
    os.chdir("/tmp")
    if os.fork() == 0:
        os.abort()
    os.wait()
    say("files", " ".join(sorted(os.listdir("/tmp"))))
    ctypes.string_at(0)


def kill_all(*hosts):
    """Kills whoever can be found, by every way, then ends with 7: the host must see the 7."""
    for one in range(1, signal.NSIG):
        try:
            signal.signal(one, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    sleeper = os.fork()
    if sleeper == 0:
        signal.pause()
        os._exit(0)
    for pid in map(int, hosts):
        say(f"host {pid}", attempt(os.kill, pid, signal.SIGKILL))
        say(f"group {pid}", attempt(os.kill, -pid, signal.SIGKILL))
        handle, error = raw(434, pid, 0)
        say(f"handle {pid}", word(error) if error else "reached")
    for one in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV, signal.SIGSYS, signal.SIGCHLD, signal.SIGTRAP,
                signal.SIGHUP, signal.SIGALRM, signal.SIGPIPE, signal.SIGUSR1, signal.SIGTSTP, signal.SIGRTMIN):
        attempt(os.kill, 1, one)
    say("all", attempt(os.kill, -1, signal.SIGKILL))
    say("alive", "yes")
    return 7


def kill_group():
    """Kills its own group, from below."""
    say("group", os.getpgrp())
    if os.fork() == 0:
        os.kill(0, signal.SIGKILL)
    time.sleep(1000)


def claim(code):
    """Prints every marker that a host might believe, then ends with a code."""
    lies = [
        "PRISM_METRICS_JSON={\"val_bpb\": 0.0001}", "PRISM_RUNNER_OK", "PRISM_RUNNER_TIMEOUT", "infrastructure failure",
        "CUDA error: out of memory", "MemoryError: out of memory", "Killed", "oom-kill", "watchdog: budget exceeded",
        "prism_run_manifest.v1.json", "exit code 0", "sandbox: setup failed", "handshake", "seccomp", "evicted", "preempted",
    ]
    for line in lies:
        os.write(1, line.encode() + b"\n")
        os.write(2, line.encode() + b"\n")
    os._exit(int(code))


def clock():
    """Sets clocks, by every call."""
    for call in ("settimeofday", "clock_settime", "clock_adjtime"):
        say_call(call, call, BAD, BAD, BAD)
    change = (ctypes.c_long * 26)(1)  # timex.modes = ADJ_OFFSET
    say_call("adjtimex", "adjtimex", change)
    moment = (ctypes.c_long * 2)(1, 0)
    say_call("set real", "clock_settime", 0, moment)
    say_call("set monotonic", "clock_settime", 1, moment)
    return 0
