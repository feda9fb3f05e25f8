"""The files that a boot loader for libxl leaves behind: made before anything is read, removed if it fails."""

from __future__ import annotations

import contextlib
import os

from pvboot.errors import BootError

_NAME_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def make_outputs(directory: str, undo: contextlib.ExitStack) -> tuple[tuple[str, str], tuple[int, int]]:
    """Names and descriptors of the files for kernel and ramdisk; `directory` ends in a slash, `undo` removes both."""
    kernel_name, kernel = _make_file(directory, "boot_kernel.")
    undo.callback(remove, kernel_name)
    ramdisk_name, ramdisk = _make_file(directory, "boot_ramdisk.")
    undo.callback(remove, ramdisk_name)
    return (kernel_name, ramdisk_name), (kernel, ramdisk)


def _make_file(directory: str, prefix: str) -> tuple[str, int]:
    """A new file of mode 0600 with eight random letters, as mkstemp makes it (whose module costs 8 ms)."""
    for _ in range(100):
        name = directory + prefix + "".join(_NAME_LETTERS[byte % len(_NAME_LETTERS)] for byte in os.urandom(8))
        with contextlib.suppress(FileExistsError):
            return name, os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    raise BootError("no free file name", where=directory)


def remove(name: str) -> None:
    """Remove a file that may be gone."""
    with contextlib.suppress(OSError):
        os.unlink(name)


def write_all(fd: int, data: bytes) -> None:
    """Write everything."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
