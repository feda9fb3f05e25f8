"""The files that an entry loads, in any dialect: where they are named, and the volume that each is opened on.

This is the one reading behind `pvboot menu`, the checker, the boot loader for xl and the shell.  Commands are read off
and not run: a file that is not there does not hide the next one.
"""

from __future__ import annotations

from collections.abc import Iterable

from fsdrivers.light import TYPE_CHECKING, dataclass, replace
from grammars.commands import Part, read_arguments
from pvboot import grub_errors
from pvboot.device_names import Device, read_device
from pvboot.errors import PvbootError
from pvboot.grub_errors import GrubError
from pvboot.menu.discovery import open_path

if TYPE_CHECKING:
    from fsdrivers.api import File
    from grammars.spans import SourceSpan
    from pvboot.devices import Devices
    from pvboot.menu.model import Command, Entry

_ENDS = ("boot", "halt", "reboot")


class GrubPolicy:
    """GRUB's way to open a file: on the device of its name, else on the root device.

    Until a command sets the root, a file that is not on the menu's volume is looked for on all others.
    """

    retried = frozenset({grub_errors.FILE_NOT_FOUND, grub_errors.CANNOT_MOUNT})

    def place(self, text: str, root: Device | None, *, loops: bool) -> tuple[Device | None, str]:
        """Return the device and the path of a name.  Raises `GrubError`."""
        return read_device(text, root, loops=loops) if text.startswith("(") else (root, text)

    def others(self, devices: Devices, device: Device | None, path: str, *, explicit: bool) -> Iterable[Device] | None:
        """Return the volumes to try next, None for none; `explicit`: the device was named."""
        return devices.candidates() if path.startswith("/") and not explicit else None


GRUB = GrubPolicy()


