"""The end of every confined reader's work: kernel and ramdisks checked and copied into the open result files."""

from __future__ import annotations

import os
from collections.abc import Sequence

from fsdrivers.copy import copy_to_fd
from fsdrivers.light import TYPE_CHECKING
from pvboot.errors import BootError
from pvboot.libxl.results import FILE_LIMIT_BYTES

if TYPE_CHECKING:
    from fsdrivers.api import File
    from pvboot.confine.child import Channel

# Descriptors of the open result files, kernel and ramdisk.
Outputs = tuple[int, int]


def deliver(kernel: File, ramdisks: Sequence[File], outputs: Outputs | None, channel: Channel) -> None:
    """Check, copy and report; without `outputs` nothing is copied.  Raises `BootError`, `FsError`."""
    for what, files in (("kernel", [kernel]), ("ramdisk", ramdisks)):
        total = sum(file.size for file in files)
        if total > FILE_LIMIT_BYTES:
            raise BootError(
                f"the {what} is too large",
                where=files[0].path,
                expected=f"at most {FILE_LIMIT_BYTES} bytes",
                found=f"{total} bytes",
            )
    if not kernel.size:
        raise BootError("the kernel file is empty", where=kernel.path)
    channel.parsing_done()
    for what, files in (("kernel", [kernel]), ("ramdisk", ramdisks)):
        if outputs is not None and files:
            copied = _copy_joined(files, outputs[what == "ramdisk"])
            channel.send("note", f"{what} {', '.join(file.path for file in files)}, {copied} bytes")
    if ramdisks:
        channel.send("ramdisk")
    channel.send("kernel")


def _copy_joined(files: Sequence[File], fd: int) -> int:
    """Files one behind the other, each from a multiple of four bytes as the kernel's unpacker wants it."""
    done = 0
    for file in files:
        gap = -done % 4
        os.lseek(fd, gap, os.SEEK_CUR)
        done += gap + copy_to_fd(file, fd, regular=True)
    return done
