"""Virtual replay of a dirty jbd2 journal: which blocks of the volume are to be read from the log.

A guest that was destroyed or snapshotted has a dirty journal nearly always; without replay the directory or
inode of the kernel it installed last is stale.  Rules: fs/jbd2/recovery.c, e2fsck/recovery.c.
"""

from __future__ import annotations

from bisect import bisect_right

from fsdrivers.api import BlockSource
from fsdrivers.errors import Corrupt, Unsupported, require, require_checksum
from fsdrivers.ext2._formats import (
    FAST_COMMIT_HEAD,
    JOURNAL_COMMIT,
    JOURNAL_HEADER,
    JOURNAL_REVOKE,
    JOURNAL_REVOKED,
    JOURNAL_TAG,
    JOURNAL_TAG3,
    JOURNAL_TAG_UUID,
    JOURNAL_TAIL,
    JournalCommitOffsets,
    JournalSuperBlock,
    JournalSuperOffsets,
)
from fsdrivers.ext2.constants import (
    FAST_COMMIT_TAG_HEAD,
    JOURNAL_CRC32,
    JOURNAL_CRC32C,
    JOURNAL_MAGIC,
    BlockType,
    JournalCompat,
    JournalIncompat,
    TagFlag,
)
from fsdrivers.ext2.crc32c import FRESH, crc32c, crc32c_blocks, zeroed
from fsdrivers.ext2.overlay import OverlaySource
from fsdrivers.ext2.superblock import SuperBlock
from fsdrivers.light import dataclass, field
from fsdrivers.runfile import Run

DEFAULT_FAST_COMMIT_BLOCKS = 256
# The largest journal that mke2fs makes by itself is 1 GiB of 4 KiB blocks; it also bounds the tags in memory.
MAX_LOG_BLOCKS = 1 << 20
VERIFY_BYTES = 4 << 20
_REVERSED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True, slots=True)
class Tag:
    """One block of a transaction: its home, its place in the log, and the checksum of the copy (None: none)."""

    block: int
    log_block: int
    escaped: bool
    checksum: int | None
    sequence: int


@dataclass(slots=True)
class Transaction:
    """One transaction; `damage` is what was wrong with it, of interest once it turns out committed.

    `covered` are the log blocks that a version 1 commit checksum is made of: descriptors and copies.
    """

    tags: list[Tag] = field(default_factory=list)
    revoked: set[int] = field(default_factory=set)
    covered: list[int] = field(default_factory=list)
    damage: str = ""


class Log:
    """The journal's blocks and what its super block says about them."""

    def __init__(self, source: BlockSource, runs: list[Run], block_size: int, where: str) -> None:
        """Raises `Corrupt` for a journal that contradicts itself, `Unsupported` for unknown features."""
        self.source = source
        self.where = where
        self.block_size = block_size
        self._runs = runs
        self._starts = [run.file_block for run in runs]
        raw = self.read(0)[: JournalSuperBlock.SIZE]
        sb = JournalSuperBlock(raw, where=where)
        good = sb.magic == JOURNAL_MAGIC and sb.blocktype in (BlockType.SUPER_V1, BlockType.SUPER_V2)
        require(good, "no journal super block", where, f"{JOURNAL_MAGIC:#x}", f"{sb.magic:#x}, type {sb.blocktype}")
        # Version 1 ends before the feature words.
        dynamic = sb.blocktype == BlockType.SUPER_V2
        self.compat = sb.feature_compat if dynamic else 0
        self.incompat = sb.feature_incompat if dynamic else 0
        unknown = self.incompat & ~JournalIncompat.KNOWN
        if unknown:
            raise Unsupported("journal feature is not supported", where=where, found=f"{unknown:#x}")
        require(sb.block_size == block_size, "bad journal block size", where, block_size, sb.block_size)
        most = min(runs[-1].file_block + runs[-1].blocks if runs else 0, MAX_LOG_BLOCKS)
        require(2 <= sb.max_length <= most, "bad journal length", where, f"2..{most} blocks", sb.max_length)
        self.has_checksums = bool(self.incompat & (JournalIncompat.CSUM_V2 | JournalIncompat.CSUM_V3))
        if self.has_checksums:
            if sb.checksum_type != JOURNAL_CRC32C:
                found = str(sb.checksum_type)
                raise Unsupported("journal checksum is not supported", where=where, expected="crc32c", found=found)
            crc = crc32c(FRESH, zeroed(raw, JournalSuperOffsets.checksum, 4))
            require_checksum("the journal super block", where, sb.checksum, crc)
        # Descriptor and revoke blocks may end in a checksum.
        self.used_bytes = block_size - (JOURNAL_TAIL.size if self.has_checksums else 0)
        self.seed = crc32c(FRESH, sb.uuid) if self.has_checksums else 0
        self.sequence, self.first, self.start = sb.sequence, sb.first, sb.start
        self.fast_commit_blocks = 0
        if self.incompat & JournalIncompat.FAST_COMMIT:
            self.fast_commit_blocks = sb.fast_commit_blocks or DEFAULT_FAST_COMMIT_BLOCKS
        self.end = sb.max_length - self.fast_commit_blocks
        found = f"first {self.first}, start {self.start}, end {self.end}"
        good = not self.start or 1 <= self.first <= self.start < self.end
        require(good, "bad limits of the log", where, found=found)

    def offset(self, log_block: int) -> int:
        """Byte of the volume where a block of the log lies."""
        i = bisect_right(self._starts, log_block) - 1
        if i < 0 or log_block >= self._runs[i].file_block + self._runs[i].blocks:
            raise Corrupt("journal has a hole", where=f"{self.where}: log block {log_block}")
        return (self._runs[i].disk_block + log_block - self._runs[i].file_block) * self.block_size

    def read(self, log_block: int) -> bytes:
        """One block of the log."""
        return self.source.read_at(self.offset(log_block), self.block_size)

    def next(self, log_block: int) -> int:
        """The block behind one; the log wraps, even inside a transaction."""
        return log_block + 1 if log_block + 1 < self.end else self.first


