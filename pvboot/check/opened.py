"""A source whose files are open: what a checker gets that may open none itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvboot.sources import open_devices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsdrivers.api import Extent
    from pvboot.check.model import CheckOptions
    from pvboot.devices import Devices


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """The guest's disks or its menu, and all their descriptors.

    `confinable` is False if reading takes more than these descriptors: a directory, or a source on the network.
    """

    devices: Devices
    fds: tuple[int, ...] = ()
    confinable: bool = True

    def close(self) -> None:
        """Give all descriptors back."""
        self.devices.close()


def open_for_check(source: str, options: CheckOptions) -> OpenedSource:
    """Open a source and its further disks.  Raises `PvbootError`."""
    devices = open_devices(source, options.disks)
    fds: list[int] = []
    confinable = True
    for disk in devices.disks:
        found = _descriptors(disk.source.extents(0, min(1, disk.source.size))) if disk.source is not None else []
        fds += found
        confinable = confinable and bool(found)
    if devices.menu is not None and devices.menu.file.size:  # nothing of an empty file is read
        found = _descriptors(devices.menu.file.extents())
        fds += found
        confinable = confinable and bool(found)
    return OpenedSource(devices, tuple(fds), confinable)


def _descriptors(extents: Iterator[Extent]) -> list[int]:
    return [extent.fd for extent in extents if extent.fd is not None]
