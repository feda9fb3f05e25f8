"""`pvboot ls`: list a directory of a guest's disk."""

from __future__ import annotations

import argparse
import stat
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from pvboot.cli.common import add_source_options, open_source, tell_volumes
from pvboot.errors import PvbootError
from pvboot.safe_text import safe

if TYPE_CHECKING:
    from fsdrivers.api import DirEntry, Filesystem

HELP = "list a directory of a guest's disk"

EXAMPLES = """\
examples:
  pvboot ls disk.img                   the top of the menu's volume, else of the first one
  pvboot ls -l disk.img /boot
  pvboot ls -R disk.img '(hd0,1)/etc'  everything below a directory of the second partition
"""

LISTED_LIMIT = 1_000_000  # names; a directory tree on a damaged disk may not end

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
    """0; a path that is not there raises."""
    from fsdrivers.api import DirEntry
    from pvboot.menu.discovery import locate_path

    with open_source(args) as devices:
        tell_volumes(args, devices)
        device, filesystem, path, found = locate_path(devices, args.path, args.config)
        if found.kind == "dir":
            listed = walk(filesystem, path, recursive=args.recursive)
        else:
            listed = iter([(path, DirEntry(path.rpartition("/")[2], found))])
        if args.json:
            _print_json(str(device), path, listed)
            return 0
        for where, entry in listed:
            print(_line(where if args.recursive else entry.name, entry, args.long))
    return 0


def walk(filesystem: Filesystem, top: str, *, recursive: bool) -> Iterator[tuple[str, DirEntry]]:
    """The path and the facts of every name in a directory, sorted, and below it if `recursive`.

    Raises `PvbootError` above the limit of names.  A damaged disk may name a directory twice, also inside itself:
    it is entered once.
    """
    count = 0
    entered = {filesystem.lookup(top).inode}
    # Below a directory of this machine other file systems may be mounted, whose inode numbers repeat.
    once = filesystem.kind != "dir"
    # Paths still to be listed, each with the inodes of the directories above it.
    waiting = [(top, frozenset([filesystem.lookup(top).inode]))]
    while waiting:
        folder, above = waiting.pop()
        below = []
        names = islice(filesystem.listdir(folder), LISTED_LIMIT + 1)  # one directory may be without end, too
        for entry in sorted(names, key=lambda entry: entry.name):
            count += 1
            if count > LISTED_LIMIT:
                raise PvbootError("too many names", where=top, expected=f"at most {LISTED_LIMIT}")
            path = f"{folder.rstrip('/')}/{entry.name}"
            yield path, entry
            if not recursive or entry.stat.kind != "dir" or entry.stat.inode in (entered if once else above):
                continue
            entered.add(entry.stat.inode)
            below.append((path, above | {entry.stat.inode}))
        waiting.extend(reversed(below))


def _print_json(volume: str, path: str, listed: Iterator[tuple[str, DirEntry]]) -> None:
    """One document, written only when all of it is there; held as text, which is small."""
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
    print(head + ("\n " if entries else "") + ",\n ".join(entries) + "]}")


def _line(name: str, entry: DirEntry, long: bool) -> str:
    target = f" -> {safe(entry.stat.target)}" if entry.stat.target is not None and long else ""
    if not long:
        return safe(name)
    mode = stat.filemode(entry.stat.mode)[1:] if entry.stat.mode else "?????????"
    letter = _KIND_LETTERS.get(entry.stat.kind, "?")
    return f"{letter}{mode} {entry.stat.size:>12} {_time(entry.stat.mtime)} {safe(name)}{target}"


def _time(seconds: int) -> str:
    """Universal time; a damaged disk may hold any number."""
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):
        return f"{seconds:>16}"