def replay(source: BlockSource, sb: SuperBlock, runs: list[Run], where: str) -> tuple[BlockSource, int]:
    """The source as it is after replay, and how many transactions that took.

    `runs` is the block map of the journal inode.  A torn last transaction ends the log, as a crash leaves it.
    Raises `Corrupt` for damage inside committed transactions, `Unsupported` for unknown journal features and
    for fast commits that wait to be replayed.
    """
    log = Log(source, runs, sb.block_size, where)
    if not log.start:
        return source, 0
    transactions = _scan(log)
    _refuse_fast_commits(log, len(transactions))
    final = _last_writers(transactions)
    _check_homes(final, sb, runs, where)
    _verify(log, list(final.values()))
    if not final:
        return source, len(transactions)
    copies = {block: log.offset(tag.log_block) for block, tag in final.items()}
    magic = JOURNAL_MAGIC.to_bytes(4, "big")
    patches = {block: magic for block, tag in final.items() if tag.escaped}
    return OverlaySource(source, sb.block_size, copies, patches), len(transactions)


def _scan(log: Log) -> list[Transaction]:
    """The committed transactions in order.  Every block of the log is visited at most once."""
    committed: list[Transaction] = []
    current = Transaction()
    position, sequence, budget = log.start, log.sequence, log.end
    while budget > 0:
        block = log.read(position)
        magic, kind, found_sequence = JOURNAL_HEADER.unpack_from(block)
        # Leftovers of an older lap have other sequence numbers.
        if magic != JOURNAL_MAGIC or found_sequence != sequence:
            break
        here, position = position, log.next(position)
        budget -= 1
        if kind == BlockType.DESCRIPTOR:
            current.covered.append(here)
            tags = _descriptor_tags(log, block, current)
            for home, flags, checksum in tags[: max(0, budget)]:
                current.tags.append(Tag(home, position, bool(flags & TagFlag.ESCAPED), checksum, sequence))
                current.covered.append(position)
                position = log.next(position)
            budget -= len(tags)
        elif kind == BlockType.REVOKE:
            current.revoked |= _revoked(log, block, current)
        elif kind == BlockType.COMMIT:
            if not _commit_is_good(log, block, current):
                break
            if current.damage:
                raise Corrupt(current.damage, where=f"{log.where}: transaction {sequence}")
            committed.append(current)
            current = Transaction()
            sequence = sequence + 1 & 0xFFFFFFFF
        else:
            break
    return committed


def _tail_is_good(log: Log, block: bytes) -> bool:
    """Whether the checksum in the last four bytes of a descriptor or revoke block is right."""
    if not log.has_checksums:
        return True
    at = log.used_bytes
    return (crc32c(log.seed, zeroed(block, at, 4)),) == JOURNAL_TAIL.unpack_from(block, at)


def _descriptor_tags(log: Log, block: bytes, current: Transaction) -> list[tuple[int, int, int | None]]:
    """(home block, flags, checksum) of the blocks that follow a descriptor."""
    if not _tail_is_good(log, block):
        current.damage = "bad checksum of a journal descriptor"
    wide = bool(log.incompat & JournalIncompat.BIT64)
    version3 = log.incompat & JournalIncompat.CSUM_V3
    layout = JOURNAL_TAG3 if version3 else JOURNAL_TAG[wide, bool(log.incompat & JournalIncompat.CSUM_V2)]
    tags: list[tuple[int, int, int | None]] = []
    position = JOURNAL_HEADER.size
    while position + layout.size <= log.used_bytes:
        if version3:
            number, flags, high, checksum = layout.unpack_from(block, position)
        else:
            number, checksum, flags, high = (*layout.unpack_from(block, position), 0)[:4]
        tags.append((number | (high << 32 if wide else 0), flags, checksum if log.has_checksums else None))
        position += layout.size + (0 if flags & TagFlag.SAME_UUID else JOURNAL_TAG_UUID.size)
        if flags & TagFlag.LAST:
            break
    return tags


