"""The trampoline: the last code of the loader, which swaps address spaces and enters the new kernel.

One page, data and code, mapped at the same virtual address in the old and in the new page tables (the boot stack
page of the new domain: inside the initial mapping, without payload, and dead until the kernel pushes at its top).
It runs these steps: update_va_mapping(target, PTE of this page, UVMF_INVLPG); jump to its copy at the target;
one mmuext_op {NEW_BASEPTR, UNPIN_TABLE}; load stack pointer and start_info address; jump to the kernel.

Traps it respects: Xen copies each mmuext op when it reaches it, the second one through the new tables, so the op
array lies in this page; a preempted hypercall re-executes its two-byte instruction, so code and operands must be
valid in both address spaces; a debug hypervisor trashes argument registers, so nothing is kept in them.
Source of the procedure: PV-GRUB's boot-x86_32.S and boot-x86_64.S, restated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from pvboot.kexec.formats import TRAMPOLINE_DATA
from pvboot.xen.constants import DOMID_SELF, HYPERCALL_NUMBERS, MMUEXT_NEW_BASEPTR, MMUEXT_UNPIN_TABLE, UVMF_INVLPG
from pvboot.xen.paging import LEAF_PROT, PAGE_SIZE, PTE_DIRTY

UPDATE_VA_MAPPING: Final = HYPERCALL_NUMBERS["update_va_mapping"]
MMUEXT_OP: Final = HYPERCALL_NUMBERS["mmuext_op"]


@dataclass(frozen=True, slots=True)
class Trampoline:
    """The page's bytes (data first, then code), the offset of its first instruction and its virtual address."""

    page: bytes
    code_offset: int
    target_va: int


