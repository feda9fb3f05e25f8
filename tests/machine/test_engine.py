"""The CPU engine alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
    assert cpuid(0)[0] == 1 and cpuid(0x80000000)[0] == 0x80000008
    signature = b"".join(value.to_bytes(4, "little") for value in cpuid(0x40000000)[1:])
    assert signature == b"XenVMMXenVMM" and cpuid(0x40000000)[0] >= 0x40000002
    assert cpuid(1)[3] >> 6 & 1 and cpuid(1)[2] >> 31 & 1  # PAE, hypervisor
    assert not cpuid(1)[2] >> 26 & 1 and not cpuid(1)[2] >> 17 & 1  # no XSAVE, no PCID
    assert cpuid(0x80000001)[3] >> 29 & 1  # long mode
    assert cpuid(0x12345678) == (0, 0, 0, 0)


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
