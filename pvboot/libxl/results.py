"""The answers to libxl (simple0, simple) and to old toolstacks (sxp), byte for byte as pygrub writes them.

The reader is libxl's parse_bootloader_result: items end in NUL, an item of 8192 bytes or more is dropped.
"""

from __future__ import annotations

import contextlib
import os

from fsdrivers.light import NamedTuple
from pvboot.errors import BootError

ITEM_LIMIT_BYTES = 8191
FILE_LIMIT_BYTES = 1 << 30  # what Xen's domain builder takes (XSA-25)
_NAME_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_SEPARATORS = {"simple": b"\n", "simple0": b"\0"}


class Result(NamedTuple):
    """File names of kernel and ramdisk on the host, and the guest's command line.

    The kernel's name is None after --not-really, which pygrub prints as the word None.
    """

    kernel: str | None
    ramdisk: str | None
    args: bytes


def format_result(result: Result, output_format: str) -> bytes:
    """The bytes to write in one go.  Raises `BootError` for a value that the format cannot carry (XSA-198)."""
    if output_format == "sxp":
        return _sxp(result)
    separator = _SEPARATORS[output_format]
    items = [("kernel", _encode(str(result.kernel)))]
    if result.ramdisk:
        items.append(("ramdisk", _encode(result.ramdisk)))
    if result.args:
        items.append(("args", result.args))
    for name, value in items:
        if separator in value:
            raise BootError(f"the format {output_format} cannot carry the {name}: it holds the delimiter {separator!r}")
    lines = [name.encode() + b" " + value + separator for name, value in items]
    return b"".join(lines) + separator


def too_long_for_libxl(data: bytes) -> bool:
    """Whether libxl would drop one of the items without failing, so that the guest boots without it."""
    return any(len(item) > ITEM_LIMIT_BYTES for item in data.split(b"\0"))


def _sxp(result: Result) -> bytes:
    """Values quoted as by Python's repr, no line end."""
    text = f"linux (kernel {result.kernel!r})"
    if result.ramdisk:
        text += f"(ramdisk {result.ramdisk!r})"
    if result.args:
        text += f"(args {result.args.decode('utf-8', 'surrogateescape')!r})"
    return _encode(text)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class ResultFiles:
    """The files for kernel and ramdisk: made before anything is read, removed again unless they are kept."""

    def __init__(self, directory: str) -> None:
        """Make both in `directory`, whose name goes before theirs as it is given."""
        self.names: list[str] = []
        self._fds: list[int] = []
        try:
            for prefix in ("boot_kernel.", "boot_ramdisk."):
                name, fd = _make_file(f"{directory}/{prefix}")
                self.names.append(name)
                self._fds.append(fd)
        except BaseException:
            self.__exit__()
            raise

    @property
    def kernel(self) -> int:
        """The descriptor of the kernel's file."""
        return self._fds[0]

    @property
    def ramdisk(self) -> int:
        """The descriptor of the ramdisk's file."""
        return self._fds[1]

    def keep(self, *, ramdisk: bool) -> None:
        """Leave the kernel's file where it is, and with `ramdisk` also the other."""
        del self.names[0 : 2 if ramdisk else 1]

    def __enter__(self) -> ResultFiles:
        return self

    def __exit__(self, *_error: object) -> None:
        for name in self.names:
            with contextlib.suppress(OSError):
                os.unlink(name)


def _make_file(prefix: str) -> tuple[str, int]:
    """A new file of mode 0600 with eight random letters, as mkstemp makes it (whose module costs 8 ms)."""
    for _ in range(100):
        name = prefix + "".join(_NAME_LETTERS[byte % len(_NAME_LETTERS)] for byte in os.urandom(8))
        with contextlib.suppress(FileExistsError):
            return name, os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    raise BootError("no free file name", where=prefix)


def write_all(fd: int, data: bytes) -> None:
    """Write everything."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
