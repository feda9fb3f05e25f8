"""Finding the menu of a guest and loading it: `find`, then `load`."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fsdrivers import errors as fs_errors
from pvboot.devices import Device, Devices, read_device
from pvboot.errors import MenuError, PvbootError
from pvboot.grub_rules import GrubError, shorten
from pvboot.menu.dialects import DIALECTS, MENU_LST, Dialect, MenuContext, dialect_of
from pvboot.menu.model import Menu, MenuWarning

if TYPE_CHECKING:
    from fsdrivers.api import File, Filesystem, Stat

MENU_LIMIT_BYTES = 1 << 20
DEFAULT_FILE_BYTES = 10  # GRUB Legacy reads no more of the file `default`

_GZIP_MAGIC = b"\x1f\x8b\x08"


@dataclass(frozen=True, slots=True)
class FoundMenu:
    """A menu file that could be opened, not yet read.

    `device` and `file` are None for a menu that is a plain file outside of any disk.  `warnings` say which
    candidates before it were passed over, and why.
    """

    device: Device | None
    path: str
    dialect: Dialect
    file: File | None
    warnings: tuple[MenuWarning, ...] = ()


def find(devices: Devices, config: str | None = None) -> FoundMenu:
    """The guest's menu: `config` if given (`[DEVICE]/path`), else the first known name, volume by volume.

    A candidate that is a directory or cannot be read is passed over with a warning.
    Raises `MenuError` if there is none.
    """
    if config is not None:
        return _find_named(devices, config)
    if devices.menu_file is not None:
        return FoundMenu(None, devices.menu_file, MENU_LST, None)
    passed: list[MenuWarning] = []
    unknown: list[MenuWarning] = []
    looked_at = 0
    for device in devices.candidates(lambda err: passed.append(MenuWarning(str(err)))):
        try:
            filesystem = devices.mount(device)
        except fs_errors.UnknownFilesystem as err:
            unknown.append(MenuWarning(f"{device}: {err}"))  # swap, LVM ...: every disk has some
            continue
        except fs_errors.FsError as err:
            passed.append(MenuWarning(f"{device}: {err}"))
            continue
        looked_at += 1
        for dialect in DIALECTS:
            for path in dialect.paths:
                try:
                    file = filesystem.open(path)
                    file.read_at(0, 1)
                except (fs_errors.NotFound, fs_errors.NotADirectory):
                    continue
                except fs_errors.FsError as err:
                    passed.append(MenuWarning(f"{device}{path} is passed over: {err}"))
                    continue
                return FoundMenu(device, path, dialect, file, tuple(passed))
    raise _nothing_found(devices, looked_at, passed, unknown)


def _nothing_found(
    devices: Devices, looked_at: int, passed: list[MenuWarning], unknown: list[MenuWarning]
) -> MenuError:
    """Why: the disk cannot be read, holds no file system, or a file system without a menu."""
    names = [path for dialect in DIALECTS for path in dialect.paths]
    where = devices.source_name
    if looked_at and not passed:
        found = f"none of them on {looked_at} file system(s)"
        return MenuError("no boot menu", where=where, expected=", ".join(names), found=found)
    reasons = "; ".join(warning.message for warning in (passed or unknown)) or "no disk at all"
    what = "no boot menu that can be read" if passed else "no file system to look for a boot menu"
    error = MenuError(what, where=where, found=shorten(reasons, 600))
    error.exit_code = 3  # the image is the trouble, not the menu
    return error


def _find_named(devices: Devices, config: str) -> FoundMenu:
    device, path = read_device(config) if config.startswith("(") else (None, config)
    found = open_path(devices, path, [device] if device else None)
    return FoundMenu(found[0], path, dialect_of(path), found[1])


def open_path(devices: Devices, path: str, only: list[Device] | None = None) -> tuple[Device, File]:
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
    """Read and understand a menu.  Raises `FsError` or `PvbootError` if its bytes cannot be had."""
    data, complete = _read(found)
    volume = str(found.device) if found.device else None
    context = MenuContext(
        source=devices.source_name,
        volume=volume,
        path=found.path,
        devices=devices,
        saved_default=lambda: _read_default_file(devices, found),
    )
    menu = found.dialect.builder()(data, context)
    notes = found.warnings
    if not complete:
        message = f"{volume or ''}{found.path}: only the first {MENU_LIMIT_BYTES} bytes are read"
        notes = (*notes, MenuWarning(message))
    return replace(menu, warnings=(*notes, *menu.warnings))


def _read(found: FoundMenu) -> tuple[bytes, bool]:
    """The menu's bytes up to the limit, and whether that was all.  Compressed menus are unpacked, as by GRUB."""
    if found.file is None:
        try:
            with open(found.path, "rb") as file:
                data = file.read(MENU_LIMIT_BYTES + 1)
        except OSError as err:
            raise fs_errors.SourceError(f"cannot be read: {err.strerror}", where=found.path) from err
    else:
        data = found.file.read_at(0, MENU_LIMIT_BYTES + 1)
    if data.startswith(_GZIP_MAGIC):
        data = _unpack(data, found)
    if len(data) <= MENU_LIMIT_BYTES:
        return data, True
    return data[: data.rfind(b"\n", 0, MENU_LIMIT_BYTES) + 1], False


def _unpack(data: bytes, found: FoundMenu) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    where = f"{found.device or ''}{found.path}"
    try:
        text = unpacker.decompress(data, MENU_LIMIT_BYTES + 1)
    except zlib.error as err:
        raise MenuError("the compressed menu is damaged", where=where, expected="gzip data", found=str(err)) from err
    if not unpacker.eof and len(text) <= MENU_LIMIT_BYTES:
        raise MenuError("the compressed menu is damaged", where=where, expected="the end of the gzip data",
                        found="the end of the file")
    return text


def _read_default_file(devices: Devices, found: FoundMenu) -> bytes:
    """The file `default` in the menu's own directory, as `default saved` wants it."""
    if found.device is None:
        return b""
    path = found.path.rpartition("/")[0] + "/default"
    try:
        return devices.open(path, found.device).read_at(0, DEFAULT_FILE_BYTES)
    except (GrubError, fs_errors.FsError):
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
    try:
        first = find(devices, config).device
    except (PvbootError, fs_errors.FsError):
        first = None
    if first is not None:
        yield first
    yield from (device for device in devices.candidates() if device != first)
