"""A seccomp allow-list as a classic BPF program: which system calls a confined process may make.

Sources: the kernel's `Documentation/userspace-api/seccomp_filter.rst`, `linux/seccomp.h`, `linux/filter.h`,
`linux/audit.h`; call numbers from `arch/x86/entry/syscalls/syscall_64.tbl` and `asm-generic/unistd.h`.
"""

from __future__ import annotations

import struct

from pvboot.confine.jobs import CODE, FILES, NETWORK, TERMINAL

# Each name with its number on x86-64 and on aarch64, "-" where there is no such call.  What Python and the readers need
# between "everything is open" and "exit": nothing here takes a path, makes a descriptor, a process or a socket, or
# reaches another process.
_ALWAYS = """
    read 0 63             write 1 64            close 3 57            fstat 5 80            poll 7 -
    lseek 8 62            munmap 11 215         brk 12 214            rt_sigaction 13 134   rt_sigprocmask 14 135
    rt_sigreturn 15 139   pread64 17 67         pwrite64 18 68        readv 19 65           writev 20 66
    select 23 -           sched_yield 24 124    mremap 25 216         madvise 28 233        nanosleep 35 101
    getpid 39 172         sendfile 40 71        exit 60 93            ftruncate 77 46       gettimeofday 96 169
    getrusage 98 165      sigaltstack 131 132   gettid 186 178        futex 202 98          restart_syscall 219 128
    clock_gettime 228 113 exit_group 231 94     pselect6 270 72       ppoll 271 73          clock_nanosleep 230 115
    preadv 295 69         pwritev 296 70        getrandom 318 278     copy_file_range 326 285
    rseq 334 293
"""
# Calls that are allowed for some of their arguments only.
_CHECKED = """
    mmap 9 222            mprotect 10 226       ioctl 16 29           fcntl 72 25           clone 56 220
    clone3 435 435        openat 257 56         socket 41 198
"""
_THREADS = "set_robust_list 273 99 sched_getaffinity 204 123 sched_setaffinity 203 122 getcpu 309 168"
_FILES = """
    stat 4 -              lstat 6 -             access 21 -           getcwd 79 17          readlink 89 -
    getdents64 217 61     newfstatat 262 79     readlinkat 267 78     faccessat 269 48      statx 332 291
    faccessat2 439 439    fstatfs 138 44        dup 32 23
"""
_NETWORK = """
    connect 42 203        sendto 44 206         recvfrom 45 207       sendmsg 46 211        recvmsg 47 212
    shutdown 48 210       bind 49 200           getsockname 51 204    getpeername 52 205    socketpair 53 199
    setsockopt 54 208     getsockopt 55 209     uname 63 160          getppid 110 173       getuid 102 174
    getgid 104 176        geteuid 107 175       getegid 108 177       sysinfo 99 179        epoll_wait 232 -
    epoll_ctl 233 21      epoll_pwait 281 22    eventfd2 290 19       epoll_create1 291 20  pipe2 293 59
    recvmmsg 299 243      sendmmsg 307 269
"""

# machine -> AUDIT_ARCH value, column of its numbers, and the number from which calls belong to another ABI (x32)
ARCHITECTURES: dict[str, tuple[int, int, int | None]] = {
    "x86_64": (0xC000003E, 1, 0x40000000),
    "aarch64": (0xC00000B7, 2, None),
}

# TCGETS, TCSETS, TCSETSW, TCSETSF, TCFLSH, TIOCGWINSZ, FIONREAD; never TIOCSTI, which types for others
TERMINAL_REQUESTS = (0x5401, 0x5402, 0x5403, 0x5404, 0x540B, 0x5413, 0x541B)
DESCRIPTOR_REQUESTS = (0x5421, 0x5451)  # FIONBIO, FIOCLEX
GET_FLAGS = (1, 3)  # F_GETFD, F_GETFL
SET_FLAGS = (2, 4, 1030)  # F_SETFD, F_SETFL, F_DUPFD_CLOEXEC
SOCKET_FAMILIES = (2, 10)  # AF_INET, AF_INET6
PROT_EXEC = 4
CLONE_THREAD = 0x10000
OPEN_TO_WRITE = 0o103  # O_WRONLY, O_RDWR, O_CREAT
OPEN_UNNAMED = 0o20000000  # what O_TMPFILE has and O_DIRECTORY has not

