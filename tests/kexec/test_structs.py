"""The run-time formats are the declarations, field by field."""

from __future__ import annotations

import pytest

from pvboot.kexec import structs
from pvboot.kexec.build import pack_vcpu
from pvboot.kexec.formats import START_INFO, START_INFO_FIELDS, TRAMPOLINE_DATA, VCPU
from pvboot.kexec.vcpu import VcpuContext
from pvboot.xen.paging import pfn_to_cr3


@pytest.mark.parametrize("width", [64, 32])
def test_start_info_format_is_the_declaration(width: int) -> None:
    declared = structs.start_info(width)
    assert declared.sizeof() == START_INFO[width].size == {64: 1168, 32: 1112}[width]
    values = [
        f"{number}".encode().ljust(size, b"\0") if (size := {0: 32, 13: 1024}.get(number)) else number + 1
        for number in range(len(START_INFO_FIELDS))
    ]
    parsed = declared.parse(START_INFO[width].pack(*values))
    assert [parsed[name] for name in START_INFO_FIELDS] == values


@pytest.mark.parametrize("width", [64, 32])
def test_vcpu_offsets_are_the_declaration(width: int) -> None:
    declared = structs.vcpu_guest_context(width)
    assert declared.sizeof() == VCPU[width].size == {64: 5168, 32: 2800}[width]
    context = VcpuContext(width, ip=0x1111, sp=0x2222, si=0x3333, cr3_mfn=0x44444444, vm_assist=8)
    parsed = declared.parse(pack_vcpu(context))
    regs = parsed.user_regs
    prefix = "r" if width == 64 else "e"
    assert [regs[prefix + name] for name in ("ip", "sp", "si", "flags")] == [0x1111, 0x2222, 0x3333, 0x200]
    assert (regs.cs, regs.ss, regs.ds, regs.es, regs.fs, regs.gs) == (
        (0xE033, 0xE02B, 0, 0, 0, 0) if width == 64 else (0xE019, 0xE021, 0xE021, 0xE021, 0xE021, 0xE021)
    )
    assert (parsed.flags, parsed.kernel_ss, parsed.kernel_sp, parsed.vm_assist) == (0x24, context.ss, 0x2222, 8)
    assert list(parsed.ctrlreg) == [0, 0, 0, pfn_to_cr3(width, 0x44444444), 0, 0, 0, 0]
    assert list(parsed.debugreg) == [0, 0, 0, 0, 0, 0, 0xFFFF0FF0, 0x400]


@pytest.mark.parametrize(("width", "declaration"), [(64, structs.TRAMPOLINE_DATA_64), (32, structs.TRAMPOLINE_DATA_32)])
def test_trampoline_format_is_the_declaration(width: int, declaration: object) -> None:
    names = [item.name for item in declaration.subcons if item.name]  # type: ignore[attr-defined]
    values = list(range(1, len(names) + 1))
    raw = TRAMPOLINE_DATA[width].pack(*values)
    parsed = declaration.parse(raw)  # type: ignore[attr-defined]
    assert len(raw) == declaration.sizeof()  # type: ignore[attr-defined]
    assert [parsed[name] for name in names] == values


def test_extended_cr3_puts_the_high_bits_below() -> None:
    assert pfn_to_cr3(32, 0x100211) == 0x211001
    assert pfn_to_cr3(64, 0x100211) == 0x100211000
