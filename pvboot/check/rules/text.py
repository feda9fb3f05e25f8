"""Rules about a menu as a text file, whatever its dialect.

A menu is searched as a whole first: nearly all have none of this, and are then not looked at line by line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from grammars.spans import SourceSpan
from pvboot.check.api import Problem, rule
from pvboot.check.subject import Subject

WITH_TEXT: Final = ("menu.lst", "grub.cfg", "extlinux", "elilo")
BYTE_ORDER_MARK: Final = "\ufeff"
LOADERS_LIMIT_BYTES: Final = 1 << 20  # pvboot's, and pygrub's

LONG_LINE: Final = 10_000  # characters; quotes are not looked for in longer ones, which could take very long

_UTF16: Final = {b"\xff\xfe": "UTF-16 (little endian)", b"\xfe\xff": "UTF-16 (big endian)"}
_NOT_UTF8 = re.compile("[\udc80-\udcff]+")
_CONTROL = re.compile("[\0-\x08\x0b\x0e-\x1f\x7f\x80-\x9f]+")
_SMART_QUOTE = re.compile("[\u2018-\u201f\u00ab\u00bb\u2032\u2033\uff02\uff07]")
_INVISIBLE = re.compile("[\u00a0\u00ad\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff]")
_ASCII_QUOTED = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"")

# Lines whose text is only shown: what letters stand there is nobody's matter.
_PROSE = {
    "menu.lst": re.compile(r"[ \t]*(#|(title|print|pause|password)[ \t=])"),
    "grub.cfg": re.compile(r"[ \t]*(#|echo[ \t])"),
    "extlinux": re.compile(r"[ \t]*(#|(menu|label|say|text|display|f[0-9]+|f10|f11|f12)[ \t])", re.IGNORECASE),
    "elilo": re.compile(r"[ \t]*(#|(label|description)[ \t]*=)"),
}
_COMMENT = re.compile(r"[ \t\ufeff]*#")


def is_utf16(data: bytes) -> bool:
    """Return whether a file is marked as UTF-16: no rule about its words makes sense then."""
    return data[:2] in _UTF16


@rule("byte-order-mark", "warning", "the file begins with a byte order mark", dialects=WITH_TEXT)
def byte_order_mark(subject: Subject) -> Iterator[Problem]:
    if not subject.text.startswith(BYTE_ORDER_MARK):
        return
    first = subject.lines[0][1:].strip()
    if first and not first.startswith("#"):
        message = "the byte order mark belongs to the first word for every loader, so this line is skipped"
        yield Problem(message, subject.span(0, 1), severity="error")
    else:
        yield Problem("a byte order mark makes the first line an unknown command, no more", subject.span(0, 1))


@rule("encoding", "warning", "the file is not UTF-8", dialects=WITH_TEXT)
def encoding(subject: Subject) -> Iterator[Problem]:
    wide = _UTF16.get(subject.data[:2])
    if wide is not None:
        yield Problem(f"the file is {wide}, which no boot loader reads", severity="error")
        return
    if _NOT_UTF8.search(subject.text) is None:
        return
    severity = "error" if subject.options.target.loader == "pygrub" else None
    for number, line in enumerate(subject.lines, 1):
        match = _NOT_UTF8.search(line)
        if match is not None:
            shown = " ".join(f"{ord(byte) - 0xDC00:02x}" for byte in match[0][:8])
            message = f"bytes that are not UTF-8 ({shown}): pygrub reads no menu that has them"
            yield Problem(message, _span(subject, number, match), severity=severity)


@rule("control-character", "warning", "a control character stands in the file", dialects=WITH_TEXT)
def control_character(subject: Subject) -> Iterator[Problem]:
    if is_utf16(subject.data) or _CONTROL.search(subject.text) is None:
        return
    for number, line in enumerate(subject.lines, 1):
        match = _CONTROL.search(line)
        if match is None:
            continue
        severity = "note" if _COMMENT.match(line) else None
        if "\0" in match[0]:
            message = "a NUL ends the text of this line for loaders that are written in C"
        else:
            message = f"the control character {ord(match[0][0]):#04x} is a letter like any other to a loader"
        yield Problem(message, _span(subject, number, match), severity=severity)


@rule("crlf-line-ends", "warning", "lines end with CR LF", dialects=WITH_TEXT)
def crlf_line_ends(subject: Subject) -> Iterator[Problem]:
    count = subject.data.count(b"\r\n")
    if not count or is_utf16(subject.data):
        return
    number, line = next((n, line) for n, line in enumerate(subject.lines, 1) if line.endswith("\r"))
    total = subject.data.count(b"\n")
    which = "every line ends" if count == total else f"{count} of {total} lines end"
    message = f"{which} with CR LF: GRUB drops the CR, other readers take it for a letter"
    yield Problem(message, subject.span(subject.offset_of(number) + max(len(line) - 1, 0), 1))


@rule("cr-only-line-ends", "error", "lines end with CR alone", dialects=WITH_TEXT)
def cr_only_line_ends(subject: Subject) -> Iterator[Problem]:
    if "\r" not in subject.text or is_utf16(subject.data):
        return
    if "\n" not in subject.text:
        if any(part.strip() for part in subject.text.split("\r")[1:]):
            yield Problem("the lines end with CR alone: to GRUB the whole file is one line", subject.span(0, 0))
        return
    for number, line in enumerate(subject.lines, 1):
        place = line.rstrip("\r").find("\r")
        if place >= 0:
            message = "a CR inside of a line is dropped, what stands around it is joined"
            span = subject.span(subject.offset_of(number) + place, 1)
            yield Problem(message, span, severity="note" if _COMMENT.match(line) else "warning")


@rule("smart-quotes", "warning", "typographic quotes stand where a loader reads words", dialects=WITH_TEXT)
def smart_quotes(subject: Subject) -> Iterator[Problem]:
    message = "a typographic quote is a letter like any other; loaders only know \" and '"
    if subject.dialect != "grub.cfg":
        message = "a typographic quote is a letter like any other; it does not quote"
    yield from _odd_letters(subject, _SMART_QUOTE, lambda _letter: message)


@rule("invisible-character", "warning", "what looks like a blank is a letter to a loader", dialects=WITH_TEXT)
def invisible_character(subject: Subject) -> Iterator[Problem]:
    yield from _odd_letters(
        subject, _INVISIBLE, lambda letter: f"U+{ord(letter):04X} looks like a blank or like nothing and is a letter"
    )


def _odd_letters(subject: Subject, pattern: re.Pattern[str], message: Callable[[str], str]) -> Iterator[Problem]:
    """Yield the first such letter of each line whose text is not only shown."""
    if subject.text.isascii() or pattern.search(subject.text) is None:
        return
    for number, line in enumerate(subject.lines, 1):
        if line.isascii() or _PROSE[subject.dialect].match(line):
            continue
        if subject.dialect == "grub.cfg" and len(line) < LONG_LINE:  # in real quotes it is a title
            line = _ASCII_QUOTED.sub(lambda quoted: "x" * len(quoted[0]), line)
        match = pattern.search(line, 1 if number == 1 and line.startswith(BYTE_ORDER_MARK) else 0)
        if match is not None:
            yield Problem(message(match[0]), _span(subject, number, match))


@rule("menu-too-large", "warning", "the file is larger than loaders read", dialects=WITH_TEXT)
def menu_too_large(subject: Subject) -> Iterator[Problem]:
    if subject.dialect == "menu.lst" and not subject.menu_file.complete:
        count = len(subject.menu_file.lines)
        yield Problem(f"only the first {count} lines are read", severity="error")
    if subject.complete and len(subject.data) <= LOADERS_LIMIT_BYTES:
        return
    size = f"{len(subject.data)} bytes" if subject.complete else f"more than {len(subject.data)} bytes"
    last = subject.data.count(b"\n", 0, LOADERS_LIMIT_BYTES)
    entries = subject.menu.entries
    beyond = next((entry for entry in entries if entry.span.file == subject.name and entry.line > last), None)
    lost = f": entry {beyond.index} and all behind it do not exist for them" if beyond else ""
    default_is_lost = beyond is not None and subject.menu.default >= beyond.index
    message = f"{size}, and pvboot and pygrub read {LOADERS_LIMIT_BYTES}{lost}"
    yield Problem(message, beyond.span if beyond else None, severity="error" if default_is_lost else None)


def _span(subject: Subject, number: int, match: re.Match[str]) -> SourceSpan:
    return SourceSpan(subject.name, number, match.start() + 1, match.end() - match.start())
