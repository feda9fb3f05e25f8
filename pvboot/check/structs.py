"""The header of a cpio archive in the "new ASCII" format, which initramfs archives are made of.

Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.  Numbers are eight hexadecimal digits.
The name follows the header, then the data; each begins at a multiple of four bytes from the start of the archive.
"""

from __future__ import annotations

from construct import Bytes, Struct

_HEX = Bytes(8)

CPIO_NEWC_HEADER = Struct(
    "magic" / Bytes(6),  # "070701", or "070702" with a checksum
    *(name / _HEX for name in ("inode", "mode", "uid", "gid", "links", "mtime", "file_size")),
    *(name / _HEX for name in ("device_major", "device_minor", "node_major", "node_minor")),
    "name_size" / _HEX,  # with the NUL at its end
    "checksum" / _HEX,
)

FORMATS = {"CPIO_HEADER": (CPIO_NEWC_HEADER, "magic mode file_size name_size")}
