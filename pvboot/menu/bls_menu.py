"""The menu of a volume whose only menu are the entries in `loader/entries/`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from fsdrivers import errors as fs_errors
from fsdrivers.light import TYPE_CHECKING, replace
from grammars import bls as grammar
from pvboot.device_names import Device
from pvboot.errors import PvbootError
from pvboot.grub_errors import shorten
from pvboot.menu.bls import COMPARED_CHARACTERS, FILE_LIMIT_BYTES, BlsEntry, Warn, entries, read_files
from pvboot.menu.dialects import MenuContext
from pvboot.menu.grub_env import BLOCK_LIMIT_BYTES, read_block
from pvboot.menu.model import Menu, MenuWarning

if TYPE_CHECKING:
    from fsdrivers.api import Filesystem

DIALECT = "bls"
ENVIRONMENTS = ("/grub2/grubenv", "/boot/grub2/grubenv")  # Fedora's places; Debian's GRUB knows no such entries

_FEDORA_VARIABLES = re.compile(r"\$(?:kernelopts|tuned_params|tuned_initrd)\b")


def build(_data: bytes, context: MenuContext) -> Menu:
    """The menu of the entries in the directory `context.path`.

    GRUB's environment block on the volume tells that the entries are Fedora's: then they are read as `blscfg` reads
    them and its `saved_entry` is the default.  Else systemd-boot's rules hold, and `loader.conf` beside the entries.
    """
    warnings: list[MenuWarning] = []
    device = context.device or Device("hd")
    directory = context.path.rstrip("/")
    found: list[BlsEntry] = []
    settings: _Settings = {}
    try:
        filesystem = context.devices.mount(device)
        variables = _environment(filesystem)
        if variables is None and any(_texts(filesystem, device, directory)):
            variables = {}
        found = entries(context.devices, device, directory, grub_variables=variables, warn=warnings.append)
        if variables is not None:
            settings = {"default": grub_default(found, variables)}
        else:
            conf = directory.rpartition("/")[0] + "/loader.conf"
            settings = _loader_conf(filesystem, f"{device}", conf, found, warnings.append)
    except PvbootError as err:
        warnings.append(MenuWarning(f"{device}{directory}: {err}"))
    made = [entry.as_entry(index) for index, entry in enumerate(found)]
    # systemd-boot and Fedora's GRUB both start at once when nothing says otherwise.
    return replace(context, path=directory).menu(DIALECT, made, warnings, **{"timeout": 0, **settings})


_Settings = dict[str, int | None]


def _texts(filesystem: Filesystem, device: Device, directory: str) -> Iterator[str]:
    """What may hold GRUB's variables: they tell Fedora's entries where no environment block does."""
    for _stem, where, data in read_files(filesystem, device, directory, lambda _warning: None):
        if b"$" in data:
            for field in grammar.parse(data, where):
                if field.key in ("options", "initrd"):
                    yield from _FEDORA_VARIABLES.findall(field.value)


def _environment(filesystem: Filesystem) -> dict[str, str] | None:
    for path in ENVIRONMENTS:
        try:
            return read_block(filesystem.open(path).read_at(0, BLOCK_LIMIT_BYTES)) or {}
        except fs_errors.FsError:
            continue  # not there, or not to be read: it only refines the menu
    return None


def grub_default(found: list[BlsEntry], variables: Mapping[str, str]) -> int:
    """The index that `next_entry`, else `saved_entry` means: id, title or number; 0 if it means none."""
    wanted = variables.get("next_entry") or variables.get("saved_entry") or ""
    for index, entry in enumerate(found):
        if wanted.removesuffix(".conf") == entry.id or wanted == entry.title:
            return index
    number = int(wanted[:9]) if wanted.isascii() and wanted.isdigit() else 0
    return number if number < len(found) else 0


def _loader_conf(filesystem: Filesystem, volume: str, path: str, found: list[BlsEntry], warn: Warn) -> _Settings:
    """`default` is a glob over the ids, `timeout` seconds or a word; `@saved` is kept by the firmware, not here."""
    first_good = next((i for i, entry in enumerate(found) if entry.tries_left != 0), 0)
    settings: _Settings = {"default": first_good}
    try:
        data = filesystem.open(path).read_at(0, FILE_LIMIT_BYTES)
    except fs_errors.FsError:
        return settings
    for field in grammar.parse(data, f"{volume}{path}"):
        if field.key == "timeout":
            if field.value in _TIMEOUTS:
                settings |= _TIMEOUTS[field.value]
            elif field.value.isascii() and field.value.isdigit():
                settings |= {"timeout": int(field.value[:9]), "hidden": False}
            else:
                warn(MenuWarning(f"timeout {shorten(field.value)!r} has no effect", field.span, "number"))
        elif field.key in ("default", "preferred"):
            matching = _glob(field.value, found)
            if matching is None and not field.value.startswith("@"):
                warn(MenuWarning(f"no entry is named {shorten(field.value)!r}", field.span, "default"))
            settings["default"] = first_good if matching is None else matching
    return settings


_TIMEOUTS: dict[str, _Settings] = {
    "menu-force": {"timeout": None, "hidden": False},
    "menu-hidden": {"timeout": 0, "hidden": True},
    "menu-disabled": {"timeout": 0, "hidden": True},
}


def _glob(pattern: str, found: list[BlsEntry]) -> int | None:
    """The first entry whose id, with or without `.conf`, matches regardless of case."""
    if len(pattern) > COMPARED_CHARACTERS:
        return None
    for index, entry in enumerate(found):
        if any(fnmatchcase(name.lower(), pattern.lower()) for name in (f"{entry.id}.conf", entry.id)):
            return index
    return None
