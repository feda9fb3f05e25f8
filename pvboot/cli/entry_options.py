"""Options of the verbs that load an entry of a guest's menu: boot and plan."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from fsdrivers.light import TYPE_CHECKING
from pvboot.cli.common import print_warnings

if TYPE_CHECKING:
    from pvboot.boot import MenuOptions
    from pvboot.devices import Devices
    from pvboot.loading import LoadOptions
    from pvboot.menu import Menu
    from pvboot.menu.model import Password
    from pvboot.shell.session import Choice


def add_entry_options(parser: argparse.ArgumentParser) -> None:
    """--entry, --append, --compat."""
    group = parser.add_argument_group("entry")
    group.add_argument("--entry", metavar="N|TITLE|ID", help="the menu entry to take instead of the default")
    group.add_argument("--append", metavar="ARGS", default="", help="add this to the kernel's command line")
    group.add_argument(
        "--compat", choices=["xen-4.17"], help="unpack a gzip'd ramdisk, as domain builders before Xen 4.20 do"
    )


def load_options(args: argparse.Namespace) -> LoadOptions:
    """The options of loading; `features` and `capabilities` where the verb (plan) has them."""
    from pvboot.loading import LoadOptions

    options = LoadOptions(compat=args.compat, append=os.fsencode(args.append))
    if hasattr(args, "capabilities"):
        from dataclasses import replace  # slow to import, and --help imports this module

        options = replace(options, capabilities=tuple(args.capabilities.split()), features=args.features)
    return options


def menu_options(args: argparse.Namespace, devices: Devices) -> MenuOptions:
    """--config, --entry, and for `boot` its menu on the terminal."""
    from pvboot.boot import MenuOptions

    options = MenuOptions(config=args.config, choose=_chooser(args, devices))
    if not hasattr(args, "no_menu"):
        return options
    from dataclasses import replace

    from pvboot.screen.plain import terminal_console

    return replace(
        options,
        console=terminal_console(sys.stdin, sys.stderr),
        interactive=not args.no_menu and args.entry is None and sys.stdin.isatty() and sys.stdout.isatty(),
        warn=lambda menu: print_warnings(menu.warnings),
    )


def _chooser(args: argparse.Namespace, devices: Devices) -> Callable[[Menu], Choice]:
    """--entry, --no-menu and --timeout as a function from a menu to a choice."""
    from pvboot.boot import chooser
    from pvboot.shell.session import choose_default

    if args.entry is not None:
        return chooser(args.entry)
    if getattr(args, "no_menu", True) or getattr(args, "json", None):
        return choose_default

    shown: set[str] = set()
    unlocked: set[Password | None] = set()  # coming back to a menu, its password need not be typed again

    def ask(menu: Menu) -> Choice:
        from dataclasses import replace

        from pvboot.screen import choose

        name = f"{menu.volume}{menu.path}"
        if args.timeout is not None and name not in shown:  # after a failure the menu's clock is stopped
            menu = replace(menu, timeout=args.timeout)
        shown.add(name)
        choice = choose(menu, devices, sys.stdin, sys.stdout, authenticated=menu.password in unlocked)
        if choice.authenticated:
            unlocked.add(menu.password)
        return choice

    return ask
