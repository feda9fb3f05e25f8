"""Partition tables on disk (little-endian), declared once.

Sources: UEFI specification 2.10, chapter 5 (GPT and the protective MBR); the MBR and extended boot record
as the IBM PC BIOS and MS-DOS 3.3 left them.
"""

from __future__ import annotations

from construct import Array, Bytes, Int8ul, Int16ul, Int32ul, Int64ul, Struct

MBR_ENTRY = Struct(
    "flag" / Int8ul,  # 0x80 active, 0 not
    "first_chs" / Bytes(3),
    "type" / Int8ul,
    "last_chs" / Bytes(3),
    "first_lba" / Int32ul,
    "sectors" / Int32ul,
)

# A master boot record and, with other meanings of first_lba, every extended boot record.
MBR = Struct(
    "boot_code" / Bytes(440),
    "disk_signature" / Int32ul,
    "reserved" / Int16ul,
    "entries" / Array(4, MBR_ENTRY),
    "signature" / Bytes(2),  # 55 AA
)

GPT_HEADER = Struct(
    "magic" / Bytes(8),  # "EFI PART"
    "revision" / Int32ul,
    "header_bytes" / Int32ul,
    "header_crc" / Int32ul,  # crc32 over header_bytes with this field zero
    "reserved" / Int32ul,
    "my_lba" / Int64ul,
    "alternate_lba" / Int64ul,
    "first_usable_lba" / Int64ul,
    "last_usable_lba" / Int64ul,
    "disk_guid" / Bytes(16),
    "entries_lba" / Int64ul,
    "entry_count" / Int32ul,
    "entry_bytes" / Int32ul,
    "entries_crc" / Int32ul,
)

GPT_ENTRY = Struct(
    "type_guid" / Bytes(16),  # all zero: unused
    "guid" / Bytes(16),
    "first_lba" / Int64ul,
    "last_lba" / Int64ul,  # inclusive
    "attributes" / Int64ul,  # bit 2: legacy BIOS bootable
    "name" / Bytes(72),  # UTF-16LE
)

RECORDS = {
    "MbrEntry": (MBR_ENTRY, "flag type first_lba sectors"),
    "Mbr": (MBR, "disk_signature signature"),
    "GptHeader": (
        GPT_HEADER,
        "magic header_bytes header_crc my_lba alternate_lba entries_lba entry_count entry_bytes entries_crc",
    ),
    "GptEntry": GPT_ENTRY,
}
OFFSETS = {"MbrOffsets": (MBR, "entries"), "GptHeaderOffsets": (GPT_HEADER, "header_crc reserved")}
