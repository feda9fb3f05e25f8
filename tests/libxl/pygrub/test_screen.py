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
# The hash is that of "secret".
MENU_LST = """\
timeout 300
password PASSWORD
title One
kernel /boot/k which=one
title Two
lock
kernel /boot/k which=two
title Three
password other
kernel /boot/k which=three
"""
MD5 = "--md5 $1$saltsalt$9xy1btjgzLYfb7hivXtC//"
GUARDED_CFG = """\
set timeout=300
set superusers=root
password root secret
menuentry 'One' --unrestricted { linux /boot/k which=one }
menuentry 'Two' { linux /boot/k which=two }
"""
GUARDED_EXTLINUX = """\
TIMEOUT 3000
MENU MASTER PASSWD secret
LABEL One
KERNEL /boot/k which=one
"""
GUARDED = {
    "plain": {"grub/menu.lst": MENU_LST.replace("PASSWORD", "secret")},
    "md5": {"grub/menu.lst": MENU_LST.replace("PASSWORD", MD5)},
    "grub.cfg": {"grub/grub.cfg": GUARDED_CFG},
    "extlinux": {"extlinux.conf": GUARDED_EXTLINUX},
}


def _disk(folder: Path, menus: dict[str, str]) -> Path:
    boot = folder / "guest/boot"
    for name, content in {"k": "kernel", "i": "initrd", **menus}.items():
        (boot / name).parent.mkdir(parents=True, exist_ok=True)
        (boot / name).write_text(content)
    image = folder / "disk.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", str(folder / "guest"), str(image), "8M"], check=True)
    return image


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return _disk(tmp_path, {"grub/grub.cfg": CFG})


@contextmanager
def _menu(disk: Path, *more: str, seen: str = "More > Two") -> Iterator[tuple[Session, Path]]:
    output = disk.parent / "out"
    output.touch()
    options = (f"--output={output}", "--output-format=simple", f"--output-directory={disk.parent}", *more)
    with session(*options, disk, program=("pvboot.libxl.pygrub",)) as screen:
        if seen:
            screen.wait_for(seen)
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


@pytest.mark.parametrize("kind", GUARDED)
def test_a_password_locks_editor_and_prompt(tmp_path: Path, kind: str) -> None:
    with _menu(_disk(tmp_path, GUARDED[kind]), seen="asks for the password") as (screen, output):
        screen.send("ec")
        screen.send("pwrong\r")
        screen.wait_for("Failed!")
        screen.send("ec")
        screen.send("psecret\r")
        screen.wait_for("edits its commands")
        screen.send("e")
        screen.wait_for("'b' boots the lines")
        screen.send("b")
        assert screen.end() == 0
    assert b"grub>" not in screen.transcript
    assert "args which=one\n" in output.read_text()


@pytest.mark.parametrize("kind", ["plain", "md5", "grub.cfg"])
def test_a_locked_entry_needs_the_password(tmp_path: Path, kind: str) -> None:
    with _menu(_disk(tmp_path, GUARDED[kind]), seen="Two (locked)") as (screen, output):
        screen.send("\x1bOB\rwrong\r")
        screen.wait_for("Failed!")
        assert output.read_bytes() == b""
        screen.send("\rsecret\r")
        assert screen.end() == 0
    assert "args which=two\n" in output.read_text()


@pytest.mark.parametrize(("typed", "code"), [("secret", 1), ("other", 0)])
def test_an_entry_with_a_password_of_its_own(tmp_path: Path, typed: str, code: int) -> None:
    with _menu(_disk(tmp_path, GUARDED["plain"]), seen="Three") as (screen, output):
        screen.send("\x1bOB\x1bOB\r")
        screen.wait_for("Password:")
        screen.send(f"{typed}\r")
        assert screen.end() == code
    assert ("which=three" in output.read_text()) is (code == 0)


@pytest.mark.parametrize(("options", "which"), [(("-q",), "one"), (("--entry=1",), "two"), (("--entry=2",), "three")])
def test_the_host_boots_without_the_guests_passwords(tmp_path: Path, options: tuple[str, ...], which: str) -> None:
    """As with pygrub: nobody is asked, and who may start the domain may choose its entry."""
    with _menu(_disk(tmp_path, GUARDED["plain"]), *options, seen="") as (screen, output):
        assert screen.end() == 0
    assert f"args which={which}\n" in output.read_text()
