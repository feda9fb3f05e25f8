"""--target: what is understood, what is refused and how, and what the loaders know."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvboot.check.loaders import BUILDER_CODECS, LOADERS, capabilities_of, codecs_of, unpacks_ramdisks
from pvboot.check.model import Target
from pvboot.check.target import parse_target
from pvboot.errors import UsageError
from pvboot.menu.dialects import DIALECTS
from pvboot.unpack.codecs import MAGICS
from tests.check.guests import TINY64, check, grub_cfg, of, plant


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("xen=4.17", Target(xen=(4, 17))),
        ("xen=4.17.3,loader=pygrub", Target(xen=(4, 17), loader="pygrub")),
        ("loader=pvgrub2, arch=x86_64", Target(loader="pvgrub2", arch="x86_64")),
        ("arch=x86_32p,xen=4.9,loader=pv-grub", Target((4, 9), "pv-grub", "x86_32p")),
    ],
)
def test_what_is_understood(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "loader=NAME"),
        ("pygrub", "loader=NAME"),
        ("loder=pygrub", "loader="),
        ("loader=pvgrub", "pvgrub2?"),
        ("loader=", "pygrub"),
        ("xen=latest", "such as 4.17"),
        ("xen=4", "such as 4.17"),
        ("xen=4.17,xen=4.18", "twice"),
        ("arch=amd64", "x86_64"),
        ("arch=i386", "x86_32p"),
        ("xen=4.17,", "loader=NAME"),
        ("xen=4٣.1", "such as 4.17"),
    ],
)
def test_what_is_refused_says_what_would_be_right(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as err:
        parse_target(text)
    assert hint in str(err.value)


@pytest.mark.parametrize(
    "args",
    [
        ("--target", "loader=nothing"),
        ("--until", "x"),
        ("--limit", "3"),
        ("--run", "--limit", "0"),
        ("--text-only", "--plan"),
        ("--memory", "lots"),
    ],
)
def test_wrong_options_are_wrong_usage(run_cli, tmp_path: Path, args: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "menu.lst").write_text("title a\nkernel /k\n")
    done = run_cli("check", *args, tmp_path / "menu.lst")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_the_tables_speak_of_what_there_is() -> None:
    dialects = {dialect.name for dialect in DIALECTS} | {"pvboot"}
    assert all(loader.dialects <= dialects for loader in LOADERS.values())
    assert set(BUILDER_CODECS) == {name for _magic, name in MAGICS} | {"none"}
    assert all(loader.codecs is None or loader.codecs <= set(BUILDER_CODECS) for loader in LOADERS.values())


def test_what_follows_from_a_target() -> None:
    assert capabilities_of(Target()) == ("xen-3.0-x86_64", "xen-3.0-x86_32p")
    assert capabilities_of(Target(arch="x86_32p")) == ("xen-3.0-x86_32p",)
    assert "zstd" in codecs_of(Target()) and "zstd" not in codecs_of(Target(xen=(4, 14)))
    assert "lz4" not in codecs_of(Target(xen=(4, 17), loader="pvgrub2"))
    assert unpacks_ramdisks(Target(xen=(4, 19))) and not unpacks_ramdisks(Target(xen=(4, 20)))
    assert not unpacks_ramdisks(Target()) and not unpacks_ramdisks(Target((4, 17), "pvgrub2"))


@pytest.mark.parametrize(
    ("body", "loader", "places"),
    [
        (["linuxefi /boot/k root=/dev/xvda1"], "pygrub", [(4, 2)]),
        (["linuxefi /boot/k root=/dev/xvda1"], "pvgrub2", [(4, 2)]),
        (["linux /boot/k root=/dev/xvda1"], "pygrub", []),
        (["linux /boot/k root=/dev/xvda1", "initrd /boot/k /boot/k"], "pygrub", [(5, 2)]),
        (["linux /boot/k root=/dev/xvda1", "initrd /boot/k /boot/k"], "pvgrub2", []),
    ],
)
def test_words_that_the_loader_does_not_know(
    tmp_path: Path, body: list[str], loader: str, places: list[tuple[int, int]]
) -> None:
    tree = plant(tmp_path, {"boot/grub/grub.cfg": grub_cfg(*body), "boot/k": TINY64})
    found = of(check(tree, f"loader={loader}"), "word-not-known-to-loader")
    assert [(finding.line, finding.column) for finding in found] == places
    assert not of(check(tree), "word-not-known-to-loader")


@pytest.mark.parametrize("word", ["LINUX", "KERNEL"])
def test_todays_extlinux_files_and_pygrub(tmp_path: Path, word: str) -> None:
    text = f"DEFAULT a\nTIMEOUT 50\nLABEL a\n  {word} /boot/k\n  INITRD /boot/k\n  APPEND root=/dev/xvda1\n"
    tree = plant(tmp_path, {"boot/extlinux/extlinux.conf": text, "boot/k": TINY64})
    found = of(check(tree, "loader=pygrub"), "word-not-known-to-loader")
    assert [finding.line for finding in found] == ([4, 5] if word == "LINUX" else [5])
    assert not of(check(tree, "loader=pvboot"), "word-not-known-to-loader")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("menuentry 'a' --class x {\n linux /boot/k root=/dev/xvda1\n}\n", []),
        ("menuentry 'a'{\n linux /boot/k root=/dev/xvda1\n}\n", [1]),
        ("menuentry a {\n linux /boot/k root=/dev/xvda1\n}\n", [1]),
        ("menuentry 'a' { linux /boot/k root=/dev/xvda1\n}\n", [1]),
        ("blscfg\nmenuentry 'a' {\n linux /boot/k root=/dev/xvda1\n}\n", [1]),
        ("set x=\"a=b=c\"\nmenuentry 'a' {\n linux /boot/k root=/dev/xvda1\n}\n", [1]),
    ],
)
def test_forms_that_pygrub_stumbles_over(tmp_path: Path, text: str, lines: list[int]) -> None:
    tree = plant(tmp_path, {"boot/grub/grub.cfg": "set timeout=5\n" + text, "boot/k": TINY64})
    found = of(check(tree, "loader=pygrub"), "word-not-known-to-loader")
    assert [finding.line - 1 for finding in found] == lines
    assert not of(check(tree, "loader=pvgrub2"), "word-not-known-to-loader") or "blscfg" in text
