"""Kernels and ramdisks of a menu's entries, read once however many entries name them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from fsdrivers.errors import FsError
from pvboot.blobs import FileBlob, JoinedBlob, read_whole
from pvboot.check.headers import bzimage_version
from pvboot.check.initrd import Initrd, looks_like_initrd, read_initrd
from pvboot.check.loaders import unpacks_ramdisks
from pvboot.errors import PvbootError
from pvboot.kernel.image import KernelImage
from pvboot.kernel.loader import parse_kernel
from pvboot.shell.request import request_of

if TYPE_CHECKING:
    from fsdrivers.api import File
    from pvboot.check.subject import Subject
    from pvboot.kexec.layout import DomainLayout
    from pvboot.menu.loads import NamedFile
    from pvboot.menu.model import Entry

KERNEL_LIMIT_BYTES: Final = 256 << 20
HEAD_BYTES: Final = 64 << 10
NAMES_LIMIT: Final = 10_000
BUILTIN_LIMIT_BYTES: Final = 1 << 20
PAGES_A_MIB: Final = 256

_BANNER: Final = re.compile(rb"Linux version ([0-9][0-9A-Za-z.+_~-]{1,100}) ")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel file: either `image` is set, or `error` says why PV guests cannot start it.  `version` is what it
    states (`6.1.0-50-amd64`), None without a statement.

    The image has no contents: a guest may have a dozen kernels of 60 MiB each, and a layout needs only their sizes.
    """

    image: KernelImage | None
    error: PvbootError | None
    version: str | None


def kernel_of(subject: Subject, named: NamedFile) -> Kernel:
    """Read the kernel behind a name that could be opened, of whatever width (see `capabilities_of`)."""
    return subject.once(("kernel", named.name), lambda: _read_kernel(named))


def whole_image(named: NamedFile) -> KernelImage:
    """Return the kernel with its contents, as it is started.  Raises `KernelError`, `BootError`, `FsError`."""
    assert named.file is not None
    data = read_whole(FileBlob(named.file), KERNEL_LIMIT_BYTES, f"the kernel {named.name}")
    return parse_kernel(memoryview(data), name=named.name, max_size=KERNEL_LIMIT_BYTES)


def _read_kernel(named: NamedFile) -> Kernel:
    assert named.file is not None
    version = None
    try:
        version = bzimage_version(named.file.read_at(0, HEAD_BYTES))
        image = whole_image(named)
    except PvbootError as err:
        return Kernel(None, err, version)
    if version is None:
        match = next(filter(None, (_BANNER.search(piece.data) for piece in image.pieces)), None)
        version = match[1].decode("ascii") if match else None
    return Kernel(replace(image, pieces=()), None, version)


def initrd_of(subject: Subject, files: list[NamedFile]) -> Initrd | None:
    """Read the ramdisks of an entry as Linux does, one behind the other.

    None without ramdisks, if one of them cannot be read, or if Linux would not unpack it.
    """
    opened = [named.file for named in files if named.file is not None]
    if not opened or len(opened) != len(files):
        return None
    names = ", ".join(named.name for named in files)
    return subject.once(("initrd", names), lambda: _read_initrds(names, opened))


def _read_initrds(name: str, files: list[File]) -> Initrd | None:
    try:
        if not all(looks_like_initrd(file.read_at(0, 16)) for file in files):
            return None
        joined = JoinedBlob(tuple(map(FileBlob, files)))
        return read_initrd(
            (bytes(data) for _offset, data in joined.chunks()), name, lambda path: path.endswith("/modules.builtin")
        )
    except PvbootError:
        return None  # see `unreadable-file`


def layout_of(subject: Subject, entry: Entry, image: KernelImage, memory_mib: int) -> DomainLayout:
    """Lay out the domain of an entry, as `boot` would.  Raises `PlanError`, `BootError`, `FsError`."""
    from pvboot.loading import COMPAT_OLD_RAMDISK, LoadOptions, loaded_boot

    request = request_of(subject.loads(entry))
    assert request is not None
    compat = COMPAT_OLD_RAMDISK if unpacks_ramdisks(subject.options.target) else None
    return loaded_boot(request, image, LoadOptions(compat=compat)).layout(memory_mib * PAGES_A_MIB)


# --- modules ----------------------------------------------------------------------------------------------

MODULES_DIRECTORIES: Final = ("/lib/modules", "/usr/lib/modules")
_MODULE: Final = re.compile(r"(?:usr/)?lib/modules/(?P<version>[^/]+)/(?P<path>.+)")


def module_versions(initrd: Initrd) -> set[str]:
    """Return the kernel versions for which a ramdisk holds modules (`*.ko`, packed or not)."""
    matches = (_MODULE.fullmatch(name) for name in initrd.names if ".ko" in name)
    return {match["version"] for match in matches if match}


def has_module(names: set[str], module: str) -> bool:
    """Return whether a module is among the names, packed or not, with `-` or `_` in its name."""
    wanted = re.compile(rf"(?:.*/)?{module.replace('-', '[-_]')}\.ko(?:\.\w+)?")
    return any(wanted.fullmatch(name) for name in names)


def lists_module(text: bytes, module: str) -> bool:
    """Return whether `modules.builtin` lists a module."""
    spellings = {f"{module}.ko".encode(), f"{module.replace('-', '_')}.ko".encode()}
    return any(line.rpartition(b"/")[2] in spellings for line in text.split())


@dataclass(frozen=True, slots=True)
class ModulesOnDisk:
    """`/lib/modules/VERSION` of a guest; `builtin` b"" without the list, `block` the names of block drivers."""

    path: str
    builtin: bytes
    block: set[str]


def modules_on_disk(subject: Subject, version: str) -> ModulesOnDisk | None:
    """Find the kernel's modules on any of the guest's volumes; None if no volume that can be read has them."""
    if subject.devices is None or "/" in version:
        return None
    for device in subject.devices.candidates():
        for directory in MODULES_DIRECTORIES:
            path = f"{directory}/{version}"
            try:
                filesystem = subject.devices.mount(device)
                if filesystem.lookup(path).kind != "dir":
                    continue
            except PvbootError:
                continue
            builtin, block = b"", set[str]()
            with suppress(FsError):  # an older kernel has none
                builtin = filesystem.open(f"{path}/modules.builtin").read_at(0, BUILTIN_LIMIT_BYTES)
            with suppress(FsError):  # everything may be built in
                block = set(islice(filesystem.names(f"{path}/kernel/drivers/block"), NAMES_LIMIT))
            return ModulesOnDisk(f"{device}{path}", builtin, block)
    return None
