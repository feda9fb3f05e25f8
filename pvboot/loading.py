"""An entry's files as a kernel, its ramdisk and its command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pvboot.blobs import FileBlob, gunzip, join_ramdisks, ramdisk_of_old_builders, read_whole
from pvboot.errors import BootError
from pvboot.kernel.loader import parse_kernel
from pvboot.kexec.layout import Blob, DomainLayout, plan_layout
from pvboot.kexec.modules import pack_modules
from pvboot.xen.constants import GUEST_TYPES, SIF_MULTIBOOT_MOD

if TYPE_CHECKING:
    from pvboot.kernel.image import KernelImage
    from pvboot.shell.request import BootRequest, Module

COMPAT_OLD_RAMDISK: Final = "xen-4.17"
MAX_FILE_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Demands of a caller: the hypervisor's guest types, features, treatment of ramdisks, more arguments."""

    capabilities: tuple[str, ...] = tuple(GUEST_TYPES.values())
    features: str = ""
    compat: str | None = None
    append: bytes = b""
    max_bytes: int = MAX_FILE_BYTES


@dataclass(frozen=True, slots=True)
class LoadedBoot:
    """A kernel that was read and understood, with what it is given; the ramdisk is read when it is placed.

    `modules` are the names of the files that make up the ramdisk, `flags` those of start_info.
    """

    kernel: KernelImage
    cmdline: bytes
    ramdisk: Blob | None = None
    flags: int = 0
    modules: tuple[str, ...] = ()

    def layout(self, nr_pages: int, **ports: int) -> DomainLayout:
        """The domain of `nr_pages` pages for it.  Raises `PlanError`."""
        return plan_layout(self.kernel, nr_pages, ramdisk=self.ramdisk, cmdline=self.cmdline, flags=self.flags, **ports)


def load_request(request: BootRequest, options: LoadOptions = LoadOptions()) -> LoadedBoot:
    """Read and check the kernel, prepare ramdisk or modules, join the command line."""
    data = read_whole(FileBlob(request.kernel), options.max_bytes, f"the kernel {request.name}")
    kernel = read_kernel(data, request.name, options)
    del data
    return loaded_boot(request, kernel, options)


def loaded_boot(request: BootRequest, kernel: KernelImage, options: LoadOptions = LoadOptions()) -> LoadedBoot:
    """Prepare ramdisk or modules for a kernel that was read, join the command line."""
    ramdisk, flags = _ramdisk(request.modules, options)
    cmdline = append_arguments(request.cmdline, options.append)
    return LoadedBoot(kernel, cmdline, ramdisk, flags, tuple(module.name for module in request.modules))


def read_kernel(data: bytes | bytearray, name: str, options: LoadOptions) -> KernelImage:
    """A kernel file for a hypervisor with these capabilities.  Raises `KernelError`."""
    return parse_kernel(
        memoryview(data),
        name=name,
        max_size=options.max_bytes,
        capabilities=options.capabilities,
        requested_features=options.features,
    )


def _ramdisk(modules: Sequence[Module], options: LoadOptions) -> tuple[Blob | None, int]:
    """The one blob that a PV domain can be given, and its start_info flags."""
    for module in modules:
        if module.file.size > options.max_bytes:
            limit, found = f"at most {options.max_bytes} bytes", f"{module.file.size} bytes"
            raise BootError(f"{module.name} is too large", expected=limit, found=found)
        if not module.file.size:
            raise BootError(f"{module.name} is empty")
    packed = [
        (gunzip(FileBlob(module.file)) if module.decompress else FileBlob(module.file), module.cmdline)
        for module in modules
        if module.kind == "module"
    ]
    if packed:
        return pack_modules(packed), SIF_MULTIBOOT_MOD
    return one_ramdisk([FileBlob(module.file) for module in modules], options.compat), 0


def one_ramdisk(initrds: Sequence[Blob], compat: str | None) -> Blob | None:
    """The initrds joined to one, None if there are none.

    `compat` "xen-4.17" unpacks a gzip'd one, as domain builders before Xen 4.20 do.
    """
    if not initrds:
        return None
    joined = join_ramdisks(initrds)
    return ramdisk_of_old_builders(joined) if compat == COMPAT_OLD_RAMDISK else joined


def append_arguments(cmdline: bytes, more: bytes) -> bytes:
    """A command line with further arguments behind it, one blank between them."""
    return b" ".join(part for part in (cmdline, more) if part)
