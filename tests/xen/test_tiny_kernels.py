"""The project's own kernels as guests of the real Xen: they check everything they were handed, so their checks, and the
machine that passes them elsewhere, are judged by the hypervisor itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures import make_images
from tests.xen.guests import run_guest
from tests.xen.machine import Machine

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["tiny64", "tiny64-p2m"])
@pytest.mark.parametrize("memory_mib", [32, 129])
def test_own_kernels_find_everything_right(xen: Machine, name: str, memory_mib: int) -> None:
    outcome = run_guest(
        xen,
        kernel=make_images.KERNELS / f"{name}.elf",
        command_line=f"console=hvc0 pages={memory_mib * 256:#x}",
        memory_mib=memory_mib,
    )
    assert outcome.status == 0, outcome
    assert f"pvboot-{name}: all checks passed" in outcome.console, outcome
    assert "FAILED" not in outcome.console, outcome


@pytest.mark.parametrize("name", ["tiny64", "tiny64-p2m"])
def test_own_kernels_find_their_module(xen: Machine, name: str, tmp_path: Path) -> None:
    module = tmp_path / "module.txt"
    module.write_bytes(make_images.MODULE)
    outcome = run_guest(
        xen,
        kernel=make_images.KERNELS / f"{name}.elf",
        ramdisk=module,
        command_line=f"console=hvc0 {make_images.MODULE_WORDS}",
    )
    assert outcome.status == 0, outcome
    assert f"pvboot-{name}: all checks passed" in outcome.console, outcome
