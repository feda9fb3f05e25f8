"""Rules about the files that entries name: there, readable, and of the right kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fsdrivers import errors as fs_errors
from grammars.spans import SourceSpan
from pvboot import grub_errors
from pvboot.check.api import Problem, rule
from pvboot.check.headers import claimed_bytes
from pvboot.check.locate import locate
from pvboot.check.paths import Verdict, explain
from pvboot.check.volumes import device_of
from pvboot.errors import PvbootError
from pvboot.grub_errors import GrubError, shorten

if TYPE_CHECKING:
    from pvboot.check.subject import Subject
    from pvboot.menu.loads import NamedFile
    from pvboot.menu.model import Entry

HEAD_BYTES = 4096
PATHS_SUGGESTED = 50  # of a menu: listing directories costs
_NOT_THERE = (grub_errors.FILE_NOT_FOUND, grub_errors.BAD_FILE_TYPE, grub_errors.TOO_MANY_LINKS)
_UNREADABLE = (grub_errors.UNREADABLE_WHOLE, grub_errors.INCONSISTENT_FILESYSTEM, grub_errors.READ_ERROR)


def named_files(subject: Subject) -> Iterator[tuple[Entry, NamedFile]]:
    """Yield every file of every entry that is looked at."""
    for entry in subject.opened_entries:
        for named in subject.loads(entry).named:
            yield entry, named


def span_of(subject: Subject, entry: Entry, named: NamedFile) -> SourceSpan:
    """Return the place of the name; entries of some dialects only have that of their title."""
    return locate(subject, entry, named.role, named.text) if named.span == entry.span else named.span


def problem_at(subject: Subject, entry: Entry, named: NamedFile, message: str, severity: str | None = None) -> Problem:
    """Return a problem of a file, at its name."""
    return Problem(message, span_of(subject, entry, named), entry.index, severity=severity)


# --- paths that lead to no file ---------------------------------------------------------------------------


def _grub_number(named: NamedFile) -> int | None:
    return named.error.number if isinstance(named.error, GrubError) else None


def _verdict(subject: Subject, named: NamedFile) -> Verdict | None:
    """Say why a name leads to nothing, None if it does not.  Only for the first ones directories are searched."""
    known: dict[str, Verdict | None] = subject.once("verdicts", dict)
    if named.name not in known:
        wrong = sum(verdict is not None for verdict in known.values())
        known[named.name] = _explain(subject, named, suggest=wrong < PATHS_SUGGESTED)
    return known[named.name]


def _explain(subject: Subject, named: NamedFile, *, suggest: bool) -> Verdict | None:
    if _grub_number(named) not in _NOT_THERE or subject.devices is None:
        return None
    place = device_of(named.name)
    if place is None:
        return Verdict("missing", named.text)
    try:
        return explain(subject.devices.mount(place[0]), place[1], suggest=suggest)
    except PvbootError:
        return None


def _enter(role: str, summary: str) -> None:
    @rule(f"missing-{role}-file", "error", summary, needs="files")
    def missing(subject: Subject) -> Iterator[Problem]:
        for entry, named in named_files(subject):
            verdict = _verdict(subject, named) if named.role == role else None
            if verdict is not None and verdict.kind in ("missing", "not a directory"):
                yield problem_at(subject, entry, named, f"the {role} {shorten(named.name)} cannot be opened: {verdict}")


_enter("kernel", "an entry's kernel is not there")
_enter("initrd", "an entry's ramdisk is not there")
_enter("module", "a module of an entry is not there")


@rule("wrong-case", "error", "a file is only there in other upper and lower case letters", needs="files")
def wrong_case(subject: Subject) -> Iterator[Problem]:
    """Loaders compare names letter by letter."""
    for entry, named in named_files(subject):
        verdict = _verdict(subject, named)
        if verdict is not None and verdict.kind == "case":
            yield problem_at(subject, entry, named, f"the {named.role} is called {shorten(verdict.meant, 120)}")


@rule("dangling-link", "error", "a file's name is a link that leads nowhere", needs="files")
def dangling_link(subject: Subject) -> Iterator[Problem]:
    """The link is there, what it points to is not (or it points to itself)."""
    for entry, named in named_files(subject):
        verdict = _verdict(subject, named)
        if verdict is not None and verdict.kind in ("dangling", "loop"):
            yield problem_at(subject, entry, named, f"the {named.role} cannot be opened: {verdict}")


def _kind(subject: Subject, named: NamedFile) -> str | None:
    """Return the kind of what could not be opened as a file, None if nothing is there."""
    place = device_of(named.name)
    if _grub_number(named) not in _NOT_THERE or place is None or subject.devices is None:
        return None
    try:
        return subject.devices.mount(place[0]).lookup(place[1]).kind
    except PvbootError:
        return None


@rule("kernel-is-directory", "error", "a directory is named as a kernel", needs="files")
def kernel_is_directory(subject: Subject) -> Iterator[Problem]:
    """pygrub even hands the directory's raw block over as a kernel."""
    for entry, named in named_files(subject):
        if named.role == "kernel" and _kind(subject, named) == "dir":
            yield problem_at(subject, entry, named, f"{shorten(named.name, 120)} is a directory, not a kernel")


@rule("not-a-regular-file", "error", "a directory or device is named as a file", needs="files")
def not_a_regular_file(subject: Subject) -> Iterator[Problem]:
    """Ramdisks and modules that are directories; anything that is a device, pipe or socket."""
    for entry, named in named_files(subject):
        kind = _kind(subject, named)
        if kind == "other" or (kind == "dir" and named.role != "kernel"):
            what = "a directory" if kind == "dir" else "a device, pipe or socket"
            yield problem_at(subject, entry, named, f"{shorten(named.name, 120)} is {what}, not a file")


# --- files that are there ---------------------------------------------------------------------------------


@rule("unreadable-file", "error", "a file is there and cannot be read", needs="files")
def unreadable_file(subject: Subject) -> Iterator[Problem]:
    """Damaged blocks, encrypted contents, or a file system that contradicts itself."""
    for entry, named in named_files(subject):
        if _grub_number(named) in _UNREADABLE:
            yield problem_at(subject, entry, named, f"the {named.role} cannot be read: {named.error}")
        elif named.file is not None and named.file.size:
            try:
                named.file.read_at(0, 1)
                named.file.read_at(named.file.size - 1, 1)
            except fs_errors.FsError as err:
                yield problem_at(subject, entry, named, f"the {named.role} cannot be read: {err}")


@rule("empty-file", "error", "a kernel, ramdisk or module has no bytes", needs="files")
def empty_file(subject: Subject) -> Iterator[Problem]:
    """What is left when a disk was full while a package was installed."""
    for entry, named in named_files(subject):
        if named.file is not None and not named.file.size:
            yield problem_at(subject, entry, named, f"{shorten(named.name, 120)} is empty")


@rule("truncated-file", "error", "a file is shorter than its own header says", needs="files")
def truncated_file(subject: Subject) -> Iterator[Problem]:
    """A kernel whose header speaks of more bytes than there are."""
    for entry, named in named_files(subject):
        if named.role != "kernel" or named.file is None:
            continue
        try:
            claim = claimed_bytes(named.file.read_at(0, HEAD_BYTES))
        except fs_errors.FsError:
            continue  # see `unreadable-file`
        if claim is not None and claim.size > named.file.size:
            yield problem_at(
                subject,
                entry,
                named,
                f"{shorten(named.name, 120)} is cut: it has {named.file.size} bytes, {claim.what} ends at {claim.size}",
            )
