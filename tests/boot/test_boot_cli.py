"""`pvboot boot` as a user runs it: real guests, ways to end, failures that explain themselves."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pvboot.cli.boot import parse_memory
from pvboot.errors import UsageError
from tests import REPOSITORY

KERNELS = REPOSITORY / "fixtures" / "kernels"

Parts = Callable[[str], Path]
Images = Callable[[str], Path]
RunCli = Callable[..., "subprocess.CompletedProcess[str]"]
MakeGuest = Callable[..., Path]


@pytest.fixture
def guest(tmp_path: Path) -> MakeGuest:
    """`guest(menu, name=file)`: a directory that stands for a guest's disk."""

    def make(menu: str, **files: Path | bytes) -> Path:
        boot = tmp_path / "guest" / "boot"
        (boot / "grub").mkdir(parents=True, exist_ok=True)
        (boot / "grub" / "menu.lst").write_text(menu)
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.read_bytes()
            (boot / name).write_bytes(data)
        return tmp_path / "guest"

    return make


CONSOLE = "console=hvc0 earlyprintk=xen"


@pytest.fixture
def debian(parts: Parts, guest: MakeGuest) -> Callable[..., Path]:
    """`debian(arguments, kernel=, initrd=)`: Debian's kernel as the only entry."""

    def make(arguments: str = "", *, kernel: str = "vmlinuz-6.1", initrd: bool = False) -> Path:
        menu = f"title linux\nkernel /boot/vmlinuz {arguments}\n{'initrd /boot/initrd' if initrd else ''}\n"
        files = {"initrd": parts("initrd-busybox.cpio.gz")} if initrd else {}
        return guest(menu, vmlinuz=parts(kernel), **files)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("way", [(), ("--shuffle", "11"), ("--direct",), ("--direct", "--shuffle", "3")])
def test_debians_kernel_reaches_user_space_and_powers_off(
    run_cli: RunCli, debian: MakeGuest, way: tuple[str, ...]
) -> None:
    done = run_cli("boot", debian(f"{CONSOLE} token=x1", initrd=True), "--append", "token=x2", "--json", *way)
    assert done.returncode == 0, done.stderr
    for text in ("Linux version 6.1.", f"command line: {CONSOLE} token=x1 token=x2", "hello from user space"):
        assert text in done.stderr
    outcome = json.loads(done.stdout)["outcome"]
    assert outcome["reason"] == "poweroff" and not outcome["counters"].get("type conflicts")


@pytest.mark.slow
def test_the_cloud_kernel_reaches_user_space(run_cli: RunCli, debian: MakeGuest) -> None:
    done = run_cli("boot", debian("console=hvc0", kernel="vmlinuz-6.1-cloud", initrd=True), "--memory", "256")
    assert done.returncode == 0, done.stderr
    assert "hello from user space" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("image", ["grub-x86_64-xen.bin", "grub-i386-xen.bin"])
