"""ISO 9660, SUSP and Rock Ridge structures, declared once.

Sources: ECMA-119 (4th edition) sections 8 and 9; SUSP IEEE P1281 draft 1.12; RRIP IEEE P1282 drafts 1.09, 1.10,
1.12; the zisofs format note of its author.  "Both-endian" numbers are stored little-endian, then big-endian;
the little-endian half is the one that is read, as Linux and GRUB do (some mastering tools leave the other zero).
"""

from __future__ import annotations

from construct import Bytes, Int8sb, Int8ub, Int16ub, Int16ul, Int32ub, Int32ul, Struct

BOTH16 = Struct("le" / Int16ul, "be" / Int16ub)
BOTH32 = Struct("le" / Int32ul, "be" / Int32ub)

SHORT_DATE = Struct(
    "year" / Int8ub,  # since 1900
    "month" / Int8ub,
    "day" / Int8ub,
    "hour" / Int8ub,
    "minute" / Int8ub,
    "second" / Int8ub,
    "zone" / Int8sb,  # quarter hours east of Greenwich
)

DIRECTORY_RECORD = Struct(
    "length" / Int8ub,  # 0: the next record starts in the next sector
    "xar_blocks" / Int8ub,  # data begin that many blocks behind the extent
    "extent" / BOTH32,
    "size" / BOTH32,
    "date" / Bytes(SHORT_DATE.sizeof()),
    "flags" / Int8ub,
    "unit_blocks" / Int8ub,  # interleave
    "gap_blocks" / Int8ub,
    "volume_number" / BOTH16,
    "name_bytes" / Int8ub,
)

# Primary (1), supplementary and enhanced (2) descriptors share this layout.
VOLUME_DESCRIPTOR = Struct(
    "type" / Int8ub,
    "magic" / Bytes(5),  # "CD001"
    "version" / Int8ub,
    "flags" / Int8ub,
    "system_id" / Bytes(32),
    "volume_id" / Bytes(32),
    "unused1" / Bytes(8),
    "space_blocks" / BOTH32,
    "escapes" / Bytes(32),  # supplementary: "%/@", "%/C", "%/E" is Joliet
    "set_size" / BOTH16,
    "sequence" / BOTH16,
    "block_size" / BOTH16,
    "path_table_bytes" / BOTH32,
    "path_tables" / Bytes(16),
    "root" / Bytes(34),  # a DIRECTORY_RECORD with a one-byte name
    "identifiers" / Bytes(623),
    "created" / Bytes(17),  # YYYYMMDDHHMMSScc as digits, then the zone
    "modified" / Bytes(17),
    "rest" / Bytes(2048 - 847),
)

# System use entries: a header, then the payload below.
SUSP_HEADER = Struct("signature" / Bytes(2), "length" / Int8ub, "version" / Int8ub)
SUSP_SP = Struct(*SUSP_HEADER.subcons, "check" / Bytes(2), "skip" / Int8ub)
SUSP_CE = Struct("block" / BOTH32, "offset" / BOTH32, "length" / BOTH32)
RRIP_PX = Struct("mode" / BOTH32, "links" / BOTH32, "uid" / BOTH32, "gid" / BOTH32)
RRIP_SL_COMPONENT = Struct("flags" / Int8ub, "length" / Int8ub)  # the text follows
RRIP_CL = Struct("block" / BOTH32)
RRIP_ZF = Struct("algorithm" / Bytes(2), "header_words" / Int8ub, "log_block_size" / Int8ub, "size" / BOTH32)

ZISOFS_HEADER = Struct(
    "magic" / Bytes(8), "size" / Int32ul, "header_words" / Int8ub, "log_block_size" / Int8ub, "reserved" / Bytes(2)
)

ZISOFS_POINTER = Struct("offset" / Int32ul)  # where a block begins; one more tells where the last one ends

FORMATS = {
    "DIRECTORY_RECORD": (
        DIRECTORY_RECORD,
        "length xar_blocks extent.le size.le date flags unit_blocks gap_blocks name_bytes",
    ),
    "SHORT_DATE": SHORT_DATE,
    "SUSP_HEADER": (SUSP_HEADER, "signature length"),
    "SUSP_SP": (SUSP_SP, "signature length check skip"),
    "RRIP_SL_COMPONENT": RRIP_SL_COMPONENT,
    "ZISOFS_POINTER": ZISOFS_POINTER,
}
RECORDS = {
    "VolumeDescriptor": (VOLUME_DESCRIPTOR, "type magic volume_id escapes block_size.le root created modified"),
    "SuspContinuation": (SUSP_CE, "block.le offset.le length.le"),
    "RripAttributes": (RRIP_PX, "mode.le"),
    "RripChildLink": (RRIP_CL, "block.le"),
    "RripCompression": (RRIP_ZF, "algorithm header_words log_block_size size.le"),
    "ZisofsHeader": (ZISOFS_HEADER, "magic size header_words log_block_size"),
}