def make_trampoline(
    width: int,
    *,
    mfn: int,
    target_va: int,
    new_root_mfn: int,
    old_root_mfn: int,
    stack: int,
    start_info: int,
    entry: int,
) -> Trampoline:
    """Assemble the page for frame `mfn`; addresses are virtual ones of the new address space."""
    mask = (1 << width) - 1
    data = TRAMPOLINE_DATA[width].pack(
        MMUEXT_NEW_BASEPTR,
        new_root_mfn,
        0,
        MMUEXT_UNPIN_TABLE,
        old_root_mfn,
        0,
        target_va & mask,
        mfn << 12 | LEAF_PROT | PTE_DIRTY,
        stack & mask,
        start_info & mask,
        entry & mask,
    )
    code_offset = -(-len(data) // 16) * 16
    page = data.ljust(code_offset, b"\0") + (_code_64(code_offset) if width == 64 else _code_32(code_offset))
    return Trampoline(page.ljust(PAGE_SIZE, b"\0"), code_offset, target_va)


def _field_offsets(width: int) -> dict[str, int]:
    """Offsets of the data fields that the code reads."""
    word = 8 if width == 64 else 4
    ops = 2 * (24 if width == 64 else 12)
    return {
        "ops": 0,
        "target": ops,
        "pte": ops + word,
        "stack": ops + word + 8,
        "start_info": ops + 2 * word + 8,
        "entry": ops + 3 * word + 8,
    }


def _code_64(origin: int) -> bytes:
    at = _field_offsets(64)
    code = bytearray()

    def rip_relative(opcode: str, field: str) -> None:
        code.extend(bytes.fromhex(opcode))
        code.extend(struct.pack("<i", at[field] - (origin + len(code) + 4)))

    def check(jump: int) -> int:
        """test rax, rax; jump (short) to the ud2 that is placed at the end; returns where to patch the distance."""
        code.extend(b"\x48\x85\xc0" + bytes((jump, 0)))
        return len(code) - 1

    rip_relative("488b3d", "target")  # mov rdi, target
    rip_relative("488b35", "pte")  # mov rsi, pte
    code += b"\xba" + struct.pack("<I", UVMF_INVLPG)  # mov edx, UVMF_INVLPG
    code += b"\xb8" + struct.pack("<I", UPDATE_VA_MAPPING)  # mov eax, update_va_mapping
    code += b"\x0f\x05"  # syscall
    fixups = [check(0x75)]  # jnz
    rip_relative("488b05", "target")  # mov rax, target
    code += b"\x48\x05"  # add rax, offset of the instruction behind the jump
    landing = origin + len(code) + 4 + 2
    code += struct.pack("<I", landing)
    code += b"\xff\xe0"  # jmp rax
    rip_relative("488d3d", "ops")  # lea rdi, ops
    code += b"\xbe" + struct.pack("<I", 2)  # mov esi, 2
    code += b"\x31\xd2"  # xor edx, edx
    code += b"\x41\xba" + struct.pack("<I", DOMID_SELF)  # mov r10d, DOMID_SELF
    code += b"\xb8" + struct.pack("<I", MMUEXT_OP)  # mov eax, mmuext_op
    code += b"\x0f\x05"  # syscall
    fixups.append(check(0x78))  # js
    rip_relative("488b25", "stack")  # mov rsp, stack
    rip_relative("488b35", "start_info")  # mov rsi, start_info
    code += b"\xfc"  # cld
    rip_relative("ff25", "entry")  # jmp [entry]
    for where in fixups:
        code[where] = len(code) - (where + 1)
    code += b"\x0f\x0b"  # ud2
    return bytes(code)


def _code_32(origin: int) -> bytes:
    """Position-independent through ebp, which no hypercall of two or four arguments touches."""
    at = _field_offsets(32)
    code = bytearray(b"\xe8\0\0\0\0\x5d")  # call next; next: pop ebp
    here = origin + 5
    # The call pushes through the loader's stack once; afterwards no stack is used until the kernel's own is loaded.

    def based(opcode: str, field: str, extra: int = 0) -> None:
        code.extend(bytes.fromhex(opcode))
        code.extend(struct.pack("<i", at[field] + extra - here))

    def check(jump: int) -> int:
        code.extend(b"\x85\xc0" + bytes((jump, 0)))  # test eax, eax
        return len(code) - 1

    based("8b9d", "target")  # mov ebx, [ebp + target]
    based("8b8d", "pte")  # mov ecx, low half of the PTE
    based("8b95", "pte", 4)  # mov edx, high half
    code += b"\xbe" + struct.pack("<I", UVMF_INVLPG)  # mov esi, UVMF_INVLPG
    code += b"\xb8" + struct.pack("<I", UPDATE_VA_MAPPING)  # mov eax, update_va_mapping
    code += b"\xcd\x82"  # int 0x82
    fixups = [check(0x75)]  # jnz
    based("8b85", "target")  # mov eax, target
    code += b"\x8d\xa8" + struct.pack("<I", here)  # lea ebp, [eax + here]: the copy's own base from now on
    code += b"\x05"  # add eax, offset of the instruction behind the jump
    landing = origin + len(code) + 4 + 2
    code += struct.pack("<I", landing)
    code += b"\xff\xe0"  # jmp eax
    based("8d9d", "ops")  # lea ebx, [ebp + ops]
    code += b"\xb9" + struct.pack("<I", 2)  # mov ecx, 2
    code += b"\x31\xd2"  # xor edx, edx
    code += b"\xbe" + struct.pack("<I", DOMID_SELF)  # mov esi, DOMID_SELF
    code += b"\xb8" + struct.pack("<I", MMUEXT_OP)  # mov eax, mmuext_op
    code += b"\xcd\x82"  # int 0x82
    fixups.append(check(0x78))  # js
    based("8ba5", "stack")  # mov esp, [ebp + stack]
    based("8bb5", "start_info")  # mov esi, [ebp + start_info]
    code += b"\xfc"  # cld
    based("ffa5", "entry")  # jmp [ebp + entry]
    for where in fixups:
        code[where] = len(code) - (where + 1)
    code += b"\x0f\x0b"  # ud2
    return bytes(code)
