"""The bytes of a domain by segment, and the whole domain as one sparse file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pvboot.kexec.build import DomainImage, Write
from pvboot.xen.paging import PAGE_SIZE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ZERO_PAGE = bytes(PAGE_SIZE)
HASH_STEP = 1 << 20
LEFT_ALONE = ("start_info",)  # segments that the builder does not clear to their end


def kernel_pages(image: DomainImage) -> npt.NDArray[np.uint8]:
    """The kernel segment, whole pages, as uint8; pieces applied in order, zeros elsewhere."""
    import numpy as np

    segment = image.layout.segment("kernel")
    memory = np.zeros(segment.pages * PAGE_SIZE, dtype=np.uint8)
    for piece in image.layout.kernel.pieces:
        end = piece.offset + len(piece.data)
        memory[piece.offset : end] = np.frombuffer(piece.data, dtype=np.uint8)
        memory[end : piece.offset + piece.size] = 0
    return memory


def segment_hashes(image: DomainImage, poison: int = 0) -> dict[str, str]:
    """SHA-256 of the pages of every segment; bytes that nobody writes hold `poison`."""
    hashes = {}
    for segment in image.layout.segments:
        digest = hashlib.sha256()
        length = 0
        for data in _segment_data(image, segment.name):
            digest.update(data)
            length += len(data)
        filler = poison if segment.name in LEFT_ALONE else 0
        for start in range(length, segment.pages * PAGE_SIZE, HASH_STEP):
            digest.update(bytes([filler]) * min(HASH_STEP, segment.pages * PAGE_SIZE - start))
        hashes[segment.name] = digest.hexdigest()
    return hashes


def _segment_data(image: DomainImage, name: str) -> Iterator[memoryview]:
    """Consecutive contents of a segment from its start; zeros follow."""
    layout = image.layout
    if name == "kernel":
        yield kernel_pages(image).data
    elif name == "ramdisk":
        assert layout.ramdisk is not None
        for _, data in layout.ramdisk.chunks():
            yield data
    else:
        segment = layout.segment(name)
        first, last = segment.pfn * PAGE_SIZE, segment.end_pfn * PAGE_SIZE
        position = first
        for write in image.page_writes():
            if first <= write.address < last and write.data is not None:
                yield memoryview(bytes(write.address - position))
                yield write.data
                position = write.address + write.size


def dump_domain(image: DomainImage, path: str, poison: int = 0) -> None:
    """Write one sparse file in which page p is PFN p; pages that are all zero are holes.

    With `poison` the bytes that the builder leaves alone in pages it uses hold that value.
    """
    size = image.layout.nr_pages * PAGE_SIZE
    with open(path, "wb", buffering=0) as file:
        file.truncate(size)
        fd = file.fileno()
        kernel = Write(
            image.layout.segment("kernel").pfn * PAGE_SIZE,
            image.layout.segment("kernel").pages * PAGE_SIZE,
            kernel_pages(image).data,
        )
        if poison:
            for name in LEFT_ALONE:
                segment = image.layout.segment(name)
                filler = bytes([poison]) * (segment.pages * PAGE_SIZE)
                _pwrite_all(fd, memoryview(filler), segment.pfn * PAGE_SIZE)
        _write_sparse(fd, kernel)
        for write in (*image.ramdisk_writes(), *image.page_writes()):
            _write_sparse(fd, write)


def _write_sparse(fd: int, write: Write) -> None:
    """Store the runs of pages that are not all zero."""
    import numpy as np

    data = write.data
    if data is None:
        return
    if write.address % PAGE_SIZE:
        os.pwrite(fd, data, write.address)
        return
    whole = len(data) // PAGE_SIZE * PAGE_SIZE
    words = np.frombuffer(data[:whole], dtype=np.uint64).reshape(-1, PAGE_SIZE // 8)
    used = words.any(axis=1).astype(np.int8)
    edges = np.flatnonzero(np.diff(used, prepend=np.int8(0), append=np.int8(0)))
    for start, stop in edges.reshape(-1, 2).tolist():
        _pwrite_all(fd, data[start * PAGE_SIZE : stop * PAGE_SIZE], write.address + start * PAGE_SIZE)
    tail = data[whole:]
    if bytes(tail) != ZERO_PAGE[: len(tail)]:
        _pwrite_all(fd, tail, write.address + whole)


def _pwrite_all(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
