"""The outcomes of an entry: a boot, another menu, or the end of the guest."""

from __future__ import annotations

from fsdrivers.light import TYPE_CHECKING, TypeAlias, dataclass
from pvboot.errors import BootError

if TYPE_CHECKING:
    from fsdrivers.api import File
    from pvboot.menu.discovery import FoundMenu
    from pvboot.menu.loads import EntryLoads, NamedFile


@dataclass(frozen=True, slots=True)
class Module:
    """A file handed to the kernel beside itself.

    `kind` is "initrd" or "module"; `cmdline` is what a module's record points to (the words of its line, path
    included), empty for an initrd; `decompress` says whether GRUB would unpack a gzip'd file.
    """

    file: File
    name: str
    cmdline: bytes
    kind: str
    decompress: bool = True


@dataclass(frozen=True, slots=True)
class BootRequest:
    """A kernel to start: `cmdline` goes into start_info as it stands, without the path, blanks kept.

    `name` is the kernel as messages should call it, with its device: `(hd0,0)/boot/vmlinuz`.
    """

    kernel: File
    name: str
    cmdline: bytes
    modules: tuple[Module, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenMenu:
    """`configfile`: go on with this menu."""

    found: FoundMenu


@dataclass(frozen=True, slots=True)
class PowerControl:
    """`action` is "halt" or "reboot"."""

    action: str


Outcome: TypeAlias = BootRequest | OpenMenu | PowerControl


def request_of(loads: EntryLoads) -> BootRequest | None:
    """Return what an entry whose files were opened boots, None if it names no kernel.

    Raises the first error that it met.
    """
    if loads.error is not None:
        raise loads.error
    if loads.kernel is None:
        return None
    modules = [Module(_file(named), named.name, b"", named.role) for named in loads.initrds]
    for named in loads.modules:
        cmdline = encode_cmdline(f"{named.text} {named.args}".rstrip())
        modules.append(Module(_file(named), named.name, cmdline, named.role, named.unpack))
    return BootRequest(_file(loads.kernel), loads.kernel.name, encode_cmdline(loads.cmdline), tuple(modules))


def _file(named: NamedFile) -> File:
    if named.file is None:
        raise named.error or BootError(f"{named.name} was not opened")
    return named.file


def encode_cmdline(text: str) -> bytes:
    """The bytes of a menu's text as they stand on the disk."""
    return text.encode("utf-8", "surrogateescape")
