"""Rules about entries of the Boot Loader Specification, whoever reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from grammars import bls as grammar
from grammars.spans import SourceSpan
from pvboot.check.api import Problem, rule
from pvboot.check.hints import Hints
from pvboot.device_names import read_device
from pvboot.errors import PvbootError
from pvboot.grub_errors import shorten
from pvboot.menu.bls import read_files

if TYPE_CHECKING:
    from grammars.fields import Field
    from pvboot.check.subject import Subject

DIALECTS = ("bls",)
_KEYS = (
    "title version machine-id sort-key linux efi initrd options devicetree devicetree-overlay architecture uki uki-url "
    "profile extra grub_hotkey grub_users grub_class grub_arg id"
)
KEYS = _KEYS.split()


class _File(NamedTuple):
    name: str
    data: bytes
    fields: tuple[Field, ...]

    @property
    def keys(self) -> set[str]:
        return {field.key for field in self.fields}

    @property
    def start(self) -> SourceSpan:
        return SourceSpan(self.name, 1, 1, 0)


def _files(subject: Subject) -> list[_File]:
    return subject.once("entries", lambda: list(_read(subject)))


def _read(subject: Subject) -> Iterator[_File]:
    if subject.devices is None or subject.volume is None:
        return
    device = read_device(subject.volume)[0]
    try:
        for _stem, name, data in read_files(subject.devices.mount(device), device, subject.path, lambda _warning: None):
            subject.remember(name, data.decode("utf-8", "surrogateescape"))
            yield _File(name, data, grammar.parse(data, name))
    except PvbootError:
        return


@rule("bls-entry-ignored", "warning", "a file in loader/entries is in no menu", dialects=DIALECTS)
def bls_entry_ignored(subject: Subject) -> Iterator[Problem]:
    """It names no Linux kernel, so that readers leave it out."""
    for file in _files(subject):
        if file.keys & {"efi", "uki", "uki-url"} and "linux" not in file.keys:
            message = "starts a program of the firmware, which a PV guest does not have"
            yield Problem(message, file.start, severity="note")
        elif "linux" not in file.keys:
            yield Problem("has no line `linux`, so that no loader shows it", file.start)


@rule("entry-without-title", "note", "an entry has no title", dialects=DIALECTS)
def entry_without_title(subject: Subject) -> Iterator[Problem]:
    """Menus show its file's name, or the kernel's."""
    for file in _files(subject):
        if "linux" in file.keys and "title" not in file.keys:
            yield Problem("has no line `title`", file.start)


@rule("unknown-command", "warning", "a word that is not a command", dialects=DIALECTS)
def unknown_command(subject: Subject) -> Iterator[Problem]:
    """Readers pass it over; it may be a slip of the keyboard."""
    hints = Hints(KEYS)
    for file in _files(subject):
        for field in file.fields:
            if field.key not in KEYS and not field.key.startswith(("x-", "grub_")):
                hint = hints.question(field.key.lower())
                yield Problem(f"{shorten(field.key)!r} is not a key of the specification{hint}", field.span)


@rule("bls-fields-lost", "error", "GRUB reads an entry only to a blank line or a key without value", dialects=DIALECTS)
def bls_fields_lost(subject: Subject) -> Iterator[Problem]:
    """Fedora's blscfg ends there; systemd-boot reads on, so that one file has two meanings."""
    for file in _files(subject):
        read = grammar.parse_as_grub(file.data, file.name)
        last = read[-1].span.line if read else 0
        for field in file.fields:
            if field.span.line > last and field.key in ("linux", "initrd", "options"):
                message = f"GRUB's blscfg stops reading before this line, so {field.key!r} is lost"
                yield Problem(message, field.span)
                break
