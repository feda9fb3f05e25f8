"""From a menu to a booted entry: the choice, fallbacks, menus that lead to menus.

`choose` decides which entry (a terminal, or just the default), `accept` does the booting; an entry has failed
when one of its commands fails or when `accept` raises.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from fsdrivers.errors import FsError
from pvboot.devices import Devices
from pvboot.errors import BootError, MenuError, PvbootError
from pvboot.menu.discovery import load
from pvboot.menu.model import Entry, Menu
from pvboot.shell.interpreter import run_entry
from pvboot.shell.request import BootRequest, OpenMenu, PowerControl
from pvboot.shell.state import Console

CONFIGFILE_LIMIT = 32  # menus leading to menus; GRUB would go round for ever

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Choice:
    """An entry's index.  `by_key`: somebody chose, which cancels the fallbacks as in GRUB.

    `authenticated`: the menu's password was given.
    """

    index: int
    by_key: bool = False
    authenticated: bool = False


def choose_default(menu: Menu) -> Choice:
    """What happens when nobody is there."""
    return Choice(menu.default)


def boot_menu(
    devices: Devices,
    menu: Menu,
    accept: Callable[[BootRequest], Result],
    *,
    choose: Callable[[Menu], Choice] = choose_default,
    console: Console | None = None,
    interactive: bool = False,
) -> Result | PowerControl:
    """Choose, run and boot until something boots.

    With `interactive` a failed entry leads back to the menu, its clock stopped; otherwise it ends in
    `BootError` with the reasons of every entry that was tried.
    """
    console = console or Console()
    hops = 0
    while hops <= CONFIGFILE_LIMIT:
        if not menu.entries:
            raise MenuError("the menu has no entry", where=f"{menu.volume or ''}{menu.path}")
        choice = choose(menu)
        try:
            outcome = _try_entries(devices, menu, choice, accept, console)
        except BootError as err:
            if not interactive:
                raise
            console.out(f"\n{err}\n\n")
            menu = replace(menu, timeout=None, hidden=False)
            continue
        if isinstance(outcome, OpenMenu):
            hops += 1
            menu = load(devices, outcome.found)
            continue
        return outcome
    raise BootError("menus lead to menus without end", where=f"{menu.volume or ''}{menu.path}",
                    expected=f"at most {CONFIGFILE_LIMIT} in a row")


def _try_entries(
    devices: Devices, menu: Menu, choice: Choice, accept: Callable[[BootRequest], Result], console: Console
) -> Result | OpenMenu | PowerControl:
    """The chosen entry, then the fallbacks.  Raises `BootError` if none of them leads anywhere."""
    failed: list[str] = []
    cause: Exception | None = None
    for index in (choice.index, *(() if choice.by_key else menu.fallback)):
        entry = menu.entries[index]
        if cause is not None:  # before a fallback hides it
            console.out(f"\n{cause}\n\n")
        console.out(f"  Booting '{entry.title}'\n\n")
        try:
            outcome = run_entry(devices, menu, entry, console=console, authenticated=choice.authenticated)
            if isinstance(outcome, BootRequest):
                return accept(outcome)
            if outcome is not None:
                return outcome
            failed.append(f"{_name(entry)} loads nothing")
            break  # to GRUB this is no error, so no fallback follows
        except (PvbootError, FsError) as err:
            cause = err
            failed.append(f"{_name(entry)}: {err}")
    raise BootError("; ".join(failed)) from cause


def _name(entry: Entry) -> str:
    return f"entry {entry.index} {entry.title!r}"
