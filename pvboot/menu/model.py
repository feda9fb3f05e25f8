"""Menus as plain data, free of the dialect they were written in."""

from __future__ import annotations

from collections.abc import Callable

from fsdrivers.light import dataclass, field
from grammars.spans import SourceSpan


@dataclass(frozen=True, slots=True)
class MenuWarning:
    """A fault of a menu that does not keep it from being used.

    `code` says what kind of thing it is, `subject` which word it is about, for programs; "" where nobody asks.
    """

    message: str
    span: SourceSpan | None = None
    code: str = ""
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.span}: {self.message}" if self.span else self.message


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `text` is the line as it is echoed, `args` what follows the name, `span` the whole line."""

    name: str
    args: str
    text: str
    span: SourceSpan
    args_span: SourceSpan


@dataclass(frozen=True, slots=True)
class BootFiles:
    """The files of an entry in dialects other than GRUB Legacy's.

    File names are `[DEVICE]/path` in GRUB's syntax; `root` is the device of those without one (None: the menu's
    volume).  Several initrds are joined.  `modules` are (file, arguments) of a multiboot entry.  `typed_args` are the
    arguments with the blanks that stand between them in the menu, where the dialect's own loader makes them one.
    """

    kernel: str | None
    args: str = ""
    initrds: tuple[str, ...] = ()
    modules: tuple[tuple[str, str], ...] = ()
    root: str | None = None
    typed_args: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One choice.  `submenu` holds the titles of the menus around it, `line` is that of its title.

    An entry of GRUB Legacy has `commands`; one of another dialect has `files`, which says what it loads (and may run
    the entry's script for it: it raises `PvbootError` or `FsError` as running commands does).
    """

    index: int
    title: str
    commands: tuple[Command, ...]
    span: SourceSpan
    id: str | None = None
    submenu: tuple[str, ...] = ()
    locked: bool = False
    files: Callable[[], BootFiles] | None = field(default=None, compare=False, repr=False)

    @property
    def line(self) -> int:
        """The line of the title in the menu file, from 1."""
        return self.span.line


@dataclass(frozen=True, slots=True)
class Password:
    """`kind` is "plain", "md5" or "unsupported"; `value` the rest of the line as GRUB stores it."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Menu:
    """A loaded menu.

    `volume` is the canonical device name, None for a plain menu file.  `default` and `fallback` are valid
    indices (0 for an empty menu); `timeout` in seconds, None waits for ever, 0 boots at once.
    """

    source: str
    volume: str | None
    path: str
    dialect: str
    entries: tuple[Entry, ...]
    default: int = 0
    fallback: tuple[int, ...] = ()
    timeout: int | None = None
    hidden: bool = False
    password: Password | None = None
    warnings: tuple[MenuWarning, ...] = ()
