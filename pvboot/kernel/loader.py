"""`parse_kernel`: bytes of a kernel file -> `KernelImage`.

The order is that of Xen's toolstack: unpack a gzip'd file, then try multiboot-binary, bzImage, ELF.  Where Xen builds
a domain rightly the same image comes out here; what Xen refuses, or would build with holes, is refused with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pvboot.errors import KernelError, KernelNotesError, NoPaeKernelError, NotPvKernelError
from pvboot.kernel._formats import ProgramHeader
from pvboot.kernel.binary import BinaryTable, binary_layout, find_table
from pvboot.kernel.containers import bzimage_payload, gunzip_file, is_bzimage
from pvboot.kernel.elf import EM_386, EM_X86_64, ElfFile, is_elf, is_loadable, parse_elf, segments
from pvboot.kernel.features import AUTO_TRANSLATED_PHYSMAP, DOM0, feature_mask, feature_names
from pvboot.kernel.image import KernelImage, KernelParms, Piece
from pvboot.kernel.notes import GuestFacts, read_guest_facts
from pvboot.kernel.symtab import bsd_symtab
from pvboot.xen.constants import GUEST_TYPES
from pvboot.xen.paging import PAGE_SIZE

_U64 = (1 << 64) - 1
TYPE_32, TYPE_32P, TYPE_64 = "xen-3.0-x86_32", GUEST_TYPES[32], GUEST_TYPES[64]


def parse_kernel(
    data: bytes | memoryview,
    *,
    name: str = "kernel",
    max_size: int = 1 << 30,
    capabilities: tuple[str, ...] = (TYPE_64, TYPE_32P),
    requested_features: str = "",
) -> KernelImage:
    """Read a kernel file for a PV domain.

    `name` is for messages.  `max_size` bounds the file and what it unpacks to, in bytes.  `capabilities` are the
    guest types that the hypervisor offers, `requested_features` is a feature string that the caller insists on.
    The image's pieces are views of the unpacked file, which is kept once.

    Raises KernelError: what is wrong, where, what was expected and found.
    """
    view = memoryview(data).cast("B").toreadonly()
    if not view:
        raise KernelError("the kernel file is empty", where=name)
    if len(view) > max_size:
        raise KernelError("kernel file too big", where=name, expected=f"at most {max_size} bytes", found=str(len(view)))
    unzipped = gunzip_file(view, name, max_size)
    view = view if unzipped is None else unzipped
    suffix = "" if unzipped is None else ".gz"

    table = find_table(view)
    if table is not None:
        image = _binary_image(view, table, name, "bin" + suffix, capabilities)
    elif is_bzimage(view):
        codec, payload = bzimage_payload(view, name, max_size)
        image = _elf_image(parse_elf(payload, f"{name} ({codec} payload)"), name, f"bzImage/{codec}", capabilities)
    elif is_elf(view):
        image = _elf_image(parse_elf(view, name), name, "elf" + suffix, capabilities)
    else:
        raise KernelError(
            "no kernel format that is known",
            where=name,
            expected="an ELF image, a bzImage, either gzip'd, or a multiboot-binary",
            found=f"{len(view)} bytes that start with {bytes(view[:8]).hex(' ')}",
        )
    _check_placement(image)
    active = _check_offer(image, capabilities, requested_features)
    return replace(image, features_active=active)


def _binary_image(
    data: memoryview, table: BinaryTable, name: str, container: str, capabilities: tuple[str, ...]
) -> KernelImage:
    layout = binary_layout(data, table, name)
    runtime_pae = table.pae_bits == 3 and TYPE_32P in capabilities
    guest_type = (TYPE_32, TYPE_32P, TYPE_64, TYPE_32P if runtime_pae else TYPE_32)[table.pae_bits]
    return KernelImage(
        name=name,
        container=container,
        width=64 if guest_type == TYPE_64 else 32,
        guest_type=guest_type,
        virt_base=layout.virt_base,
        virt_entry=layout.entry,
        virt_kstart=layout.start,
        virt_kend=layout.end,
        paddr_offset=layout.virt_base,
        pieces=layout.pieces,
        pae="yes[extended-cr3]" if runtime_pae else "no",
        elf_size=len(data),
    )


def _elf_image(elf: ElfFile, name: str, container: str, capabilities: tuple[str, ...]) -> KernelImage:
    facts = read_guest_facts(elf)
    _check_facts(elf, facts)
    loadable = {index: segment for index, segment in enumerate(segments(elf)) if is_loadable(segment)}
    pstart, pend = _extent(elf, loadable)
    virt_base = facts.virt_base or 0
    # Old kernels gave virtual addresses in p_paddr; those with notes give physical ones.
    default_offset = 0 if facts.notes_seen else virt_base
    paddr_offset = default_offset if facts.paddr_offset is None else facts.paddr_offset
    shift = virt_base - paddr_offset
    pieces = tuple(_piece(elf, *each, pstart) for each in loadable.items() if each[1].p_memsz)
    virt_kstart, virt_kend = (pstart + shift) & _U64, (pend + shift) & _U64
    symtab = bsd_symtab(elf, pstart, pend) if facts.bsd_symtab else None
    if symtab is not None:
        pieces += symtab.pieces
        virt_kend = (virt_kstart + symtab.end) & _U64
    guest_type = _guest_type(elf, facts, capabilities)
    image = KernelImage(
        name=name,
        container=container,
        width=64 if guest_type == TYPE_64 else 32,
        guest_type=guest_type,
        virt_base=virt_base,
        virt_entry=elf.header.e_entry if facts.virt_entry is None else facts.virt_entry,
        virt_kstart=virt_kstart,
        virt_kend=virt_kend,
        paddr_offset=paddr_offset,
        pieces=pieces,
        **{name: getattr(facts, name) for name in KernelParms.__dataclass_fields__},
        elf_size=elf.size,
    )
    _check_addresses(elf, image, facts)
    return image


def _check_facts(elf: ElfFile, facts: GuestFacts) -> None:
    """Refuse kernels for other loaders and versions (elf_xen_note_check in xen/common/libelf/libelf-dominfo.c)."""
    where = f"{elf.name}, {facts.source}" if facts.source else elf.name
    if not facts.source:
        raise NotPvKernelError("not a Xen kernel: it has neither ELF notes nor a __xen_guest section", where=elf.name)
    if not facts.loader.startswith("generic") and not facts.guest_os.startswith("linux"):
        pvh = " (the kernel can only start as PVH)" if facts.phys_entry is not None and not facts.loader else ""
        raise NotPvKernelError(
            f"the kernel is not made for Xen's generic loader{pvh}",
            where=where,
            expected='LOADER "generic..." or GUEST_OS "linux..."',
            found=_with_remarks(f'LOADER "{facts.loader}", GUEST_OS "{facts.guest_os}"', facts),
        )
    if not facts.xen_version.startswith("xen-3.0"):
        raise NotPvKernelError(
            "the kernel is made for another version of the Xen interface",
            where=where,
            expected='XEN_VERSION "xen-3.0..."',
            found=_with_remarks(f'"{facts.xen_version}"', facts),
        )
    if facts.paddr_offset is not None and facts.virt_base is None:
        raise KernelNotesError(
            "PADDR_OFFSET is given without VIRT_BASE", where=where, found=f"PADDR_OFFSET {facts.paddr_offset:#x}"
        )


def _extent(elf: ElfFile, loadable: dict[int, ProgramHeader]) -> tuple[int, int]:
    """Lowest and highest physical address of the loadable segments."""
    if not loadable:
        raise KernelError(
            "the kernel has nothing to load", where=elf.name, expected="a PT_LOAD segment with a permission"
        )
    for index, segment in loadable.items():
        if segment.p_paddr + segment.p_memsz > _U64:
            raise KernelError(
                "a segment passes the end of the address space",
                where=f"{elf.name}, program header {index}",
                expected="p_paddr + p_memsz below 2^64",
                found=f"p_paddr {segment.p_paddr:#x}, p_memsz {segment.p_memsz:#x}",
            )
        if segment.p_filesz > segment.p_memsz:
            raise KernelError(
                "a segment has more bytes in the file than in memory",
                where=f"{elf.name}, program header {index}",
                expected=f"p_filesz at most {segment.p_memsz:#x} (p_memsz)",
                found=f"{segment.p_filesz:#x}",
            )
    pstart = min(segment.p_paddr for segment in loadable.values())
    pend = max(segment.p_paddr + segment.p_memsz for segment in loadable.values())
    # Xen stops loading when the segments' sizes pass twice the destination's: overlaps must not multiply the work.
    total, allowed = (
        sum(segment.p_memsz for segment in loadable.values()),
        2 * (pend - pstart + PAGE_SIZE - 1 & -PAGE_SIZE),
    )
    if total > allowed:
        raise KernelError(
            "the segments overlap too much",
            where=elf.name,
            expected=f"at most {allowed:#x} bytes in all",
            found=f"{total:#x}",
        )
    return pstart, pend


def _piece(elf: ElfFile, index: int, segment: ProgramHeader, pstart: int) -> Piece:
    data = elf.contents(segment.p_offset, segment.p_filesz, f"program header {index}: the segment's data")
    return Piece(segment.p_paddr - pstart, data, segment.p_memsz)


def _guest_type(elf: ElfFile, facts: GuestFacts, capabilities: Iterable[str]) -> str:
    """The guest type by e_machine and PAE mode.  Source: xc_dom_guest_type in tools/libs/guest/xg_dom_elfloader.c."""
    machine = elf.header.e_machine
    if machine == EM_X86_64:
        return TYPE_64
    if machine == EM_386:
        if facts.pae == "bimodal":
            return TYPE_32P if TYPE_32P in capabilities else TYPE_32
        return TYPE_32 if facts.pae == "no" else TYPE_32P
    raise KernelError(
        "the kernel is for another processor",
        where=f"{elf.name}, e_machine at byte 0x12",
        expected="3 (386) or 62 (x86-64)",
        found=str(machine),
    )


def _check_addresses(elf: ElfFile, image: KernelImage, facts: GuestFacts) -> None:
    """Check the addresses against each other (elf_xen_addr_calc_check in xen/common/libelf/libelf-dominfo.c)."""
    shift = f"{image.virt_base:#x} (VIRT_BASE) - {image.paddr_offset:#x} (PADDR_OFFSET)"
    kernel = f"{image.virt_kstart:#x}..{image.virt_kend:#x}, which is p_paddr + {shift}"
    where = f"{elf.name}, {facts.source}"
    if image.virt_kstart > image.virt_kend:
        found = _with_remarks(kernel, facts)
        raise KernelNotesError("the kernel passes the end of the address space", where=where, found=found)
    if not image.virt_kstart <= image.virt_entry <= image.virt_kend:
        # A kernel without ENTRY is one for PVH whose e_entry is a physical address.
        origin, error = (
            ("ENTRY", KernelNotesError)
            if facts.virt_entry is not None
            else ("e_entry, as there is no ENTRY", NotPvKernelError)
        )
        raise error(
            f"the entry point ({origin}) is outside the kernel",
            where=where,
            expected=kernel,
            found=_with_remarks(f"{image.virt_entry:#x}", facts),
        )
    if image.virt_base > image.virt_kstart:
        raise KernelNotesError(
            "VIRT_BASE is above the kernel",
            where=where,
            expected=f"at most {image.virt_kstart:#x}",
            found=_with_remarks(f"{image.virt_base:#x}", facts),
        )
    if image.p2m_base is not None and image.virt_kstart <= image.p2m_base < image.virt_kend:
        raise KernelNotesError(
            "INIT_P2M is inside the kernel", where=where, expected=f"outside of {kernel}", found=f"{image.p2m_base:#x}"
        )


def _check_placement(image: KernelImage) -> None:
    """The builder places whole pages, counted from VIRT_BASE (xc_dom_alloc_pad in xg_dom_core.c)."""
    for what, address in (("VIRT_BASE", image.virt_base), ("the kernel's first address", image.virt_kstart)):
        if address % PAGE_SIZE:
            raise KernelNotesError(
                f"{what} is not page aligned", where=image.name, expected="a multiple of 0x1000", found=f"{address:#x}"
            )
    if image.virt_base > image.virt_kstart:
        raise KernelNotesError(
            "the address of PFN 0 is above the kernel",
            where=image.name,
            expected=f"at most {image.virt_kstart:#x}",
            found=f"{image.virt_base:#x}",
        )


def _check_offer(image: KernelImage, capabilities: tuple[str, ...], requested: str) -> int:
    """Return the active features; refuse guests that the hypervisor does not run and features the kernel lacks."""
    if image.features_required & DOM0:
        raise NotPvKernelError("the kernel can only run as dom0", where=f"{image.name}, FEATURES", found="!dom0")
    if image.guest_type not in capabilities:
        no_pae = f" (PAE mode {image.pae})" if image.guest_type == TYPE_32 else ""
        raise (NoPaeKernelError if no_pae else NotPvKernelError)(
            f"the hypervisor does not run such guests{no_pae}",
            where=image.name,
            expected=" or ".join(capabilities) or "no PV guest at all",
            found=image.guest_type,
        )
    active = feature_mask(requested) | image.features_required
    missing = active & ~image.features_supported
    if missing:
        raise KernelNotesError(
            "the kernel does not support a requested feature",
            where=image.name,
            expected=feature_names(missing),
            found=feature_names(image.features_supported) or "no features",
        )
    if active & AUTO_TRANSLATED_PHYSMAP:
        raise NotPvKernelError(
            "auto-translated PV guests are no longer supported by Xen",
            where=image.name,
            found="auto_translated_physmap required",
        )
    return active


def _with_remarks(found: str, facts: GuestFacts) -> str:
    return "; ".join((found, *facts.remarks[:3]))
