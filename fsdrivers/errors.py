"""The base of all errors, and the drivers' own: what is wrong, where, what was expected and what was found."""

# ruff: noqa: N818  (the names say what is wrong; "Error" would only make them longer)
from __future__ import annotations


class PvbootError(Exception):
    """Base of every error that a user may see.

    `code` is stable and meant for programs.  `exit_code` is what a command line ends with: 1 the answer is no, 2 wrong
    usage, 3 the input is damaged, hostile or unsupported, 4 network trouble.  `where` names the place (source, volume,
    path, byte offset, line:column), `expected` and `found` are short texts.
    """

    code = "error"
    exit_code = 3

    def __init__(self, what: str, *, where: str = "", expected: str = "", found: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        facts = [f"{label} {value}" for label, value in (("expected", self.expected), ("found", self.found)) if value]
        return f"{text} ({', '.join(facts)})" if facts else text


class FsError(PvbootError):
    """Base of the drivers' errors."""

    code = "fs-error"


class SourceError(FsError):
    """The image or device itself cannot be read (missing, short, I/O error)."""

    code = "source-error"


class NotThisFilesystem(FsError):
    """The bytes do not hold the file system that was asked for."""

    code = "not-this-filesystem"


class UnknownFilesystem(FsError):
    """No driver knows the volume; `found` says what it seems to be.

    `content` is the format's name in `probe.KNOWN_MAGICS`, `probe.ZEROS`, or "" for a volume that is not recognised.
    """

    code = "unknown-filesystem"
    content = ""


class Unsupported(FsError):
    """A known format with a feature that the driver does not read; the feature is named."""

    code = "unsupported"


class Corrupt(FsError):
    """An on-disk structure contradicts itself or its container."""

    code = "corrupt"


def require(good: bool, what: str, where: str, expected: object = "", found: object = "") -> None:
    """Raise `Corrupt` unless `good`.  Its texts are made in any case: loops raise by themselves."""
    if not good:
        raise Corrupt(what, where=where, expected=str(expected), found=str(found))


def require_checksum(what: str, where: str, stored: int, computed: int) -> None:
    """Raise `Corrupt` unless the stored checksum is the computed one."""
    require(stored == computed, f"bad checksum of {what}", where, f"{stored:#x}", f"{computed:#x}")


class PathError(FsError):
    """Base of errors about a path inside a file system."""

    code = "path-error"
    exit_code = 1


class NotFound(PathError):
    """No such file or directory."""

    code = "not-found"


class NotADirectory(PathError):
    """A path component is not a directory."""

    code = "not-a-directory"


class IsADirectory(PathError):
    """A regular file was wanted and a directory (or special file) is there."""

    code = "is-a-directory"


class LinkLoop(PathError):
    """More symbolic links than the limit (40)."""

    code = "link-loop"
