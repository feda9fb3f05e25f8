"""Hand-over to the embedded PV machine: directly as a fresh domain, or by relocating a running loader."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pvboot.errors import BootError
from pvboot.handoff.loader import HYPERCALL_PFN, TRAMPOLINE_PFN, loader_kernel
from pvboot.kexec.build import FIRST_HIGH_MFN, DomainImage, Write, build_domain, needs_low_root
from pvboot.kexec.layout import DomainLayout, plan_layout
from pvboot.kexec.relocate import KexecPlan, MmuUpdate, PinTable, plan_relocation
from pvboot.kexec.source import running_loader
from pvboot.kexec.verify import check_plan
from pvboot.xen.paging import PAGE_SIZE, levels_of

if TYPE_CHECKING:
    from pvboot.kexec.pagetables import FrameArray
    from pvboot.machine.machine import Machine
    from pvboot.machine.outcome import Outcome


CPU_LIMIT_SECONDS: Final = 600.0  # of a guest that nobody watches
SILENT_SECONDS: Final = 120.0
SHORTEST_IDLE_SECONDS: Final = 10.0
WALL_FACTOR: Final = 10
SHORTEST_WALL_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """Options of the embedded machine: how it starts a guest, how long it lets it run.

    `direct`: a freshly built domain instead of a relocated loader.  `until`: end as soon as the console shows this.
    `cpu_seconds` None: as long as it likes for a guest on a terminal, else ten minutes.
    """

    output: Callable[[bytes], None]
    interactive: bool = False
    direct: bool = False
    strict: bool = True
    frame_seed: int | None = None
    until: bytes | None = None
    cpu_seconds: float | None = None


def start_machine(
    layout: DomainLayout, options: MachineOptions, planned: Callable[[KexecPlan], object] | None = None
) -> Machine:
    """A machine at its first instruction; `planned` sees the plan, if there is one.  Raises `PvbootError`."""
    from pvboot.machine.machine import Machine

    machine = Machine(
        layout.width,
        layout.nr_pages,
        strict=options.strict,
        frame_seed=options.frame_seed,
        output=options.output,
        interactive=options.interactive,
    )
    if options.direct:
        start_direct(machine, layout)
        return machine
    plan = start_by_kexec(machine, layout)
    if planned is not None:
        planned(plan)
    return machine


def run_machine(machine: Machine, options: MachineOptions) -> Outcome:
    """Run the guest with standard input as its keyboard; without a terminal it is bounded."""
    from pvboot.handoff.terminal import guest_keyboard
    from pvboot.machine.outcome import RunLimits

    limit = options.cpu_seconds
    with guest_keyboard(machine.feed, machine.stop) as watched:
        bounded = RunLimits(limit or CPU_LIMIT_SECONDS, SILENT_SECONDS, idle_limit(limit), wall_limit(limit))
        return machine.run(RunLimits(limit, None, None) if watched else bounded, options.until)


def idle_limit(cpu_limit: float | None) -> float:
    """Seconds of sleep without output: a guest that sleeps uses no CPU, so that a limit of CPU alone never ends it."""
    return SILENT_SECONDS if cpu_limit is None else min(SILENT_SECONDS, max(cpu_limit, SHORTEST_IDLE_SECONDS))


def wall_limit(cpu_limit: float | None) -> float:
    """Seconds by the clock for a guest that nobody watches: one that prints now and then is neither busy nor idle.

    On a busy host a guest gets only a part of a processor, hence the factor.
    """
    return max(WALL_FACTOR * (cpu_limit or CPU_LIMIT_SECONDS), SHORTEST_WALL_SECONDS)


def store(machine: Machine, p2m: FrameArray, writes: Iterable[Write]) -> None:
    """Put contents into the frames behind pseudo-physical addresses.

    Whole pages move in one step where their frames are consecutive, else by one scattered copy; no loop over pages.
    """
    import numpy as np

    frames = machine.frames.reshape(-1, PAGE_SIZE // 8)
    for write in writes:
        address, stop = write.address, write.address + write.size
        first, last = -(-address // PAGE_SIZE), stop // PAGE_SIZE
        if first >= last:
            _store_edges(machine, p2m, write, address, stop)
            continue
        _store_edges(machine, p2m, write, address, first * PAGE_SIZE)
        mfns = p2m[first:last].astype(np.int64)
        if write.data is None:
            pages = None
        else:
            start = first * PAGE_SIZE - address
            raw = write.data[start : start + (last - first) * PAGE_SIZE]
            pages = np.frombuffer(raw, dtype=np.uint64).reshape(-1, PAGE_SIZE // 8)
        consecutive = len(mfns) == 1 or bool((np.diff(mfns) == 1).all())
        where = slice(int(mfns[0]), int(mfns[0]) + len(mfns)) if consecutive else mfns
        frames[where] = 0 if pages is None else pages
        _store_edges(machine, p2m, write, last * PAGE_SIZE, stop)


def _store_edges(machine: Machine, p2m: FrameArray, write: Write, start: int, stop: int) -> None:
    """The part of a write that does not fill whole pages: [start, stop), at most two pages."""
    while start < stop:
        take = min(PAGE_SIZE - start % PAGE_SIZE, stop - start)
        offset = start - write.address
        data = bytes(take) if write.data is None else bytes(write.data[offset : offset + take])
        machine.write(int(p2m[start // PAGE_SIZE]), start % PAGE_SIZE, data)
        start += take


def start_direct(machine: Machine, layout: DomainLayout) -> DomainImage:
    """Build the domain as Xen's toolstack does and set its vCPU; `machine.run()` starts the kernel."""
    highest = int(machine.p2m.max())
    if needs_low_root(layout) and highest >= FIRST_HIGH_MFN:
        raise BootError(
            "the kernel needs its page directory below 4 GiB (PAE without extended-cr3)",
            expected="a domain whose frames lie below 4 GiB",
            found=f"frames up to {highest:#x}",
        )
    image = build_domain(layout, machine.p2m, machine.shared_info_mfn)
    _install(machine, image)
    machine.set_vcpu(image.vcpu)
    return image


