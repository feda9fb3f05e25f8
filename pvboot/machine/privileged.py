"""Instructions that fault outside ring 0 and that Xen performs for a PV kernel (xen/arch/x86/pv/emul-priv-op.c)."""

from __future__ import annotations

from pvboot.machine.domain import Cpu, Domain
from pvboot.machine.mmu import Mmu
from pvboot.machine.pagewrite import REGISTERS
from pvboot.xen.paging import cr3_to_pfn, pfn_to_cr3

PREFIXES = frozenset(b"\x66\x67\xf2\xf3\x2e\x36\x3e\x26\x64\x65")
PREFIXES_MAX = 4

MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE = 0xC000_0100, 0xC000_0101, 0xC000_0102
MSR_PAT, MSR_UCODE_REVISION = 0x277, 0x8B
# Model-specific registers with their initial values; those that the guest may write are kept in the vCPU.
MSRS = {
    0xC000_0080: 0xD01,  # EFER
    0x1B: 0xFEE0_0900,  # APIC_BASE
    MSR_PAT: 0x0007_0106_0007_0106,
    0x10: 0,  # TSC
    MSR_UCODE_REVISION: 0,
    0xFE: 0,  # MTRR_CAP
    0x1A0: 0,  # MISC_ENABLE: nothing is limited, no monitor instructions
}
CR0_VALUE = 0x8005_0033
CR0_TASK_SWITCHED = 8


class PrivilegedInstructions:
    """Emulates one faulting instruction at a time."""

    def __init__(self, domain: Domain, cpu: Cpu, mmu: Mmu) -> None:
        self._domain = domain
        self._vcpu = domain.vcpu
        self._cpu = cpu
        self._mmu = mmu

    def emulate(self, address: int) -> int | None:
        """Perform the instruction there; where to go on, or None if it is not one that Xen performs."""
        code = self._domain.space.prefix(address, 15)
        at = 0
        while at < min(PREFIXES_MAX, len(code)) and code[at] in PREFIXES:
            at += 1
        rex = 0
        if self._domain.wide and at < len(code) and 0x40 <= code[at] <= 0x4F:
            rex = code[at]
            at += 1
        opcode = code[at : at + 2]
        if not opcode:
            return None
        if opcode[0] in (0xFA, 0xFB):  # cli, sti: Xen masks events by upcall_mask only
            self._domain.counters["cli, sti"] += 1
            return address + at + 1
        length = self._two_byte(code, at + 1, rex) if opcode[0] == 0x0F else None
        return None if length is None else address + length

    def _two_byte(self, code: bytes, at: int, rex: int) -> int | None:
        if at >= len(code):
            return None
        opcode = code[at]
        if opcode == 0x32:
            return at + 1 if self._read_msr() else None
        if opcode == 0x30:
            return at + 1 if self._write_msr() else None
        if opcode in (0x08, 0x09):  # invd, wbinvd: nothing is cached
            return at + 1
        if opcode == 0x06:  # clts
            self._vcpu.task_switched = False
            self._cpu.set_task_switched(False)
            return at + 1
        if opcode in (0x20, 0x21, 0x22, 0x23) and at + 1 < len(code):
            modrm = code[at + 1]
            register = REGISTERS[(modrm & 7) | (rex & 1) << 3]
            number = (modrm >> 3 & 7) | (rex & 4) << 1
            moves = {0x20: self._read_cr, 0x21: self._read_dr, 0x22: self._write_cr, 0x23: self._write_dr}
            return at + 2 if moves[opcode](number, register) else None
        return None

    def _read_cr(self, number: int, register: str) -> bool:
        vcpu = self._vcpu
        values = {
            0: CR0_VALUE | (CR0_TASK_SWITCHED if vcpu.task_switched else 0),
            2: vcpu.fault_address,
            3: pfn_to_cr3(self._domain.width, vcpu.kernel_root),
            4: vcpu.cr4,
        }
        if number in values:
            self._cpu.write(register, values[number])
        return number in values

    def _write_cr(self, number: int, register: str) -> bool:
        value = self._cpu.read(register)
        vcpu = self._vcpu
        if number == 0:
            if (value ^ CR0_VALUE) & ~CR0_TASK_SWITCHED:
                return False
            vcpu.task_switched = bool(value & CR0_TASK_SWITCHED)
            self._cpu.set_task_switched(vcpu.task_switched)
        elif number == 2:
            vcpu.fault_address = value
        elif number == 3:
            return self._mmu.new_base(cr3_to_pfn(self._domain.width, value)) == 0
        elif number == 4:
            vcpu.cr4 = value
        else:
            return False
        return True

    def _read_dr(self, number: int, register: str) -> bool:
        self._cpu.write(register, self._vcpu.debug_registers.get(number, 0))
        return True

    def _write_dr(self, number: int, register: str) -> bool:
        self._vcpu.debug_registers[number] = self._cpu.read(register)
        return True

    def _read_msr(self) -> bool:
        number = self._cpu.read("cx") & 0xFFFFFFFF
        if number == MSR_FS_BASE and self._domain.wide:
            value = self._cpu.read("fs_base")
        elif number == MSR_GS_BASE:
            value = self._vcpu.kernel_gs_base
        elif number == MSR_KERNEL_GS_BASE:
            value = self._vcpu.user_gs_base
        elif number in MSRS:
            value = self._vcpu.msrs.get(number, MSRS[number])
        else:
            return False
        self._cpu.write("ax", value & 0xFFFFFFFF)
        self._cpu.write("dx", value >> 32)
        return True

    def _write_msr(self) -> bool:
        number = self._cpu.read("cx") & 0xFFFFFFFF
        value = (self._cpu.read("dx") & 0xFFFFFFFF) << 32 | (self._cpu.read("ax") & 0xFFFFFFFF)
        is_base = number in (MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE)
        if is_base and not (self._domain.wide and self._domain.space.is_guest_address(value)):
            return False
        if number == MSR_FS_BASE:
            self._cpu.write("fs_base", value)
        elif number == MSR_GS_BASE:
            self._vcpu.kernel_gs_base = value
            self._cpu.write("gs_base", value)
        elif number == MSR_KERNEL_GS_BASE:
            self._vcpu.user_gs_base = value
        elif number in (MSR_UCODE_REVISION, MSR_PAT):
            self._vcpu.msrs[number] = value
        else:
            return False
        return True
