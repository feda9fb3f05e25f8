"""What an entry says it would load, read off its commands without running them or touching any disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pvboot.device_names import Device, read_device
from pvboot.errors import PvbootError
from pvboot.grub_errors import GrubError, first_word, skip_word
from pvboot.menu.model import BootFiles, Entry

KERNEL_OPTIONS = ("--type=", "--no-mem-option")


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file an entry names: `path` less its device, `args` what follows it."""

    path: str
    args: str


@dataclass(frozen=True, slots=True)
class EntrySummary:
    """`root` is the device that `kernel` is relative to; `modules` are all files handed to the kernel, in
    order, `initrds` those of them that `initrd` named."""

    root: Device | None
    kernel: LoadedFile | None
    modules: tuple[LoadedFile, ...]
    initrds: tuple[LoadedFile, ...]


def summarise(
    entry: Entry, root: Device | None, find_uuid: Callable[[str], Device | None] = lambda _uuid: None
) -> EntrySummary:
    """What would be loaded; `root` is the device paths are relative to until the entry names one.

    `find_uuid` answers Ubuntu's `uuid` command.  A command with bad arguments is passed over: it will fail
    when the entry is run, and say why.
    """
    if entry.files is not None:
        try:
            return _summarise_files(entry.files(), root)
        except PvbootError:
            return EntrySummary(root, None, (), ())
    kernel: LoadedFile | None = None
    kernel_device: Device | None = None
    modules: list[LoadedFile] = []
    initrds: list[LoadedFile] = []
    for command in entry.commands:
        if command.name in ("root", "rootnoverify"):
            root = _device_or(command.args, root)
        elif command.name == "uuid":
            root = find_uuid(first_word(command.args)) or root
        elif command.name == "kernel":
            kernel_device, kernel = _file(skip_kernel_options(command.args), root)
        elif command.name == "initrd":
            modules = initrds = [_file(first_word(command.args), root)[1]]
        elif command.name in ("module", "modulenounzip"):
            if modules is initrds:  # an initrd before the first module is dropped
                modules, initrds = [], []
            modules.append(_file(command.args, root)[1])
        elif command.name == "boot":
            break
    return EntrySummary(kernel_device if kernel else root, kernel, tuple(modules), tuple(initrds))


def _summarise_files(files: BootFiles, root: Device | None) -> EntrySummary:
    if files.root is not None:
        root = _device_or(files.root, root)
    initrds = tuple(LoadedFile(_place(name, root)[1], "") for name in files.initrds)
    modules = tuple(LoadedFile(_place(name, root)[1], args) for name, args in files.modules)
    if files.kernel is None:
        return EntrySummary(root, None, modules + initrds, initrds)
    device, path = _place(files.kernel, root)
    return EntrySummary(device, LoadedFile(path, files.args), modules + initrds, initrds)


def skip_kernel_options(args: str) -> str:
    """`kernel`'s argument without its leading options."""
    while args.startswith(KERNEL_OPTIONS):
        args = skip_word(args)
    return args


def _file(text: str, root: Device | None) -> tuple[Device | None, LoadedFile]:
    """The device that a file stands on, and the file."""
    device, path = _place(first_word(text), root, loops=False)
    return device, LoadedFile(path, skip_word(text))


def _place(name: str, root: Device | None, *, loops: bool = True) -> tuple[Device | None, str]:
    try:
        return read_device(name, root, loops=loops) if name.startswith("(") else (root, name)
    except GrubError:
        return root, name


def _device_or(text: str, root: Device | None) -> Device | None:
    try:
        return read_device(text, root)[0]
    except GrubError:
        return root