def _revoked(log: Log, block: bytes, current: Transaction) -> set[int]:
    """The block numbers of a revoke block."""
    if not _tail_is_good(log, block):
        current.damage = "bad checksum of a journal revoke block"
    (used,) = JOURNAL_REVOKE.unpack_from(block)
    if not JOURNAL_REVOKE.size <= used <= log.used_bytes:
        current.damage = f"bad size of a journal revoke block: {used} bytes"
        return set()
    layout = JOURNAL_REVOKED[bool(log.incompat & JournalIncompat.BIT64)]
    whole = (used - JOURNAL_REVOKE.size) // layout.size * layout.size
    return {block for (block,) in layout.iter_unpack(block[JOURNAL_REVOKE.size : JOURNAL_REVOKE.size + whole])}


def _commit_is_good(log: Log, block: bytes, current: Transaction) -> bool:
    """Whether a commit block vouches for its transaction; a bad one is torn and ends the log."""
    kind, size, stored = JOURNAL_COMMIT.unpack_from(block)
    if log.has_checksums:
        return bool(crc32c(log.seed, zeroed(block, JournalCommitOffsets.checksum, 4)) == stored)
    if log.compat & JournalCompat.CHECKSUM and (kind or size or stored):
        return bool(kind == JOURNAL_CRC32 and size == 4 and _transaction_crc(log, current) == stored)
    return True


def _transaction_crc(log: Log, transaction: Transaction) -> int:
    """The version 1 checksum: big-endian CRC-32 over the descriptors and the blocks behind each.

    zlib computes the mirrored one, so that the bytes and the result are mirrored.
    """
    import zlib

    crc = 0
    for log_block in transaction.covered:
        crc = zlib.crc32(log.read(log_block).translate(_REVERSED_BITS), crc)
    return int(f"{crc ^ 0xFFFFFFFF:032b}"[::-1], 2)


def _refuse_fast_commits(log: Log, transactions: int) -> None:
    """Changes behind the last full commit are logged by name, not by block: only fsck or the kernel replay them."""
    if not log.fast_commit_blocks:
        return
    # One block behind the log's end stays unused (journal_init_common of fs/jbd2/journal.c).
    tag, _, _, tid = FAST_COMMIT_HEAD.unpack_from(log.read(log.end + 1))
    if tag == FAST_COMMIT_TAG_HEAD and tid == log.sequence + transactions & 0xFFFFFFFF:
        what = "the journal ends with fast commits; run fsck or mount it once"
        raise Unsupported(what, where=log.where, found=f"fast commit of transaction {tid}")


def _last_writers(transactions: list[Transaction]) -> dict[int, Tag]:
    """The copy that counts for each home block: the last one that no transaction from its own on revokes."""
    last_revoke = {block: i for i, transaction in enumerate(transactions) for block in transaction.revoked}
    return {
        tag.block: tag
        for i, transaction in enumerate(transactions)
        for tag in transaction.tags
        if last_revoke.get(tag.block, -1) < i
    }


def _check_homes(final: dict[int, Tag], sb: SuperBlock, runs: list[Run], where: str) -> None:
    """Every home must lie inside the file system and outside the journal, which would be replaying itself."""
    by_disk = sorted(runs, key=lambda run: run.disk_block)
    starts = [run.disk_block for run in by_disk]
    for block in final:
        what = "journal holds a block outside the file system"
        require(block < sb.blocks_count, what, where, f"0..{sb.blocks_count - 1}", block)
        i = bisect_right(starts, block) - 1
        if i >= 0 and block < starts[i] + by_disk[i].blocks:
            raise Corrupt("journal holds a block of itself", where=where, found=str(block))


def _verify(log: Log, tags: list[Tag]) -> None:
    """Check the copies that will be read against the checksums of their tags (as stored, still escaped)."""
    if not log.has_checksums:
        return
    mask = 0xFFFFFFFF if log.incompat & JournalIncompat.CSUM_V3 else 0xFFFF
    step = max(1, VERIFY_BYTES // log.block_size)
    for i in range(0, len(tags), step):
        batch = tags[i : i + step]
        seeds = [crc32c(log.seed, tag.sequence.to_bytes(4, "big")) for tag in batch]
        sums = crc32c_blocks(seeds, [log.read(tag.log_block) for tag in batch])
        for tag, crc in zip(batch, sums, strict=True):
            where = f"{log.where}: log block {tag.log_block}"
            require_checksum("a journalled block", where, tag.checksum or 0, crc & mask)
