"""Commands that choose what to boot."""

from __future__ import annotations

from grammars.commands import Arguments
from pvboot import grub_errors
from pvboot.device_names import read_device
from pvboot.grub_errors import GrubError
from pvboot.menu.dialects import dialect_of
from pvboot.menu.discovery import FoundMenu
from pvboot.shell.describe import describe_volume
from pvboot.shell.request import BootRequest, Module, OpenMenu, Outcome, PowerControl, encode_cmdline
from pvboot.shell.state import Shell
from pvboot.shell.table import command

COMMAND_LINE_LIMIT_BYTES = 24576  # of kernel and modules together, GRUB's buffer
MODULE_LINE_LIMIT_BYTES = 4095  # PV-GRUB gives each module one page for it


@command("root", text="Set the device of paths without one and say what it holds; alone, show it.")
def root(shell: Shell, args: Arguments) -> Outcome | None:
    if not args.text:
        device = shell.need_root()
        shell.out(f" {device}:{describe_volume(shell.devices, device)}")
        return None
    device = read_device(args.get("device"), shell.root)[0]
    shell.devices.check(device)
    shell.root, shell.root_named = device, True
    # A file system that cannot be read is not an error here: block lists still work.
    shell.out(describe_volume(shell.devices, device))
    return None


@command("rootnoverify", text="Like root, but do not look at the device.")
def rootnoverify(shell: Shell, args: Arguments) -> Outcome | None:
    if not args.text:
        return root(shell, args)
    shell.root, shell.root_named = read_device(args.get("device"), shell.root)[0], True
    return None


@command("uuid", text="Make the volume whose file system has this UUID the root device.")
def uuid(shell: Shell, args: Arguments) -> Outcome | None:
    wanted = args.get("uuid")
    device = shell.devices.find_uuid(wanted)
    if device is None:
        raise GrubError(grub_errors.FILE_NOT_FOUND, f"no file system with UUID {wanted!r}")
    shell.root, shell.root_named = device, True
    return None


@command("kernel", text="Load a kernel; the rest of the line is for it.")
def kernel(shell: Shell, args: Arguments) -> Outcome | None:
    _check_room(shell, f"{args.get('file')} {args.get('rest')}")
    # Modules loaded before stay, as in PV-GRUB.
    shell.kernel = None
    shell.kernel_name, shell.kernel = shell.open(args.get("file"))
    shell.kernel_args = args.get("rest")
    return None


@command("initrd", text="Load a ramdisk in the place of all modules before; the last one counts.")
def initrd(shell: Shell, args: Arguments) -> Outcome | None:
    if shell.kernel is None:
        raise GrubError(grub_errors.KERNEL_BEFORE_INITRD)
    # GRUB Legacy takes the first word; in an entry of another dialect, edited here, all are joined.
    several = shell.entry is not None and shell.entry.files is not None
    names = args.text.split() if several and args.text else [args.get("file")]
    shell.modules = [Module(file, name, b"", "initrd") for name, file in map(shell.open, names)]
    return None


@command("module", text="Load a module; a ramdisk loaded by initrd before is dropped.")
def module(shell: Shell, args: Arguments) -> Outcome | None:
    return _add_module(shell, args, decompress=True)


@command("modulenounzip", text="Like module, but never unpack the file.")
def modulenounzip(shell: Shell, args: Arguments) -> Outcome | None:
    return _add_module(shell, args, decompress=False)


def _add_module(shell: Shell, args: Arguments, *, decompress: bool) -> Outcome | None:
    if shell.kernel is None:
        raise GrubError(grub_errors.KERNEL_BEFORE_MODULES)
    _check_room(shell, args.text)
    line = encode_cmdline(args.text)
    if len(line) > MODULE_LINE_LIMIT_BYTES:
        raise GrubError(grub_errors.CANNOT_FIT, f"a module's line of {len(line)} bytes")
    name, file = shell.open(args.get("file"))
    kept = [module for module in shell.modules if module.kind == "module"]
    shell.modules = [*kept, Module(file, name, line, "module", decompress)]
    return None


def _check_room(shell: Shell, text: str) -> None:
    used = len(encode_cmdline(text)) + sum(len(module.cmdline) + 1 for module in shell.modules)
    if used + 1 > COMMAND_LINE_LIMIT_BYTES:
        raise GrubError(grub_errors.CANNOT_FIT, f"command lines of {used} bytes, limit {COMMAND_LINE_LIMIT_BYTES}")


@command("boot", text="Start what was loaded.")
def boot(shell: Shell, args: Arguments) -> Outcome | None:
    if shell.kernel is None:
        raise GrubError(grub_errors.NO_KERNEL)
    return BootRequest(shell.kernel, shell.kernel_name, encode_cmdline(shell.kernel_args), tuple(shell.modules))


@command("configfile", text="Go on with another menu.")
def configfile(shell: Shell, args: Arguments) -> Outcome | None:
    name, file = shell.open(args.get("file"))
    device, path = read_device(name)
    return OpenMenu(FoundMenu(device, path, dialect_of(path), file))


@command("chainloader", text="Load a boot sector; a PV guest cannot run one.")
def chainloader(shell: Shell, args: Arguments) -> Outcome | None:
    name, _file = shell.open(args.get("file"))
    raise GrubError(grub_errors.BAD_EXECUTABLE, f"{name}: a boot sector is unsupported in a PV guest")


@command("halt", text="Power the guest off.")
def halt(shell: Shell, args: Arguments) -> Outcome | None:
    return PowerControl("halt")


@command("reboot", text="Restart the guest.")
def reboot(shell: Shell, args: Arguments) -> Outcome | None:
    return PowerControl("reboot")
