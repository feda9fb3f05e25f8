"""The disks of a guest behind GRUB's device names: `(hd0,0)/boot/x` -> an open file.

`Devices` finds the volume of a name (read by `device_names`), mounts it when it is first needed, and answers with
GRUB's own error numbers.  Source of the rules: GRUB 0.97 stage2/disk_io.c (setup_part, grub_open).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from fsdrivers import errors as fs_errors
from fsdrivers.light import TYPE_CHECKING, Protocol, dataclass
from pvboot import grub_errors
from pvboot.device_names import NETWORK, Device, read_device
from pvboot.errors import PvbootError
from pvboot.grub_errors import GrubError, first_word, shorten

if TYPE_CHECKING:
    from fsdrivers.api import BlockSource, File, Filesystem, Volume

LOOP_LIMIT = 64  # files of one guest that are taken for disks
LOOP_DEPTH_LIMIT = 4  # of them inside each other
NO_LOOP = Device("loop", LOOP_LIMIT)  # of a name whose file cannot be a disk: reading from it fails


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk of the guest: either a `source` of blocks or a ready `filesystem` (a directory)."""

    name: str
    source: BlockSource | None = None
    filesystem: Filesystem | None = None


@dataclass(frozen=True, slots=True)
class NamedMenu:
    """A menu named in place of a disk: its device (None: none of the guest's), path and file."""

    device: Device | None
    path: str
    file: File
    on_server: bool = False


class Network(Protocol):
    """The servers that menus may use; `pvboot.fetch` has them."""

    config: str | None  # the file that `dhcp --with-configfile` goes on with

    @property
    def default_server(self) -> str:
        """The host of `(nd)`, with its port if that is not the protocol's own."""

    @property
    def url(self) -> str:
        """The URL that `(nd)` stands for."""

    def base(self) -> Filesystem:
        """The file system of `(nd)`."""

    def server(self, protocol: str, name: str) -> Filesystem:
        """All of a server; the name "" is that of `(nd)`.  Raises `GrubError` 12."""

    def choose(self, host: str) -> None:
        """Make another server that of `(nd)`.  Raises `GrubError` 12."""

    def close(self) -> None:
        """Close the connections."""


