"""The commands of `grub.cfg`: what each does to the run that calls it.

Those that matter for what is booted are here in full, those for screens, modules and keys are taken note of; any
other is unknown, which is a warning.  `regexp` is not supported: it fails, as for a text that does not match.
Source: GRUB 2.06 (grub-core/commands, grub-core/normal), measured with grub-emu.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise

from grammars.grub_cfg import Command, Script, Word, parse, parse_text
from pvboot.device_names import Device
from pvboot.devices import LOOP_LIMIT, NO_LOOP
from pvboot.errors import MenuError, PvbootError
from pvboot.grub_errors import shorten
from pvboot.menu import grub_env, grub_test
from pvboot.menu.grub2_rules import join_arguments, read_device_name, read_unsigned
from pvboot.menu.grub_disks import LOOKUP_COST
from pvboot.menu.grub_script import Exhausted, Handler, Interpreter, Level, Loaded, Node, Stopped, block_body

FILE_DEPTH_LIMIT = 10  # files that read files
ENTRY_LIMIT = 20_000

_LOOP_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,64}")

COMMANDS: dict[str, Handler] = {}


class MenuShown(Exception):  # noqa: N818  (control flow)
    """`configfile` or `normal` has made another menu, which now stands in the place of this one."""

    def __init__(self, level: Level) -> None:
        super().__init__("another menu")
        self.level = level


def _command(*names: str) -> Callable[[Handler], Handler]:
    def enter(handler: Handler) -> Handler:
        for name in names:
            COMMANDS[name] = handler
        return handler

    return enter


def read_options(
    args: Sequence[str], takes_value: Mapping[str, bool | None], short: Mapping[str, str]
) -> tuple[dict[str, str | None], list[str]]:
    """Options and the words that are none.

    `takes_value` says of each long option whether a value follows (None: only if the next word is no option);
    `short` gives the letters.  What is no known option is a word, as for GRUB's commands that accept dashes.
    """
    options: dict[str, str | None] = {}
    words: list[str] = []
    at = 0
    while at < len(args):
        word = args[at]
        at += 1
        if word == "--":
            words += args[at:]
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            names, given = [name], value if equals else None
        elif len(word) > 1 and word.startswith("-") and all(letter in short for letter in word[1:]):
            names, given = [short[letter] for letter in word[1:]], None
        else:
            names, given = [], None
        if not names or any(name not in takes_value for name in names):
            words.append(word)
            continue
        for name in names:
            wants = takes_value[name]
            if wants is not False and given is None and at < len(args):
                following = args[at]
                if wants or len(following) < 2 or not following.startswith("-"):
                    given = following
                    at += 1
            options[name] = given
            given = None
    return options, words


# --- entries ----------------------------------------------------------------------------------------------

_ENTRY_OPTIONS = {"class": True, "users": True, "hotkey": True, "source": True, "id": True, "unrestricted": False}


@_command("menuentry", "submenu")
def _menuentry(run: Interpreter, args: Sequence[str], command: Command) -> int:
    options, words = read_options(args, _ENTRY_OPTIONS, {})
    source = options.get("source")
    if run.level is None:
        run.warn("an entry inside of an entry is left out", command, "misplaced")
        return 1
    if not words or (source is None) is (command.block is None):
        run.warn("an entry without a title or a body is left out", command, "argument")
        return 1
    if len(run.level.nodes) >= ENTRY_LIMIT:
        raise Exhausted(f"only the first {ENTRY_LIMIT} entries of a menu are read")
    body = block_body(command.block) if source is None else _parse(run, source).statements
    restricted = "users" in options or "unrestricted" not in options
    run.level.nodes.append(
        Node(
            words[0],
            options.get("id") or words[0],
            command.span,
            tuple(words),
            body,
            restricted,
            run.called == "submenu",
        )
    )
    return 0


def _parse(run: Interpreter, text: str) -> Script:
    run.shared.budget.charge(len(text) // 16)
    return parse_text(text, "text of a command")


@_command("linux", "linux16", "linuxefi")
def _linux(run: Interpreter, args: Sequence[str], command: Command) -> int:
    if not args:
        run.warn("a kernel's file name is missing", command, "argument")
        return 1
    _look_for_unset(run, command.words[1:2], command)
    early = run.loaded.initrds if run.loaded.kernel is None and run.loaded.hypervisor is None else ()
    # The old kernel goes whatever becomes of the new one.
    run.loaded = Loaded(_boot_name(run, args[0]), join_arguments(args[1:]), early, _typed(args[1:], command))
    return 0


def _look_for_unset(run: Interpreter, words: Sequence[Word], command: Command) -> None:
    """A variable that nobody has set leaves a hole in the name of a file."""
    for word in words:
        for kind, name in word.pieces:
            unset = kind.endswith("variable") and name not in run.environment.values and not name.isdigit()
            if unset and name not in "#*@?" and len(word.pieces) > 1:
                span = command.source.span(word.start, word.end)
                run.shared.warn(f"the variable {shorten(name, 40)!r} is not set", span, "unset-variable")


def _typed(arguments: Sequence[str], command: Command) -> str | None:
    """The arguments with the blanks of the menu between them; None if an expansion made more or fewer words."""
    words = command.words[-len(arguments) :] if arguments else ()
    if len(command.words) != len(arguments) + 2:
        return None
    text = command.source.text
    gaps = ["", *(text[left.end : right.start] for left, right in pairwise(words))]
    if any(gap.strip(" \t") for gap in gaps):
        return None
    return "".join(gap + join_arguments([word]) for gap, word in zip(gaps, arguments, strict=False))


@_command("initrd", "initrd16", "initrdefi")
def _initrd(run: Interpreter, args: Sequence[str], command: Command) -> int:
    names = []
    _look_for_unset(run, command.words[1:], command)
    for word in args:
        if word.startswith("newc:"):
            run.warn("'newc:' is not supported, the file is left out", command)
        elif word:
            names.append(_boot_name(run, word))
    run.loaded.initrds = tuple(names)
    return 0


@_command("multiboot", "multiboot2", "xen_hypervisor")
def _multiboot(run: Interpreter, args: Sequence[str], command: Command) -> int:
    words = [word for word in args if not word.startswith("--")]
    if not words:
        run.warn("a file name is missing", command, "argument")
        return 1
    run.loaded = Loaded(hypervisor=_boot_name(run, words[0]), args=join_arguments(words[1:]))
    return 0


@_command("module", "module2", "xen_module")
def _module(run: Interpreter, args: Sequence[str], command: Command) -> int:
    words = list(args)
    while words and words[0].startswith("--"):
        del words[0]
    if not words or run.loaded.hypervisor is None:
        run.warn("a module without a file name, or without a multiboot kernel before it, is left out", command)
        return 1
    run.loaded.modules.append((_boot_name(run, words[0]), join_arguments(words[1:])))
    return 0


def _boot_name(run: Interpreter, name: str) -> str:
    return run.shared.disks.boot_name(name, run.environment.place)


@_command("boot", "exit", "normal_exit", "reboot", "halt", "fwsetup", "poweroff")
def _stop(run: Interpreter, _args: Sequence[str], _command: Command) -> int:
    raise Stopped(run.called)


@_command("chainloader")
def _chainloader(run: Interpreter, _args: Sequence[str], command: Command) -> int:
    """Another boot loader is nothing that a PV guest can start."""
    run.loaded = Loaded()
    run.warn("'chainloader' is not supported", command, "chainloader")
    return 0


# --- variables --------------------------------------------------------------------------------------------


@_command("set")
def _set(run: Interpreter, args: Sequence[str], command: Command) -> int:
    if not args:
        return 0
    name, equals, value = args[0].partition("=")
    if not equals:
        run.warn(f"{shorten(args[0], 40)!r} is no assignment", command, "argument")
        return 1
    run.environment.set(name, value)
    return 0


@_command("unset")
def _unset(run: Interpreter, args: Sequence[str], _command: Command) -> int:
    if not args:
        return 1
    run.environment.values.pop(args[0], None)
    return 0


@_command("export")
def _export(run: Interpreter, args: Sequence[str], _command: Command) -> int:
    run.environment.exported.update(args)
    return 0 if args else 1


@_command("load_env")
def _load_env(run: Interpreter, args: Sequence[str], command: Command) -> int:
    options, names = read_options(args, {"file": True, "skip-sig": False}, {"f": "file", "s": "skip-sig"})
    name = options.get("file") or f"{run.environment.get('prefix')}/grubenv"
    data = _read(run, name, command, "unread-environment")
    if data is None:
        return 1
    values = grub_env.read_block(data)
    if values is None:
        run.warn(f"{shorten(name)} is no environment block", command, "grubenv")
        return 1
    for key, value in values.items():
        run.shared.budget.charge(1)
        if not names or key in names:
            run.environment.set(key, value)
    return 0


@_command(
    "search", "search.fs_uuid", "search.fs_label", "search.file", "search_fs_uuid", "search_label", "search_fs_file"
)
def _search(run: Interpreter, args: Sequence[str], command: Command) -> int:
    """Sets a variable to the first volume that fits; leaves it alone if there is none."""
    kind, wanted, variable = _read_search(run.called, args)
    if kind is None or wanted is None:
        run.warn("'search' does not say what to look for", command, "argument")
        return 1
    found = run.shared.disks.search(kind, wanted, run.environment.loops)
    if found is None:
        run.warn(f"no volume with the {kind} {shorten(wanted)!r}", command, "search-failed")
        return 1
    if variable is not None:
        run.environment.set(variable, found)
    return 0


_SEARCH_OPTIONS: dict[str, bool | None] = {
    "file": False,
    "label": False,
    "fs-uuid": False,
    "set": None,
    "no-floppy": False,
    "efidisk-only": False,
    "root-dev-only": False,
    "hint": True,
    "hint-ieee1275": True,
    "hint-bios": True,
    "hint-baremetal": True,
    "hint-efi": True,
    "hint-arc": True,
}
_SEARCH_LETTERS = {"f": "file", "l": "label", "u": "fs-uuid", "s": "set", "n": "no-floppy", "h": "hint"}
_SEARCH_KINDS = {"file": "file", "label": "label", "fs-uuid": "uuid"}
_SEARCH_NAMES = {
    "search.fs_uuid": "uuid",
    "search_fs_uuid": "uuid",
    "search.fs_label": "label",
    "search_label": "label",
    "search.file": "file",
    "search_fs_file": "file",
}


def _read_search(name: str, args: Sequence[str]) -> tuple[str | None, str | None, str | None]:
    """Kind, what to look for, variable."""
    short = _SEARCH_NAMES.get(name)
    if short is not None:
        words = [word for word in args if word != "--no-floppy"]
        return short, words[0] if words else None, words[1] if len(words) > 1 else None
    options, words = read_options(args, _SEARCH_OPTIONS, _SEARCH_LETTERS)
    kind = next((kind for option, kind in _SEARCH_KINDS.items() if option in options), None)
    variable = (options["set"] or "root") if "set" in options else None
    if words:
        return kind, words[0], variable
    return kind, options.get("set"), "root"  # old menus: `search --fs-uuid --set UUID`


@_command("loopback")
def _loopback(run: Interpreter, args: Sequence[str], command: Command) -> int:
    """A file becomes a disk.  A name whose file cannot be opened is kept: what is read from it tells why."""
    options, words = read_options(args, {"delete": False, "decompress": False}, {"d": "delete", "D": "decompress"})
    loops = run.environment.loops
    if len(words) < (1 if "delete" in options else 2):
        run.warn("'loopback' needs a name and a file", command, "argument")
        return 1
    name = words[0]
    if "delete" in options:
        return 0 if loops.pop(name, None) else 1
    if not _LOOP_NAME.fullmatch(name) or read_device_name(name) is not None:
        run.warn(f"{shorten(name, 40)!r} cannot be the name of a loop", command)
        return 1
    disks = run.shared.disks
    found = disks.resolve(words[1], run.environment.place)
    loops.pop(name, None)
    if len(loops) >= LOOP_LIMIT:
        run.warn(f"{name!r}: more than {LOOP_LIMIT} loops", command)
        return 1
    disks.charge(LOOKUP_COST)
    loops[name] = NO_LOOP
    try:
        if found is None:
            raise MenuError("no such device")
        loops[name] = disks.devices.add_loop(*found)
        disks.devices.blocks(loops[name])
    except PvbootError as err:
        run.warn(f"{shorten(words[1])} is no disk: {err}", command, "loopback")
        return 1
    return 0


# --- control flow -----------------------------------------------------------------------------------------


@_command("test", "[")
def _test(run: Interpreter, args: Sequence[str], _command: Command) -> int:
    return 0 if grub_test.evaluate(args, _TestFiles(run)) else 1


class _TestFiles:
    """File tests with the root that is set now."""

    def __init__(self, run: Interpreter) -> None:
        self._run = run

    def kind(self, name: str) -> str | None:
        stat = self._run.shared.disks.stat(name, self._run.environment.place)
        return stat.kind if stat else None

    def size(self, name: str) -> int:
        stat = self._run.shared.disks.stat(name, self._run.environment.place)
        return stat.size if stat and stat.kind == "file" else 0

    def mtime(self, name: str) -> int | None:
        stat = self._run.shared.disks.stat(name, self._run.environment.place)
        return stat.mtime if stat else None


@_command("break", "continue")
def _leave_loops(run: Interpreter, args: Sequence[str], _command: Command) -> int:
    count, found = read_unsigned(args[0]) if args else (1, True)
    if not found or not count or len(args) > 1:
        return 1
    run.leave_loops(count, again=run.called == "continue")
    return 0


@_command("return")
def _return(run: Interpreter, args: Sequence[str], command: Command) -> int:
    if run.parameters is None or len(args) > 1:
        run.warn("'return' outside of a function", command, "misplaced")
        return 1
    status, found = read_unsigned(args[0] if args else run.environment.get("?"))
    if args and not found:
        return 1
    run.leave_function()
    return status


@_command("shift")
def _shift(run: Interpreter, args: Sequence[str], _command: Command) -> int:
    if run.parameters is None:
        return 0
    count = read_unsigned(args[0])[0] if args else 1
    if count > len(run.parameters) or len(args) > 1:
        return 1
    del run.parameters[:count]
    return 0


@_command("setparams")
def _setparams(run: Interpreter, args: Sequence[str], _command: Command) -> int:
    if run.parameters is None:
        return 1
    run.parameters[:] = args
    return 0


@_command("eval")
def _eval(run: Interpreter, args: Sequence[str], _command: Command) -> int:
    return run.run_script(_parse(run, " ".join(args)))


# --- other files ------------------------------------------------------------------------------------------


@_command("source", ".")
def _source(run: Interpreter, args: Sequence[str], command: Command) -> int:
    script = _load(run, args[0] if args else "", command)
    if script is None:
        return 1
    run.file_depth += 1
    try:
        return run.run_script(script)
    finally:
        run.file_depth -= 1


@_command("configfile", "normal")
def _configfile(run: Interpreter, args: Sequence[str], command: Command) -> int:
    """Another menu in a new context; if it has an entry it takes over."""
    name = args[0] if args else f"{run.environment.get('prefix')}/grub.cfg"
    script = _load(run, name, command)
    if script is None:
        return 1
    level = Level(run.environment.child())
    inner = Interpreter(run.shared, run.commands, level.environment, level)
    inner.file_depth, inner.depth = run.file_depth + 1, run.depth
    with suppress(Stopped):  # what it has defined so far is its menu
        inner.run_script(script)
    if level.nodes:
        raise MenuShown(level)
    return 0


def _load(run: Interpreter, name: str, command: Command) -> Script | None:
    if not name:
        run.warn("a file name is missing", command, "argument")
        return None
    if run.file_depth >= FILE_DEPTH_LIMIT:
        run.warn(f"{shorten(name)} is not read: more than {FILE_DEPTH_LIMIT} files inside each other", command, "loop")
        return None
    data = _read(run, name, command, "unread-file")
    if data is None:
        return None
    run.shared.budget.charge(len(data) // 16)
    return parse(data, name if name.startswith("(") else f"({run.environment.get('root')}){name}")


def _read(run: Interpreter, name: str, command: Command, code: str) -> bytes | None:
    try:
        return run.shared.disks.read(name, run.environment.place)
    except PvbootError as err:
        run.warn(f"{shorten(name)} is passed over: {err}", command, code)
        return None


@_command("blscfg")
def _blscfg(run: Interpreter, args: Sequence[str], command: Command) -> int:
    """Entries of the boot loader specification, as Fedora's GRUB reads them."""
    if run.level is None:
        run.warn("entries inside of an entry are left out", command, "misplaced")
        return 1
    from pvboot.menu import bls

    wanted = args[0] if args else ""
    is_path = wanted.startswith(("(", "/"))
    variables = run.environment.values
    for device, directory in _bls_places(run, wanted if is_path else run.environment.get("blsdir")):
        try:
            found = bls.entries(
                run.shared.disks.devices,
                device,
                directory,
                grub_variables=variables,
                warn=lambda warning: run.shared.warn(warning.message, warning.span, warning.code),
            )
        except PvbootError:
            continue
        run.shared.budget.charge(LOOKUP_COST * (len(found) + 1))
        if not found:
            continue
        default = run.environment.get("default")
        chosen = next((entry for entry in found if default in (entry.id, entry.title)), found[0])
        for entry in found:
            if wanted in ("", "default", "non-default") or is_path:
                skipped = (wanted == "default" and entry is not chosen) or (wanted == "non-default" and entry is chosen)
            else:
                skipped = wanted.removesuffix(".conf") != entry.id
            if not skipped and len(run.level.nodes) < ENTRY_LIMIT:
                run.level.nodes.append(
                    Node(entry.title, entry.id, entry.span, restricted=bool(entry.users), files=entry.files)
                )
        return 0
    run.warn("'blscfg' finds no entries", command, "no-bls-entries")
    return 1


