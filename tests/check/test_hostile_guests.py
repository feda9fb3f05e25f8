"""Guests that want to harm the check: it must end with findings, never with a defect of its own."""

from __future__ import annotations

import gzip
import random
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.check.guests import TINY64, Tree, check, grub_cfg, linux, make_ext, menu_lst, plant
from tests.check.test_initrd import newc
from tests.distributions import distributions

VERSION = "6.1.0-50-amd64"
INITRD = gzip.compress(newc({"init": b"x" * 500, f"lib/modules/{VERSION}/kernel/fs/a.ko": b"ko"}), mtime=0)
GRUB = grub_cfg("search --no-floppy --fs-uuid --set=root abcd", "linux /boot/k root=/dev/sda1", "initrd /boot/i")
BLS = "title A\nlinux /boot/k\ninitrd /boot/i\noptions root=/dev/xvda1\n"
MENUS = {
    "boot/grub/menu.lst": menu_lst("/boot/k", "initrd /boot/i"),
    "boot/grub/grub.cfg": GRUB,
    "boot/extlinux.conf": distributions()["alpine"].text,
    "loader/entries/a.conf": BLS,
}


def mutated(data: bytes, choose: random.Random) -> bytes:
    """A few bytes changed, a piece cut out, or one doubled."""
    changed = bytearray(data)
    for _ in range(choose.randint(1, 6)):
        at = choose.randrange(len(changed) or 1)
        kind = choose.random()
        if kind < 0.5 and changed:
            changed[at] = choose.choice([0, 0x7B, 0x7D, 0x22, 0x27, 0x24, 0x0A, 0xFF, choose.randrange(256)])
        elif kind < 0.75:
            del changed[at : at + choose.randint(1, 40)]
        else:
            changed[at:at] = changed[at : at + choose.randint(1, 40)]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(40))
def test_mutated_menus_kernels_and_ramdisks(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    tree: dict[str, bytes] = {name: text.encode() for name, text in MENUS.items()}
    tree |= {"boot/k": linux(VERSION), "boot/i": INITRD}
    for name in choose.sample(sorted(tree), 3):
        tree[name] = mutated(tree[name], choose)
    target = choose.choice([None, "loader=pygrub", "loader=pv-grub,xen=4.4", "loader=pvgrub2", "xen=4.17,arch=x86_64"])
    check(plant(tmp_path, tree), target, depth=choose.choice(["kernel", "plan"]), memory_mib=64)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.sampled_from(sorted(MENUS)), data=st.binary(max_size=400))
def test_any_bytes_are_a_menu(tmp_path: Path, name: str, data: bytes) -> None:
    check(plant(tmp_path, {**dict.fromkeys(MENUS, b""), name: data, "boot/k": TINY64}))


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_system(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    tree: Tree = {**MENUS, "boot/k": linux(VERSION), "boot/i": INITRD}
    image = make_ext(tmp_path / "disk.img", plant(tmp_path / "tree", tree), size="4M")
    data = bytearray(image.read_bytes())
    used = [at for at in range(0, len(data), 512) if any(data[at : at + 512])]
    for _ in range(20):
        at = choose.choice(used) + choose.randrange(512)
        struct.pack_into("<I", data, min(at, len(data) - 4), choose.choice([0, 1, 0xFFFFFFFF, choose.getrandbits(32)]))
    image.write_bytes(data)
    from pvboot.check.engine import check_source

    result = check_source(str(image))
    assert result.error is None or result.error.code != "internal-error"
    assert not [finding for finding in result.findings if finding.rule == "internal-error"]


def test_an_initrd_that_unpacks_to_gigabytes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvboot.check.initrd.UNPACKED_LIMIT_BYTES", 1 << 20)
    bomb = gzip.compress(newc({"a": bytes(8 << 20)}))
    tree: Tree = {"boot/grub/menu.lst": MENUS["boot/grub/menu.lst"], "boot/k": linux(VERSION), "boot/i": bomb}
    assert not [finding for finding in check(plant(tmp_path, tree)) if "initrd" in finding.rule]


def test_findings_are_the_same_every_time(tmp_path: Path) -> None:
    tree: Tree = {**MENUS, "boot/k": linux(VERSION), "boot/i": INITRD[:-9]}
    plant(tmp_path, tree)
    assert check(tmp_path) == check(tmp_path)
