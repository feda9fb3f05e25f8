"""The state of one run: devices, root, what is loaded so far, and whom to talk to."""

from __future__ import annotations

from collections.abc import Callable

from fsdrivers.light import TYPE_CHECKING, dataclass, field
from pvboot import grub_errors
from pvboot.device_names import Device, read_device
from pvboot.devices import Devices
from pvboot.grub_errors import GrubError
from pvboot.menu.loads import open_file
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
        """The root device.  Raises `GrubError` 12 without one (a menu from outside of any disk)."""
        if self.root is None:
            raise GrubError(grub_errors.INVALID_DEVICE, "no root device is set")
        return self.root

    def open(self, name: str) -> tuple[str, File]:
        """Open the file of that name; return its full name with the device, and the file.

        Raises `GrubError`, or `FsError` if there is no root and no volume has the file.
        """
        return open_file(self.devices, name, self.root, root_named=self.root_named)


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
