"""`pvboot cp`: copy files out of a guest's disk."""

from __future__ import annotations

import argparse
import os
import stat
from itertools import islice
from typing import TYPE_CHECKING

from pvboot.cli.common import add_source_options, complain, open_source, tell_volumes
from pvboot.errors import PvbootError, UsageError

if TYPE_CHECKING:
    from fsdrivers.api import DirEntry, Filesystem

HELP = "copy files out of a guest's disk"

EXAMPLES = """\
examples:
  pvboot cp disk.img /boot/vmlinuz .
  pvboot cp -r disk.img '(hd0,1)/etc' /tmp/guest-etc

A directory is copied with -r only.  Symbolic links are copied as links; device nodes are left out.
"""


class OutputError(PvbootError):
    """The copy cannot be written."""

    code = "output"
    exit_code = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCE PATH DEST, -r."""
    parser.description = "Copy a file, or with -r a directory, out of a guest's disk."
    parser.epilog = EXAMPLES
    add_source_options(parser, with_json=False)
    parser.add_argument("path", metavar="PATH", help="[DEVICE]/path")
    parser.add_argument("dest", metavar="DEST", help="file or directory of this machine")
    parser.add_argument("-r", "--recursive", action="store_true", help="copy directories with all that is in them")


def run(args: argparse.Namespace) -> int:
    """0; 1 if something was left out; a path that is not there raises."""
    from pvboot.menu.discovery import locate_path

    inputs = [os.stat(name) for name in (args.source, *args.disk) if os.path.isfile(name)]
    with open_source(args) as devices:
        tell_volumes(args, devices)
        _device, filesystem, path, found = locate_path(devices, args.path, args.config)
        name = _base_name(path)
        dest = os.path.join(args.dest, name) if name and os.path.isdir(args.dest) else args.dest
        try:
            if found.kind != "dir":
                _copy_file(filesystem, path, dest, found.mode, inputs)
                return 0
            if not args.recursive:
                raise UsageError("a directory is copied with -r only", where=args.path)
            if dest != args.dest:
                _refuse_link(dest)
            return _copy_tree(filesystem, path, dest, inputs)
        except OSError as err:
            raise OutputError("cannot be written", where=err.filename or dest, found=err.strerror or "") from err


def _base_name(path: str) -> str:
    """The last name of a path; "" for the top and for names that would lead elsewhere."""
    name = path.rstrip("/").rpartition("/")[2]
    return "" if name in (".", "..") else name


def _copy_file(filesystem: Filesystem, path: str, dest: str, mode: int, inputs: list[os.stat_result]) -> None:
    from fsdrivers.copy import copy_to_fd

    file = filesystem.open(path)
    # Never follow a link at the destination, never wait for the reader of a FIFO, and never give more rights than a
    # plain file's.
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(dest, flags, mode & 0o777 if mode else 0o644)
    try:
        facts = os.fstat(fd)
        sources = [os.fstat(extent.fd) for extent in islice(file.extents(), 1) if extent.fd is not None]
        if any(os.path.samestat(facts, given) for given in (*inputs, *sources)):
            raise OutputError("the copy would overwrite what it is taken from", where=dest)
        if stat.S_ISREG(facts.st_mode):
            os.ftruncate(fd, 0)  # only now: nothing is lost if it was the source
        os.set_blocking(fd, True)
        copy_to_fd(file, fd)
    finally:
        os.close(fd)


def _copy_tree(filesystem: Filesystem, top: str, dest: str, inputs: list[os.stat_result]) -> int:
    from pvboot.cli.ls import walk

    os.makedirs(dest, exist_ok=True)
    code = 0
    for path, entry in walk(filesystem, top, recursive=True):
        target = os.path.join(dest, path[len(top.rstrip("/")) + 1 :])
        if not _copy_entry(filesystem, path, entry, target, inputs):
            complain(f"{path} is left out: not a file, directory or link that can be made here")
            code = 1
    return code


def _refuse_link(folder: str) -> None:
    """An earlier copy may have left a guest's link here; what comes next must not go where it leads."""
    if os.path.islink(folder):
        raise OutputError("a symbolic link stands where a directory goes", where=folder)


def _copy_entry(filesystem: Filesystem, path: str, entry: DirEntry, target: str, inputs: list[os.stat_result]) -> bool:
    """False if it cannot be copied.  A name with a slash or NUL in it (a damaged disk) would leave the tree."""
    if entry.name in ("", ".", "..") or "/" in entry.name or "\0" in entry.name:
        return False
    if entry.stat.kind == "dir":
        _refuse_link(target)
        os.makedirs(target, exist_ok=True)
    elif entry.stat.kind == "symlink":
        if not entry.stat.target or "\0" in entry.stat.target:
            return False
        if os.path.lexists(target):
            os.unlink(target)
        os.symlink(entry.stat.target, target)
    elif entry.stat.kind == "file":
        _copy_file(filesystem, path, target, entry.stat.mode, inputs)
    else:
        return False
    return True
