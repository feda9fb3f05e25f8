"""Trees of a volume: every name below a directory, and copies of them on the host.

A volume's names and links are its guest's: none may lead a copy out of its directory, and no copy gets more rights
than a plain file has.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from fsdrivers.api import DirEntry, Filesystem
from fsdrivers.copy import CopyError, copy_to_fd
from fsdrivers.errors import PvbootError

LISTED_LIMIT = 1_000_000  # names; a directory tree on a damaged disk may not end


def walk(
    filesystem: Filesystem, top: str, *, recursive: bool, damaged: Callable[[PvbootError], object] | None = None
) -> Iterator[tuple[str, DirEntry]]:
    """The path and the facts of every name in a directory, sorted, and below it if `recursive`.

    `damaged` is told of each directory that cannot be read to its end, and the walk goes on with what was read of it;
    without it the first error is raised.  Raises `PvbootError` above the limit of names.  A damaged disk may name a
    directory twice, also inside itself: it is entered once.
    """
    count = 0
    entered = {filesystem.lookup(top).inode}
    # Below a directory of this machine other file systems may be mounted, whose inode numbers repeat.
    once = filesystem.kind != "dir"
    # Paths still to be listed, each with the inodes of the directories above it.
    waiting = [(top, frozenset(entered))]
    while waiting:
        folder, above = waiting.pop()
        below = []
        listed = []
        try:
            for entry in islice(filesystem.listdir(folder), LISTED_LIMIT + 1):  # one may be without end, too
                listed.append(entry)
        except PvbootError as err:
            if damaged is None:
                raise
            damaged(err)
        for entry in sorted(listed, key=lambda entry: entry.name):
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


def copy_file(filesystem: Filesystem, path: str, dest: str, mode: int, inputs: Sequence[os.stat_result] = ()) -> None:
    """Copy a file to `dest`, which must not be one of `inputs` or what the file lies in.  Raises `FsError`."""
    file = filesystem.open(path)
    # Never follow a link at the destination, and never wait for the reader of a FIFO.
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with _writing(dest):
        fd = os.open(dest, flags, mode & 0o777 if mode else 0o644)
        try:
            facts = os.fstat(fd)
            sources = [os.fstat(extent.fd) for extent in islice(file.extents(), 1) if extent.fd is not None]
            if any(os.path.samestat(facts, source) for source in (*inputs, *sources)):
                raise CopyError("the copy would overwrite what it is taken from", where=dest)
            if stat.S_ISREG(facts.st_mode):
                os.ftruncate(fd, 0)  # only now: nothing is lost if it was the source
            os.set_blocking(fd, True)
            copy_to_fd(file, fd)
        finally:
            os.close(fd)


def copy_tree(filesystem: Filesystem, top: str, dest: str, inputs: Sequence[os.stat_result] = ()) -> Iterator[str]:
    """Copy all that is below a directory; yields the paths that are left out.  Raises `FsError`."""
    with _writing(dest):
        os.makedirs(dest, exist_ok=True)
        for path, entry in walk(filesystem, top, recursive=True):
            target = os.path.join(dest, path[len(top.rstrip("/")) + 1 :])
            if not _copy_entry(filesystem, path, entry, target, inputs):
                yield path


def make_directory(path: str) -> None:
    """Make a directory.  An earlier copy may have left a guest's link there; nothing may go where it leads."""
    if os.path.islink(path):
        raise CopyError("a symbolic link stands where a directory goes", where=path)
    with _writing(path):
        os.makedirs(path, exist_ok=True)


def _copy_entry(
    filesystem: Filesystem, path: str, entry: DirEntry, target: str, inputs: Sequence[os.stat_result]
) -> bool:
    """False if it cannot be copied.  A name with a slash or NUL in it (a damaged disk) would leave the tree."""
    if entry.name in ("", ".", "..") or "/" in entry.name or "\0" in entry.name:
        return False
    if entry.stat.kind == "dir":
        make_directory(target)
    elif entry.stat.kind == "symlink":
        if not entry.stat.target or "\0" in entry.stat.target:
            return False
        if os.path.lexists(target):
            os.unlink(target)
        os.symlink(entry.stat.target, target)
    elif entry.stat.kind == "file":
        copy_file(filesystem, path, target, entry.stat.mode, inputs)
    else:
        return False
    return True


@contextmanager
def _writing(dest: str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise CopyError("cannot be written", where=err.filename or dest, found=err.strerror or "") from err
