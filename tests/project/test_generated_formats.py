"""`_formats.py`: up to date, and right about what a declaration says."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import construct as c
import pytest

from fsdrivers.errors import Corrupt
from tools import generate_formats
from tools.generate_formats import REPOSITORY, generate, rooms

HEADER = c.Struct(
    "magic" / c.Const(b"MAGI"),
    "count" / c.Int16ub,
    "flags" / c.FlagsEnum(c.Int32ub, WIDE=1),
    "level" / c.Int8ub,
    "times" / c.Array(2, c.Struct("seconds" / c.Int16ub, "zone" / c.Int8sb)),
    "name" / c.Bytes(5),
    c.Padding(3),
    "sum" / c.Int64ub,
)
VALUES = {
    "count": 0x1234,
    "flags": {"WIDE": True},
    "level": 7,
    "times": [{"seconds": 0x0102, "zone": -3}, {"seconds": 0x0304, "zone": 5}],
    "name": b"pavel",
    "sum": 0x0102030405060708,
}
REGISTERS = {"ax": 1, "bx": 2, "cs": 3, "frames": [4, 5, 6]}
# The registers of the two widths lie in another order.
SAMPLE = """
from tests.project.test_generated_formats import HEADER, registers
WIDTHS = {width: registers(width) for width in (64, 32)}
FORMATS = {"HEADER": HEADER, "SOME": (HEADER, "times.1 level"), "REGISTERS": WIDTHS}
RECORDS = {
    "Header": (HEADER, "name count times.0.zone magic flags sum"),
    "CpuRegisters": {(width, "<"): (registers(width), "ax bx frames.1") for width in (64, 32)},
}
OFFSETS = {"HeaderOffsets": (HEADER, "times times.1.zone"), "RegistersOffsets": {64: (registers(64), "bx frames")}}
"""


def registers(width: int) -> c.Struct:
    word = c.Int64ul if width == 64 else c.Int32ul
    names = ("ax", "bx") if width == 64 else ("bx", "ax")
    return c.Struct(*[name / word for name in names], "cs" / c.Int16ul, c.Padding(6), "frames" / c.Array(3, word))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    structs = tmp_path_factory.mktemp("room") / "structs.py"
    structs.write_text(SAMPLE)
    target = structs.with_name("_formats.py")
    target.write_text(generate(structs) or "")
    return runpy.run_path(str(target))


@pytest.mark.parametrize("structs", rooms(), ids=lambda path: path.parent.name)
def test_committed_formats_are_those_of_the_declarations(structs: Path) -> None:
    target = structs.with_name("_formats.py")
    committed = target.read_text() if target.exists() else None
    assert generate(structs) == committed, f"{target} is stale: run `make generate`"


def test_formats_read_what_is_declared(generated: dict[str, Any]) -> None:
    raw = HEADER.build(VALUES)
    assert generated["HEADER"].unpack(raw) == (b"MAGI", 0x1234, 1, 7, 0x102, -3, 0x304, 5, b"pavel", VALUES["sum"])
    assert generated["HEADER"].pack(*generated["HEADER"].unpack(raw)) == raw
    assert generated["SOME"].unpack(raw) == (7, 0x304, 5)
    for width, format_ in generated["REGISTERS"].items():
        raw = registers(width).build(REGISTERS)
        assert format_.unpack(raw) == ((1, 2) if width == 64 else (2, 1)) + (3, 4, 5, 6)


def test_records_read_what_is_declared(generated: dict[str, Any]) -> None:
    record = generated["Header"](b"??" + HEADER.build(VALUES), 2)
    assert (record.name, record.count, record.times_0_zone, record.magic) == (b"pavel", 0x1234, -3, b"MAGI")
    assert (record.flags, record.sum) == (1, VALUES["sum"])
    for (width, _), variant in generated["CPU_REGISTERS"].items():
        cpu = variant(registers(width).build(REGISTERS))
        assert isinstance(cpu, generated["CpuRegisters"])
        assert (cpu.ax, cpu.bx, cpu.frames_1, cpu.SIZE) == (1, 2, 5, registers(width).sizeof())
        changed = variant(cpu.pack(bx=9))
        assert (changed.ax, changed.bx, changed.frames_1) == (1, 9, 5)


@pytest.mark.parametrize("offset", [-1, 1])
def test_record_that_does_not_fit_is_corrupt(generated: dict[str, Any], offset: int) -> None:
    with pytest.raises(Corrupt, match="Header is cut short"):
        generated["Header"](HEADER.build(VALUES), offset)


def test_offsets_are_those_declared(generated: dict[str, Any]) -> None:
    raw = HEADER.build(VALUES)
    offsets = generated["HeaderOffsets"]
    assert (raw[offsets.times : offsets.times + 2], raw[offsets.times_1_zone], offsets.SIZE) == (b"\1\2", 5, len(raw))
    wide = generated["REGISTERS_OFFSETS"][64]
    assert (wide.SIZE, wide.bx, wide.frames) == (48, 8, 24)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('FORMATS = {"A": (c.Struct("x" / c.Int8ub), "y")}', "not declared: y"),
        ('FORMATS = {"A": c.Struct("x" / c.Int16ub, "y" / c.Int16ul)}', "both byte orders in x, y"),
        ('FORMATS = {"A": c.Struct("x" / c.Int24ub)}', "x: BytesInteger has no struct code"),
        ('FORMATS = {"A": c.Struct("x" / c.GreedyBytes)}', ""),
        (
            'RECORDS = {"Ab": {1: c.Struct("x" / c.Byte)}}\nFORMATS = {"AB": c.Struct("x" / c.Byte)}',
            "the name is taken",
        ),
        (
            'RECORDS = {"A": {1: c.Struct("x" / c.Byte), 2: c.Struct("y" / c.Byte)}}',
            "the variants have different fields",
        ),
    ],
)
def test_declaration_without_a_format_is_refused(tmp_path: Path, table: str, message: str) -> None:
    structs = tmp_path / "structs.py"
    structs.write_text(f"import construct as c\n{table}\n")
    with pytest.raises(SystemExit, match=f": Ab?: .*{message}"):
        generate(structs)


def test_generated_formats_import_no_construct() -> None:
    modules = [
        ".".join(path.with_name("_formats").relative_to(REPOSITORY).parts)
        for path in rooms()
        if path.with_name("_formats.py").exists()
    ]
    code = f"import sys, {', '.join(['os', *modules])}; print({{'construct', 'numpy'}} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_every_table_is_known() -> None:
    for structs in rooms():
        tables = {name for name in runpy.run_path(str(structs)) if name.endswith(("FORMATS", "RECORDS", "OFFSETS"))}
        assert tables <= set(generate_formats.TABLES)
