"""The commands of `grub.cfg`: what each does to the run that calls it.

Those that matter for what is booted are here in full, those for screens, modules and keys are accepted; any other is
unknown, which is a warning.  `regexp` is not supported: it fails, as for a text that does not match.
Source: GRUB 2.06 (grub-core/commands, grub-core/normal), measured with grub-emu.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import dropwhile, pairwise

from grammars.grub_cfg import Command, Script, Word, parse, parse_text
from pvboot.device_names import Device
from pvboot.devices import LOOP_LIMIT, NO_LOOP
from pvboot.errors import MenuError, PvbootError
from pvboot.grub_errors import quoted, shorten
from pvboot.menu import grub_env, grub_test
from pvboot.menu.grub2_rules import join_arguments, read_device_name, read_unsigned
from pvboot.menu.grub_disks import LOOKUP_COST
from pvboot.menu.grub_script import Call, Exhausted, Handler, Interpreter, Level, Loaded, Node, Stopped

FILE_DEPTH_LIMIT = 10  # files that read files
ENTRY_LIMIT = 20_000

_LOOP_NAME = r"[A-Za-z0-9_.+-]{1,64}"
_SEARCH = (
    "f/file l/label u/fs-uuid s/set? n/no-floppy efidisk-only root-dev-only h/hint= hint-ieee1275= hint-bios= "
    "hint-baremetal= hint-efi= hint-arc="
)
_SEARCH_KINDS = {"file": "file", "label": "label", "fs-uuid": "uuid"}

COMMANDS: dict[str, Handler] = {}


class MenuShown(Exception):  # noqa: N818  (control flow)
    """`configfile` or `normal` has made another menu, which now stands in the place of this one."""

    def __init__(self, level: Level) -> None:
        super().__init__("another menu")
        self.level = level


def _command(names: str, options: str = "") -> Callable[[Handler], Handler]:
    """Enter a function under the names of commands.

    `options` are those that it accepts: `name` is a flag, `name=` takes a value, `name?` takes the next word if that is
    not an option; `n/name` has a short form.
    """
    accepted: dict[str, str] = {}
    short: dict[str, str] = {}
    for option in options.split():
        letter, _slash, name = option.rpartition("/")
        accepted[name.rstrip("=?")] = name[len(name.rstrip("=?")) :]
        short[letter] = name.rstrip("=?")

    def enter(function: Handler) -> Handler:
        def with_options(call: Call) -> int:
            call.options, call.args = read_options(call.args, accepted, short)
            return function(call)

        COMMANDS.update(dict.fromkeys(names.split(), with_options if options else function))
        return function

    return enter


def read_options(
    args: Sequence[str], accepted: Mapping[str, str], short: Mapping[str, str]
) -> tuple[dict[str, str | None], list[str]]:
    """Options and the other words.  An unknown option is a word, as for GRUB's commands that accept dashes."""
    options: dict[str, str | None] = {}
    words: list[str] = []
    rest = list(reversed(args))
    while rest:
        word = rest.pop()
        if word == "--":
            return options, [*words, *reversed(rest)]
        name, equals, value = word[2:].partition("=")
        names = [name]
        given = value if equals else None
        if not word.startswith("--"):
            names, given = [short.get(letter, "") for letter in word[1:]] if word.startswith("-") else [], None
        if not names or any(name not in accepted for name in names):
            words.append(word)
            continue
        for name in names:
            may_take = rest and (accepted[name] == "=" or not re.match("-.", rest[-1]))
            options[name] = rest.pop() if accepted[name] and given is None and may_take else given
            given = None
    return options, words


# --- entries ----------------------------------------------------------------------------------------------


@_command("menuentry submenu", "class= users= hotkey= source= id= unrestricted")
def _menuentry(call: Call) -> int:
    run, options = call.run, call.options
    source = options.get("source")
    if run.level is None:
        return call.fail("an entry inside of an entry is left out", "misplaced")
    if not call.args or (source is None) is (call.command.block is None):
        return call.fail("an entry without a title or a body is left out", "argument")
    if len(run.level.nodes) >= ENTRY_LIMIT:
        raise Exhausted(f"only the first {ENTRY_LIMIT} entries of a menu are read")
    if source is not None:
        body = _parse(run, source).statements
    else:
        body = call.command.block.body if call.command.block else ()
    title = call.args[0]
    restricted = "users" in options or "unrestricted" not in options
    is_submenu = call.name == "submenu"
    node = Node(title, options.get("id") or title, call.command.span, tuple(call.args), body, restricted, is_submenu)
    run.level.nodes.append(node)
    return 0


