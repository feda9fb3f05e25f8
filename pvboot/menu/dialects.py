"""The menu dialects: under which names each is found, and who understands it.

A new dialect is one module with a `build` function as `pvboot.menu.menu_lst` has it, and one row here.
Rows stand in the order in which the names are tried on a volume (the order guests' tools agree on).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

from fsdrivers.light import TYPE_CHECKING, Any, Protocol, cast, dataclass
from pvboot.menu.model import Entry, Menu, MenuWarning

if TYPE_CHECKING:
    from pvboot.device_names import Device
    from pvboot.devices import Devices


@dataclass(frozen=True, slots=True)
class MenuContext:
    """Where a menu file was found, for builders that need more than its bytes.

    `source` is what the user named, `volume` the canonical device name (None: a plain file outside of any disk),
    `path` the file; `devices` are the guest's disks.  `saved_default` reads GRUB Legacy's file `default` beside the
    menu, b"" if there is none.  `on_warning` hears every warning when it arises, also those of entries that are run
    later.  `every_title` counts the entries of a `menu.lst` as pygrub does, with those that hold no command.
    """

    source: str
    volume: str | None
    path: str
    devices: Devices
    saved_default: Callable[[], bytes] = lambda: b""
    on_warning: Callable[[MenuWarning], object] = lambda _warning: None
    every_title: bool = False

    @property
    def name(self) -> str:
        """The menu's name for messages, with its device."""
        return f"{self.volume or ''}{self.path}"

    @property
    def device(self) -> Device | None:
        """The device of the menu's volume."""
        from pvboot.device_names import read_device

        return read_device(self.volume)[0] if self.volume else None

    def menu(self, dialect: str, entries: Iterable[Entry], warnings: Iterable[MenuWarning], **settings: Any) -> Menu:
        """The menu that was found here; `settings` are more fields of `Menu`."""
        found = self.source, self.volume, self.path, dialect
        return Menu(*found, tuple(entries), warnings=tuple(warnings), **settings)


class Builder(Protocol):
    """What every dialect's module offers."""

    def __call__(self, data: bytes, context: MenuContext) -> Menu:
        """The menu in `data` (b"" if `context.path` is a directory); never fails for what the bytes say."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """`module` is imported only when a menu of the dialect was found.

    `paths` are tried first, for all dialects in turn: they are pygrub's.  `more_paths` are those it never looked at.
    A path that ends in a slash is a directory, a component `*` stands for any directory.
    """

    name: str
    module: str
    paths: tuple[str, ...] = ()
    more_paths: tuple[str, ...] = ()

    @property
    def takes_directories(self) -> bool:
        """Whether a directory is a menu of this dialect."""
        return any(path.endswith("/") for path in (*self.paths, *self.more_paths))

    def builder(self) -> Builder:
        """The function that gives such a file its meaning."""
        return cast(Builder, import_module(self.module).build)


GRUB_CFG = Dialect(
    "grub.cfg",
    "pvboot.menu.grub_cfg",
    ("/boot/grub/grub.cfg", "/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub2/grub.cfg"),
    ("/efi/*/grub.cfg", "/boot/efi/efi/*/grub.cfg"),
)

EXTLINUX = Dialect(
    "extlinux",
    "pvboot.menu.extlinux",
    (
        "/boot/isolinux/isolinux.cfg",
        "/boot/extlinux/extlinux.conf",
        "/boot/extlinux.conf",
        "/extlinux/extlinux.conf",
        "/extlinux.conf",
    ),
    (
        "/isolinux/isolinux.cfg",
        "/isolinux.cfg",
        "/syslinux/syslinux.cfg",
        "/syslinux.cfg",
        "/boot/syslinux/syslinux.cfg",
        "/boot/syslinux/isolinux.cfg",
        "/boot/syslinux/extlinux.conf",
    ),
)

MENU_LST = Dialect(
    "menu.lst",
    "pvboot.menu.menu_lst",
    ("/boot/grub/menu.lst", "/boot/grub/grub.conf", "/grub/menu.lst", "/grub/grub.conf"),
)

BLS = Dialect("bls", "pvboot.menu.bls_menu", more_paths=("/loader/entries/", "/boot/loader/entries/"))

ELILO = Dialect("elilo", "pvboot.menu.elilo", more_paths=("/efi/*/elilo.conf", "/boot/efi/*/elilo.conf", "/elilo.conf"))

DIALECTS: tuple[Dialect, ...] = (GRUB_CFG, BLS, EXTLINUX, MENU_LST, ELILO)

# Never looked for by its name: a volume's loader is offered behind its menu (see `xen_loader`).
XEN_LOADER = Dialect("pvboot", "pvboot.menu.xen_loader")


def search_order() -> tuple[tuple[Dialect, str], ...]:
    """What is tried on a volume, one after the other."""
    return (
        *((dialect, path) for dialect in DIALECTS for path in dialect.paths),
        *((dialect, path) for dialect in DIALECTS for path in dialect.more_paths),
    )


def server_order() -> tuple[tuple[Dialect, str], ...]:
    """What a server is asked for, one request each: menus laid down for network boots, then a guest's tree."""
    return (
        (MENU_LST, "/menu.lst"),
        (GRUB_CFG, "/grub.cfg"),
        (EXTLINUX, "/extlinux.conf"),
        *((GRUB_CFG, path) for path in GRUB_CFG.paths),
        *((MENU_LST, path) for path in MENU_LST.paths),
        (EXTLINUX, "/boot/extlinux/extlinux.conf"),
        (EXTLINUX, "/extlinux/extlinux.conf"),
        (EXTLINUX, "/isolinux/isolinux.cfg"),
        (BLS, "/loader/entries/"),
    )


def dialect_of(path: str) -> Dialect:
    """The dialect of a menu that was named by hand: by the last part of its path, else GRUB Legacy's.

    The names that GRUB 2 and PXELINUX search on a server (`grub.cfg-01-...`, `pxelinux.cfg/C0000214`) are known, too.
    """
    name = _last(path)
    if name.startswith("grub.cfg-"):
        return GRUB_CFG
    if path.lower().rpartition("/")[0].endswith("pxelinux.cfg"):
        return EXTLINUX
    return next((dialect for dialect, known in search_order() if _last(known) == name), MENU_LST)


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2].lower()
