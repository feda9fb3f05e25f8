"""Written by `make generate` from structs.py; edit that."""

from struct import Struct

from fsdrivers.records import Record


class MbrEntry(Record):
    LAYOUT = Struct("<B3xB3x2I")
    flag: int
    type: int
    first_lba: int
    sectors: int


class Mbr(Record):
    LAYOUT = Struct("<440xI66x2s")
    disk_signature: int
    signature: bytes


class GptHeader(Record):
    LAYOUT = Struct("<8s4x2I4x2Q32xQ3I")
    magic: bytes
    header_bytes: int
    header_crc: int
    my_lba: int
    alternate_lba: int
    entries_lba: int
    entry_count: int
    entry_bytes: int
    entries_crc: int


class GptEntry(Record):
    LAYOUT = Struct("<16s16s3Q72s")
    type_guid: bytes
    guid: bytes
    first_lba: int
    last_lba: int
    attributes: int
    name: bytes


class MbrOffsets:
    SIZE = 512
    entries = 446


class GptHeaderOffsets:
    SIZE = 92
    header_crc = 16
    reserved = 20
