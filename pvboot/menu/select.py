"""Choosing an entry by what a user calls it."""

from __future__ import annotations

from pvboot.errors import MenuError
from pvboot.grub_rules import shorten
from pvboot.menu.model import Entry, Menu

_LISTED = 10


def find_entry(menu: Menu, wanted: str) -> Entry:
    """The entry with this number, else this title, else this id.  Raises `MenuError` with what there is."""
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 and int(wanted) < len(menu.entries):
        return menu.entries[int(wanted)]
    for entry in menu.entries:
        if entry.title == wanted:
            return entry
    for entry in menu.entries:
        if entry.id == wanted:
            return entry
    titles = [f"{entry.index} {shorten(entry.title)!r}" for entry in menu.entries[:_LISTED]]
    more = f" and {len(menu.entries) - _LISTED} more" if len(menu.entries) > _LISTED else ""
    raise MenuError(f"no such entry {wanted!r}", where=f"{menu.volume or ''}{menu.path}",
                    expected=", ".join(titles) + more)
