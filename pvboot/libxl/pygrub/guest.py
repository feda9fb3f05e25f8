"""The confined side: find the guest's menu, choose, and copy kernel and ramdisk into the open result files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

import fsdrivers.partitions
import fsdrivers.probe  # noqa: F401
from fsdrivers.api import BlockSource, File, Volume
from fsdrivers.light import TYPE_CHECKING
from pvboot import grub_errors
from pvboot.confine.child import Channel
from pvboot.device_names import Device, read_device
from pvboot.devices import Devices, Disk
from pvboot.errors import BootError, MenuError, PvbootError
from pvboot.grub_errors import GrubError
from pvboot.libxl.deliver import Outputs, deliver
from pvboot.libxl.pygrub.options import Options
from pvboot.menu.dialects import GRUB_CFG, MENU_LST, MenuContext, dialect_of
from pvboot.menu.discovery import MENU_LIMIT_BYTES, find, load, open_path
from pvboot.menu.loads import EntryLoads, GrubPolicy, NamedFile, entry_loads
from pvboot.menu.model import Entry, Menu
from pvboot.safe_text import safe

if TYPE_CHECKING:
    from pvboot.shell.session import Choice

WARNINGS_SHOWN = 20
DEFAULT_SECONDS = 1  # pygrub's time for a menu that names none, or no time to wait
NAME_LIMIT = 200

# Asks somebody at the terminal; None: nobody is there.
Chooser = Callable[[Menu, Devices], "Choice"] | None


class PygrubPolicy(GrubPolicy):
    """pygrub's way to open a file: on the menu's own volume, whatever device was named.

    Here the device comes first: a guest's own disk is often handed over as a partition of another number, so one that
    is not there, or not with this file, does not make it fail.  A file in a disk image is not replaced.
    """

    retried = frozenset(
        {
            grub_errors.FILE_NOT_FOUND,
            grub_errors.CANNOT_MOUNT,
            grub_errors.NO_SUCH_DISK,
            grub_errors.NO_SUCH_PARTITION,
            grub_errors.INVALID_DEVICE,
            grub_errors.BAD_DEVICE_SYNTAX,
        }
    )

    def __init__(self, home: Device) -> None:
        self.home = home

    def place(self, text: str, root: Device | None, *, loops: bool) -> tuple[Device | None, str]:
        """As GRUB's, a device that cannot be read left out; every path counts from the top."""
        try:
            device, path = super().place(text, root, loops=loops)
        except GrubError:
            device, path = self.home, text.partition(")")[2]
        return device, path if path.startswith("/") else f"/{path}"

    def others(self, devices: Devices, device: Device | None, path: str, *, explicit: bool) -> Iterable[Device] | None:
        """The menu's volume."""
        return None if device == self.home or (device is not None and device.kind == "loop") else (self.home,)


class OffsetDevices(Devices):
    """One file system at a known offset, whatever tables the disk has."""

    def volumes(self, drive: int) -> list[Volume]:
        """The one volume."""
        source = self.disks[drive].source
        return [] if source is None else [Volume(source, "none", 0, 0, source.size)]


def read_guest(
    source: BlockSource, options: Options, outputs: Outputs | None, choose: Chooser, channel: Channel
) -> None:
    """Do the whole job; every end is a message: `kernel` and `args` (and `ramdisk`), `text`, or `error`."""
    try:
        devices = _devices(source, options)
        if options.isconfig:
            channel.send("text", _show_config(source, options))
        elif options.list_entries:
            channel.send("text", _list_entries(devices, channel))
        else:
            _boot(devices, options, outputs, choose, channel)
    except PvbootError as err:
        channel.send("error", str(err))


def _devices(source: BlockSource, options: Options) -> Devices:
    if options.offset is None:
        return Devices([Disk(source.name, source)])
    from fsdrivers.blocks import SliceSource

    if options.offset >= source.size:
        raise BootError(
            "--offset is behind the end of the disk", expected=f"less than {source.size}", found=str(options.offset)
        )
    part = SliceSource(source, options.offset, source.size - options.offset, f"{source.name}[{options.offset}]")
    return OffsetDevices([Disk(part.name, part)])


# --- menus ------------------------------------------------------------------------------------------------


