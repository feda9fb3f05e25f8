"""The numbers of `pvboot.xen` against Xen's own public headers, as a C compiler understands them."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pvboot.xen import constants, paging
from pvboot.xen.structs import DECLARED
from tools.generate_formats import scalars

HEADERS = (
    *("xen", "features", "version", "elfnote", "memory", "physdev", "event_channel", "sched", "vcpu", "callback"),
    *("grant_table", "io/xs_wire", "io/console"),
)
# Without a name in the public headers: a mask of the hypervisor's own, two bits named only in a comment.
UNNAMED = {"MEMOP_CMD_MASK", "TI_MASKS_EVENTS"}

Compile = Callable[[int, Mapping[str, str]], dict[str, int]]


@pytest.fixture(scope="module")
def include(parts: Callable[[str], Path]) -> Path:
    return parts("oracle") / "root" / "usr" / "include"


@pytest.fixture(scope="module")
def values(include: Path, tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """`values(width, {name: C expression})`: what a compiler for guests of that width makes of the expressions."""
    folder = tmp_path_factory.mktemp("headers")

    def compiled(width: int, expressions: Mapping[str, str]) -> dict[str, int]:
        lines = ["#include <stdint.h>", *(f"#include <xen/{header}.h>" for header in HEADERS)]
        lines += ["const long long values[] = {", *(f"(long long)({each})," for each in expressions.values()), "};"]
        (folder / "values.c").write_text("\n".join(lines))
        options = [
            f"-m{width}",
            "-ffreestanding",
            f"-I{include}",
            "-D__XEN_INTERFACE_VERSION__=__XEN_LATEST_INTERFACE_VERSION__",
            "-w",
        ]
        subprocess.run(["gcc", *options, "-c", "values.c"], cwd=folder, check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".rodata", "values.o", "values.bin"], cwd=folder, check=True)
        numbers = struct.unpack(f"<{len(expressions)}q", (folder / "values.bin").read_bytes()[: 8 * len(expressions)])
        return dict(zip(expressions, numbers, strict=True))

    return compiled


def spellings(include: Path) -> dict[str, str]:
    """Every macro and enumerator of the headers by its name in capitals."""
    files = [include / "xen" / f"{header}.h" for header in HEADERS]
    text = "\n".join(path.read_text() for path in (*files, *(include / "xen" / "arch-x86").glob("xen*.h")))
    names = re.findall(r"^\s*#\s*define\s+(\w+)\b(?!\()|^\s+(XS_\w+)", text, re.MULTILINE)
    return {name.upper(): name for pair in sorted(names) for name in pair}  # names in capitals only are old ones


def test_every_constant_is_the_headers(include: Path, values: Compile) -> None:
    known = spellings(include)
    ours = {name: value for name, value in vars(constants).items() if name.isupper() and isinstance(value, int)}
    ours = {name: value for name, value in ours.items() if name not in UNNAMED}
    expressions = {name: known.get(name) or known[f"XEN_{name}"] for name in ours}
    assert len(ours) > 100
    for width in (64, 32):
        chosen = {name: each for name, each in expressions.items() if ("FLAT_RING1" in name) == (width == 32)}
        assert values(width, chosen) == {name: ours[name] for name in chosen}


def test_every_hypercall_number_is_the_headers(values: Compile) -> None:
    assert values(64, {name: f"__HYPERVISOR_{name}" for name in constants.HYPERCALL_NUMBERS}) == (
        constants.HYPERCALL_NUMBERS
    )
    assert values(64, {name: f"SHUTDOWN_{name}" for name in constants.SHUTDOWN_REASONS.values()}) == {
        name: number for number, name in constants.SHUTDOWN_REASONS.items()
    }


@pytest.mark.parametrize("width", [64, 32])
def test_the_address_space_is_the_headers(width: int, values: Compile) -> None:
    found = values(
        width, {"start": "HYPERVISOR_VIRT_START", "m2p": "MACH2PHYS_VIRT_START", "cr3": "xen_pfn_to_cr3(77)"}
    )
    assert {value % (1 << width) for value in (found["start"], found["m2p"])} == {paging.HYPERVISOR_VIRT_START[width]}
    assert found["cr3"] == paging.pfn_to_cr3(width, 77)
    mfn = 0x100211
    assert paging.cr3_to_pfn(width, paging.pfn_to_cr3(width, mfn)) == mfn


# What the headers call otherwise: members of unions and of nested structures, registers with the width's prefix.
RENAMED = {
    r"(?<=start_info\.)console_": "console.domU.",
    r"(?<=evtchn_status\.u\.)": "interdomain.",
    r"\b(?=cr2$|max_pfn$|pfn_to_mfn_frame_list_list$|nmi_reason$|p2m_\w+$)": "arch.",
    r"((?:user_regs|iret_context)\.)(?=(?:[abcd]x|[sd]i|[bsi]p)$)": r"\1r",
    r"(user_regs\.)(?=flags$)": r"\1r",
}
RENAMED_32 = {
    r"(?<=shared_info\.)(?=wc_sec_hi)": "arch.",
    r"(?<=callback_register\.)cs": "address.cs",
    r"(?<=callback_register\.)address$": "address.eip",
    r"(user_regs\.)r": r"\1e",
}
NOT_IN_HEADERS = {"e820entry": (64, 32), "iret_context": (32,)}


def offset_of(width: int, name: str, path: str) -> str:
    """The C expression for the offset of a declared member."""
    whole = f"{name}.{path}"
    for pattern, replacement in {**RENAMED, **(RENAMED_32 if width == 32 else {})}.items():
        whole = re.sub(pattern, replacement, whole)
    return re.sub(r"\.(\d+)", r"[\1]", f"__builtin_offsetof(struct {whole.replace('.', ', ', 1)})")


@pytest.mark.parametrize("width", [64, 32])
def test_every_structure_is_the_headers(width: int, values: Compile) -> None:
    expected, expressions = {}, {}
    for name, declared in DECLARED[width].items():
        if width in NOT_IN_HEADERS.get(name, ()):
            continue
        expected[name], expressions[name] = declared.sizeof(), f"sizeof(struct {name})"
        for field in scalars(declared):
            key = f"{name}.{field.path}"
            expected[key] = field.offset
            expressions[key] = offset_of(width, name, field.path)
    assert len(expected) > 200
    assert values(width, expressions) == expected
