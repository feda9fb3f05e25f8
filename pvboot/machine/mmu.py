"""The hypercalls about memory management: page tables, base pointers, descriptors, reservations.

Each returns 0 (or a count) or -errno, as the guest sees it; GuestFaultError means -EFAULT to the dispatcher.
The executor of a plan calls `update_entries` and `extended_ops` directly, in the guest's place.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pvboot.machine.descriptors import fix_descriptor
from pvboot.machine.domain import OWN_DOMAINS, Domain
from pvboot.machine.errors import GuestFaultError
from pvboot.machine.tables import GUEST, NONE, SEGMENTS, WRITABLE
from pvboot.xen import constants as xen
from pvboot.xen._formats import (
    E820ENTRY,
    MMU_UPDATE,
    MMUEXT_OP,
    XEN_MACHPHYS_MAPPING,
    XEN_MEMORY_MAP,
    XEN_MEMORY_RESERVATION,
)
from pvboot.xen.paging import PAGE_SIZE

FLUSHES = frozenset(range(xen.MMUEXT_TLB_FLUSH_LOCAL, xen.MMUEXT_INVLPG_ALL + 1))
EXTENT_ORDER_MAX = 9
PREEMPTED = 1 << 31
CHUNK = 512


class Mmu:
    """Memory hypercalls of one domain."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._frames = domain.frames
        self._space = domain.space
        self._width = domain.width

    # --- mmu_update

    def mmu_update(self, address: int, count: int, done_address: int, domain: int) -> int:
        """HYPERVISOR_mmu_update of the guest."""
        if domain not in OWN_DOMAINS:
            return -errno.ESRCH
        return self._store_done(done_address, self.update_entries(self._guest_updates(address, _length(count))))

    def _store_done(self, address: int, outcome: tuple[int, int]) -> int:
        """Report how many requests were done, if the guest asks for it; the result."""
        done, result = outcome
        if address:
            self._space.write_int(address, done)
        return result

    def _guest_updates(self, address: int, count: int) -> Iterator[tuple[int, int]]:
        """Requests in guest memory, copied piecewise so that neither time nor memory is at the guest's mercy."""
        if count == 1:
            yield MMU_UPDATE.unpack(self._space.read(address, 16))
            return
        first = address
        while count and (address == first or not self._domain.abort_call()):
            step = min(count, CHUNK, (PAGE_SIZE - (address & 0xFFF)) // 16 or 1)
            yield from MMU_UPDATE.iter_unpack(self._space.read(address, 16 * step))
            address += 16 * step
            count -= step

    def update_entries(self, updates: Iterable[tuple[int, int]]) -> tuple[int, int]:
        """Apply requests (ptr, val) in order; how many were done, and 0 or the -errno of the first refused one."""
        return _in_order(updates, self._update)

    def _update(self, pointer: int, value: int) -> int:
        command = pointer & 7
        if command in (xen.MMU_NORMAL_PT_UPDATE, xen.MMU_PT_UPDATE_NO_TRANSLATE):
            return self._frames.update_entry(pointer & ~7, value)
        if command == xen.MMU_PT_UPDATE_PRESERVE_AD:
            return self._frames.update_entry(pointer & ~7, value, preserve_ad=True)
        if command == xen.MMU_MACHPHYS_UPDATE:
            return self._frames.update_machphys(pointer >> 12, value)
        return -errno.ENOSYS

    def update_array(self, updates: npt.NDArray[np.uint64]) -> int:
        """`update_entries` for an array [n, 2]; machine-to-physical updates of owned frames go in one step."""
        pointers, values = updates[:, 0], updates[:, 1]
        mfns = (pointers >> np.uint64(12)).astype(np.int64)
        commands = pointers & np.uint64(7)
        memory = self._domain.memory
        numbers_only = len(updates) and (commands == xen.MMU_MACHPHYS_UPDATE).all() and int(mfns.max()) < memory.total
        if numbers_only and (self._frames.owner[mfns] == GUEST).all():
            memory.m2p[mfns] = values.astype(memory.m2p.dtype)
            return 0
        return self.update_entries((int(pointer), int(value)) for pointer, value in updates)[1]

    # --- update_va_mapping

    def update_va_mapping(self, address: int, value: int, flags: int) -> int:
        """Replace the L1 entry of a virtual address in the current tables."""
        slot = self._space.leaf(address)
        if slot is None or not self._frames.is_l1(slot[0] >> 9):
            return -errno.EINVAL
        result = self._frames.update_entry(slot[0] << 3, value)
        if not result and flags & xen.UVMF_FLUSHTYPE_MASK:
            self._domain.flush()
        return result

    # --- mmuext_op

    def mmuext_op(self, address: int, count: int, done_address: int, domain: int) -> int:
        """HYPERVISOR_mmuext_op of the guest.  Each operation is fetched when its turn comes: after NEW_BASEPTR
        the rest is read through the new tables."""
        if domain not in OWN_DOMAINS:
            return -errno.ESRCH
        return self._store_done(done_address, self.extended_ops(self._guest_ops(address, _length(count))))

    def _guest_ops(self, address: int, count: int) -> Iterator[tuple[int, int, int]]:
        layout = MMUEXT_OP[self._width]
        for index in range(count):
            if index and not index & 255 and self._domain.abort_call():
                return
            command, first, second = self._space.unpack(layout, address + index * layout.size)
            yield command, first, second

    def extended_ops(self, ops: Iterable[tuple[int, int, int]]) -> tuple[int, int]:
        """Apply operations (cmd, arg1, arg2); how many were done, and 0 or the -errno of the first refused one."""
        return _in_order(ops, self._extended_op)

    def _extended_op(self, command: int, first: int, second: int) -> int:
        if command == xen.MMUEXT_NEW_BASEPTR:
            return self.new_base(first)
        if command == xen.MMUEXT_NEW_USER_BASEPTR:
            return self._new_user_base(first)
        if command in FLUSHES:
            self._domain.flush()
            return 0
        if xen.MMUEXT_PIN_L1_TABLE <= command <= xen.MMUEXT_PIN_L4_TABLE:
            return self._frames.pin(first, command + 1)
        if command == xen.MMUEXT_UNPIN_TABLE:
            return self._frames.unpin(first)
        if command in (xen.MMUEXT_FLUSH_CACHE, xen.MMUEXT_FLUSH_CACHE_GLOBAL):
            return -errno.EACCES  # only for domains with devices
        if command == xen.MMUEXT_SET_LDT:
            return self._set_ldt(second & 0xFFFFFFFF)
        if command in (xen.MMUEXT_CLEAR_PAGE, xen.MMUEXT_COPY_PAGE):
            return self._fill_page(first, second if command == xen.MMUEXT_COPY_PAGE else None)
        return -errno.ENOSYS

    def new_base(self, mfn: int) -> int:
        """MMUEXT_NEW_BASEPTR: take a reference on the new top table, drop the old one's."""
        domain = self._domain
        old = domain.vcpu.kernel_root
        if mfn != old and (result := self._frames.get_type(mfn, self._frames.top_kind)):
            return result
        domain.set_kernel_root(mfn)
        if mfn == old:
            return 0
        if old:
            self._frames.put_type(old)
        return 0

    def _new_user_base(self, mfn: int) -> int:
        vcpu = self._domain.vcpu
        if not self._domain.wide:
            return -errno.EINVAL
        if mfn == vcpu.user_root:
            return 0
        if mfn and (result := self._frames.get_type(mfn, self._frames.top_kind)):
            return result
        old, vcpu.user_root = vcpu.user_root, mfn
        if old:
            self._frames.put_type(old)
        return 0

    def _set_ldt(self, entries: int) -> int:
        """Only the empty LDT is supported: refuse others loudly rather than run with wrong segments."""
        if entries:
            self._domain.counters["local descriptor tables refused"] += 1
            return -errno.EINVAL
        return 0

    def _fill_page(self, mfn: int, source: int | None) -> int:
        """Clear a page that is not in use as a table, or copy another one to it."""
        frames, memory = self._frames, self._domain.memory.frames
        if not frames.owns(mfn) or frames.kind[mfn] not in (NONE, WRITABLE):
            return -errno.EINVAL
        if source is not None and not frames.owns(source):
            return -errno.EINVAL
        memory[mfn] = 0 if source is None else memory[source]
        frames.code.written(mfn)
        return 0

    # --- descriptors

    def set_gdt(self, address: int, entries: int) -> int:
        """HYPERVISOR_set_gdt: the frames become descriptor frames, their descriptors are checked and adjusted."""
        entries &= 0xFFFFFFFF
        if entries > xen.FIRST_RESERVED_GDT_ENTRY:
            return -errno.EINVAL
        pages = (entries * 8 + PAGE_SIZE - 1) // PAGE_SIZE
        frames = self._space.read_ints(address, pages, self._domain.word_bytes)
        for index, mfn in enumerate(frames):
            if self._frames.get_type(mfn, SEGMENTS):
                for taken in frames[:index]:
                    self._frames.put_type(taken)
                return -errno.EINVAL
        self._domain.hypervisor.map_gdt(frames)
        self._domain.flush()
        old, self._domain.gdt_frames = self._domain.gdt_frames, frames
        for mfn in old:
            self._frames.put_type(mfn)
        return 0

    def update_descriptor(self, address: int, descriptor: int) -> int:
        """Write one descriptor at a machine address."""
        mfn = address >> 12
        fixed = fix_descriptor(descriptor, wide=self._domain.wide)
        if address & 7 or fixed is None or not self._frames.owns(mfn):
            return -errno.EINVAL
        if self._frames.kind[mfn] not in (NONE, WRITABLE, SEGMENTS):
            return -errno.EINVAL
        self._domain.memory.words[address >> 3] = fixed
        return 0

    # --- memory_op

    def memory_op(self, command: int, address: int) -> int:
        """HYPERVISOR_memory_op: reservations, M2P window, memory map."""
        command &= xen.MEMOP_CMD_MASK
        memory = self._domain.memory
        if command == xen.XENMEM_MACHPHYS_MAPPING:
            start = self._domain.hypervisor.m2p_va
            end = start + memory.m2p_frames * PAGE_SIZE
            self._space.write(address, XEN_MACHPHYS_MAPPING[self._width].pack(start, end, memory.total - 1))
            return 0
        if command == xen.XENMEM_MAXIMUM_RAM_PAGE:
            return memory.total - 1
        if command == xen.XENMEM_CURRENT_RESERVATION:
            return memory.nr_pages - len(self._domain.free_frames)
        if command == xen.XENMEM_MAXIMUM_RESERVATION:
            return memory.nr_pages
        if command == xen.XENMEM_MEMORY_MAP:
            return self._memory_map(address)
        if command in (xen.XENMEM_INCREASE_RESERVATION, xen.XENMEM_DECREASE_RESERVATION, xen.XENMEM_POPULATE_PHYSMAP):
            return self._reservation(command, address)
        return -errno.ENOSYS

    def _memory_map(self, address: int) -> int:
        """One region of RAM, as the toolstack sets it for a domain without devices."""
        entries, buffer = self._space.unpack(XEN_MEMORY_MAP[self._width], address)
        if not entries:
            return -errno.EINVAL
        self._space.write(buffer, E820ENTRY.pack(0, self._domain.memory.nr_pages * PAGE_SIZE, 1))
        self._space.write_int(address, 1)
        return 0

    def _reservation(self, command: int, address: int) -> int:
        """Give back or take frames; the number of extents done, as Xen reports partial success."""
        start, count, order, _, domain = self._space.unpack(XEN_MEMORY_RESERVATION[self._width], address)
        if domain not in OWN_DOMAINS:
            return -errno.ESRCH
        if order > EXTENT_ORDER_MAX:
            return -errno.EPERM
        if order and command != xen.XENMEM_DECREASE_RESERVATION:
            return 0  # no contiguous frames are kept back
        size = self._domain.word_bytes
        for index in range(count):
            if index and not index & 255 and self._domain.abort_call():
                return index
            at = start + index * size
            try:
                if command == xen.XENMEM_DECREASE_RESERVATION:
                    mfn = self._space.read_int(at, size)
                    done = all(self._give_back(mfn + part) for part in range(1 << order))
                else:
                    pfn = self._space.read_int(at, size) if command == xen.XENMEM_POPULATE_PHYSMAP else None
                    done = self._take_frame(at, pfn)
            except GuestFaultError:
                done = False
            if not done:
                return index
        return count

    def _give_back(self, mfn: int) -> bool:
        if not self._frames.owns(mfn):
            return False
        self._frames.unpin(mfn)
        self._frames.disown(mfn)
        self._domain.memory.m2p[mfn] = np.iinfo(self._domain.memory.m2p.dtype).max
        self._domain.free_frames.append(mfn)
        self._domain.flush()
        return True

    def _take_frame(self, address: int, pfn: int | None) -> bool:
        """A frame that the guest gave back and nothing maps any more; its number is stored at `address`."""
        free = self._domain.free_frames
        for position in range(len(free) - 1, max(len(free) - 1 - CHUNK, -1), -1):
            mfn = free[position]
            if self._frames.unused(mfn):
                self._space.write_int(address, mfn, self._domain.word_bytes)
                del free[position]
                self._domain.memory.frames[mfn] = 0
                self._frames.own(mfn)
                if pfn is not None:
                    self._frames.update_machphys(mfn, pfn)
                return True
        return False


def _length(count: int) -> int:
    """The number of requests in a count word, whose top bit marks a continued call."""
    return count & ~PREEMPTED & 0xFFFFFFFF


def _in_order(requests: Iterable[Any], perform: Callable[..., int]) -> tuple[int, int]:
    """Perform requests in order; how many were done, and 0 or the -errno of the first refused one."""
    done = 0
    try:
        for request in requests:
            result = perform(*request)
            if result:
                return done, result
            done += 1
    except GuestFaultError:
        return done, -errno.EFAULT
    return done, 0
