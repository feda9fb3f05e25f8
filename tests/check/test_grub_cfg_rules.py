"""Rules about grub.cfg, extlinux and entries in loader/entries: what triggers each, and what nearly does."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pvboot.menu.grub_env import SIGNATURE
from tests.check.guests import TINY64, Tree, check, grub_cfg, of, plant, rules_of

LINUX = "linux /boot/k root=/dev/xvda1"
HEAD = "set default=0\nset timeout=5\n"
BLOCK = SIGNATURE + b"saved_entry=one\n"
GRUBENV = BLOCK + b"#" * (1024 - len(BLOCK))


def about(tmp_path: Path, rule: str, text: str, **more: str | bytes | None) -> list[tuple[int, int]]:
    """Lines and columns of what a rule finds in a grub.cfg with a guest around it."""
    tree: Tree = {"boot/grub/grub.cfg": text, "boot/k": TINY64, **{f"boot/grub/{name}": more[name] for name in more}}
    return [(finding.line, finding.column) for finding in of(check(plant(tmp_path, tree)), rule)]


# (text, where the error is, None if there is none)
SYNTAX: list[tuple[str, tuple[int, int] | None]] = [
    (grub_cfg(LINUX), None),
    ("menuentry 'a' {\n linux /k\n", (2, 10)),  # the end of the file
    ("menuentry 'a' {\n linux /k\n}}\n", (3, 2)),
    ("menuentry 'a' { linux /k }\n", None),
    ("menuentry 'a' {linux /k}\n", None),
    ("if true; then\n set a=1\n", (2, 9)),
    ("if true; then\n set a=1\nfi\n", None),
    ("if true then\n set a=1\nfi\n", (3, 1)),
    ("fi\n", (1, 1)),
    ("set a='1\n", (1, 7)),
    ('set a="1\nset b=2"\n', None),
    ("for x in 1 2; do set a=$x; done\n", None),
    ("for x in 1 2 do set a=$x; done\n", (1, 27)),
    ("function f { set a=1 }\n", (1, 22)),
    ("function f { set a=1; }\nf\n", None),
    ("set a=1 && set b=2\n", (1, 9)),
    ("while false; do true; done\n", None),
    ("menuentry 'a' { }\n", (1, 17)),
    (";\n", (1, 1)),
]


@pytest.mark.parametrize(("text", "place"), SYNTAX)
def test_a_syntax_error_is_where_it_is(tmp_path: Path, text: str, place: tuple[int, int] | None) -> None:
    found = about(tmp_path, "syntax-error", text)
    assert bool(found) is (place is not None)
    if place is not None:
        assert found[0] == place


@pytest.mark.parametrize(("text", "place"), SYNTAX)
def test_the_verdict_is_that_of_grub_script_check(
    tmp_path: Path, text: str, place: tuple[int, int] | None, parts: Callable[[str], Path]
) -> None:
    path = tmp_path / "grub.cfg"
    path.write_text(text)
    checker = parts("grub-emu") / "root/usr/bin/grub-script-check"
    done = subprocess.run([checker, path], capture_output=True)
    assert (done.returncode == 0) is (place is None)


def test_every_syntax_error_counts_not_the_first_alone(tmp_path: Path) -> None:
    text = f"fi\n{grub_cfg(LINUX)}menuentry 'b' {{ }}\n"
    assert [line for line, _column in about(tmp_path, "syntax-error", text)] == [1, 7]


def test_a_limit_of_ours_is_not_an_error_of_the_menu(tmp_path: Path) -> None:
    text = "".join(f"menuentry 'Linux {n}' {{\n linux /boot/k a b c d e f g h\n}}\n" for n in range(5000))
    findings = check(plant(tmp_path, {"boot/grub/grub.cfg": text, "boot/k": TINY64}), depth="text")
    found = of(findings, "syntax-error")
    assert found and {finding.severity for finding in found} == {"note"}


@pytest.mark.parametrize(
    ("rule", "text", "places"),
    [
        ("unknown-command", grub_cfg("linuxx /boot/k"), [(4, 2)]),
        ("unknown-command", grub_cfg("gfxmode keep", LINUX), [(4, 2)]),
        ("unknown-command", grub_cfg("gfxmode keep", LINUX, head=HEAD + "function gfxmode {\n true;\n}"), []),
        ("unknown-command", grub_cfg("insmod gzio", "x=1", "echo 'hello'", LINUX), []),
        ("unknown-command", "frobnicate\n" + grub_cfg(LINUX), [(1, 1)]),
        ("bad-argument", grub_cfg("linux"), [(4, 2)]),
        ("bad-argument", grub_cfg("search --no-floppy", LINUX), [(4, 2)]),
        ("bad-argument", grub_cfg(LINUX, "initrd /boot/k"), []),
        ("command-not-allowed-here", grub_cfg(LINUX, "menuentry 'x' {", "true", "}"), [(5, 2)]),
        ("command-not-allowed-here", f"submenu 'm' {{\n{grub_cfg(LINUX)}}}\n", []),
        ("unsupported-in-pv-guest", grub_cfg("chainloader +1"), [(4, 2)]),
        ("unsupported-in-pv-guest", grub_cfg("multiboot /boot/xen.gz", "module /boot/k"), [(3, 1)]),
        ("unsupported-in-pv-guest", grub_cfg(LINUX), []),
        ("unset-variable", grub_cfg("linux /boot/k$nothing root=/dev/xvda1"), [(4, 8)]),
        ("unset-variable", grub_cfg("set k=k", "linux /boot/$k root=/dev/xvda1"), []),
        ("unset-variable", grub_cfg("linux $nothing /boot/k root=/dev/xvda1"), []),  # no part of a name
        ("unset-variable", grub_cfg("linux /boot/k root=/dev/xvda1 $vt_handoff"), []),  # Ubuntu's
        ("script-does-not-end", "while true; do true; done\n" + grub_cfg(LINUX), [(0, 0)]),
        ("script-does-not-end", "for a in 1 2 3; do true; done\n" + grub_cfg(LINUX), []),
        ("configfile-loop", "source /boot/grub/grub.cfg\n" + grub_cfg(LINUX), [(1, 1)]),
        ("configfile-loop", grub_cfg("configfile /boot/grub/grub.cfg"), []),  # back to the menu, as many have it
        ("missing-config-file", "source /boot/grub/custom.cfg\n" + grub_cfg(LINUX), [(1, 1)]),
        (
            "missing-config-file",
            "if [ -f /boot/grub/custom.cfg ]; then\n source /boot/grub/custom.cfg\nfi\n" + grub_cfg(LINUX),
            [],
        ),
        ("default-out-of-range", grub_cfg(LINUX, head="set default=7\nset timeout=5"), [(0, 0)]),
        ("default-out-of-range", grub_cfg(LINUX, head="set default=one\nset timeout=5"), []),
        ("fallback-out-of-range", grub_cfg(LINUX, head=HEAD + "set fallback=3"), [(0, 0)]),
        ("fallback-out-of-range", grub_cfg(LINUX, head=HEAD + "set fallback=0"), []),
        ("no-bls-entries", HEAD + "blscfg\n", [(3, 1)]),
        ("no-bls-entries", grub_cfg(LINUX), []),
    ],
)
def test_a_rule_about_grub_cfg(tmp_path: Path, rule: str, text: str, places: list[tuple[int, int]]) -> None:
    assert about(tmp_path, rule, text) == places


def test_a_misspelt_command_gets_the_right_one_offered(tmp_path: Path) -> None:
    tree = plant(tmp_path, {"boot/grub/grub.cfg": grub_cfg("initrdd /boot/k", LINUX), "boot/k": TINY64})
    (finding,) = of(check(tree), "unknown-command")
    assert "did you mean 'initrd'?" in finding.message
    assert (finding.entry, finding.end_column) == (0, 17)


def test_of_many_unknown_words_only_the_first_get_a_hint(tmp_path: Path) -> None:
    text = "".join(f"insmodd{n}\n" for n in range(60)) + grub_cfg(LINUX)
    tree = plant(tmp_path, {"boot/grub/grub.cfg": text, "boot/k": TINY64})
    found = of(check(tree, per_rule=100), "unknown-command")
    assert ["'insmod'" in finding.message for finding in found] == [True] * 50 + [False] * 10


def test_what_the_default_entry_says_is_its_own(tmp_path: Path) -> None:
    text = grub_cfg(LINUX) + grub_cfg("frobnicate", LINUX, head="").replace("one", "two")
    tree: Tree = {"boot/grub/grub.cfg": text.replace("default=0", "default=1"), "boot/k": TINY64}
    assert [finding.entry for finding in of(check(plant(tmp_path, tree)), "unknown-command")] == [1]


@pytest.mark.parametrize(
    ("grubenv", "expected"),
    [
        (GRUBENV, {}),
        (b"saved_entry=0\n", {"bad-grubenv": "error"}),
        (b"", {"bad-grubenv": "error"}),
        (GRUBENV + b"\n", {"bad-grubenv": "warning"}),
        (None, {"default-saved-no-file": "warning"}),
    ],
)
def test_the_environment_block(tmp_path: Path, grubenv: bytes | None, expected: dict[str, str]) -> None:
    text = grub_cfg(LINUX, head='load_env\nset default="${saved_entry}"\nset timeout=5')
    tree: Tree = {"boot/grub/grub.cfg": text, "boot/k": TINY64}
    if grubenv is not None:
        tree = {**tree, "boot/grub/grubenv": grubenv}
    found = check(plant(tmp_path, tree))
    names = {"bad-grubenv", "default-saved-no-file"}
    assert {finding.rule: finding.severity for finding in found if finding.rule in names} == expected


def test_a_plain_default_needs_no_environment_block(tmp_path: Path) -> None:
    assert about(tmp_path, "default-saved-no-file", grub_cfg(LINUX)) == []


def test_a_saved_default_that_is_asked_for_first_needs_no_environment_block(tmp_path: Path) -> None:
    head = """if [ "${saved_entry}" ]; then
  set default="${saved_entry}"
