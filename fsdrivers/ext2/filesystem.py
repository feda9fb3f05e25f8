"""A mounted ext2/3/4 volume: inodes, directories, links and files."""

from __future__ import annotations

from collections.abc import Iterator

from fsdrivers.api import BlockSource, File, Stat
from fsdrivers.blocks import MemorySource, SourceFile
from fsdrivers.errors import Corrupt, Unsupported, require
from fsdrivers.ext2.checksum import Checksums
from fsdrivers.ext2.constants import ROOT_INODE, Incompat, InodeFlag
from fsdrivers.ext2.directory import RawEntry, find_name, live_entries
from fsdrivers.ext2.groups import GroupTable
from fsdrivers.ext2.inode import Inode, inline_tail
from fsdrivers.ext2.mapping import BlockMap, MapLimits
from fsdrivers.ext2.superblock import SuperBlock, read_superblock
from fsdrivers.modes import MODE_DIRECTORY, MODE_FORMAT, MODE_REGULAR, kind_of
from fsdrivers.runfile import Run, RunFile
from fsdrivers.tree import TreeFilesystem, check_target_size, decode, is_directory

# A directory of a million names is 16 to 40 MiB; the limit is on blocks that exist, not on the claimed size.
MAX_DIRECTORY_BYTES = 256 << 20
SCAN_BYTES = 1 << 20
KEPT_INODES = 256  # those of the directories above a path are asked for again and again


