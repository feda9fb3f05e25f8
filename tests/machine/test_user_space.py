"""Programs of a distribution in the machine, under Debian's kernel: dynamically linked, generating code, spinning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pvboot.machine.outcome import describe
from tests.machine.test_boot import LIMITS, Booted
from tests.machine.user_programs import initramfs

Parts = Callable[[str], Path]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return initramfs(tmp_path_factory.mktemp("programs"))


EXPECTED = {
    "hello": [b"caches: 32768 262144 8388608", b"a shell adds 42"],
    "jit": [b"wrong results: 0 of 3200"],
    "spin": [b"wake 0", b"wake 1", b"wake 2"],
}


@pytest.mark.parametrize("program", EXPECTED)
def test_a_program_as_init(parts: Parts, programs: Path, program: str) -> None:
    guest = Booted(parts("vmlinuz-6.1"), initrd=programs, cmdline=f"console=hvc0 rdinit=/{program}")
    outcome = guest.machine.run(LIMITS)
    assert outcome.reason == "poweroff", "\n".join([bytes(guest.text[-2000:]).decode(), *describe(outcome)])
    for text in EXPECTED[program]:
        assert text in guest.text
    assert b"unchecked MSR access" not in guest.text
