"""Written by `make generate` from structs.py; edit that."""

from struct import Struct

from fsdrivers.light import Final

LZOP_VERSIONS: Final = Struct(">H4xB")  # version, method
LZOP_FIELDS: Final = {
    "level": Struct(">1xI12xB"),  # flags, name_bytes
    "old": Struct(">I8xB"),  # flags, name_bytes
}
