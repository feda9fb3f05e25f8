"""The data block of the trampoline's page, our own; all that is Xen's is declared in `pvboot.xen.structs`."""

from __future__ import annotations

from construct import Array, Int64ul, Struct

from pvboot.xen.structs import DECLARED, WORDS

# Xen reads each mmuext op when it reaches it, the second one through the new page tables: both lie in this page.
TRAMPOLINE_DATA = {
    width: Struct(
        "ops" / Array(2, DECLARED[width]["mmuext_op"]),
        "target" / word,
        "pte" / Int64ul,
        "stack" / word,
        "start_info" / word,
        "entry" / word,
    )
    for width, word in WORDS.items()
}
FORMATS = {"TRAMPOLINE_DATA": TRAMPOLINE_DATA}
OFFSETS = {
    "TrampolineOffsets": {w: (data, "ops target pte stack start_info entry") for w, data in TRAMPOLINE_DATA.items()}
}
