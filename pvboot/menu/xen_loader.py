"""The Xen PV bootloader protocol: a boot loader for PV guests that the guest itself carries.

Source: docs/misc/x86-xenpv-bootloader of Xen: `/boot/xen/pvboot-<arch>.elf`, then `/xen/pvboot-<arch>.elf`.
"""

from __future__ import annotations

from fsdrivers import errors as fs_errors
from fsdrivers.light import TYPE_CHECKING
from grammars.spans import SourceSpan
from pvboot.device_names import Device
from pvboot.menu.dialects import MenuContext
from pvboot.menu.model import BootFiles, Entry, Menu

if TYPE_CHECKING:
    from fsdrivers.api import Filesystem

DIALECT = "pvboot"
ARCHITECTURES = ("x86_64", "i386")
FOLDERS = ("/boot/xen", "/xen")


def find_loaders(filesystem: Filesystem) -> tuple[str, ...]:
    """The loaders' paths on a volume, at most one an architecture."""
    return tuple(path for architecture in ARCHITECTURES if (path := _first(filesystem, architecture)))


def _first(filesystem: Filesystem, architecture: str) -> str | None:
    for folder in FOLDERS:
        path = f"{folder}/pvboot-{architecture}.elf"
        try:
            if filesystem.lookup(path).kind == "file":
                return path
        except fs_errors.FsError:
            continue  # a loader that cannot be read is none to offer
    return None


def loader_entry(index: int, device: Device, path: str) -> Entry:
    """The entry that starts a loader."""
    files = BootFiles(path, root=str(device))
    title = f"Xen PV boot loader {device}{path}"
    return Entry(index, title, (), SourceSpan(f"{device}{path}", 1, 1, 0), "pvboot", files=lambda: files)


def build(_data: bytes, context: MenuContext) -> Menu:
    """The menu of a volume that has a loader and nothing else: it starts at once."""
    entry = loader_entry(0, context.device or Device("hd"), context.path)
    return context.menu(DIALECT, [entry], [], timeout=0)
