"""The hypercalls about memory management: page tables, base pointers, descriptors, reservations.

Each returns 0 (or a count) or -errno, as the guest sees it; GuestFaultError means -EFAULT to the dispatcher.
The executor of a plan calls `update_entries` and `extended_ops` directly, in the guest's place.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from pvboot.machine.abi import E820_ENTRY, GDT_ENTRIES_GUEST, MMU_UPDATE, PAGE_BYTES
from pvboot.machine.descriptors import fix_descriptor
from pvboot.machine.domain import Domain
from pvboot.machine.errors import GuestFaultError
from pvboot.machine.tables import NONE, SEGMENTS, WRITABLE

NORMAL_UPDATE, MACHPHYS_UPDATE, PRESERVE_AD_UPDATE, NO_TRANSLATE_UPDATE = range(4)

PIN_L1, PIN_L4, UNPIN, NEW_BASEPTR = 0, 3, 4, 5
TLB_FLUSH_LOCAL, INVLPG_LOCAL, TLB_FLUSH_MULTI, INVLPG_MULTI, TLB_FLUSH_ALL, INVLPG_ALL, FLUSH_CACHE = range(6, 13)
SET_LDT, NEW_USER_BASEPTR, CLEAR_PAGE, COPY_PAGE, FLUSH_CACHE_GLOBAL = 13, 15, 16, 17, 18

FLUSH_TYPES = 3  # UVMF_TLB_FLUSH, UVMF_INVLPG

INCREASE_RESERVATION, DECREASE_RESERVATION, MAXIMUM_RAM_PAGE, CURRENT_RESERVATION, MAXIMUM_RESERVATION = range(5)
POPULATE_PHYSMAP, MEMORY_MAP, MACHPHYS_MAPPING = 6, 9, 12
MEMORY_OP_MASK = 63
EXTENT_ORDER_MAX = 9

DOMID_SELF = 0x7FF0
OWN_DOMAINS = (DOMID_SELF, 1)
PREEMPTED = 1 << 31
CHUNK = 512


class Mmu:
    """Memory hypercalls of one domain."""

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._frames = domain.frames
        self._space = domain.space
        self._abi = domain.abi

    # --- mmu_update

    def mmu_update(self, address: int, count: int, done_address: int, domain: int) -> int:
        """HYPERVISOR_mmu_update of the guest."""
        if domain >> 16 or domain not in OWN_DOMAINS:
            return -errno.ESRCH
        count &= ~PREEMPTED & 0xFFFFFFFF
        done, result = self.update_entries(self._guest_updates(address, count))
        if done_address:
            self._space.write(done_address, done.to_bytes(4, "little"))
        return result

    def _guest_updates(self, address: int, count: int) -> Iterator[tuple[int, int]]:
        """Requests in guest memory, copied piecewise so that neither time nor memory is at the guest's mercy."""
        if count == 1:
            yield MMU_UPDATE.unpack(self._space.read(address, 16))
            return
        first = address
        while count and (address == first or not self._domain.cut_short()):
            step = min(count, CHUNK, (PAGE_BYTES - (address & 0xFFF)) // 16 or 1)
            yield from MMU_UPDATE.iter_unpack(self._space.read(address, 16 * step))
            address += 16 * step
            count -= step

    def update_entries(self, updates: Iterable[tuple[int, int]]) -> tuple[int, int]:
        """Apply requests (ptr, val) in order; how many were done, and 0 or the -errno of the first refused one."""
        done = 0
        update = self._frames.update_entry
        try:
            for pointer, value in updates:
                command = pointer & 7
                if command in (NORMAL_UPDATE, NO_TRANSLATE_UPDATE):
                    result = update(pointer & ~7, value)
                elif command == PRESERVE_AD_UPDATE:
                    result = update(pointer & ~7, value, preserve_ad=True)
                elif command == MACHPHYS_UPDATE:
                    result = self._frames.update_machphys(pointer >> 12, value)
                else:
                    result = -errno.ENOSYS
                if result:
                    return done, result
                done += 1
        except GuestFaultError:
            return done, -errno.EFAULT
        return done, 0

    def update_array(self, updates: npt.NDArray[np.uint64]) -> int:
        """`update_entries` for an array [n, 2]; machine-to-physical updates of owned frames go in one step."""
        pointers, values = updates[:, 0], updates[:, 1]
        mfns = (pointers >> np.uint64(12)).astype(np.int64)
        commands = pointers & np.uint64(7)
        if len(updates) and (commands == MACHPHYS_UPDATE).all() and int(mfns.max()) < self._domain.memory.total:
            owned = self._frames.owner[mfns] == 1
            m2p = self._domain.memory.m2p
            if owned.all():
                m2p[mfns] = values.astype(m2p.dtype)
                return 0
        return self.update_entries((int(pointer), int(value)) for pointer, value in updates)[1]

    # --- update_va_mapping

    def update_va_mapping(self, address: int, value: int, flags: int) -> int:
        """Replace the L1 entry of a virtual address in the current tables."""
        slot = self._space.leaf(address)
        if slot is None or not self._frames.is_l1(slot[0] >> 9):
            return -errno.EINVAL
        result = self._frames.update_entry(slot[0] << 3, value)
        if not result and flags & FLUSH_TYPES:
            self._domain.flush()
        return result

    def update_va_mapping_halves(self, address: int, low: int, high: int, flags: int) -> int:
        """The same with a 32-bit guest's two words."""
        return self.update_va_mapping(address, low | high << 32, flags)

    # --- mmuext_op

    def mmuext_op(self, address: int, count: int, done_address: int, domain: int) -> int:
        """HYPERVISOR_mmuext_op of the guest.  Each operation is fetched when its turn comes: after NEW_BASEPTR
        the rest is read through the new tables."""
        if domain not in OWN_DOMAINS:
            return -errno.ESRCH
        count &= ~PREEMPTED & 0xFFFFFFFF
        done, result = self.extended_ops(self._guest_ops(address, count))
        if done_address:
            self._space.write(done_address, done.to_bytes(4, "little"))
        return result

    def _guest_ops(self, address: int, count: int) -> Iterator[tuple[int, int, int]]:
        layout = self._abi.mmuext_op
        for index in range(count):
            if index and not index & 255 and self._domain.cut_short():
                return
            command, first, second = self._space.unpack(layout, address + index * layout.size)
            yield command, first, second

    def extended_ops(self, ops: Iterable[tuple[int, int, int]]) -> tuple[int, int]:
        """Apply operations (cmd, arg1, arg2); how many were done, and 0 or the -errno of the first refused one."""
        done = 0
        try:
            for command, first, second in ops:
                result = self._extended_op(command, first, second)
                if result:
                    return done, result
                done += 1
        except GuestFaultError:
            return done, -errno.EFAULT
        return done, 0

    def _extended_op(self, command: int, first: int, second: int) -> int:
        if command == NEW_BASEPTR:
            return self.new_base(first)
        if command == NEW_USER_BASEPTR:
            return self._new_user_base(first)
        if command in (TLB_FLUSH_LOCAL, TLB_FLUSH_MULTI, TLB_FLUSH_ALL, INVLPG_LOCAL, INVLPG_MULTI, INVLPG_ALL):
            self._domain.flush()
            return 0
        if PIN_L1 <= command <= PIN_L4:
            return self._frames.pin(first, command + 1)
        if command == UNPIN:
            return self._frames.unpin(first)
        if command in (FLUSH_CACHE, FLUSH_CACHE_GLOBAL):
            return -errno.EACCES  # only for domains with devices
        if command == SET_LDT:
            return self._set_ldt(second & 0xFFFFFFFF)
        if command == CLEAR_PAGE:
            return self._fill_page(first, None)
        if command == COPY_PAGE:
            return self._fill_page(first, second)
        return -errno.ENOSYS

    def new_base(self, mfn: int) -> int:
        """MMUEXT_NEW_BASEPTR: take a reference on the new top table, drop the old one's."""
        old = self._domain.vcpu.kernel_root
        if mfn == old:
            self._domain.set_kernel_root(mfn)
            return 0
        result = self._frames.get_type(mfn, self._frames.top_kind)
        if result:
            return result
        self._domain.set_kernel_root(mfn)
        if old:
            self._frames.put_type(old)
        if self._domain.on_first_new_base is not None:
            self._domain.on_first_new_base(mfn)
            self._domain.on_first_new_base = None
        return 0

    def _new_user_base(self, mfn: int) -> int:
        vcpu = self._domain.vcpu
        if not self._domain.wide:
            return -errno.EINVAL
        if mfn == vcpu.user_root:
            return 0
        if mfn:
            result = self._frames.get_type(mfn, self._frames.top_kind)
            if result:
                return result
        old, vcpu.user_root = vcpu.user_root, mfn
        if old:
            self._frames.put_type(old)
        return 0

    def _set_ldt(self, entries: int) -> int:
        """No LDT is the only one there is: refuse others loudly rather than run with wrong segments."""
        if entries:
            self._domain.counters["local descriptor tables refused"] += 1
            return -errno.EINVAL
        return 0

    def _fill_page(self, mfn: int, source: int | None) -> int:
        frames = self._frames
        if not frames.owns(mfn) or frames.kind[mfn] not in (NONE, WRITABLE):
            return -errno.EINVAL
        if source is None:
            self._domain.memory.frames[mfn] = 0
        elif not frames.owns(source):
            return -errno.EINVAL
        else:
            self._domain.memory.frames[mfn] = self._domain.memory.frames[source]
        return 0

    # --- descriptors

    def set_gdt(self, address: int, entries: int) -> int:
        """HYPERVISOR_set_gdt: the frames become descriptor frames, their descriptors are checked and adjusted."""
        entries &= 0xFFFFFFFF
        if entries > GDT_ENTRIES_GUEST:
            return -errno.EINVAL
        pages = (entries * 8 + PAGE_BYTES - 1) // PAGE_BYTES
        size = self._abi.word_bytes
        data = self._space.read(address, pages * size) if pages else b""
        frames = [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]
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

    def update_descriptor_halves(self, low: int, high: int, first: int, second: int) -> int:
        """The same with a 32-bit guest's words."""
        return self.update_descriptor(low | high << 32, first | second << 32)

    # --- memory_op

    def memory_op(self, command: int, address: int) -> int:
        """HYPERVISOR_memory_op: reservations, M2P window, memory map."""
        command &= MEMORY_OP_MASK
        memory = self._domain.memory
        if command == MACHPHYS_MAPPING:
            start = self._domain.hypervisor.m2p_va
            end = start + memory.m2p_frames * PAGE_BYTES
            self._space.write(address, self._abi.machphys_mapping.pack(start, end, memory.total - 1))
            return 0
        if command == MAXIMUM_RAM_PAGE:
            return memory.total - 1
        if command == CURRENT_RESERVATION:
            return memory.nr_pages - len(self._domain.free_frames)
        if command == MAXIMUM_RESERVATION:
            return memory.nr_pages
        if command == MEMORY_MAP:
            return self._memory_map(address)
        if command in (INCREASE_RESERVATION, DECREASE_RESERVATION, POPULATE_PHYSMAP):
            return self._reservation(command, address)
        return -errno.ENOSYS

    def _memory_map(self, address: int) -> int:
        """One region of RAM, as the toolstack sets it for a domain without devices."""
        entries, buffer = self._space.unpack(self._abi.memory_map, address)
        if not entries:
            return -errno.EINVAL
        self._space.write(buffer, E820_ENTRY.pack(0, self._domain.memory.nr_pages * PAGE_BYTES, 1))
        self._space.write(address, (1).to_bytes(4, "little"))
        return 0

    def _reservation(self, command: int, address: int) -> int:
        """Give back or take frames; the number of extents done, as Xen reports partial success."""
        start, count, order, _, domain = self._space.unpack(self._abi.memory_reservation, address)
        if domain not in OWN_DOMAINS:
            return -errno.ESRCH
        if order > EXTENT_ORDER_MAX:
            return -errno.EPERM
        if order and command != DECREASE_RESERVATION:
            return 0  # no contiguous frames are kept back
        word = self._abi.word
        for index in range(count):
            if index and not index & 255 and self._domain.cut_short():
                return index
            at = start + index * word.size
            try:
                if command == DECREASE_RESERVATION:
                    (mfn,) = self._space.unpack(word, at)
                    done = all(self._give_back(mfn + part) for part in range(1 << order))
                else:
                    pfn = self._space.unpack(word, at)[0] if command == POPULATE_PHYSMAP else None
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
                self._space.write(address, self._abi.word.pack(mfn))
                del free[position]
                self._domain.memory.frames[mfn] = 0
                self._frames.own(mfn)
                if pfn is not None:
                    self._frames.update_machphys(mfn, pfn)
                return True
        return False
