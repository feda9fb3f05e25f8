"""Fixed records of ISO 9660 as they are read; `structs.py` is the readable truth."""

from __future__ import annotations

from fsdrivers.records import FieldTable

SECTOR_BYTES = 2048
FIRST_DESCRIPTOR = 16
MAGIC = b"CD001"

DIRECTORY_RECORD_BYTES = 33
DIRECTORY_RECORD = FieldTable(
    "directory record",
    "<",
    DIRECTORY_RECORD_BYTES,
    {
        "length": (0, "B"),
        "xar_blocks": (1, "B"),
        "extent": (2, "I"),
        "size": (10, "I"),
        "date": (18, "7s"),
        "flags": (25, "B"),
        "unit_blocks": (26, "B"),
        "gap_blocks": (27, "B"),
        "name_bytes": (32, "B"),
    },
)
VOLUME_DESCRIPTOR = FieldTable(
    "volume descriptor",
    "<",
    SECTOR_BYTES,
    {
        "type": (0, "B"),
        "magic": (1, "5s"),
        "volume_id": (40, "32s"),
        "escapes": (88, "32s"),
        "block_size": (128, "H"),
        "root": (156, "34s"),
        "created": (813, "17s"),
        "modified": (830, "17s"),
    },
)
SUSP_CE = FieldTable("CE entry", "<", 24, {"block": (0, "I"), "offset": (8, "I"), "length": (16, "I")})
RRIP_PX = FieldTable("PX entry", "<", 32, {"mode": (0, "I")})
RRIP_CL = FieldTable("CL entry", "<", 8, {"block": (0, "I")})
RRIP_ZF = FieldTable(
    "ZF entry",
    "<",
    12,
    {"algorithm": (0, "2s"), "header_words": (2, "B"), "log_block_size": (3, "B"), "size": (4, "I")},
)
ZISOFS_HEADER = FieldTable(
    "zisofs header",
    "<",
    16,
    {"magic": (0, "8s"), "size": (8, "I"), "header_words": (12, "B"), "log_block_size": (13, "B")},
)


class RecordFlag:
    """Bits of a directory record's flags."""

    DIRECTORY = 0x02
    ASSOCIATED = 0x04
    MULTI_EXTENT = 0x80
