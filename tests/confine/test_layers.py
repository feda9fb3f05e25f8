"""Each layer of the sandbox, alone and together: what the child must not be able to do."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pvboot.sandbox import Channel, Limits, SandboxError

from pvboot import sandbox, seccomp

NOBODY = 65534
# pytest with its plug-ins is far larger than a boot loader.
ROOMY = Limits(memory_bytes=4 << 30)


def attempt(action: Callable[[], object], **options: object) -> str:
    """What a confined child sees: "done", or the name of the error."""

    def job(channel: Channel) -> None:
        try:
            action()
        except OSError as err:
            channel.send("said", errno.errorcode[err.errno or 0])
        except MemoryError:
            channel.send("said", "MemoryError")
        else:
            channel.send("said", "done")

    report = sandbox.run(job, **{"keep": (), "uid": NOBODY, "limits": ROOMY, **options})  # type: ignore[arg-type]
    return dict(report.messages)["said"].decode()


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
        channel.thought()
        channel.send("said", "x" * 200_000)

    report = sandbox.run(job, keep=(disk, result), uid=NOBODY, limits=ROOMY)
    assert len(report.messages[0][1]) == 200_000
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

    assert attempt(action, keep=(slave,), terminal=terminal) == "EPERM"
    os.close(master)
    os.close(slave)


# --- each layer alone


def test_landlock_alone() -> None:
    def layer() -> None:
        libc().prctl(38, 1, 0, 0, 0)
        assert sandbox.restrict_files(libc()) == ""

    assert in_layer(layer, FORBIDDEN["open a file"]) == "EACCES"
    assert in_layer(layer, FORBIDDEN["make a file"]) == "EACCES"
    assert in_layer(layer, lambda: socket.create_connection(("127.0.0.1", 9))) == "EACCES"


def test_seccomp_alone() -> None:
    def layer() -> None:
        libc().prctl(38, 1, 0, 0, 0)
        assert sandbox.restrict_calls(libc(), False) == ""

    for name in FORBIDDEN:
        assert in_layer(layer, FORBIDDEN[name]) == "EPERM", name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_user_alone() -> None:
    def layer() -> None:
        assert sandbox.drop_user(NOBODY) == ""

    assert in_layer(layer, lambda: os.open("/etc/shadow", os.O_RDONLY)) == "EACCES"
    assert in_layer(layer, lambda: os.setuid(0)) == "EPERM"
    assert in_layer(layer, lambda: os.setgroups([0])) == "EPERM"


def test_limits_alone() -> None:
    def layer() -> None:
        if os.geteuid() == 0:
            sandbox.drop_user(NOBODY)  # root forks whatever the limit says
        sandbox.set_limits(ROOMY, (0, 1, 2))

    def fill() -> None:
        while True:
            os.dup(2)

    assert in_layer(layer, fill) == "EMFILE"
    assert in_layer(layer, os.fork) == "EAGAIN"


def test_memory() -> None:
    assert attempt(lambda: bytearray(5 << 30)) == "MemoryError"


def test_memory_of_the_whole_job() -> None:
    def job(_channel: Channel) -> None:
        bytearray(5 << 30)

    report = sandbox.run(job, keep=(), uid=NOBODY, limits=ROOMY)
    assert b"memory" in dict(report.messages)["error"]


def test_file_size(tmp_path: Path) -> None:
    result = os.open(tmp_path / "result", os.O_RDWR | os.O_CREAT, 0o600)
    limits = Limits(memory_bytes=4 << 30, file_bytes=1 << 20)
    assert attempt(lambda: os.pwrite(result, b"x", 1 << 20), keep=(result,), limits=limits) == "EFBIG"
    os.close(result)


def spin() -> None:
    while True:
        pass


def test_thinking_time() -> None:
    with pytest.raises(SandboxError, match=r"more than 0\.2 s of CPU"):
        attempt(spin, limits=Limits(memory_bytes=4 << 30, think_seconds=0.2))


def test_cpu_time() -> None:
    def job(channel: Channel) -> None:
        channel.thought()
        spin()

    with pytest.raises(SandboxError, match=r"CPU time|signal 9"):
        sandbox.run(job, keep=(), uid=NOBODY, limits=Limits(memory_bytes=4 << 30, cpu_seconds=1))


def test_wall_time() -> None:
    with pytest.raises(SandboxError, match="takes more than"):
        attempt(lambda: time.sleep(1000), limits=Limits(memory_bytes=4 << 30, wall_seconds=0.3))


def test_too_much_said() -> None:
    def job(channel: Channel) -> None:
        while True:
            channel.send("note", bytes(100_000))

    with pytest.raises(SandboxError, match="too much"):
        sandbox.run(job, keep=(), uid=NOBODY, limits=ROOMY)


@pytest.mark.parametrize("noise", [b"\xff" * 100, struct.pack("=II", 1 << 31, 5) + b"kernel", b"\0" * 8, b"abc"])
def test_lies_on_the_channel(noise: bytes) -> None:
    """A child that was taken over can say anything; the parent reads it as nothing, or as a message."""

    def job(channel: Channel) -> None:
        os.write(channel.fd, noise)

    report = sandbox.run(job, keep=(), uid=NOBODY, limits=ROOMY)
    assert all(name != "kernel" for name, _value in report.messages)


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
            sandbox.run(job, keep=(write,), uid=NOBODY, limits=ROOMY)
    finally:
        signal.signal(signal.SIGALRM, old)
    os.close(write)
    child = int(os.read(read, 20))
    os.close(read)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


# --- modules


def test_a_missing_module_is_loaded_by_the_parent() -> None:
    sys.modules.pop("fsdrivers.iso9660.zisofs", None)

    def job(channel: Channel) -> None:
        import fsdrivers.iso9660.zisofs as module

        channel.send("said", module.__name__)

    report = sandbox.run(job, keep=(), uid=NOBODY, limits=ROOMY)
    assert report.messages == [("said", b"fsdrivers.iso9660.zisofs")]
    assert report.children >= 2  # each module that it imports costs a start


@pytest.mark.parametrize("name", ["this", "pvboot.machine.machine", "pvboot.cli.main", "os.x", "../evil", "pvboot.no"])
def test_only_readers_are_loaded(name: str) -> None:
    def job(channel: Channel) -> None:
        channel.send("module", name)

    with pytest.raises(SandboxError):
        sandbox.run(job, keep=(), uid=NOBODY, limits=ROOMY)


def test_restarts_are_bounded() -> None:
    def job(channel: Channel) -> None:
        channel.send("module", "pvboot.errors")

    with pytest.raises(SandboxError, match="without end"):
        sandbox.run(job, keep=(), uid=NOBODY, limits=ROOMY)


def test_results_start_empty_after_a_restart(tmp_path: Path) -> None:
    sys.modules.pop("fsdrivers.iso9660.zisofs", None)
    result = os.open(tmp_path / "result", os.O_RDWR | os.O_CREAT, 0o600)

    def job(_channel: Channel) -> None:
        os.write(result, b"once")
        import fsdrivers.iso9660.zisofs  # noqa: F401

    sandbox.run(job, keep=(result,), outputs=(result,), uid=NOBODY, limits=ROOMY)
    assert os.pread(result, 100, 0) == b"once"
    os.close(result)


# --- what is missing is said


def test_layers_are_reported() -> None:
    report = sandbox.run(lambda _channel: None, keep=(), uid=NOBODY, limits=ROOMY)
    assert {"landlock", "seccomp", "limits", "no new privileges"} <= set(report.layers)
    assert report.missing == ([] if os.geteuid() == 0 else ["user: not root, nothing to drop"])


def test_a_machine_without_a_table_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "ARCHITECTURES", {})
    report = sandbox.run(lambda _channel: None, keep=(), uid=NOBODY, limits=ROOMY)
    assert report.missing[-1].startswith("seccomp: no table of system calls for ")


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURES)
@pytest.mark.parametrize("terminal", [False, True])
def test_filter_on_paper(machine: str, terminal: bool) -> None:
    """The program interpreted here: every call number of both tables, and foreign architectures."""
    code = seccomp.program(machine, terminal=terminal)
    assert code is not None
    audit, calls, _limit = seccomp.ARCHITECTURES[machine]
    names = {number: name for name, number in calls.items()}
    allowed = {number for number in range(600) if interpret(code, number, audit, [0, 0, 0]) == 0x7FFF0000}
    conditional = {calls["mmap"], calls["mprotect"]}
    assert {names[number] for number in allowed} == set(names.values()) - {"ioctl", "fcntl"}
    assert conditional <= allowed
    for number in conditional:
        assert interpret(code, number, audit, [0, 0, 4]) == 0x00050001
        assert interpret(code, number, audit, [0, 0, 3]) == 0x7FFF0000
    assert interpret(code, calls["fcntl"], audit, [0, 3, 0]) == 0x7FFF0000
    assert interpret(code, calls["fcntl"], audit, [0, 8, 0]) == 0x00050001  # F_SETOWN sends signals
    assert (interpret(code, calls["ioctl"], audit, [0, 0x5401, 0]) == 0x7FFF0000) is terminal
    assert interpret(code, calls["ioctl"], audit, [0, 0x5412, 0]) == 0x00050001
    assert interpret(code, calls["read"], 0x40000003, [0, 0, 0]) == 0x80000000  # i386


def test_x32_calls_kill() -> None:
    code = seccomp.program("x86_64", terminal=False)
    assert code is not None
    assert interpret(code, 0x40000000, 0xC000003E, [0, 0, 0]) == 0x80000000


def test_call_numbers_are_the_kernels() -> None:
    """The headers of this machine's C library say the same."""
    import re
    import subprocess

    machine = os.uname().machine
    _audit, calls, _limit = seccomp.ARCHITECTURES[machine]
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

    assert attempt(wait, keep=(read,), terminal=True) == "done"
    os.close(read)
    os.close(write)
