"""`--fix`: what is mended, that the menu stays the same, and that nothing else is ever written."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.check import fix
from pvboot.check.fix import FIXABLE, fix_text, meaning, read_plain_menu, unified_diff, write_fixed
from pvboot.devices import Devices
from pvboot.errors import UsageError
from pvboot.menu.dialects import MenuContext, dialect_of
from pvboot.menu.model import Menu

RunCli = Callable[..., "subprocess.CompletedProcess[Any]"]

MENU = "default 0\ntimeout 5\ntitle A\nroot (hd0,0)\nkernel /a x=1\ntitle B\nroot (hd0,0)\nkernel /b\n"
GRUB_CFG = 'set default="0"\nset timeout=5\nmenuentry "A" {\n linux /a x=1\n}\nmenuentry \'B\' --id b {\n linux /b\n}\n'
EXTLINUX = "DEFAULT a\nTIMEOUT 50\nLABEL a\n  LINUX /a\n  APPEND x=1\nLABEL b\n  LINUX /b\n"


def menu_of(data: bytes, path: str) -> Menu:
    return dialect_of(path).builder()(data, MenuContext(path, None, path, Devices([])))


RANGE = ("default-out-of-range",)
TABBED = EXTLINUX.replace("  ", "\t")


@pytest.mark.parametrize(
    ("path", "before", "after", "done"),
    [
        ("menu.lst", MENU, MENU, ()),
        ("menu.lst", MENU.replace("\n", "\r\n"), MENU, ("crlf-line-ends",)),
        ("menu.lst", MENU.replace("timeout 5\n", "timeout 5\r\n"), MENU, ("crlf-line-ends",)),
        ("menu.lst", MENU.replace("\n", "\r"), MENU, ("cr-only-line-ends",)),
        ("menu.lst", "\ufeff" + MENU, MENU, ("byte-order-mark",)),
        ("menu.lst", MENU + "\0" * 100, MENU, ("control-character",)),
        ("menu.lst", MENU.replace("kernel ", "kernel\t"), MENU, ("tab-separator",)),
        ("menu.lst", "#\ta\n" + MENU, "#\ta\n" + MENU, ()),
        ("menu.lst", MENU.replace("default 0", "default 7"), MENU, RANGE),
        ("menu.lst", MENU.replace("default 0", "default=0x10"), MENU.replace("default 0", "default=0"), RANGE),
        ("menu.lst", MENU.replace("default 0", "default saved"), MENU.replace("default 0", "default saved"), ()),
        ("menu.lst", "default 3\n", "default 3\n", ()),
        ("grub.cfg", GRUB_CFG.replace("\n", "\r\n"), GRUB_CFG, ("crlf-line-ends",)),
        ("grub.cfg", GRUB_CFG.replace('"0"', '"9"'), GRUB_CFG, RANGE),
        ("grub.cfg", GRUB_CFG.replace('"0"', "9"), GRUB_CFG.replace('"0"', "0"), RANGE),
        ("extlinux.conf", "\ufeff" + EXTLINUX.replace("\n", "\r\n"), EXTLINUX, ("byte-order-mark", "crlf-line-ends")),
        ("extlinux.conf", TABBED, TABBED, ()),
    ],
)
def test_what_is_mended(path: str, before: str, after: str, done: tuple[str, ...]) -> None:
    fixed = fix_text(before.encode(), path)
    assert (fixed.after, fixed.done) == (after.encode(), done)
    assert fix_text(after.encode(), path).after == after.encode()


def test_only_what_was_asked_for_is_mended() -> None:
    data = b"\xef\xbb\xbf" + MENU.replace("\n", "\r\n").encode()
    assert fix_text(data, "menu.lst", {"byte-order-mark"}).after == data[3:]


def test_a_default_whose_number_decides_about_fallbacks_is_left() -> None:
    data = MENU.replace("default 0", "default 7\nfallback 1").encode()
    fixed = fix_text(data, "menu.lst")
    assert fixed.after == data
    assert fixed.left == ("default-out-of-range",)


_MENU_LST = (
    "default 7|default\t1|timeout 5|title A|title\tB \t c|kernel /a\tx \\|kernel /b|root (hd0,0)|# a\tcomment \\|"
    "initrd\t/i|fallback 1|fallback 9 0|password  x\ty|color\ta/b||  |\\|a\rb|\udcff|hiddenmenu"
)
_SCRIPT = (
    "set default=9|set default='1'|menuentry A {|linux /a\tx|}|set timeout=3|if true; then|fi|echo 'a\tb|'|\\|# c\t|"
    "initrd /i|submenu x {|a\rb"
)
_LINES, _GRUB_LINES = st.sampled_from(_MENU_LST.split("|")), st.sampled_from(_SCRIPT.split("|"))
_ENDS = st.sampled_from(["\n", "\r\n", "\r\r\n", "\n"])


def text_of(lines: list[tuple[str, str]]) -> bytes:
    return "".join(line + end for line, end in lines).encode("utf-8", "surrogateescape")


@given(
    st.one_of(
        st.tuples(st.just("menu.lst"), st.lists(st.tuples(_LINES, _ENDS))),
        st.tuples(st.just("grub.cfg"), st.lists(st.tuples(_GRUB_LINES, _ENDS))),
    )
)
def test_mending_never_changes_what_the_menu_means(case: tuple[str, list[tuple[str, str]]]) -> None:
    path, lines = case
    data = text_of(lines)
    shown = {rule for rule, _fix, shows in fix.FIXES if shows}
    fixed = fix_text(data, path, FIXABLE - shown)
    assert meaning(menu_of(fixed.after, path)) == meaning(menu_of(data, path))
    assert fix_text(fixed.after, path).after == fix_text(data, path).after


@given(st.binary(max_size=300), st.sampled_from(["menu.lst", "grub.cfg", "extlinux.conf", "elilo.conf"]))
def test_mending_twice_changes_nothing_more(data: bytes, path: str) -> None:
    once = fix_text(data, path).after
    assert fix_text(once, path).after == once


@given(st.lists(st.tuples(_LINES, st.just("\n"))), st.integers(0, 3))
def test_a_mark_and_trailing_nuls_hide_the_menu_that_comes_out(lines: list[tuple[str, str]], nuls: int) -> None:
    data = text_of(lines)
    fixed = fix_text(b"\xef\xbb\xbf" + data + b"\0" * nuls, "menu.lst", {"byte-order-mark", "control-character"})
    assert fixed.after == data


def test_the_diff_shows_what_cannot_be_seen() -> None:
    text = unified_diff(fix_text(MENU.replace("\n", "\r\n").encode(), "menu.lst"))
    assert "--- a/menu.lst\n+++ b/menu.lst\n" in text
    assert "-default 0\\x0d\n" in text and "+default 0\n" in text


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("menu.lst", MENU.encode()),
        ("menu.lst", MENU.replace("kernel ", "kernel\t").encode()),
        ("menu.lst", MENU.replace("default 0", "default 7").rstrip("\n").encode()),
    ],
)
def test_the_diff_can_be_applied(tmp_path: Path, path: str, data: bytes) -> None:
    (tmp_path / path).write_bytes(data)
    fixed = fix_text(data, path)
    subprocess.run(["patch", "-p1", "-s"], cwd=tmp_path, input=unified_diff(fixed).encode(), check=True)
    assert (tmp_path / path).read_bytes() == fixed.after


# --- files ------------------------------------------------------------------------------------------------


def mend(path: Path, *, links: bool = False) -> None:
    data, status = read_plain_menu(str(path), links=links)
    write_fixed(fix_text(data, str(path)), status, links=links)


@pytest.fixture
def menu(tmp_path: Path) -> Path:
    path = tmp_path / "menu.lst"
    path.write_bytes(MENU.replace("\n", "\r\n").encode())
    return path


def test_mode_and_owner_are_kept(menu: Path) -> None:
    menu.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(menu, 1234, 2345)
    before = menu.stat()
    mend(menu)
    after = menu.stat()
    assert menu.read_text() == MENU
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert stat.S_IMODE(after.st_mode) == 0o640
    assert os.listdir(menu.parent) == ["menu.lst"]


def test_a_link_is_followed_only_when_asked(menu: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    link = tmp_path / "sub" / "grub.conf"
    link.symlink_to("../menu.lst")
    before = menu.read_bytes()
    with pytest.raises(UsageError, match="symbolic link"):
        mend(link)
    assert menu.read_bytes() == before
    mend(link, links=True)
    assert link.is_symlink() and menu.read_text() == MENU


def test_a_link_that_comes_into_the_files_place_is_left(menu: Path) -> None:
    data, status = read_plain_menu(str(menu))
    moved = menu.rename(menu.with_name("moved"))
    menu.symlink_to("moved")
    with pytest.raises(UsageError, match="changed"):
        write_fixed(fix_text(data, str(menu)), status)
    assert menu.is_symlink() and moved.read_bytes() == data


def test_a_file_with_other_names_is_left(menu: Path) -> None:
    os.link(menu, menu.with_name("other"))
    with pytest.raises(UsageError, match="hard links"):
        mend(menu)
    assert b"\r" in menu.read_bytes()


def test_a_file_that_changes_meanwhile_is_left(menu: Path) -> None:
    data, status = read_plain_menu(str(menu))
    menu.write_text("somebody else's")
    with pytest.raises(UsageError, match="changed"):
        write_fixed(fix_text(data, str(menu)), status)
    assert menu.read_text() == "somebody else's"
    assert os.listdir(menu.parent) == ["menu.lst"]


def test_a_failed_write_leaves_the_old_file(menu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    before = menu.read_bytes()
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        mend(menu)
    assert menu.read_bytes() == before
    assert os.listdir(menu.parent) == ["menu.lst"]


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("a.img", b"\0" * 4096, "bytes that are not text"),
        ("a.img", b"text" * 100 + b"\0\0x\0", "bytes that are not text"),
        ("a.img", b"x" * ((1 << 20) + 1), "1048577 bytes: an image"),
        ("menu.lst", b"\x1f\x8b\x08rest", "a compressed file"),
    ],
)
def test_images_are_refused(tmp_path: Path, name: str, data: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match="cannot be fixed") as caught:
        read_plain_menu(str(tmp_path / name))
    assert caught.value.found.startswith(found)


@pytest.mark.parametrize("name", ["/", "/dev/null", "s3://bucket/menu.lst"])
def test_directories_devices_and_urls_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be fixed"):
        read_plain_menu(name)


# --- the command line -------------------------------------------------------------------------------------


def test_diff_shows_and_writes_nothing(run_cli: RunCli, menu: Path) -> None:
    before = menu.read_bytes()
    done = run_cli("check", "--diff", menu)
    assert (done.returncode, done.stderr) == (1, "")
    assert "-timeout 5\\x0d\n" in done.stdout and "+timeout 5\n" in done.stdout
    assert menu.read_bytes() == before
    menu.write_text(MENU)
    assert run_cli("check", "--diff", menu).returncode == 0


def test_what_is_off_or_ignored_is_not_mended(run_cli: RunCli, menu: Path) -> None:
    before = menu.read_bytes()
    settings = menu.with_name("pvboot-check.toml")
    settings.write_text('[rules]\ncrlf-line-ends = "off"\n')
    assert run_cli("check", "--diff", menu).returncode == 0
    settings.write_text('[[override]]\nsources = ["*/menu.lst"]\nrules = { crlf-line-ends = "off" }\n')
    assert run_cli("check", "--diff", menu).returncode == 0
    settings.unlink()
    menu.write_bytes(b"# pvboot: ignore-file crlf-line-ends\n" + before)
    assert run_cli("check", "--diff", menu).returncode == 0
    assert run_cli("check", "--diff", "--no-ignore", menu).returncode == 1


def test_fix_shows_the_diff_and_then_checks_what_is_left(run_cli: RunCli, menu: Path) -> None:
    menu.write_bytes(b"bogus\r\n" + menu.read_bytes())
    done = run_cli("check", "--fix", menu)
    assert "mended crlf-line-ends" in done.stderr and "+default 0\n" in done.stderr
    assert "unknown-command" in done.stdout and "crlf-line-ends" not in done.stdout
    assert menu.read_text() == "bogus\n" + MENU
    again = run_cli("check", "--fix", menu)
    assert again.stderr == ""


def test_nothing_is_written_if_one_of_the_sources_is_an_image(run_cli: RunCli, menu: Path, tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    image.write_bytes(b"\0" * 4096)
    done = run_cli("check", "--fix", menu, image)
    assert done.returncode == 2
    assert done.stderr.startswith(f"pvboot: {image}: cannot be fixed (expected a plain menu file")
    assert b"\r" in menu.read_bytes() and image.read_bytes() == b"\0" * 4096


def test_a_link_on_the_command_line(run_cli: RunCli, menu: Path, tmp_path: Path) -> None:
    link = tmp_path / "sub.menu.lst"
    link.symlink_to(menu)
    done = run_cli("check", "--fix", link)
    assert done.returncode == 2 and "--fix-links" in done.stderr and b"\r" in menu.read_bytes()
    assert run_cli("check", "--fix", "--fix-links", link).returncode == 0
    assert link.is_symlink() and menu.read_text() == MENU
