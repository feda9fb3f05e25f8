"""Containers of kernels: a gzip'd file, and Linux's bzImage with its payload."""

from __future__ import annotations

from pvboot.errors import KernelError
from pvboot.kernel import _formats
from pvboot.kernel._formats import BzimageOffsets
from pvboot.kernel.elf import is_elf
from pvboot.unpack import ByteStream, TooLargeError, UnpackError, codec_of, unpack

BZIMAGE_MAGIC = b"HdrS"
MINIMUM_VERSION = 0x0208  # the first with payload_offset and payload_length
# Xen hands the unpacked file on with 16 zero bytes behind it; strings that end with the file may need them.
GZIP_SLACK_BYTES = 16
LZMA_MEMORY_BYTES = 256 << 20
MAX_ZSTD_FRAMES = 4096


class BzimageHeader(_formats.BzimageHeader):
    """The setup header, as far as it says where the kernel proper is."""

    @property
    def payload_start(self) -> int:
        """The payload's first byte.  setup_sects 0 means 4 to a boot loader, but Xen takes it as it is."""
        return (self.setup_sects + 1) * 512 + self.payload_offset


def gunzip_file(data: memoryview, name: str, max_size: int) -> memoryview | None:
    """The contents of a gzip'd file; None if it is not one.  Raises KernelError if it does not unpack."""
    if codec_of(bytes(data[:8])) != "gzip" or len(data) < 6:
        return None
    return unpack_claimed("gzip", data, name, 0, max_size)


def is_bzimage(data: bytes | memoryview) -> bool:
    """Whether the boot protocol's magic is there; the header may still be cut."""
    at = BzimageOffsets.header
    return data[at : at + len(BZIMAGE_MAGIC)] == BZIMAGE_MAGIC


def bzimage_payload(data: memoryview, name: str, max_size: int) -> tuple[str, memoryview]:
    """Codec name and unpacked payload of a bzImage.

    Raises KernelError.  Source: xc_dom_probe_bzimage_kernel in tools/libs/guest/xg_dom_bzimageloader.c.
    """
    if len(data) < BzimageHeader.SIZE:
        expected = f"{BzimageHeader.SIZE:#x} bytes or more"
        raise KernelError("bzImage cut inside its setup header", where=name, expected=expected, found=f"{len(data):#x}")
    header = BzimageHeader(data)
    if header.version < MINIMUM_VERSION:
        raise KernelError(
            "boot protocol too old: the header does not say where the payload is",
            where=f"{name}, bzImage header byte {BzimageOffsets.version:#x}",
            expected=f"{MINIMUM_VERSION:#06x} or later",
            found=f"{header.version:#06x}",
        )
    start, length = header.payload_start, header.payload_length
    if start >= len(data) or start + length > len(data):
        raise KernelError(
            "the payload lies outside the file (cut?)",
            where=f"{name}, bzImage header byte {BzimageOffsets.payload_offset:#x}",
            expected=f"its end at or below {len(data):#x}",
            found=f"{length:#x} bytes at {start:#x}",
        )
    payload = data[start : start + length]
    codec = codec_of(bytes(payload[:16]))
    if codec is not None:
        return codec, unpack_claimed(codec, payload, name, start, max_size)
    if is_elf(payload):
        return "none", payload
    raise KernelError(
        "unknown payload compression",
        where=f"{name}, bzImage payload at byte {start:#x} ({length} bytes)",
        expected="gzip, bzip2, lzma, xz, lzo, lz4, zstd or a bare ELF image",
        found=bytes(payload[:8]).hex(" ") or "nothing",
    )


def unpack_claimed(codec: str, data: memoryview, name: str, offset: int, max_size: int) -> memoryview:
    """Unpack a payload at byte `offset` of a file to exactly the length that its last four bytes claim.

    Only gzip's may be up to 16 bytes off, and its result ends in up to 16 zero bytes, as Xen's buffer does.  A payload
    longer than it claims, or cut behind its last byte of data, is refused, where Xen would take it.
    Raises KernelError.  Source: tools/libs/guest/xg_dom_bzimageloader.c of Xen.
    """

    def error(what: str, at: int | None = None, *, expected: str = "", found: str = "") -> KernelError:
        place = f"{name}, {codec} payload" + (f" at file byte {offset + at:#x}" if at is not None else "")
        return KernelError(what, where=place, expected=expected, found=found)

    if len(data) < 8:
        raise error("too short to hold data and a length", expected="8 bytes", found=str(len(data)))
    claim = int.from_bytes(data[-4:], "little")
    if claim > max_size:
        at_most = f"at most {max_size}"
        raise error("claims more unpacked bytes than allowed", len(data) - 4, expected=at_most, found=str(claim))
    slack = GZIP_SLACK_BYTES if codec == "gzip" else 0
    packed, out = ByteStream.of(data if slack else data[:-4]), bytearray()
    # A zstd frame may declare a window that is bigger than its data; Xen decodes into one buffer and never looks at it.
    memory_bytes = LZMA_MEMORY_BYTES if codec in ("lzma", "xz") else max_size
    promised = f"{claim} bytes, as the last four bytes claim"
    try:
        for _ in range(MAX_ZSTD_FRAMES):
            # LZMA needs neither a length in its header nor an end mark: what it would make of the bits behind the
            # claimed length means nothing.
            room = claim + slack - len(out)
            for piece in unpack(codec, packed, room, stop=codec == "lzma", memory_bytes=memory_bytes):
                out += piece
            if codec != "zstd" or not packed.peek(1):
                break
    except TooLargeError as err:
        raise error("unpacks to more than it claims", expected=f"{claim + slack} bytes", found="more") from err
    except UnpackError as err:
        raise error(err.what, err.at, expected=err.expected or promised, found=err.found) from err
    if codec == "zstd" and packed.peek(1):
        raise error("too many frames", expected=f"at most {MAX_ZSTD_FRAMES}")
    if codec == "lz4" and packed.peek(1):
        raise error("a block runs past the end or is empty", packed.position, found=packed.peek(4).hex(" "))
    if not slack and len(out) != claim:
        what = "ends too early (cut, or its length word is wrong)"
        raise error(what, len(data), expected=promised, found=f"{len(out)} bytes")
    out += bytes(min(slack, claim + slack - len(out)))
    return memoryview(out).toreadonly()
