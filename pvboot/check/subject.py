"""The subject of all rules: one menu, its text and syntax tree, the guest around it, and what its entries load.

Everything beyond the bytes is worked out when a rule first asks for it, and once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from grammars.spans import SourceSpan
from pvboot.check.model import DEFAULTS, CheckOptions
from pvboot.device_names import read_device
from pvboot.menu.loads import GRUB, EntryLoads, entry_loads
from pvboot.menu.model import Entry, Menu, MenuWarning

if TYPE_CHECKING:
    from grammars.fields import Field, FieldFile
    from grammars.grub_cfg import Script
    from grammars.menu_lst import MenuFile
    from pvboot.check.menu_lst_view import MenuLst
    from pvboot.devices import Devices

ENTRIES_OPENED: Final = 500  # entries whose files are looked at

WARNINGS_KEPT: Final = 50_000

Made = TypeVar("Made")
Owned = tuple[MenuWarning, "int | None"]

_GRAMMARS: Final = {
    "menu.lst": "grammars.menu_lst",
    "grub.cfg": "grammars.grub_cfg",
    "extlinux": "grammars.extlinux",
    "elilo": "grammars.elilo",
}


class Listener:
    """Warnings of a menu as they arise, each with the index of the entry whose script is being run."""

    def __init__(self) -> None:
        self.heard: list[Owned] = []
        self.entry: int | None = None

    def __call__(self, warning: MenuWarning) -> None:
        if len(self.heard) < WARNINGS_KEPT:
            self.heard.append((warning, self.entry))


@dataclass(eq=False)
class Subject:
    """One menu of a source.

    `data` is what stands in the file (b"" for a directory of entries), `complete` False if that was cut at 8 MiB.
    `volume` is the canonical device name, None for a plain file.  `devices` are the guest's disks; None if there are
    none, so that nothing about files can be said.  `others` are the other menus of the same source, in the order in
    which they are found; `chosen` says that this is the one that pvboot boots from.  `listener` hears its warnings.
    """

    source: str
    data: bytes
    dialect: str
    volume: str | None
    path: str
    menu: Menu
    devices: Devices | None = None
    options: CheckOptions = DEFAULTS
    complete: bool = True
    chosen: bool = True
    others: tuple[Subject, ...] = ()
    listener: Listener = field(default_factory=Listener)
    _other_texts: dict[str, list[str]] = field(default_factory=dict)
    _made: dict[object, Any] = field(default_factory=dict)

    def once(self, key: object, make: Callable[[], Made]) -> Made:
        """Return what `make` gave when it was first called for this key."""
        if key not in self._made:
            self._made[key] = make()
        return cast("Made", self._made[key])

    @property
    def name(self) -> str:
        """The file's name in findings and spans: `(DEVICE)/path`, or that of a plain file."""
        return f"{self.volume or ''}{self.path}"

    @cached_property
    def text(self) -> str:
        """The file decoded as the grammars do: bytes that are not UTF-8 become surrogate escapes."""
        return self.data.decode("utf-8", "surrogateescape")

    @cached_property
    def lines(self) -> list[str]:
        """The file's lines without their newlines, carriage returns kept; line N of a span is `lines[N - 1]`."""
        return self.text.split("\n")

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *accumulate(len(line) + 1 for line in self.lines)]

    def offset_of(self, line: int) -> int:
        """Return the index in `text` of the first character of a line."""
        return self._line_starts[line - 1]

    def span(self, offset: int, length: int) -> SourceSpan:
        """Return the place of `text[offset:offset + length]`."""
        line = bisect_right(self._line_starts, offset)
        return SourceSpan(self.name, line, offset - self._line_starts[line - 1] + 1, length)

    @cached_property
    def tree(self) -> Any:
        """The syntax tree of the dialect's grammar, None for one without text (`bls`, `pvboot`)."""
        module = _GRAMMARS.get(self.dialect)
        return import_module(module).parse(self.data, self.name) if module else None

    @property
    def menu_file(self) -> MenuFile:
        """The tree of a `menu.lst`."""
        assert self.dialect == "menu.lst"
        return cast("MenuFile", self.tree)

    @property
    def script(self) -> Script:
        """The tree of a `grub.cfg`."""
        assert self.dialect == "grub.cfg"
        return cast("Script", self.tree)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The tree of an `extlinux` or `elilo` file."""
        assert self.dialect in ("extlinux", "elilo")
        return cast("FieldFile", self.tree).fields

    @cached_property
    def menu_lst(self) -> MenuLst:
        """Head and entries of a `menu.lst` with all their lines, also those that GRUB skips."""
        from pvboot.check.menu_lst_view import view

        return view(self.menu_file)

    @cached_property
    def unattended(self) -> frozenset[int]:
        """The entries that boot when nobody is there: the default and the fallbacks."""
        return frozenset((self.menu.default, *self.menu.fallback)) if self.menu.entries else frozenset()

    # -- what entries load

    @property
    def opened_entries(self) -> tuple[Entry, ...]:
        """The entries whose files are looked at: the default first, then in order, up to a limit."""
        default = self.menu.entries[self.menu.default : self.menu.default + 1]
        rest = self.menu.entries[: ENTRIES_OPENED + 1]
        return (default + tuple(entry for entry in rest if entry not in default))[:ENTRIES_OPENED]

    def loads(self, entry: Entry) -> EntryLoads:
        """Return what an entry loads, its files opened if there are disks, unless only the text is checked."""
        return self.once(("loads", entry.index), lambda: self._open(entry))

    def _open(self, entry: Entry) -> EntryLoads:
        root = read_device(self.volume)[0] if self.volume else None
        self.listener.entry = entry.index
        return entry_loads(entry, root, self.devices if self.options.depth != "text" else None, GRUB)

    def names(self, entry: Entry) -> EntryLoads:
        """Return what an entry loads where names suffice: its files may not have been opened."""
        return entry_loads(entry, None) if entry.files is None else self.loads(entry)

    # -- source lines for reports

    def remember(self, file: str, text: str) -> None:
        """Keep the text of another file, so that findings there can show their line."""
        self._other_texts[file] = text.split("\n")

    @property
    def texts(self) -> dict[str, str]:
        """The texts of the menu and of the files that rules have remembered so far, by their names."""
        others = {file: "\n".join(lines) for file, lines in self._other_texts.items()}
        return {self.name: self.text, **others}

    def line_at(self, file: str, line: int) -> str | None:
        """Return a line of the menu or of a remembered file, without its line end."""
        lines = self.lines if file == self.name else self._other_texts.get(file, [])
        return lines[line - 1].rstrip("\r") if 0 < line <= len(lines) else None