else
  set default=0
fi
set timeout=5"""
    assert about(tmp_path, "default-saved-no-file", grub_cfg(LINUX, head=head)) == []


def test_commands_for_other_systems_are_known(tmp_path: Path) -> None:
    text = grub_cfg(LINUX) + "menuentry 'memtest' {\n\tknetbsd /boot/memtest86+.elf\n}\n"
    tree: Tree = {"boot/grub/grub.cfg": text, "boot/k": TINY64}
    found = of(check(plant(tmp_path, tree)), "unknown-command")
    assert [(finding.line, finding.severity) for finding in found] == [(7, "note")]


# --- extlinux ---------------------------------------------------------------------------------------------

ENTRY = "LABEL a\n  LINUX /boot/k\n  APPEND root=/dev/xvda1\n"
START = "DEFAULT a\nTIMEOUT 50\n"


@pytest.mark.parametrize(
    ("rule", "text", "places"),
    [
        ("unknown-command", START + "TIMOUT 20\n" + ENTRY, [(3, 1)]),
        ("unknown-command", START + "SAY hello\nF1 help.txt\n" + ENTRY, []),
        ("bad-argument", "DEFAULT a\nTIMEOUT soon\n" + ENTRY, [(2, 1)]),
        ("bad-argument", START + ENTRY, []),
        ("timeout-in-tenths", START.replace("50", "5") + ENTRY, [(2, 1)]),
        ("timeout-in-tenths", START.replace("50", "0") + ENTRY, []),
        ("timeout-in-tenths", START.replace("50", "10") + ENTRY, []),
        ("menu-default-twice", START + (ENTRY + "MENU DEFAULT\n") * 2, [(10, 1)]),
        (
            "menu-default-twice",
            START + ENTRY + "MENU DEFAULT\nMENU BEGIN x\n" + ENTRY.replace("a\n", "b\n") + "MENU DEFAULT\nMENU END\n",
            [],
        ),
        ("append-twice", START + ENTRY + "  APPEND console=hvc0\n", [(6, 3)]),
        ("append-twice", "APPEND ro\n" + START + ENTRY, []),
        ("configfile-loop", START + "INCLUDE extlinux.conf\n" + ENTRY, [(3, 1)]),
        ("missing-config-file", START + "INCLUDE more.conf\n" + ENTRY, [(3, 1)]),
        ("default-out-of-range", START.replace("DEFAULT a", "DEFAULT b") + ENTRY, [(1, 1)]),
        ("default-out-of-range", START.replace("DEFAULT a", "DEFAULT vesamenu.c32") + ENTRY, []),
        ("duplicate-id", START + ENTRY * 2, [(6, 1)]),
    ],
)
def test_a_rule_about_extlinux(tmp_path: Path, rule: str, text: str, places: list[tuple[int, int]]) -> None:
    tree = plant(tmp_path, {"boot/extlinux/extlinux.conf": text, "boot/k": TINY64})
    assert [(finding.line, finding.column) for finding in of(check(tree), rule)][:1] == places


def test_pygrub_counts_the_same_number_in_seconds(tmp_path: Path) -> None:
    tree = plant(tmp_path, {"boot/extlinux/extlinux.conf": START + ENTRY, "boot/k": TINY64})
    (finding,) = of(check(tree, "loader=pygrub"), "timeout-in-tenths")
    assert "50 seconds" in finding.message


# --- entries of the boot loader specification -------------------------------------------------------------

GOOD_BLS = "title A\nversion 1\nlinux /boot/k\ninitrd /boot/k\noptions root=/dev/xvda1\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD_BLS, {}),
        (GOOD_BLS.replace("linux ", "linus "), {"bls-entry-ignored": "warning", "unknown-command": "warning"}),
        (GOOD_BLS.replace("linux ", "efi "), {"bls-entry-ignored": "note"}),
        (GOOD_BLS.replace("title A\n", ""), {"entry-without-title": "note"}),
        (GOOD_BLS.replace("initrd", "\ninitrd"), {"bls-fields-lost": "error"}),
        (GOOD_BLS.replace("version 1", "version"), {"bls-fields-lost": "error"}),
        (GOOD_BLS + "\n# the end\n", {}),
        (GOOD_BLS + "grub_users $grub_users\nx-mine 1\n", {}),
        (GOOD_BLS + "optoins quiet\n", {"unknown-command": "warning"}),
    ],
)
def test_a_rule_about_bls_entries(tmp_path: Path, text: str, expected: dict[str, str]) -> None:
    tree = plant(tmp_path, {"loader/entries/a.conf": text, "loader/entries/b.conf": GOOD_BLS, "boot/k": TINY64})
    names = {"bls-entry-ignored", "entry-without-title", "bls-fields-lost", "unknown-command"}
    found = {finding.rule: finding for finding in check(tree) if finding.rule in names}
    assert {rule: finding.severity for rule, finding in found.items()} == expected
    assert all(finding.file == "(hd0)/loader/entries/a.conf" for finding in found.values())


def test_nothing_of_all_this_is_said_of_a_good_guest(tmp_path: Path) -> None:
    tree: Tree = {
        "boot/grub/grub.cfg": grub_cfg(LINUX + " console=hvc0"),
        "boot/k": TINY64,
        "boot/grub/grubenv": GRUBENV,
    }
    assert rules_of(check(plant(tmp_path, tree))) == set()
