"""The types that hold the drivers together.

Paths are `str`; bytes that are not UTF-8 are kept as surrogate escapes (`os.fsdecode` rules), so that
every name on disk can be asked for.  Offsets and sizes are in bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

from fsdrivers.light import Protocol, dataclass


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of consecutive bytes and where they are.

    * `fd` is set: `length` bytes at `offset` of that descriptor (copy_file_range, sendfile, pread apply);
    * `data` is set: the bytes themselves (inline data, journal replay, decompressed clusters);
    * neither: a hole, `length` zero bytes.
    """

    length: int
    fd: int | None = None
    offset: int = 0
    data: bytes | None = None


class BlockSource(Protocol):
    """Random access to the bytes of a disk, a partition or an image; nothing is loaded up front."""

    @property
    def name(self) -> str:
        """The name used in messages."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset`; `SourceError` if any of them is outside or unreadable."""

    def extents(self, offset: int, size: int) -> Iterator[Extent]:
        """The runs behind the range, in order, adding up to exactly `size`."""

    def close(self) -> None:
        """Close its descriptors.  Extents and files of it must not be used afterwards."""


@dataclass(frozen=True, slots=True)
class Stat:
    """Facts about one file system object.

    `kind` is "file", "dir", "symlink" or "other"; `size` in bytes; `target` the text of a symbolic link;
    `inode` a number that is equal for equal objects of one file system.
    """

    kind: str
    size: int
    inode: int
    mode: int = 0
    mtime: int = 0
    target: str | None = None


@dataclass(frozen=True, slots=True)
class DirEntry:
    """One name in a directory and the facts about its object (links are not followed)."""

    name: str
    stat: Stat


class File(Protocol):
    """An open regular file."""

    @property
    def path(self) -> str:
        """The path it was opened by."""

    @property
    def size(self) -> int:
        """Size in bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end of the file."""

    def extents(self) -> Iterator[Extent]:
        """The whole file as runs, physically adjacent ones joined, adding up to `size`."""


class Filesystem(Protocol):
    """A mounted (read-only) file system."""

    @property
    def kind(self) -> str:
        """ "ext2", "ext3", "ext4", "iso9660", "dir" ..."""

    @property
    def label(self) -> str | None:
        """Volume label, None if there is none."""

    @property
    def uuid(self) -> str | None:
        """UUID as `blkid` and GRUB print it, None if there is none."""

    def lookup(self, path: str, *, follow: bool = True) -> Stat:
        """Facts about a path; `follow=False` does not follow a link in the last component.

        Raises `NotFound`, `NotADirectory`, `LinkLoop`, `Corrupt`, `Unsupported`, `SourceError`.
        """

    def listdir(self, path: str) -> Iterator[DirEntry]:
        """The names in a directory in on-disk order, without "." and ".."."""

    def names(self, path: str) -> Iterator[str]:
        """As `listdir`, but names only: their objects are not read."""

    def open(self, path: str) -> File:
        """Open a regular file, links followed."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A part of a disk that may hold a file system.

    `scheme` is "none" (the whole disk without a table), "msdos" or "gpt"; `number` counts from 1 as GRUB 2
    and Linux do (logical partitions from 5), 0 for the whole disk.  GRUB Legacy's number is `number - 1`.
    `type_id` is the MBR type ("0x83") or the GPT type GUID; `label` and `uuid` are the table's, not the
    file system's.  `source` reads the volume's own bytes (0 is its first byte); `offset` tells where on the
    disk it starts.
    """

    source: BlockSource
    scheme: str
    number: int
    offset: int
    size: int
    type_id: str = ""
    label: str | None = None
    uuid: str | None = None
    active: bool = False
