#!/usr/bin/env python3
"""Compare two domain layouts, as the oracle describes them, and say in words what differs.

    python -m tests.oracle.diff A.json B.json [--dump A.mem B.mem] [--p2m A.p2m B.p2m]
                                [--by-pfn] [--only-common] [--max N]

Exit codes: 0 the same, 1 differences, 2 wrong use.  `compare` is the same as a function.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pvboot.xen.structs import DECLARED
from tests.oracle.layout import NX, Entry, Layout, number
from tools.generate_formats import scalars

_MFN_FIELDS = "store_mfn console_mfn start_info_mfn xenstore_mfn cr3_mfn root_mfn mfn hypercall_init_mfn frame cr3"
MFN_FIELDS = set(_MFN_FIELDS.split())
# Segments whose bytes hold MFNs: compared by meaning when frames differ.
HOLDS_MFNS = {"p2m", "start_info", "pgtables"}
_FLAGS = "P RW US PWT PCD A D PSE G AVL0 AVL1 AVL2"
FLAG_NAMES = {**dict(enumerate(_FLAGS.split())), 63: "NX"}
MAX_P2M_LINES = 100
_ABSENT = object()


def compare(a: Layout, b: Layout, *, by_pfn: bool = False, only_common: bool = False) -> list[str]:
    """What differs between two layouts, one line each, "area: what"; an empty list if nothing does.

    `by_pfn` translates every MFN to its PFN first, so that runs with other frames can be compared.
    With `only_common` a key or section that one side lacks does not count.
    """
    comparison = _Comparison(a, b, by_pfn, only_common)
    comparison.outcome()
    for section in ("parms", "domain", "vcpu", "kexec"):
        comparison.section(section)
    comparison.vcpu_words()
    comparison.segments()
    comparison.section("start_info")
    comparison.lists()
    comparison.page_tables()
    comparison.p2m()
    if a.memory is not None and b.memory is not None:
        table_pfns = comparison.page_table_walk()
        comparison.memory(table_pfns)
    return comparison.lines


class _Comparison:
    def __init__(self, a: Layout, b: Layout, by_pfn: bool, only_common: bool) -> None:
        self.a, self.b = a, b
        self.by_pfn = by_pfn
        self.only_common = only_common
        self.lines: list[str] = []

    def add(self, area: str, text: str) -> None:
        self.lines.append(f"{area}: {text}")

    def outcome(self) -> None:
        for key in ("status", "stage"):
            ours, theirs = self.a.facts.get(key, _ABSENT), self.b.facts.get(key, _ABSENT)
            if ours != theirs and not (self.only_common and _ABSENT in (ours, theirs)):
                self.add("outcome", f"{key}: A {_show(ours)}, B {_show(theirs)}")

    def section(self, name: str) -> None:
        ours, theirs = self.a.facts.get(name), self.b.facts.get(name)
        if (ours is None and theirs is None) or (self.only_common and (ours is None or theirs is None)):
            return
        self.fields(name, ours or {}, theirs or {})

    def fields(self, area: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
        """Compare plain values key by key; lists and objects are other functions' work."""
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            left, right = ours.get(key, _ABSENT), theirs.get(key, _ABSENT)
            if key == "kernel_size_unpacked" or isinstance(left, dict | list) or isinstance(right, dict | list):
                continue
            if self.only_common and (left is _ABSENT or right is _ABSENT):
                continue
            if self.meaning(self.a, key, left) != self.meaning(self.b, key, right):
                self.add(area, f"{key}: A {_show(left)}, B {_show(right)}")

    def meaning(self, side: Layout, key: str, value: Any) -> Any:
        """The value as a number; under by_pfn, an MFN as the PFN it stands for."""
        value = number(value)
        if not self.by_pfn or key not in MFN_FIELDS or not isinstance(value, int):
            return value
        mfn = value
        if key == "cr3":
            mfn = value >> 12 if side.width == 64 else (value >> 12 & 0xFFFFF) | (value & 0xFFF) << 20
        pfn = side.pfn_of(mfn)
        return value if pfn is None else ("pfn", pfn)

    def vcpu_words(self) -> None:
        """The vCPU context word by word, if both sides list its non-zero words."""
        ours, theirs = ((side.facts.get("vcpu") or {}).get("nonzero") for side in (self.a, self.b))
        if ours is None or theirs is None or self.by_pfn:
            return
        left, right = ({offset: number(value) for offset, value in words} for words in (ours, theirs))
        for offset in sorted({*left, *right}):
            x, y = left.get(offset, 0), right.get(offset, 0)
            if x != y:
                self.add("vcpu", f"context bytes {offset}..{offset + 3}: A {x:#x}, B {y:#x}")

    def segments(self) -> None:
        left, right = self.a.segments, self.b.segments
        for name in [*left, *(name for name in right if name not in left)]:
            if name not in left or name not in right:
                if not self.only_common:
                    self.add("segment", f"{name}: only in {'A' if name in left else 'B'}")
                continue
            self.segment(name, left[name], right[name])

    def segment(self, name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
        if (ours["pfn"], ours["vstart"]) != (theirs["pfn"], theirs["vstart"]):
            places = ", ".join(f"{s} pfn {x['pfn']:#x} va {x['vstart']:#x}" for s, x in (("A", ours), ("B", theirs)))
            self.add("segment", f"{name} moved: {places} ({theirs['pfn'] - ours['pfn']:+d} pages)")
        # The p2m's vend means nothing when INIT_P2M is used.
        lengths = [each["vend"] - each["vstart"] if name != "p2m" else 0 for each in (ours, theirs)]
        if ours["pages"] != theirs["pages"] or lengths[0] != lengths[1]:
            sizes = ", ".join(f"{s} {x['pages']} pages end {x['vend']:#x}" for s, x in (("A", ours), ("B", theirs)))
            self.add("segment", f"{name} size: {sizes}")
        has_dumps = self.a.memory is not None and self.b.memory is not None
        if has_dumps or (self.by_pfn and name in HOLDS_MFNS):
            return
        left, right = ours.get("sha256"), theirs.get("sha256")
        if left and right and left != right:
            self.add("segment", f"{name}: contents differ (sha256); dumps would show the place")

    def lists(self) -> None:
        for name in ("shared_info", "grant_table", "m2p_updates", "touched"):
            has = name in self.a.facts, name in self.b.facts
            if has == (True, True):
                left, right = self.a.facts[name], self.b.facts[name]
                if left != right and not (self.by_pfn and name in ("grant_table", "m2p_updates")):
                    self.add(name, f"A {json.dumps(left)[:160]}, B {json.dumps(right)[:160]}")
            elif any(has) and not self.only_common:
                self.add(name, f"only in {'A' if has[0] else 'B'}")

    def page_tables(self) -> None:
        ours, theirs = self.a.facts.get("page_tables"), self.b.facts.get("page_tables")
        if not ours or not theirs:
            if bool(ours) != bool(theirs) and not self.only_common:
                self.add("pagetable", f"only in {'A' if ours else 'B'}")
            return
        self.fields("pagetable", ours, theirs)
        self.fields("pagetable", ours.get("frames_by_level") or {}, theirs.get("frames_by_level") or {})
        if self.a.memory is None or self.b.memory is None:
            self.mappings(ours.get("mappings"), theirs.get("mappings"))

    def mappings(self, ours: Iterable[Mapping[str, Any]] | None, theirs: Iterable[Mapping[str, Any]] | None) -> None:
        if self.only_common and (ours is None or theirs is None):
            return
        left, right = ({number(run["va"]): run for run in runs or ()} for runs in (ours, theirs))
        for va in sorted({*left, *right}):
            x, y = _show_run(left.get(va)), _show_run(right.get(va))
            if x != y:
                self.add("mapping", f"run at VA {va:#x}: A {x}; B {y}")

    def p2m(self) -> None:
        left, right = self.a.p2m, self.b.p2m
        if left is None or right is None or self.by_pfn:
            return
        if len(left) != len(right):
            self.add("p2m", f"entries: A {len(left)}, B {len(right)}")
        if left == right:
            return
        wrong = [pfn for pfn in range(min(len(left), len(right))) if left[pfn] != right[pfn]]
        for pfn in wrong[:MAX_P2M_LINES]:
            self.add("p2m", f"pfn {pfn:#x}: A mfn {left[pfn]:#x}, B mfn {right[pfn]:#x}")
        if wrong:
            self.add("p2m", f"{len(wrong)} entries differ")

    def page_table_walk(self) -> set[int]:
        """Compare entry by entry; the PFNs of all table frames."""
        if "pgtables" not in self.a.segments or "pgtables" not in self.b.segments:
            return set()
        left, right = self.a.walk(), self.b.walk()
        for level, va in sorted({*left, *right}, key=lambda key: (-key[0], key[1])):
            x, y = left.get((level, va)), right.get((level, va))
            what = "PTE" if level == 1 else f"L{level} entry"
            if x is None or y is None:
                one = x or y
                assert one is not None
                self.add("pagetable", f"{what} at VA {va:#x}: only in {'A' if x else 'B'} (-> {_show_target(one)})")
            else:
                self.entry(f"at VA {va:#x}", what, x, y)
        return {entry.table_pfn for entry in (*left.values(), *right.values())}

    def entry(self, place: str, what: str, x: Entry, y: Entry) -> None:
        if x.flags != y.flags:
            self.add("pagetable", f"{what} flags differ {place}: A {_show_flags(x.flags)}, B {_show_flags(y.flags)}")
        if x.pfn != y.pfn:
            self.add("pagetable", f"{what} target differs {place}: A {_show_target(x)}, B {_show_target(y)}")
        elif x.mfn != y.mfn and not self.by_pfn:
            self.add("pagetable", f"{what} mfn differs {place}: A {x.mfn:#x}, B {y.mfn:#x}")

    def memory(self, table_pfns: set[int]) -> None:
        a, b = self.a, self.b
        if a.pages != b.pages:
            self.add("memory", f"dump size: A {a.pages} pages, B {b.pages} pages")
        for pfn in sorted({*a.data_pages(), *b.data_pages()}):
            x, y = a.page(pfn), b.page(pfn)
            if x is None or y is None or x == y:
                continue
            place = a.place(pfn) if not a.place(pfn).startswith("outside") else b.place(pfn)
            segment = place.partition("+")[0]
            if self.by_pfn and (pfn in table_pfns or segment in HOLDS_MFNS):
                continue
            offset = next(at for at in range(len(x)) if x[at] != y[at])
            if segment == "start_info":
                self.add("memory", f"start_info page, {_start_info_field(a.width, x, y, offset)}")
                continue
            va = a.virt_base + pfn * 4096 + offset & (1 << 64) - 1
            word = offset & ~7
            values = f"A {x[word : word + 8].hex()}, B {y[word : word + 8].hex()}"
            self.add("memory", f"pfn {pfn:#x} ({place}) offset {offset:#x} va {va:#x}: {values}")


def _show(value: Any) -> str:
    value = number(value)
    if value is _ABSENT:
        return "absent"
    return hex(value) if isinstance(value, int) and not isinstance(value, bool) else json.dumps(value)


def _show_flags(flags: int) -> str:
    names = "|".join(name for bit, name in FLAG_NAMES.items() if flags >> bit & 1)
    return f"{flags & (NX | 0xFFF):#x}({names or 'none'})"


def _show_target(entry: Entry) -> str:
    target = f"foreign mfn {entry.mfn:#x}" if entry.pfn is None else f"pfn {entry.pfn:#x}"
    return f"{target}, {_show_flags(entry.flags)}"


def _show_run(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return "none"
    return f"{run['pages']} pages of pfn {number(run['pfn']):#x}, {_show_flags(number(run['flags']))}"


def _start_info_field(width: int, x: bytes, y: bytes, offset: int) -> str:
    for name, start, size, *_ in scalars(DECLARED[width]["start_info"]):
        left, right = x[start : start + size], y[start : start + size]
        if left == right:
            continue
        if size > 8:
            texts = [repr(each.split(b"\0")[0].decode("latin-1")) for each in (left, right)]
        else:
            texts = [hex(int.from_bytes(each, "little")) for each in (left, right)]
        return f"field {name} (offset {start}): A {texts[0]}, B {texts[1]}"
    return f"offset {offset}, past or between the fields: A {x[offset]:02x}, B {y[offset]:02x}"


def main(arguments: list[str]) -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description="Compare two domain layouts.")
    parser.add_argument("json", nargs=2, type=Path)
    parser.add_argument("--dump", nargs=2, type=Path, default=(None, None), help="memory of A and B")
    parser.add_argument("--p2m", nargs=2, type=Path, default=(None, None), help="p2m of A and B, u64 MFN per PFN")
    parser.add_argument("--by-pfn", action="store_true", help="compare frames by their PFN")
    parser.add_argument("--only-common", action="store_true", help="what one side lacks does not count")
    parser.add_argument("--max", type=int, default=12, help="lines an area (default 12)")
    options = parser.parse_args(arguments)
    a, b = (
        Layout.load(name, path, dump, p2m)
        for name, path, dump, p2m in zip("AB", options.json, options.dump, options.p2m, strict=True)
    )
    lines = compare(a, b, by_pfn=options.by_pfn, only_common=options.only_common)
    counts: Counter[str] = Counter()
    for line in lines:
        area = line.partition(":")[0]
        counts[area] += 1
        if counts[area] <= options.max:
            print(line)
        elif counts[area] == options.max + 1:
            print(f"{area}: ... more of these")
    print("differences: " + ", ".join(f"{area} {count}" for area, count in counts.items()) if lines else "same")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
