"""What a menu says while it is understood: the warnings of its builder, and of its entries as each is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from fsdrivers.errors import FsError
from pvboot.errors import PvbootError
from pvboot.menu.model import MenuWarning

if TYPE_CHECKING:
    from pvboot.check.subject import Subject

Told = tuple[MenuWarning, "int | None"]


def told(subject: Subject, *codes: str) -> Iterator[Told]:
    """Warnings with one of the codes, and the index of the entry whose script said it (None: the menu itself)."""
    for warning, entry in _all(subject):
        if warning.code in codes:
            yield warning, entry


@lru_cache(maxsize=8)  # a handful of rules ask about the same menu
def _all(subject: Subject) -> tuple[Told, ...]:
    if subject.dialect != "grub.cfg":
        return tuple((warning, None) for warning in subject.menu.warnings)
    return tuple(_run(subject))


def _run(subject: Subject) -> Iterator[Told]:
    """Understand the menu once more, listening: entries of a `grub.cfg` are scripts that speak when they run."""
    from pvboot.devices import Devices
    from pvboot.menu import grub_cfg
    from pvboot.menu.dialects import MenuContext

    heard: list[MenuWarning] = []
    devices = subject.devices or Devices([])
    context = MenuContext(subject.source, subject.volume, subject.path, devices, on_warning=heard.append)
    menu = grub_cfg.build(subject.data, context)
    seen = set(heard)
    yield from ((warning, None) for warning in dict.fromkeys(heard))
    for entry in menu.entries[: len(subject.opened_entries)]:
        heard.clear()
        try:
            assert entry.files is not None
            entry.files()
        except (PvbootError, FsError):
            pass  # told by the rules about what entries load
        yield from ((warning, entry.index) for warning in dict.fromkeys(heard) if warning not in seen)
