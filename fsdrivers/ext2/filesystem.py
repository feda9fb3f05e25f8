"""A mounted ext2/3/4 volume: inodes, directories, links and files."""

from __future__ import annotations

from collections.abc import Iterator

from fsdrivers import paths
from fsdrivers.api import BlockSource, DirEntry, Stat
from fsdrivers.errors import Corrupt, IsADirectory, NotADirectory, Unsupported
from fsdrivers.ext2.checksum import Checksums
from fsdrivers.ext2.constants import ROOT_INODE, Incompat, InodeFlag
from fsdrivers.ext2.directory import RawEntry, find_name, live_entries
from fsdrivers.ext2.groups import GroupTable
from fsdrivers.ext2.inode import Inode, inline_tail
from fsdrivers.ext2.mapping import Limits, MapReader, extent_runs, indirect_runs
from fsdrivers.ext2.superblock import SuperBlock, read_superblock
from fsdrivers.modes import MODE_DIRECTORY, MODE_REGULAR, MODE_SYMLINK
from fsdrivers.runfile import MemoryFile, Run, RunFile

# A directory of a million names is 16 to 40 MiB; the limit is on blocks that exist, not on the claimed size.
MAX_DIRECTORY_BYTES = 256 << 20
SCAN_BYTES = 1 << 20


