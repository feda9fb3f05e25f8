"""`pvboot ls`: list a directory of a guest's disk."""

from __future__ import annotations

import argparse
import stat
import time
from collections.abc import Iterator, Sequence

from fsdrivers.light import TYPE_CHECKING
from pvboot.cli.common import add_source_options, complain, open_guest
from pvboot.safe_text import safe

if TYPE_CHECKING:
    from fsdrivers.api import DirEntry
    from pvboot.errors import PvbootError

HELP = "list a directory of a guest's disk"

EXAMPLES = """\
examples:
  pvboot ls disk.img                   the top of the menu's volume, else of the first one
  pvboot ls -l disk.img /boot
  pvboot ls -R disk.img '(hd0,1)/etc'  everything below a directory of the second partition
"""

DAMAGE_SHOWN = 20  # directories; a hostile disk may have a hundred thousand
_KIND_LETTERS = {"file": "-", "dir": "d", "symlink": "l"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCE [PATH], -R, -l."""
    parser.description = "List a directory of a guest's disk."
    parser.epilog = EXAMPLES
    add_source_options(parser)
    parser.add_argument("path", metavar="PATH", nargs="?", default="/", help="[DEVICE]/path (/)")
    parser.add_argument("-R", "--recursive", action="store_true", help="and all directories below")
    parser.add_argument("-l", "--long", action="store_true", help="mode, size and time, too")


def run(args: argparse.Namespace) -> int:
    """Return 0, or 3 if a directory is damaged: what can be read of it is listed; a path that does not exist raises."""
    from fsdrivers.api import DirEntry
    from fsdrivers.extract import walk
    from pvboot.menu.discovery import locate_path

    problems: list[PvbootError] = []
    with open_guest(args) as devices:
        device, filesystem, path, found = locate_path(devices, args.path, args.config)
        if found.kind == "dir":
            listed = walk(filesystem, path, recursive=args.recursive, damaged=problems.append)
        else:
            listed = iter([(path, DirEntry(path.rpartition("/")[2], found))])
        if args.json:
            _print_json(str(device), path, listed, problems)
        else:
            for where, entry in listed:
                print(_line(where if args.recursive else entry.name, entry, args.long))
    for problem in problems[:DAMAGE_SHOWN]:
        complain(str(problem))
    if len(problems) > DAMAGE_SHOWN:
        complain(f"and {len(problems) - DAMAGE_SHOWN} more directories that cannot be read whole")
    return max((problem.exit_code for problem in problems), default=0)


def _print_json(
    volume: str, path: str, listed: Iterator[tuple[str, DirEntry]], problems: Sequence[PvbootError]
) -> None:
    """Print one document, when all of it is there; it is held as text, which is small."""
    import json

    entries = []
    for where, entry in listed:
        facts = {
            "name": entry.name,
            "path": where,
            "type": entry.stat.kind,
            "size": entry.stat.size,
            "target": entry.stat.target,
        }
        entries.append(json.dumps(facts))
    head = f'{{"volume": {json.dumps(volume)}, "path": {json.dumps(path)}, "entries": ['
    print(
        head
        + ("\n " if entries else "")
        + ",\n ".join(entries)
        + f'], "damaged": {json.dumps([str(problem) for problem in problems])}}}'
    )


def _line(name: str, entry: DirEntry, long: bool) -> str:
    target = f" -> {safe(entry.stat.target)}" if entry.stat.target is not None and long else ""
    if not long:
        return safe(name)
    mode = stat.filemode(entry.stat.mode)[1:] if entry.stat.mode else "?????????"
    letter = _KIND_LETTERS.get(entry.stat.kind, "?")
    return f"{letter}{mode} {entry.stat.size:>12} {_time(entry.stat.mtime)} {safe(name)}{target}"


def _time(seconds: int) -> str:
    """Format a time in UTC; a damaged disk may hold any number."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):
        return f"{seconds:>16}"
