"""The type bits of a file mode: Unix's numbers, which ext and Rock Ridge store as they are."""

from __future__ import annotations

MODE_FORMAT = 0xF000  # the bits that hold the type
MODE_DIRECTORY = 0x4000
MODE_REGULAR = 0x8000
MODE_SYMLINK = 0xA000

_KINDS = {MODE_REGULAR: "file", MODE_DIRECTORY: "dir", MODE_SYMLINK: "symlink"}


def kind_of(mode: int) -> str:
    """The `kind` of `Stat`: "file", "dir", "symlink", or "other" for devices, FIFOs, sockets and unknown types."""
    return _KINDS.get(mode & MODE_FORMAT, "other")
