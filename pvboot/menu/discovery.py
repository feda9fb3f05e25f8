"""Choosing the menu of a guest and loading it: `find`, then `load`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fsdrivers import errors as fs_errors
from fsdrivers.light import TYPE_CHECKING, replace
from pvboot.device_names import Device, read_device
from pvboot.devices import Devices
from pvboot.errors import MenuError, PvbootError
from pvboot.grub_errors import shorten
from pvboot.menu.dialects import XEN_LOADER, MenuContext, dialect_of, search_order
from pvboot.menu.model import Entry, Menu, MenuWarning
from pvboot.menu.search import FoundMenu, Search, is_directory
from pvboot.menu.xen_loader import loader_entry

if TYPE_CHECKING:
    from fsdrivers.api import File, Filesystem, Stat

__all__ = ["FoundMenu", "can_boot", "find", "load", "locate_path", "open_path"]

MENU_LIMIT_BYTES = 1 << 20
DEFAULT_FILE_BYTES = 10  # GRUB Legacy reads no more of the file `default`
ENTRIES_ASKED = 64

_GZIP_MAGIC = b"\x1f\x8b\x08"


def find(devices: Devices, config: str | None = None, *, every_title: bool = False) -> FoundMenu:
    """The guest's menu: `config` if given (`[DEVICE]/path`), else the first that can boot, volume by volume.

    A candidate that cannot be read, or none of whose entries boots a kernel, is passed over with a warning.  Without
    any menu a loader that the guest carries for the Xen PV bootloader protocol is the menu.  `every_title` is that of
    `MenuContext`.
    Raises `MenuError` if there is nothing, or what was wrong with the first candidate.
    """
    if config is not None:
        return _find_named(devices, config)
    if devices.menu is not None:
        return FoundMenu(devices.menu.device, devices.menu.path, dialect_of(devices.menu.path), devices.menu.file)
    search = Search(devices)
    last_resort: FoundMenu | None = None
    problem: PvbootError | None = None
    for found in search.candidates():
        try:
            menu = _build(devices, found, every_title=every_title)
        except PvbootError as err:
            problem = problem or err
            search.pass_over(found.device, found.path, str(err))
            continue
        found = replace(found, built=menu, loaders=tuple(search.loaders))
        if can_boot(menu):
            return found
        last_resort = last_resort or found
        search.pass_over(found.device, found.path, "none of its entries loads a kernel")
    if search.loaders:
        device, path = search.loaders[0]
        return FoundMenu(device, path, XEN_LOADER, None, tuple(search.passed), loaders=tuple(search.loaders[1:]))
    if last_resort is not None:
        return last_resort
    if problem is not None:
        raise problem
    raise _nothing_found(devices, search)


def can_boot(menu: Menu) -> bool:
    """Whether an entry loads a kernel, or leads to another menu; the default is asked first, not all of thousands."""
    ordered = (*menu.entries[menu.default : menu.default + 1], *menu.entries[:ENTRIES_ASKED])
    return any(_can_boot(entry) for entry in ordered)


def _can_boot(entry: Entry) -> bool:
    if entry.files is None:
        return any(command.name in ("kernel", "configfile") for command in entry.commands)
    try:
        return entry.files().kernel is not None
    except PvbootError:
        return False


def _nothing_found(devices: Devices, search: Search) -> MenuError:
    """Why: the disk cannot be read, holds no file system, or a file system without a menu."""
    where = devices.source_name
    if search.looked_at and not search.passed:
        found = f"none of them on {search.looked_at} file system(s)"
        expected = ", ".join(path for _dialect, path in search_order())
        return MenuError("no boot menu", where=where, expected=expected, found=found)
    reasons = "; ".join(warning.message for warning in (search.passed or search.unknown)) or "no disk at all"
    what = "no boot menu that can be read" if search.passed else "no file system to look for a boot menu"
    error = MenuError(what, where=where, found=shorten(reasons, 600))
    error.exit_code = 3  # the image is the trouble, not the menu
    return error


def _find_named(devices: Devices, config: str) -> FoundMenu:
    device, path = read_device(config) if config.startswith("(") else (None, config)
    dialect = dialect_of(path)
    try:
        device, file = open_path(devices, path, [device] if device else None)
    except fs_errors.IsADirectory as err:
        for candidate in devices.candidates() if device is None else [device]:
            if dialect.takes_directories and is_directory(devices, candidate, path):
                return FoundMenu(candidate, path, dialect, None)
        raise err
    return FoundMenu(device, path, dialect, file)


def open_path(devices: Devices, path: str, only: Iterable[Device] | None = None) -> tuple[Device, File]:
    """The first volume that has the file (of `only`, if given), and the file.

    Raises `FsError`: `NotFound`, or a graver reason that one of the volumes gave.
    """
    path = path if path.startswith("/") else f"/{path}"
    problem: fs_errors.FsError | None = None
    for device in only if only is not None else devices.candidates():
        try:
            return device, devices.mount(device).open(path)
        except fs_errors.FsError as err:
            if problem is None or isinstance(problem, (fs_errors.NotFound, fs_errors.UnknownFilesystem)):
                problem = err
    raise problem or fs_errors.NotFound("no such file", where=path)


def load(devices: Devices, found: FoundMenu) -> Menu:
    """Read and understand a menu.  Raises `PvbootError` if its bytes cannot be had."""
    menu = found.built
    if menu is None or menu.dialect != found.dialect.name:  # a caller may insist on another dialect
        menu = _build(devices, found)
    if found.loaders:
        added = (loader_entry(len(menu.entries) + i, *loader) for i, loader in enumerate(found.loaders))
        menu = replace(menu, entries=(*menu.entries, *added))
    return replace(menu, warnings=(*found.warnings, *menu.warnings))


def _build(devices: Devices, found: FoundMenu, *, every_title: bool = False) -> Menu:
    data, complete = read_menu(found)
    context = replace(context_of(devices, found), every_title=every_title)
    menu = found.dialect.builder()(data, context)
    if complete:
        return menu
    message = f"{context.volume or ''}{found.path}: only the first {MENU_LIMIT_BYTES} bytes are read"
    return replace(menu, warnings=(MenuWarning(message), *menu.warnings))


def context_of(devices: Devices, found: FoundMenu) -> MenuContext:
    """Where a menu was found, for its builder."""
    return MenuContext(
        source=devices.source_name,
        volume=str(found.device) if found.device else None,
        path=found.path,
        devices=devices,
        saved_default=lambda: _read_default_file(devices, found),
    )


def read_menu(found: FoundMenu, limit_bytes: int = MENU_LIMIT_BYTES) -> tuple[bytes, bool]:
    """The menu's bytes up to the limit, and whether that was all.  Compressed menus are unpacked, as by GRUB.

    Raises `FsError`, `MenuError`.
    """
    if found.file is None:
        return b"", True  # a directory, or a loader: there is no text
    data = found.file.read_at(0, limit_bytes + 1)
    if data.startswith(_GZIP_MAGIC):
        data = _unpack(data, found, limit_bytes)
    if len(data) <= limit_bytes:
        return data, True
    return data[: data.rfind(b"\n", 0, limit_bytes) + 1], False


def _unpack(data: bytes, found: FoundMenu, limit_bytes: int) -> bytes:
    from pvboot.unpack import ByteStream, UnpackError, unpack

    try:
        return b"".join(unpack("gzip", ByteStream.of(data), limit_bytes + 1, stop=True))
    except UnpackError as err:
        where = f"{found.device or ''}{found.path}"
        raise MenuError("the compressed menu is damaged", where=where, expected="gzip data", found=str(err)) from err


def _read_default_file(devices: Devices, found: FoundMenu) -> bytes:
    """The file `default` in the menu's own directory, as `default saved` wants it."""
    if found.device is None:
        return b""
    path = found.path.rpartition("/")[0] + "/default"
    try:
        return devices.open_path(found.device, path).read_at(0, DEFAULT_FILE_BYTES)
    except PvbootError:
        return b""  # as GRUB: no such file means entry 0


