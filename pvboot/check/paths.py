"""The reason why a path leads to nothing: which of its parts is wrong, and what was probably meant."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from fsdrivers import errors as fs_errors
from pvboot.check.hints import nearest
from pvboot.grub_errors import shorten

if TYPE_CHECKING:
    from fsdrivers.api import Filesystem

NAMES_LIMIT: Final = 10_000
NAMES_COMPARED: Final = 500  # for a near miss; comparing costs much more than reading
NAME_CHARACTERS: Final = 120
LIKENESS: Final = 0.7


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kind` is "missing", "case" (only letters' case differs), "dangling", "loop" or "not a directory"; `path` is the
    part that is wrong, `meant` the right spelling of the whole path, "" if there is no good guess, `target` where the
    dangling link points to."""

    kind: str
    path: str
    meant: str = ""
    target: str = ""

    def __str__(self) -> str:
        if self.kind == "dangling":
            return f"{shorten(self.path)} is a link to {shorten(self.target)}, which is not there"
        if self.kind == "loop":
            return f"{shorten(self.path)} is a link that leads back to itself"
        if self.kind == "not a directory":
            return f"{shorten(self.path)} is not a directory"
        if self.meant:
            return f"{shorten(self.path)} is not there, did you mean {shorten(self.meant)}?"
        return f"{shorten(self.path)} is not there"


def explain(filesystem: Filesystem, path: str, *, suggest: bool = True) -> Verdict | None:
    """Say what is wrong with a path, None if it leads to something.

    Without `suggest` no directory is listed to find out what was meant.  Raises `FsError` for a damaged file system.
    """
    at = ""
    parts = [part for part in path.split("/") if part]
    for number, part in enumerate(parts):
        step = f"{at}/{part}"
        try:
            filesystem.lookup(step)
        except fs_errors.NotFound:
            rest = "".join(f"/{further}" for further in parts[number + 1 :])
            return _missing(filesystem, at, part, rest, suggest=suggest)
        except fs_errors.LinkLoop:
            return Verdict("loop", step)
        except fs_errors.NotADirectory:
            return Verdict("not a directory", at or "/")
        at = step
    return None


def _missing(filesystem: Filesystem, directory: str, name: str, rest: str, *, suggest: bool) -> Verdict:
    path = f"{directory}/{name}"
    try:
        stat = filesystem.lookup(path, follow=False)
        return Verdict("dangling", path, target=stat.target or "")
    except fs_errors.PathError:
        if not suggest:
            return Verdict("missing", path)
    names = list(islice(filesystem.names(directory or "/"), NAMES_LIMIT))
    folded = name.casefold()
    same = sorted(known for known in names if known.casefold() == folded)
    if same:
        return Verdict("case", path, f"{directory}/{same[0]}{rest}")
    if len(name) > NAME_CHARACTERS:
        return Verdict("missing", path)
    short = [known for known in sorted(names)[:NAMES_COMPARED] if len(known) <= NAME_CHARACTERS]
    near = nearest(name, short, LIKENESS)
    return Verdict("missing", path, f"{directory}/{near}{rest}" if near else "")