class ExtFilesystem(TreeFilesystem[Inode]):
    """Read-only ext2/3/4 over a source; make one with `open_ext`."""

    def __init__(self, source: BlockSource, superblock: SuperBlock, limits: MapLimits, *, verify: bool = True) -> None:
        """`verify` checks metadata checksums where the file system has them."""
        self.source = source
        self.name = source.name
        self.superblock = superblock
        self._limits = limits
        self._checksums = Checksums(superblock) if verify and Checksums.are_used(superblock) else None
        self._groups = GroupTable(source, superblock, self._checksums)
        self._large_dir = bool(superblock.incompat & Incompat.LARGE_DIR)
        self._inodes: dict[int, Inode] = {}
        self._wide_names = not superblock.incompat & Incompat.FILETYPE

    @property
    def kind(self) -> str:
        return self.superblock.kind

    @property
    def label(self) -> str | None:
        return decode(self.superblock.volume_name.split(b"\0", 1)[0]) or None

    @property
    def uuid(self) -> str | None:
        digits = self.superblock.uuid.hex()
        if not int(digits, 16):
            return None
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def open_node(self, node: Inode, path: str) -> File:
        """Open a regular file; `Unsupported` if it is encrypted."""
        self._refuse_encrypted(node)
        if node.flags & InodeFlag.INLINE_DATA:
            return SourceFile(MemorySource(self._inline_data(node), path))
        return RunFile(self.source, path, node.size, self.superblock.block_size, self.runs(node))

    # -- inodes and their data

    def inode(self, number: int) -> Inode:
        """Read an inode by number; `Corrupt` for a number outside the file system or a bad checksum."""
        inode = self._inodes.get(number)
        if inode is None:
            inode = self._unchecked_inode(number)
            if self._checksums is not None:
                self._checksums.check_inode(inode, f"{self.name}: inode {number}")
            if len(self._inodes) == KEPT_INODES:
                self._inodes.clear()
            self._inodes[number] = inode
        return inode

    def _unchecked_inode(self, number: int) -> Inode:
        where = f"{self.name}: inode {number}"
        return Inode(number, self._groups.read_inode(number, where), where, large_dir=self._large_dir)

    def runs(self, inode: Inode) -> list[Run]:
        """The runs of an inode's blocks in file order, cut at its size."""
        sb, size = self.superblock, self.superblock.block_size
        where = f"{self.name}: inode {inode.number}"
        extents = bool(inode.flags & InodeFlag.EXTENTS)

        def read_block(block: int) -> bytes:
            data = self.source.read_at(block * size, size)
            if extents and self._checksums is not None:
                self._checksums.check_extent_block(inode, data, f"{where}: extent block {block}")
            return data

        blocks = BlockMap(read_block, size, sb.blocks_count, -(-inode.size // size), where, self._limits)
        return blocks.extent_runs(inode.block) if extents else blocks.indirect_runs(inode.block)

    def _refuse_encrypted(self, inode: Inode) -> None:
        if inode.flags & InodeFlag.ENCRYPT:
            raise Unsupported(f"the {kind_of(inode.mode)} is encrypted", where=f"{self.name}: inode {inode.number}")

    def _inline_data(self, inode: Inode) -> bytes:
        where = f"{self.name}: inode {inode.number}"
        data = inode.block + inline_tail(inode, where)
        expected, found = f"{inode.size} bytes", f"{len(data)} bytes"
        require(inode.size <= len(data), "inline data is shorter than its file", where, expected, found)
        return data[: inode.size]

    def stat(self, node: Inode) -> Stat:
        """Facts about an inode; the target of an encrypted link is not known."""
        if node.flags & InodeFlag.ENCRYPT:
            return Stat(kind_of(node.mode), node.size, node.number, node.mode, node.mtime)
        return super().stat(node)

    # -- nodes

    def root(self) -> Inode:
        """The root directory."""
        inode = self.inode(ROOT_INODE)
        where, expected = f"{self.name}: inode {ROOT_INODE}", f"mode {MODE_DIRECTORY:#x}"
        require(is_directory(inode), "the root inode is not a directory", where, expected, f"{inode.mode:#x}")
        return inode

    def link_target(self, link: Inode) -> bytes:
        """The target, from i_block, the inode's body or a block."""
        self._refuse_encrypted(link)
        if link.is_fast_symlink:
            return link.block[: link.size]
        check_target_size(link.size, f"{self.name}: inode {link.number}")
        if link.flags & InodeFlag.INLINE_DATA:
            return self._inline_data(link)
        return RunFile(self.source, "", link.size, self.superblock.block_size, self.runs(link)).read_at(0, link.size)

    def child(self, directory: Inode, name: bytes) -> Inode | None:
        """The inode of a name; names are compared as bytes, casefolded directories too.

        A directory without the name is parsed whole, so that damage is not reported as "no such file".
        """
        where = f"{self.name}: directory inode {directory.number}"
        for data, block_size in self._regions(directory):
            number = find_name(data, name, block_size, where, wide_names=self._wide_names)
            if number is not None:
                return self.inode(number)
        for _ in self._raw_entries(directory):
            pass
        return None

    def entries(self, directory: Inode) -> Iterator[tuple[bytes, Inode]]:
        """Names and inodes.

        Those inodes' checksums are not computed, which would take most of the time; `lookup` and `open` do.
        """
        for number, name in self._raw_entries(directory):
            yield name, self._unchecked_inode(number)

    def entry_names(self, directory: Inode) -> Iterator[bytes]:
        """The names; no inode is read."""
        return (name for _, name in self._raw_entries(directory))

    def _raw_entries(self, node: Inode) -> Iterator[RawEntry]:
        where = f"{self.name}: directory inode {node.number}"
        for data, block_size in self._regions(node):
            yield from live_entries(data, block_size, where, wide_names=self._wide_names)

    def _regions(self, node: Inode) -> Iterator[tuple[bytes, int]]:
        """The directory's bytes in pieces of whole blocks, with the size that bounds a record."""
        self._refuse_encrypted(node)
        where = f"{self.name}: directory inode {node.number}"
        block_size = self.superblock.block_size
        if node.flags & InodeFlag.INLINE_DATA:
            # The first four bytes are the parent's inode number; no "." and ".." are stored.
            yield node.block[4:], len(node.block) - 4
            tail = inline_tail(node, where)
            if tail:
                yield tail, len(tail)
            return
        require(node.size % block_size == 0, "bad directory size", where, f"a multiple of {block_size}", node.size)
        runs = self.runs(node)
        if sum(run.blocks for run in runs) * block_size > MAX_DIRECTORY_BYTES:
            raise Unsupported("directory is too large", where=where, expected=f"at most {MAX_DIRECTORY_BYTES} bytes")
        step = max(1, SCAN_BYTES // block_size)
        for run in runs:
            for first in range(0, run.blocks, step):
                count = min(step, run.blocks - first)
                data = self.source.read_at((run.disk_block + first) * block_size, count * block_size)
                if self._checksums is not None:
                    self._checksums.check_directory(node, data, block_size, where)
                yield data, block_size


def open_ext(source: BlockSource, *, limits: MapLimits | None = None) -> ExtFilesystem:
    """Mount an ext2/3/4 volume read-only; a dirty journal is replayed in memory.

    Raises `NotThisFilesystem` if there is no super block, `Corrupt`, `Unsupported` naming the feature,
    `SourceError`.
    """
    limits = limits or MapLimits()
    superblock = read_superblock(source)
    if not superblock.incompat & Incompat.RECOVER:
        return ExtFilesystem(source, superblock, limits)
    # What stands in the journal may be all that makes the checksums of the descriptors right again.
    replayed = _replayed_source(ExtFilesystem(source, superblock, limits, verify=False))
    # The super block and the descriptors may themselves stand in the journal.
    after = read_superblock(replayed)
    before, now = superblock.block_size, after.block_size
    require(before == now, "the journal changes the block size", source.name, before, now)
    return ExtFilesystem(replayed, after, limits)


def _replayed_source(filesystem: ExtFilesystem) -> BlockSource:
    """The source seen through the journal; the journal's own inode is read without it."""
    from fsdrivers.ext2.journal import replay

    sb, source = filesystem.superblock, filesystem.source
    where = f"{source.name}: journal"
    if not sb.journal_inum:
        if any(sb.journal_uuid):
            raise Unsupported("the journal on another device holds changes; run fsck with both", where=where)
        raise Corrupt("file system needs recovery but has no journal", where=where)
    inode = filesystem.inode(sb.journal_inum)
    if inode.mode & MODE_FORMAT != MODE_REGULAR or inode.flags & (InodeFlag.INLINE_DATA | InodeFlag.ENCRYPT):
        raise Corrupt("journal inode is not a regular file", where=where, found=f"mode {inode.mode:#x}")
    return replay(source, sb, filesystem.runs(inode), where)[0]
