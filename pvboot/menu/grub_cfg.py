"""The meaning of `grub.cfg`, GRUB 2's menu: a script that is run to learn its entries.

Titles come to be while the menu is loaded; the body of an entry runs when its files are asked for, in a copy of
the variables that the script left behind.  Submenus are opened at once, their entries stand in one flat list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from fsdrivers.light import dataclass, field, replace
from grammars.grub_cfg import Command, commands, parse
from pvboot.errors import BootError, PvbootError
from pvboot.grub_errors import quoted, shorten
from pvboot.menu.dialects import MenuContext
from pvboot.menu.grub2_rules import read_unsigned
from pvboot.menu.grub_commands import COMMANDS, MenuShown
from pvboot.menu.grub_disks import Disks
from pvboot.menu.grub_script import Budget, Environment, Exhausted, Interpreter, Level, Node, Shared, Stopped
from pvboot.menu.model import BootFiles, Entry, Menu, Password

DIALECT = "grub.cfg"
SUBMENU_DEPTH_LIMIT = 10
MENU_DEPTH_LIMIT = 5  # entries that show another menu whose default entry does the same
MAXIMUM_TIMEOUT = 0x7FFFFFFF
MAXIMUM_FALLBACKS = 8

# What GRUB sets before it reads a menu, less what only screens and a network of its own need.
_FEATURES = (
    "feature_menuentry_id feature_timeout_style feature_platform_search_hint feature_default_font_path "
    "feature_all_video_module feature_menuentry_options feature_nativedisk_cmd feature_chainloader_bpb "
    "feature_ntldr feature_200_final"
)
_SERVERS = ("net_default_server", "pxe_default_server")
_EXPORTED = "root prefix cmdpath grub_cpu grub_platform lang locale_dir chosen config_file config_directory"


class HypervisorEntryError(BootError):
    """The entry starts a hypervisor of its own (`multiboot`), which a PV guest cannot."""


class EndlessScriptError(BootError):
    """The entry's script runs longer, or grows larger, than it may."""


@dataclass(slots=True)
class _Draft:
    """The flat list while submenus are opened."""

    shared: Shared
    context: MenuContext
    entries: list[Entry] = field(default_factory=list)


def build(data: bytes, context: MenuContext) -> Menu:
    """The menu in `data`.

    Any bytes give a menu: what is wrong is passed over, with a warning that names line and column.
    """
    budget = Budget()
    budget.begin()
    shared = Shared(Disks(context.devices, context.device, budget.charge), budget, context.on_warning)
    top = Level(_first_environment(shared.disks, context))
    draft = _Draft(shared, context)
    top = _run_level(shared, top, lambda run: run.run_script(parse(data, context.name)))
    _open_level(draft, top, (), "")
    entries = tuple(draft.entries)
    environment = top.environment
    password = _password(shared, environment)
    if not environment.get("superusers"):
        entries = tuple(replace(entry, locked=False) for entry in entries)
    timeout = _timeout(environment.get("timeout"))
    default = _default(shared, top, environment.get("default"), entries)
    fallback = _fallback(shared, top, environment.get("fallback"), default)
    return context.menu(
        DIALECT,
        entries,
        shared.warnings,
        default=default,
        fallback=fallback,
        timeout=timeout,
        hidden=timeout is not None and environment.get("timeout_style") in ("hidden", "countdown"),
        password=password,
    )


def _first_environment(disks: Disks, context: MenuContext) -> Environment:
    root = disks.name_of(disks.home) if disks.home else ""
    directory = context.path.rpartition("/")[0]
    prefix = f"({root}){directory}"
    values = {
        "root": root,
        "prefix": prefix,
        "cmdpath": prefix,
        "config_directory": prefix,
        "grub_platform": "xen",
        "config_file": f"({root}){context.path}",
        "grub_cpu": "x86_64",
        "lang": "",
        "locale_dir": "",
        "pager": "",
        "?": "0",
        **dict.fromkeys(_FEATURES.split(), "y"),
    }
    network = context.devices.network
    if network is not None:
        values |= dict.fromkeys(_SERVERS, network.default_server)
    return Environment(values, {*_EXPORTED.split(), *_FEATURES.split(), *_SERVERS})


