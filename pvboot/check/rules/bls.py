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
    from pvboot.check.subject import Subject

DIALECTS = ("bls",)
KEYS = (
    "title",
    "version",
    "machine-id",
    "sort-key",
    "linux",
    "efi",
    "initrd",
    "options",
    "devicetree",
    "devicetree-overlay",
    "architecture",
    "uki",
    "uki-url",
    "profile",
    "extra",
    "grub_hotkey",
    "grub_users",
    "grub_class",
    "grub_arg",
    "id",
)


class _File(NamedTuple):
    stem: str
    name: str
    data: bytes


def _files(subject: Subject) -> Iterator[_File]:
    if subject.devices is None or subject.volume is None:
        return
    device = read_device(subject.volume)[0]
    try:
        for stem, name, data in read_files(subject.devices.mount(device), device, subject.path, lambda _warning: None):
            subject.remember(name, data.decode("utf-8", "surrogateescape"))
            yield _File(stem, name, data)
    except PvbootError:
        return


@rule("bls-entry-ignored", "warning", "a file in loader/entries is in no menu", dialects=DIALECTS)
def bls_entry_ignored(subject: Subject) -> Iterator[Problem]:
    """It names no Linux kernel, so that readers leave it out."""
    for file in _files(subject):
        keys = {field.key for field in grammar.parse(file.data, file.name)}
        if keys & {"linux"}:
            continue
        if keys & {"efi", "uki", "uki-url"}:
            message = "starts a program of the firmware, which a PV guest does not have"
            yield Problem(message, SourceSpan(file.name, 1, 1, 0), severity="note")
        else:
            yield Problem("has no line `linux`, so that no loader shows it", SourceSpan(file.name, 1, 1, 0))


@rule("entry-without-title", "note", "an entry has no title", dialects=DIALECTS)
def entry_without_title(subject: Subject) -> Iterator[Problem]:
    """Menus show its file's name, or the kernel's."""
    for file in _files(subject):
        keys = {field.key for field in grammar.parse(file.data, file.name)}
        if "linux" in keys and "title" not in keys:
            yield Problem("has no line `title`", SourceSpan(file.name, 1, 1, 0))


@rule("unknown-command", "warning", "a word that is not a command", dialects=DIALECTS)
def unknown_command(subject: Subject) -> Iterator[Problem]:
    """Readers pass it over; it may be a slip of the keyboard."""
    hints = Hints(KEYS)
    for file in _files(subject):
        for field in grammar.parse(file.data, file.name):
            if field.key in KEYS or field.key.startswith(("x-", "grub_")):
                continue
            near = hints.near(field.key.lower())
            hint = f", did you mean {near!r}?" if near else ""
            yield Problem(f"{shorten(field.key)!r} is not a key of the specification{hint}", field.span)


@rule(
    "bls-fields-lost", "error", "GRUB reads an entry only up to a blank line or a key without value", dialects=DIALECTS
)
def bls_fields_lost(subject: Subject) -> Iterator[Problem]:
    """Fedora's blscfg ends there; systemd-boot reads on, so that one file has two meanings."""
    for file in _files(subject):
        read = grammar.parse_as_grub(file.data, file.name)
        last = read[-1].span.line if read else 0
        lost = next(
            (
                field
                for field in grammar.parse(file.data, file.name)
                if field.span.line > last and field.key in ("linux", "initrd", "options")
            ),
            None,
        )
        if lost is not None:
            message = f"GRUB's blscfg stops reading before this line, so {lost.key!r} is lost"
            yield Problem(message, lost.span)
