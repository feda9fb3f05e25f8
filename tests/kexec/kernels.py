"""Kernels made of numbers, for plans that need no file."""

from __future__ import annotations

from typing import Any

import numpy as np

from pvboot.kernel.image import KernelImage, Piece
from pvboot.kexec.build import DomainImage, build_domain
from pvboot.kexec.layout import plan_layout

PAGE = 4096


def make_kernel(width: int = 64, **changes: Any) -> KernelImage:
    """A kernel of six pages at 1 MiB; `changes` replace fields."""
    base = 0xFFFFFFFF80000000 if width == 64 else 0xC0000000
    data = bytes(range(256)) * 40
    fields: dict[str, Any] = {
        "name": "made",
        "container": "elf",
        "width": width,
        "guest_type": "xen-3.0-x86_64" if width == 64 else "xen-3.0-x86_32p",
        "virt_base": base,
        "virt_entry": base + 0x100000,
        "virt_kstart": base + 0x100000,
        "virt_kend": base + 0x106000,
        "paddr_offset": 0,
        "pieces": (Piece(0, memoryview(data), 6 * PAGE),),
        "pae": "yes[extended-cr3]",
    }
    if "virt_base" in changes:
        shift = changes["virt_base"] - base
        for name in ("virt_entry", "virt_kstart", "virt_kend"):
            fields[name] += shift
    return KernelImage(**{**fields, **changes})


def make_loader(width: int, pages: int = 64, virt_base: int = 0) -> KernelImage:
    """A loader that fills `pages` pages from PFN 0 on."""
    return make_kernel(
        width,
        name="loader",
        virt_base=virt_base,
        virt_entry=virt_base,
        virt_kstart=virt_base,
        virt_kend=virt_base + pages * PAGE,
        pieces=(),
    )


def frames(nr_pages: int, seed: int | None = None, first: int = 0x100000) -> np.ndarray:
    """Frames of a domain: in order, or shuffled."""
    p2m = np.arange(nr_pages, dtype=np.uint64) + np.uint64(first)
    if seed is not None:
        np.random.default_rng(seed).shuffle(p2m)
    return p2m


def built(kernel: KernelImage, nr_pages: int, seed: int | None = None, **options: Any) -> DomainImage:
    """The domain that a builder makes for a kernel."""
    return build_domain(plan_layout(kernel, nr_pages, **options), frames(nr_pages, seed), 0x100000 + nr_pages)
