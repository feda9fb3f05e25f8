"""A kernel's statements in the JSON form of the domain-builder oracle."""

from __future__ import annotations

from pvboot.kernel.image import KernelImage

_UNSET64 = (1 << 64) - 1
_UNSET32 = (1 << 32) - 1


def parms_json(image: KernelImage) -> dict[str, str | bool]:
    """The `parms` object: addresses and masks as "0x...", all ones where the kernel says nothing.

    For a multiboot-binary Xen leaves the record of ELF facts untouched: its zeros are repeated here.
    """
    is_elf = not image.container.startswith("bin")

    def number(value: int | None, unset: int = _UNSET64) -> str:
        return f"{unset if value is None else value:#x}"

    return {
        "virt_base": number(image.virt_base),
        "virt_entry": number(image.virt_entry),
        "virt_hypercall": number(image.hypercall_page),
        "hv_start_low": number(image.hv_start_low),
        "p2m_base": number(image.usable_p2m_base),
        "elf_paddr_offset": number(image.paddr_offset if is_elf else None),
        "virt_kstart": number(image.virt_kstart if is_elf else 0),
        "virt_kend": number(image.virt_kend if is_elf else 0),
        "f_supported": number(image.features_supported),
        "f_required": number(image.features_required),
        "phys_entry": number(image.phys_entry if is_elf else 0, _UNSET32),
        "pae": image.pae,
        "unmapped_initrd": image.unmapped_initrd,
        "bsd_symtab": image.bsd_symtab,
        "guest_os": image.guest_os,
        "guest_ver": image.guest_version,
        "xen_ver": image.xen_version,
        "loader": image.loader,
    }
