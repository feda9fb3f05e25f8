"""What attacker code tries that runs in place of a confined job.

Each row of `ESCAPES` is an attempt: a name, the rights with which it is allowed, and what is done.  An attempt is
refused if the kernel says so by one of `REFUSALS`; any other error means that the call was let through.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import signal
import socket
import struct
from collections.abc import Callable, Collection
from typing import NamedTuple

from pvboot.confine.jobs import CODE, FILES, NETWORK

REFUSALS = ("EPERM", "EACCES", "EMFILE")
ANY_FILE = FILES | NETWORK
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long


class Target(NamedTuple):
    """What there is to be attacked: a folder with a secret file of the attacker's user, sockets, a process."""

    folder: str
    tcp_port: int
    udp_port: int
    parent: int


def call(number: int, *arguments: object) -> int:
    """A system call by its number on x86-64."""
    result: int = LIBC.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def connect(family: int, kind: int, address: object) -> None:
    with socket.socket(family, kind) as sock:
        sock.connect(address)  # type: ignore[arg-type]
        sock.send(b"x")


def fork() -> None:
    if not os.fork():
        os._exit(0)


def fork_as_thread_group() -> None:
    """clone(2) with flags that look like a thread's and make a process."""
    if call(56, 0x100 | 0x200 | 0x400 | 0x800, 0, 0, 0, 0) == 0:
        call(231, 0)


def type_for_others() -> None:
    fcntl.ioctl(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY), 0x5412, b"x")


def make_executable() -> None:
    memory = mmap.mmap(-1, 4096)
    call(10, ctypes.c_ulong(ctypes.addressof(ctypes.c_char.from_buffer(memory))), ctypes.c_ulong(4096), 5)


def remap_executable() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)


Attempt = tuple[str, int, Callable[[Target], object]]