def _bls_places(run: Interpreter, directory: str) -> Iterator[tuple[Device, str]]:
    """Volumes and directories to look at; `boot` is what Fedora's EFI builds use instead of `root`."""
    names = [f"({name}){directory}" for name in map(run.environment.get, ("root", "boot")) if name]
    if directory.startswith("("):
        names = [directory]
    elif not directory:
        names = [name + path for path in ("/loader/entries", "/boot/loader/entries") for name in names]
    for name in names:
        place = run.shared.disks.resolve(name, run.environment.place)
        if place is not None:
            yield place


# --- the network ------------------------------------------------------------------------------------------


@_command(
    "net_bootp",
    "net_bootp6",
    "net_dhcp",
    "net_ipv6_autoconf",
    "net_add_addr",
    "net_add_dns",
    "net_add_route",
    "net_del_addr",
    "net_del_dns",
    "net_del_route",
    "net_set_vlan",
    "net_ls_addr",
    "net_ls_cards",
    "net_ls_dns",
    "net_ls_routes",
)
def _net(run: Interpreter, _args: Sequence[str], command: Command) -> int:
    """This machine's network is as it is; a menu that may use it need not set it up."""
    if run.shared.disks.devices.network is None:
        run.warn(f"{run.called!r} fails: no network is allowed to this menu (--net URL does)", command)
        return 1
    return 0


