"""One guest with all that the hypervisor and the toolstack keep for it.  No CPU is needed to build or change it."""

from __future__ import annotations

import errno
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from pvboot.machine.clock import Clock
from pvboot.machine.code_frames import CodeFrames
from pvboot.machine.console import Console
from pvboot.machine.events import Events, Timer
from pvboot.machine.hypervisor import Hypervisor
from pvboot.machine.memory import GRANT_FRAMES_MAX, Memory
from pvboot.machine.space import AddressSpace
from pvboot.machine.tables import FrameTable
from pvboot.machine.vcpu import Vcpu
from pvboot.machine.xenstore import XenstoreConnection
from pvboot.machine.xenstore_tree import Store
from pvboot.xen._formats import GRANT_ENTRY_V1, WORD
from pvboot.xen.constants import DOMID_SELF, GTF_PERMIT_ACCESS, VMASST_TYPE_PAE_EXTENDED_CR3
from pvboot.xen.paging import PAGE_SIZE, PTE_RW

OWN_DOMAINS = (DOMID_SELF, 1)
STORE_PORT = 1
CONSOLE_PORT = 2
RECENT_HYPERCALLS = 32
CONSOLE_TAIL_BYTES = 1 << 16


class Cpu(Protocol):
    """The CPU as the hypervisor uses it."""

    def set_root(self, address: int) -> None:
        """Load cr3."""

    def flush_tlb(self) -> None:
        """Drop all translations."""

    def write(self, name: str, value: int) -> None:
        """Set a register."""

    def read(self, name: str) -> int:
        """Read a register."""

    def drop_code(self, address: int, size: int) -> None:
        """Drop what was translated from code at a virtual address, at most to the end of its page."""

    def drop_all_code(self) -> None:
        """Drop all translated code."""

    def set_task_switched(self, on: bool) -> None:
        """CR0.TS."""

    def stop(self) -> None:
        """Stop executing (from inside a hook)."""


