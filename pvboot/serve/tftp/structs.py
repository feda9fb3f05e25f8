"""TFTP packets, declared once.

Sources: RFC 1350 section 5 and its appendix (packets, error codes), RFC 2347 (options behind a request, OACK).
Integers are big-endian, strings end in NUL.  The declarations are the readable truth; the loop reads and writes with
the `struct` formats of `packets.py`, and a test holds both together.
"""

from __future__ import annotations

import construct as c

OPCODE = c.Enum(c.Int16ub, RRQ=1, WRQ=2, DATA=3, ACK=4, ERROR=5, OACK=6)

OPTION = c.Struct("name" / c.NullTerminated(c.GreedyBytes), "value" / c.NullTerminated(c.GreedyBytes))

# RRQ and WRQ.
REQUEST = c.Struct(
    "opcode" / OPCODE,
    "filename" / c.NullTerminated(c.GreedyBytes),
    "mode" / c.NullTerminated(c.GreedyBytes),
    "options" / c.GreedyRange(OPTION),
)

DATA = c.Struct(
    "opcode" / c.Const("DATA", OPCODE),
    "block" / c.Int16ub,  # counts from 1; behind 65535 comes 0
    "data" / c.GreedyBytes,  # shorter than blksize: the last one
)

ACK = c.Struct("opcode" / c.Const("ACK", OPCODE), "block" / c.Int16ub)

ERROR = c.Struct("opcode" / c.Const("ERROR", OPCODE), "code" / c.Int16ub, "message" / c.NullTerminated(c.GreedyBytes))

OACK = c.Struct("opcode" / c.Const("OACK", OPCODE), "options" / c.GreedyRange(OPTION))
