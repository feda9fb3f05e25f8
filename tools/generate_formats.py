"""Write each room's `_formats.py` from the construct declarations of its `structs.py` (`make generate`).

A `structs.py` ends with tables that say what the code reads.  The key is the name in `_formats.py`; the value is a
declaration, `(declaration, "field field.nested array.0")` to take only some fields, or a dict of such values by
variant (`{64: ..., 32: ...}`; those of a record or of offsets have the same field names).  Dots in field
names become underscores.

    FORMATS = {"EXTENT_LEAF": EXTENT_LEAF}             EXTENT_LEAF = Struct("<IHHI"): `.unpack_from`, `.pack`, `.size`
    RECORDS = {"GptHeader": (GPT_HEADER, "my_lba")}    class GptHeader(Record): `GptHeader(data, offset).my_lba`
    OFFSETS = {"InodeOffsets": (INODE, "checksum_lo")} class InodeOffsets: `InodeOffsets.checksum_lo`, `.SIZE`

With variants there is a table by the same keys: FORMATS gives `ELF_NOTE[64]`, RECORDS `ELF_HEADER[64](data)` beside the
common type `ElfHeader`, OFFSETS `VCPU_OFFSETS[64].rip` of the named tuple `VcpuOffsets`.

Fields that are not taken become pad bytes: `.pack` writes zeros there.  An unpacked value is the plain number or bytes;
Const, Enum and FlagsEnum count as what they wrap.  A declaration has a fixed size: declare what follows a header of
variable length on its own.  Constants and flags that both structs.py and the code need stand in a plain module that
imports nothing.  A structs.py is run by path, without its package: it must not import what imports `_formats`.  For
runs of members of one type there is `fsdrivers.structs.fields`.
"""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import construct as c

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("fsdrivers", "grammars", "pvboot")
LINE_LENGTH = 120
TABLES = ("FORMATS", "RECORDS", "OFFSETS")


class Field(NamedTuple):
    """A scalar of a declaration: its dotted path, byte offset, `struct` code and byte order ("" if it has none)."""

    path: str
    offset: int
    size: int
    code: str
    order: str