_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
ALLOW, KILL_PROCESS, ERRNO_EPERM, ERRNO_ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data

_Instruction = tuple[int, int, int, int]
_DENIED: _Instruction = (_RETURN, 0, 0, ERRNO_EPERM)
_ALLOWED: _Instruction = (_RETURN, 0, 0, ALLOW)


def numbers(machine: str, rights: int = CODE | FILES | NETWORK) -> dict[str, int]:
    """The call numbers of an architecture by name, of what the rights may need."""
    words = f"{_ALWAYS} {_CHECKED}"
    words += (_THREADS if rights & (CODE | NETWORK) else "") + (_FILES if rights & (FILES | NETWORK) else "")
    rows = f"{words} {_NETWORK if rights & NETWORK else ''}".split()
    column = ARCHITECTURES[machine][1]
    return {rows[at]: int(rows[at + column]) for at in range(0, len(rows), 3) if rows[at + column] != "-"}


def program(machine: str, rights: int = 0) -> bytes | None:
    """The filter for `machine` (as `os.uname` names it); None if its call numbers are not known here.

    A call that is not allowed fails with EPERM; one of another ABI kills the process.
    """
    if machine not in ARCHITECTURES:
        return None
    audit, _column, foreign = ARCHITECTURES[machine]
    calls = numbers(machine, rights)
    code = [(_LOAD, 0, 0, _ARCH_AT), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, KILL_PROCESS), (_LOAD, 0, 0, _NUMBER_AT)]
    if foreign is not None:
        code += [(_AT_LEAST, 0, 1, foreign), (_RETURN, 0, 0, KILL_PROCESS)]
    checks = _checks(rights)
    for name in checks:
        code += _guarded(calls[name], *checks[name])
    for name, number in calls.items():
        if name not in _CHECKED.split():
            code += [(_EQUAL, 0, 1, number), _ALLOWED]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in (*code, _DENIED))


def _checks(rights: int) -> dict[str, tuple[int, list[_Instruction]]]:
    """By call: which argument is looked at, and the program that judges it."""
    not_executable = [(_ANY_BIT, 0, 1, PROT_EXEC), _DENIED, _ALLOWED]
    commands = GET_FLAGS + (SET_FLAGS if rights & (FILES | NETWORK) else ())
    requests = (TERMINAL_REQUESTS if rights & TERMINAL else ()) + (
        DESCRIPTOR_REQUESTS if rights & (FILES | NETWORK) else ()
    )
    checks = {"fcntl": (1, _one_of(commands)), "ioctl": (1, _one_of(requests))}
    checks |= {name: (2, [_ALLOWED] if rights & CODE else not_executable) for name in ("mmap", "mprotect")}
    if rights & (CODE | NETWORK):
        checks["clone"] = (0, [(_ANY_BIT, 0, 1, CLONE_THREAD), _ALLOWED, _DENIED])
        # Its flags are behind a pointer; the C library takes `clone` where there is no such call.
        checks["clone3"] = (0, [(_RETURN, 0, 0, ERRNO_ENOSYS)])
    if rights & (FILES | NETWORK):
        unnamed = [(_ANY_BIT, 0, 1, OPEN_UNNAMED), _ALLOWED] if rights & NETWORK else []
        checks["openat"] = (2, [*unnamed, (_ANY_BIT, 0, 1, OPEN_TO_WRITE), _DENIED, _ALLOWED])
    if rights & NETWORK:
        checks["socket"] = (0, _one_of(SOCKET_FAMILIES))
    return checks


def _one_of(values: tuple[int, ...]) -> list[_Instruction]:
    return [step for value in values for step in ((_EQUAL, 0, 1, value), _ALLOWED)] + [_DENIED]


def _guarded(number: int, argument: int, checks: list[_Instruction]) -> list[_Instruction]:
    """For the call `number`: let `checks` judge the low word of an argument."""
    body = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument), *checks]
    return [(_EQUAL, 0, len(body), number), *body]
