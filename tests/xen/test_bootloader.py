"""`xl create` with a boot loader: a real Linux guest from its own disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.xen.guests import Outcome, run_guest
from tests.xen.machine import Machine

pytestmark = pytest.mark.slow

Images = Callable[[str], Path]


def assert_reached_user_space(outcome: Outcome) -> None:
    assert outcome.status == 0, outcome
    assert "pvboot-initrd: hello from user space" in outcome.console, outcome
    assert "pvboot-initrd: powering off" in outcome.console, outcome


def test_linux_starts_from_menu_lst(xen: Machine, images: Images) -> None:
    outcome = run_guest(xen, disk=images("debian.img"), bootloader="pygrub", bootloader_args=["-q"])
    assert_reached_user_space(outcome)
    assert "command line: root=UUID=" in outcome.console, outcome