class Devices:
    """The disks hd0, hd1 ... of one guest; volumes are listed and mounted when first asked for.

    `source_name` is what the user called the guest's disk; `menu` is set when that was a menu itself.  Without a
    `network` no server is ever asked.
    Files that a menu takes for disks are further ones, loop0, loop1 ...; inside, they count behind the guest's own.
    """

    def __init__(
        self,
        disks: Sequence[Disk],
        *,
        source_name: str = "",
        menu: NamedMenu | None = None,
        network: Network | None = None,
    ) -> None:
        self.disks = tuple(disks)
        self.source_name = source_name or (self.disks[0].name if self.disks else "")
        self.menu = menu
        self.network = network
        self._loops: dict[tuple[Device, str], BlockSource | None] = {}
        self._volumes: dict[int, list[Volume]] = {}
        self._mounted: dict[tuple[int, int], Filesystem | fs_errors.FsError] = {}

    def __enter__(self) -> Devices:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all disks; open files must not be used afterwards."""
        for disk in self.disks:
            if disk.source is not None:
                disk.source.close()
        if self.network is not None:
            self.network.close()

    # -- files as disks

    def add_loop(self, device: Device, path: str) -> Device:
        """Make a device whose disk is the content of a file, which is opened when something is read from it.

        The same file is always the same device.  Raises `PvbootError` if there are too many, or too many inside
        each other.
        """
        if (device, path) not in self._loops:
            depth, outer = 1, device
            while outer.kind == "loop":
                depth, outer = depth + 1, list(self._loops)[outer.drive][0]
            for what, limit, found in (
                ("files taken for disks", LOOP_LIMIT, len(self._loops) + 1),
                ("disk images inside each other", LOOP_DEPTH_LIMIT, depth),
            ):
                if found > limit:
                    where = shorten(f"{device}{path}")
                    raise PvbootError(f"too many {what}", where=where, expected=f"at most {limit}", found=str(found))
            self._loops[device, path] = None
        return Device("loop", list(self._loops).index((device, path)))

    def _source(self, drive: int) -> BlockSource | None:
        """The blocks of a disk, None for a directory.  Raises `FsError` if the file of a loop cannot be opened."""
        if drive < len(self.disks):
            return self.disks[drive].source
        device, path = place = list(self._loops)[drive - len(self.disks)]
        if self._loops[place] is None:
            from fsdrivers.blocks import LoopSource

            self._loops[place] = LoopSource(self.mount(device).open(path), f"{device}{path}")
        return self._loops[place]

    def _name(self, drive: int) -> str:
        if drive < len(self.disks):
            return self.disks[drive].name
        return "{}{}".format(*list(self._loops)[drive - len(self.disks)])

    # -- which volumes there are

    def volumes(self, drive: int) -> list[Volume]:
        """The volumes of a disk, [] for a directory.  Raises `FsError` if the disk cannot be read."""
        source = self._source(drive)
        if source is None:
            return []
        if drive not in self._volumes:
            from fsdrivers.partitions import volumes

            self._volumes[drive] = volumes(source)
        return self._volumes[drive]

    def candidates(self, on_error: Callable[[fs_errors.FsError], object] = lambda _err: None) -> Iterator[Device]:
        """Every volume that may hold a file system, disk by disk in the order of the tables; first, the directory of a
        menu that came from a server.

        A disk whose table cannot be read is passed over; `on_error` is told why.
        """
        if self.menu is not None and self.menu.on_server:
            yield Device("nd")
        for drive, disk in enumerate(self.disks):
            if disk.filesystem is not None:
                yield Device("hd", drive)
                continue
            try:
                volumes = self.volumes(drive)
            except fs_errors.FsError as err:
                on_error(err)
                continue
            for volume in volumes:
                yield Device("hd", drive, volume.number - 1 if volume.number else None)

    def find_uuid(self, wanted: str) -> Device | None:
        """Return the first volume whose file system has this UUID, in any case of letters."""
        for device in self.candidates():
            try:
                uuid = self.mount(device).uuid
            except fs_errors.FsError:
                continue
            if uuid and wanted and uuid.lower() == wanted.lower():
                return device
        return None

    def locate(self, device: Device) -> tuple[int, int]:
        """The disk's index and the volume's number (0 is the whole disk) behind a name.

        A disk that is one file system answers as `(hd0)`, `(hd0,0)` and `(hd0,msdos1)` alike.
        Raises `GrubError` 21 for a missing disk, 22 for a missing partition.
        """
        drive = self._drive_of(device)
        if device.partition is None and device.slice is None:
            return drive, 0
        if device.slice is not None:
            raise GrubError(grub_errors.NO_SUCH_PARTITION, f"{device} of {self._name(drive)}: BSD labels are not read")
        assert device.partition is not None
        with _grub_errors():
            volumes = self.volumes(drive)
        number = device.partition + 1
        for volume in volumes:
            if volume.number == number and device.scheme in (None, volume.scheme):
                return drive, number
        table_less = not any(volume.number for volume in volumes)
        if table_less and device.partition == 0:
            return drive, 0
        known = ", ".join(str(volume.number - 1) for volume in volumes if volume.number) or "none"
        raise GrubError(grub_errors.NO_SUCH_PARTITION, f"{device} of {self._name(drive)}, its partitions: {known}")

    def _drive_of(self, device: Device) -> int:
        if device.kind == "hd" and device.drive < len(self.disks):
            return device.drive
        if device.kind == "loop":
            if device.drive < len(self._loops):
                return len(self.disks) + device.drive
            raise GrubError(grub_errors.NO_SUCH_DISK, f"{device} has no file, {len(self._loops)} have one")
        if device.kind == "cd":
            for drive in range(len(self.disks)):
                with suppress(fs_errors.FsError):
                    if self.mount(Device("hd", drive)).kind == "iso9660":
                        return drive
        if device.kind in NETWORK:
            raise GrubError(grub_errors.INVALID_DEVICE, f"{device} is not a disk")
        raise GrubError(grub_errors.NO_SUCH_DISK, f"{device}, this guest has {len(self.disks)} disk(s)")

    def check(self, device: Device) -> None:
        """Raise `GrubError` unless there is such a disk, partition or server; no server is asked."""
        if device.kind in NETWORK:
            self._served(device)
        else:
            self.locate(device)

    def _served(self, device: Device) -> Filesystem:
        if self.network is None:
            raise GrubError(
                grub_errors.INVALID_DEVICE,
                f"{device}: the menu of a local source may use the network only if "
                "--net URL (or PVBOOT_NET in the environment) allows it",
            )
        if device.kind == "nd":
            return self.network.base()
        return self.network.server(device.kind, device.server)

    # -- file systems and files

    def mount(self, device: Device) -> Filesystem:
        """The file system of a device.  Raises `FsError` if none can be read there, `GrubError` 12, 21 and 22."""
        if device.kind in NETWORK:
            return self._served(device)
        drive, number = self.locate(device)
        ready = self.disks[drive].filesystem if drive < len(self.disks) else None
        if ready is not None:
            return ready
        if (drive, number) not in self._mounted:
            self._mounted[drive, number] = self._mount(drive, number)
        mounted = self._mounted[drive, number]
        if isinstance(mounted, fs_errors.FsError):
            raise mounted
        return mounted

    def _mount(self, drive: int, number: int) -> Filesystem | fs_errors.FsError:
        from fsdrivers.probe import probe

        try:
            return probe(self._blocks(drive, number))
        except fs_errors.FsError as err:
            return err

    def _blocks(self, drive: int, number: int) -> BlockSource:
        """The blocks of a whole disk (number 0) or of a partition."""
        source = self._source(drive)
        if source is None:
            raise fs_errors.Unsupported("a directory has no blocks", where=self._name(drive))
        if number == 0:
            return source
        return next(volume.source for volume in self.volumes(drive) if volume.number == number)

    def blocks(self, device: Device) -> BlockSource:
        """The raw bytes behind a device.  Raises `GrubError` 17, 21 and 22."""
        with _grub_errors():
            return self._blocks(*self.locate(device))

    def filesystem(self, device: Device) -> Filesystem:
        """As `mount`, with every failure as a `GrubError` (17 for a volume without a known file system)."""
        with _grub_errors(mounting=True):
            return self.mount(device)

    def open(self, name: str, root: Device) -> File:
        """Open GRUB's FILE: `[DEVICE]/path` or `[DEVICE]` and a block list; it ends at the first blank.

        Raises `GrubError`.
        """
        word = first_word(name)
        device, path = read_device(word, root) if word.startswith("(") else (root, word)
        return self.open_path(device, path)

    def open_path(self, device: Device, path: str) -> File:
        """Open a path (blanks are letters of it) or a block list of a device.  Raises `GrubError`."""
        if not path.startswith("/"):
            from pvboot.blocklist import open_block_list

            if not path:
                raise GrubError(grub_errors.BAD_FILENAME, f"no path behind {device}")
            return open_block_list(path, self.blocks(device))
        filesystem = self.filesystem(device)
        with _grub_errors():
            try:
                return filesystem.open(path)
            except fs_errors.IsADirectory as err:
                if path.endswith("/"):  # GRUB looks for a file of no name in the directory
                    raise GrubError(grub_errors.FILE_NOT_FOUND, str(err)) from err
                raise


@contextmanager
def _grub_errors(*, mounting: bool = False) -> Iterator[None]:
    """Raise the drivers' errors as GRUB's."""
    try:
        yield
    except fs_errors.FsError as err:
        raise translate(err, mounting=mounting) from err


_NUMBERS: tuple[tuple[type[fs_errors.FsError], int], ...] = (
    (fs_errors.NotFound, grub_errors.FILE_NOT_FOUND),
    (fs_errors.NotADirectory, grub_errors.BAD_FILE_TYPE),
    (fs_errors.IsADirectory, grub_errors.BAD_FILE_TYPE),
    (fs_errors.LinkLoop, grub_errors.TOO_MANY_LINKS),
    (fs_errors.SourceError, grub_errors.READ_ERROR),
    (fs_errors.Unsupported, grub_errors.UNREADABLE_WHOLE),
    (fs_errors.Corrupt, grub_errors.INCONSISTENT_FILESYSTEM),
)


def translate(err: fs_errors.FsError, *, mounting: bool = False) -> GrubError:
    """Return the GRUB error for a driver's, with its text as the detail."""
    if mounting and not isinstance(err, fs_errors.SourceError):
        return GrubError(grub_errors.CANNOT_MOUNT, str(err))
    for kind, number in _NUMBERS:
        if isinstance(err, kind):
            return GrubError(number, str(err))
    return GrubError(grub_errors.CANNOT_MOUNT, str(err))
