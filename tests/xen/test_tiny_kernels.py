"""The project's own kernels as guests of the real Xen: they check everything they were handed, so their checks, and the
machine that passes them elsewhere, are judged by the hypervisor itself.

Debian's Xen is built without 32-bit PV guests, so tiny32 cannot take part.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import make_images
from pvboot.handoff.machine import start_by_kexec, start_direct
from pvboot.kernel.loader import parse_kernel
from pvboot.kexec.layout import BytesBlob, DomainLayout, plan_layout
from pvboot.machine.machine import Machine as EmbeddedMachine
from pvboot.machine.outcome import RunLimits
from tests.xen.guests import Outcome, run_guest
from tests.xen.machine import Machine

pytestmark = pytest.mark.slow

NAMES = ["tiny64", "tiny64-p2m"]
# Odd sizes: the p2m list then ends within a page.
CASES = [(32, False), (65, True)]  # memory in MiB, with a module
WAYS: dict[str, Callable[[EmbeddedMachine, DomainLayout], object]] = {"direct": start_direct, "kexec": start_by_kexec}
# What names a machine frame differs from one start to the next.
FRAME_WORDS = ("store_mfn ", "console_mfn ", "cr3 (mfn) ")
ARITHMETIC_FLAGS = 0x8D5  # carry, parity, auxiliary carry, zero, sign, overflow

OnXen = Callable[[str, int, bool], Outcome]


def command_line(memory_mib: int, module: bool) -> str:
    words = make_images.MODULE_WORDS if module else "no-module"
    return f"console=hvc0 pages={memory_mib * 256} {words}"


@pytest.fixture(scope="module")
def on_xen(xen: Machine, tmp_path_factory: pytest.TempPathFactory) -> OnXen:
    """`on_xen(kernel, memory in MiB, with a module)`: what the guest said, run once each."""
    module_file = tmp_path_factory.mktemp("xen") / "module.txt"
    module_file.write_bytes(make_images.MODULE)
    outcomes: dict[tuple[str, int, bool], Outcome] = {}

    def run(name: str, memory_mib: int, module: bool) -> Outcome:
        case = (name, memory_mib, module)
        if case not in outcomes:
            outcomes[case] = run_guest(
                xen,
                kernel=make_images.KERNELS / f"{name}.elf",
                ramdisk=module_file if module else None,
                command_line=command_line(memory_mib, module),
                memory_mib=memory_mib,
            )
        return outcomes[case]

    return run


@pytest.mark.parametrize(("memory_mib", "module"), CASES)
@pytest.mark.parametrize("name", NAMES)
def test_own_kernels_find_everything_right_on_xen(on_xen: OnXen, name: str, memory_mib: int, module: bool) -> None:
    outcome = on_xen(name, memory_mib, module)
    assert outcome.status == 0, outcome
    assert f"pvboot-{name}: all checks passed" in outcome.console, outcome
    assert "FAILED" not in outcome.console, outcome


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("memory_mib", "module"), CASES)
@pytest.mark.parametrize("name", NAMES)
def test_the_planner_hands_over_what_xen_hands_over(
    on_xen: OnXen, name: str, memory_mib: int, module: bool, way: str
) -> None:
    """Addresses, sizes, flags, frame numbers: every finding of the guest reads the same here and there."""
    real = on_xen(name, memory_mib, module)
    assert findings(run_here(name, memory_mib, module, way)) == findings(real.console), real


def run_here(name: str, memory_mib: int, module: bool, way: str) -> str:
    """The same guest, planned by pvboot, in the embedded machine."""
    kernel = parse_kernel((make_images.KERNELS / f"{name}.elf").read_bytes(), name=name)
    output = bytearray()
    machine = EmbeddedMachine(kernel.width, memory_mib * 256, frame_seed=7, output=output.extend)
    layout = plan_layout(
        kernel,
        memory_mib * 256,
        ramdisk=BytesBlob(make_images.MODULE) if module else None,
        cmdline=command_line(memory_mib, module).encode(),
    )
    WAYS[way](machine, layout)
    machine.run(RunLimits(cpu_seconds=30))
    return output.decode()


def findings(console: str) -> list[str]:
    """The guest's lines without those that tell machine frames, and without the arithmetic flags at the start: a
    loader inside the domain leaves those of its last instruction."""
    lines = [line for line in console.splitlines() if not any(word in line for word in FRAME_WORDS)]
    return [re.sub(r" flags (0x[0-9a-f]+)$", other_flags, line) if ": hello, " in line else line for line in lines]


def other_flags(match: re.Match[str]) -> str:
    """What stays of the flags register when the arithmetic flags are left out."""
    return f" flags {int(match[1], 16) & ~ARITHMETIC_FLAGS:#x}"


def test_a_32_bit_guest_is_refused_by_debians_xen(xen: Machine, tmp_path: Path) -> None:
    """Should Debian's Xen learn to run them, this test asks for tiny32 among `NAMES`."""
    assert "x86_32" not in xen.run("xl", "info", "xen_caps").output
    outcome = run_guest(xen, kernel=make_images.KERNELS / "tiny32.elf", command_line="console=hvc0")
    assert outcome.status not in (0, None), outcome
