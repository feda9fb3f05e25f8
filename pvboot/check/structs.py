"""Structures that only the checker looks at: the header of a cpio archive, the start of XFS's super block."""

from __future__ import annotations

from construct import Bytes, Int16ub, Int32ub, Int64ub, Struct

from fsdrivers.structs import fields

# The "new ASCII" format of initramfs archives: numbers are eight hexadecimal digits.  The name follows the header, then
# the data; each begins at a multiple of four bytes from the start of the archive.
# Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
_HEX = Bytes(8)

CPIO_NEWC_HEADER = Struct(
    "magic" / Bytes(6),  # "070701", or "070702" with a checksum
    *fields(_HEX, "inode mode uid gid links mtime file_size device_major device_minor node_major node_minor"),
    "name_size" / _HEX,  # with the NUL at its end
    "checksum" / _HEX,
)

# fs/xfs/libxfs/xfs_format.h of Linux, struct xfs_dsb, up to what is read.
XFS_SUPER_BLOCK = Struct(
    "magic" / Bytes(4),  # "XFSB"
    "block_size" / Int32ub,
    *fields(Int64ub, "data_blocks realtime_blocks realtime_extents"),
    "uuid" / Bytes(16),
    *fields(Int64ub, "log_start root_inode bitmap_inode summary_inode"),
    *fields(Int32ub, "realtime_extent_size group_blocks group_count bitmap_blocks log_blocks"),
    "version" / Int16ub,  # its low four bits
)

FORMATS = {
    "CPIO_HEADER": (CPIO_NEWC_HEADER, "magic mode file_size name_size"),
    "XFS_VERSION": (XFS_SUPER_BLOCK, "version"),
}
