"""What every attack needs inside: raw system calls, and a line on the channel for each finding."""

import ctypes
import errno
import os
import platform

CANARY = "PRISM-" + "CANARY-"  # in two halves, so that a search doesn't find this file
MACHINE = platform.machine()

# Numbers on x86_64 and aarch64 (asm/unistd_64.h, asm-generic/unistd.h); None where a call doesn't exist.
NUMBERS = {
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, None),
    "getpid": (39, 172),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "mbind": (237, 235),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "mknodat": (259, 33),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_open": (240, 180),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "prlimit64": (302, 261),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy_home_node": (450, 450),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "shmget": (29, 194),
    "socket": (41, 198),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def number(name):
    """The number of a call on this machine, or None."""
    return NUMBERS[name][0 if MACHINE == "x86_64" else 1]


def raw(call, *arguments):
    """The result of a system call, by name or number, and its error number (0 for none)."""
    if isinstance(call, str):
        call = number(call)
    ctypes.set_errno(0)
    longs = [a if isinstance(a, (ctypes._Pointer, ctypes.Array, bytes)) else ctypes.c_long(a) for a in arguments]
    result = _libc.syscall(ctypes.c_long(call), *longs)
    return result, ctypes.get_errno() if result == -1 else 0


def word(number):
    """An error number as a word; `ok` for none."""
    return errno.errorcode.get(number, str(number)) if number else "ok"


def attempt(action, *arguments):
    """How a Python call went, as a word."""
    try:
        action(*arguments)
    except OSError as error:
        return word(error.errno) if error.errno else "refused"
    return "ok"


def say(key, value):
    """One finding, at once: `key`, a tabulator, `value`."""
    line = f"{key}\t{value}".replace("\n", " ") + "\n"
    os.write(1, line.encode("utf-8", "surrogateescape"))


def say_call(label, call, *arguments):
    """Makes a call and says how it went: an error as a word, or `reached`."""
    if isinstance(call, str) and number(call) is None:
        return
    _, error = raw(call, *arguments)
    say(label, word(error) if error else "reached")


def child(action):
    """Runs an action in a child process; its exit code, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = action() or 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