def _parse(run: Interpreter, text: str) -> Script:
    run.shared.budget.charge(len(text) // 16)
    return parse_text(text, "text of a command")


@_command("linux linux16 linuxefi")
def _linux(call: Call) -> int:
    if not call.args:
        return call.fail("a kernel's file name is missing", "argument")
    _look_for_unset(call, call.command.words[1:2])
    loaded, args = call.run.loaded, call.args[1:]
    early = loaded.initrds if loaded.kernel is None and loaded.hypervisor is None else ()
    # The old kernel goes whatever becomes of the new one.
    call.run.loaded = Loaded(_boot_name(call, call.args[0]), join_arguments(args), early, _typed(args, call.command))
    return 0


def _look_for_unset(call: Call, words: Sequence[Word]) -> None:
    """A variable that nobody has set leaves a hole in the name of a file."""
    for word in words:
        for kind, name in word.pieces:
            unset = kind.endswith("variable") and name not in call.run.environment.values and not name.isdigit()
            if unset and name not in "#*@?" and len(word.pieces) > 1:
                span = call.command.source.span(word.start, word.end)
                call.run.shared.warn(f"the variable {quoted(name)} is not set", span, "unset-variable")


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


@_command("initrd initrd16 initrdefi")
def _initrd(call: Call) -> int:
    _look_for_unset(call, call.command.words[1:])
    if any(word.startswith("newc:") for word in call.args):
        call.fail("'newc:' is not supported, the file is left out")
    names = (word for word in call.args if word and not word.startswith("newc:"))
    call.run.loaded.initrds = tuple([_boot_name(call, name) for name in names])
    return 0


@_command("multiboot multiboot2 xen_hypervisor")
def _multiboot(call: Call) -> int:
    words = [word for word in call.args if not word.startswith("--")]
    if not words:
        return call.fail("a file name is missing", "argument")
    call.run.loaded = Loaded(hypervisor=_boot_name(call, words[0]), args=join_arguments(words[1:]))
    return 0


@_command("module module2 xen_module")
def _module(call: Call) -> int:
    words = list(dropwhile(lambda word: word.startswith("--"), call.args))
    if not words or call.run.loaded.hypervisor is None:
        return call.fail("a module without a file name, or without a multiboot kernel before it, is left out")
    call.run.loaded.modules.append((_boot_name(call, words[0]), join_arguments(words[1:])))
    return 0


def _boot_name(call: Call, name: str) -> str:
    return call.run.shared.disks.boot_name(name, call.run.environment.place)


@_command("boot exit normal_exit reboot halt fwsetup poweroff")
def _stop(call: Call) -> int:
    raise Stopped(call.name)


@_command("chainloader")
def _chainloader(call: Call) -> int:
    """Another boot loader is nothing that a PV guest can start."""
    call.run.loaded = Loaded()
    call.fail("'chainloader' is not supported", "chainloader")
    return 0


# --- variables --------------------------------------------------------------------------------------------


@_command("set")
def _set(call: Call) -> int:
    name, equals, value = (call.args[0] if call.args else "").partition("=")
    if call.args and not equals:
        return call.fail(f"{quoted(name)} is not an assignment", "argument")
    if equals:
        call.run.environment.set(name, value)
    return 0


@_command("unset")
def _unset(call: Call) -> int:
    for name in call.args[:1]:
        call.run.environment.values.pop(name, None)
    return 0 if call.args else 1


@_command("export")
def _export(call: Call) -> int:
    call.run.environment.exported.update(call.args)
    return 0 if call.args else 1


@_command("load_env", "f/file= s/skip-sig")
def _load_env(call: Call) -> int:
    run = call.run
    name = call.options.get("file") or f"{run.environment.get('prefix')}/grubenv"
    data = _read(call, name, "unread-environment")
    if data is None:
        return 1
    values = grub_env.read_block(data)
    if values is None:
        return call.fail(f"{shorten(name)} is not an environment block", "grubenv")
    for key, value in values.items():
        run.shared.budget.charge(1)
        if not call.args or key in call.args:
            run.environment.set(key, value)
    return 0


@_command("search", _SEARCH)
def _search(call: Call) -> int:
    """Sets a variable to the first volume that fits; leaves it alone if there is none."""
    options, words = call.options, call.args
    kind = next((kind for option, kind in _SEARCH_KINDS.items() if option in options), None)
    if words:
        return _search_for(call, kind, words[0], (options["set"] or "root") if "set" in options else None)
    return _search_for(call, kind, options.get("set"), "root")  # old menus: `search --fs-uuid --set UUID`


@_command("search.fs_uuid search_fs_uuid search.fs_label search_label search.file search_fs_file", "no-floppy")
def _search_by_name(call: Call) -> int:
    kind = next(kind for kind in ("uuid", "label", "file") if call.name.endswith(kind))
    wanted, variable = (*call.args[:2], None, None)[:2]
    return _search_for(call, kind, wanted, variable)


def _search_for(call: Call, kind: str | None, wanted: str | None, variable: str | None) -> int:
    if kind is None or wanted is None:
        return call.fail("'search' does not say what to look for", "argument")
    found = call.run.shared.disks.search(kind, wanted, call.run.environment.loops)
    if found is None:
        return call.fail(f"no volume with the {kind} {shorten(wanted)!r}", "search-failed")
    if variable is not None:
        call.run.environment.set(variable, found)
    return 0


@_command("loopback", "d/delete D/decompress")
def _loopback(call: Call) -> int:
    """A file becomes a disk.  A name whose file cannot be opened is kept: what is read from it tells why."""
    loops, disks = call.run.environment.loops, call.run.shared.disks
    if len(call.args) < (1 if "delete" in call.options else 2):
        return call.fail("'loopback' needs a name and a file", "argument")
    name = call.args[0]
    if "delete" in call.options:
        return 0 if loops.pop(name, None) else 1
    if not re.fullmatch(_LOOP_NAME, name) or read_device_name(name) is not None:
        return call.fail(f"{quoted(name)} cannot be the name of a loop")
    found = disks.resolve(call.args[1], call.run.environment.place)
    loops.pop(name, None)
    if len(loops) >= LOOP_LIMIT:
        return call.fail(f"{name!r}: more than {LOOP_LIMIT} loops")
    disks.charge(LOOKUP_COST)
    loops[name] = NO_LOOP
    try:
        if found is None:
            raise MenuError("no such device")
        loops[name] = disks.devices.add_loop(*found)
        disks.devices.blocks(loops[name])
    except PvbootError as err:
        return call.fail(f"{shorten(call.args[1])} is not a disk: {err}", "loopback")
    return 0


# --- control flow -----------------------------------------------------------------------------------------


@_command("test [")
def _test(call: Call) -> int:
    place = call.run.environment.place
    return 0 if grub_test.evaluate(call.args, lambda name: call.run.shared.disks.stat(name, place)) else 1


@_command("break continue")
def _leave_loops(call: Call) -> int:
    count, found = read_unsigned(call.args[0]) if call.args else (1, True)
    if not found or not count or len(call.args) > 1:
        return 1
    call.run.leave_loops(count, again=call.name == "continue")
    return 0


@_command("return")
def _return(call: Call) -> int:
    if call.run.parameters is None or len(call.args) > 1:
        return call.fail("'return' outside of a function", "misplaced")
    status, found = read_unsigned(call.args[0] if call.args else call.run.environment.get("?"))
    if call.args and not found:
        return 1
    call.run.leave_function()
    return status


@_command("shift")
def _shift(call: Call) -> int:
    if call.run.parameters is None:
        return 0
    count = read_unsigned(call.args[0])[0] if call.args else 1
    if count > len(call.run.parameters) or len(call.args) > 1:
        return 1
    del call.run.parameters[:count]
    return 0


@_command("setparams")
def _setparams(call: Call) -> int:
    if call.run.parameters is None:
        return 1
    call.run.parameters[:] = call.args
    return 0


@_command("eval")
def _eval(call: Call) -> int:
    return call.run.run_script(_parse(call.run, " ".join(call.args)))


# --- other files ------------------------------------------------------------------------------------------


@_command("source .")
def _source(call: Call) -> int:
    script = _load(call, call.args[0] if call.args else "")
    if script is None:
        return 1
    call.run.file_depth += 1
    try:
        return call.run.run_script(script)
    finally:
        call.run.file_depth -= 1


@_command("configfile normal")
def _configfile(call: Call) -> int:
    """Another menu in a new context; if it has an entry it takes over."""
    run = call.run
    script = _load(call, call.args[0] if call.args else f"{run.environment.get('prefix')}/grub.cfg")
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


def _load(call: Call, name: str) -> Script | None:
    run = call.run
    if not name or run.file_depth >= FILE_DEPTH_LIMIT:
        deep = f"{shorten(name)} is not read: more than {FILE_DEPTH_LIMIT} files inside each other"
        call.fail(*((deep, "loop") if name else ("a file name is missing", "argument")))
        return None
    data = _read(call, name, "unread-file")
    if data is None:
        return None
    run.shared.budget.charge(len(data) // 16)
    return parse(data, name if name.startswith("(") else f"({run.environment.get('root')}){name}")


def _read(call: Call, name: str, code: str) -> bytes | None:
    try:
        return call.run.shared.disks.read(name, call.run.environment.place)
    except PvbootError as err:
        call.fail(f"{shorten(name)} is passed over: {err}", code)
        return None


@_command("blscfg")
def _blscfg(call: Call) -> int:
    """Entries of the boot loader specification, as Fedora's GRUB reads them."""
    run = call.run
    if run.level is None:
        return call.fail("entries inside of an entry are left out", "misplaced")
    from pvboot.menu import bls

    wanted = call.args[0] if call.args else ""
    is_path = wanted.startswith(("(", "/"))
    variables = run.environment.values
    for device, directory in _bls_places(run, wanted if is_path else run.environment.get("blsdir")):
        try:
            found = bls.entries(
                run.shared.disks.devices, device, directory, grub_variables=variables, warn=run.shared.hear
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
                node = Node(entry.title, entry.id, entry.span, restricted=bool(entry.users), files=entry.files)
                run.level.nodes.append(node)
        return 0
    return call.fail("'blscfg' finds no entries", "no-bls-entries")


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


# --- the network and passwords ----------------------------------------------------------------------------


@_command(
    "net_bootp net_bootp6 net_dhcp net_ipv6_autoconf net_add_addr net_add_dns net_add_route net_del_addr net_del_dns "
    "net_del_route net_set_vlan net_ls_addr net_ls_cards net_ls_dns net_ls_routes"
)
def _net(call: Call) -> int:
    """This machine's network is as it is; a menu that may use it need not set it up."""
    if call.run.shared.disks.devices.network is None:
        return call.fail(f"{call.name!r} fails: no network is allowed to this menu (--net URL does)")
    return 0


@_command("net_get_dhcp_option net_nslookup")
def _net_unknown(call: Call) -> int:
    return call.fail(f"{call.name!r} fails: nothing is known of DHCP and DNS")


@_command("password password_pbkdf2")
def _password(call: Call) -> int:
    if len(call.args) != 2:
        return call.fail("a password needs a user and the password", "argument")
    user, password = call.args
    call.run.shared.passwords[user] = "plain" if call.name == "password" else "unsupported", password
    return 0


# --- without effect here ----------------------------------------------------------------------------------


# Only what GRUB itself has: `load_video`, `gfxmode` and the like are functions of the file, which must win.
@_command(
    "true echo insmod rmmod terminal_input terminal_output terminfo serial background_image background_color clear "
    "play sleep read increment decrement save_env cat ls list_env date videoinfo videotest lspci cpuid acpi "
    "devicetree authenticate hwmatch nativedisk cryptomount drivemap parttool outb outw outl inb inw inl cmosset "
    "cmosclean legacy_password help lsmod dump trust distrust verify_detached list_trusted smbios rdmsr wrmsr "
    "hexdump keymap"
)
def _succeed(_call: Call) -> int:
    return 0


@_command("false loadfont keystatus")
def _fail(_call: Call) -> int:
    return 1


@_command("regexp probe legacy_configfile legacy_source syslinux_configfile")
def _unsupported(call: Call) -> int:
    return call.fail("this command is not supported and fails", "unsupported")
