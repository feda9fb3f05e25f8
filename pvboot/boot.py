"""The way of a boot on one page: disks -> menu -> entry -> files -> kernel -> domain layout -> hand-over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pvboot.blobs import FileBlob, gunzip, join_ramdisks, ramdisk_of_old_builders, read_whole
from pvboot.devices import Devices
from pvboot.errors import BootError, MenuError
from pvboot.kernel.loader import parse_kernel
from pvboot.kexec.layout import Blob, DomainLayout, plan_layout
from pvboot.kexec.modules import pack_modules
from pvboot.menu import find, load
from pvboot.shell.request import BootRequest, PowerControl
from pvboot.shell.session import Choice, boot_menu, choose_default
from pvboot.shell.state import Console
from pvboot.xen.constants import GUEST_TYPES, SIF_MULTIBOOT_MOD

if TYPE_CHECKING:
    from pvboot.kernel.image import KernelImage
    from pvboot.menu import Menu

COMPAT_OLD_RAMDISK: Final = "xen-4.17"
MAX_FILE_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a caller insists on: the hypervisor's guest types, features, treatment of ramdisks, more arguments."""

    capabilities: tuple[str, ...] = tuple(GUEST_TYPES.values())
    features: str = ""
    compat: str | None = None
    append: bytes = b""
    max_bytes: int = MAX_FILE_BYTES


@dataclass(frozen=True, slots=True)
class LoadedBoot:
    """A request whose kernel was read and understood; the ramdisk is read when it is placed."""

    request: BootRequest
    kernel: KernelImage
    ramdisk: Blob | None
    cmdline: bytes
    flags: int

    def layout(self, nr_pages: int) -> DomainLayout:
        """The domain of `nr_pages` pages for it.  Raises `PlanError`."""
        return plan_layout(self.kernel, nr_pages, ramdisk=self.ramdisk, cmdline=self.cmdline, flags=self.flags)


def boot_from(
    devices: Devices,
    *,
    config: str | None = None,
    choose: Callable[[Menu], Choice] = choose_default,
    options: LoadOptions = LoadOptions(),
    console: Console | None = None,
    interactive: bool = False,
    warn: Callable[[Menu], object] = lambda _menu: None,
    check: Callable[[LoadedBoot], object] = lambda _loaded: None,
) -> LoadedBoot | PowerControl:
    """Find the guest's menu, choose an entry, run it, and load what it names.

    An entry whose kernel is none, or whose files cannot be read, has failed like one whose command fails: the
    menu's fallbacks are next, also where `check` raises.  Raises `PvbootError` or `FsError`.
    """

    def accept(request: BootRequest) -> LoadedBoot:
        loaded = load_request(request, options)
        check(loaded)
        return loaded

    menu = load(devices, find(devices, config))
    warn(menu)
    return boot_menu(devices, menu, accept, choose=choose, console=console, interactive=interactive)


def load_request(request: BootRequest, options: LoadOptions = LoadOptions()) -> LoadedBoot:
    """Read and check the kernel, prepare ramdisk or modules, join the command line."""
    data = read_whole(FileBlob(request.kernel), options.max_bytes, f"the kernel {request.name}")
    kernel = parse_kernel(
        memoryview(data),
        name=request.name,
        max_size=options.max_bytes,
        capabilities=options.capabilities,
        requested_features=options.features,
    )
    del data
    return loaded_boot(request, kernel, options)


def loaded_boot(request: BootRequest, kernel: KernelImage, options: LoadOptions = LoadOptions()) -> LoadedBoot:
    """Prepare ramdisk or modules for a kernel that was read, join the command line."""
    ramdisk, flags = _ramdisk(request, options)
    return LoadedBoot(request, kernel, ramdisk, append_arguments(request.cmdline, options.append), flags)


def _ramdisk(request: BootRequest, options: LoadOptions) -> tuple[Blob | None, int]:
    """The one blob that a PV domain can be given, and its start_info flags."""
    for module in request.modules:
        if module.file.size > options.max_bytes:
            raise BootError(
                f"{module.name} is too large",
                expected=f"at most {options.max_bytes} bytes",
                found=f"{module.file.size} bytes",
            )
        if not module.file.size:
            raise BootError(f"{module.name} is empty")
    modules = [module for module in request.modules if module.kind == "module"]
    if modules:
        contents = [
            (gunzip(FileBlob(module.file)) if module.decompress else FileBlob(module.file), module.cmdline)
            for module in modules
        ]
        return pack_modules(contents), SIF_MULTIBOOT_MOD
    initrds: list[Blob] = [FileBlob(module.file) for module in request.modules]
    if not initrds:
        return None, 0
    return one_ramdisk(initrds, options.compat), 0


def one_ramdisk(initrds: Sequence[Blob], compat: str | None) -> Blob:
    """The initrds joined to one; `compat` "xen-4.17" unpacks a gzip'd one, as domain builders before Xen 4.20 do."""
    joined = join_ramdisks(initrds)
    return ramdisk_of_old_builders(joined) if compat == COMPAT_OLD_RAMDISK else joined


def append_arguments(cmdline: bytes, more: bytes) -> bytes:
    """A command line with further arguments behind it, one blank between them."""
    return b" ".join(part for part in (cmdline, more) if part)


def chooser(entry: str) -> Callable[[Menu], Choice]:
    """Choose by index, title or id; `MenuError` if the menu has no such entry.  Fallbacks are not for a choice."""

    def choose(menu: Menu) -> Choice:
        if entry.isascii() and entry.isdigit() and len(entry) < 10 and int(entry) < len(menu.entries):
            return Choice(int(entry), by_key=True)
        for found in menu.entries:
            if entry in (found.title, found.id):
                return Choice(found.index, by_key=True)
        raise MenuError(
            f"no entry {entry!r}",
            where=f"{menu.volume or ''}{menu.path}",
            expected=f"0 to {len(menu.entries) - 1}, a title or an id",
        )

    return choose
