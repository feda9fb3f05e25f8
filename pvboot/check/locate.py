"""The place where a menu names a file, for dialects whose entries do not say: looked for behind the entry's title."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grammars.spans import SourceSpan
from pvboot.device_names import read_device
from pvboot.errors import PvbootError

if TYPE_CHECKING:
    from pvboot.check.subject import Subject
    from pvboot.menu.model import Entry

LINES_SEARCHED: Final = 200
FILE_LIMIT_BYTES: Final = 1 << 20

_WORDS: Final = {
    "kernel": ("linux", "linux16", "linuxefi", "kernel", "image", "append", "multiboot", "default", "boot"),
    "initrd": ("initrd", "initrd16", "initrdefi", "append"),
    "module": ("module", "module2"),
}


def locate(subject: Subject, entry: Entry, role: str, name: str) -> SourceSpan:
    """Return the name's place in the lines of the entry, else that of its title."""
    span = entry.span
    lines = _lines(subject, span.file)
    last = name.rpartition("/")[2]
    if not last:
        return span
    for number in range(span.line, min(span.line + LINES_SEARCHED, len(lines) + 1)):
        text = lines[number - 1]
        if number > span.line and _is_title(text, subject):
            break
        found = _name_in(text, role, last)
        if found is not None:
            return SourceSpan(span.file, number, found[0] + 1, found[1] - found[0])
    return span


def _name_in(text: str, role: str, last: str) -> tuple[int, int] | None:
    """Find start and end of the word that ends in `last`, in a line whose first word loads such files."""
    first = text.replace("=", " ").split(maxsplit=1)
    if not first or first[0].lower() not in _WORDS[role]:
        return None
    at = text.find(last, text.find(first[0]) + len(first[0]))
    if at < 0:
        return None
    start = at
    while start and text[start - 1] not in " \t=,'\"":
        start -= 1
    return start, at + len(last)


def _is_title(text: str, subject: Subject) -> bool:
    words = text.split(maxsplit=1)
    return bool(words) and (
        words[0] in ("menuentry", "submenu") if subject.dialect == "grub.cfg" else words[0].lower() == "label"
    )


def _lines(subject: Subject, file: str) -> list[str]:
    """Return the lines of the menu, or of another file that it reads (entries of the boot loader specification)."""
    if file == subject.name:
        return subject.lines
    text = read_text(subject, file)
    if text is None:
        return []
    subject.remember(file, text)
    return text.split("\n")


def read_text(subject: Subject, file: str) -> str | None:
    """Read the text of `(DEVICE)/path`, None if it cannot be read."""
    if subject.devices is None or not file.startswith("("):
        return None
    try:
        device, path = read_device(file)
        data = subject.devices.mount(device).open(path).read_at(0, FILE_LIMIT_BYTES)
    except PvbootError:
        return None
    return data.decode("utf-8", "surrogateescape")
