"""A child process without rights, for reading what a guest wrote.

Everything the child needs is open before it starts; then it gives up what it can: descriptors, user and group,
new privileges, files and TCP (Landlock), system calls (seccomp), resources (rlimits).  A layer that the kernel does not
have is left out and reported.  `docs/explanation/sandbox.md` says why it is built so.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib import import_module

from pvboot.errors import PvbootError
from pvboot.seccomp import program

MESSAGE_LIMIT_BYTES = 4 << 20
MODULE_RESTARTS = 24
NETWORK_DESCRIPTORS = 64
NETWORK_THREADS = 256  # of all processes of that user together
# What a child may ask to have imported: our own readers and what they import at their first use.
IMPORTABLE = frozenset(
    (
        "pvboot",
        "fsdrivers",
        "grammars",
        "pyparsing",
        "encodings",
        "hashlib",
        "crypt",
        "zlib",
        "lzma",
        "bz2",
        "unicodedata",
        "string",
        "fnmatch",
    )
)

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
# The Landlock calls have the same numbers on every architecture.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_VERSION_FLAG = 1
# ABI version -> file system rights that came with it (linux/landlock.h): 13, then REFER, TRUNCATE, IOCTL_DEV.
_LANDLOCK_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_LANDLOCK_NET_ABI, _LANDLOCK_NET_RIGHTS = 4, 3  # bind, connect
_LANDLOCK_SCOPE_ABI, _LANDLOCK_SCOPES = 6, 3  # abstract sockets, signals


_MAKES_CODE = "the embedded machine makes code and threads, which the list of system calls forbids"


class SandboxError(PvbootError):
    """The child could not be confined, or did not end well."""

    code = "sandbox"
    exit_code = 1


class ModuleWanted(BaseException):
    """The child needs a module that it can no longer load.  No `Exception`: handlers of errors must not eat it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`think_seconds` is the CPU time until `Channel.thought` is called, `cpu_seconds` that of the whole child;
    `wall_seconds` None waits for ever (somebody sits at the menu).  `makes_code`: the child makes machine code and
    threads (the embedded machine); system calls and the number of processes can then not be limited, which is
    reported as missing."""

    think_seconds: float = 1.5
    cpu_seconds: int = 60
    memory_bytes: int = 256 << 20
    file_bytes: int = 1 << 30
    wall_seconds: float | None = 120.0
    makes_code: bool = False


class Report:
    """What a child sent (`name`, value), which layers held it, and what it used."""

    __slots__ = ("children", "cpu_seconds", "layers", "max_rss_bytes", "messages", "missing")

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.layers: list[str] = []
        self.missing: list[str] = []
        self.cpu_seconds = 0.0
        self.max_rss_bytes = 0
        self.children = 0


class Channel:
    """The child's way to speak to its parent."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def send(self, name: str, value: bytes | str = b"") -> None:
        """One message."""
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        packed = memoryview(struct.pack("=II", len(name), len(data)) + name.encode() + data)
        while packed:
            packed = packed[os.write(self.fd, packed) :]

    def thought(self) -> None:
        """Everything is understood and only copying is left: stop the clock of `think_seconds`."""
        signal.setitimer(signal.ITIMER_PROF, 0)


Job = Callable[[Channel], None]


def run(
    job: Job,
    *,
    keep: Collection[int],
    outputs: Sequence[int] = (),
    limits: Limits = Limits(),
    uid: int | None = None,
    terminal: bool = False,
    confined: bool = True,
    network: bool = False,
    importable: Collection[str] = IMPORTABLE,
) -> Report:
    """Run `job` in a child that keeps the descriptors `keep` and nothing else.

    `outputs` are files that are emptied before the child starts (again: a child that lacks a module says which, the
    parent imports it and starts over; nothing is loaded by a confined child).  `uid` is what root becomes.
    `terminal` leaves the standard streams open.  `network` is for a child that fetches: it keeps the rights to connect
    and to read files, and loads modules itself.  `importable` are the packages that the child may ask for.
    Raises `SandboxError`.
    """
    report = Report()
    for _ in range(MODULE_RESTARTS):
        for fd in outputs:
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
        report.messages.clear()
        status = _run_once(job, report, keep, limits, uid, terminal, confined, network)
        wanted = [value for name, value in report.messages if name == "module"]
        if not wanted:
            break
        _import_for_child(wanted[-1].decode("utf-8", "replace"), importable)
    else:
        raise SandboxError("the reader asks for modules without end")
    _judge(status, limits)
    return report