def locate_path(devices: Devices, text: str, config: str | None = None) -> tuple[Device, Filesystem, str, Stat]:
    """Where `[DEVICE]/path` is: its device, file system, path there, and what it is.

    Without a device it is looked up on the volume of the menu, else on the first volume that has it.
    Raises `FsError` (`NotFound` with what the first volume said), `GrubError` for a bad device.
    """
    if text.startswith("("):
        device, path = read_device(text)
        filesystem = devices.mount(device)
        return device, filesystem, path or "/", filesystem.lookup(path or "/")
    problem: fs_errors.FsError | None = None
    for device in _lookup_order(devices, config):
        try:
            filesystem = devices.mount(device)
            return device, filesystem, text, filesystem.lookup(text)
        except fs_errors.FsError as err:
            if problem is None or isinstance(problem, fs_errors.UnknownFilesystem):
                problem = err
    raise problem or fs_errors.NotFound("no file system", where=devices.source_name)


def _lookup_order(devices: Devices, config: str | None) -> Iterator[Device]:
    candidates = list(devices.candidates())
    if len(candidates) < 2:  # the menu does not change the order
        yield from candidates
        return
    try:
        first = find(devices, config).device
    except PvbootError:
        first = None
    if first is not None:
        yield first
    yield from (device for device in candidates if device != first)
