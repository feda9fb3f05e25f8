"""A mounted ISO 9660 volume."""

from __future__ import annotations

from collections.abc import Iterator

from fsdrivers.api import BlockSource, File
from fsdrivers.errors import Corrupt, FsError, SourceError, Unsupported
from fsdrivers.iso9660 import SECTOR_BYTES
from fsdrivers.iso9660._formats import SUSP_SP
from fsdrivers.iso9660.descriptors import VolumeSet
from fsdrivers.iso9660.records import SELF, Member, members, parse_record, short_date
from fsdrivers.iso9660.susp import RockRidge, read_rock_ridge
from fsdrivers.iso9660.zisofs import ZisofsFile
from fsdrivers.light import dataclass
from fsdrivers.modes import MODE_DIRECTORY, MODE_FORMAT, MODE_REGULAR
from fsdrivers.runfile import Run, RunFile
from fsdrivers.tree import TreeFilesystem

# A record takes 34 bytes or more: this is half a million names.
MAX_DIRECTORY_BYTES = 32 << 20
SP_MARK = [b"SP", SUSP_SP.size, b"\xbe\xef"]  # signature, length, check bytes
RRIP_SIGNATURES = frozenset({b"RR", b"PX", b"NM", b"TF", b"SL"})


@dataclass(frozen=True, slots=True)
class Node:
    """A directory member with its meaning; `version` orders files of one plain name."""

    name: bytes
    version: int
    exact: bool
    mode: int
    mtime: int
    member: Member
    rock_ridge: RockRidge | None

    @property
    def number(self) -> int:
        """The first byte of the content, or of the record for an object without content."""
        start, size = self.member.sections[0]
        return start if size and self.mode & MODE_FORMAT in (MODE_DIRECTORY, MODE_REGULAR) else self.member.position

    @property
    def size(self) -> int:
        """Size in bytes, decompressed."""
        compression = self.rock_ridge.compression if self.rock_ridge is not None else None
        return self.member.size if compression is None else compression.size_le