class NoCpu:
    """Stands for the CPU before the guest first runs: its start state comes from the context."""

    def set_root(self, address: int) -> None:
        """Loaded when the CPU starts."""

    def flush_tlb(self) -> None:
        """Nothing is cached."""

    def write(self, name: str, value: int) -> None:
        """The start context sets all registers."""

    def read(self, name: str) -> int:
        """No register has a value."""
        return 0

    def drop_code(self, address: int, size: int) -> None:
        """Nothing was translated."""

    def drop_all_code(self) -> None:
        """Nothing was translated."""

    def set_task_switched(self, on: bool) -> None:
        """Clear at the start."""

    def stop(self) -> None:
        """Nothing runs."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the guest no longer runs; `code` is the shutdown code if it said one."""

    reason: str
    code: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A hypercall as remembered for reports."""

    name: str
    arguments: tuple[int, ...]
    result: int


class Domain:
    """State of the guest; the hypercalls and traps work on it."""

    def __init__(
        self,
        width: int,
        nr_pages: int,
        *,
        strict: bool = True,
        frame_seed: int | None = None,
        output: Callable[[bytes], None] | None = None,
    ) -> None:
        self.memory = Memory(width, nr_pages, frame_seed)
        self.width = width
        self.wide = width == 64
        self.word_bytes = width // 8
        self.word_mask = (1 << width) - 1
        self.hypervisor = Hypervisor(self.memory)
        self.code = CodeFrames(self.memory, self._drop_code, lambda: self.cpu.drop_all_code())
        self.space = AddressSpace(self.memory, self.code)
        self.frames = FrameTable(self.memory, self.code, strict=strict)
        self.frames.xen_slots = self.hypervisor.slots
        self.frames.flush = self.flush
        self.frames.forget = self.space.forget
        self.clock = Clock()
        self.vcpu = Vcpu(self.memory)
        self.vcpu.mask_all()
        self.events = Events(self.memory, self.vcpu)
        self.events.bind_backend(STORE_PORT, "xenstore")
        self.events.bind_backend(CONSOLE_PORT, "console")
        self.timer = Timer(self.clock, self.events)
        self.console = Console(self.memory, self.console_output, lambda: self.events.raise_port(CONSOLE_PORT))
        self.store = Store()
        self.xenstore = XenstoreConnection(self.memory, self.store, lambda: self.events.raise_port(STORE_PORT))
        self.cpu: Cpu = NoCpu()
        self.counters: Counter[str] = Counter()
        self.recent: deque[Call] = deque(maxlen=RECENT_HYPERCALLS)
        self.ending: Ending | None = None
        self.abort_reason = ""  # set by the watching thread: end the run with this reason
        self.call_unfinished = False  # a hypercall was left in the middle
        self.gdt_frames: list[int] = []
        self.free_frames: list[int] = []
        self.vm_assist = 0
        self.grant_frames = 0
        self.guest_handle = bytes(range(16))
        self._output = output
        self._until: bytes | None = None
        self.console_tail = bytearray()
        self.console_cpu_seconds = 0.0  # of the latest output, or of the start of the run
        self.asleep_since: float | None = None  # monotonic time since which the guest waits inside a hypercall
        self.slept_seconds = 0.0  # time slept since the latest output, the present sleep left out
        self.cpu_seconds: Callable[[], float] = time.thread_time  # CPU time the guest has used so far
        self.first_console_cpu_seconds: float | None = None
        self.first_hypercall_cpu_seconds: float | None = None
        self.frames.share(self.memory.shared_info_mfn)
        self._grow_grant_table(1)

    # --- translations

    def flush(self) -> None:
        """Drop all translations, the CPU's and the hypervisor's."""
        self.space.forget()
        if self.wide or not self.vcpu.kernel_root:
            self.cpu.flush_tlb()
        else:
            # The CPU walks a copy of the PAE top table; loading it again also flushes.
            self.cpu.set_root(self.hypervisor.load_pae_root(self.vcpu.kernel_root))

    def _drop_code(self, mfn: int) -> None:
        """Drop what the CPU has translated from a frame."""
        if isinstance(self.cpu, NoCpu):
            return
        address, fresh = self.hypervisor.open_window(mfn)
        if not fresh:
            self.cpu.flush_tlb()
        self.cpu.drop_code(address, PAGE_SIZE)
        self.hypervisor.close_window(address)

    def root_address(self) -> int:
        """The value of cr3 for the mode the guest is in."""
        if not self.wide:
            return self.hypervisor.load_pae_root(self.vcpu.kernel_root)
        return (self.vcpu.kernel_root if self.vcpu.in_kernel else self.vcpu.user_root) << 12

    def set_kernel_root(self, mfn: int) -> None:
        """Use these tables for the guest kernel (its type reference was taken by the caller)."""
        self.vcpu.kernel_root = mfn
        self.space.set_root(mfn)
        if self.vcpu.in_kernel:
            self.cpu.set_root(self.root_address())

    def pack_words(self, words: Iterable[int]) -> bytes:
        """Numbers as words of the guest, one behind the other."""
        return b"".join(map(WORD[self.width].pack, words))

    def set_vm_assist(self, assists: int) -> None:
        """Turn on exactly these guest assists (bits by VMASST_TYPE)."""
        self.vm_assist = assists
        self.frames.extended_cr3 = bool(assists >> VMASST_TYPE_PAE_EXTENDED_CR3 & 1)

    # --- grants

    def _grow_grant_table(self, frames: int) -> None:
        while self.grant_frames < frames:
            self.frames.share(self.memory.grant_mfn + self.grant_frames)
            self.grant_frames += 1

    def grant_table_frames(self, wanted: int) -> list[int] | None:
        """The frames of a grant table of at least this size; None if it would be too large."""
        if wanted > GRANT_FRAMES_MAX:
            return None
        self._grow_grant_table(wanted)
        return [self.memory.grant_mfn + index for index in range(wanted)]

    def seed_grant(self, reference: int, mfn: int) -> None:
        """The toolstack's entries for console and xenstore: domain 0 may map the ring."""
        self.memory.write(
            self.memory.grant_mfn, reference * GRANT_ENTRY_V1.size, GRANT_ENTRY_V1.pack(GTF_PERMIT_ACCESS, 0, mfn)
        )

    def attach_ring(self, mfn: int) -> int:
        """Count domain 0's writable mapping of a ring frame; 0 or -errno."""
        return self.frames.get_mapping(mfn, PTE_RW) if self.frames.owns(mfn) else -errno.EINVAL

    # --- ending and output

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """The guest waits; the time since then, or since its latest output, counts as slept."""
        self.asleep_since = time.monotonic()
        try:
            yield
        finally:
            self.slept_seconds += time.monotonic() - self.asleep_since
            self.asleep_since = None

    def end(self, reason: str, code: int | None = None, detail: str = "") -> None:
        """The guest stops here (from inside a hook)."""
        if self.ending is None:
            self.ending = Ending(reason, code, detail)
        self.cpu.stop()

    def check_abort(self) -> bool:
        """Whether the run is over; it ends here if the watching thread wants that."""
        if self.abort_reason and self.ending is None:
            self.end(self.abort_reason)
        return self.ending is not None

    def abort_call(self) -> bool:
        """`check_abort` for loops of a length that the guest chooses: it cannot go on after an unfinished call."""
        if self.abort_reason:
            self.call_unfinished = True
        return self.check_abort()

    def end_at(self, pattern: bytes | None) -> None:
        """End with reason "until" as soon as the console shows this pattern."""
        self._until = pattern or None
        self.console_tail.clear()

    def console_output(self, data: bytes) -> None:
        """Bytes the guest has printed, by ring or hypercall."""
        self.console_cpu_seconds = self.cpu_seconds()
        self.slept_seconds = 0.0
        if self.asleep_since is not None:
            self.asleep_since = time.monotonic()
        if self.first_console_cpu_seconds is None:
            self.first_console_cpu_seconds = self.console_cpu_seconds
        before = len(self.console_tail)
        self.console_tail += data
        if self._output is not None:
            self._output(data)
        if self._until is not None and self._until in self.console_tail[max(before - len(self._until), 0) :]:
            self._until = None
            self.end("until")
        del self.console_tail[:-CONSOLE_TAIL_BYTES]

    def serve_backends(self) -> None:
        """Let console and xenstore do their work."""
        self.console.serve()
        self.xenstore.serve()