class ExtFilesystem:
    """Read-only ext2/3/4 over a source; make one with `open_ext`."""

    def __init__(self, source: BlockSource, superblock: SuperBlock, limits: Limits, *, verify: bool = True) -> None:
        """`verify` checks metadata checksums where the file system has them."""
        self.source = source
        self.superblock = superblock
        self._limits = limits
        self._checksums = Checksums(superblock) if verify and Checksums.are_used(superblock) else None
        self._groups = GroupTable(source, superblock, self._checksums)
        self._large_dir = bool(superblock.incompat & Incompat.LARGE_DIR)
        self._wide_names = not superblock.incompat & Incompat.FILETYPE

    @property
    def kind(self) -> str:
        return self.superblock.kind

    @property
    def label(self) -> str | None:
        return paths.decode(self.superblock.volume_name.split(b"\0", 1)[0]) or None

    @property
    def uuid(self) -> str | None:
        digits = self.superblock.uuid.hex()
        if not int(digits, 16):
            return None
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def lookup(self, path: str, *, follow: bool = True) -> Stat:
        """Facts about a path; `NotFound`, `NotADirectory`, `LinkLoop`, `Corrupt`, `Unsupported`, `SourceError`."""
        return self._stat(self._resolve(path, follow=follow))

    def listdir(self, path: str) -> Iterator[DirEntry]:
        """The entries of a directory in on-disk order; each costs the read of its inode.

        Those inodes' checksums are not computed, which would take most of the time; `lookup` and `open` do.
        """
        for number, name in self._entries(self._directory(path)):
            yield DirEntry(paths.decode(name), self._stat(self._unchecked_inode(number)))

    def names(self, path: str) -> Iterator[str]:
        """The names in a directory in on-disk order; no inode is read."""
        for _, name in self._entries(self._directory(path)):
            yield paths.decode(name)

    def open(self, path: str) -> RunFile | MemoryFile:
        """Open a regular file, links followed; `IsADirectory` for everything that is none."""
        inode = self._resolve(path, follow=True)
        if inode.format != MODE_REGULAR:
            raise IsADirectory(
                "not a regular file",
                where=f"{self.source.name}: {path}",
                found="a directory" if inode.format == MODE_DIRECTORY else "a special file",
            )
        self._refuse_unreadable(inode)
        if inode.flags & InodeFlag.INLINE_DATA:
            return MemoryFile(path, self._inline_data(inode))
        return RunFile(self.source, path, inode.size, self.superblock.block_size, self.runs(inode))

    # -- inodes and their data

    def inode(self, number: int) -> Inode:
        """Read an inode by number; `Corrupt` for a number outside the file system or a bad checksum."""
        inode = self._unchecked_inode(number)
        if self._checksums is not None:
            self._checksums.check_inode(inode, f"{self.source.name}: inode {number}")
        return inode

    def _unchecked_inode(self, number: int) -> Inode:
        where = f"{self.source.name}: inode {number}"
        return Inode(number, self._groups.read_inode(number, where), where, large_dir=self._large_dir)

    def runs(self, inode: Inode) -> list[Run]:
        """Where the blocks of an inode lie, in file order, cut at its size."""
        sb = self.superblock
        where = f"{self.source.name}: inode {inode.number}"
        file_blocks = -(-inode.size // sb.block_size)
        checksums = self._checksums

        def verify(block: int, data: bytes) -> None:
            if checksums is not None:
                checksums.check_extent_block(inode, data, f"{where}: extent block {block}")

        reader = MapReader(self._read_block, sb.block_size, sb.blocks_count, where, self._limits, verify)
        if inode.flags & InodeFlag.EXTENTS:
            return extent_runs(inode.block, reader, file_blocks)
        return indirect_runs(inode.block, reader, file_blocks)

    def _read_block(self, block: int) -> bytes:
        size = self.superblock.block_size
        return self.source.read_at(block * size, size)

    def _refuse_unreadable(self, inode: Inode) -> None:
        where = f"{self.source.name}: inode {inode.number}"
        if inode.flags & InodeFlag.ENCRYPT:
            raise Unsupported(f"the {inode.kind} is encrypted", where=where)

    def _inline_data(self, inode: Inode) -> bytes:
        where = f"{self.source.name}: inode {inode.number}"
        data = inode.block + inline_tail(inode, where)
        if inode.size > len(data):
            raise Corrupt(
                "inline data is shorter than its file",
                where=where,
                expected=f"{inode.size} bytes",
                found=f"{len(data)} bytes",
            )
        return data[: inode.size]

    def _stat(self, inode: Inode) -> Stat:
        target = None
        if inode.format == MODE_SYMLINK and not inode.flags & InodeFlag.ENCRYPT:
            target = paths.decode(self._link_target(inode))
        return Stat(inode.kind, inode.size, inode.number, inode.mode, inode.mtime, target)

    def _link_target(self, inode: Inode) -> bytes:
        self._refuse_unreadable(inode)
        where = f"{self.source.name}: inode {inode.number}"
        if inode.is_fast_symlink:
            return inode.block[: inode.size]
        if inode.size > paths.MAX_TARGET_BYTES:
            raise Corrupt(
                "target of a symbolic link is too long",
                where=where,
                expected=f"at most {paths.MAX_TARGET_BYTES} bytes",
                found=f"{inode.size} bytes",
            )
        if inode.flags & InodeFlag.INLINE_DATA:
            return self._inline_data(inode)
        target = RunFile(self.source, "", inode.size, self.superblock.block_size, self.runs(inode))
        return target.read_at(0, inode.size)

    # -- directories and paths

    def _resolve(self, path: str, *, follow: bool) -> Inode:
        return paths.resolve(self, path, follow=follow, where=self.source.name)

    def _directory(self, path: str) -> Inode:
        inode = self._resolve(path, follow=True)
        if inode.format != MODE_DIRECTORY:
            raise NotADirectory("not a directory", where=f"{self.source.name}: {path}")
        return inode

    def root(self) -> Inode:
        """The root directory (for `paths.resolve`)."""
        inode = self.inode(ROOT_INODE)
        if inode.format != MODE_DIRECTORY:
            raise Corrupt(
                "the root inode is not a directory",
                where=f"{self.source.name}: inode {ROOT_INODE}",
                expected="mode 0x4000",
                found=f"{inode.mode:#x}",
            )
        return inode

    def is_directory(self, node: Inode) -> bool:
        """For `paths.resolve`."""
        return node.format == MODE_DIRECTORY

    def link_target(self, node: Inode) -> bytes | None:
        """For `paths.resolve`."""
        return self._link_target(node) if node.format == MODE_SYMLINK else None

    def child(self, node: Inode, name: bytes) -> Inode | None:
        """For `paths.resolve`; names are compared as bytes, casefolded directories too.

        A directory without the name is parsed whole, so that damage is not reported as "no such file".
        """
        where = f"{self.source.name}: directory inode {node.number}"
        for data, block_size in self._regions(node):
            number = find_name(data, name, block_size, where, wide_names=self._wide_names)
            if number is not None:
                return self.inode(number)
        for _ in self._entries(node):
            pass
        return None

    def _entries(self, node: Inode) -> Iterator[RawEntry]:
        where = f"{self.source.name}: directory inode {node.number}"
        for data, block_size in self._regions(node):
            yield from live_entries(data, block_size, where, wide_names=self._wide_names)

    def _regions(self, node: Inode) -> Iterator[tuple[bytes, int]]:
        """The directory's bytes in pieces of whole blocks, with the size that bounds a record."""
        self._refuse_unreadable(node)
        where = f"{self.source.name}: directory inode {node.number}"
        block_size = self.superblock.block_size
        if node.flags & InodeFlag.INLINE_DATA:
            # The first four bytes are the parent's inode number; no "." and ".." are stored.
            yield node.block[4:], len(node.block) - 4
            tail = inline_tail(node, where)
            if tail:
                yield tail, len(tail)
            return
        if node.size % block_size:
            raise Corrupt(
                "bad directory size", where=where, expected=f"a multiple of {block_size}", found=str(node.size)
            )
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


def open_ext(source: BlockSource, *, limits: Limits | None = None) -> ExtFilesystem:
    """Mount an ext2/3/4 volume read-only; a dirty journal is replayed in memory.

    Raises `NotThisFilesystem` if there is no super block, `Corrupt`, `Unsupported` naming the feature,
    `SourceError`.
    """
    limits = limits or Limits()
    superblock = read_superblock(source)
    if not superblock.incompat & Incompat.RECOVER:
        return ExtFilesystem(source, superblock, limits)
    # What stands in the journal may be all that makes the checksums of the descriptors right again.
    replayed = _replayed_source(ExtFilesystem(source, superblock, limits, verify=False))
    # The super block and the descriptors may themselves stand in the journal.
    after = read_superblock(replayed)
    if after.block_size != superblock.block_size:
        raise Corrupt(
            "the journal changes the block size",
            where=source.name,
            expected=str(superblock.block_size),
            found=str(after.block_size),
        )
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
    if inode.format != MODE_REGULAR or inode.flags & (InodeFlag.INLINE_DATA | InodeFlag.ENCRYPT):
        raise Corrupt("journal inode is not a regular file", where=where, found=f"mode {inode.mode:#x}")
    return replay(source, sb, filesystem.runs(inode), where)[0]