def _run_level(shared: Shared, level: Level, start: Callable[[Interpreter], object]) -> Level:
    """Run the script of a menu; the level that is then shown, which is another one after `configfile`."""
    run = Interpreter(shared, COMMANDS, level.environment, level)
    try:
        start(run)
    except MenuShown as shown:
        return shown.level
    except Stopped as stop:
        shared.warn(f"{stop.command!r} outside of an entry: the rest of the menu is not read", code="stopped")
    except Exhausted as err:
        shared.warn(str(err), code="exhausted")
    return level


# --- the flat list ----------------------------------------------------------------------------------------


def _open_level(draft: _Draft, level: Level, titles: tuple[str, ...], chosen: str) -> None:
    """Enter the entries of a menu and of those below it."""
    for node in level.nodes:
        path = f"{chosen}>{node.id.replace('>', '>>')}" if chosen else node.id.replace(">", ">>")
        if node.is_submenu:
            _open_submenu(draft, level, node, titles, path)
            continue
        node.index = len(draft.entries)
        for name, command in _unknown_commands(node, draft.shared):
            message = f"unknown command {quoted(name)} is skipped"
            draft.shared.warn(message, command.span, "unknown-command", subject=name)
        files = node.files or cache(_Runner(draft.shared, level, node, path).files)
        draft.entries.append(
            Entry(node.index, node.title, (), node.span, node.id, titles, node.restricted, files=files)
        )


def _open_submenu(draft: _Draft, level: Level, node: Node, titles: tuple[str, ...], path: str) -> None:
    environment = level.environment.child()
    environment.set("chosen", path)
    inner = Level(environment)
    if len(titles) >= SUBMENU_DEPTH_LIMIT:
        draft.shared.warn(f"submenus deeper than {SUBMENU_DEPTH_LIMIT} are left out", node.span)
    else:
        inner = _run_level(draft.shared, inner, lambda run: run.run_with_parameters(node.body, node.args))
    node.children = inner
    _open_level(draft, inner, (*titles, node.title), path)


def _unknown_commands(node: Node, shared: Shared) -> Iterator[tuple[str, Command]]:
    """Commands of an entry's body that nobody knows, found without running it."""
    for command in commands(node.body, blocks=False):
        (kind, name), *more = command.words[0].pieces or (("", ""),)
        known = name in COMMANDS or name in shared.functions or "=" in name or name == "!"
        if kind == "text" and not more and not known:
            yield name, command


@dataclass(frozen=True, eq=False, slots=True)
class _Runner:
    """Runs the body of one entry; `chosen` is its path of ids, `menus` how many menus it was reached through."""

    shared: Shared
    level: Level
    node: Node
    chosen: str
    menus: int = 0

    def files(self) -> BootFiles:
        """What the entry loads.  Raises `BootError`, or what a command raises that cannot do its work."""
        environment = self.level.environment.copy()
        environment.set("chosen", self.chosen)
        self.shared.budget.begin()
        run = Interpreter(self.shared, COMMANDS, environment, None)
        try:
            run.run_with_parameters(self.node.body, self.node.args)
        except Stopped:
            pass  # with what was loaded before
        except MenuShown as shown:
            return self._default_files(shown.level)
        except Exhausted as err:
            raise EndlessScriptError(str(err), where=str(self.node.span)) from err
        loaded = run.loaded
        if loaded.hypervisor is not None:
            raise HypervisorEntryError(
                f"the entry starts {shorten(loaded.hypervisor)} by multiboot, which a PV guest cannot",
                where=str(self.node.span),
            )
        return BootFiles(loaded.kernel, loaded.args, loaded.initrds, typed_args=loaded.typed_args)

    def _default_files(self, level: Level) -> BootFiles:
        """What the default entry of another menu loads."""
        node = _find(level, level.environment.get("default")) or (level.nodes[0] if level.nodes else None)
        if node is None or node.is_submenu or self.menus >= MENU_DEPTH_LIMIT:
            raise BootError("the entry shows another menu, which has no default entry", where=str(self.node.span))
        if node.files is not None:
            return node.files()
        path = f"{self.chosen}>{node.id}"
        return _Runner(self.shared, level, node, path, self.menus + 1).files()


