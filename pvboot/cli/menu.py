"""`pvboot menu`: what would be offered."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pvboot.cli.common import add_source_options, complain, open_source, print_json, print_warnings, tell_volumes
from pvboot.safe_text import safe

if TYPE_CHECKING:
    from pvboot.devices import Devices
    from pvboot.menu.model import Entry, Menu
    from pvboot.menu.summary import EntrySummary

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
    """0, or 1 if the menu has no entry."""
    from pvboot.menu import find, load

    with open_source(args) as devices:
        tell_volumes(args, devices)
        menu = load(devices, find(devices, args.config))
        summaries = [_summarise(devices, menu, entry) for entry in menu.entries]
        if args.json:
            print_json(_document(menu, summaries))
        else:
            _print(menu, summaries)
    if not args.json:
        print_warnings(menu.warnings)
    if not menu.entries:
        complain(f"{menu.volume or ''}{menu.path}: the menu has no entry")
        return 1
    return 0


def _summarise(devices: Devices, menu: Menu, entry: Entry) -> EntrySummary:
    from pvboot.device_names import read_device
    from pvboot.menu.summary import summarise
    from pvboot.shell.describe import find_uuid

    root = read_device(menu.volume)[0] if menu.volume else None
    return summarise(entry, root, lambda uuid: find_uuid(devices, uuid))


def _document(menu: Menu, summaries: list[EntrySummary]) -> dict[str, Any]:
    return {
        "source": menu.source,
        "menu": {"volume": menu.volume, "path": menu.path, "dialect": menu.dialect},
        "default": menu.default,
        "fallback": list(menu.fallback),
        "timeout": menu.timeout,
        "hidden": menu.hidden,
        "entries": [_entry(entry, summary) for entry, summary in zip(menu.entries, summaries, strict=True)],
        "warnings": [str(warning) for warning in menu.warnings],
    }


def _entry(entry: Entry, summary: EntrySummary) -> dict[str, Any]:
    return {
        "index": entry.index,
        "title": entry.title,
        "id": entry.id,
        "submenu": list(entry.submenu),
        "locked": entry.locked,
        "line": entry.line,
        "root": str(summary.root) if summary.root else None,
        "kernel": summary.kernel.path if summary.kernel else None,
        "args": summary.kernel.args if summary.kernel else "",
        "modules": [{"path": module.path, "args": module.args} for module in summary.modules],
        "initrds": [initrd.path for initrd in summary.initrds],
    }


def _print(menu: Menu, summaries: list[EntrySummary]) -> None:
    clock = "waits for a choice" if menu.timeout is None else f"timeout {menu.timeout} s"
    fallback = f", fallback {' '.join(map(str, menu.fallback))}" if menu.fallback else ""
    hidden = ", hidden" if menu.hidden else ""
    print(f"{safe((menu.volume or '') + menu.path)}: default {menu.default}{fallback}, {clock}{hidden}")
    for entry, summary in zip(menu.entries, summaries, strict=True):
        mark = "*" if entry.index == menu.default else " "
        lock = "  (locked)" if entry.locked else ""
        print(f"{mark} {entry.index}  {safe(' > '.join((*entry.submenu, entry.title)))}{lock}")
        if summary.kernel is not None:
            print(f"      kernel {summary.root or ''}{safe(summary.kernel.path)} {safe(summary.kernel.args)}".rstrip())
        for module in summary.modules:
            word = "initrd" if module in summary.initrds else "module"
            print(f"      {word} {safe(module.path)} {safe(module.args)}".rstrip())
