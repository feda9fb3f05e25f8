"""The menu of `pvboot-pygrub` as a person meets it: through `xl`'s console, by way of libxl's pseudo-terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import make_images
from tests.xen.guests import run_guest
from tests.xen.machine import Machine

pytestmark = pytest.mark.slow

PVBOOT = "/host/pvboot-pygrub"
DOWN, DOWN_APPLICATION, ENTER = "\x1b[B", "\x1bOB", "\r"
MENU = r"Use the \^ and v keys to choose an entry"
EDITOR = r"'b' boots the lines"
END_OF_LINE = "\x05"  # Ctrl-E

MENU_LST = """\
default 0
timeout 120
title First
kernel /boot/tiny64.elf console=hvc0 first
title Second
kernel /boot/tiny64.elf console=hvc0 second
title Linux
kernel /boot/vmlinuz console=hvc0 quiet third
initrd /boot/initrd.img
"""


@pytest.fixture(scope="module")
def disk(parts: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three entries and all the time in the world."""
    tree = {
        "boot/grub/menu.lst": MENU_LST.encode(),
        "boot/tiny64.elf": make_images.kernel("tiny64.elf"),
        "boot/vmlinuz": parts("vmlinuz-6.1").read_bytes(),
        "boot/initrd.img": parts("initrd-busybox.cpio.gz").read_bytes(),
    }
    image = tmp_path_factory.mktemp("console") / "disk.img"
    make_images.make_ext(image, tree, 24 << 20, "ext4")
    return image


@pytest.mark.parametrize("down", [DOWN, DOWN_APPLICATION], ids=["cursor-keys", "application-keys"])
def test_arrow_and_enter_start_another_entry(xen: Machine, disk: Path, down: str) -> None:
    outcome = run_guest(xen, disk=disk, bootloader=PVBOOT, steps=[(MENU, down), ("Second", ENTER)])
    assert outcome.status == 0 and outcome.steps == 2, outcome
    assert "command line: console=hvc0 second" in outcome.console, outcome


def test_an_edited_kernel_line_reaches_the_guests_user_space(xen: Machine, disk: Path) -> None:
    steps = [
        (MENU, DOWN + DOWN),
        ("Linux", "e"),
        (EDITOR, "e"),
        ("third", f"{END_OF_LINE} typed=by-hand{ENTER}"),
        (EDITOR, "b"),
    ]
    outcome = run_guest(xen, disk=disk, bootloader=PVBOOT, steps=steps)
    assert outcome.status == 0 and outcome.steps == len(steps), outcome
    assert "pvboot-initrd: command line: console=hvc0 quiet third typed=by-hand" in outcome.console, outcome
