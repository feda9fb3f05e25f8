"""Going through a guest's volumes for files that are called like menus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from fsdrivers import errors as fs_errors
from fsdrivers.light import TYPE_CHECKING, dataclass
from pvboot.errors import NetworkError, PvbootError
from pvboot.menu.dialects import Dialect, search_order, server_order
from pvboot.menu.model import Menu, MenuWarning
from pvboot.menu.xen_loader import find_loaders

if TYPE_CHECKING:
    from fsdrivers.api import File, Filesystem
    from pvboot.device_names import Device
    from pvboot.devices import Devices

NAMES_LIMIT = 10_000  # names looked at in a directory whose spelling is to be found
MATCHES_LIMIT = 64  # directories that a pattern may lead into

# Where menus were written for a loader that knows no difference between `BOOT` and `boot`.
_ANY_CASE = ("iso9660", "vfat", "fat")


def is_directory(devices: Devices, device: Device, path: str) -> bool:
    """Whether the path is a directory there; False if that cannot be told."""
    try:
        return devices.mount(device).lookup(path).kind == "dir"
    except PvbootError:
        return False


@dataclass(frozen=True, slots=True)
class FoundMenu:
    """A menu file (or directory) that could be opened.

    `device` is None for a menu that is a plain file outside of any disk, `file` for that and for a directory.
    `warnings` say which candidates before it were passed over, and why.  `built` is what it holds, if that
    had to be known to choose it; `loaders` are boot loaders of the guest's own that are offered
    behind its entries.
    """

    device: Device | None
    path: str
    dialect: Dialect
    file: File | None
    warnings: tuple[MenuWarning, ...] = ()
    built: Menu | None = None
    loaders: tuple[tuple[Device, str], ...] = ()


class Search:
    """One search: `passed` are the candidates that came to nothing, `unknown` volumes without a known file system,
    `looked_at` how many had one, `loaders` those of the Xen PV bootloader protocol met so far."""

    def __init__(self, devices: Devices) -> None:
        self.devices = devices
        self.passed: list[MenuWarning] = []
        self.unknown: list[MenuWarning] = []
        self.looked_at = 0
        self.loaders: list[tuple[Device, str]] = []

    def pass_over(self, device: Device | None, path: str, reason: str) -> None:
        """Remember why a candidate was not taken."""
        self.passed.append(MenuWarning(f"{device}{path} is passed over: {reason}"))

    def candidates(self) -> Iterator[FoundMenu]:
        """Every menu there is, volume by volume, in the order of the dialects."""
        for device in self.devices.candidates(lambda err: self.passed.append(MenuWarning(str(err)))):
            try:
                filesystem = self.devices.mount(device)
            except fs_errors.UnknownFilesystem as err:
                self.unknown.append(MenuWarning(f"{device}: {err}"))  # swap, LVM ...: every disk has some
                continue
            except fs_errors.FsError as err:
                self.passed.append(MenuWarning(f"{device}: {err}"))
                continue
            self.looked_at += 1
            if filesystem.kind in ("http", "tftp"):
                yield from self._menus(device, filesystem, server_order())
                continue
            self.loaders += [(device, path) for path in find_loaders(filesystem)]
            yield from self._menus(device, filesystem, search_order())

    def _menus(
        self, device: Device, filesystem: Filesystem, order: Sequence[tuple[Dialect, str]]
    ) -> Iterator[FoundMenu]:
        names = _Names(filesystem)
        found = unlisted = False
        for dialect, pattern in order:
            for path in names.spellings(pattern.rstrip("/")):
                try:
                    file = _open(filesystem, path, directory=pattern.endswith("/"))
                except (fs_errors.NotFound, fs_errors.NotADirectory):
                    continue
                except fs_errors.FsError as err:
                    if isinstance(err, NetworkError):
                        if not err.unlisted:
                            raise  # a server that is in trouble with one name would be with all of them
                        unlisted = True
                        continue
                    self.pass_over(device, path, str(err))
                    continue
                found = True
                yield FoundMenu(device, path, dialect, file, tuple(self.passed))
        if unlisted and not found:
            self.passed.append(MenuWarning(f"{device}: no menu in a usual place is in the list of checksums"))


def _open(filesystem: Filesystem, path: str, *, directory: bool) -> File | None:
    """The menu's file, None for a directory.  Raises `FsError`, `NotADirectory` for a file in place of one."""
    if directory:
        if filesystem.lookup(path).kind != "dir":
            raise fs_errors.NotADirectory("not a directory", where=path)
        return None
    file = filesystem.open(path)
    file.read_at(0, 1)
    return file


class _Names:
    """How a path is really spelt on one volume; directories are listed once."""

    def __init__(self, filesystem: Filesystem) -> None:
        self._filesystem = filesystem
        self._listed: dict[str, list[str]] = {}

    def spellings(self, pattern: str) -> list[str]:
        """The paths to try: the pattern itself, or what a `*` or another case of its letters leads to."""
        if "*" not in pattern and self._filesystem.kind not in _ANY_CASE:
            return [pattern]
        paths = [""]
        for part in pattern.strip("/").split("/"):
            paths = [f"{path}/{name}" for path in paths for name in self._matching(path, part)][:MATCHES_LIMIT]
        return paths

    def _matching(self, directory: str, part: str) -> list[str]:
        """The exact name first; `BOOT` last, for what is there is only used when nothing else is."""
        wanted = part.lower()
        found = [name for name in self._list(directory) if wanted in ("*", name.lower())]
        return sorted(found, key=lambda name: (name != part, name.lower() == "boot", name))

    def _list(self, directory: str) -> list[str]:
        if directory not in self._listed:
            try:
                self._listed[directory] = list(islice(self._filesystem.names(directory or "/"), NAMES_LIMIT))
            except fs_errors.FsError:
                self._listed[directory] = []  # no directory: nothing below it can be a menu
        return self._listed[directory]
