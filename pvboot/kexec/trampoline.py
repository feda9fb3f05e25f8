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

from dataclasses import dataclass
from typing import Final

from pvboot.kexec._formats import TRAMPOLINE_DATA, TRAMPOLINE_OFFSETS
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


class _Code:
    """Machine code that grows; `origin` is its offset in the page."""

    def __init__(self, width: int, origin: int) -> None:
        self.at = TRAMPOLINE_OFFSETS[width]
        self.origin = origin
        self.code = bytearray()
        self._checks: list[int] = []

    def emit(self, opcode: str, *operands: int) -> None:
        """Append an opcode (hex) and its operands of 32 bits."""
        self.code += bytes.fromhex(opcode) + b"".join(each.to_bytes(4, "little") for each in operands)

    @property
    def here(self) -> int:
        """Offset in the page of the next instruction."""
        return self.origin + len(self.code)

    def relative(self, opcode: str, target: int, base: int | None = None) -> None:
        """An opcode whose last operand is a distance: from `base`, or from the end of the instruction."""
        opcode_bytes = len(bytes.fromhex(opcode))
        self.emit(opcode, target - (self.here + opcode_bytes + 4 if base is None else base) & 0xFFFFFFFF)

    def check(self, opcode: str) -> None:
        """A test with a conditional short jump to the ud2 that `finish` places at the end."""
        self.emit(opcode + "00")
        self._checks.append(len(self.code) - 1)

    def jump_into_copy(self, add: str, jump: str) -> None:
        """Add the offset of what follows the jump to the register that holds the copy's address, and go there."""
        self.emit(add, self.here + len(bytes.fromhex(add + jump)) + 4)
        self.emit(jump)

    def finish(self) -> bytes:
        """The code with its failing end."""
        for where in self._checks:
            self.code[where] = len(self.code) - (where + 1)
        self.emit("0f0b")  # ud2
        return bytes(self.code)


def _code_64(origin: int) -> bytes:
    code = _Code(64, origin)
    at = code.at
    code.relative("488b3d", at.target)  # mov rdi, target
    code.relative("488b35", at.pte)  # mov rsi, pte
    code.emit("ba", UVMF_INVLPG)  # mov edx, UVMF_INVLPG
    code.emit("b8", UPDATE_VA_MAPPING)  # mov eax, update_va_mapping
    code.emit("0f05")  # syscall
    code.check("4885c075")  # test rax, rax; jnz
    code.relative("488b05", at.target)  # mov rax, target
    code.jump_into_copy("4805", "ffe0")  # add rax, offset; jmp rax
    code.relative("488d3d", at.ops)  # lea rdi, ops
    code.emit("be", 2)  # mov esi, 2
    code.emit("31d2")  # xor edx, edx
    code.emit("41ba", DOMID_SELF)  # mov r10d, DOMID_SELF
    code.emit("b8", MMUEXT_OP)  # mov eax, mmuext_op
    code.emit("0f05")  # syscall
    code.check("4885c078")  # test rax, rax; js
    code.relative("488b25", at.stack)  # mov rsp, stack
    code.relative("488b35", at.start_info)  # mov rsi, start_info
    code.emit("fc")  # cld
    code.relative("ff25", at.entry)  # jmp [entry]
    return code.finish()


def _code_32(origin: int) -> bytes:
    """Position-independent through ebp, which no hypercall of two or four arguments touches."""
    code = _Code(32, origin)
    at = code.at
    # The call pushes through the loader's stack once; afterwards no stack is used until the kernel's own is loaded.
    code.emit("e8", 0)  # call next
    base = code.here
    code.emit("5d")  # next: pop ebp
    code.relative("8b9d", at.target, base)  # mov ebx, [ebp + target]
    code.relative("8b8d", at.pte, base)  # mov ecx, low half of the PTE
    code.relative("8b95", at.pte + 4, base)  # mov edx, high half
    code.emit("be", UVMF_INVLPG)  # mov esi, UVMF_INVLPG
    code.emit("b8", UPDATE_VA_MAPPING)  # mov eax, update_va_mapping
    code.emit("cd82")  # int 0x82
    code.check("85c075")  # test eax, eax; jnz
    code.relative("8b85", at.target, base)  # mov eax, target
    code.emit("8da8", base)  # lea ebp, [eax + base]: the copy's own base from now on
    code.jump_into_copy("05", "ffe0")  # add eax, offset; jmp eax
    code.relative("8d9d", at.ops, base)  # lea ebx, [ebp + ops]
    code.emit("b9", 2)  # mov ecx, 2
    code.emit("31d2")  # xor edx, edx
    code.emit("be", DOMID_SELF)  # mov esi, DOMID_SELF
    code.emit("b8", MMUEXT_OP)  # mov eax, mmuext_op
    code.emit("cd82")  # int 0x82
    code.check("85c078")  # test eax, eax; js
    code.relative("8ba5", at.stack, base)  # mov esp, [ebp + stack]
    code.relative("8bb5", at.start_info, base)  # mov esi, [ebp + start_info]
    code.emit("fc")  # cld
    code.relative("ffa5", at.entry, base)  # jmp [ebp + entry]
    return code.finish()
