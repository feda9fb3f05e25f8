"""`pvboot cp`: copy files out of a guest's disk."""

from __future__ import annotations

import argparse
import os

from pvboot.cli.common import add_source_options, complain, open_guest
from pvboot.errors import UsageError

HELP = "copy files out of a guest's disk"

EXAMPLES = """\
examples:
  pvboot cp disk.img /boot/vmlinuz .
  pvboot cp -r disk.img '(hd0,1)/etc' /tmp/guest-etc

A directory is copied with -r only.  Symbolic links are copied as links; device nodes are left out.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCE PATH DEST, -r."""
    parser.description = "Copy a file, or with -r a directory, out of a guest's disk."
    parser.epilog = EXAMPLES
    add_source_options(parser, with_json=False)
    parser.add_argument("path", metavar="PATH", help="[DEVICE]/path")
    parser.add_argument("dest", metavar="DEST", help="file or directory of this machine")
    parser.add_argument("-r", "--recursive", action="store_true", help="copy directories with all that is in them")


def run(args: argparse.Namespace) -> int:
    """Return 0, or 1 if something was left out; a path that does not exist raises."""
    from fsdrivers.extract import copy_file, copy_tree, make_directory
    from pvboot.menu.discovery import locate_path

    inputs = [os.stat(name) for name in (args.source, *args.disk) if os.path.isfile(name)]
    with open_guest(args) as devices:
        _device, filesystem, path, found = locate_path(devices, args.path, args.config)
        name = path.rstrip("/").rpartition("/")[2]
        inside = name not in ("", ".", "..") and os.path.isdir(args.dest)
        dest = os.path.join(args.dest, name) if inside else args.dest
        if found.kind != "dir":
            copy_file(filesystem, path, dest, found.mode, inputs)
            return 0
        if not args.recursive:
            raise UsageError("a directory is copied with -r only", where=args.path)
        if inside:
            make_directory(dest)
        code = 0
        for left_out in copy_tree(filesystem, path, dest, inputs):
            complain(f"{left_out} is left out: not a file, directory or link that can be made here")
            code = 1
        return code
