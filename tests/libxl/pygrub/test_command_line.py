"""The command line's contract: forms, exit codes, files left behind."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.libxl.pygrub.conftest import Loader
from tests.libxl.pygrub.guests import FILES, make_disk
from tests.libxl.pygrub.menus import GRUB_CFG, PATHS, TWO

COMMAND = [sys.executable, "-m", "pvboot.libxl.pygrub"]
BROKEN = b"title a\nkernel /none\n"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guest")
    make_disk(folder / "disk.img", "ext4", "mbr1", {PATHS[0]: TWO}, folder)
    return folder / "disk.img"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    make_disk(tmp_path / "broken.img", "ext2-1k", "whole", {PATHS[0]: BROKEN}, tmp_path)
    return tmp_path / "broken.img"


USAGE_ERRORS = {
    "no image": ["-q"],
    "unknown option": ["--frob", "IMAGE"],
    "ambiguous prefix": ["--o=x", "IMAGE"],
    "format": ["--output-format=xml", "IMAGE"],
    "directory": ["--output-directory=/no/such/place", "IMAGE"],
    "offset": ["--offset=x", "IMAGE"],
    "offset below zero": ["--offset=-1", "IMAGE"],
    "offset beyond": ["-q", "--offset=99999999999", "IMAGE"],
    "runas": ["--runas=me", "IMAGE"],
    "runas without quiet": ["--runas=65534", "IMAGE"],
    "help without image": ["--help"],
    "no such image": ["-q", "/no/such/image"],
    "image is a directory": ["-q", "/"],
    "no such output": ["-q", "--output=/no/such/file", "IMAGE"],
}


@pytest.mark.parametrize("name", USAGE_ERRORS)
def test_wrong_use(name: str, ours: Loader, image: Path, tmp_path: Path) -> None:
    arguments = [str(image) if word == "IMAGE" else word for word in USAGE_ERRORS[name]]
    said = ours.ask(f"--output-directory={tmp_path}", *arguments)
    assert said["code"] == 1
    assert "Traceback" not in str(said["stderr"])
    assert said["stderr"]
    assert not said["stdout"]
    assert not list(tmp_path.iterdir())


def test_help(ours: Loader, image: Path) -> None:
    said = ours.ask("--help", str(image))
    assert said["code"] == 0
    assert str(said["stderr"]).startswith("Usage: ")


def test_options_behind_the_image_and_twice(ours: Loader, image: Path, tmp_path: Path) -> None:
    arguments = ["--output-format=sxp", str(image), "-q", "--output-format", "simple", f"--output-dir={tmp_path}"]
    said = ours.ask(*arguments)
    assert said["code"] == 0
    assert str(said["stdout"]).startswith(f"kernel {tmp_path}/boot_kernel.")


def test_a_dash_leaves_the_output_in_force(ours: Loader, image: Path) -> None:
    boot = ours(image, "--output=-")
    assert boot.code == 0
    assert boot.stdout == ""
    assert boot.kernel == FILES["boot/vmlinuz"]


def test_files_are_private(ours: Loader, image: Path, tmp_path: Path) -> None:
    ours.ask("-q", f"--output-directory={tmp_path}", str(image))
    modes = {path.name.partition(".")[0]: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"boot_kernel": 0o600, "boot_ramdisk": 0o600}
    assert all(len(path.name.partition(".")[2]) == 8 for path in tmp_path.iterdir())


@pytest.mark.parametrize("options", [(), ("--runas=65534",), ("--no-sandbox",)], ids=["plain", "runas", "no-sandbox"])
def test_failure_leaves_nothing(ours: Loader, broken: Path, options: tuple[str, ...]) -> None:
    boot = ours(broken, *options)
    assert boot.code == 1
    assert boot.output == b""
    assert boot.left == []
    assert len(boot.stderr.splitlines()) == 1
    assert "/none" in boot.stderr


MODES = [("--runas=65534",), ("--runas=0",), ("--runas", "1000"), ("--no-sandbox",), ("-v",)]


@pytest.mark.parametrize("options", MODES)
def test_success_in_every_mode(ours: Loader, image: Path, options: tuple[str, ...]) -> None:
    boot = ours(image, *options)
    assert (boot.code, boot.kernel, boot.ramdisk) == (0, FILES["boot/vmlinuz"], FILES["boot/initrd.img"])


def test_verbose_accounts_for_the_guest(ours: Loader, image: Path) -> None:
    text = ours(image, "-v").stderr
    for words in ("ms CPU", "MiB", "bytes", "landlock", "seccomp"):
        assert words in text


def test_one_reader_is_enough_where_modules_are_compiled(image: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "pvboot.libxl.pygrub", "-qnv", str(image)]
    runs = [subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(2)]
    assert [f"started {count} time(s)" in run.stderr for count, run in zip((2, 1), runs, strict=True)] == [True, True]


def test_a_full_disk_fails(image: Path, tmp_path: Path) -> None:
    """A short copy would boot a damaged guest."""
    script = 'ulimit -f 64; exec "$@"'
    command = ["bash", "-c", script, "bash", *COMMAND, "-q", f"--output-directory={tmp_path}", str(image)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert not list(tmp_path.iterdir())


def test_delimiters_are_refused(ours: Loader, image: Path, tmp_path: Path) -> None:
    """XSA-198: a guest must not write lines of the result."""
    folder = tmp_path / "with\nline"
    folder.mkdir()
    said = ours.ask("-q", "--output-format=simple", f"--output-directory={folder}", str(image))
    assert said["code"] == 1
    assert "delimiter" in str(said["stderr"])
    assert not list(folder.iterdir())
    said = ours.ask("-q", "--output-format=simple", f"--output-directory={tmp_path}", "--args=a\nkernel /x", str(image))
    assert said["code"] == 1


def test_list(ours: Loader, image: Path) -> None:
    said = ours.ask("-l", str(image))
    assert said["code"] == 0
    assert said["stdout"] == (
        "title: First\n  root: d0p0\n  kernel: /boot/vmlinuz\n  args: root=/dev/xvda1 ro\n  initrd: /boot/initrd.img\n"
        "title: Second one\n  root: d0p0\n  kernel: /boot/vmlinuz-old\n  args: single  two   blanks\n"
        "  initrd: /boot/initrd-old\n"
    )


def test_list_of_nothing(ours: Loader, tmp_path: Path) -> None:
    (tmp_path / "zero").write_bytes(bytes(1 << 20))
    assert ours.ask("-l", str(tmp_path / "zero"))["code"] == 0


def test_list_names_entries_that_load_nothing(ours: Loader, tmp_path: Path) -> None:
    """pygrub stops at the first one."""
    make_disk(tmp_path / "d", "ext2-1k", "whole", {PATHS[0]: b"title x\nroot (hd0,0)\n" + TWO}, tmp_path)
    text = str(ours.ask("-l", str(tmp_path / "d"))["stdout"])
    assert [line for line in text.splitlines() if line.startswith("title")] == [
        "title: x",
        "title: First",
        "title: Second one",
    ]


def test_not_really_checks_the_files(ours: Loader, image: Path, broken: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    said = ours.ask("-q", "-n", f"--output-directory={folder}", "--output-format=simple", str(image))
    assert (said["code"], said["stdout"]) == (0, "kernel None\nargs root=/dev/xvda1 ro\n\n")
    assert ours.ask("-q", "-n", str(broken))["code"] == 1
    assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["grub.cfg", "anything", "menu.lst"])
def test_isconfig(ours: Loader, tmp_path: Path, name: str) -> None:
    text = TWO if name == "menu.lst" else GRUB_CFG["second by number"]
    (tmp_path / name).write_bytes(text)
    said = ours.ask("--isconfig", "-q", str(tmp_path / name))
    wanted = {"menu.lst": "  kernel: /boot/vmlinuz\n  initrd: /boot/initrd.img\n  args: root=/dev/xvda1 ro\n"}.get(
        name, "  kernel: /boot/vmlinuz-old\n  initrd: /boot/initrd-old\n  args: two\n"
    )
    assert (said["code"], said["stdout"]) == (0, wanted)


# --- on a terminal


def on_terminal(arguments: list[str], typed: bytes, seconds: float = 30) -> tuple[int, bytes, float]:
    """Run with a pty as libxl gives one; type as soon as something is shown.  Exit code, screen, seconds taken."""
    started = time.monotonic()
    child, master = pty.fork()
    if not child:
        os.chdir(REPOSITORY)
        os.environ["TERM"] = "vt100"
        os.execv(sys.executable, [*COMMAND, *arguments])
    screen, waiting = b"", typed
    try:
        while time.monotonic() - started < seconds:
            if not select.select([master], [], [], 0.2)[0]:
                continue
            try:
                piece = os.read(master, 4096)
            except OSError:
                break
            if not piece:
                break
            screen += piece
            if waiting and (b"Second one" in screen):
                os.write(master, waiting)
                waiting = b""
    finally:
        os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), screen, time.monotonic() - started


@pytest.mark.parametrize("timeout", [b"", b"timeout 0\n", b"timeout -1\n"])
def test_a_menu_without_a_time_waits_a_second(tmp_path: Path, timeout: bytes) -> None:
    make_disk(tmp_path / "d", "ext2-1k", "whole", {PATHS[0]: TWO.replace(b"timeout 5\n", timeout)}, tmp_path)
    output = tmp_path / "result"
    output.touch()
    arguments = [f"--output={output}", f"--output-directory={tmp_path}", "--output-format=simple", str(tmp_path / "d")]
    code, screen, seconds = on_terminal(arguments, b"")
    assert code == 0, screen
    assert b"Second one" in screen
    assert seconds >= 1
    assert b"ro\n" in output.read_bytes()


def test_hang_up_ends_it(image: Path, tmp_path: Path) -> None:
    """libxl goes away: no guest, no reader left, no files."""
    child, master = pty.fork()
    if not child:
        os.chdir(REPOSITORY)
        os.execv(sys.executable, [*COMMAND, f"--output-directory={tmp_path}", str(image)])
    screen = b""
    while b"Second one" not in screen:
        screen += os.read(master, 4096)
    os.close(master)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 1)
    if code:
        assert not list(tmp_path.iterdir())
