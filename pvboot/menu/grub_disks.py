"""The guest's disks as GRUB 2's shell sees them: names of devices and files, `search`, wildcards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from fsdrivers import errors as fs_errors
from fsdrivers.light import TYPE_CHECKING, dataclass
from pvboot.device_names import NETWORK, Device
from pvboot.devices import Devices
from pvboot.errors import MenuError, PvbootError
from pvboot.grub_errors import shorten
from pvboot.menu.grub2_rules import read_device_name, split_name

if TYPE_CHECKING:
    from fsdrivers.api import Filesystem, Stat

FILE_LIMIT_BYTES = 1 << 20
MATCH_LIMIT = 1000  # names that one wildcard may become
NAMES_LIMIT = 10_000  # names of a directory that are compared
LOOKUP_COST = 10  # steps of a script


@dataclass(frozen=True, slots=True)
class RootContext:
    """Where a script stands: its `root`, and the names that its `loopback` commands have given, oldest first."""

    root: str
    loops: Mapping[str, Device]


class Disks:
    """Files by GRUB 2's names; `home` is the volume of the menu, None for a menu outside of any disk.

    What a device holds never changes while a menu is read, so answers are remembered.  `charge` is told, in
    steps of a script, what looking costs.
    """

    def __init__(self, devices: Devices, home: Device | None, charge: Callable[[int], None]) -> None:
        self.devices = devices
        self.charge = charge
        self.home = home
        self._stats: dict[tuple[Device, str], Stat | None] = {}
        self._searches: dict[tuple[str, str, tuple[tuple[str, Device], ...]], str | None] = {}

    def name_of(self, device: Device) -> str:
        """`hd0,msdos1` for the volume (hd0,0)."""
        if device.kind in NETWORK:
            return str(device)[1:-1]
        if device.partition is None:
            return f"{device.kind}{device.drive}"
        scheme = device.scheme
        try:
            for volume in self.devices.volumes(device.drive):
                if volume.number == device.partition + 1:
                    scheme = volume.scheme
        except (fs_errors.FsError, IndexError):
            pass  # then nobody will open it either
        return f"{device.kind}{device.drive},{scheme or ''}{device.partition + 1}"

    def locate(self, name: str, loops: Mapping[str, Device]) -> Device | None:
        """The volume that GRUB 2 calls `name` if this guest has it."""
        device = read_device_name(name, loops)
        if device is None or (device.kind == "hd" and device.drive >= len(self.devices.disks)):
            return None
        try:
            if device.kind in NETWORK:
                self.devices.check(device)
                return device
            drive, number = self.devices.locate(device)
        except PvbootError:
            return None
        partition = number - 1 if number else None
        return Device("loop", device.drive, partition) if device.kind == "loop" else Device("hd", drive, partition)

    def resolve(self, name: str, place: RootContext) -> tuple[Device, str] | None:
        """The volume and path that `[(DEVICE)]/path` means; None if the guest has no such volume."""
        where, path = split_name(name)
        device = self.locate(place.root if where is None else where, place.loops)
        return (device, path) if device is not None else None

    def stat(self, name: str, place: RootContext) -> Stat | None:
        """What stands under a name, None if nothing that can be reached."""
        found = self.resolve(name, place)
        if found is None:
            return None
        device, path = found
        return self._stat(device, "/" + path.strip("/"))

    def _stat(self, device: Device, path: str) -> Stat | None:
        if (device, path) not in self._stats:
            self.charge(LOOKUP_COST)
            try:
                self._stats[device, path] = self.devices.mount(device).lookup(path)
            except PvbootError:
                self._stats[device, path] = None
        return self._stats[device, path]

    def read(self, name: str, place: RootContext) -> bytes:
        """The file's bytes up to the limit.  Raises `FsError`, `GrubError`, `MenuError` for an unknown device."""
        found = self.resolve(name, place)
        if found is None:
            raise MenuError("no such device", where=shorten(name), found=f"root is {shorten(place.root)!r}")
        self.charge(LOOKUP_COST)
        return self.devices.mount(found[0]).open(found[1]).read_at(0, FILE_LIMIT_BYTES)

    def boot_name(self, name: str, place: RootContext) -> str:
        """The name of a file that is to be booted, in the form of `BootFiles`.

        If the guest has no such device, or the device no such file while the menu's own volume has it (images of
        single partitions keep the numbers of the disk they came from), the menu's volume is meant.
        """
        where, path = split_name(name)
        named = read_device_name(place.root if where is None else where, place.loops)
        if named is not None and named.kind in ("loop", *NETWORK):  # another volume's file is no substitute
            return f"{named}{path}"
        found = self.resolve(name, place)
        if found is None and where is not None and self.home is None:
            raise MenuError("no such device", where=shorten(name))
        if found is None:
            return f"{self.home or ''}{path}"
        device = found[0]
        home = self.home
        if home is None or home == device or not path.startswith("/"):
            return f"{device}{path}"
        if self._stat(device, path) is None and self._stat(home, path) is not None:
            device = home
        return f"{device}{path}"

    def search(self, kind: str, wanted: str, loops: Mapping[str, Device]) -> str | None:
        """The name of the first volume that has the "uuid", "label" or "file"; the newest loop comes first."""
        question = kind, wanted, tuple(loops.items())
        if question not in self._searches:
            self._searches[question] = self._search(kind, wanted, loops)
        return self._searches[question]

    def _search(self, kind: str, wanted: str, loops: Mapping[str, Device]) -> str | None:
        for name, device in reversed(list(loops.items())):
            if self._has(device, kind, wanted):
                return name
        for device in self.devices.candidates():
            if self._has(device, kind, wanted):
                return self.name_of(device)
        return None

    def _has(self, device: Device, kind: str, wanted: str) -> bool:
        self.charge(LOOKUP_COST)
        try:
            return _fits(self.devices.mount(device), kind, wanted)
        except PvbootError:
            return False

    # -- wildcards

    def expand(self, pattern: Sequence[tuple[str, bool]], place: RootContext) -> list[str]:
        """The files that a word with `*` and `?` stands for, sorted, [] if there are none.

        `pattern` is the word letter by letter; a wildcard counts where it is marked True.
        """
        where, path = split_name("".join(letter for letter, _wild in pattern))
        prefix = "" if where is None else f"({where})"
        device = self.locate(place.root if where is None else where, place.loops)
        if not path.startswith("/") or device is None:
            return []
        found = [""]
        part: list[tuple[str, bool]] = []
        for letter, wild in (*pattern[len(prefix) + 1 :], ("/", False)):
            if letter != "/":
                part.append((letter, wild and letter in "*?"))
                continue
            found = list(islice(self._step(device, found, part), MATCH_LIMIT))
            part = []
        return sorted(prefix + name for name in found)

    def _step(self, device: Device, found: list[str], part: list[tuple[str, bool]]) -> Iterator[str]:
        """Every name found so far with one component more."""
        plain = "".join(letter for letter, _wild in part)
        if not any(wild for _letter, wild in part):
            yield from (f"{name}/{plain}" for name in found if self._stat(device, f"{name}/{plain}") is not None)
            return
        for name in found:
            try:
                names = list(islice(self.devices.mount(device).names(name or "/"), NAMES_LIMIT))
            except PvbootError:
                continue
            self.charge(len(names))
            for child in names:
                if (plain.startswith(".") or not child.startswith(".")) and _matches(part, child):
                    yield f"{name}/{child}"


def _matches(pattern: Sequence[tuple[str, bool]], name: str) -> bool:
    """Whether a name fits; after a miss only the last `*` takes one letter more, so time stays bounded."""
    at = place = 0
    star, taken = -1, 0
    while place < len(name):
        letter, wild = pattern[at] if at < len(pattern) else ("", False)
        if wild and letter == "*":
            star, taken = at, place
            at += 1
        elif at < len(pattern) and (letter == name[place] or wild):
            at += 1
            place += 1
        elif star >= 0:
            taken += 1
            at, place = star + 1, taken
        else:
            return False
    return all(wild and letter == "*" for letter, wild in pattern[at:])


def _fits(filesystem: Filesystem, kind: str, wanted: str) -> bool:
    if kind == "uuid":
        return filesystem.uuid is not None and filesystem.uuid.lower() == wanted.lower()
    if kind == "label":
        return filesystem.label == wanted
    return filesystem.lookup(wanted if wanted.startswith("/") else f"/{wanted}").kind == "file"