def start_by_kexec(machine: Machine, layout: DomainLayout) -> KexecPlan:
    """Start the loader's domain, plan the relocation in it and do the loader's part of it.

    Afterwards the vCPU stands at the first instruction of the trampoline: `machine.run()` executes the hand-over.
    Raises `PlanError` if there is no plan, `BootError` if the hypervisor refuses a step.
    """
    loader = _loader_domain(layout, machine.p2m, machine.shared_info_mfn)
    _install(machine, loader)
    hypercalls = machine.read(int(machine.p2m[HYPERCALL_PFN]), 0, PAGE_SIZE)
    plan = plan_relocation(layout, running_loader(loader, TRAMPOLINE_PFN, hypercall_page=hypercalls))
    check_plan(plan)
    entry = loader.layout.va_of(TRAMPOLINE_PFN) + plan.trampoline.code_offset
    machine.set_vcpu(replace(loader.vcpu, ip=entry))
    _do_loaders_part(machine, plan)
    return plan


def plan_in_fresh_domain(layout: DomainLayout) -> KexecPlan:
    """The plan that `start_by_kexec` would carry out, without a machine; page p stands in frame p + 0x100000."""
    import numpy as np

    p2m = np.arange(layout.nr_pages, dtype=np.uint64) + np.uint64(FIRST_HIGH_MFN)
    loader = _loader_domain(layout, p2m, FIRST_HIGH_MFN + layout.nr_pages)
    return plan_relocation(layout, running_loader(loader, TRAMPOLINE_PFN))


def _loader_domain(layout: DomainLayout, p2m: FrameArray, shared_info_mfn: int) -> DomainImage:
    """The loader's own domain, of the size and with the ports of the one to come."""
    loader = plan_layout(
        loader_kernel(layout.width), layout.nr_pages, console_port=layout.console_port, store_port=layout.store_port
    )
    return build_domain(loader, p2m, shared_info_mfn)


def _install(machine: Machine, image: DomainImage) -> None:
    store(machine, image.p2m, image.writes())
    slot = image.layout.hypercall_slot
    if slot is not None:
        machine.fill_hypercall_page(int(image.p2m[slot]))
    machine.attach_console(image.mfn_of("console"))
    machine.attach_xenstore(image.mfn_of("xenstore"))
    machine.toolstack_pin(image.root_mfn, levels_of(image.layout.width))


def _do_loaders_part(machine: Machine, plan: KexecPlan) -> None:
    """Do what the loader's code does before it jumps to the trampoline: fill frames, make the hypercalls in order."""
    for table in plan.loader_tables:
        machine.write(table.mfn, 0, bytes(PAGE_SIZE))
        if table.entry_index >= 0:
            machine.write(table.mfn, table.entry_index * 8, table.entry.to_bytes(8, "little"))
    machine.write(plan.trampoline_mfn, 0, plan.trampoline.page)
    store(machine, plan.image.p2m, plan.writes())
    for operation in plan.operations:
        result = 0
        if isinstance(operation, MmuUpdate):
            result = machine.mmu_update(operation.updates)
        elif isinstance(operation, PinTable):
            result = machine.mmuext_op([(operation.level - 1, operation.mfn, 0)])
        if result < 0:
            raise BootError(
                "the hypervisor refused a step of the relocation", where=operation.why, found=f"error {-result}"
            )
