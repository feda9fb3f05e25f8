"""The CPU engine alone."""

from __future__ import annotations

import subprocess
import sys

import pytest
from unicorn import UC_ARCH_X86, UC_MODE_64, Uc, UcError
from unicorn.x86_const import UC_X86_REG_CR4

from pvboot.machine import engine
from pvboot.machine.cpuid import cpuid


def test_the_probe_finds_distinct_places_in_the_saved_context() -> None:
    record, code = engine.probe_context()
    assert record != code and record % 4 == code % 4 == 0


def test_an_unacknowledged_fault_would_turn_into_a_double_fault() -> None:
    """Why the record has to be reset; a newer engine without this trait would not need the probe."""
    probe = engine._Probe()
    assert probe.fault(0x7FFB)[0] == 13
    assert probe.fault(0x7FFB)[0] == 8


def test_only_one_place_makes_a_second_fault_arrive_as_itself() -> None:
    record, code = engine.probe_context()
    assert engine._Probe().survives(record)
    assert not engine._Probe().survives(code)


@pytest.mark.parametrize("width", [64, 32])
def test_register_names(width: int) -> None:
    ids = engine.register_ids(width)
    assert len(set(ids.values())) == len(ids)
    assert ("r15" in ids) == (width == 64)


def test_cpuid_leaves() -> None:
    assert cpuid(0)[0] == 4 and cpuid(0x80000000)[0] == 0x80000008
    vendor = b"".join(cpuid(0)[register].to_bytes(4, "little") for register in (1, 3, 2))
    assert vendor == b"GenuineIntel"
    levels = [cpuid(4, subleaf)[0] >> 5 & 7 for subleaf in range(5)]
    assert levels == [1, 1, 2, 3, 0]
    signature = b"".join(value.to_bytes(4, "little") for value in cpuid(0x40000000)[1:])
    assert signature == b"XenVMMXenVMM" and cpuid(0x40000000)[0] >= 0x40000002
    assert cpuid(1)[3] >> 6 & 1 and cpuid(1)[2] >> 31 & 1  # PAE, hypervisor
    assert not cpuid(1)[2] >> 26 & 1 and not cpuid(1)[2] >> 17 & 1  # no XSAVE, no PCID
    assert cpuid(0x80000001)[3] >> 29 & 1  # long mode
    assert cpuid(0x12345678) == (0, 0, 0, 0)


# One instruction of each feature that a program may look for in leaf 1 (ecx), and its bit there.
INSTRUCTIONS = {
    "lddqu": ("f20ff00c2500200000", 0),
    "pshufb": ("660f3800c1", 9),
    "cmpxchg16b": ("480fc70c2500200000", 13),
    "ptest": ("660f3817c1", 19),
    "pcmpistri": ("660f3a63c10c", 20),
    "popcnt": ("f30fb8c1", 23),
    "pclmulqdq": ("660f3a44c100", 1),
    "movbe": ("0f38f00c2500200000", 22),
    "aesenc": ("660f38dcc1", 25),
    "rdrand": ("0fc7f0", 30),
}


@pytest.mark.parametrize(("code", "bit"), INSTRUCTIONS.values(), ids=INSTRUCTIONS)
def test_the_engine_executes_just_the_features_of_leaf_1(code: str, bit: int) -> None:
    cpu = Uc(UC_ARCH_X86, UC_MODE_64)
    cpu.ctl_set_cpu_model(engine.CPU_MODEL)
    cpu.mem_map(0, 0x4000)
    cpu.reg_write(UC_X86_REG_CR4, engine.CR4_ENGINE)
    cpu.mem_write(0x1000, bytes.fromhex(code) + b"\x90")
    try:
        cpu.emu_start(0x1000, 0x1000 + len(code) // 2)
        executed = True
    except UcError:
        executed = False
    assert executed == bool(cpuid(1)[2] >> bit & 1)


@pytest.mark.parametrize(
    "statement",
    [
        "import pvboot.machine",
        "from pvboot.machine.machine import Machine; from pvboot.machine.outcome import RunLimits, describe",
        "from pvboot.machine.machine import Machine; m = Machine(64, 64); m.mmu_update([]); m.feed(b'x')",
    ],
)
def test_the_engine_is_loaded_by_running_only(statement: str) -> None:
    program = f"{statement}\nimport sys\nassert 'unicorn' not in sys.modules and 'construct' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_the_package_costs_nothing() -> None:
    program = "import pvboot.machine, sys\nassert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
