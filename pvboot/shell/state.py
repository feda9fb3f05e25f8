"""The state of one run: devices, root, what is loaded so far, and whom to talk to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fsdrivers.errors import FsError
from pvboot import grub_errors
from pvboot.device_names import Device, read_device
from pvboot.devices import Devices
from pvboot.grub_errors import GrubError
from pvboot.menu.discovery import open_path
from pvboot.menu.model import Entry, Menu
from pvboot.shell.request import Module

if TYPE_CHECKING:
    from fsdrivers.api import File


def _discard(_text: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Console:
    """How commands talk: `out` takes text, `ask` returns a typed line or None if nobody answers.

    Text comes from the guest and may hold control characters; whoever prints it makes it safe.
    """

    out: Callable[[str], object] = _discard
    ask: Callable[[str], str | None] | None = None


@dataclass(slots=True)
class Shell:
    """One run of an entry, or one session at the prompt.

    `root` is the device of paths without one; until a command names it (`root_named`) it is the volume of the
    menu, and a file that is not there is looked for on the other volumes.
    """

    devices: Devices
    menu: Menu | None = None
    entry: Entry | None = None
    console: Console = field(default_factory=Console)
    root: Device | None = None
    root_named: bool = False
    authenticated: bool = False
    kernel: File | None = None
    kernel_name: str = ""
    kernel_args: str = ""
    modules: list[Module] = field(default_factory=list)
    pager: bool = False

    def out(self, text: str) -> None:
        """Print one line."""
        self.console.out(text + "\n")

    def need_root(self) -> Device:
        """The root device.  Raises `GrubError` 12 if there is none (a menu from outside of any disk)."""
        if self.root is None:
            raise GrubError(grub_errors.INVALID_DEVICE, "no root device is set")
        return self.root

    def open(self, name: str) -> tuple[str, File]:
        """The file of that name and its full name with the device.  Raises `GrubError`."""
        return self._open(name, loops=False)

    def open_whole(self, name: str) -> tuple[str, File]:
        """As `open`, for the menus of other loaders: `(loop0)` is a device, too."""
        return self._open(name, loops=True)

    def _open(self, word: str, *, loops: bool) -> tuple[str, File]:
        named = word.startswith("(")
        device, rest = read_device(word, self.root, loops=loops) if named else (self.root, word)
        searching = not (named or self.root_named) and rest.startswith("/")
        if device is None:
            if not searching:
                raise GrubError(grub_errors.INVALID_DEVICE, f"{word!r} needs a device, and no root is set")
            device, file = open_path(self.devices, rest)
            return f"{device}{rest}", file
        try:
            return f"{device}{rest}", self.devices.open_path(device, rest)
        except GrubError as err:
            if not searching or err.number not in (grub_errors.FILE_NOT_FOUND, grub_errors.CANNOT_MOUNT):
                raise
            try:
                device, file = open_path(self.devices, rest)
            except FsError:
                raise err from None
            return f"{device}{rest}", file


def new_shell(
    devices: Devices,
    menu: Menu | None,
    entry: Entry | None = None,
    *,
    console: Console | None = None,
    authenticated: bool = False,
) -> Shell:
    """A fresh state: nothing loaded, root is the menu's volume, or the first one without a menu."""
    if menu is not None:
        root = read_device(menu.volume)[0] if menu.volume else None
    else:
        root = next(devices.candidates(), None)
    return Shell(devices, menu, entry, console or Console(), root, authenticated=authenticated)