def open_file(
    devices: Devices,
    text: str,
    root: Device | None,
    *,
    root_named: bool = False,
    loops: bool = False,
    policy: GrubPolicy = GRUB,
) -> tuple[str, File]:
    """Open what `text` names; return its full name, with the device, and the file.

    `root_named`: a command set the root.  `loops`: `(loop0)` and servers are devices, as for every dialect but GRUB
    Legacy's.  Raises `GrubError`, or `FsError` if there is no root and no volume has the file.
    """
    device, path = policy.place(text, root, loops=loops)
    others = policy.others(devices, device, path, explicit=root_named or text.startswith("("))
    problem: GrubError | None = None
    if device is not None:
        try:
            return f"{device}{path}", devices.open_path(device, path)
        except GrubError as err:
            if others is None or err.number not in policy.retried:
                raise
            problem = err
    elif others is None:
        raise GrubError(grub_errors.INVALID_DEVICE, f"{text!r} needs a device, and no root is set")
    try:
        device, file = open_path(devices, path, others)
    except PvbootError:
        if problem is None:
            raise
        raise problem from None
    return f"{device}{path}", file


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that an entry names.

    `role` is "kernel", "initrd", "module" or "menu"; `text` the name as written, `name` with its device, `args` what
    follows it; `span` is the name (the entry's title, where the dialect does not tell).  `root` is the device of a name
    without one.  Once opened, either `file` or `error` is set.
    """

    role: str
    text: str
    name: str
    args: str
    span: SourceSpan
    root: Device | None
    root_named: bool
    loops: bool
    unpack: bool = True
    file: File | None = None
    error: PvbootError | None = None

    @property
    def place(self) -> tuple[Device | None, str]:
        """Device and path of the name; a device that cannot be read is taken for a part of the path."""
        try:
            return GRUB.place(self.text, self.root, loops=self.loops)
        except GrubError:
            return self.root, self.text

    def opened(self, devices: Devices, policy: GrubPolicy = GRUB) -> NamedFile:
        """Return the same with its file, or the error that opening it gave."""
        try:
            name, file = open_file(
                devices, self.text, self.root, root_named=self.root_named, loops=self.loops, policy=policy
            )
        except PvbootError as err:
            return replace(self, error=err)
        return replace(self, name=name, file=file)


class EntryLoads:
    """The files that an entry loads in the end: the last kernel, and the initrds and modules that stay.

    `typed_args` are the kernel's arguments as typed; `named` are all files in order, also those that a later command
    replaces; `menu` is the menu that `configfile` goes on with; `root` is the root device at the end; `roots` are the
    root devices that cannot be set, and where they are named.  `error` says why the entry's script could not be run.
    """

    def __init__(self, root: Device | None) -> None:
        self.kernel: NamedFile | None = None
        self.typed_args = ""
        self.initrds: list[NamedFile] = []
        self.modules: list[NamedFile] = []
        self.named: list[NamedFile] = []
        self.menu: NamedFile | None = None
        self.root = root
        self.root_named = False
        self.roots: list[tuple[SourceSpan, PvbootError]] = []
        self.error: PvbootError | None = None

    @property
    def cmdline(self) -> str:
        """The kernel's command line, "" without a kernel."""
        return self.kernel.args if self.kernel else ""


def entry_loads(
    entry: Entry, root: Device | None, devices: Devices | None = None, policy: GrubPolicy | None = None
) -> EntryLoads:
    """Read what `entry` loads; never raises for what the guest says.

    `root` is the device of names without one until the entry sets another.  With `devices` UUIDs are looked up; with a
    `policy`, too, root devices are checked and files opened.
    """
    reader = _Reader(root, devices, policy)
    if entry.files is None:
        reader.read_commands(entry.commands)
    else:
        reader.read_files(entry)
    return reader.loads


class _Reader:
    def __init__(self, root: Device | None, devices: Devices | None, policy: GrubPolicy | None) -> None:
        self.loads = EntryLoads(root)
        self._devices = devices
        self._policy = policy

    def _name(
        self, role: str, text: str, args: str, span: SourceSpan, *, loops: bool, unpack: bool = True
    ) -> NamedFile:
        loads = self.loads
        name = text if text.startswith("(") else f"{loads.root or ''}{text}"
        named = NamedFile(role, text, name, args, span, loads.root, loads.root_named, loops, unpack)
        if self._devices is not None and self._policy is not None:
            named = named.opened(self._devices, self._policy)
        loads.named.append(named)
        return named

    # -- GRUB Legacy's commands

    def read_commands(self, commands: Iterable[Command]) -> None:
        loads = self.loads
        for command in commands:
            if command.name in ("root", "rootnoverify", "uuid"):
                self._set_root(command)
            elif command.name == "kernel":
                loads.kernel = self._name_in(command, "kernel")
                loads.typed_args = loads.kernel.args
            elif command.name == "initrd":
                loads.initrds, loads.modules = [self._name_in(command, "initrd")], []
            elif command.name in ("module", "modulenounzip"):
                loads.initrds = []
                loads.modules.append(self._name_in(command, "module"))
            elif command.name == "configfile" and command.args:
                loads.menu = self._name_in(command, "menu")
                loads.named.remove(loads.menu)
                break
            elif command.name in _ENDS:
                break

    def _set_root(self, command: Command) -> None:
        if not command.args:
            return
        arguments = read_arguments(command.name, command.args)
        word = arguments.get("device") or arguments.get("uuid")
        try:
            if command.name == "uuid":
                if self._devices is None:
                    return
                device = self._devices.find_uuid(word)
                if device is None:
                    raise GrubError(grub_errors.FILE_NOT_FOUND, f"no file system with UUID {word!r}")
            else:
                device = read_device(word, self.loads.root)[0]
                if command.name == "root" and self._devices is not None and self._policy is not None:
                    self._devices.locate(device)
        except PvbootError as err:
            self.loads.roots.append((replace(command.args_span, length=len(word)), err))
        else:
            self.loads.root, self.loads.root_named = device, True

    def _name_in(self, command: Command, role: str) -> NamedFile:
        arguments = read_arguments(command.name, command.args)
        file = arguments.part("file") or Part("file", "", len(command.args))
        span = replace(command.args_span, column=command.args_span.column + file.start, length=len(file.text))
        unpack = command.name != "modulenounzip"
        return self._name(role, file.text, arguments.get("rest"), span, loops=False, unpack=unpack)

    # -- other dialects

    def read_files(self, entry: Entry) -> None:
        assert entry.files is not None
        loads, span = self.loads, entry.span
        try:
            files = entry.files()
        except PvbootError as err:
            loads.error = err
            return
        if files.root is not None:
            try:
                loads.root, loads.root_named = read_device(files.root, loads.root)[0], True
            except GrubError as err:
                loads.roots.append((span, err))
        if files.kernel is not None:
            loads.kernel = self._name("kernel", files.kernel, files.args, span, loops=True)
            loads.typed_args = files.args if files.typed_args is None else files.typed_args
        loads.initrds = [self._name("initrd", text, "", span, loops=True) for text in files.initrds]
        loads.modules = [self._name("module", text, args, span, loops=True) for text, args in files.modules]