def test_grub_reaches_its_prompt_and_understands_halt(parts: Parts, guest: MakeGuest, image: str) -> None:
    disk = guest("title grub\nkernel /boot/image\n", image=parts(image))
    command = [sys.executable, "-m", "pvboot", "boot", str(disk), "--limit", "60"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        shown = read_until(process.stdout.fileno(), b"grub> ")
        assert b"GNU GRUB" in shown
        process.stdin.write(b"halt\r")
        process.stdin.flush()
        errors = process.stderr.read().decode()
    assert process.returncode == 0, errors
    assert "guest ended: poweroff" in errors


def read_until(fd: int, text: bytes) -> bytes:
    """Everything that a descriptor gives until `text` appears; the test's own timeout bounds it."""
    shown = b""
    while text not in shown:
        data = os.read(fd, 65536)
        assert data, shown
        shown += data
    return shown


def test_until_ends_as_soon_as_the_text_appears(images: Images, run_cli: RunCli) -> None:
    done = run_cli("boot", images("ext2.img"), "--no-menu", "--until", "magic xen-3.0")
    assert done.returncode == 0
    assert "magic xen-3.0" in done.stdout
    assert "all checks passed" not in done.stdout


@pytest.mark.slow
def test_the_cpu_limit_ends_a_guest_and_its_state_is_shown(run_cli: RunCli, debian: MakeGuest) -> None:
    shown = run_cli("boot", debian(CONSOLE), "--json", "--until", "Memory: ")
    seconds = json.loads(shown.stdout)["outcome"]["cpu_seconds"]  # until the kernel has something in its log
    done = run_cli("boot", debian(), "--limit", str(seconds))
    assert done.returncode == 1
    for part in ("cpu-limit", "registers", "last hypercalls"):
        assert part in done.stderr
    log = done.stderr.partition("the kernel's own log")[2].splitlines()[1:]
    assert len([line for line in log if "|" in line]) > 10, "the kernel's own log must be found in its memory"
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_kernel_that_panics_is_a_failure(run_cli: RunCli, debian: MakeGuest) -> None:
    done = run_cli("boot", debian(f"{CONSOLE} panic=1"), "--limit", "60")
    assert (done.returncode, "guest ended: crash" in done.stderr) == (1, True)
    assert "Unable to mount root fs" in done.stdout


def test_json_is_one_document_and_the_console_goes_elsewhere(images: Images, run_cli: RunCli) -> None:
    done = run_cli("boot", images("mbr.img"), "--entry", "Tiny 32-bit kernel with a module", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["outcome"]["reason"] == "poweroff"
    assert document["kernel"] == "(hd0,0)/boot/tiny32.elf"
    assert document["modules"] == ["(hd0,0)/boot/module.txt"]
    assert "pvboot-tiny32: all checks passed" in document["console_tail"]
    assert "pvboot-tiny32: all checks passed" in done.stderr


def test_the_plan_as_an_end_of_its_own(images: Images, run_cli: RunCli) -> None:
    done = run_cli("boot", images("ext2.img"), "--handoff", "plan", "--json")
    assert done.returncode == 0
    plan = json.loads(done.stdout)["plan"]
    assert plan["operations"][-1]["op"] == "enter_trampoline"
    assert plan["displaced"] > 0


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [(b"", "empty"), (b"title Debian\n" * 100, "no kernel format that is known"), (b"\x7fELF" + bytes(200), "ELF")],
)
def test_a_bad_kernel_says_why(run_cli: RunCli, guest: MakeGuest, kernel: bytes, reason: str) -> None:
    done = run_cli("boot", guest("title bad\nkernel /boot/bad\n", bad=kernel), "--no-menu")
    assert done.returncode in (1, 3)
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fallback_boots_when_the_default_fails(run_cli: RunCli, guest: MakeGuest) -> None:
    menu = "default 0\nfallback 1\ntitle bad\nkernel /boot/none\ntitle good\nkernel /boot/tiny\n"
    done = run_cli("boot", guest(menu, tiny=KERNELS / "tiny64.elf"), "--no-menu")
    assert done.returncode == 0, done.stderr
    assert "all checks passed" in done.stdout
    assert "Error 15: File not found" in done.stderr


def test_modules_arrive_as_one_package(run_cli: RunCli, guest: MakeGuest) -> None:
    menu = "title modules\nkernel /boot/tiny\nmodule /boot/a first\nmodulenounzip /boot/b second\n"
    disk = guest(menu, tiny=KERNELS / "tiny64.elf", a=b"A" * 5000, b=b"B" * 10)
    done = run_cli("plan", disk, "--json")
    assert done.returncode == 0, done.stderr
    start_info = json.loads(done.stdout)["start_info"]
    assert start_info["flags"] == "0x4"
    assert int(start_info["mod_len"], 16) == 4096 * 6


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--no-menu", "--memory", "3"), "not enough memory"),
        (("--no-menu", "--until", "no such text"), "never showed 'no such text'"),
        (("--entry", "no such title"), "no entry 'no such title'"),
    ],
)
def test_a_boot_that_fails_says_why(images: Images, run_cli: RunCli, arguments: tuple[str, ...], reason: str) -> None:
    done = run_cli("boot", images("ext2.img"), *arguments)
    assert (done.returncode, reason in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("text", "mib"),
    [("512", 512), ("64M", 64), ("2G", 2048), ("65536K", 64), ("0", None), ("x", None), ("9" * 30, None)],
)
def test_memory_sizes(text: str, mib: int | None) -> None:
    if mib is None:
        with pytest.raises(UsageError):
            parse_memory(text)
    else:
        assert parse_memory(text) == mib


@pytest.mark.parametrize(("keys", "then"), [(b"good day\r", b"all checks passed"), (b"\x1d", b"guest ended: stopped")])
def test_a_terminal_is_the_guests_console_and_ctrl_bracket_leaves(guest: MakeGuest, keys: bytes, then: bytes) -> None:
    disk = guest("timeout 30\ntitle one\nkernel /boot/tiny echo\n", tiny=KERNELS / "tiny64.elf")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pvboot", "boot", str(disk)],
        cwd=REPOSITORY,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        read_until(master, b"one")
        os.write(master, b"\n")
        read_until(master, b"type a line")
        os.write(master, keys)
        shown = read_until(master, then)
        assert (b"good day" in shown) == (b"good day" in keys)
        assert process.wait() == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_a_kernel_that_does_not_fit_into_the_memory_has_failed_too(
    parts: Parts, run_cli: RunCli, guest: MakeGuest
) -> None:
    menu = "default 0\nfallback 1\ntitle large\nkernel /boot/large\ntitle small\nkernel /boot/tiny\n"
    disk = guest(menu, tiny=KERNELS / "tiny64.elf", large=parts("vmlinux-6.1.elf"))
    done = run_cli("boot", disk, "--no-menu", "--memory", "32")
    assert done.returncode == 0, done.stderr
    assert "too small for the kernel" in done.stderr
    assert "all checks passed" in done.stdout
