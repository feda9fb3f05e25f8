"""An entry's files as a domain: what `boot` would lay out, without booting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pvboot.blobs import FileBlob, gunzip
from pvboot.boot import COMPAT_OLD_RAMDISK, one_ramdisk
from pvboot.errors import BootError
from pvboot.kexec.layout import Blob, DomainLayout, plan_layout
from pvboot.kexec.modules import pack_modules
from pvboot.shell.request import encode_cmdline
from pvboot.xen.constants import SIF_MULTIBOOT_MOD

if TYPE_CHECKING:
    from pvboot.check.loads import EntryLoads
    from pvboot.kernel.image import KernelImage

PAGES_A_MIB = 256


def layout_of(loads: EntryLoads, image: KernelImage, memory_mib: int, *, old_builder: bool = False) -> DomainLayout:
    """The domain of an entry all of whose files are there.  Raises `PlanError`, `BootError`, `FsError`."""
    for named in (*loads.initrds, *loads.modules):
        if named.file is None:
            raise BootError(f"{named.name} cannot be opened", found=str(named.error or ""))
    ramdisk: Blob | None = None
    flags = 0
    if loads.modules:
        contents = [
            (gunzip(FileBlob(named.file)), encode_cmdline(f"{named.text} {named.args}".rstrip()))
            for named in loads.modules
            if named.file is not None
        ]
        ramdisk, flags = pack_modules(contents), SIF_MULTIBOOT_MOD
    elif loads.initrds:
        blobs: list[Blob] = [FileBlob(named.file) for named in loads.initrds if named.file is not None]
        ramdisk = one_ramdisk(blobs, COMPAT_OLD_RAMDISK if old_builder else None)
    cmdline = encode_cmdline(loads.cmdline)
    return plan_layout(image, memory_mib * PAGES_A_MIB, ramdisk=ramdisk, cmdline=cmdline, flags=flags)
