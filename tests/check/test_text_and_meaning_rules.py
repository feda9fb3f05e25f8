"""Rules for every dialect: the text itself, and what a menu would do.

A row is (rule, file name, menu, [(line, column, end column, severity)]).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pvboot.check.engine import check_source
from pvboot.check.model import CheckOptions
from tests.check.rows import BOOTS, ENTRY, HEAD, LINUX, found
from tests.menu.trees import plant

GRUB_CFG = "set default=0\nset timeout=5\nmenuentry 'A' {\n linux /a root=/dev/xvda1\n}\n"
EXTLINUX = "DEFAULT a\nTIMEOUT 50\nPROMPT 1\nLABEL a\n KERNEL /a\n APPEND root=/dev/xvda1\n"
ELILO = "timeout=50\ndefault=a\nprompt\nimage=/a\n\tlabel=a\n\troot=/dev/xvda1\n"
TWO = LINUX + ENTRY
NO_ROOT = "kernel-without-root-arg"
A = "title A\nroot (hd0,0)\n"
TO_B = "title B\nroot (hd0)\nconfigfile /boot/grub/b.lst\n"
LONG_ARGS = " ".join(f"p{number:04}=0123456789" for number in range(80))


def cfg_entry(body: str, title: str = "'B'") -> str:
    return GRUB_CFG + f"menuentry {title} {{\n {body}\n}}\n"


ROWS = [
    # --- text
    ("byte-order-mark", "menu.lst", "\ufeff" + LINUX, [(1, 1, 2, "error")]),
    ("byte-order-mark", "menu.lst", "\ufeff# made by hand\n" + LINUX, [(1, 1, 2, "warning")]),
    ("byte-order-mark", "grub.cfg", "\ufeff" + GRUB_CFG, [(1, 1, 2, "error")]),
    ("byte-order-mark", "menu.lst", LINUX + "title \ufeffA\nhalt\n", []),
    ("encoding", "menu.lst", LINUX.encode() + b"title caf\xe9\nhalt\n", [(6, 10, 11, "warning")]),
    ("encoding", "grub.cfg", GRUB_CFG.encode() + b"# \xff\xfe\n", [(6, 3, 5, "warning")]),
    ("encoding", "menu.lst", LINUX.encode("utf-16"), [(0, 0, 0, "error")]),
    ("encoding", "menu.lst", LINUX + "title caf\u00e9 \u65e5\u672c \U0001f600\nhalt\n", []),
    ("encoding", "extlinux.conf", EXTLINUX + "MENU TITLE \u00e4\n", []),
    ("control-character", "menu.lst", LINUX.replace(" ro\n", "\0ro\n"), [(5, 32, 33, "warning")]),
    ("control-character", "menu.lst", "# \x1b[1m\n" + LINUX, [(1, 3, 4, "note")]),
    ("control-character", "grub.cfg", GRUB_CFG + "echo '\x07'\n", [(6, 7, 8, "warning")]),
    ("control-character", "menu.lst", "\t# page\n\f\n" + LINUX.replace("\n", "\r\n"), []),
    ("crlf-line-ends", "menu.lst", LINUX.replace("\n", "\r\n"), [(1, 10, 10, "warning")]),
    ("crlf-line-ends", "grub.cfg", GRUB_CFG + "\r\n", [(6, 1, 1, "warning")]),
    ("crlf-line-ends", "menu.lst", LINUX + "title a\rb\nhalt\n", []),
    ("cr-only-line-ends", "menu.lst", LINUX.replace("\n", "\r"), [(1, 1, 1, "error")]),
    ("cr-only-line-ends", "menu.lst", LINUX + "title a\rb\nhalt\n", [(6, 8, 9, "warning")]),
    ("cr-only-line-ends", "menu.lst", LINUX.replace("\n", "\r\n"), []),
    ("cr-only-line-ends", "menu.lst", LINUX.replace("\n", "\r\r\n"), []),
    ("cr-only-line-ends", "menu.lst", "# one line\r", []),
    ("smart-quotes", "menu.lst", LINUX + "title B\nroot \u201c(hd0,0)\u201d\n", [(7, 6, 7, "warning")]),
    ("smart-quotes", "grub.cfg", cfg_entry("linux /b", "\u201cB\u201d"), [(6, 11, 12, "warning")]),
    ("smart-quotes", "extlinux.conf", EXTLINUX + " INITRD \u2018/i\u2019\n", [(7, 9, 10, "warning")]),
    ("smart-quotes", "menu.lst", LINUX + "# \u201cx\u201d\ntitle \u201cB\u201d Ubuntu\u2019s\nhalt\n", []),
    ("smart-quotes", "grub.cfg", cfg_entry("echo \u201cLoading\u201d\n linux /b root=x", "'\u201cB\u201d'"), []),
    ("smart-quotes", "extlinux.conf", EXTLINUX + " MENU LABEL \u201cA\u201d\n", []),
    ("smart-quotes", "elilo.conf", ELILO + "# \u201cA\u201d\n", []),
    ("invisible-character", "menu.lst", LINUX.replace("kernel ", "kernel\u00a0"), [(5, 7, 8, "warning")]),
    ("invisible-character", "grub.cfg", cfg_entry("linux\u00a0/b"), [(7, 7, 8, "warning")]),
    ("invisible-character", "menu.lst", LINUX + "title Debian\u00a0: rescue\nhalt\n", []),
    ("invisible-character", "menu.lst", "\ufeff" + LINUX, []),  # byte-order-mark
    ("invisible-character", "grub.cfg", cfg_entry("linux /b root=x", "'B\u00a0: x'"), []),
    # --- meaning
    ("no-entries", "menu.lst", HEAD, [(0, 0, 0, "error")]),
    ("no-entries", "menu.lst", b"", [(0, 0, 0, "error")]),
    ("no-entries", "grub.cfg", "set timeout=5\n", [(0, 0, 0, "error")]),
    ("no-entries", "extlinux.conf", "TIMEOUT 50\n", [(0, 0, 0, "error")]),
    ("no-entries", "elilo.conf", "timeout=50\n", [(0, 0, 0, "error")]),
    ("no-entries", "menu.lst", HEAD + "title A\nhalt\n", []),
    ("no-entries", "grub.cfg", GRUB_CFG, []),
    ("duplicate-title", "menu.lst", LINUX + ENTRY, [(6, 1, 12, "warning")]),
    ("duplicate-title", "menu.lst", LINUX + "title LINUX\nhalt\ntitle\nhalt\ntitle\nhalt\n", []),
    ("duplicate-title", "grub.cfg", GRUB_CFG + "submenu 'More' {\n menuentry 'A' {\n  linux /a root=x\n }\n}\n", []),
    ("duplicate-id", "menu.lst", LINUX + ENTRY, []),
    ("entry-without-kernel", "menu.lst", LINUX + "title B\nroot (hd0,0)\n", [(6, 1, 8, "warning")]),
    ("entry-without-kernel", "menu.lst", HEAD + "title B\nroot (hd0,0)\n" + ENTRY, [(3, 1, 8, "error")]),
    ("entry-without-kernel", "menu.lst", HEAD + "title B\nroot\n" + ENTRY, [(3, 1, 8, "error")]),
    ("entry-without-kernel", "menu.lst", "fallback 1\n" + LINUX + "title B\npause x\n", [(7, 1, 8, "error")]),
    ("entry-without-kernel", "menu.lst", LINUX + "title --\nroot\ntitle B\nhalt\ntitle C\nconfigfile (hd0)/c\n", []),
    ("entry-without-kernel", "menu.lst", LINUX + "title N\ndhcp --with-configfile\ntitle W\nchainloader +1\n", []),
    ("entry-without-kernel", "grub.cfg", cfg_entry("fwsetup"), []),
    ("entry-without-kernel", "grub.cfg", cfg_entry("true").replace("=0", "=1"), [(6, 1, 14, "error")]),
    ("locked-default", "menu.lst", "password x\n" + LINUX + "lock\n", [(4, 1, 12, "error")]),
    ("locked-default", "menu.lst", LINUX + "password x\n", [(6, 1, 11, "error")]),
    ("locked-default", "menu.lst", "password x\nfallback 1\n" + TWO + "lock\n", [(8, 1, 12, "error")]),
    ("locked-default", "menu.lst", "password x\n" + TWO + "lock\n", []),
    ("locked-default", "menu.lst", LINUX + "lock\n", []),  # no password: the lock has no effect
    (NO_ROOT, "menu.lst", LINUX.replace("root=/dev/xvda1 ro", "ro quiet"), [(5, 8, 25, "warning")]),
    (NO_ROOT, "menu.lst", LINUX.replace("root=/dev/xvda1", "norooting xroot=1"), [(5, 8, 37, "warning")]),
    (NO_ROOT, "grub.cfg", cfg_entry("linux /b quiet"), [(6, 1, 14, "warning")]),
    (NO_ROOT, "menu.lst", HEAD + "title X\nroot (hd0,0)\nkernel /xen.gz\nmodule /v root=/dev/xvda1\n", []),
    (NO_ROOT, "menu.lst", LINUX + "title M\nroot (hd0,0)\nkernel /boot/memtest86+.bin\n", []),
    (NO_ROOT, "menu.lst", LINUX + "title N\nroot (hd0,0)\nkernel --type=netbsd /netbsd -s\n", []),
    (NO_ROOT, "menu.lst", LINUX + "title L\nroot (hd0,0)\nkernel /live/vmlinuz boot=live\n", []),
    (NO_ROOT, "menu.lst", LINUX + "title I\nroot (hd0,0)\nkernel /vmlinuz method=http://x/\n", []),
    (NO_ROOT, "extlinux.conf", EXTLINUX, []),
    ("cmdline-too-long", "menu.lst", HEAD + f"{A}kernel /k root=x {LONG_ARGS}\n", [(5, 8, 1377, "error")]),
    ("cmdline-too-long", "menu.lst", HEAD + f"{A}kernel /k {'x' * 1024}\n", [(5, 8, 1035, "error")]),
    ("cmdline-too-long", "menu.lst", HEAD + f"{A}kernel /k {'x' * 1023}\n", []),
    ("cmdline-too-long", "menu.lst", HEAD + f"{A}kernel /{'k' * 1100} root=x\n", []),
    ("cmdline-too-long", "grub.cfg", cfg_entry(f"linux /b root=x {LONG_ARGS}"), [(6, 1, 14, "error")]),
    ("surprising-timeout", "menu.lst", "default 0\n" + ENTRY, [(0, 0, 0, "warning")]),
    ("surprising-timeout", "menu.lst", "hiddenmenu\n" + ENTRY, [(0, 0, 0, "warning")]),
    ("surprising-timeout", "menu.lst", "timeout 600\n" + ENTRY, [(1, 9, 12, "warning")]),
    ("surprising-timeout", "menu.lst", "timeout 0\n" + ENTRY + ENTRY, [(1, 9, 10, "note")]),
    ("surprising-timeout", "grub.cfg", GRUB_CFG.replace("=5", "=-1"), [(0, 0, 0, "warning")]),
    ("surprising-timeout", "menu.lst", "timeout 0\n" + ENTRY, []),
    ("surprising-timeout", "menu.lst", "timeout 0\nhiddenmenu\n" + ENTRY + ENTRY, [(1, 9, 10, "note")]),
    ("surprising-timeout", "menu.lst", "timeout 0\nhiddenmenu\n" + ENTRY, []),
    ("surprising-timeout", "menu.lst", "timeout x\n" + ENTRY, []),  # timeout-not-a-number
    ("surprising-timeout", "menu.lst", "timeout 30\n" + ENTRY, []),
    ("surprising-timeout", "extlinux.conf", EXTLINUX, []),
    ("surprising-timeout", "elilo.conf", ELILO, []),
    ("default-out-of-range", "elilo.conf", ELILO.replace("default=a", "default=b"), [(2, 1, 10, "warning")]),
    ("default-out-of-range", "elilo.conf", ELILO, []),
    ("unknown-command", "elilo.conf", ELILO + "\tinitdr=/i\n", [(7, 2, 11, "warning")]),
    ("unknown-command", "elilo.conf", ELILO + "\tinitrd=/i\nother=/x\n\tfoo=1\n", []),
    ("bad-argument", "elilo.conf", ELILO.replace("=50", "=5s"), [(1, 1, 11, "error")]),
]


@pytest.mark.parametrize(("rule", "name", "menu", "wanted"), ROWS)
def test_a_rule_finds_what_it_is_for_and_nothing_else(
    tmp_path: Path, rule: str, name: str, menu: str | bytes, wanted: list[tuple[int, int, int, str]]
) -> None:
    assert found(tmp_path, menu, rule, name) == wanted


@pytest.mark.parametrize("dialect", ["grub.cfg", "extlinux.conf", "elilo.conf", "menu.lst"])
def test_a_good_menu_of_each_dialect_has_no_finding(tmp_path: Path, dialect: str) -> None:
    menu = tmp_path / dialect
    menu.write_text({"grub.cfg": GRUB_CFG, "extlinux.conf": EXTLINUX, "elilo.conf": ELILO, "menu.lst": LINUX}[dialect])
    result = check_source(str(menu), CheckOptions(depth="text"))
    assert (result.error, result.findings) == (None, ())


def test_a_menu_in_utf_16_is_not_read_as_words(tmp_path: Path) -> None:
    menu = tmp_path / "menu.lst"
    menu.write_bytes(LINUX.encode("utf-16"))
    assert {finding.rule for finding in check_source(str(menu), CheckOptions()).findings} == {"encoding", "no-entries"}


def test_a_file_with_a_menus_name_is_not_a_disk_whatever_it_holds(tmp_path: Path) -> None:
    menu = tmp_path / "menu.lst"
    menu.write_bytes(b"title \x1b[2J\x1b[1m\nhalt\n\0\n")
    rules = {finding.rule for finding in check_source(str(menu), CheckOptions()).findings}
    assert "control-character" in rules and "no-menu" not in rules


# --- sizes ------------------------------------------------------------------------------------------------


def test_a_menu_above_a_mebibyte_says_which_entries_are_lost(tmp_path: Path) -> None:
    menu = LINUX + "".join(f"title {number}\n{BOOTS}" for number in range(25_000))
    places = found(tmp_path, menu, "menu-too-large")
    line, column, _end, severity = places[0]
    assert (column, severity) == (1, "warning")
    lines = menu.split("\n")
    assert len("\n".join(lines[:line])) + 1 > 1 << 20  # this title's line is not whole
    assert len("\n".join(lines[: line - 3])) + 1 <= 1 << 20  # that of the entry before is


def test_it_is_an_error_if_the_default_is_lost(tmp_path: Path) -> None:
    menu = "timeout 5\ndefault 24999\n" + "".join(f"title {number}\n{BOOTS}" for number in range(25_000))
    assert [place[3] for place in found(tmp_path, menu, "menu-too-large")] == ["error"]


def test_a_menu_of_a_mebibyte_is_not_too_large(tmp_path: Path) -> None:
    menu = LINUX + "#" * ((1 << 20) - len(LINUX) - 1) + "\n"
    assert len(menu) == 1 << 20
    assert found(tmp_path, menu, "menu-too-large") == []


# --- what lies around a menu ------------------------------------------------------------------------------

SECOND = HEAD + f"title Back\nconfigfile /boot/grub/menu.lst\n{ENTRY}"
GUESTS = [
    ("default-saved-no-file", {"menu.lst": "timeout 5\ndefault saved\n" + ENTRY}, [(2, 9, 14, "warning")]),
    ("default-saved-no-file", {"menu.lst": "timeout 5\ndefault saved\n" + ENTRY, "default": "0\n"}, []),
    ("default-saved-no-file", {"menu.lst": "default saved\n" + LINUX}, []),  # a later line counts
    ("savedefault-no-file", {"menu.lst": LINUX + "savedefault\n"}, [(6, 1, 12, "error")]),
    ("savedefault-no-file", {"menu.lst": LINUX + "savedefault\n", "default": "0\n"}, []),
    ("savedefault-no-file", {"menu.lst": LINUX + "boot\nsavedefault\n"}, []),
    ("missing-config-file", {"menu.lst": LINUX + "title B\nconfigfile /boot/grub/b.lst\n"}, [(7, 12, 28, "error")]),
    ("missing-config-file", {"menu.lst": LINUX + "title B\nconfigfile (hd3,0)/b\n"}, [(7, 12, 21, "error")]),
    ("missing-config-file", {"menu.lst": LINUX + TO_B, "b.lst": LINUX}, []),
    ("missing-config-file", {"menu.lst": LINUX + "title B\nboot\nconfigfile /nowhere\n"}, []),
    ("missing-password-menu", {"menu.lst": "password --md5 x /boot/grub/b.lst\n" + LINUX}, [(1, 18, 34, "warning")]),
    ("missing-password-menu", {"menu.lst": "password x /boot/grub/b.lst\n" + LINUX, "b.lst": LINUX}, []),
    ("missing-password-menu", {"menu.lst": "password --md5 /nowhere\n" + LINUX}, []),
    ("configfile-loop", {"menu.lst": HEAD + "title A\nconfigfile /boot/grub/menu.lst\n"}, [(4, 12, 31, "error")]),
    (
        "configfile-loop",
        {"menu.lst": HEAD + "title A\nconfigfile /boot/grub/b.lst\n", "b.lst": SECOND},
        [(4, 12, 28, "error")],
    ),
    (
        "configfile-loop",  # the second menu boots something, "back" must be chosen
        {"menu.lst": HEAD + "title A\nconfigfile /boot/grub/b.lst\n", "b.lst": SECOND.replace("t 0", "t 1")},
        [],
    ),
    ("configfile-loop", {"menu.lst": LINUX + "title B\nconfigfile /boot/grub/menu.lst\n"}, []),
    ("menus-disagree", {"menu.lst": LINUX, "grub.cfg": GRUB_CFG}, [(3, 1, 12, "warning")]),
    ("menus-disagree", {"menu.lst": LINUX, "grub.cfg": GRUB_CFG.replace("/a", "/boot/vmlinuz")}, []),
    ("menus-disagree", {"menu.lst": LINUX, "grub.conf": LINUX + ENTRY.replace("Linux", "B")}, []),
    ("no-entries", {"menu.lst": HEAD, "grub.cfg": GRUB_CFG}, [(0, 0, 0, "warning")]),
]


@pytest.mark.parametrize(("rule", "files", "wanted"), GUESTS)
def test_a_rule_looks_at_the_guest_around_the_menu(
    tmp_path: Path, rule: str, files: dict[str, str], wanted: list[tuple[int, int, int, str]]
) -> None:
    plant(tmp_path, {"vmlinuz": b"x", "a": b"x", "boot/vmlinuz": b"x"})
    plant(tmp_path, {f"boot/grub/{name}": text for name, text in files.items()})
    result = check_source(str(tmp_path), CheckOptions(depth="files"))
    assert result.error is None
    assert [(f.line, f.column, f.end_column, f.severity) for f in result.findings if f.rule == rule] == wanted