# --- what is chosen ---------------------------------------------------------------------------------------


def _split_path(text: str) -> tuple[str, str]:
    """The first step of `a>b>c` and the rest; `>>` is a `>` in a title."""
    at = 0
    while at < len(text):
        if text.startswith(">>", at):
            at += 2
        elif text[at] == ">":
            return text[:at].replace(">>", ">"), text[at + 1 :]
        else:
            at += 1
    return text.replace(">>", ">"), ""


def _find(level: Level, wanted: str) -> Node | None:
    """The entry that `wanted` names by id, title or number, also through submenus; None if there is none.

    Ids and titles come before numbers, as in Fedora's GRUB (an id may begin with a digit); in a submenu without
    a step of its own its `default` counts, else its first entry.
    """
    step, rest = _split_path(wanted)
    node = next((node for node in level.nodes if step and step in (node.id, node.title)), None)
    if node is None:
        number, found = read_unsigned(step)
        node = level.nodes[number] if found and number < len(level.nodes) else None
    if node is None or node.children is None:
        return node
    return _find_below(node.children, rest)


def _find_below(level: Level, rest: str) -> Node | None:
    wanted = rest or level.environment.get("default")
    node = _find(level, wanted) if wanted else None
    if node is None and level.nodes:
        node = level.nodes[0]
        if node.children is not None:
            return _find_below(node.children, "")
    return node


def _default(shared: Shared, top: Level, wanted: str, entries: tuple[Entry, ...]) -> int:
    """The index of the default entry: what the menu wants, else the first one that a PV guest can start."""
    if not entries:
        return 0
    node = _find(top, wanted) if wanted else None
    if node is None and wanted:
        shared.warn(f"default {shorten(wanted)!r} is not an entry, the first one is taken", code="default")
    node = node or _find_below(top, "0")
    index = node.index if node else 0
    if _is_hypervisor(entries[index]):
        other = next((entry.index for entry in entries if _can_start(entry)), None)
        if other is not None:
            shared.warn(f"the default entry starts a hypervisor, entry {other} is taken instead", entries[index].span)
            return other
    return index


def _is_hypervisor(entry: Entry) -> bool:
    try:
        assert entry.files is not None
        entry.files()
    except HypervisorEntryError:
        return True
    except PvbootError:
        pass  # told when it is chosen
    return False


def _can_start(entry: Entry) -> bool:
    try:
        assert entry.files is not None
        return entry.files().kernel is not None
    except PvbootError:
        return False


def _fallback(shared: Shared, top: Level, text: str, default: int) -> tuple[int, ...]:
    found: list[int] = []
    for word in text.split()[:MAXIMUM_FALLBACKS]:
        node = _find(top, word)
        if node is None:
            shared.warn(f"fallback {shorten(word)!r} is not an entry", code="fallback")
            break
        if node.index != default and node.index not in found:
            found.append(node.index)
    return tuple(found)


def _timeout(text: str) -> int | None:
    seconds, found = read_unsigned(text)
    return seconds if found and seconds <= MAXIMUM_TIMEOUT else None


def _password(shared: Shared, environment: Environment) -> Password | None:
    """The password of a superuser; there is one to ask for only if there are superusers."""
    users = environment.get("superusers")
    if not users:
        return None
    for user in users.replace(",", " ").replace(";", " ").replace("&", " ").replace("|", " ").split():
        if user in shared.passwords:
            return Password(*shared.passwords[user])
    return Password("unsupported", "")
