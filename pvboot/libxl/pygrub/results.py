"""What libxl is told (simple0, simple) and what old toolstacks were told (sxp), byte for byte as pygrub writes it.

The reader is libxl's parse_bootloader_result: items end in NUL, an item of 8192 bytes or more is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

from pvboot.errors import BootError

ITEM_LIMIT_BYTES = 8191
_SEPARATORS = {"simple": b"\n", "simple0": b"\0"}


@dataclass(frozen=True, slots=True)
class Result:
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
