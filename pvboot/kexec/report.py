"""A domain and its relocation plan as JSON: the field names and number formats of Xen's builder oracle in tests/oracle.

Addresses, frame numbers, flags and registers are strings "0x..."; counts are numbers.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from pvboot.kernel.report import parms_json
from pvboot.kexec.build import DomainImage, pack_vcpu, start_info_fields
from pvboot.kexec.contents import segment_hashes
from pvboot.kexec.layout import DomainLayout
from pvboot.kexec.relocate import EnterTrampoline, KexecPlan, MmuUpdate, Operation, PinTable
from pvboot.kexec.runs import change_runs
from pvboot.xen._formats import START_INFO, VCPU_CONTEXT
from pvboot.xen.constants import MMUEXT_PIN_L3_TABLE, MMUEXT_PIN_L4_TABLE
from pvboot.xen.paging import PTE_FRAME, PTE_RW, canonical, level_shift, levels_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

M64 = (1 << 64) - 1
LEAF_FLAGS = 0x8000000000000FFF


def domain_report(image: DomainImage, *, hashes: bool = True, poison: int = 0) -> dict[str, Any]:
    """The domain as a dictionary: status, parms, domain, segments, start_info, vcpu, page_tables ..."""
    layout = image.layout
    return {
        "status": "ok",
        "stage": "xc_dom_gnttab_init",
        "errors": [],
        "parms": parms_json(layout.kernel),
        "domain": _domain(image),
        "segments": _segments(image, hashes, poison),
        "start_info": _start_info(image),
        "vcpu": _vcpu(image),
        "page_tables": page_table_report(image),
        "p2m": _p2m(image),
        "touched": _touched(layout),
        "shared_info": {
            "mfn": hex(image.shared_info_mfn),
            "nonzero_bytes": [[i, byte] for i, byte in enumerate(image.shared_info()) if byte],
        },
        "grant_table": [{"ref": ref, "flags": 1, "domid": 0, "frame": hex(mfn)} for ref, mfn in image.grant_entries()],
        "m2p_updates": [[hex(mfn), hex(pfn)] for mfn, pfn in image.m2p_moves],
    }


def plan_report(plan: KexecPlan, *, hashes: bool = True, poison: int = 0) -> dict[str, Any]:
    """`domain_report` of the target domain, plus `kexec` and `plan` (moves, operations, trampoline, cost)."""
    image, layout = plan.image, plan.layout
    report = domain_report(image, hashes=hashes, poison=poison)
    del report["m2p_updates"]
    report["kexec"] = {
        "boot_target": hex(plan.trampoline.target_va),
        "boot_stack": hex(image.vcpu.sp),
        "cr3_mfn": hex(image.root_mfn),
        "start_info_va": hex(image.vcpu.si),
        "entry": hex(image.vcpu.ip),
    }
    page = plan.trampoline.page.rstrip(b"\0")
    report["plan"] = {
        "displaced": len(plan.displaced),
        "moves": [
            {"pfn": hex(pfn), "pages": count, "from_pfn": hex(old)} for pfn, old, count in change_runs(plan, 4096)
        ],
        "moves_truncated": len(list(change_runs(plan, 4097))) > 4096,
        "loader_tables": [
            {"level": table.level, "mfn": hex(table.mfn), "entry_index": table.entry_index, "entry": hex(table.entry)}
            for table in plan.loader_tables
        ],
        "trampoline": {
            "mfn": hex(plan.trampoline_mfn),
            "target_va": hex(plan.trampoline.target_va),
            "code_offset": plan.trampoline.code_offset,
            "bytes": page.hex(),
        },
        "operations": [operation_report(operation) for operation in plan.operations],
        "cost": {
            "m2p_updates": len(plan.displaced),
            "payload_pages": plan.pages_written(),
            "zeroed_pages": layout.pfn_end,
            "page_copies": 0,
            "hypercalls": sum(isinstance(op, MmuUpdate | PinTable) for op in plan.operations) + 2,
        },
    }
    return report


def operation_report(operation: Operation) -> dict[str, Any]:
    """One operation in words and numbers; long update lists are summarised."""
    if isinstance(operation, MmuUpdate):
        raw = operation.updates.tobytes()
        shown = [[hex(int(ptr)), hex(int(value))] for ptr, value in operation.updates[:16]]
        return {
            "op": "mmu_update",
            "why": operation.why,
            "count": len(operation.updates),
            "first": shown,
            "sha256": hashlib.sha256(raw).hexdigest(),
        }
    if isinstance(operation, PinTable):
        return {"op": f"pin_l{operation.level}", "why": operation.why, "mfn": hex(operation.mfn)}
    if isinstance(operation, EnterTrampoline):
        return {"op": "enter_trampoline", "why": operation.why, "offset": operation.offset}
    return {"op": "point_of_no_return", "why": operation.why}


def _domain(image: DomainImage) -> dict[str, Any]:
    layout, kernel = image.layout, image.layout.kernel
    slot = layout.hypercall_slot
    return {
        "guest_type": kernel.guest_type,
        "total_pages": hex(layout.nr_pages),
        "p2m_size": hex(layout.nr_pages),
        "pfn_alloc_end": hex(layout.pfn_end),
        "virt_alloc_end": hex(layout.virt_end & M64),
        "virt_pgtab_end": hex(layout.mapped_end & M64),
        "flags": hex(layout.flags),
        "initrd_start": hex(layout.mod_start),
        "initrd_len": hex(layout.mod_len),
        "f_active": hex(kernel.features_active),
        **{f"{name}_pfn": hex(layout.segment(name).pfn) for name in ("start_info", "xenstore", "console", "bootstack")},
        "shared_info_mfn": hex(image.shared_info_mfn),
        **{f"{name}_mfn": hex(image.mfn_of(name)) for name in ("xenstore", "console", "start_info")},
        "hypercall_init_mfn": None if slot is None else hex(int(image.p2m[slot])),
        "width": layout.width,
        "kernel_size_unpacked": kernel.elf_size,
    }


def _segments(image: DomainImage, hashes: bool, poison: int) -> list[dict[str, Any]]:
    digests = segment_hashes(image, poison) if hashes else {}
    order = ("kernel", "ramdisk", "p2m", "start_info", "xenstore", "console", "pgtables", "bootstack")
    by_name = {segment.name: segment for segment in image.layout.segments}
    rows = []
    for name in order:
        segment = by_name.get(name)
        if segment is None:
            continue
        row = {
            "name": name,
            "vstart": hex(segment.vstart & M64),
            "vend": hex(segment.vend & M64),
            "pfn": hex(segment.pfn),
            "pages": segment.pages,
        }
        if name in digests:
            row["sha256"] = digests[name]
        rows.append(row)
    return rows


def _start_info(image: DomainImage) -> dict[str, Any]:
    layout = image.layout
    mask = (1 << 8 * layout.word_bytes) - 1
    values: dict[str, Any] = {
        name: value.decode("latin-1") if isinstance(value, bytes) else hex(value & mask)
        for name, value in start_info_fields(layout, image.p2m, image.shared_info_mfn).items()
    }
    text = values.pop("cmd_line").split("\0")[0]
    values["cmd_line_len"] = len(text)
    values["cmd_line"] = text
    values["sizeof"] = START_INFO[layout.width].SIZE
    return values


def _vcpu(image: DomainImage) -> dict[str, Any]:
    context = image.vcpu
    raw = pack_vcpu(context)
    words = [(offset, int.from_bytes(raw[offset : offset + 4], "little")) for offset in range(0, len(raw), 4)]
    prefix = "r" if context.width == 64 else "e"
    zero = [prefix + name for name in ("ax", "bx", "cx", "dx", "di", "bp")]
    if context.width == 64:
        zero += ["r8", "r15"]
    return {
        "vcpu": 0,
        "sizeof": VCPU_CONTEXT[context.width].size,
        prefix + "ip": hex(context.ip),
        prefix + "sp": hex(context.sp & M64),
        prefix + "si": hex(context.si & M64),
        prefix + "flags": hex(context.rflags),
        **dict.fromkeys(zero, "0x0"),
        "cs": hex(context.cs),
        "ss": hex(context.ss),
        **dict.fromkeys(("ds", "es", "fs", "gs"), hex(context.ds)),
        "flags": hex(context.vgcf_flags),
        "kernel_ss": hex(context.ss),
        "kernel_sp": hex(context.sp & M64),
        "cr0": "0x0",
        "cr1": "0x0",
        "cr3": hex(context.cr3),
        "cr3_mfn": hex(context.cr3_mfn),
        "cr4": "0x0",
        "dr6": hex(context.dr6),
        "dr7": hex(context.dr7),
        "vm_assist": hex(context.vm_assist),
        "gdt_ents": "0x0",
        "ldt_ents": "0x0",
        "nonzero": [[offset, hex(word)] for offset, word in words if word],
    }


def page_table_report(image: DomainImage) -> dict[str, Any]:
    """The page tables as found by walking them from the root: counts, tables, runs of equal mappings, checks."""
    import numpy as np

    layout = image.layout
    tables = image.tables_by_slot()
    frames = image.p2m[: layout.pfn_end]
    order = np.argsort(frames, kind="stable")
    ranked = frames[order]

    def slots_of(mfns: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Slots of frames, -1 for frames outside the laid-out part."""
        position = np.minimum(np.searchsorted(ranked, mfns), len(ranked) - 1)
        return np.where(ranked[position] == mfns, order[position], -1)

    counts = dict.fromkeys(("L4", "L3", "L2", "L1"), 0)
    rows: list[dict[str, Any]] = []
    runs: list[list[int]] = []
    present = foreign = writable = 0
    table_slots = np.array(sorted(tables), dtype=np.int64)
    root = layout.segment("pgtables").pfn
    todo = [(root, levels_of(layout.width), 0)]
    while todo:
        slot, level, base = todo.pop()
        entries = tables[slot]
        used = np.flatnonzero(entries & np.uint64(1))
        counts[f"L{level}"] += 1
        present += len(used)
        rows.append(
            {
                "level": level,
                "pfn": hex(slot),
                "mfn": hex(int(image.p2m[slot])),
                "va": hex(canonical(layout.width, base)),
                "present": len(used),
            }
        )
        targets = slots_of((entries[used] & np.uint64(PTE_FRAME)) >> np.uint64(12))
        foreign += int((targets < 0).sum())
        if level > 1:
            children = [
                (int(target), level - 1, base | int(index) << level_shift(level))
                for index, target in zip(used, targets, strict=True)
                if int(target) in tables
            ]
            todo.extend(reversed(children))
            continue
        flags = entries[used] & np.uint64(LEAF_FLAGS)
        writable += int((np.isin(targets, table_slots) & ((flags & np.uint64(PTE_RW)) != 0)).sum())
        _add_runs(runs, base, used, targets, flags)
    return {
        "levels": levels_of(layout.width),
        "root_pfn": hex(root),
        "root_mfn": hex(image.root_mfn),
        "pin_cmd": MMUEXT_PIN_L4_TABLE if layout.width == 64 else MMUEXT_PIN_L3_TABLE,
        "frames": len(rows),
        "frames_by_level": counts,
        "ptes": present,
        "foreign_ptes": foreign,
        "writable_maps_of_page_tables": writable,
        "tables": rows,
        "mappings": [
            {"va": hex(canonical(layout.width, page << 12)), "pages": count, "pfn": hex(pfn), "flags": hex(flags)}
            for page, count, pfn, flags in runs
        ],
    }