@_command("net_get_dhcp_option", "net_nslookup")
def _net_unknown(run: Interpreter, _args: Sequence[str], command: Command) -> int:
    run.warn(f"{run.called!r} fails: nothing is known of DHCP and DNS", command)
    return 1


# --- passwords --------------------------------------------------------------------------------------------


@_command("password", "password_pbkdf2")
def _password(run: Interpreter, args: Sequence[str], command: Command) -> int:
    if len(args) != 2:
        run.warn("a password needs a user and the password", command, "argument")
        return 1
    kind = "plain" if run.called == "password" else "unsupported"
    run.shared.passwords[args[0]] = kind, args[1]
    return 0


# --- taken note of ----------------------------------------------------------------------------------------

# Only what GRUB itself has: `load_video`, `gfxmode` and the like are functions of the file, which must win.
_HARMLESS = (
    "true echo insmod rmmod terminal_input terminal_output terminfo serial background_image background_color clear "
    "play sleep read increment decrement save_env cat ls list_env date videoinfo videotest lspci cpuid acpi "
    "devicetree authenticate hwmatch nativedisk cryptomount drivemap parttool outb outw outl inb inw inl cmosset "
    "cmosclean legacy_password help lsmod dump trust distrust verify_detached list_trusted smbios rdmsr wrmsr "
    "hexdump keymap"
)
_FAILING = "false loadfont keystatus regexp probe legacy_configfile legacy_source syslinux_configfile"


def _succeed(_run: Interpreter, _args: Sequence[str], _command: Command) -> int:
    return 0


def _fail(_run: Interpreter, _args: Sequence[str], _command: Command) -> int:
    return 1


def _unsupported(run: Interpreter, _args: Sequence[str], command: Command) -> int:
    run.warn("this command is not supported and fails", command, "unsupported")
    return 1


for _name in _HARMLESS.split():
    COMMANDS[_name] = _succeed
for _name in _FAILING.split():
    COMMANDS[_name] = _fail if _name in ("false", "loadfont", "keystatus") else _unsupported
