"""One domain layout: its JSON, and, if given, its memory dump and p2m."""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

PAGE_BYTES = 4096
NX = 1 << 63


@dataclass(frozen=True, slots=True)
class Entry:
    """One present page-table entry; `pfn` is None if the frame is not the domain's."""

    pfn: int | None
    mfn: int
    flags: int
    table_pfn: int


def number(value: Any) -> Any:
    """A "0x..." string as an int, anything else as it is."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return int(value, 16)
        except ValueError:
            return value
    return value


class Layout:
    """The oracle's answer, or one in the same form, ready for questions."""

    def __init__(self, name: str, facts: Mapping[str, Any], dump: Path | None = None, p2m: Path | None = None) -> None:
        self.name = name
        self.facts = facts
        self.width: int = (facts.get("domain") or {}).get("width", 64)
        self.virt_base: int = number((facts.get("parms") or {}).get("virt_base", 0))
        self.segments: dict[str, dict[str, Any]] = {
            segment["name"]: {key: number(value) for key, value in segment.items()}
            for segment in facts.get("segments") or []
        }
        self._dump = dump
        self._p2m = p2m

    @classmethod
    def load(cls, name: str, path: Path, dump: Path | None = None, p2m: Path | None = None) -> Layout:
        """Read a JSON file."""
        return cls(name, json.loads(path.read_text()), dump, p2m)

    @cached_property
    def memory(self) -> mmap.mmap | bytes | None:
        """The dump: page p of it is PFN p; None if there is none."""
        if self._dump is None:
            return None
        with open(self._dump, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) if size else b""

    @cached_property
    def p2m(self) -> memoryview | None:
        """MFN of every PFN, from the p2m file or from the list in the dumped memory."""
        if self._p2m is not None:
            return memoryview(self._p2m.read_bytes()).cast("Q")
        if not self.memory or "p2m" not in self.segments:
            return None
        count = number((self.facts.get("domain") or {}).get("p2m_size", 0))
        start = self.segments["p2m"]["pfn"] * PAGE_BYTES
        if self.width == 64:
            return memoryview(self.memory[start : start + count * 8]).cast("Q")
        return memoryview(self.memory[start : start + count * 4]).cast("I")

    @cached_property
    def _m2p(self) -> dict[int, int]:
        return {mfn: pfn for pfn, mfn in enumerate(self.p2m or ())}

    def pfn_of(self, mfn: int) -> int | None:
        """The PFN of a frame, None if it is not the domain's (or no p2m is known)."""
        p2m = self.p2m
        if p2m is None:
            return None
        guess = mfn - p2m[0] if len(p2m) else -1  # frames in a row need no table
        if 0 <= guess < len(p2m) and p2m[guess] == mfn:
            return guess
        return self._m2p.get(mfn)

    @property
    def pages(self) -> int:
        return len(self.memory or b"") // PAGE_BYTES

    def page(self, pfn: int) -> bytes | None:
        """The page's bytes, None past the end of the dump."""
        if not self.memory or pfn >= self.pages:
            return None
        return self.memory[pfn * PAGE_BYTES : (pfn + 1) * PAGE_BYTES]

    def place(self, pfn: int) -> str:
        """Where in the layout a page lies, in words."""
        for name, segment in self.segments.items():
            if segment["pfn"] <= pfn < segment["pfn"] + segment["pages"]:
                return f"{name}+{(pfn - segment['pfn']) * PAGE_BYTES:#x}" if segment["pages"] > 1 else name
        return "outside every segment"

    def data_pages(self) -> Iterator[int]:
        """PFNs of pages that the sparse dump stores at all."""
        if self._dump is None:
            return
        with open(self._dump, "rb") as file:
            position, end = 0, self.pages * PAGE_BYTES
            while position < end:
                try:
                    start = os.lseek(file.fileno(), position, os.SEEK_DATA)
                except OSError:  # no data behind here
                    return
                position = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                yield from range(start // PAGE_BYTES, -(-position // PAGE_BYTES))

    def walk(self) -> dict[tuple[int, int], Entry]:
        """All present entries by (level, virtual address), top level first."""
        found: dict[tuple[int, int], Entry] = {}
        levels = 4 if self.width == 64 else 3
        todo, seen = [(self.segments["pgtables"]["pfn"], levels, 0)], set()
        while todo:
            pfn, level, base = todo.pop()
            page = self.page(pfn)
            if page is None or (pfn, base) in seen:
                continue
            seen.add((pfn, base))
            for index, raw in enumerate(struct.unpack("<512Q", page)[: 4 if levels == level == 3 else 512]):
                if not raw & 1:
                    continue
                va = base + (index << (12 + 9 * (level - 1)))
                if level == 4 and index >= 256:
                    va |= 0xFFFF << 48
                mfn = raw >> 12 & ((1 << 40) - 1)
                entry = Entry(self.pfn_of(mfn), mfn, raw & (NX | 0xFFF), pfn)
                found[level, va] = entry
                if level > 1 and entry.pfn is not None:
                    todo.append((entry.pfn, level - 1, va))
        return found