def _load_menu(devices: Devices, channel: Channel) -> Menu:
    """Load the guest's menu.  Raises `MenuError`, `FsError` if no menu has an entry."""
    menu = load(devices, find(devices, every_title=True))
    channel.send("note", f"menu {menu.volume or ''}{menu.path} ({menu.dialect}, {len(menu.entries)} entries)")
    for warning in menu.warnings[:WARNINGS_SHOWN]:
        channel.send("warning", str(warning))
    if not menu.entries:
        raise MenuError("the menu has no entry", where=f"{menu.volume or ''}{menu.path}")
    return menu


def named_entry(options: Options, menu: Menu) -> int | None:
    """The entry of --entry; an unknown one or a negative number is the default, silently."""
    wanted = options.entry
    if wanted is None:
        return None
    try:
        index = int(wanted)
    except ValueError:
        names = ((entry.title.strip(), entry.id) for entry in menu.entries)
        return next((index for index, pair in enumerate(names) if wanted in pair), menu.default)
    return index if 0 <= index < len(menu.entries) else menu.default


# --- booting ----------------------------------------------------------------------------------------------


def _boot(devices: Devices, options: Options, outputs: Outputs | None, choose: Chooser, channel: Channel) -> None:
    if options.kernel is not None:
        kernel, ramdisks = _named_files(devices, options)
        _deliver(kernel, ramdisks, options.args, outputs, channel)
        return
    menu = _load_menu(devices, channel)
    failed: list[str] = []
    index = named_entry(options, menu)
    fallback: tuple[int, ...] = ()  # only for what nobody chose
    if index is None and choose is not None:
        choice = choose(menu, devices)
        if choice.lines is not None or choice.outcome is not None or _asks(menu.entries[choice.index], choice):
            _boot_by_hand(devices, menu, choice, options, outputs, channel)
            return
        index, fallback = choice.index, () if choice.by_key else menu.fallback
    elif index is None:
        index, fallback = menu.default, menu.fallback
    for attempt in (index, *(number for number in fallback if number != index)):
        entry = menu.entries[attempt]
        try:
            kernel, ramdisks, args = open_entry(devices, menu, entry)
        except PvbootError as err:
            failed.append(f"entry {attempt} {entry.title[:NAME_LIMIT]!r}: {err}")
            continue
        if failed:
            channel.send("warning", "; ".join(failed))
        channel.send("note", f"entry {attempt} {entry.title[:NAME_LIMIT]!r}, kernel {kernel.path}")
        _deliver(kernel, ramdisks, args + (b" " + options.args if options.args else b""), outputs, channel)
        return
    raise BootError("; ".join(failed))


def _asks(entry: Entry, choice: Choice) -> bool:
    """Return whether somebody at the terminal chose an entry that asks for a password of its own."""
    return choice.by_key and any(command.name == "password" for command in entry.commands)


def _boot_by_hand(
    devices: Devices, menu: Menu, choice: Choice, options: Options, outputs: Outputs | None, channel: Channel
) -> None:
    """Boot what somebody made of an entry in the editor, typed at the prompt, or has to give a password for."""
    from pvboot.screen.plain import terminal_console
    from pvboot.shell.interpreter import run_entry, run_lines
    from pvboot.shell.request import BootRequest

    entry, outcome = menu.entries[choice.index], choice.outcome
    if choice.lines is not None:
        outcome = run_lines(devices, menu, entry, choice.lines, authenticated=choice.authenticated)
    elif outcome is None:
        console = terminal_console(sys.stdin, sys.stdout)
        outcome = run_entry(devices, menu, entry, console=console, authenticated=choice.authenticated)
    if not isinstance(outcome, BootRequest):
        raise BootError("the commands load no kernel")
    args = outcome.cmdline + (b" " + options.args if options.args else b"")
    _deliver(outcome.kernel, [module.file for module in outcome.modules], args, outputs, channel)


def _named_files(devices: Devices, options: Options) -> tuple[File, list[File]]:
    """Open --kernel and --ramdisk on the first file system that has the kernel."""
    assert options.kernel is not None
    device, kernel = open_path(devices, options.kernel)
    return kernel, [devices.mount(device).open(options.ramdisk)] if options.ramdisk else []


