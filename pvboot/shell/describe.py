"""Descriptions of devices: disk, partition, file system."""

from __future__ import annotations

from fsdrivers.api import Volume
from pvboot.device_names import Device
from pvboot.devices import Devices
from pvboot.errors import PvbootError


def describe_volume(devices: Devices, device: Device) -> str:
    """The line that `root` prints, leading blank included.  Never fails: what cannot be read is "unknown"."""
    try:
        kind = f"type is {devices.mount(device).kind}"
    except PvbootError:
        kind = "type unknown"
    volume = volume_of(devices, device)
    where = f"partition type {volume.type_id}" if volume is not None and volume.number else "using whole disk"
    return f" Filesystem {kind}, {where}"


def volume_of(devices: Devices, device: Device) -> Volume | None:
    """The volume behind a device, None for a directory and for what does not exist."""
    try:
        drive, number = devices.locate(device)
        return next((volume for volume in devices.volumes(drive) if volume.number == number), None)
    except PvbootError:
        return None