def _add_runs(runs: list[list[int]], base: int, used: Any, targets: Any, flags: Any) -> None:
    """Append one leaf table's mappings to the runs [va page, pages, pfn, flags], joining neighbours."""
    import numpy as np

    if not len(used):
        return
    breaks = (np.diff(used) != 1) | (np.diff(targets) != 1) | (flags[1:] != flags[:-1])
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1, [len(used)]])
    for first, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        page = (base >> 12) + int(used[first])
        pfn, flag, count = int(targets[first]), int(flags[first]), stop - first
        last = runs[-1] if runs else None
        if last and last[0] + last[1] == page and last[2] + last[1] == pfn and last[3] == flag:
            last[1] += count
        else:
            runs.append([page, count, pfn, flag])


def _p2m(image: DomainImage) -> dict[str, Any]:
    import numpy as np

    p2m = image.p2m
    return {
        "entries": len(p2m),
        "first": [hex(int(mfn)) for mfn in p2m[:4]],
        "last": hex(int(p2m[-1])),
        "sha256_u64le": hashlib.sha256(np.ascontiguousarray(p2m).data.cast("B")).hexdigest(),
    }


def _touched(layout: DomainLayout) -> list[list[Any]]:
    """PFN ranges that the builder maps to write or clear: every segment but the boot stack."""
    runs: list[list[int]] = []
    for segment in sorted(layout.segments, key=lambda s: s.pfn):
        if segment.name == "bootstack" or not segment.pages:
            continue
        if runs and runs[-1][0] + runs[-1][1] == segment.pfn:
            runs[-1][1] += segment.pages
        else:
            runs.append([segment.pfn, segment.pages])
    return [[hex(pfn), pages] for pfn, pages in runs]
