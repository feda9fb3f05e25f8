"""Written by `make generate` from structs.py; edit that."""

from struct import Struct

from fsdrivers.light import Final, NamedTuple

TRAMPOLINE_DATA: Final = {
    # ops_0_cmd, ops_0_arg1, ops_0_arg2, ops_1_cmd, ops_1_arg1, ops_1_arg2, target, pte, stack, start_info, entry
    64: Struct("<I4x2QI4x7Q"),
    # ops_0_cmd, ops_0_arg1, ops_0_arg2, ops_1_cmd, ops_1_arg1, ops_1_arg2, target, pte, stack, start_info, entry
    32: Struct("<7IQ3I"),
}


class TrampolineOffsets(NamedTuple):
    SIZE: int
    ops: int
    target: int
    pte: int
    stack: int
    start_info: int
    entry: int


TRAMPOLINE_OFFSETS: Final = {
    64: TrampolineOffsets(SIZE=88, ops=0, target=48, pte=56, stack=64, start_info=72, entry=80),
    32: TrampolineOffsets(SIZE=48, ops=0, target=24, pte=28, stack=36, start_info=40, entry=44),
}
