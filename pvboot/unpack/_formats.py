"""Written by `make generate` from structs.py; edit that."""

from struct import Struct
from typing import Final

# version, method
LZOP_VERSIONS: Final = Struct(">H4xB")
# flags, name_bytes
LZOP_FIELDS: Final = {"level": Struct(">1xI12xB"), "old": Struct(">I8xB")}