class IsoFilesystem(TreeFilesystem[Node]):
    """Read-only ISO 9660; names come from Rock Ridge, else Joliet, else the plain ones without regard to case.

    Make one with `open_iso`.
    """

    kind = "iso9660"

    def __init__(self, source: BlockSource, volumes: VolumeSet) -> None:
        self.source = source
        self.name = source.name
        self.label = volumes.label
        self.uuid = volumes.uuid
        self._skip: int | None = None
        self._joliet = False
        root = self._root_member(volumes.root)
        self._skip = self._find_susp(root)
        if self._skip is None and volumes.joliet_root is not None:
            self._joliet = True
            root = self._root_member(volumes.joliet_root)
        self._root = Node(b"", 0, True, MODE_DIRECTORY | 0o555, short_date(root.date), root, None)

    def open_node(self, node: Node, path: str) -> File:
        """Open a regular file; sparse and interleaved ones are refused."""
        where = f"{self.name}: {path}"
        if node.member.interleaved:
            raise Unsupported("interleaved files are not supported", where=where)
        if node.rock_ridge is not None and node.rock_ridge.sparse:
            raise Unsupported("Rock Ridge sparse files are not supported", where=where)
        raw = self._raw_file(node.member, path)
        if node.rock_ridge is not None and node.rock_ridge.compression is not None:
            return ZisofsFile(raw, node.rock_ridge.compression, where)
        return raw

    def _raw_file(self, member: Member, path: str) -> RunFile:
        runs: list[Run] = []
        position = 0
        for start, size in member.sections:
            if size:
                runs.append(Run(position, start, size))
            position += size
        return RunFile(self.source, path, position, 1, runs)

    # -- nodes

    def root(self) -> Node:
        """The root directory."""
        return self._root

    def link_target(self, link: Node) -> bytes:
        """Target of a Rock Ridge link."""
        return (link.rock_ridge and link.rock_ridge.target) or b""

    def child(self, directory: Node, name: bytes) -> Node | None:
        """The member of a name; of several versions the highest, unless one is asked for."""
        plain, version = split_version(name)
        folded = plain.lower()
        best: Node | None = None
        for found in self._nodes(directory):
            if found.name == name:
                return found
            if found.exact:
                if found.version and found.name == plain and found.version == version:
                    return found
            elif (
                found.name == folded
                and version in (0, found.version)
                and (best is None or found.version > best.version)
            ):
                best = found
        return best

    def entries(self, directory: Node) -> Iterator[tuple[bytes, Node]]:
        """Names and nodes, older versions of a file left out (the standard puts the newest first)."""
        last: Node | None = None
        for node in self._nodes(directory):
            if last is None or node.exact or node.name != last.name:
                yield node.name, node
            last = node

    def _nodes(self, directory: Node) -> Iterator[Node]:
        """The members, at last `Corrupt` for the first of those that are damaged: one does not hide the others."""
        where = self._where(directory.member)
        data = self._directory_data(directory.member)
        damage: FsError | None = None
        for member in members(data, directory.member.sections[0][0], where):
            try:
                node = self._node(member)
            except (Corrupt, SourceError) as err:
                damage = damage or err
                continue
            if node is not None:
                yield node
        if damage is not None:
            raise damage

    def _directory_data(self, member: Member) -> bytes:
        where = self._where(member)
        if member.size > MAX_DIRECTORY_BYTES:
            expected, found = f"at most {MAX_DIRECTORY_BYTES} bytes", f"{member.size} bytes"
            raise Unsupported("directory is too large", where=where, expected=expected, found=found)
        if member.interleaved:
            raise Unsupported("interleaved directories are not supported", where=where)
        return b"".join(self.source.read_at(start, size) for start, size in member.sections)

    def _node(self, member: Member) -> Node | None:
        """The node of a member; None for the true place of a relocated directory, which is found by its CL."""
        mode = (MODE_DIRECTORY if member.is_directory else MODE_REGULAR) | 0o555
        mtime = short_date(member.date)
        if self._joliet:
            name, version = split_version(joliet(member.name))
            return Node(self._checked(name, member), version, True, mode, mtime, member, None)
        rock_ridge = None
        if self._skip is not None:
            rock_ridge = read_rock_ridge(self.source, member.system_use[self._skip :], self._where(member))
            if rock_ridge.relocated:
                return None
            if rock_ridge.child_block is not None:
                member = self._relocated(rock_ridge.child_block, member)
                mode = MODE_DIRECTORY | 0o555
            elif rock_ridge.mode is not None:
                mode = self._checked_mode(rock_ridge.mode, member)
            mtime = rock_ridge.mtime if rock_ridge.mtime is not None else mtime
            if rock_ridge.name is not None:
                return Node(self._checked(rock_ridge.name, member), 0, True, mode, mtime, member, rock_ridge)
        name, version = split_version(member.name)
        return Node(self._checked(name.lower(), member), version, False, mode, mtime, member, rock_ridge)

    def _checked(self, name: bytes, member: Member) -> bytes:
        if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
            raise Corrupt("bad name", where=self._where(member), found=repr(name))
        return name

    def _checked_mode(self, mode: int, member: Member) -> int:
        """A PX mode; the directory bit of the record must agree, or data would be read as a directory."""
        if (mode & MODE_FORMAT == MODE_DIRECTORY) != member.is_directory:
            raise Corrupt(
                "Rock Ridge mode contradicts the directory record", where=self._where(member), found=f"{mode:#o}"
            )
        return mode

    def _relocated(self, block: int, placeholder: Member) -> Member:
        """The directory that a CL entry points to, known by its own "." record."""
        where = self._where(placeholder)
        data = self.source.read_at(block * SECTOR_BYTES, SECTOR_BYTES)
        member, _ = parse_record(data, 0, block * SECTOR_BYTES, where)
        if member.name != SELF or not member.is_directory:
            raise Corrupt("relocated directory is not there", where=where, found=f"block {block}")
        return member

    # -- the root

    def _root_member(self, record: bytes) -> Member:
        member, _ = parse_record(record, 0, 0, f"{self.name}: root record")
        if not member.is_directory:
            raise Corrupt("root record is not a directory", where=self.name)
        return member

    def _find_susp(self, root: Member) -> int | None:
        """The bytes to skip in every system use area, None without Rock Ridge.

        The SP entry stands in the root's own "." record (not in the descriptor's copy) and is not skipped itself.
        """
        start = root.sections[0][0]
        where = self._where(root)
        data = self.source.read_at(start, SECTOR_BYTES)
        member, length = parse_record(data, 0, start, where)
        area = member.system_use
        if len(area) < SUSP_SP.size:
            return None
        skip: int
        *mark, skip = SUSP_SP.unpack_from(area)
        if mark != SP_MARK:
            return None
        if read_rock_ridge(self.source, area, where).signatures & RRIP_SIGNATURES:
            return skip
        # SP without any Rock Ridge entry in "." (the extension's name may be all there is): ask its neighbour.
        if length < len(data) and data[length]:
            member, _ = parse_record(data, length, start + length, where)
            if read_rock_ridge(self.source, member.system_use[skip:], where).signatures & RRIP_SIGNATURES:
                return skip
        return None

    def _where(self, member: Member) -> str:
        return f"{self.name}: directory record at byte {member.position:#x}"


def split_version(name: bytes) -> tuple[bytes, int]:
    """An ISO name without ";version" and without the dot of an empty extension, and the version (0: none)."""
    stem, separator, digits = name.rpartition(b";")
    version = 0
    if separator and digits.isdigit() and len(digits) <= 5:
        name, version = stem, int(digits)
    if name.endswith(b".") and len(name) > 1:
        name = name[:-1]
    return name, version


def joliet(name: bytes) -> bytes:
    """A Joliet name (UCS-2, big-endian) as UTF-8; what is not text becomes U+FFFD."""
    return name.decode("utf-16-be", "replace").encode("utf-8", "replace")
