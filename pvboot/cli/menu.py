"""`pvboot menu`: show the menu that a guest would offer."""

from __future__ import annotations

import argparse

from fsdrivers.light import TYPE_CHECKING, Any
from pvboot.cli.common import add_source_options, complain, open_guest, print_json, print_warnings
from pvboot.safe_text import safe

if TYPE_CHECKING:
    from pvboot.menu.loads import EntryLoads
    from pvboot.menu.model import Entry, Menu

HELP = "show what a guest's disk would boot"

EXAMPLES = """\
examples:
  pvboot menu disk.img
  pvboot menu --json disk.img | jq '.entries[].title'
  pvboot menu --config '(hd0,1)/grub/menu.lst' disk.img
  pvboot menu /srv/guest-root          a directory stands for the guest's disk
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCE, --disk, --config, --json."""
    parser.description = "Find the boot menu of a guest and show what it would offer."
    parser.epilog = EXAMPLES
    add_source_options(parser)


def run(args: argparse.Namespace) -> int:
    """Return 0, or 1 if the menu has no entry."""
    from pvboot.device_names import read_device
    from pvboot.menu import find, load
    from pvboot.menu.loads import entry_loads

    with open_guest(args) as devices:
        menu = load(devices, find(devices, args.config))
        root = read_device(menu.volume)[0] if menu.volume else None
        loads = [entry_loads(entry, root, devices) for entry in menu.entries]
        if args.json:
            print_json(_document(menu, loads))
        else:
            _print(menu, loads)
    if not args.json:
        print_warnings(menu.warnings)
    if not menu.entries:
        complain(f"{menu.volume or ''}{menu.path}: the menu has no entry")
        return 1
    return 0


def _document(menu: Menu, loads: list[EntryLoads]) -> dict[str, Any]:
    return {
        "source": menu.source,
        "menu": {"volume": menu.volume, "path": menu.path, "dialect": menu.dialect},
        "default": menu.default,
        "fallback": list(menu.fallback),
        "timeout": menu.timeout,
        "hidden": menu.hidden,
        "entries": [_entry(*pair) for pair in zip(menu.entries, loads, strict=True)],
        "warnings": [str(warning) for warning in menu.warnings],
    }


def _entry(entry: Entry, loads: EntryLoads) -> dict[str, Any]:
    root, kernel = loads.kernel.place if loads.kernel else (loads.root, None)
    return {
        "index": entry.index,
        "title": entry.title,
        "id": entry.id,
        "submenu": list(entry.submenu),
        "locked": entry.locked,
        "line": entry.line,
        "root": str(root) if root else None,
        "kernel": kernel,
        "args": loads.cmdline,
        "modules": [{"path": named.place[1], "args": named.args} for named in (*loads.modules, *loads.initrds)],
        "initrds": [named.place[1] for named in loads.initrds],
    }


def _print(menu: Menu, loads: list[EntryLoads]) -> None:
    clock = "waits for a choice" if menu.timeout is None else f"timeout {menu.timeout} s"
    fallback = f", fallback {' '.join(map(str, menu.fallback))}" if menu.fallback else ""
    hidden = ", hidden" if menu.hidden else ""
    print(f"{safe((menu.volume or '') + menu.path)}: default {menu.default}{fallback}, {clock}{hidden}")
    for entry, loaded in zip(menu.entries, loads, strict=True):
        mark = "*" if entry.index == menu.default else " "
        lock = "  (locked)" if entry.locked else ""
        print(f"{mark} {entry.index}  {safe(' > '.join((*entry.submenu, entry.title)))}{lock}")
        if loaded.kernel is not None:
            root, kernel = loaded.kernel.place
            print(f"      kernel {root or ''}{safe(kernel)} {safe(loaded.cmdline)}".rstrip())
        for named in (*loaded.modules, *loaded.initrds):
            print(f"      {named.role} {safe(named.place[1])} {safe(named.args)}".rstrip())
