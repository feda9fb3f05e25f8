"""`--recurse`: a directory that holds guests, instead of being one.

A directory is a guest's file system by contract, so this is asked for and never guessed.  Below it, a file is a source
if its name says so, or its first bytes: what a half-written or damaged image still has is its name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final

from fsdrivers.blocks import CONTAINER_MAGICS
from pvboot.errors import UsageError
from pvboot.sources import has_menu_name

_SUFFIXES = ".img .raw .iso .dsk .disk .hdd .qcow .qcow2 .qed .vhd .vhdx .vmdk .vdi .ext2 .ext3 .ext4"
SUFFIXES: Final = frozenset(_SUFFIXES.split())
SOURCES_LIMIT: Final = 1_000_000
DEPTH_LIMIT: Final = 64
# (offset, bytes): a partition table's mark, ext2/3/4's, ISO 9660's.
_DISK_MARKS: Final = ((0x1FE, b"\x55\xaa"), (0x438, b"\x53\xef"), (0x8001, b"CD001"))


def sources_below(folder: str) -> list[str]:
    """Return the sources below a directory, sorted by their names; links and hidden files are passed over.

    Raises `UsageError` if it cannot be read.
    """
    try:
        found = sorted(_walk(folder, 0))
    except OSError as err:
        raise UsageError(f"cannot be read: {err.strerror}", where=err.filename or folder) from err
    if len(found) > SOURCES_LIMIT:
        raise UsageError("too many sources", where=folder, expected=f"at most {SOURCES_LIMIT}", found=str(len(found)))
    return found


def _walk(folder: str, depth: int) -> Iterator[str]:
    if depth > DEPTH_LIMIT:
        raise UsageError("directories inside each other", where=folder, expected=f"at most {DEPTH_LIMIT}")
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if entry.is_dir():
                yield from _walk(entry.path, depth + 1)
            elif is_source(entry.path):
                yield entry.path


def is_source(path: str) -> bool:
    """Return whether a file is an image or a menu; devices and sockets are neither."""
    name = os.path.basename(path).lower()
    if not stat.S_ISREG(os.stat(path).st_mode):
        return False
    return has_menu_name(name) or os.path.splitext(name)[1] in SUFFIXES or _begins_like_a_disk(path)


def _begins_like_a_disk(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(0x8001 + 5)
    except OSError:
        return False
    marks = (*_DISK_MARKS, *((at, magic) for at, magic, name in CONTAINER_MAGICS if at >= 0 and name.endswith("image")))
    return any(head[at : at + len(magic)] == magic for at, magic in marks)
