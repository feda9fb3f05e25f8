"""The header of lzop 1.04 (src/lzop.c, read_header).  A mark stands before it, a name and a checksum behind it."""

from construct import Int8ub, Int16ub, Int32ub, Struct

LZOP_VERSIONS = Struct(
    "version" / Int16ub, "lib_version" / Int16ub, "version_needed_to_extract" / Int16ub, "method" / Int8ub
)
LZOP_FIELDS = Struct(
    "level" / Int8ub,
    "flags" / Int32ub,
    "mode" / Int32ub,
    "mtime_low" / Int32ub,
    "mtime_high" / Int32ub,
    "name_bytes" / Int8ub,
)
LZOP_FIELDS_OLD = Struct("flags" / Int32ub, "mode" / Int32ub, "mtime_low" / Int32ub, "name_bytes" / Int8ub)

FORMATS = {
    "LZOP_VERSIONS": (LZOP_VERSIONS, "version method"),
    "LZOP_FIELDS": {"level": (LZOP_FIELDS, "flags name_bytes"), "old": (LZOP_FIELDS_OLD, "flags name_bytes")},
}
