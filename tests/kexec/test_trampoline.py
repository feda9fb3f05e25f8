"""The trampoline: its instructions as a disassembler reads them, and its data as the ABI declares them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pvboot.kexec import structs
from pvboot.kexec.trampoline import make_trampoline

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


def test_the_64_bit_code_is_the_procedure(tmp_path: Path) -> None:
    trampoline = make_trampoline(64, **FACTS)
    code = disassemble(trampoline.page, 64, trampoline.code_offset, tmp_path)
    verbs = [name.split()[0] for name in code]
    assert verbs == [
        *("mov", "mov", "mov", "mov", "syscall", "test", "jne"),
        *("mov", "add", "jmp"),
        *("lea", "mov", "xor", "mov", "mov", "syscall", "test", "js"),
        *("mov", "mov", "cld", "jmp", "ud2"),
    ]
    assert "eax,0xe" in code[3]
    assert "eax,0x1a" in code[14]
    assert "r10d,0x7ff0" in code[13]
    fields = {"rdi": 48, "rsi": 56}
    for line, register in ((code[0], "rdi"), (code[1], "rsi")):
        assert f"# {fields[register]:#x}" in line
    assert "# 0x0" in code[10]
    assert ["# 0x40" in code[18], "# 0x48" in code[19], "# 0x50" in code[21]] == [True] * 3


def test_the_32_bit_code_is_the_procedure(tmp_path: Path) -> None:
    facts = {name: value & 0xFFFFFFFF for name, value in FACTS.items()}
    trampoline = make_trampoline(32, **facts)
    code = disassemble(trampoline.page, 32, trampoline.code_offset, tmp_path)
    verbs = [name.split()[0] for name in code]
    assert verbs == [
        *("call", "pop"),
        *("mov", "mov", "mov", "mov", "mov", "int", "test", "jne"),
        *("mov", "lea", "add", "jmp"),
        *("lea", "mov", "xor", "mov", "mov", "int", "test", "js"),
        *("mov", "mov", "cld", "jmp", "ud2"),
    ]
    assert [line for line in code if line == "int 0x82"] == ["int 0x82"] * 2


@pytest.mark.parametrize("width", [64, 32])
def test_the_jump_lands_behind_itself_in_the_copy(width: int, tmp_path: Path) -> None:
    facts = {name: value & (1 << width) - 1 for name, value in FACTS.items()}
    trampoline = make_trampoline(width, **facts)
    code = disassemble(trampoline.page, width, trampoline.code_offset, tmp_path)
    added = next(int(line.split(",")[1], 16) for line in code if line.startswith("add "))
    landing = trampoline.page[added - 2 : added]
    assert landing == b"\xff\xe0"


@pytest.mark.parametrize("width", [64, 32])
def test_the_data_block_is_what_the_declaration_says(width: int) -> None:
    facts = {name: value & (1 << width) - 1 for name, value in FACTS.items()}
    data = structs.TRAMPOLINE_DATA[width].parse(make_trampoline(width, **facts).page)
    assert [(op.cmd, op.arg1, op.arg2) for op in data.ops] == [(5, 0x111, 0), (4, 0x222, 0)]
    assert (data.target, data.stack) == (facts["target_va"], facts["stack"])
    assert (data.start_info, data.entry) == (facts["start_info"], facts["entry"])
    assert data.pte == 0x123456 << 12 | 0x63
