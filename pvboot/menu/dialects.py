"""The menu dialects: under which names each is found, and who understands it.

A new dialect is one module with a `build` function as `pvboot.menu.menu_lst` has it, and one row here.
Rows stand in the order in which the names are tried on a volume (the order guests' tools agree on).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from pvboot.menu.model import Menu

if TYPE_CHECKING:
    from pvboot.devices import Devices


@dataclass(frozen=True, slots=True)
class MenuContext:
    """Where a menu file was found, for builders that need more than its bytes.

    `source` is what the user named, `volume` the canonical device name (None: a plain file outside of any disk),
    `path` the file; `devices` are the guest's disks.  `saved_default` reads GRUB Legacy's file `default` beside the
    menu, b"" if there is none.
    """

    source: str
    volume: str | None
    path: str
    devices: Devices
    saved_default: Callable[[], bytes] = lambda: b""


class Builder(Protocol):
    """What every dialect's module offers."""

    def __call__(self, data: bytes, context: MenuContext) -> Menu:
        """The menu in `data`; never fails for what the bytes say."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """`module` is imported only when a menu of the dialect was found."""

    name: str
    module: str
    paths: tuple[str, ...]

    def builder(self) -> Builder:
        """The function that gives such a file its meaning."""
        return cast(Builder, import_module(self.module).build)


GRUB_CFG = Dialect(
    "grub.cfg",
    "pvboot.menu.grub_cfg",
    ("/boot/grub/grub.cfg", "/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub2/grub.cfg"),
)

MENU_LST = Dialect(
    "menu.lst",
    "pvboot.menu.menu_lst",
    ("/boot/grub/menu.lst", "/boot/grub/grub.conf", "/grub/menu.lst", "/grub/grub.conf"),
)

DIALECTS: tuple[Dialect, ...] = (GRUB_CFG, MENU_LST)


def dialect_of(path: str) -> Dialect:
    """The dialect of a menu that was named by hand: by its well-known path, else GRUB Legacy's."""
    return next((dialect for dialect in DIALECTS if path in dialect.paths), MENU_LST)
