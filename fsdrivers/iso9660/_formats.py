"""Written by `make generate` from structs.py; edit that."""

from struct import Struct

from fsdrivers.light import Final
from fsdrivers.records import Record

# length, xar_blocks, extent_le, size_le, date, flags, unit_blocks, gap_blocks, name_bytes
DIRECTORY_RECORD: Final = Struct("<2BI4xI4x7s3B4xB")
SHORT_DATE: Final = Struct("<6Bb")  # year, month, day, hour, minute, second, zone
SUSP_HEADER: Final = Struct("<2sB1x")  # signature, length
SUSP_SP: Final = Struct("<2sB1x2sB")  # signature, length, check, skip
RRIP_SL_COMPONENT: Final = Struct("<2B")  # flags, length
ZISOFS_POINTER: Final = Struct("<I")  # offset


class VolumeDescriptor(Record):
    LAYOUT = Struct("<B5s34x32s16x32s8xH26x34s623x17s17s1201x")
    type: int
    magic: bytes
    volume_id: bytes
    escapes: bytes
    block_size_le: int
    root: bytes
    created: bytes
    modified: bytes


class SuspContinuation(Record):
    LAYOUT = Struct("<I4xI4xI4x")
    block_le: int
    offset_le: int
    length_le: int


class RripAttributes(Record):
    LAYOUT = Struct("<I28x")
    mode_le: int


class RripChildLink(Record):
    LAYOUT = Struct("<I4x")
    block_le: int


class RripCompression(Record):
    LAYOUT = Struct("<2s2BI4x")
    algorithm: bytes
    header_words: int
    log_block_size: int
    size_le: int


class ZisofsHeader(Record):
    LAYOUT = Struct("<8sI2B2x")
    magic: bytes
    size: int
    header_words: int
    log_block_size: int
