"""The header of a cpio archive in the "new ASCII" format, which initramfs archives are made of.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.  Numbers are eight hexadecimal digits.
The name follows the header, then the data; each begins at a multiple of four bytes from the start of the archive.
"""

from __future__ import annotations

from construct import Bytes, Struct

CPIO_NEWC_HEADER = Struct(
    "magic" / Bytes(6),  # "070701", or "070702" with a checksum
    "inode" / Bytes(8),
    "mode" / Bytes(8),
    "uid" / Bytes(8),
    "gid" / Bytes(8),
    "links" / Bytes(8),
    "mtime" / Bytes(8),
    "file_size" / Bytes(8),
    "device_major" / Bytes(8),
    "device_minor" / Bytes(8),
    "node_major" / Bytes(8),
    "node_minor" / Bytes(8),
    "name_size" / Bytes(8),  # with the NUL at its end
    "checksum" / Bytes(8),
)
