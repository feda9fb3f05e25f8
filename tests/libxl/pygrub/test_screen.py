"""The menu of pvboot-pygrub as libxl shows it: a pseudo-terminal of unknown size, TERM=vt100, a confined reader."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.screen.sessions import Session, session

CFG = """\
set timeout=300
menuentry 'One' { linux /boot/k which=one }
submenu 'More' { menuentry 'Two' { linux /boot/k which=two
initrd /boot/i } }
"""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    grub = tmp_path / "guest/boot/grub"
    grub.mkdir(parents=True)
    (grub / "grub.cfg").write_text(CFG)
    (grub.parent / "k").write_bytes(b"kernel")
    (grub.parent / "i").write_bytes(b"initrd")
    image = tmp_path / "disk.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(tmp_path / "guest"), str(image), "8M"], check=True)
    return image


@contextmanager
def _menu(disk: Path) -> Iterator[tuple[Session, Path]]:
    output = disk.parent / "out"
    output.touch()
    options = (f"--output={output}", "--output-format=simple", f"--output-directory={disk.parent}")
    with session(*options, disk, program=("pvboot.libxl.pygrub",)) as screen:
        screen.wait_for("More > Two")
        yield screen, output


def test_an_entry_is_chosen_with_the_arrows(disk: Path) -> None:
    with _menu(disk) as (screen, output):
        screen.send("\x1bOB\r")
        assert screen.end() == 0
    assert "args which=two\n" in output.read_text()


def test_an_edited_line_is_handed_over(disk: Path) -> None:
    with _menu(disk) as (screen, output):
        screen.send("\x1b[Be")
        screen.wait_for("'b' boots the lines")
        screen.send("e single\r")
        screen.wait_for("which=two single")
        screen.send("b")
        assert screen.end() == 0
    assert "args which=two single\n" in output.read_text()
    ramdisk = next(line for line in output.read_text().splitlines() if line.startswith("ramdisk "))
    assert Path(ramdisk.split(" ", 1)[1]).read_bytes() == b"initrd"


def test_the_prompt_works_without_rights(disk: Path) -> None:
    with _menu(disk) as (screen, output):
        screen.send("c")
        screen.wait_for("grub>")
        screen.send("kernel /bo\tk typed\r")
        screen.wait_for("grub> kernel /boot/k typed")
        screen.send("boot\r")
        assert screen.end() == 0
    assert "args typed\n" in output.read_text()


def test_edited_lines_that_fail_say_why_and_hand_over_nothing(disk: Path) -> None:
    with _menu(disk) as (screen, output):
        screen.send("ed")
        screen.wait_for("'b' boots the lines")
        screen.send("b")
        assert screen.end() == 1
    assert b"no kernel" in screen.transcript
    assert output.read_bytes() == b""


def test_ctrl_c_ends_it_and_hands_over_nothing(disk: Path) -> None:
    with _menu(disk) as (screen, output):
        screen.send("\x03")
        screen.wait_for("pvboot-pygrub: interrupted")
        assert screen.end() == 1
    assert output.read_text() == ""
