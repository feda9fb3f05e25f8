"""Where the file names in a menu lead to on the menu's own volume."""

from __future__ import annotations

import posixpath

from fsdrivers.light import TYPE_CHECKING
from pvboot.errors import PvbootError

if TYPE_CHECKING:
    from pvboot.device_names import Device
    from pvboot.devices import Devices


def exists(devices: Devices, device: Device | None, path: str) -> bool:
    """Whether something can be found there; False if the volume cannot be read."""
    if device is None:
        return False
    try:
        devices.mount(device).lookup(path)
    except PvbootError:
        return False
    return True


def first_existing(devices: Devices, device: Device | None, paths: list[str]) -> str:
    """The first of the paths that leads to something, else the first of them: it is what the error will name."""
    wanted = list(dict.fromkeys(paths))
    if len(wanted) == 1:
        return wanted[0]
    return next((path for path in wanted if exists(devices, device, path)), wanted[0])


def from_directory(devices: Devices, device: Device | None, directory: str, name: str) -> str:
    """The absolute path behind a name that counts from `directory` unless it begins with a slash.

    `..` is taken off the text if that leads to the file (a link among the directories may forbid it).  A name that is
    only found from the root is taken from there, because pygrub looks nowhere else.
    """
    absolute = posixpath.join("/", directory, name)
    plain = "/" + posixpath.normpath(absolute).lstrip("/")
    from_root = "/" + posixpath.normpath("/" + name).lstrip("/")
    return first_existing(devices, device, [plain, absolute, from_root])
