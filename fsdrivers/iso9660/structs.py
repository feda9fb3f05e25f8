"""ISO 9660, SUSP and Rock Ridge structures, declared once.

Sources: ECMA-119 (4th edition) sections 8 and 9; SUSP IEEE P1281 draft 1.12; RRIP IEEE P1282 drafts 1.09, 1.10,
1.12; the zisofs format note of its author.  "Both-endian" numbers are stored little-endian, then big-endian;
the little-endian half is the one that is read, as Linux and GRUB do (some mastering tools leave the other zero).
"""

from __future__ import annotations

from construct import Bytes, Int8sb, Int8ub, Int16ub, Int16ul, Int32ub, Int32ul, Struct

from fsdrivers.structs import fields

BOTH16 = Struct("le" / Int16ul, "be" / Int16ub)
BOTH32 = Struct("le" / Int32ul, "be" / Int32ub)

# `year` since 1900, `zone` in quarter hours east of Greenwich.
SHORT_DATE = Struct(*fields(Int8ub, "year month day hour minute second"), "zone" / Int8sb)

DIRECTORY_RECORD = Struct(
    # Length 0: the next record starts in the next sector.  Data begin xar_blocks behind the extent.
    *fields(Int8ub, "length xar_blocks"),
    *fields(BOTH32, "extent size"),
    "date" / Bytes(SHORT_DATE.sizeof()),
    *fields(Int8ub, "flags unit_blocks gap_blocks"),  # unit and gap: interleave
    "volume_number" / BOTH16,
    "name_bytes" / Int8ub,
)

# Primary (1), supplementary and enhanced (2) descriptors share this layout.
VOLUME_DESCRIPTOR = Struct(
    "type" / Int8ub,
    "magic" / Bytes(5),  # "CD001"
    *fields(Int8ub, "version flags"),
    *fields(Bytes(32), "system_id volume_id"),
    "unused1" / Bytes(8),
    "space_blocks" / BOTH32,
    "escapes" / Bytes(32),  # supplementary: "%/@", "%/C", "%/E" is Joliet
    *fields(BOTH16, "set_size sequence block_size"),
    "path_table_bytes" / BOTH32,
    "path_tables" / Bytes(16),
    "root" / Bytes(34),  # a DIRECTORY_RECORD with a one-byte name
    "identifiers" / Bytes(623),
    *fields(Bytes(17), "created modified"),  # YYYYMMDDHHMMSScc as digits, then the zone
    "rest" / Bytes(2048 - 847),
)

# System use entries: a header, then the payload below.
SUSP_HEADER = Struct("signature" / Bytes(2), "length" / Int8ub, "version" / Int8ub)
SUSP_SP = Struct(*SUSP_HEADER.subcons, "check" / Bytes(2), "skip" / Int8ub)
SUSP_CE = Struct(*fields(BOTH32, "block offset length"))
RRIP_PX = Struct(*fields(BOTH32, "mode links uid gid"))
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
