"""Machine memory: the frames, who they belong to by position, and the machine-to-physical table.

Frames below `guest_base` belong to the hypervisor: its page tables and entry page (1 ... 511), the M2P
(2 MiB aligned), then shared_info and the grant table.  The guest's frames follow.
"""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt

from pvboot.machine.errors import MachineError
from pvboot.xen.paging import ENTRIES, PAGE_SIZE

MAP_NORESERVE = 0x4000  # not in the mmap module before Python 3.13
M2P_MFN = 512
SUPERPAGE_FRAMES = 512
GRANT_FRAMES_MAX = 32
NR_PAGES_MAX = 1 << 25  # 128 GiB: what the 32-bit guest's M2P window can describe, with room to spare


class Memory:
    """Machine memory of one guest: `frames` is the whole as uint64[frame, 512], never touched before use."""

    def __init__(self, width: int, nr_pages: int, frame_seed: int | None = None) -> None:
        if width not in (32, 64):
            raise MachineError("no such guest width", expected="32 or 64", found=str(width))
        if not 1 <= nr_pages <= NR_PAGES_MAX:
            raise MachineError("bad memory size", expected=f"1 ... {NR_PAGES_MAX} pages", found=str(nr_pages))
        self.width = width
        self.nr_pages = nr_pages
        entry_bytes = width // 8
        m2p_frames = self._m2p_frames(nr_pages, entry_bytes)
        # Placed after the M2P so that its *address* exceeds every MFN: GRUB tells start_info's shared_info
        # address from frame numbers by comparing the two unshifted.
        self.shared_info_mfn = M2P_MFN + m2p_frames
        self.grant_mfn = self.shared_info_mfn + 1
        self.guest_base = M2P_MFN + m2p_frames + SUPERPAGE_FRAMES
        self.total = self.guest_base + nr_pages
        self.m2p_frames = m2p_frames
        self.size_bytes = self.total * PAGE_SIZE
        try:
            self.mm = mmap.mmap(-1, self.size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        except (OSError, ValueError, OverflowError) as err:
            raise MachineError("cannot reserve the guest's memory", found=f"{self.size_bytes} bytes: {err}") from err
        self.frames: npt.NDArray[np.uint64] = np.frombuffer(self.mm, dtype=np.uint64).reshape(self.total, ENTRIES)
        self.words = memoryview(self.mm).cast("Q")
        self.bytes = memoryview(self.mm)
        self.p2m: npt.NDArray[np.uint64] = np.arange(self.guest_base, self.guest_base + nr_pages, dtype=np.uint64)
        if frame_seed is not None:
            self.p2m = np.random.default_rng(frame_seed).permutation(self.p2m)
        self.m2p = self._m2p_view(entry_bytes)
        self.m2p[: self.guest_base] = np.iinfo(self.m2p.dtype).max
        self.m2p[self.p2m.astype(np.int64)] = np.arange(nr_pages, dtype=self.m2p.dtype)
        self._next_private = 1

    @staticmethod
    def _m2p_frames(nr_pages: int, entry_bytes: int) -> int:
        """Frames of an M2P that also describes itself, in whole 2 MiB pages."""
        frames = SUPERPAGE_FRAMES
        while frames * PAGE_SIZE < (M2P_MFN + frames + SUPERPAGE_FRAMES + nr_pages) * entry_bytes:
            frames += SUPERPAGE_FRAMES
        return frames

    def _m2p_view(self, entry_bytes: int) -> npt.NDArray[np.unsignedinteger]:
        dtype = np.uint64 if entry_bytes == 8 else np.uint32
        return np.frombuffer(self.mm, dtype=dtype, offset=M2P_MFN * PAGE_SIZE, count=self.total)

    def private_frame(self) -> int:
        """A zeroed frame for the hypervisor's own use (tables, entry page)."""
        mfn = self._next_private
        if mfn >= M2P_MFN:
            raise MachineError("the hypervisor's own frames are used up")
        self._next_private = mfn + 1
        return mfn

    def read(self, mfn: int, offset: int, size: int) -> bytes:
        """Bytes of one or more consecutive machine frames."""
        start = mfn * PAGE_SIZE + offset
        return self.mm[start : start + size]

    def write(self, mfn: int, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Overwrite bytes of consecutive machine frames."""
        start = mfn * PAGE_SIZE + offset
        self.bytes[start : start + len(data)] = data

    def page(self, mfn: int) -> memoryview:
        """A writable view of one frame."""
        return self.bytes[mfn * PAGE_SIZE : (mfn + 1) * PAGE_SIZE]
