"""Attacks over the network: out of the sandbox, or from one sandbox to another."""

import os
import socket
import struct
import time

from wall import attempt, number, raw, say, say_call, word

FAMILIES = {
    "local": (1, 1, 0),
    "key": (15, 3, 2),
    "packet": (17, 3, 0x0300),
    "packet datagram": (17, 2, 0x0300),
    "rds": (21, 5, 0),
    "can": (29, 3, 1),
    "tipc": (30, 5, 0),
    "bluetooth": (31, 3, 1),
    "alg": (38, 5, 0),
    "nfc": (39, 5, 0),
    "vsock": (40, 1, 0),
    "kcm": (41, 5, 0),
    "qipcrtr": (42, 2, 0),
    "smc": (43, 1, 0),
    "xdp": (44, 3, 0),
    "mctp": (45, 2, 0),
    "netlink audit": (16, 3, 9),
    "netlink netfilter": (16, 3, 12),
    "netlink uevent": (16, 3, 15),
    "netlink generic": (16, 3, 16),
    "netlink crypto": (16, 3, 21),
    "netlink diag": (16, 3, 4),
    "vsock high bits": (40 | 1 << 32, 1, 0),
    "alg high bits": (38 | 1 << 32, 5, 0),
    "netlink high bits": (16, 3, 16 | 1 << 32),
    "raw": (2, 3, 1),
    "raw 6": (10, 3, 58),
}


def sockets():
    """A socket of every family that a guest has no use for; those that it needs."""
    for name, (family, kind, protocol) in FAMILIES.items():
        if name == "local":
            continue
        say_call(name, "socket", family, kind, protocol)
    for name, family, kind in (
        ("inet", socket.AF_INET, socket.SOCK_STREAM),
        ("unix", socket.AF_UNIX, socket.SOCK_STREAM),
        ("route", socket.AF_NETLINK, socket.SOCK_RAW),
    ):
        say(f"needed {name}", attempt(lambda: socket.socket(family, kind, 0).close()))
    return 0


def reach(*targets):
    """Connects and sends to every address: `HOST PORT`, a path, or `@NAME` for an abstract one."""
    for target in targets:
        if target.startswith("@") or target.startswith("/"):
            address = "\0" + target[1:] if target.startswith("@") else target
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                one = socket.socket(socket.AF_UNIX, kind)
                one.settimeout(0.5)
                say(f"{target} {kind.name}", attempt(one.connect, address))
            continue
        host, port = target.split(" ")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        one = socket.socket(family, socket.SOCK_STREAM)
        one.settimeout(0.3)
        say(f"{target} stream", attempt(one.connect, (host, int(port))))
        one = socket.socket(family, socket.SOCK_DGRAM)
        one.settimeout(0.1)
        try:
            one.connect((host, int(port)))
            one.send(b"PRISM")
            one.recv(1)
            say(f"{target} datagram", "answered")
        except OSError as error:
            say(f"{target} datagram", word(error.errno) if error.errno else "silent")
    with open("/proc/net/dev") as file:
        say("interfaces", " ".join(line.split(":")[0].strip() for line in file if ":" in line))
    with open("/proc/net/route") as file:
        say("routes", len(file.readlines()) - 1)
    with open("/proc/net/unix") as file:
        say("unix", " ".join(line.split()[-1] for line in file if "@" in line or "/" in line))
    return 0


def names():
    """Asks for names."""
    for name in ("example.com", "localhost.localdomain.example.com", "metadata.google.internal"):
        try:
            socket.getaddrinfo(name, 80)
            say(name, "resolved")
        except OSError:
            say(name, "unknown")
    question = b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01"
    for server in ("8.8.8.8", "1.1.1.1", "127.0.0.53", "127.0.0.11", "10.0.0.2"):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.settimeout(0.2)
        try:
            one.sendto(question, (server, 53))
            one.recv(512)
            say(server, "answered")
        except OSError as error:
            say(server, word(error.errno) if error.errno else "silent")
    return 0


def loopback(mine):
    """Opens a port and an abstract name that its neighbour opens too, and looks who answers."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    say("bind", attempt(server.bind, ("127.0.0.1", 29500)))
    server.listen()
    local = socket.socket(socket.AF_UNIX)
    say("bind local", attempt(local.bind, "\0prism-neighbour"))
    local.listen()
    say("ready", mine)
    for descriptor in (server, local):
        descriptor.settimeout(0.5)
    until = time.monotonic() + 1
    heard = set()
    while time.monotonic() < until:
        for ours, address, family in ((server, ("127.0.0.1", 29500), 2), (local, "\0prism-neighbour", 1)):
            try:
                caller = socket.socket(family)
                caller.settimeout(0.5)
                caller.connect(address)
                caller.send(mine.encode())
                heard.add(ours.accept()[0].recv(64).decode())
            except OSError as error:
                heard.add(word(error.errno) if error.errno else "silent")
    say("heard", " ".join(sorted(heard)))
    return 0
