"""The volume descriptor set of ISO 9660."""

from __future__ import annotations

from collections.abc import Iterator

from fsdrivers.api import BlockSource
from fsdrivers.errors import Corrupt, NotThisFilesystem, Unsupported
from fsdrivers.iso9660 import FIRST_DESCRIPTOR, MAGIC, SECTOR_BYTES, looks_like_iso
from fsdrivers.iso9660._formats import VolumeDescriptor
from fsdrivers.light import dataclass

# Real sets have three to five; without a terminator the set ends at the first sector that is not a descriptor.
MAX_DESCRIPTORS = 128
JOLIET_ESCAPES = (b"%/@", b"%/C", b"%/E")
TYPE_PRIMARY, TYPE_SUPPLEMENTARY, TYPE_TERMINATOR = 1, 2, 255


@dataclass(frozen=True, slots=True)
class VolumeSet:
    """The facts in the descriptors; the roots are directory records of 34 bytes."""

    root: bytes
    joliet_root: bytes | None
    label: str | None
    uuid: str | None


def read_descriptors(source: BlockSource) -> VolumeSet:
    """The primary descriptor, wherever in the set it stands, and a Joliet one if there is any.

    Raises `NotThisFilesystem` without CD001, `Corrupt` without a primary, `Unsupported` for blocks that are not
    2048 bytes.
    """
    if not looks_like_iso(source):
        raise NotThisFilesystem("no ISO 9660 descriptor", where=source.name, expected="CD001 at byte 0x8001")
    primary: VolumeDescriptor | None = None
    joliet_root: bytes | None = None
    for descriptor in _descriptors(source):
        if descriptor.type == TYPE_PRIMARY and primary is None:
            primary = descriptor
        elif descriptor.type == TYPE_SUPPLEMENTARY and descriptor.escapes[:3] in JOLIET_ESCAPES:
            joliet_root = joliet_root or descriptor.root
    if primary is None:
        raise Corrupt("no primary volume descriptor", where=source.name)
    if primary.block_size_le != SECTOR_BYTES:
        expected, found = f"{SECTOR_BYTES} bytes", f"{primary.block_size_le} bytes"
        raise Unsupported("logical block size is not supported", where=source.name, expected=expected, found=found)
    label = primary.volume_id.rstrip(b" \0").decode("utf-8", "surrogateescape")
    return VolumeSet(
        primary.root, joliet_root, label or None, _date_uuid(primary.modified) or _date_uuid(primary.created)
    )


def _descriptors(source: BlockSource) -> Iterator[VolumeDescriptor]:
    for sector in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + MAX_DESCRIPTORS):
        if (sector + 1) * SECTOR_BYTES > source.size:
            return
        descriptor = VolumeDescriptor(source.read_at(sector * SECTOR_BYTES, SECTOR_BYTES))
        if descriptor.magic != MAGIC or descriptor.type == TYPE_TERMINATOR:
            return
        yield descriptor


def _date_uuid(date: bytes) -> str | None:
    """A date as blkid and GRUB print it for want of a UUID; None if it is not set."""
    digits = date[:16]
    if not digits.isdigit() or not digits.strip(b"0"):
        return None
    text = digits.decode("ascii")
    return "-".join((text[:4], *(text[i : i + 2] for i in range(4, 16, 2))))
