"""The terminal: menu, editor and prompt.  How entries boot is not known here.

`choose` is the way in.  On a terminal it is the VT100 menu of `menu_screen`, with `editor` and `prompt` behind it; on
one that cannot move its cursor the numbered menu of `plain`.  `keys`, `line_edit`, `list_screen`, `picture` and
`vt100` are pure: keys in, data out; `terminal` alone reads and writes.  `safe_text.safe` makes the guest's text
harmless before it is printed, `plain.terminal_console` is what commands talk to.
"""

from __future__ import annotations

import os

from fsdrivers.light import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pvboot.devices import Devices
    from pvboot.menu.model import Menu
    from pvboot.shell.session import Choice

# What `choose` and the commands at the prompt import when they are first needed.  Whoever gives up the right to open
# files before calling it imports these first.
SCREEN_MODULES = (
    "pvboot.screen.menu_screen",
    "pvboot.screen.plain",
    "pvboot.blocklist",
    "fsdrivers.partitions",
    "fsdrivers.probe",
)

_WITHOUT_CURSOR = ("dumb", "unknown", "network", "dialup", "emacs")


def choose(
    menu: Menu, devices: Devices, stdin: TextIO, stdout: TextIO, *, authenticated: bool = False, term: str | None = None
) -> Choice:
    """Let somebody choose an entry, edit it, or boot from the prompt.

    The default entry is chosen without a terminal on both sides, when the menu's time is up (at once for timeout 0)
    and at the end of input.  `term` is the terminal's type, $TERM if it is not given.  Another time than the menu's:
    give `dataclasses.replace(menu, timeout=seconds)`.  Raises `KeyboardInterrupt` for Ctrl-C.
    """
    if _has_cursor(stdin, stdout, os.environ.get("TERM", "") if term is None else term) and menu.timeout != 0:
        from pvboot.screen.list_screen import SMALLEST_SIZE
        from pvboot.screen.terminal import window_size

        rows, columns = window_size(stdout.fileno())
        if rows >= SMALLEST_SIZE[0] and columns >= SMALLEST_SIZE[1]:
            from pvboot.screen.menu_screen import choose_on_screen

            return choose_on_screen(menu, devices, stdin, stdout, authenticated=authenticated)
    from pvboot.screen.plain import choose as choose_plainly

    return choose_plainly(menu, stdin, stdout, authenticated=authenticated)


def _has_cursor(stdin: TextIO, stdout: TextIO, term: str) -> bool:
    return stdin.isatty() and stdout.isatty() and bool(term) and not term.startswith(_WITHOUT_CURSOR)
