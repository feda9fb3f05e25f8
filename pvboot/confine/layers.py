"""What a confined child gives up, layer by layer, before it looks at the first byte.

Descriptors, user and group, tracing, new privileges, files and TCP (Landlock), resources (rlimits), system calls
(seccomp).  A layer that the kernel does not have is left out and reported; `docs/explanation/sandbox.md` says why it is
built so.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from collections.abc import Callable, Collection

from pvboot.confine.jobs import CODE, FILES, NETWORK, NOTHING, TERMINAL, Grants, JobLimits, SandboxError
from pvboot.confine.seccomp import program

FILE_DESCRIPTORS = 256  # that a child may open beside those it is given, if it may open any

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NAME, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 15, 22, 38
_SECCOMP_MODE_FILTER = 2
# The Landlock calls have the same numbers on every architecture.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_VERSION_FLAG, _LANDLOCK_RULE_PATH_BENEATH = 1, 1
# ABI version -> file system rights that came with it (linux/landlock.h): 13, then REFER, TRUNCATE, IOCTL_DEV.
_LANDLOCK_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_WRITE_FILE, _READ_FILE, _READ_DIRECTORY, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_LANDLOCK_NET_ABI, _BIND, _CONNECT = 4, 1, 2
_LANDLOCK_SCOPE_ABI, _LANDLOCK_SCOPES = 6, 3  # abstract sockets, signals

_LIBC = ctypes.CDLL(None, use_errno=True)
# Without this ctypes would pass ints, which cuts pointers.
_LIBC.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_LIBC.syscall.restype = ctypes.c_long

_held: list[str] = []
_missing: list[str] = []


def is_confined() -> bool:
    """Whether this process has given up its rights."""
    return bool(_held)


def missing_layers() -> tuple[str, ...]:
    """What does not hold this confined process, and why."""
    return tuple(_missing)


def die_with_parent(parent: int) -> str:
    """Let the kernel kill this process when its parent `parent` ends, however that ends; "" or why not.

    To be called again after a change of user, which resets it.
    """
    problem = _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)
    return problem


def name_process(name: str) -> None:
    """Set what `ps` shows, up to 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _prctl(_PR_SET_NAME, ctypes.addressof(buffer))


def confine(rights: int, grants: Grants, limits: JobLimits, parent: int) -> str:
    """Give up all rights but these and what is granted; the layers that hold, then those that do not and why.

    Raises `SandboxError` where half a layer would be left.
    """
    keep = grants.keep
    limits = limits._replace(memory_bytes=limits.memory_bytes + address_space_bytes())
    close_others(keep, standard=not rights & TERMINAL)
    steps: tuple[tuple[str, Callable[[], str]], ...] = (
        ("user", lambda: drop_user(grants.uid)),
        ("not traceable", lambda: _prctl(_PR_SET_DUMPABLE, 0)),
        ("dies with its parent", lambda: die_with_parent(parent)),
        ("no new privileges", lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1)),
        ("landlock", lambda: restrict_files(rights, grants)),  # opens descriptors, so before the limits
        ("limits", lambda: set_limits(limits, keep, rights)),
        ("seccomp", lambda: restrict_calls(rights)),
    )
    for name, step in steps:
        problem = step()
        (_missing if problem else _held).append(f"{name}: {problem}" if problem else name)
    if rights & CODE:
        _missing.append("no executable memory: machine code is made or loaded")
    return "\n".join((*_held, *_missing))


def close_others(keep: Collection[int], *, standard: bool) -> None:
    """Close every descriptor but `keep`; with `standard` the standard streams become /dev/null."""
    if standard:
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


def set_limits(limits: JobLimits, keep: Collection[int], rights: int = 0) -> str:
    """Resource limits; no process, no core file, no descriptor beyond the ones it has, unless its rights need some."""
    values = [
        (resource.RLIMIT_AS, limits.memory_bytes),
        # The parent ends it before: this is for a parent that is stopped.
        (resource.RLIMIT_CPU, int(limits.cpu_seconds) + 2),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_NOFILE, max(2, *keep) + 1 + (FILE_DESCRIPTORS if rights & (FILES | NETWORK) else 0)),
    ]
    if not rights & (CODE | NETWORK):  # threads count; that they are no processes is seccomp's matter
        values.append((resource.RLIMIT_NPROC, 0))
    for which, value in values:
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))
    return ""


def address_space_bytes() -> int:
    """What this process has now; 0 if nobody says."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _prctl(option: int, value: int, pointer: int = 0) -> str:
    return os.strerror(ctypes.get_errno()) if _LIBC.prctl(option, value, pointer, 0, 0) else ""


def restrict_files(rights: int = 0, grants: Grants = NOTHING) -> str:
    """Landlock: no file can be opened but those that are granted, no TCP used but with NETWORK; "" or why not."""
    abi = _LIBC.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION_FLAG)
    if abi < 1:
        return f"not in this kernel ({os.strerror(ctypes.get_errno())})"
    handled = sum(right for version, right in _LANDLOCK_RIGHTS.items() if version <= abi)
    attributes = [handled]
    if abi >= _LANDLOCK_NET_ABI:
        attributes.append(_BIND if rights & NETWORK else _BIND | _CONNECT)
    if abi >= _LANDLOCK_SCOPE_ABI:
        attributes.append(_LANDLOCK_SCOPES)
    packed = struct.pack(f"={len(attributes)}Q", *attributes)
    ruleset = _LIBC.syscall(_LANDLOCK_CREATE_RULESET, packed, ctypes.c_size_t(len(packed)), 0)
    if ruleset < 0:
        return f"no rule set ({os.strerror(ctypes.get_errno())})"
    try:
        places = [(path, _READ_FILE | _READ_DIRECTORY) for path in grants.readable]
        if grants.scratch is not None:
            places.append((grants.scratch, _READ_FILE | _WRITE_FILE | _TRUNCATE))
        for path, allowed in places:
            _allow(ruleset, path, allowed & handled)
        failed = _LIBC.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
        return f"not enforced ({os.strerror(ctypes.get_errno())})" if failed else ""
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    """One rule; a path that is not there cannot be read anyway."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        allowed &= ~0 if os.path.isdir(path) else ~_READ_DIRECTORY
        rule = struct.pack("=Qi", allowed, fd)
        _LIBC.syscall(_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)


def restrict_calls(rights: int = 0) -> str:
    """The seccomp allow-list; "" or why not."""
    machine = os.uname().machine
    code = program(machine, rights)
    if code is None:
        return f"no table of system calls for {machine}"
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a 16-bit count, padding, a pointer
    header = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(buffer)))
    return _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header))
