"""What a `menu.lst` wants from the directory it lies in: the file `default`, and other menus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pvboot.check.api import Problem, rule
from pvboot.check.rules.menu_lst_words import MENU_LST
from pvboot.check.subject import ENTRIES_OPENED, Subject
from pvboot.device_names import read_device
from pvboot.devices import Devices
from pvboot.errors import PvbootError
from pvboot.grub_errors import FILE_NOT_FOUND, GrubError
from pvboot.menu.dialects import dialect_of
from pvboot.menu.discovery import load
from pvboot.menu.model import Command, Entry, Menu
from pvboot.menu.search import FoundMenu
from pvboot.shell.state import Shell, new_shell

CHAIN_LIMIT: Final = 32  # menus that lead to menus; pvboot itself gives up there


@rule("default-saved-no-file", "warning", "default saved, and nothing was ever saved", dialects=MENU_LST, needs="files")
def default_saved_no_file(subject: Subject) -> Iterator[Problem]:
    line = subject.menu_lst.last_in_head("default")
    if line is not None and line.argument == "saved" and (path := _missing_default_file(subject)):
        yield Problem(f"{path} is not there: entry 0 boots", line.argument_span)


@rule(
    "savedefault-no-file",
    "error",
    "savedefault, and the file it writes into is not there",
    dialects=MENU_LST,
    needs="files",
)
def savedefault_no_file(subject: Subject) -> Iterator[Problem]:
    """GRUB never makes the file: the command fails with error 15, and the entry stops before it boots."""
    used = any(entry is not None for entry, _line in subject.menu_lst.named("savedefault"))
    if not used or not (path := _missing_default_file(subject)):
        return
    mild = "note" if subject.options.target.loader in ("pvboot", "pygrub") else None
    for entry in subject.menu_lst.entries:
        # Behind `boot` it is never run; a second one would stop no more.
        line = next((line for line in entry.lines if line.name in ("savedefault", "boot")), None)
        if line is not None and line.name == "savedefault":
            message = f"{path} to write into is not there: GRUB stops here with error 15 and does not boot"
            yield Problem(message, line.name_span, entry.index, severity=mild)


def _missing_default_file(subject: Subject) -> str | None:
    """The name of the file `default` beside the menu if it is not there; None also for a menu outside of a guest."""
    if subject.devices is None or subject.volume is None:
        return None
    path = subject.path.rpartition("/")[0] + "/default"
    try:
        subject.devices.open_path(read_device(subject.volume)[0], path)
    except GrubError as err:
        return f"{subject.volume}{path}" if err.number == FILE_NOT_FOUND else None
    return None


@rule("missing-config-file", "error", "configfile names a menu that is not there", dialects=MENU_LST, needs="files")
def missing_config_file(subject: Subject) -> Iterator[Problem]:
    assert subject.devices is not None
    for entry in subject.menu.entries:
        if any(command.name == "configfile" and command.args for command in entry.commands):
            jump = _jump(subject.devices, subject.menu, entry)
            if jump is not None and jump.error is not None:
                yield Problem(f"the menu cannot be opened: {jump.error}", jump.command.args_span, entry.index)


@rule("missing-password-menu", "warning", "password names a menu that is not there", dialects=MENU_LST, needs="files")
def missing_password_menu(subject: Subject) -> Iterator[Problem]:
    """The file behind a password replaces the menu when the password is given."""
    assert subject.devices is not None
    for entry, line in subject.menu_lst.named("password"):
        file = line.arguments.part("file")
        if file is None:
            continue
        shell = new_shell(subject.devices, subject.menu)
        try:
            shell.open(file.text)
        except PvbootError as err:
            span = line.argument_part(file.start, file.start + len(file.text))
            yield Problem(f"the menu behind the password cannot be opened: {err}", span, entry.index if entry else None)


@rule("configfile-loop", "error", "menus lead to each other without end", dialects=MENU_LST, needs="files")
def configfile_loop(subject: Subject) -> Iterator[Problem]:
    """Only defaults are followed: a menu that somebody leaves by "back" is none.  Told where the round begins."""
    assert subject.devices is not None
    menu, visited = subject.menu, [(subject.volume, subject.path)]
    first: tuple[Command, Entry] | None = None
    while menu.entries and len(visited) <= CHAIN_LIMIT:
        jump = _jump(subject.devices, menu, menu.entries[menu.default])
        if jump is None or jump.found is None:
            return
        first = first or (jump.command, menu.entries[menu.default])
        place = (str(jump.found.device), jump.found.path)
        if place in visited:
            if place == visited[0]:
                way = " -> ".join(f"{volume or ''}{path}" for volume, path in [*visited, place])
                waits = "for ever" if menu.timeout is not None else "whenever the default is taken"
                yield Problem(
                    f"by their defaults these menus go round {waits}: {way}", first[0].args_span, first[1].index
                )
            return
        visited.append(place)
        menu = load(subject.devices, jump.found)


@dataclass(frozen=True, slots=True)
class _Jump:
    """A `configfile` and the menu it leads to, or why it leads nowhere."""

    command: Command
    found: FoundMenu | None
    error: PvbootError | None


def _jump(devices: Devices, menu: Menu, entry: Entry) -> _Jump | None:
    """The first `configfile` that an entry comes to."""
    shell = new_shell(devices, menu, entry)
    for command in entry.commands[:ENTRIES_OPENED]:
        if command.name in ("root", "rootnoverify") and command.args:
            try:
                shell.root, shell.root_named = read_device(command.args, shell.root)[0], True
            except GrubError:
                return None  # the entry stops here, and another rule says so
        elif command.name in ("boot", "halt", "reboot"):
            return None
        elif command.name == "configfile" and command.args:
            return _open(shell, command)
    return None


def _open(shell: Shell, command: Command) -> _Jump:
    try:
        name, file = shell.open(command.args)
        device, path = read_device(name)
    except PvbootError as err:
        return _Jump(command, None, err)
    return _Jump(command, FoundMenu(device, path, dialect_of(path), file), None)
