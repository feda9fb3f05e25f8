"""What a kernel comes packed in: a gzip'd file, and Linux's bzImage with its payload."""

from __future__ import annotations

import struct

from pvboot.errors import KernelError
from pvboot.kernel.codecs import GZIP_MAGIC, Packed, gunzip, payload_codec
from pvboot.kernel.elf import is_elf

# Offsets in the file: Documentation/arch/x86/boot.rst of Linux.
SETUP_SECTS, BOOT_MAGIC, VERSION, PAYLOAD_OFFSET, PAYLOAD_LENGTH = 0x1F1, 0x202, 0x206, 0x248, 0x24C
HEADER_BYTES = 0x250
MINIMUM_VERSION = 0x0208  # the first with payload_offset and payload_length


def gunzip_file(data: memoryview, name: str, max_size: int) -> memoryview | None:
    """The contents of a gzip'd file, or None if it is none.  Raises KernelError if it does not unpack."""
    if data[:2] != GZIP_MAGIC or len(data) < 6:
        return None
    return memoryview(gunzip(Packed(name, "gzip", data, 0, max_size))).toreadonly()


def is_bzimage(data: memoryview) -> bool:
    """Whether the boot protocol's magic is there; the header may still be cut."""
    return bytes(data[BOOT_MAGIC : BOOT_MAGIC + 4]) == b"HdrS"


def bzimage_payload(data: memoryview, name: str, max_size: int) -> tuple[str, memoryview]:
    """Codec name and unpacked payload of a bzImage.

    Raises KernelError.  Source: xc_dom_probe_bzimage_kernel in tools/libs/guest/xg_dom_bzimageloader.c.
    """
    if len(data) < HEADER_BYTES:
        raise KernelError(
            "bzImage cut inside its setup header",
            where=name,
            expected=f"{HEADER_BYTES:#x} bytes or more",
            found=f"{len(data):#x}",
        )
    (version,) = struct.unpack_from("<H", data, VERSION)
    if version < MINIMUM_VERSION:
        raise KernelError(
            "boot protocol too old: the header does not say where the payload is",
            where=f"{name}, bzImage header byte {VERSION:#x}",
            expected=f"{MINIMUM_VERSION:#06x} or later",
            found=f"{version:#06x}",
        )
    offset, length = struct.unpack_from("<II", data, PAYLOAD_OFFSET)
    # setup_sects 0 means 4 to a boot loader, but Xen takes it as it is.
    start = (data[SETUP_SECTS] + 1) * 512 + offset
    if start >= len(data) or start + length > len(data):
        raise KernelError(
            "the payload lies outside the file (cut?)",
            where=f"{name}, bzImage header byte {PAYLOAD_OFFSET:#x}",
            expected=f"its end at or below {len(data):#x}",
            found=f"{length:#x} bytes at {start:#x}",
        )
    payload = data[start : start + length]
    codec = payload_codec(payload)
    if codec is not None:
        codec_name, unpack = codec
        return codec_name, memoryview(unpack(Packed(name, codec_name, payload, start, max_size))).toreadonly()
    if is_elf(payload):
        return "none", payload
    raise KernelError(
        "unknown payload compression",
        where=f"{name}, bzImage payload at byte {start:#x} ({length} bytes)",
        expected="gzip, bzip2, lzma, xz, lzo, lz4, zstd or a bare ELF image",
        found=bytes(payload[:8]).hex(" ") or "nothing",
    )
