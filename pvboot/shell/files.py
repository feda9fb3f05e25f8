"""Commands that look at files and disks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from fsdrivers.api import Extent, File
from grammars.commands import Arguments
from pvboot import grub_errors
from pvboot.blocklist import SECTOR_BYTES
from pvboot.device_names import BIOS_HARD_DISK, read_device
from pvboot.grub_errors import GrubError
from pvboot.shell.content import CHUNK_BYTES, content
from pvboot.shell.describe import describe_volume, volume_of
from pvboot.shell.request import Outcome
from pvboot.shell.state import Shell
from pvboot.shell.table import command

PRINT_LIMIT_BYTES = 1 << 20  # of ours: a sparse file of terabytes is not worth waiting for
COMPARE_LIMIT_BYTES = 1 << 30
DIFFERENCES_SHOWN = 10

_PRINTABLE = {*range(0x20, 0x7F), *b"\t\n"}
_AS_PRINTED = bytes(byte if byte in _PRINTABLE else ord("?") for byte in range(256))


@command("cat", text="Print a file; what is not ASCII text becomes '?'.")
def cat(shell: Shell, args: Arguments) -> Outcome | None:
    _name, file = shell.open(args.get("file"))
    for piece in content(file, PRINT_LIMIT_BYTES):
        shell.console.out(piece.translate(_AS_PRINTED, b"\r").decode("ascii"))
    return None


@command("cmp", text="Compare two files and print where they differ.")
def cmp(shell: Shell, args: Arguments) -> Outcome | None:
    names = args.get("file"), args.get("second")
    files = [shell.open(name)[1] for name in names]
    sizes = [sum(len(piece) for piece in content(file, COMPARE_LIMIT_BYTES)) for file in files]
    if sizes[0] != sizes[1]:
        shell.out(f"Differ in size: {sizes[0]:#x} [{names[0]}], {sizes[1]:#x} [{names[1]}]")
        return None
    for at, left, right in islice(_differences(files[0], files[1]), DIFFERENCES_SHOWN):
        shell.out(f"Differ at the offset {at}: {left:#x} [{names[0]}], {right:#x} [{names[1]}]")
    return None


def _differences(left: File, right: File) -> Iterator[tuple[int, int, int]]:
    """Offset and both bytes, for every byte that differs; the files have one size."""
    offset = 0
    pieces = zip(_evenly(left), _evenly(right), strict=True)
    for ours, theirs in pieces:
        if ours != theirs:
            for index, (mine, yours) in enumerate(zip(ours, theirs, strict=True)):
                if mine != yours:
                    yield offset + index, mine, yours
        offset += len(ours)


def _evenly(file: File) -> Iterator[bytes]:
    """The content in pieces of `CHUNK_BYTES`, whatever the unpacker gives."""
    waiting = b""
    for piece in content(file, COMPARE_LIMIT_BYTES):
        waiting += piece
        while len(waiting) >= CHUNK_BYTES:
            yield waiting[:CHUNK_BYTES]
            waiting = waiting[CHUNK_BYTES:]
    yield waiting


@command("find", text="List the devices that have the file.")
def find(shell: Shell, args: Arguments) -> Outcome | None:
    word = args.get("file")
    path = read_device(word, shell.root)[1] if word.startswith("(") else word
    found = False
    for device in shell.devices.candidates():
        try:
            shell.devices.open(path, device)
        except GrubError:
            continue
        shell.out(f" {device}")
        found = True
    if not found:
        raise GrubError(grub_errors.FILE_NOT_FOUND, f"{word!r} is on no volume")
    return None


@command("blocklist", text="Print where the file's sectors lie on its device.")
def blocklist(shell: Shell, args: Arguments) -> Outcome | None:
    name, file = shell.open(args.get("file"))
    device, path = read_device(name)
    volume = volume_of(shell.devices, device)
    start = volume.offset if volume is not None else 0
    runs = ",".join(_sectors(extent, start, path) for extent in file.extents())
    shell.out(f"{device}{runs}")
    return None


def _sectors(extent: Extent, start: int, path: str) -> str:
    """`FIRST+COUNT` of a run on the disk; holes and inline data have no sectors."""
    first, rest = divmod(extent.offset - start, SECTOR_BYTES)
    if extent.fd is None or rest:
        raise GrubError(grub_errors.UNREADABLE_WHOLE, f"{path} is not stored in whole sectors")
    return f"{first}+{-(-extent.length // SECTOR_BYTES)}"


@command("geometry", text="Print the size of a disk and what its partitions hold.")
def geometry(shell: Shell, args: Arguments) -> Outcome | None:
    device, _rest = read_device(args.get("device"), shell.root)
    drive, _number = shell.devices.locate(device)
    disk = shell.devices.disks[drive]
    sectors = disk.source.size // SECTOR_BYTES if disk.source is not None else 0
    shell.out(f"drive {BIOS_HARD_DISK + drive:#x}: The number of sectors = {sectors}, {disk.name}")
    for candidate in shell.devices.candidates():
        if candidate.drive == drive and candidate.partition is not None:
            shell.out(f"   Partition num: {candidate.partition}, {describe_volume(shell.devices, candidate)}")
    return None
