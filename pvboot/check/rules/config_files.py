"""Rules about files that a `menu.lst` needs beside it: the file `default`, and other menus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from grammars.spans import SourceSpan
from pvboot.check.api import Problem, rule
from pvboot.check.rules.menu_lst_words import MENU_LST
from pvboot.check.subject import Subject
from pvboot.device_names import read_device
from pvboot.errors import PvbootError
from pvboot.grub_errors import FILE_NOT_FOUND, GrubError
from pvboot.menu.dialects import dialect_of
from pvboot.menu.discovery import load
from pvboot.menu.loads import GRUB, entry_loads, open_file
from pvboot.menu.search import FoundMenu

CHAIN_LIMIT: Final = 32  # menus that lead to menus; pvboot itself gives up there


@rule("default-saved-no-file", "warning", "default saved, and nothing was ever saved", dialects=MENU_LST, needs="files")
def default_saved_no_file(subject: Subject) -> Iterator[Problem]:
    line = subject.menu_lst.last_in_head("default")
    if line is not None and line.argument == "saved" and (path := _missing_default_file(subject)):
        yield Problem(f"{path} is not there: entry 0 boots", line.argument_span)


@rule("savedefault-no-file", "error", "savedefault, and its file is not there", dialects=MENU_LST, needs="files")
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
    """Return the name of the file `default` beside the menu if it is not there; None for a menu outside of a guest."""
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
    for entry in subject.menu.entries:
        if any(command.name == "configfile" for command in entry.commands):
            loads = subject.loads(entry)
            if loads.menu is not None and loads.menu.error is not None and not loads.roots:
                yield Problem(f"the menu cannot be opened: {loads.menu.error}", loads.menu.span, entry.index)


@rule("missing-password-menu", "warning", "password names a menu that is not there", dialects=MENU_LST, needs="files")
def missing_password_menu(subject: Subject) -> Iterator[Problem]:
    """The file behind a password replaces the menu when the password is given."""
    assert subject.devices is not None
    for entry, line in subject.menu_lst.named("password"):
        file = line.arguments.part("file")
        if file is None:
            continue
        try:
            open_file(subject.devices, file.text, read_device(subject.volume)[0] if subject.volume else None)
        except PvbootError as err:
            span = line.argument_part(file.start, file.start + len(file.text))
            yield Problem(f"the menu behind the password cannot be opened: {err}", span, entry.index if entry else None)


@rule("configfile-loop", "error", "menus lead to each other without end", dialects=MENU_LST, needs="files")
def configfile_loop(subject: Subject) -> Iterator[Problem]:
    """Only defaults are followed: a menu that somebody leaves by "back" is not a loop.  It is found where it begins."""
    assert subject.devices is not None
    menu, visited = subject.menu, [(subject.volume, subject.path)]
    first: tuple[SourceSpan, int] | None = None
    while menu.entries and len(visited) <= CHAIN_LIMIT:
        entry = menu.entries[menu.default]
        loads = entry_loads(entry, read_device(menu.volume)[0] if menu.volume else None, subject.devices, GRUB)
        if loads.menu is None or loads.menu.file is None or loads.roots:
            return
        first = first or (loads.menu.span, entry.index)
        device, path = read_device(loads.menu.name)
        if (str(device), path) in visited:
            if (str(device), path) == visited[0]:
                way = " -> ".join(f"{volume or ''}{path}" for volume, path in [*visited, visited[0]])
                waits = "for ever" if menu.timeout is not None else "whenever the default is taken"
                yield Problem(f"by their defaults these menus go round {waits}: {way}", *first)
            return
        visited.append((str(device), path))
        menu = load(subject.devices, FoundMenu(device, path, dialect_of(path), loads.menu.file))
