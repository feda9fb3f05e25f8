"""Warnings about files that PV-GRUB cannot fetch, before a guest hangs on one.

PV-GRUB asks for blocks of 1432 bytes and its block numbers do not wrap: a larger file stops after 65535 blocks.
"""

from __future__ import annotations

from collections.abc import Iterator

from pvboot.errors import PvbootError
from pvboot.serve.api import Content, Requester, ServedDirectory
from pvboot.serve.state.profiles import Profile

PV_GRUB_BLOCK_BYTES = 1432
PV_GRUB_FILE_BYTES = 65535 * PV_GRUB_BLOCK_BYTES
# It copies the name from option 150 into a buffer on its stack without looking at its length.
PV_GRUB_OPTION_150_BYTES = 120

_MYSELF = Requester("tftp", "127.0.0.1")


def check_prefix(prefix: str) -> Iterator[str]:
    """Warnings about the directory of the menus: option 150 holds `(nd)PREFIX/menu.lst.MAC`."""
    longest = f"(nd){prefix}/menu.lst.00:00:00:00:00:00"
    if len(longest.encode()) > PV_GRUB_OPTION_150_BYTES:
        yield (
            f"menus below {prefix}: PV-GRUB's DHCP option 150 should stay below {PV_GRUB_OPTION_150_BYTES} bytes, "
            f"{longest} has {len(longest.encode())}"
        )


def check_files(profile: Profile, content: Content, protocols: frozenset[str]) -> tuple[str, ...]:
    """Warnings about the files of a profile: missing ones, and those that PV-GRUB cannot fetch."""
    found: list[str] = []
    files = dict.fromkeys(file for entry in profile.entries for file in entry.files)
    for file in files:
        if not file.startswith("/"):
            found.append(f"{file}: PV-GRUB fetches from its own TFTP server only")
            continue
        try:
            opened = content.open(file, _MYSELF)
        except (PvbootError, OSError) as err:
            found.append(f"{file}: cannot be served: {err}")
            continue
        if isinstance(opened, ServedDirectory):
            found.append(f"{file}: is a directory")
            continue
        size = opened.size
        opened.close()
        if size > PV_GRUB_FILE_BYTES:
            found.append(f"{file}: has {size} bytes, PV-GRUB fetches at most {PV_GRUB_FILE_BYTES}")
    if files and "tftp" not in protocols:
        found.append("no TFTP server: PV-GRUB fetches over TFTP only, never over HTTP")
    return tuple(found)
