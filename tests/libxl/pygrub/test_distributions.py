"""Guests as distributions make them, started by the boot loader for xl."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.distributions import INITRD, KERNEL, distributions
from tests.libxl.pygrub.conftest import Loader


@pytest.mark.parametrize("name", [name for name, guest in distributions().items() if "second_disk" not in guest.expect])
def test_the_default_entry_is_started(name: str, ours: Loader, guest_disks: Callable[[str], tuple[str, ...]]) -> None:
    """Of an entry for Xen's host, which has two modules, Linux alone."""
    expect = distributions()[name].expect
    entry = expect["entries"][expect["default"]]
    is_for_host = entry["modules"] and not entry["initrds"]
    args = entry["modules"][0]["args"] if is_for_host else entry["args"]
    ramdisks = len(entry["modules"]) - bool(is_for_host)
    padded = INITRD + bytes(-len(INITRD) % 4)
    boot = ours(Path(guest_disks(name)[0]))
    assert (boot.code, boot.kernel) == (0, KERNEL), boot.stderr
    assert (boot.ramdisk or b"").ljust(ramdisks * len(padded), b"\0") == padded * ramdisks
    assert (boot.args or b"").decode().split() == args.split()
