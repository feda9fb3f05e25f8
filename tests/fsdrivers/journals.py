"""Writes jbd2 transactions into the journal of an ext image, as a crashed guest leaves them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from fsdrivers.blocks import open_source
from fsdrivers.ext2 import open_ext
from fsdrivers.ext2.crc32c import FRESH, crc32c

MAGIC = 0xC03B3998
BIT64, CSUM_V2, CSUM_V3 = 0x2, 0x8, 0x10
JOURNAL_INODE = 8
RECOVER = 0x4


@dataclass
class Change:
    """One transaction: new contents of blocks, revoked blocks, and what to get wrong."""

    blocks: dict[int, bytes] = field(default_factory=dict)
    revoked: tuple[int, ...] = ()
    commit: bool = True
    damage: str = ""


class JournalWriter:
    """Rewrites the log of an image from position `start` with the given features."""

    def __init__(
        self, image: Path, *, incompat: int = 0, v1_checksum: bool = False, start: int = 1, sequence: int = 100
    ) -> None:
        filesystem = open_ext(open_source(image))
        self.block_size = filesystem.superblock.block_size
        self.homes = [
            run.disk_block + i for run in filesystem.runs(filesystem.inode(JOURNAL_INODE)) for i in range(run.blocks)
        ]
        self.image = image
        self.data = bytearray(image.read_bytes())
        self.incompat, self.v1_checksum = incompat | 1, v1_checksum
        self.start, self.sequence = start, sequence
        self.position, self.next_sequence = start, sequence
        self.uuid = bytes(range(16))
        self.seed = crc32c(FRESH, self.uuid)
        self.checksummed = bool(incompat & (CSUM_V2 | CSUM_V3))

    def _put(self, block: bytes) -> None:
        home = self.homes[self.position] * self.block_size
        self.data[home : home + self.block_size] = block.ljust(self.block_size, b"\0")
        self.position = self.position + 1 if self.position + 1 < len(self.homes) else 1

    def _header(self, kind: int) -> bytes:
        return struct.pack(">III", MAGIC, kind, self.next_sequence)

    def _with_tail(self, block: bytes) -> bytes:
        if not self.checksummed:
            return block
        block = block.ljust(self.block_size, b"\0")
        return block[:-4] + struct.pack(">I", crc32c(self.seed, block))

    def _tag(self, home: int, flags: int, stored: bytes) -> bytes:
        crc = crc32c(crc32c(self.seed, struct.pack(">I", self.next_sequence)), stored) if self.checksummed else 0
        if self.incompat & CSUM_V3:
            return struct.pack(">IIII", home & 0xFFFFFFFF, flags, home >> 32, crc)
        tag = struct.pack(">IHH", home & 0xFFFFFFFF, crc & 0xFFFF, flags)
        if self.incompat & BIT64:
            tag += struct.pack(">I", home >> 32)
        return tag + (bytes(2) if self.incompat & CSUM_V2 else b"")

    def add(self, change: Change) -> None:
        """Write one transaction at the head of the log."""
        descriptor, copies = self._header(1), []
        for i, (home, content) in enumerate(change.blocks.items()):
            content = content.ljust(self.block_size, b"\0")
            escaped = content[:4] == struct.pack(">I", MAGIC)
            stored = bytes(4) + content[4:] if escaped else content
            flags = (1 if escaped else 0) | (2 if i else 0) | (8 if i + 1 == len(change.blocks) else 0)
            descriptor += self._tag(home, flags, stored) + (b"" if i else self.uuid)
            copies.append(stored)
        covered = b""
        if copies:
            descriptor = self._with_tail(descriptor).ljust(self.block_size, b"\0")
            covered = descriptor + b"".join(copies)
            for block in (descriptor, *copies):
                self._put(block if change.damage != "data" or block is descriptor else b"damaged" + block[7:])
        if change.revoked:
            width = ">Q" if self.incompat & BIT64 else ">I"
            body = b"".join(struct.pack(width, block) for block in change.revoked)
            self._put(self._with_tail(self._header(5) + struct.pack(">I", 16 + len(body)) + body))
        if change.commit:
            self._put(self._commit(covered, change.damage))
            self.next_sequence = self.next_sequence + 1 & 0xFFFFFFFF

    def _commit(self, covered: bytes, damage: str) -> bytes:
        block = self._header(2).ljust(self.block_size, b"\0")
        if self.checksummed:
            crc = crc32c(self.seed, block)
            block = block[:16] + struct.pack(">I", crc ^ (damage == "commit")) + block[20:]
        elif self.v1_checksum:
            mirrored = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
            crc = int(f"{zlib.crc32(covered.translate(mirrored)) ^ 0xFFFFFFFF:032b}"[::-1], 2)
            block = block[:12] + bytes((1, 4, 0, 0)) + struct.pack(">I", crc ^ (damage == "commit")) + block[20:]
        return block

    def finish(self, *, needs_recovery: bool = True) -> None:
        """Write the journal's super block and mark the file system dirty."""
        old = self.homes[0] * self.block_size
        sb = bytearray(self.data[old : old + 1024])
        struct.pack_into(
            ">IIIIIIII", sb, 0, MAGIC, 4, 0, self.block_size, len(self.homes), 1, self.sequence, self.start
        )
        struct.pack_into(">III", sb, 0x24, int(self.v1_checksum), self.incompat, 0)
        sb[0x30:0x40] = self.uuid
        sb[0x50] = 4 if self.checksummed else 0
        sb[0xFC:0x100] = bytes(4)
        if self.checksummed:
            struct.pack_into(">I", sb, 0xFC, crc32c(FRESH, bytes(sb)))
        self.data[old : old + 1024] = sb
        if needs_recovery:
            (incompat,) = struct.unpack_from("<I", self.data, 1024 + 0x60)
            struct.pack_into("<I", self.data, 1024 + 0x60, incompat | RECOVER)
        self.image.write_bytes(self.data)