def open_entry(devices: Devices, menu: Menu, entry: Entry) -> tuple[File, list[File], bytes]:
    """Open kernel and ramdisks of an entry; return them and its arguments.  Raises `PvbootError`."""
    home = read_device(menu.volume)[0] if menu.volume else Device("hd")
    loads = entry_loads(entry, home, devices)
    if loads.error is not None:
        raise loads.error
    kernel, ramdisks, args = _for_guest(loads)
    if kernel is None:
        raise BootError("the entry names no kernel")
    policy = PygrubPolicy(home)
    files = []
    for named in (kernel, *ramdisks):
        opened = named.opened(devices, policy)
        if opened.file is None:
            raise opened.error or BootError("no such file", where=named.name)
        files.append(opened.file)
    return files[0], files[1:], args.encode("utf-8", "surrogateescape")


def _for_guest(loads: EntryLoads) -> tuple[NamedFile | None, list[NamedFile], str]:
    """Return kernel, ramdisks and arguments, these as typed but for the blanks around them, like pygrub.

    An entry made for a dom0 loads Xen first and Linux as its first module: a guest needs Linux alone.
    """
    kernel, modules, args = loads.kernel, loads.modules, loads.typed_args
    name = kernel.text.rpartition("/")[2] if kernel else ""
    if modules and (name == "xen" or name.startswith(("xen.", "xen-"))):
        kernel, *modules = modules
        args = kernel.args
    return kernel, [*loads.initrds, *modules], args.strip(" \t")


# --- results ----------------------------------------------------------------------------------------------


def _deliver(kernel: File, ramdisks: list[File], args: bytes, outputs: Outputs | None, channel: Channel) -> None:
    channel.send("args", args)
    deliver(kernel, ramdisks, outputs, channel)


# --- looking only -----------------------------------------------------------------------------------------


def _list_entries(devices: Devices, channel: Channel) -> str:
    """List every entry in pygrub's form (pygrub stops at the first without kernel or initrd)."""
    lines: list[str] = []
    try:
        menu: Menu | None = _load_menu(devices, channel)
    except PvbootError as err:
        channel.send("warning", str(err))
        menu = None
    for entry in menu.entries if menu is not None else ():
        loads = entry_loads(entry, None, devices)
        if loads.error is not None:
            channel.send("warning", f"entry {entry.index}: {loads.error}")
        lines.append(
            f"title: {safe(entry.title.strip())}\n  root: {_root_text(loads)}\n  kernel: {_path(loads.kernel)}\n"
            f"  args: {safe(loads.typed_args.strip()) or None}\n  initrd: {_path(*loads.initrds)}\n"
        )
    return "".join(lines)


def _root_text(loads: EntryLoads) -> str:
    """Return `d0p1` for (hd0,1)."""
    device = loads.root
    if device is None:
        return "None"
    return f"d{device.drive}" + ("" if device.partition is None else f"p{device.partition}")


def _path(*files: NamedFile | None) -> str:
    """Return the files' names without their devices."""
    names = [named.text.partition(")")[2] if named.text.startswith("(") else named.text for named in files if named]
    return safe(" ".join(names)) or "None"


def _show_config(source: BlockSource, options: Options) -> str:
    """Show what --isconfig asks for: the image is a menu file itself.  pygrub takes every such file for a grub.cfg."""
    data = source.read_at(0, min(source.size, MENU_LIMIT_BYTES))
    dialect = dialect_of(source.name)
    if dialect == MENU_LST and os.path.basename(source.name) not in ("menu.lst", "grub.conf"):
        dialect = GRUB_CFG
    context = MenuContext(source.name, None, source.name, Devices([]), every_title=True)
    menu = dialect.builder()(data, context)
    if not menu.entries:
        raise MenuError("the menu has no entry", where=source.name)
    index = named_entry(options, menu)
    loads = entry_loads(menu.entries[menu.default if index is None else index], None)
    if loads.error is not None:
        raise loads.error
    kernel, _ramdisks, args = _for_guest(loads)
    args += " " + os.fsdecode(options.args) if options.args else ""
    text = f"  kernel: {_path(kernel)}\n"
    if loads.initrds:
        text += f"  initrd: {_path(*loads.initrds)}\n"
    return text + f"  args: {safe(args)}\n"