ESCAPES: list[Attempt] = [
    # files
    ("read a file", 0, lambda t: os.open(f"{t.folder}/secret", os.O_RDONLY)),
    ("read the users' passwords", 0, lambda t: os.open("/etc/passwd", os.O_RDONLY)),
    ("reopen a descriptor to write", 0, lambda t: os.open("/proc/self/fd/0", os.O_RDWR)),
    ("read another's memory", 0, lambda t: os.open(f"/proc/{t.parent}/mem", os.O_RDWR)),
    ("write a file", 0, lambda t: os.open(f"{t.folder}/secret", os.O_WRONLY)),
    ("empty a file", 0, lambda t: os.truncate(f"{t.folder}/secret", 0)),
    ("make a file", 0, lambda t: os.open(f"{t.folder}/new", os.O_CREAT | os.O_WRONLY)),
    ("make an unnamed file", 0, lambda t: os.open(t.folder, os.O_TMPFILE | os.O_RDWR)),
    ("make a pipe with a name", 0, lambda t: os.mkfifo(f"{t.folder}/fifo")),
    ("make a directory", 0, lambda t: os.mkdir(f"{t.folder}/new")),
    ("remove a file", 0, lambda t: os.unlink(f"{t.folder}/secret")),
    ("remove a directory", 0, lambda t: os.rmdir(f"{t.folder}/empty")),
    ("rename a file", 0, lambda t: os.rename(f"{t.folder}/secret", f"{t.folder}/x")),
    ("link a file", 0, lambda t: os.link(f"{t.folder}/secret", f"{t.folder}/x")),
    ("make a symbolic link", 0, lambda t: os.symlink("secret", f"{t.folder}/x")),
    ("change a mode", 0, lambda t: os.chmod(f"{t.folder}/secret", 0o777)),
    ("change an owner", 0, lambda t: os.chown(f"{t.folder}/secret", -1, -1)),
    ("change a time", 0, lambda t: os.utime(f"{t.folder}/secret", (1, 1))),
    ("set an attribute", 0, lambda t: os.setxattr(f"{t.folder}/secret", "user.x", b"x")),
    ("remove an attribute", 0, lambda t: os.removexattr(f"{t.folder}/secret", "user.x")),
    ("read an attribute", 0, lambda t: os.getxattr(f"{t.folder}/secret", "user.x")),
    ("list a directory", 0, lambda t: os.listdir(t.folder)),
    ("look at a file", ANY_FILE, lambda t: os.stat(f"{t.folder}/secret")),
    ("change the directory", 0, lambda t: os.chdir(t.folder)),
    # processes
    ("fork", 0, lambda t: fork()),
    ("fork as a thread does", 0, lambda t: fork_as_thread_group()),
    ("vfork", 0, lambda t: call(58) or os._exit(0)),
    ("exec", 0, lambda t: os.execv("/bin/true", ["true"])),
    ("exec a descriptor", 0, lambda t: call(322, 0, b"", None, None, 0x1000)),
    ("signal the parent", 0, lambda t: os.kill(t.parent, signal.SIGUSR1)),
    ("signal everybody", 0, lambda t: os.kill(-1, 0)),
    ("signal a thread of the parent", 0, lambda t: call(234, t.parent, t.parent, 0)),
    ("hold the parent", 0, lambda t: os.pidfd_open(t.parent)),
    ("trace the parent", 0, lambda t: call(101, 16, t.parent, 0, 0)),
    ("be traced", 0, lambda t: call(101, 0, 0, 0, 0)),
    ("read the parent's memory", 0, lambda t: call(310, t.parent, None, 0, None, 0, 0)),
    ("leave the session", 0, lambda t: os.setsid()),
    ("change the process group", 0, lambda t: os.setpgid(0, 0)),
    ("change the priority", 0, lambda t: os.nice(-1)),
    ("change the parent's limits", 0, lambda t: call(302, t.parent, 7, None, None)),
    ("raise a limit", 0, lambda t: call(160, 7, ctypes.create_string_buffer(16))),
    ("outlive the parent", 0, lambda t: call(157, 1, 0, 0, 0, 0)),
    ("be traceable again", 0, lambda t: call(157, 4, 1, 0, 0, 0)),
    ("set a timer", 0, lambda t: signal.setitimer(signal.ITIMER_PROF, 0)),
    # users and namespaces
    ("become root", 0, lambda t: os.setuid(0)),
    ("become another group", 0, lambda t: os.setgroups([0])),
    ("unshare users", 0, lambda t: call(272, 0x10000000)),
    ("unshare the network", 0, lambda t: call(272, 0x40000000)),
    ("enter a namespace", 0, lambda t: call(308, 0, 0)),
    ("mount", 0, lambda t: call(165, b"x", b"/", b"tmpfs", 0, None)),
    ("mount anew", 0, lambda t: call(430, b"tmpfs", 0)),
    ("change the root", 0, lambda t: os.chroot(t.folder)),
    ("change the personality", 0, lambda t: call(135, 0x0008)),
    # sockets
    ("a Unix socket", 0, lambda t: connect(socket.AF_UNIX, socket.SOCK_STREAM, f"{t.folder}/socket")),
    ("an abstract socket", 0, lambda t: connect(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{t.folder}")),
    ("a datagram to a Unix socket", 0, lambda t: connect(socket.AF_UNIX, socket.SOCK_DGRAM, f"{t.folder}/datagrams")),
    ("TCP", NETWORK, lambda t: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", t.tcp_port))),
    ("UDP", NETWORK, lambda t: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", t.udp_port))),
    ("listen", 0, lambda t: socket.create_server(("127.0.0.1", 0))),
    ("netlink", 0, lambda t: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    ("raw packets", 0, lambda t: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    ("the host of a virtual machine", 0, lambda t: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)),
    ("the kernel's ciphers", 0, lambda t: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)),
    ("a pair of sockets", NETWORK, lambda t: socket.socketpair()),
    # memory and kernel
    ("executable memory", CODE, lambda t: remap_executable()),
    ("memory made executable", CODE, lambda t: make_executable()),
    ("a file in memory", 0, lambda t: os.memfd_create("x")),
    ("shared memory", 0, lambda t: call(29, 0x1234, 4096, 0o1600)),
    ("a message queue", 0, lambda t: call(68, 0x1234, 0o1600)),
    ("a semaphore", 0, lambda t: call(64, 0x1234, 1, 0o1600)),
    ("a POSIX queue", 0, lambda t: call(240, b"x", os.O_CREAT | os.O_RDWR, 0o600, None)),
    ("a key", 0, lambda t: call(248, b"user", b"x", b"x", 1, -2)),
    ("the keyring", 0, lambda t: call(250, 0, -3, 1)),
    ("a ring of requests", 0, lambda t: call(425, 8, ctypes.create_string_buffer(256))),
    ("asynchronous requests", 0, lambda t: call(206, 8, ctypes.create_string_buffer(8))),
    ("a program in the kernel", 0, lambda t: call(321, 0, None, 0)),
    ("performance counters", 0, lambda t: call(298, None, 0, -1, -1, 0)),
    ("faults in user space", 0, lambda t: call(323, 0)),
    ("a watch on files", 0, lambda t: call(294, 0)),
    ("a handle of a file", 0, lambda t: call(304, -100, ctypes.create_string_buffer(64), 0)),
    ("a module", 0, lambda t: call(175, None, 0, b"")),
    ("another kernel", 0, lambda t: call(246, 0, 0, None, 0)),
    ("restart", 0, lambda t: call(169, 0, 0, 0, None)),
    ("the host's name", 0, lambda t: call(170, b"x", 1)),
    ("the clock", 0, lambda t: call(227, 0, struct.pack("qq", 1, 1))),
    ("another filter", 0, lambda t: call(317, 0, 0, None)),
    ("type for others", 0, lambda t: type_for_others()),
    ("signals by a descriptor", 0, lambda t: fcntl.fcntl(0, fcntl.F_SETOWN, t.parent)),
    ("a pipe", NETWORK, lambda t: os.pipe()),
]


def try_all(target: Target, names: Collection[str] = ()) -> dict[str, str]:
    """Make every attempt (or those with `names`); the names of those that were not refused, and what happened."""
    let_through = {}
    for name, _rights, attempt in ESCAPES:
        if names and name not in names:
            continue
        try:
            attempt(target)
        except OSError as err:
            said = errno.errorcode.get(err.errno or 0, "?")
        except Exception as err:
            said = type(err).__name__
        else:
            said = "done"
        if said not in REFUSALS:
            let_through[name] = said
    return let_through
