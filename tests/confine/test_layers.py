"""Each layer of the confinement, alone and together, and what the parent does about a child that misbehaves."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import re
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pvboot.confine import layers, parent, seccomp
from pvboot.confine.child import Channel, Work
from pvboot.confine.jobs import (
    CODE,
    FILES,
    NETWORK,
    NOBODY,
    NOTE,
    TERMINAL,
    Grants,
    Job,
    JobLimits,
    Message,
    SandboxError,
)

LIMITS = JobLimits()
JOB = Job("test", "the child", "testing", {"said": Message(1 << 20), "note": NOTE, "kernel": Message(final=True)})


def attempt(action: Callable[[], object], rights: int = 0, **options: Any) -> str:
    """What a confined child sees: "done", or the name of the error."""

    def work(channel: Channel) -> None:
        try:
            action()
        except OSError as err:
            channel.send("said", errno.errorcode[err.errno or 0])
        except MemoryError:
            channel.send("said", "MemoryError")
        else:
            channel.send("said", "done")

    said = run(work, JOB._replace(rights=rights), **options).get("said")
    assert isinstance(said, bytes)
    return said.decode()


def run(
    work: Work, job: Job = JOB, *, limits: JobLimits = LIMITS, outputs: tuple[int, ...] = (), **grants: Any
) -> parent.Report:
    return parent.run(job, work, Grants(**grants), limits, outputs=outputs)


def in_layer(layer: Callable[[], object], action: Callable[[], object]) -> str:
    """As `attempt` with one layer alone."""

    def both() -> None:
        layer()
        action()

    return attempt(both, confined=False)


def libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    library.syscall.restype = ctypes.c_long
    return library


def call(number: int, *arguments: object) -> None:
    if libc().syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "syscall")


def map_executable() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


FORBIDDEN: dict[str, Callable[[], object]] = {
    "open a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "make a file": lambda: os.open("/tmp/pvboot-sandbox-test", os.O_CREAT | os.O_WRONLY),
    "stat a file": lambda: os.stat("/etc/passwd"),
    "list a directory": lambda: os.listdir("/"),
    "reopen a descriptor": lambda: os.open("/proc/self/fd/0", os.O_RDWR),
    "remove a file": lambda: os.unlink("/tmp/pvboot-sandbox-test"),
    "internet socket": lambda: socket.socket(socket.AF_INET),
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "socket pair": socket.socketpair,
    "fork": os.fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "signal the parent": lambda: os.kill(os.getppid(), 0),
    "become root": lambda: os.setuid(0),
    "executable memory": map_executable,
    "pipe": os.pipe,
    "unshare": lambda: call(272, 0x10000000),
    "ptrace": lambda: call(101, 0, 0, 0, 0),
    "io_uring": lambda: call(425, 8, ctypes.create_string_buffer(256)),
    "raise a limit": lambda: call(160, 7, ctypes.create_string_buffer(16)),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_confined(name: str) -> None:
    assert attempt(FORBIDDEN[name]) in ("EPERM", "EACCES", "EMFILE")


def test_unconfined_child_can_do_it() -> None:
    """The tests above would say nothing if the actions failed by themselves."""
    for name in ("open a file", "list a directory", "internet socket", "socket pair", "executable memory", "pipe"):
        assert attempt(FORBIDDEN[name], confined=False) == "done", name


def test_what_is_kept_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"guest" * 100)
    disk = os.open(tmp_path / "disk", os.O_RDONLY)
    result = os.open(tmp_path / "result", os.O_RDWR | os.O_CREAT, 0o600)

    def job(channel: Channel) -> None:
        os.copy_file_range(disk, result, 100, offset_src=5)
        os.pwrite(result, os.pread(disk, 5, 0), 100)
        os.sendfile(result, disk, 0, 1)
        channel.parsing_done()
        channel.send("said", "x" * 200_000)

    report = run(job, keep=(disk, result))
    assert report.messages == [("said", b"x" * 200_000)]
    assert os.pread(result, 200, 0).startswith(b"guest" * 20)
    assert report.children == 1
    assert report.max_rss_bytes > 1 << 20
    os.close(disk)
    os.close(result)


def test_the_disk_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"guest")
    disk = os.open(tmp_path / "disk", os.O_RDONLY)
    assert attempt(lambda: os.write(disk, b"x"), keep=(disk,)) == "EBADF"
    os.close(disk)


def test_other_descriptors_are_gone(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    secret = os.open(tmp_path / "secret", os.O_RDONLY)
    assert attempt(lambda: os.read(secret, 6)) == "EBADF"
    os.close(secret)


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_can_be_typed_for_others(terminal: bool) -> None:
    """TIOCSTI on the caller's terminal; with a menu the window size may be asked for, and no more."""
    import fcntl
    import termios

    master, slave = os.openpty()

    def action() -> None:
        if terminal:
            fcntl.ioctl(slave, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(slave, 0x5412, b"x")

    assert attempt(action, keep=(slave,), rights=TERMINAL if terminal else 0) == "EPERM"
    os.close(master)
    os.close(slave)


# --- each layer alone


def test_landlock_alone() -> None:
    def layer() -> None:
        libc().prctl(38, 1, 0, 0, 0)
        assert layers.restrict_files() == ""

    assert in_layer(layer, FORBIDDEN["open a file"]) == "EACCES"
    assert in_layer(layer, FORBIDDEN["make a file"]) == "EACCES"
    assert in_layer(layer, lambda: socket.create_connection(("127.0.0.1", 9))) == "EACCES"


def test_seccomp_alone() -> None:
    def layer() -> None:
        libc().prctl(38, 1, 0, 0, 0)
        assert layers.restrict_calls() == ""

    for name in FORBIDDEN:
        assert in_layer(layer, FORBIDDEN[name]) == "EPERM", name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_user_alone() -> None:
    def layer() -> None:
        assert layers.drop_user(NOBODY) == ""

    assert in_layer(layer, lambda: os.open("/etc/shadow", os.O_RDONLY)) == "EACCES"
    assert in_layer(layer, lambda: os.setuid(0)) == "EPERM"
    assert in_layer(layer, lambda: os.setgroups([0])) == "EPERM"


def test_limits_alone() -> None:
    def layer() -> None:
        if os.geteuid() == 0:
            layers.drop_user(NOBODY)  # root forks whatever the limit says
        layers.set_limits(LIMITS._replace(memory_bytes=8 << 30), (0, 1, 2))

    def fill() -> None:
        while True:
            os.dup(2)

    assert in_layer(layer, fill) == "EMFILE"
    assert in_layer(layer, os.fork) == "EAGAIN"


def test_memory() -> None:
    assert attempt(lambda: bytearray(1 << 29)) == "MemoryError"


def test_memory_of_the_whole_job() -> None:
    def job(_channel: Channel) -> None:
        bytearray(1 << 29)

    assert "takes more than 256 MiB of memory" in str(run(job).get("error"))


def test_file_size(tmp_path: Path) -> None:
    result = os.open(tmp_path / "result", os.O_RDWR | os.O_CREAT, 0o600)
    limits = LIMITS._replace(file_bytes=1 << 20)
    assert attempt(lambda: os.pwrite(result, b"x", 1 << 20), keep=(result,), limits=limits) == "EFBIG"
    os.close(result)


def spin() -> None:
    while True:
        pass


def ignore_everything(work: Work) -> Work:
    """What a child that was taken over can do about its signals and timers."""

    def both(channel: Channel) -> None:
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        work(channel)

    return both


def close_and(action: Callable[[], object]) -> Work:
    def work(channel: Channel) -> None:
        os.close(channel.fd)
        action()

    return work


def parsed_and(action: Callable[[], object]) -> Work:
    def work(channel: Channel) -> None:
        channel.parsing_done()
        action()

    return work


def sleep() -> None:
    while True:
        time.sleep(1000)


@pytest.mark.parametrize(
    ("work", "limits", "message"),
    [
        (lambda _channel: spin(), LIMITS._replace(parse_seconds=0.2), r"more than 0\.2 s of CPU"),
        (parsed_and(spin), LIMITS._replace(cpu_seconds=0.5), r"more than 0\.5 s of CPU"),
        (lambda _channel: sleep(), LIMITS._replace(wall_seconds=0.3), r"takes more than 0\.3 s"),
        (close_and(sleep), LIMITS._replace(wall_seconds=0.3), r"takes more than 0\.3 s"),
        (close_and(sleep), LIMITS._replace(wall_seconds=None), r"takes more than 0\.4 s"),
        (close_and(spin), LIMITS._replace(parse_seconds=0.2, wall_seconds=None), r"0\.[24] s"),
        (lambda _channel: os.kill(os.getpid(), signal.SIGSTOP), LIMITS, "Operation not permitted"),
    ],
)
def test_time(work: Work, limits: JobLimits, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "END_SECONDS", 0.4)
    for variant in (work, ignore_everything(work)):
        before = time.monotonic()
        try:
            said = str(run(variant, limits=limits).get("error"))
        except SandboxError as err:
            said = str(err)
        assert re.search(message, said)
        assert time.monotonic() - before < 30


def test_a_child_that_cannot_be_killed_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that sleeps in the kernel: its signal is sent, and nothing happens."""
    monkeypatch.setattr(parent, "KILL_SECONDS", 0.2)
    kill = signal.pidfd_send_signal
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_arguments: None)
    child = parent.start(JOB, lambda _channel: sleep(), limits=LIMITS._replace(wall_seconds=0.2))
    pidfd = os.pidfd_open(child.pid)
    with pytest.raises(SandboxError, match=f"takes more than 0.2 s, and its process {child.pid} cannot be ended"):
        child.wait()
    kill(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], 30)[0]
    os.close(pidfd)
    run(lambda _channel: None)  # it is gone, and nothing is left of it
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)


def test_too_much_said() -> None:
    def work(channel: Channel) -> None:
        while True:
            channel.send("note", "x" * 1000)

    with pytest.raises(SandboxError, match="too much"):
        run(work)


def test_no_child_is_left_when_interrupted() -> None:
    read, write = os.pipe()

    def job(_channel: Channel) -> None:
        os.write(write, str(os.getpid()).encode())
        time.sleep(1000)

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(job, keep=(write,))
    finally:
        signal.signal(signal.SIGALRM, old)
    os.close(write)
    child = int(os.read(read, 20))
    os.close(read)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


# --- modules

READER = JOB._replace(on_demand=("fsdrivers.iso9660.filesystem", "pvboot.menu.elilo"))


def unload(*names: str) -> None:
    for name in list(sys.modules):
        if name.startswith(names):
            del sys.modules[name]


def test_a_missing_module_is_loaded_by_the_parent_and_results_start_empty(tmp_path: Path) -> None:
    unload("fsdrivers.iso9660.filesystem", "pvboot.menu.elilo")
    result = os.open(tmp_path / "result", os.O_RDWR | os.O_CREAT, 0o600)

    def work(channel: Channel) -> None:
        os.write(result, b"once")
        for name in READER.on_demand:
            channel.send("note", import_module(name).__name__)

    report = run(work, READER, keep=(result,), outputs=(result,))
    assert report.messages == [("note", name) for name in READER.on_demand]
    assert report.children == 3
    assert os.pread(result, 100, 0) == b"once"
    os.close(result)


@pytest.mark.parametrize("name", ["this", "pvboot.cli.main", "__main__", "os.x", "../evil", "pvboot", ""])
def test_only_modules_of_the_list_are_loaded(name: str) -> None:
    with pytest.raises(SandboxError, match="a module that is not for it"):
        run(lambda channel: channel.send("need", name), READER)
    with pytest.raises(SandboxError, match="impossible message"):
        run(lambda channel: channel.send("need", name))


def test_each_module_is_loaded_once() -> None:
    with pytest.raises(SandboxError, match="asks twice"):
        run(lambda channel: channel.send("need", "pvboot.menu.elilo"), READER)


def test_other_modules_are_not_there() -> None:
    unload("this")

    def work(channel: Channel) -> None:
        import this

        channel.send("said", this.__name__)

    assert "cannot load this" in str(run(work, READER).get("error"))


# --- what is missing is said


def test_layers_are_reported() -> None:
    report = run(lambda _channel: None)
    assert {"landlock", "seccomp", "limits", "no new privileges"} <= set(report.layers)
    assert report.missing == ([] if os.geteuid() == 0 else ["user: not root, nothing to drop"])
    assert [text.partition(":")[0] for text in run(lambda _channel: None, JOB._replace(rights=CODE)).missing] == [
        *(["user"] if os.geteuid() else []),
        "no executable memory",
    ]


def test_a_machine_without_a_table_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "ARCHITECTURES", {})
    assert run(lambda _channel: None).missing[-1].startswith("seccomp: no table of system calls for ")


RIGHTS = (0, TERMINAL, CODE, FILES, NETWORK, NETWORK | CODE)
# Call, arguments, and the rights of which one is enough (None: nobody may).
JUDGED: list[tuple[str, list[int], int | None]] = [
    ("mmap", [0, 0, 4], CODE),
    ("mprotect", [0, 0, 7], CODE),
    ("clone", [0x3D0F00], CODE | NETWORK),  # a thread of glibc
    ("clone", [0x1200011], None),  # fork
    ("fcntl", [0, 1030], FILES | NETWORK),
    ("fcntl", [0, 8], None),  # F_SETOWN sends signals
    ("ioctl", [0, 0x5401], TERMINAL),
    ("ioctl", [0, 0x5421], FILES | NETWORK),
    ("ioctl", [0, 0x5412], None),  # TIOCSTI
    ("openat", [0, 0, os.O_RDONLY], FILES | NETWORK),
    ("openat", [0, 0, os.O_RDWR | 0o20200000], NETWORK),  # O_TMPFILE
    ("openat", [0, 0, os.O_WRONLY], None),
    ("openat", [0, 0, os.O_RDONLY | os.O_CREAT], None),
    ("socket", [2], NETWORK),
    ("socket", [1], None),  # Unix
    ("socket", [16], None),  # netlink
]


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
@pytest.mark.parametrize("rights", RIGHTS)
def test_filter_on_paper(machine: str, rights: int) -> None:
    """The program interpreted here: every call number, every argument that counts, and foreign architectures."""
    code = seccomp.program(machine, rights)
    assert code is not None
    audit, _column, foreign = seccomp.ARCHITECTURES[machine]
    known, calls = seccomp.numbers(machine), seccomp.numbers(machine, rights)
    judged = {name for name, _arguments, _needed in JUDGED} | {"clone3"}
    allowed = {number for number in range(600) if interpret(code, number, audit, [0, 0, 0]) == seccomp.ALLOW}
    assert {name for name in known if known[name] in allowed} - judged == set(calls) - judged
    for name, arguments, needed in JUDGED:
        may = needed is not None and bool(rights & needed)
        expected = seccomp.ALLOW if may else seccomp.ERRNO_EPERM
        assert interpret(code, known[name], audit, [*arguments, 0, 0]) == expected, name
    assert interpret(code, known["mmap"], audit, [0, 0, 3]) == seccomp.ALLOW
    assert interpret(code, known["read"], 0x40000003, [0, 0, 0]) == seccomp.KILL_PROCESS  # i386
    if foreign is not None:
        assert interpret(code, foreign, audit, [0, 0, 0]) == seccomp.KILL_PROCESS


def test_call_numbers_are_the_kernels() -> None:
    """The headers of this machine's C library say the same."""
    import re
    import subprocess

    machine = os.uname().machine
    calls = seccomp.numbers(machine)
    source = "#include <sys/syscall.h>\n" + "".join(f"mine_{name} __NR_{name}\n" for name in calls)
    done = subprocess.run(["gcc", "-E", "-P", "-"], input=source, capture_output=True, text=True, check=True)
    found = dict(re.findall(r"mine_(\w+) (\d+)", done.stdout))
    assert {name: int(number) for name, number in found.items()} == calls


def interpret(code: bytes, number: int, audit: int, arguments: list[int]) -> int:
    """A classic BPF machine with the instructions that the filter uses."""
    data = struct.pack("=IIQ", number, audit, 0) + b"".join(struct.pack("=Q", value) for value in arguments)
    instructions = list(struct.iter_unpack("=HBBI", code))
    value = at = 0
    while True:
        operation, yes, no, constant = instructions[at]
        at += 1
        if operation == 0x06:
            return int(constant)
        if operation == 0x20:
            (value,) = struct.unpack_from("=I", data, constant)
            continue
        holds = {0x15: value == constant, 0x45: bool(value & constant), 0x35: value >= constant}[operation]
        at += yes if holds else no


def test_waiting_for_a_terminal_is_allowed() -> None:
    """The menu waits for keys by select and poll."""
    read, write = os.pipe()
    threading.Timer(0.2, lambda: os.write(write, b"x")).start()

    def wait() -> None:
        assert select.select([read], [], [], 5)[0]
        poller = select.poll()
        poller.register(read, select.POLLIN)
        assert poller.poll(1000)

    assert attempt(wait, keep=(read,), rights=TERMINAL) == "done"
    os.close(read)
    os.close(write)
