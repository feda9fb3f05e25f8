"""Written by `make generate` from structs.py; edit that."""

from struct import Struct

from fsdrivers.light import Final

CPIO_HEADER: Final = Struct("<6s8x8s32x8s32x8s8x")  # magic, mode, file_size, name_size
XFS_VERSION: Final = Struct(">100xH")  # version
