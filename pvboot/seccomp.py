"""A seccomp allow-list as a classic BPF program: which system calls a confined reader may make.

Sources: the kernel's `Documentation/userspace-api/seccomp_filter.rst`, `linux/seccomp.h`, `linux/filter.h`,
`linux/audit.h`; call numbers from `arch/x86/entry/syscalls/syscall_64.tbl` and `asm-generic/unistd.h`.
"""

from __future__ import annotations

import struct

# What Python and the readers need between "everything is open" and "exit".  Nothing here takes a path, makes a
# descriptor, a process or a socket, or reaches another process.
_CALLS = (
    "read",
    "pread64",
    "preadv",
    "readv",
    "write",
    "pwrite64",
    "pwritev",
    "writev",
    "lseek",
    "ftruncate",
    "fstat",
    "sendfile",
    "copy_file_range",
    "close",
    "brk",
    "munmap",
    "mremap",
    "madvise",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "setitimer",
    "restart_syscall",
    "futex",
    "sched_yield",
    "clock_gettime",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "getrandom",
    "getpid",
    "gettid",
    "getrusage",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "exit",
    "exit_group",
    "rseq",
)
# Calls that are allowed for some arguments only.
_CHECKED = ("mmap", "mprotect", "ioctl", "fcntl")

_X86_64 = {
    "read": 0,
    "write": 1,
    "close": 3,
    "fstat": 5,
    "poll": 7,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "ioctl": 16,
    "pread64": 17,
    "pwrite64": 18,
    "readv": 19,
    "writev": 20,
    "select": 23,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "nanosleep": 35,
    "setitimer": 38,
    "getpid": 39,
    "sendfile": 40,
    "exit": 60,
    "fcntl": 72,
    "ftruncate": 77,
    "gettimeofday": 96,
    "getrusage": 98,
    "sigaltstack": 131,
    "gettid": 186,
    "futex": 202,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "pselect6": 270,
    "ppoll": 271,
    "preadv": 295,
    "pwritev": 296,
    "getrandom": 318,
    "copy_file_range": 326,
    "rseq": 334,
}
_AARCH64 = {
    "fcntl": 25,
    "ioctl": 29,
    "ftruncate": 46,
    "close": 57,
    "lseek": 62,
    "read": 63,
    "write": 64,
    "readv": 65,
    "writev": 66,
    "pread64": 67,
    "pwrite64": 68,
    "preadv": 69,
    "pwritev": 70,
    "sendfile": 71,
    "pselect6": 72,
    "ppoll": 73,
    "fstat": 80,
    "exit": 93,
    "exit_group": 94,
    "futex": 98,
    "nanosleep": 101,
    "setitimer": 103,
    "clock_gettime": 113,
    "clock_nanosleep": 115,
    "sched_yield": 124,
    "restart_syscall": 128,
    "sigaltstack": 132,
    "rt_sigaction": 134,
    "rt_sigprocmask": 135,
    "rt_sigreturn": 139,
    "getrusage": 165,
    "gettimeofday": 169,
    "getpid": 172,
    "gettid": 178,
    "brk": 214,
    "munmap": 215,
    "mremap": 216,
    "mmap": 222,
    "mprotect": 226,
    "madvise": 233,
    "getrandom": 278,
    "copy_file_range": 285,
    "rseq": 293,
}


# machine -> AUDIT_ARCH value, call numbers, and the number from which calls belong to another ABI (x32)
ARCHITECTURES: dict[str, tuple[int, dict[str, int], int | None]] = {
    "x86_64": (0xC000003E, _X86_64, 0x40000000),
    "aarch64": (0xC00000B7, _AARCH64, None),
}

# TCGETS, TCSETS, TCSETSW, TCSETSF, TCFLSH, TIOCGWINSZ, FIONREAD; never TIOCSTI, which types for others
TERMINAL_REQUESTS = (0x5401, 0x5402, 0x5403, 0x5404, 0x540B, 0x5413, 0x541B)
FCNTL_COMMANDS = (1, 3)  # F_GETFD, F_GETFL
PROT_EXEC = 4

_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _KILL_PROCESS, _ERRNO_EPERM = 0x7FFF0000, 0x80000000, 0x00050001
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data

_Instruction = tuple[int, int, int, int]


def program(machine: str, *, terminal: bool) -> bytes | None:
    """The filter for `machine` (as `os.uname` names it); None if its call numbers are not known here.

    A call that is not allowed fails with EPERM; one of another ABI kills the process.  `terminal` allows what a
    screen on an open terminal needs.
    """
    if machine not in ARCHITECTURES:
        return None
    audit, calls, limit = ARCHITECTURES[machine]
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if limit is not None:
        code += [(_AT_LEAST, 0, 1, limit), (_RETURN, 0, 0, _KILL_PROCESS)]
    for name in _CALLS:
        if name in calls:
            code += [(_EQUAL, 0, 1, calls[name]), (_RETURN, 0, 0, _ALLOW)]
    for name in ("mmap", "mprotect"):
        code += _guarded(calls[name], 2, [(_ANY_BIT, 0, 1, PROT_EXEC), (_RETURN, 0, 0, _ERRNO_EPERM)], _ALLOW)
    code += _guarded(calls["fcntl"], 1, _one_of(FCNTL_COMMANDS), _ERRNO_EPERM)
    if terminal:
        code += _guarded(calls["ioctl"], 1, _one_of(TERMINAL_REQUESTS), _ERRNO_EPERM)
    code.append((_RETURN, 0, 0, _ERRNO_EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _one_of(values: tuple[int, ...]) -> list[_Instruction]:
    return [step for value in values for step in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW))]


def _guarded(number: int, argument: int, checks: list[_Instruction], otherwise: int) -> list[_Instruction]:
    """For the call `number`: run `checks` on the low word of an argument, else return `otherwise`."""
    body = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument), *checks, (_RETURN, 0, 0, otherwise)]
    return [(_EQUAL, 0, len(body), number), *body]