def _import_for_child(name: str, importable: Collection[str]) -> None:
    """Only modules that readers are made of: what a child says is not to be trusted."""
    foreign = ("pvboot.cli",) if "unicorn" in importable else ("pvboot.machine", "pvboot.cli")
    if name.partition(".")[0] not in importable or name.startswith(foreign):
        raise SandboxError("the reader asks for a module that is not for it", found=repr(name[:80]))
    getattr(sys.modules.get("inspect"), "signature", None)  # a program may have put off loading it (lazy_inspect)
    try:
        import_module(name)
    except ImportError as err:
        raise SandboxError("a module cannot be loaded", where=name[:80], found=str(err)) from err


def _run_once(
    job: Job,
    report: Report,
    keep: Collection[int],
    limits: Limits,
    uid: int | None,
    terminal: bool,
    confined: bool,
    network: bool,
) -> int:
    """Fork, read the child's messages into `report`, wait.  Returns the wait status, None after a time-out."""
    receive, send = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        os.close(receive)
        _child(job, send, keep, limits, uid, terminal, confined, network)
    os.close(send)
    ended = False
    try:
        problem = _receive(receive, report, limits.wall_seconds)
        if problem:
            os.kill(child, signal.SIGKILL)
        _pid, status, usage = os.wait4(child, 0)
        ended = True
    finally:
        os.close(receive)
        if not ended:  # interrupted: no child may outlive us
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    report.cpu_seconds += usage.ru_utime + usage.ru_stime
    report.max_rss_bytes = max(report.max_rss_bytes, usage.ru_maxrss << 10)
    report.children += 1
    if problem:
        raise SandboxError(problem)
    return status


def _receive(fd: int, report: Report, wall_seconds: float | None) -> str:
    """Read until the child closes its end; why it must be stopped, or ""."""
    deadline = None if wall_seconds is None else time.monotonic() + wall_seconds
    data = bytearray()
    poll = select.poll()  # a program with many descriptors may run readers, too
    poll.register(fd, select.POLLIN)
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not poll.poll(None if left is None else left * 1000):
            return f"reading the guest's disk takes more than {wall_seconds:g} s"
        piece = os.read(fd, 1 << 16)
        if not piece:
            break
        data += piece
        if len(data) > MESSAGE_LIMIT_BYTES:
            return "the reader says too much"
    at = 0
    while at + 8 <= len(data):
        name_bytes, value_bytes = struct.unpack_from("=II", data, at)
        at += 8
        if at + name_bytes + value_bytes > len(data):
            break  # ended in the middle of a message
        name = bytes(data[at : at + name_bytes]).decode("ascii", "replace")
        value = bytes(data[at + name_bytes : at + name_bytes + value_bytes])
        at += name_bytes + value_bytes
        if name == "layer":
            _note(report.layers, value)
        elif name == "missing":
            _note(report.missing, value)
        else:
            report.messages.append((name, value))
    return ""


def _note(notes: list[str], value: bytes) -> None:
    text = value.decode("utf-8", "replace")
    if text not in notes:
        notes.append(text)


def _judge(status: int, limits: Limits) -> None:
    """`SandboxError` for a child that did not exit with 0."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number in (signal.SIGPROF, signal.SIGXCPU):
            seconds = limits.think_seconds if number == signal.SIGPROF else limits.cpu_seconds
            raise SandboxError(f"reading the guest's disk takes more than {seconds:g} s of CPU time")
        raise SandboxError(f"the reader of the guest's disk was ended by signal {number}")
    if code := os.waitstatus_to_exitcode(status):
        raise SandboxError("the reader of the guest's disk failed", found=f"exit code {code}")


# --- in the child -----------------------------------------------------------------------------------------


def _child(
    job: Job,
    send: int,
    keep: Collection[int],
    limits: Limits,
    uid: int | None,
    terminal: bool,
    confined: bool,
    network: bool,
) -> None:
    """Never returns."""
    code = 1
    channel = Channel(send)
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPROF, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        if confined:
            if not network:
                sys.meta_path.insert(0, _Gate())
            confine({*keep, send}, limits, uid, terminal, channel, network=network)
            signal.setitimer(signal.ITIMER_PROF, limits.think_seconds)
        gc.enable()
        job(channel)
        code = 0
    except ModuleWanted as err:
        channel.send("module", str(err))
        code = 0
    except MemoryError:
        channel.send("error", f"the guest's disk asks for more than {limits.memory_bytes >> 20} MiB of memory")
        code = 0
    except KeyboardInterrupt:  # Ctrl-C as a key of a raw terminal
        channel.send("error", "interrupted")
        code = 0
    except Exception as err:
        channel.send("error", f"internal error: {type(err).__name__}: {err}")
        code = 0
    finally:
        os._exit(code)


class _Gate:
    """An import finder that stands before all others: nothing can be loaded from here on."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        if name not in sys.builtin_module_names:
            raise ModuleWanted(name)


