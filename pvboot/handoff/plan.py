"""The plan as an end of its own: from files of this machine to files and texts about the domain."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pvboot.errors import KernelError, PlanError, UsageError
from pvboot.kexec.build import FIRST_HIGH_MFN, DomainImage, build_domain, needs_low_root
from pvboot.kexec.loader_file import loader_ports, parse_loader
from pvboot.kexec.relocate import KexecPlan, plan_relocation
from pvboot.kexec.verify import check_plan

if TYPE_CHECKING:
    from pvboot.kexec.pagetables import FrameArray
    from pvboot.loading import LoadedBoot

FILE_LIMIT_BYTES: Final = 1 << 30
LOADER_LIMIT_BYTES: Final = 64 << 20
READ_BYTES: Final = 64 << 20


def read_file(path: str, what: str, limit: int = FILE_LIMIT_BYTES, *, may_be_empty: bool = False) -> bytes:
    """A file given by name; an empty one, a device, a directory and one above `limit` bytes are refused.

    Raises `KernelError`.
    """
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes must not hang.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb", buffering=0) as file:
            facts = os.fstat(fd)
            if not (stat.S_ISREG(facts.st_mode) or stat.S_ISFIFO(facts.st_mode)):
                found = "a directory" if stat.S_ISDIR(facts.st_mode) else "a special file"
                raise KernelError(f"cannot read the {what} file", where=path, expected="a regular file", found=found)
            os.set_blocking(fd, stat.S_ISFIFO(facts.st_mode))  # some files of /proc wait for ever for more
            # Each step reserves what it reads and never the limit; the size is 0 of pipes and files of /proc.
            pieces, total, wanted = [], facts.st_size, facts.st_size + 1
            while total <= limit and (piece := file.read(min(wanted, READ_BYTES))):
                pieces.append(piece)
                total, wanted = max(total, sum(map(len, pieces))), READ_BYTES
    except OSError as err:
        raise KernelError(f"cannot read the {what} file", where=path, found=err.strerror or str(err)) from err
    if total > limit:
        found = f"{facts.st_size} bytes" if facts.st_size else "more"
        raise KernelError(f"the {what} file is too large", where=path, expected=f"at most {limit} bytes", found=found)
    if not pieces and not may_be_empty:
        raise KernelError(f"the {what} file is empty", where=path)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def plan_domain(
    loaded: LoadedBoot, nr_pages: int, *, p2m_file: str | None, loader_file: str | None, low_memory: bool
) -> tuple[DomainImage, KexecPlan | None]:
    """The domain of a kernel and, with a description of a running loader, the relocation that leads to it.

    Page p stands in frame p + 0x100000 unless the p2m file says otherwise; `low_memory`: the hypervisor has a frame
    below 4 GiB to trade for a page directory.  Raises `PlanError` and `KernelError`.
    """
    import numpy as np

    loader = _read_json(loader_file) if loader_file is not None else {}
    console, store = loader_ports(loader)
    layout = loaded.layout(nr_pages, console_port=console, store_port=store)
    p2m = np.arange(nr_pages, dtype=np.uint64) + np.uint64(FIRST_HIGH_MFN)
    if p2m_file is not None:
        p2m = _read_p2m(p2m_file, nr_pages)
    shared_info_mfn = int(p2m.max()) + 1
    if loader_file is None:
        low_mfn = _low_frame(p2m) if low_memory and needs_low_root(layout) else None
        return build_domain(layout, p2m, shared_info_mfn, low_mfn=low_mfn), None
    source = parse_loader(loader, width=layout.width, p2m=p2m, shared_info_mfn=shared_info_mfn)
    plan = plan_relocation(layout, source)
    check_plan(plan)
    return plan.image, plan


def _read_json(path: str) -> Any:
    try:
        return json.loads(read_file(path, "loader", LOADER_LIMIT_BYTES))
    except (ValueError, RecursionError) as err:
        raise PlanError("the loader description is not JSON", where=path, found=str(err)) from err


def _read_p2m(path: str, nr_pages: int) -> FrameArray:
    import numpy as np

    data = read_file(path, "p2m")
    if len(data) != nr_pages * 8:
        expected, found = f"{nr_pages * 8} bytes (8 a page)", f"{len(data)} bytes"
        raise PlanError("the p2m file does not fit the domain", where=path, expected=expected, found=found)
    p2m = np.frombuffer(data, dtype="<u8")
    if nr_pages and int(p2m.max()) >= 1 << 40:
        raise PlanError("the p2m file holds an impossible frame", where=path, found=hex(int(p2m.max())))
    return p2m


def _low_frame(p2m: FrameArray) -> int | None:
    """The lowest frame below 4 GiB that the domain does not have yet, as a hypervisor might give it."""
    import numpy as np

    used = np.zeros(FIRST_HIGH_MFN, dtype=np.bool_)
    used[0] = True
    used[p2m[p2m < FIRST_HIGH_MFN].astype(np.int64)] = True
    free = int(np.argmin(used))
    return None if used[free] else free


def write_files(names: Mapping[str, str | None], image: DomainImage, plan: KexecPlan | None, poison: int) -> None:
    """Write the files that have a name: "json", "dump" (memory), "p2m", "m2p" (updates), "svg".

    `poison` fills what the builder leaves alone in its pages.  Raises `UsageError` if a file cannot be written.
    """
    if not any(names.values()):
        return
    from pvboot.kexec.contents import dump_domain
    from pvboot.kexec.picture import draw

    contents: dict[str, Callable[[], bytes]] = {
        "json": lambda: plan_text(image, plan, as_json=True, poison=poison).encode(),
        "p2m": lambda: image.p2m.astype("<u8").tobytes(),
        "m2p": lambda: plan.m2p_updates.astype("<u8").tobytes() if plan is not None else b"",
        "svg": lambda: draw(image, plan).encode(),
    }
    try:
        for kind, name in names.items():
            if name is not None and kind == "dump":
                dump_domain(image, name, poison)
            elif name is not None:
                Path(name).write_bytes(contents[kind]())
    except OSError as err:
        raise UsageError("cannot write the output", where=err.filename or "", found=err.strerror or str(err)) from err


def plan_text(image: DomainImage, plan: KexecPlan | None, *, as_json: bool, poison: int = 0) -> str:
    """Domain and relocation for people, or as one JSON document."""
    if not as_json:
        from pvboot.kexec.text import describe

        return describe(image, plan)
    from pvboot.kexec.report import domain_report, plan_report

    report = plan_report(plan, poison=poison) if plan is not None else domain_report(image, poison=poison)
    return json.dumps(report, indent=1) + "\n"