def scalars(declared: Any, path: str = "", offset: int = 0) -> Iterator[Field]:
    """The scalars of a declaration in order; raises TypeError for what has no fixed form."""
    if isinstance(declared, c.FormatField):
        order, code = declared.fmtstr.replace("l", "i").replace("L", "I")
        yield Field(path, offset, declared.length, code, "" if declared.length == 1 else order)
    elif isinstance(declared, c.Bytes):
        yield Field(path, offset, declared.sizeof(), f"{declared.sizeof()}s", "")
    elif isinstance(declared, c.Struct):
        for member in declared.subcons:
            yield from scalars(member, ".".join(filter(None, (path, member.name))), offset)
            offset += member.sizeof()
    elif isinstance(declared, c.Array):
        size = declared.subcon.sizeof()
        for index in range(declared.sizeof() // size if size else 0):
            yield from scalars(declared.subcon, f"{path}.{index}", offset + index * size)
    elif isinstance(declared, c.Subconstruct | c.Adapter):
        yield from scalars(declared.subcon, path, offset)
    elif declared.sizeof():
        raise TypeError(f"{path}: {type(declared).__name__} has no struct code")


class Layout:
    """One declaration and those of its fields that are wanted, in the order of the bytes."""

    def __init__(self, wanted: Any) -> None:
        declared, names = wanted if isinstance(wanted, tuple) else (wanted, None)
        every = list(scalars(declared))
        self.size = declared.sizeof()
        self.offsets = {}
        self.fields = every
        if names is not None:
            inside = {name: [f for f in every if f"{f.path}.".startswith(f"{name}.")] for name in names.split()}
            if missing := [name for name, found in inside.items() if not found]:
                raise KeyError(f"not declared: {', '.join(missing)}")
            self.offsets = {name: found[0].offset for name, found in inside.items()}
            chosen = {field for found in inside.values() for field in found}
            self.fields = [field for field in every if field in chosen]

    @property
    def format(self) -> str:
        """The format string: pad bytes for what is not wanted, a count before repeated codes."""
        orders = {field.order for field in self.fields} - {""}
        if len(orders) > 1:
            raise TypeError(f"both byte orders in {', '.join(field.path for field in self.fields)}")
        order = orders.pop() if orders else "<"
        codes, end = [], 0
        for field in self.fields:
            codes += [f"{field.offset - end}x"] * (field.offset > end) + [field.code]
            end = field.offset + field.size
        codes += [f"{self.size - end}x"] * (self.size > end)
        runs = [(code, len(list(group))) for code, group in groupby(codes)]
        return order + "".join(code * n if len(code) > 1 or n == 1 else f"{n}{code}" for code, n in runs)

    @property
    def names(self) -> list[str]:
        return [field.path.replace(".", "_") for field in self.fields]

    @property
    def types(self) -> list[str]:
        kinds = {"s": "bytes", "e": "float", "f": "float", "d": "float", "?": "bool"}
        return [kinds.get(field.code[-1], "int") for field in self.fields]


def format_lines(name: str, layouts: dict[Any, Layout]) -> Iterator[str]:
    """A `struct.Struct`, or a table of them, with the names of its values."""
    if None in layouts:
        yield commented(f'{name}: Final = Struct("{layouts[None].format}")', layouts[None].names)
        return
    yield f"{name}: Final = {{"
    for key, layout in layouts.items():
        yield commented(f'    {key!r}: Struct("{layout.format}"),', layout.names)
    yield "}"


def commented(line: str, names: list[str]) -> str:
    """The line with a comment behind it, or above it where that would be too long."""
    comment = f"# {', '.join(names)}"
    if len(line) + len(comment) + 2 <= LINE_LENGTH:
        return f"{line}  {comment}"
    return f"{fill(comment[2:], LINE_LENGTH - 4, initial_indent='# ', subsequent_indent='# ')}\n{line}"


def record_lines(name: str, layouts: dict[Any, Layout]) -> Iterator[str]:
    """A record class; with variants their common base and their table."""
    first = next(iter(layouts.values()))
    if any(sorted(layout.names) != sorted(first.names) for layout in layouts.values()):
        raise KeyError("the variants have different fields")
    yield f"class {name}(Record):"
    if None in layouts:
        yield f'    LAYOUT = Struct("{first.format}")'
    yield from (f"    {field}: {kind}" for field, kind in zip(first.names, first.types, strict=True))
    if None not in layouts:
        yield f"{capitals(name)}: Final = {{"
        for key, layout in layouts.items():
            permuted = "".join(f", {field!r}" for field in layout.names) if layout.names != first.names else ""
            yield f'{key!r}: {name}.variant(Struct("{layout.format}"){permuted}),'
        yield "}"


def offset_lines(name: str, layouts: dict[Any, Layout]) -> Iterator[str]:
    """A class of offsets, or a named tuple and its values by variant."""
    fields = {key: {"SIZE": layout.size, **layout.offsets} for key, layout in layouts.items()}
    fields = {key: {path.replace(".", "_"): at for path, at in each.items()} for key, each in fields.items()}
    if None in layouts:
        yield f"class {name}:"
        yield from (f"    {field} = {at}" for field, at in fields[None].items())
        return
    yield f"class {name}(NamedTuple):"
    yield from (f"    {field}: int" for field in next(iter(fields.values())))
    yield f"{capitals(name)}: Final = {{"
    for key, each in fields.items():
        yield f"{key!r}: {name}({', '.join(f'{field}={at}' for field, at in each.items())}),"
    yield "}"


def capitals(name: str) -> str:
    """ElfHeader -> ELF_HEADER."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def generate(structs: Path) -> str | None:
    """The text of the `_formats.py` that belongs beside a `structs.py`; None if that has no tables."""
    module = runpy.run_path(str(structs))
    writers = dict(zip(TABLES, (format_lines, record_lines, offset_lines), strict=True))
    lines: list[str] = []
    taken: set[str] = set()
    for table, write in writers.items():
        for name, wanted in module.get(table, {}).items():
            variants = wanted if isinstance(wanted, dict) else {None: wanted}
            names = {name, capitals(name)} if wanted is variants else {name}
            try:
                if names & taken:
                    raise KeyError("the name is taken")
                taken |= names
                lines += write(name, {key: Layout(each) for key, each in variants.items()})
            except (TypeError, KeyError, c.SizeofError) as err:
                raise SystemExit(f"{structs}: {table}: {name}: {err}") from err
    if not lines:
        return None
    body = "\n".join(lines)
    typing = [name for name in ("Final", "NamedTuple") if name in body]
    imports = ["from struct import Struct"] * ("Struct(" in body)
    ours = [f"from fsdrivers.light import {', '.join(typing)}"] * bool(typing)
    ours += ["from fsdrivers.records import Record"] * ("(Record)" in body)
    blocks = ['"""Written by `make generate` from structs.py; edit that."""', *imports, "\n".join(ours), body]
    text = "\n\n".join(block for block in blocks if block)
    command = (sys.executable, "-m", "ruff", "format", "-q", "--stdin-filename", str(structs), "-")
    return subprocess.run(command, input=text, text=True, capture_output=True, check=True, cwd=REPOSITORY).stdout


def rooms() -> list[Path]:
    """Every `structs.py` of the packages."""
    return sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("structs.py"))


def main() -> None:
    """Write what has changed."""
    for structs in rooms():
        text = generate(structs)
        target = structs.with_name("_formats.py")
        if text is not None and (not target.exists() or target.read_text() != text):
            target.write_text(text)
            print(f"wrote {target.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
