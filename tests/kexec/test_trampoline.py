"""The trampoline: its instructions as a disassembler reads them, and its data as the ABI declares them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pvboot.kexec import structs
from pvboot.kexec.trampoline import Trampoline, make_trampoline

FACTS = {
    "mfn": 0x123456,
    "target_va": 0xFFFFFFFF84A2C000,
    "new_root_mfn": 0x111,
    "old_root_mfn": 0x222,
    "stack": 0xFFFFFFFF84A2D000,
    "start_info": 0xFFFFFFFF84A00000,
    "entry": 0xFFFFFFFF81000000,
}


def disassemble(page: bytes, width: int, offset: int, folder: Path) -> list[str]:
    """Instructions from `offset` to the ud2, addresses resolved to offsets in the page."""
    file = folder / "trampoline.bin"
    file.write_bytes(page)
    machine = "i386:x86-64" if width == 64 else "i386"
    text = subprocess.run(
        ["objdump", "-D", "-b", "binary", "-m", machine, "-M", "intel", f"--start-address={offset}", str(file)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = [line.split("\t") for line in text.splitlines() if re.match(r"\s+[0-9a-f]+:\t", line)]
    names = [re.sub(r"\s+", " ", row[2].strip()) for row in rows if len(row) > 2]
    return names[: next(i for i, name in enumerate(names) if name.startswith("ud2")) + 1]


def assembled(width: int) -> Trampoline:
    return make_trampoline(width, **{name: value & (1 << width) - 1 for name, value in FACTS.items()})


PROCEDURE = {
    64: (
        *("mov", "mov", "mov", "mov", "syscall", "test", "jne"),
        *("mov", "add", "jmp"),
        *("lea", "mov", "xor", "mov", "mov", "syscall", "test", "js"),
        *("mov", "mov", "cld", "jmp", "ud2"),
    ),
    32: (
        *("call", "pop"),
        *("mov", "mov", "mov", "mov", "mov", "int", "test", "jne"),
        *("mov", "lea", "add", "jmp"),
        *("lea", "mov", "xor", "mov", "mov", "int", "test", "js"),
        *("mov", "mov", "cld", "jmp", "ud2"),
    ),
}


@pytest.mark.parametrize("width", [64, 32])
def test_the_code_is_the_procedure(width: int, tmp_path: Path) -> None:
    trampoline = assembled(width)
    code = disassemble(trampoline.page, width, trampoline.code_offset, tmp_path)
    assert tuple(name.split()[0] for name in code) == PROCEDURE[width]
    if width == 32:
        assert [line for line in code if line.startswith("int")] == ["int 0x82"] * 2
        return
    places = {0: "# 0x30", 1: "# 0x38", 3: "eax,0xe", 10: "# 0x0", 13: "r10d,0x7ff0", 14: "eax,0x1a"}
    for line, text in {**places, 18: "# 0x40", 19: "# 0x48", 21: "# 0x50"}.items():
        assert text in code[line]


@pytest.mark.parametrize("width", [64, 32])
def test_the_jump_lands_behind_itself_in_the_copy(width: int, tmp_path: Path) -> None:
    trampoline = assembled(width)
    code = disassemble(trampoline.page, width, trampoline.code_offset, tmp_path)
    added = next(int(line.split(",")[1], 16) for line in code if line.startswith("add "))
    landing = trampoline.page[added - 2 : added]
    assert landing == b"\xff\xe0"


@pytest.mark.parametrize("width", [64, 32])
def test_the_data_block_is_what_the_declaration_says(width: int) -> None:
    facts = {name: value & (1 << width) - 1 for name, value in FACTS.items()}
    data = structs.TRAMPOLINE_DATA[width].parse(assembled(width).page)
    assert [(op.cmd, op.arg1, op.arg2) for op in data.ops] == [(5, 0x111, 0), (4, 0x222, 0)]
    assert (data.target, data.stack) == (facts["target_va"], facts["stack"])
    assert (data.start_info, data.entry) == (facts["start_info"], facts["entry"])
    assert data.pte == 0x123456 << 12 | 0x63
