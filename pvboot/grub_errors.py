"""GRUB Legacy's rules that every room shares: error numbers, reading numbers, skipping words.

Source: GRUB 0.97 (stage2/common.c for the texts, char_io.c for numbers, cmdline.c for words).
"""

from __future__ import annotations

from fsdrivers.light import TYPE_CHECKING
from pvboot.errors import PvbootError

if TYPE_CHECKING:
    from grammars.commands import Arguments
    from grammars.spans import SourceSpan

MAXIMUM_NUMBER = 0x7FFFFFFF

ERROR_TEXTS = {
    1: "Filename must be either an absolute pathname or blocklist",
    2: "Bad file or directory type",
    3: "Bad or corrupt data while decompressing file",
    4: "Bad or incompatible header in compressed file",
    5: "Partition table invalid or corrupt",
    6: "Mismatched or corrupt version of stage1/stage2",
    7: "Loading below 1MB is not supported",
    8: "Kernel must be loaded before booting",
    9: "Unknown boot failure",
    10: "Unsupported Multiboot features requested",
    11: "Unrecognized device string",
    12: "Invalid device requested",
    13: "Invalid or unsupported executable format",
    14: "Filesystem compatibility error, cannot read whole file",
    15: "File not found",
    16: "Inconsistent filesystem structure",
    17: "Cannot mount selected partition",
    18: "Selected cylinder exceeds maximum supported by BIOS",
    19: "Linux kernel must be loaded before initrd",
    20: "Multiboot kernel must be loaded before modules",
    21: "Selected disk does not exist",
    22: "No such partition",
    23: "Error while parsing number",
    24: "Attempt to access block outside partition",
    25: "Disk read error",
    26: "Too many symbolic links",
    27: "Unrecognized command",
    28: "Selected item cannot fit into memory",
    29: "Disk write error",
    30: "Invalid argument",
    31: "File is not sector aligned",
    32: "Must be authenticated",
    33: "Device not initialized yet",
    34: "No spare sectors on the disk",
    35: "Overflow while parsing number",
}

BAD_FILENAME = 1
BAD_FILE_TYPE = 2
BAD_GZIP_DATA = 3
BAD_GZIP_HEADER = 4
NO_KERNEL = 8
BAD_DEVICE_SYNTAX = 11
INVALID_DEVICE = 12
BAD_EXECUTABLE = 13
UNREADABLE_WHOLE = 14
FILE_NOT_FOUND = 15
INCONSISTENT_FILESYSTEM = 16
CANNOT_MOUNT = 17
KERNEL_BEFORE_INITRD = 19
KERNEL_BEFORE_MODULES = 20
NO_SUCH_DISK = 21
NO_SUCH_PARTITION = 22
BAD_NUMBER = 23
OUTSIDE_PARTITION = 24
READ_ERROR = 25
TOO_MANY_LINKS = 26
UNKNOWN_COMMAND = 27
CANNOT_FIT = 28
INVALID_ARGUMENT = 30
NEEDS_AUTHENTICATION = 32
NUMBER_OVERFLOW = 35


class GrubError(PvbootError):
    """An error with GRUB's number and text; `detail` says what exactly is wrong, `span` where the menu asks for it.

    The number is what scripts and people who know GRUB look for; the detail is what GRUB never told.
    """

    code = "grub-error"
    exit_code = 1

    def __init__(self, number: int, detail: str = "", *, span: SourceSpan | None = None) -> None:
        text = f"Error {number}: {ERROR_TEXTS[number]}"
        super().__init__(f"{text}: {detail}" if detail else text, where=str(span) if span else "")
        self.number = number
        self.detail = detail
        self.span = span

    def at(self, span: SourceSpan) -> GrubError:
        """Return the error with its place in a menu, unless it has one already."""
        return self if self.span else GrubError(self.number, self.detail, span=span)


def refuse_wrong(arguments: Arguments) -> None:
    """Raises `GrubError` for the first thing in a command's argument that GRUB refuses at once."""
    for problem in arguments.problems:
        if problem.number:
            raise GrubError(problem.number, problem.message)


def read_number(text: str, start: int = 0) -> tuple[int, int]:
    """Read the number at `text[start]`, decimal, or hexadecimal after `0x`; returns it and the index behind it.

    Reading stops at the first foreign character, so "1st" is 1.  Raises `GrubError` 23 without a digit,
    35 above 0x7fffffff (safe_parse_maxint).
    """
    base, digits, at = 10, "0123456789", start
    if text[at : at + 2].lower() == "0x":
        base, digits, at = 16, "0123456789abcdef", at + 2
    first, value = at, 0
    while at < len(text) and text[at].lower() in digits:
        value = value * base + int(text[at], base)
        if value > MAXIMUM_NUMBER:
            raise GrubError(NUMBER_OVERFLOW, f"{shorten(text[start:])} is above {MAXIMUM_NUMBER:#x}")
        at += 1
    if at == first:
        raise GrubError(BAD_NUMBER, f"no number in {shorten(text[start:])!r}")
    return value, at


def skip_word(text: str) -> str:
    """Return the text behind the first word and its blanks (skip_to)."""
    return text.partition(" ")[2].lstrip(" ")


def first_word(text: str) -> str:
    """Return the text up to the first blank."""
    return text.partition(" ")[0]


def shorten(text: str, limit: int = 60) -> str:
    """Shorten a text of the guest for a message."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def quoted(text: str, limit: int = 40) -> str:
    """Shorten a text of the guest for a message, in quotes and with unprintable characters escaped."""
    return repr(shorten(text, limit))
