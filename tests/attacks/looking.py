"""Attacks on what the host keeps for itself: secrets, other runs, held-out data."""

import ctypes
import errno
import fcntl
import hashlib
import os
import stat
import sys
import time

from wall import CANARY, attempt, raw, say, word

MINE = CANARY.encode()


def report(where, data):
    at = data.find(MINE)
    if at >= 0:
        say(f"found {where}", data[at : at + 64])


def environment():
    """All variables of all processes, and its own memory's start."""
    say("variables", " ".join(sorted(os.environ)))
    for key, value in os.environb.items():
        report(key, value)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("environ", "cmdline", "auxv", "comm"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    report(f"{pid}/{name}", file.read(1 << 20))
            except OSError:
                pass
    return 0


def everything(*skipped):
    """Every file of every mount, and every descriptor, but the read-only folders that the host named."""
    files = 0
    end = time.monotonic() + 5
    with open("/proc/self/mountinfo", "rb") as file:
        report("mountinfo", file.read())
    for folder, folders, names in os.walk("/"):
        folders[:] = [f for f in folders if os.path.join(folder, f) not in (*skipped, "/proc", "/sys")]
        for name in names:
            path = os.path.join(folder, name)
            report(f"name {path}", path.encode("utf-8", "surrogateescape"))
            try:
                if not stat.S_ISREG(os.stat(path).st_mode):
                    continue
                with open(path, "rb") as file:
                    report(path, file.read(1 << 20))
                files += 1
            except OSError:
                pass
            if time.monotonic() > end:
                say("unfinished", folder)
                return 1
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for link in ("root", "cwd", "exe"):
            try:
                report(f"{pid}/{link}", os.readlink(f"/proc/{pid}/{link}").encode())
            except OSError:
                pass
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                report(f"{pid}/fd/{descriptor}", os.readlink(f"/proc/{pid}/fd/{descriptor}").encode())
        except OSError:
            pass
    say("files", files)
    return 0


def paths(*wanted):
    """Paths that a host has and a guest must not see: what can be read of each."""
    for path in wanted:
        try:
            if os.path.isdir(path):
                say(path, "folder " + " ".join(sorted(os.listdir(path))[:20]))
                continue
            with open(path, "rb") as file:
                data = file.read(1 << 20)
            report(path, data)
            say(path, "read " + hashlib.sha256(data).hexdigest())
        except OSError as error:
            say(path, word(error.errno))
    return 0


def descriptors():
    """What is open from the start, and where it leads."""
    for descriptor in range(0, 4096):
        try:
            kind = os.fstat(descriptor)
        except OSError:
            continue
        say(f"fd {descriptor}", f"{stat.S_IFMT(kind.st_mode):o} {os.readlink(f'/proc/self/fd/{descriptor}')}")
        if descriptor > 2:
            try:
                report(f"fd {descriptor}", os.pread(descriptor, 1 << 16, 0))
            except OSError:
                pass
            say(f"climb {descriptor}", attempt(lambda: os.close(os.open("..", os.O_RDONLY, dir_fd=descriptor))))
    say("folder", os.getcwd())
    say("above root", attempt(lambda: os.listdir("/proc/self/root/../..")))
    say("same root", os.stat("/").st_ino == os.stat("/..").st_ino)
    # Opened anew, a descriptor may lead to more than it did. (What it writes itself it must not take back.)
    for descriptor in (0, 1, 2):
        try:
            again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_NONBLOCK)
            if descriptor == 0:
                report(f"again {descriptor}", os.read(again, 4096))
            report(f"again {descriptor}", os.readlink(f"/proc/self/fd/{again}").encode())
            os.close(again)
        except OSError:
            pass
    return 0


def leave(secret):
    """Leaves a secret wherever a neighbour or a successor might find it, then waits."""
    text = (CANARY + secret).encode()
    for folder in ("/tmp", "/dev/shm", "/run", "/var/tmp", "/dev/mqueue"):
        try:
            with open(f"{folder}/left-{secret}", "wb") as file:
                file.write(text)
        except OSError:
            pass
    segment, error = raw(29 if os.uname().machine == "x86_64" else 194, 0x50524955, 4096, 0o1666)
    say("segment", word(error))
    if not error:
        libc = ctypes.CDLL(None)
        libc.shmat.restype = ctypes.c_void_p
        libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
        room = libc.shmat(segment, None, 0)
        ctypes.memmove(room, text, len(text))
    say("left", os.getpid())
    sys.stdin.buffer.read()
    return 0


def find_left():
    """Looks for what a neighbour left."""
    for folder in ("/tmp", "/dev/shm", "/run", "/var/tmp", "/dev/mqueue"):
        for path, _, names in os.walk(folder):
            for name in names:
                if name.startswith("left-"):
                    say(f"found {path}", name)
    segment, error = raw(29 if os.uname().machine == "x86_64" else 194, 0x50524955, 4096, 0o666)
    say("segment", word(error))
    with open("/proc/sysvipc/shm") as file:
        say("segments", len(file.readlines()) - 1)
    strangers = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) not in (1, os.getpid(), os.getppid()):
            strangers.append(pid)
    say("strangers", " ".join(strangers))
    return 0
