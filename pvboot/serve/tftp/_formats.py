"""Written by `make generate` from structs.py; edit that."""

from struct import Struct

from fsdrivers.light import Final

HEADER: Final = Struct(">2H")  # opcode, number
OPCODE: Final = Struct(">H")  # opcode
