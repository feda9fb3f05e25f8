"""The volume descriptor set of ISO 9660."""

from __future__ import annotations

from fsdrivers.api import BlockSource

SECTOR_BYTES = 2048
FIRST_DESCRIPTOR = 16
MAGIC = b"CD001"


def looks_like_iso(source: BlockSource) -> bool:
    """Whether an ISO 9660 descriptor stands in sector 16."""
    start = FIRST_DESCRIPTOR * SECTOR_BYTES
    return source.size >= start + SECTOR_BYTES and source.read_at(start + 1, len(MAGIC)) == MAGIC
