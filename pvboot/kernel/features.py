"""Feature strings: `name|!name|...` as kernels (FEATURES) and callers write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pvboot.xen import constants as xen

# Xen's parser knows these names only; other bits can be reported by number (SUPPORTED_FEATURES) but not by name.
FEATURE_BITS = {
    "writable_page_tables": xen.XENFEAT_WRITABLE_PAGE_TABLES,
    "writable_descriptor_tables": xen.XENFEAT_WRITABLE_DESCRIPTOR_TABLES,
    "auto_translated_physmap": xen.XENFEAT_AUTO_TRANSLATED_PHYSMAP,
    "supervisor_mode_kernel": xen.XENFEAT_SUPERVISOR_MODE_KERNEL,
    "pae_pgdir_above_4gb": xen.XENFEAT_PAE_PGDIR_ABOVE_4GB,
    "hvm_callback_vector": xen.XENFEAT_HVM_CALLBACK_VECTOR,
    "dom0": xen.XENFEAT_DOM0,
}
DOM0 = 1 << xen.XENFEAT_DOM0
AUTO_TRANSLATED_PHYSMAP = 1 << xen.XENFEAT_AUTO_TRANSLATED_PHYSMAP

_NAMES = {name.encode(): bit for name, bit in FEATURE_BITS.items()}
# Xen reads into a buffer of 64 bytes: a longer item falls apart into pieces of 63, each an item of its own.
_ITEM = re.compile(rb"([^|]{63})|([^|]{0,62})(?:\||$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Features:
    """Bit masks of one feature string; `unknown_required` is the first `!name` that nobody knows."""

    supported: int
    required: int
    unknown_required: str | None = None


def parse_features(text: bytes) -> Features:
    """Read a feature string (without its NUL), up to the first unknown required name.

    `name` is supported, `!name` is supported and required.  An unknown plain name means nothing.
    Source: elf_xen_parse_features in xen/common/libelf/libelf-dominfo.c.
    """
    supported = required = 0
    for match in _ITEM.finditer(text):
        item = match[1] or match[2] or b""
        must = item.startswith(b"!")
        bit = _NAMES.get(item[1:] if must else item)
        if bit is not None:
            supported |= 1 << bit
            required |= must << bit
        elif must:
            return Features(supported, required, item[1:].decode("latin-1"))
    return Features(supported, required)


def feature_mask(text: str) -> int:
    """Bits that a caller's feature string asks for; unknown names are ignored, with `!` or without."""
    requested = 0
    for match in _ITEM.finditer(text.encode("utf-8", "surrogateescape")):
        bit = _NAMES.get((match[1] or match[2] or b"").removeprefix(b"!"))
        if bit is not None:
            requested |= 1 << bit
    return requested


def feature_names(mask: int) -> str:
    """The bits of `mask` in words, for messages."""
    names = {bit: name for name, bit in FEATURE_BITS.items()}
    return ", ".join(names.get(bit, f"bit {bit}") for bit in range(mask.bit_length()) if mask >> bit & 1)
