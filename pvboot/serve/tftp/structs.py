"""The fixed parts of TFTP packets, declared once.

Sources: RFC 1350 section 5 and its appendix, RFC 2347.  Integers are big-endian.  Behind the opcode of a request stand
strings, each with a NUL at its end: file name, mode, and names and values of options; behind that of an OACK options
only.
"""

from __future__ import annotations

from construct import Int16ub, Struct

# DATA, ACK: the block, counted from 1; behind 65535 comes 0.  ERROR: its code.
HEADER = Struct("opcode" / Int16ub, "number" / Int16ub)
OPCODE = Struct("opcode" / Int16ub)

FORMATS = {"HEADER": HEADER, "OPCODE": OPCODE}