def confine(
    keep: Collection[int], limits: Limits, uid: int | None, terminal: bool, channel: Channel, *, network: bool = False
) -> None:
    """Give up every right but the descriptors `keep`, and with `network` those that fetching needs.

    Raises `SandboxError` where half a layer would be left.
    """
    _close_others(keep, terminal)
    libc = ctypes.CDLL(None, use_errno=True)
    # Without this ctypes would pass ints, which cuts pointers.
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    libc.syscall.restype = ctypes.c_long
    steps: tuple[tuple[str, Callable[[], str]], ...] = (
        ("user", lambda: drop_user(uid)),
        ("not traceable", lambda: _prctl(libc, _PR_SET_DUMPABLE, 0)),
        ("dies with its parent", lambda: _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)),
        ("no new privileges", lambda: _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)),
        ("landlock", lambda: restrict_files(libc)),  # needs one more descriptor, so before the limits
        ("limits", lambda: set_limits(limits, keep, network=network)),
        ("seccomp", lambda: _MAKES_CODE if limits.makes_code else restrict_calls(libc, terminal)),
    )
    for name, step in steps:
        if network and name in ("landlock", "seccomp"):
            continue
        problem = step()
        channel.send("missing" if problem else "layer", f"{name}: {problem}" if problem else name)


def _close_others(keep: Collection[int], terminal: bool) -> None:
    """Close every descriptor but `keep`; the standard streams become /dev/null unless they are the menu's."""
    if not terminal:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            if fd not in keep:
                os.dup2(null, fd)
    low = 3
    for fd in sorted(fd for fd in keep if fd >= low):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, _descriptor_limit())


def _descriptor_limit() -> int:
    """One above the highest descriptor that can be open."""
    try:
        return max(map(int, os.listdir("/proc/self/fd"))) + 1
    except (OSError, ValueError):
        return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20)


def drop_user(uid: int | None) -> str:
    """Root becomes `uid`, for good and with no group; "" or why it stays who it is."""
    if os.geteuid() != 0 or uid is None:
        return "not root, nothing to drop" if os.geteuid() else "stays root"
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    except OSError as err:
        raise SandboxError("cannot give up root's rights", found=f"{err.strerror} for uid {uid}") from err
    return ""


def set_limits(limits: Limits, keep: Collection[int], *, network: bool = False) -> str:
    """Resource limits; no process, no core file, no descriptor beyond the ones it has (with `network` some of each)."""
    values = (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
        *(() if limits.makes_code else ((resource.RLIMIT_NPROC, NETWORK_THREADS if network else 0),)),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_NOFILE, max(2, *keep) + 1 + (NETWORK_DESCRIPTORS if network else 0)),
    )
    for which, value in values:
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))
    return ""


def _prctl(libc: ctypes.CDLL, option: int, value: int, pointer: int = 0) -> str:
    if libc.prctl(option, value, pointer, 0, 0):
        return os.strerror(ctypes.get_errno())
    return ""


def restrict_files(libc: ctypes.CDLL) -> str:
    """Landlock without any rule: no file can be opened, no TCP port used; "" or why not."""
    abi = libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION_FLAG)
    if abi < 1:
        return f"not in this kernel ({os.strerror(ctypes.get_errno())})"
    rights = sum(right for version, right in _LANDLOCK_RIGHTS.items() if version <= abi)
    attributes = [rights]
    if abi >= _LANDLOCK_NET_ABI:
        attributes.append(_LANDLOCK_NET_RIGHTS)
    if abi >= _LANDLOCK_SCOPE_ABI:
        attributes.append(_LANDLOCK_SCOPES)
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    ruleset = libc.syscall(_LANDLOCK_CREATE_RULESET, packed, ctypes.c_size_t(len(packed)), 0)
    if ruleset < 0:
        return f"no rule set ({os.strerror(ctypes.get_errno())})"
    failed = libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    problem = f"not enforced ({os.strerror(ctypes.get_errno())})" if failed else ""
    os.close(ruleset)
    return problem


def restrict_calls(libc: ctypes.CDLL, terminal: bool) -> str:
    """The seccomp allow-list; "" or why not."""
    code = program(os.uname().machine, terminal=terminal)
    if code is None:
        return f"no table of system calls for {os.uname().machine}"
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a 16-bit count, padding, a pointer
    header = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer)))
    return _prctl(libc, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header))
