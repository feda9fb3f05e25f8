"""From a menu to a booted entry: the choice, fallbacks, menus that lead to menus.

`choose` decides which entry (a terminal, or just the default), `accept` does the booting; an entry has failed
when one of its commands fails or when `accept` raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from fsdrivers.light import TypeVar, dataclass, replace
from pvboot.devices import Devices
from pvboot.errors import BootError, MenuError, NetworkError, PvbootError
from pvboot.menu.discovery import load
from pvboot.menu.model import Entry, Menu
from pvboot.shell.interpreter import run_entry, run_lines
from pvboot.shell.request import BootRequest, OpenMenu, Outcome, PowerControl
from pvboot.shell.state import Console

CONFIGFILE_LIMIT = 32  # menus leading to menus; GRUB would go round for ever

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Choice:
    """An entry's index.  `by_key`: somebody chose, which cancels the fallbacks as in GRUB.

    `authenticated`: the menu's password was given.  `lines`: the entry's commands as somebody edited them, to be run
    instead of its own.  `outcome`: what commands at the prompt led to; then no entry is run.
    """

    index: int
    by_key: bool = False
    authenticated: bool = False
    lines: tuple[str, ...] | None = None
    outcome: Outcome | None = None


def choose_default(menu: Menu) -> Choice:
    """Choose what boots when nobody is at the terminal."""
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

    With `interactive` a failed entry leads back to the menu, its clock stopped, as long as somebody chooses there;
    otherwise it ends in `BootError` with the reasons of every entry that was tried.
    """
    console = console or Console()
    hops, came_back = 0, False
    while hops <= CONFIGFILE_LIMIT:
        if not menu.entries:
            raise MenuError("the menu has no entry", where=f"{menu.volume or ''}{menu.path}")
        choice = choose(menu)
        try:
            outcome = _try_entries(devices, menu, choice, accept, console)
        except BootError as err:
            if not interactive or (came_back and not choice.by_key):
                raise  # a menu without a clock from which nobody chose: the terminal is gone
            console.out(f"\n{err}\n\n")
            if console.ask:
                console.ask("Press Enter to continue...")
            menu, came_back = replace(menu, timeout=None, hidden=False), True
            continue
        if isinstance(outcome, OpenMenu):
            hops += 1
            menu, came_back = load(devices, outcome.found), False
            continue
        return outcome
    raise BootError(
        "menus lead to menus without end",
        where=f"{menu.volume or ''}{menu.path}",
        expected=f"at most {CONFIGFILE_LIMIT} in a row",
    )


def _try_entries(
    devices: Devices, menu: Menu, choice: Choice, accept: Callable[[BootRequest], Result], console: Console
) -> Result | OpenMenu | PowerControl:
    """Run the chosen entry, then the fallbacks.  Raises `BootError` if none of them leads anywhere."""
    failed: list[str] = []
    cause: Exception | None = None
    for title, name, run in _attempts(devices, menu, choice, console):
        if cause is not None:  # before a fallback hides it
            console.out(f"\n{cause}\n\n")
        console.out(f"  Booting {title}\n\n" if title else "")
        try:
            outcome = run()
            if isinstance(outcome, BootRequest):
                return accept(outcome)
            if outcome is not None:
                return outcome
            failed.append(f"{name} loads nothing")
            break  # to GRUB this is not an error, so no fallback follows
        except PvbootError as err:
            cause = err
            failed.append(f"{name}: {err}")
    error = BootError("; ".join(failed))
    if _by_network(cause):
        error.exit_code = NetworkError.exit_code
    raise error from cause


def _by_network(err: BaseException | None) -> bool:
    while err is not None and not isinstance(err, NetworkError):
        err = err.__cause__
    return err is not None


def _attempts(
    devices: Devices, menu: Menu, choice: Choice, console: Console
) -> Iterator[tuple[str, str, Callable[[], Outcome | None]]]:
    """The entries to try, in order: title as GRUB shows it, name for messages, and how to run it."""
    outcome, lines = choice.outcome, choice.lines
    if outcome is not None:
        yield "", "the prompt", lambda: outcome
    elif lines is not None:
        entry = menu.entries[choice.index]
        yield (
            "command-list",
            f"edited {_name(entry)}",
            lambda: run_lines(devices, menu, entry, lines, console=console, authenticated=choice.authenticated),
        )
    else:
        for index in (choice.index, *(() if choice.by_key else menu.fallback)):
            entry = menu.entries[index]
            run = partial(run_entry, devices, menu, entry, console=console, authenticated=choice.authenticated)
            yield f"'{entry.title}'", _name(entry), run


def _name(entry: Entry) -> str:
    return f"entry {entry.index} {entry.title!r}"
