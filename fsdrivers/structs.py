"""Partition tables on disk (little-endian), declared once.

Sources: UEFI specification 2.10, chapter 5 (GPT and the protective MBR); the MBR and extended boot record
as the IBM PC BIOS and MS-DOS 3.3 left them.
"""

from __future__ import annotations

from construct import Array, Bytes, Construct, Int8ul, Int16ul, Int32ul, Int64ul, Renamed, Struct


def fields(kind: Construct, names: str) -> list[Renamed]:
    """Members of one type, one behind the other: `Struct(*fields(Int32ul, "first second"))`."""
    return [name / kind for name in names.split()]


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
    # The checksum is a CRC-32 over header_bytes with this field zero.
    *fields(Int32ul, "revision header_bytes header_crc reserved"),
    *fields(Int64ul, "my_lba alternate_lba first_usable_lba last_usable_lba"),
    "disk_guid" / Bytes(16),
    "entries_lba" / Int64ul,
    *fields(Int32ul, "entry_count entry_bytes entries_crc"),
)

GPT_ENTRY = Struct(
    *fields(Bytes(16), "type_guid guid"),  # a type of zeros: unused
    *fields(Int64ul, "first_lba last_lba attributes"),  # last_lba is inclusive; attribute bit 2: legacy BIOS bootable
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
