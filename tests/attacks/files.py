"""Attacks by files: outside of the scratch space, and among the artifacts that the host collects."""

import os
import signal
import socket
import stat
import sys
import time

from wall import attempt, child, raw, say, word

ARTIFACTS = "/tmp/artifacts"


def ready():
    os.makedirs(ARTIFACTS, exist_ok=True)
    os.chdir(ARTIFACTS)


def keep(name, data=b"kept"):
    with open(name, "wb") as file:
        file.write(data)


def outside(*places):
    """Creates, changes and removes outside of the scratch space."""
    for place in places:
        name = f"{place}/prism-attack"
        say(f"create {place}", attempt(lambda: os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600))))
        say(f"mkdir {place}", attempt(os.mkdir, name + "-folder"))
        say(f"nameless {place}", attempt(lambda: os.close(os.open(place, os.O_TMPFILE | os.O_WRONLY, 0o600))))
        say(f"link {place}", attempt(os.symlink, "/etc/passwd", name + "-link"))
        say(f"chmod {place}", attempt(os.chmod, place, 0o777))
        say(f"rename {place}", attempt(os.rename, place, "/tmp/moved"))
    for path in (os.path.realpath(sys.executable), os.path.abspath(__file__), os.__file__, "/etc/passwd", "/etc/hosts"):
        if os.path.exists(path):
            say(f"write {path}", attempt(lambda: os.close(os.open(path, os.O_WRONLY))))
            say(f"append {path}", attempt(lambda: os.close(os.open(path, os.O_WRONLY | os.O_APPEND))))
            say(f"truncate {path}", attempt(os.truncate, path, 0))
            say(f"unlink {path}", attempt(os.unlink, path))
            say(f"touch {path}", attempt(os.utime, path))
            say(f"attribute {path}", attempt(os.setxattr, path, "user.prism", b"x"))
    return 0


def plain():
    """What an honest guest leaves."""
    ready()
    os.makedirs("deep/er", exist_ok=True)
    keep("a.bin", b"first")
    keep("deep/er/b.bin", b"second")
    keep("empty", b"")
    return 0


def symlink(target):
    """A link beside an honest file."""
    ready()
    keep("honest")
    os.symlink(target, "link")
    return 0


def folder_symlink(target):
    """A folder that is a link."""
    ready()
    keep("honest")
    os.symlink(target, "folder")
    return 0


def root_symlink(target):
    """The folder of artifacts itself is a link."""
    if os.path.isdir(ARTIFACTS):
        say("rename", attempt(os.rename, ARTIFACTS, "/tmp/moved"))
    say("link", attempt(os.symlink, target, ARTIFACTS))
    return 0


def root_file():
    """The folder of artifacts is a file."""
    if os.path.isdir(ARTIFACTS):
        say("rename", attempt(os.rename, ARTIFACTS, "/tmp/moved"))
    say("file", attempt(keep, ARTIFACTS))
    return 0


def hardlink():
    """One file under two names."""
    ready()
    keep("one")
    say("link", attempt(os.link, "one", "two"))
    return 0


def hardlink_out():
    """A file whose other name lies outside, and one of the host's own."""
    ready()
    keep("/tmp/elsewhere")
    say("link", attempt(os.link, "/tmp/elsewhere", "one"))
    say("link of the host's", attempt(os.link, os.path.realpath(sys.executable), "host"))
    return 0


def special(kind):
    """A thing that isn't a file, beside an honest one."""
    ready()
    keep("honest")
    if kind == "fifo":
        say("made", attempt(os.mkfifo, "thing"))
    elif kind == "socket":
        say("made", attempt(socket.socket(socket.AF_UNIX).bind, "thing"))
    else:
        say("made", attempt(os.mknod, "thing", stat.S_IFCHR | 0o666, os.makedev(1, 5)))
    return 0


def race():
    """Daemons that swap a file for a link as fast as they can while the host collects."""
    ready()
    keep("target")
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            for one in range(1, signal.NSIG):
                try:
                    signal.signal(one, signal.SIG_IGN)
                except (OSError, ValueError):
                    pass
            mine = f"link{os.getpid()}"
            while True:
                try:
                    os.symlink("/etc/passwd", mine)
                    os.rename(mine, "target")
                    keep(mine)
                    os.rename(mine, "target")
                except OSError:
                    pass
    time.sleep(0.05)
    return 0


def named(kind):
    """Files with names that no host expects."""
    ready()
    if kind == "newline":
        keep(b"a\nb: c\x1b[31m")
    elif kind == "bytes":
        keep(b"\xff\xfe\x80")
    elif kind == "long":
        keep("n" * 255)
    elif kind == "dots":
        for name in ("...", ".. ", " ..", "..\\..\\x", "C:", "con", "-rf", "~", "a:b", "*"):
            keep(name)
    elif kind == "deep":
        for _ in range(1000):
            try:
                os.mkdir("d")
                os.chdir("d")
            except OSError as error:
                say("end", word(error.errno))
                break
        say("file", attempt(keep, "bottom"))
    elif kind == "many":
        count = 0
        try:
            while count < 100_000:
                os.close(os.open(f"{count}", os.O_CREAT | os.O_WRONLY, 0o600))
                count += 1
        except OSError as error:
            say("end", word(error.errno))
        say("files", count)
    elif kind == "folders":
        count = 0
        try:
            while count < 100_000:
                os.mkdir(f"{count}")
                count += 1
        except OSError as error:
            say("end", word(error.errno))
        say("folders", count)
    return 0


def modes(kind):
    """Files with rights, attributes, and none."""
    ready()
    keep("file")
    if kind == "setuid":
        say("chmod", attempt(os.chmod, "file", 0o6777))
    elif kind == "attribute":
        say("user", attempt(os.setxattr, "file", "user.prism", b"x"))
        say("capability", attempt(os.setxattr, "file", "security.capability", b"\x01\x00\x00\x02" + b"\xff" * 16))
        say("rights", attempt(os.setxattr, "file", "system.posix_acl_access", b"\x02\x00\x00\x00"))
    elif kind == "none":
        say("chmod", attempt(os.chmod, "file", 0))
    elif kind == "folder":
        os.mkdir("closed")
        keep("closed/inside")
        say("chmod", attempt(os.chmod, "closed", 0))
    elif kind == "all":
        say("chmod", attempt(os.chmod, ARTIFACTS, 0))
    return 0


def sized(size, blocks):
    """A file of this size, with so many bytes really there."""
    ready()
    descriptor = os.open("file", os.O_CREAT | os.O_WRONLY, 0o600)
    left = int(blocks)
    while left:
        left -= os.write(descriptor, b"z" * min(left, 1 << 20))
    say("truncate", attempt(os.ftruncate, descriptor, int(size)))
    return 0


def pickle(path):
    """A checkpoint that writes a file where it is loaded."""
    import pickle as format

    class Bomb:
        def __reduce__(self):
            return exec, (f"open({path!r}, 'w').write('loaded')",)

    ready()
    keep("checkpoint.pt", format.dumps(Bomb()))
    return 0


def nothing():
    """Ends well at once, without any work."""
    os._exit(0)


def leave_inside():
    """Stays alive below the folder of artifacts with an open file that it goes on writing."""
    ready()
    if os.fork() == 0:
        os.setsid()
        descriptor = os.open("growing", os.O_CREAT | os.O_WRONLY, 0o600)
        while True:
            try:
                os.write(descriptor, b"g" * 4096)
            except OSError:
                time.sleep(0.01)
    time.sleep(0.05)
    return 0
