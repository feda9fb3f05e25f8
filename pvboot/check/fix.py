"""`--fix`: the faults that a program may mend, in plain menu files and nowhere else.

A fix never changes what the menu means, but for the fault itself: the menu is read before and after, and a change that
would show is not made.  A file is written beside the old one and renamed over it, so that nobody ever sees half of it.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pvboot.check.model import Finding
from pvboot.devices import Devices
from pvboot.errors import PvbootError, UsageError
from pvboot.menu.dialects import Dialect, MenuContext, dialect_of
from pvboot.menu.discovery import MENU_LIMIT_BYTES
from pvboot.safe_text import safe
from pvboot.sources import is_url

if TYPE_CHECKING:
    from pvboot.check.model import CheckOptions
    from pvboot.menu.model import Entry, Menu

_BOM: Final = b"\xef\xbb\xbf"
_GZIP: Final = b"\x1f\x8b"
_GRUB_CFG_DEFAULT = re.compile(r"""(?m)^([ \t]*set[ \t]+default=)(["']?)([0-9]+)\2(?=[ \t]*\r?$)""")


@dataclass(frozen=True, slots=True)
class Fixed:
    """A file before and after: `done` are the rules whose findings are mended, `left` those where it was not safe."""

    path: str
    before: bytes
    after: bytes
    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Text:
    """A menu while it is mended."""

    data: bytes
    path: str
    dialect: Dialect

    def menu(self, data: bytes) -> Menu:
        return self.dialect.builder()(data, MenuContext(self.path, None, self.path, Devices([])))


# --- the fixes --------------------------------------------------------------------------------------------


def _without_mark(text: _Text) -> bytes:
    return text.data.removeprefix(_BOM)


def _without_trailing_nuls(text: _Text) -> bytes:
    return text.data.rstrip(b"\0")


def _with_line_feeds(text: _Text) -> bytes:
    """Make line feeds of carriage returns; where line feeds stand too, the carriage returns may be anything."""
    return text.data if b"\n" in text.data else text.data.replace(b"\r", b"\n")


def _without_carriage_returns(text: _Text) -> bytes:
    return re.sub(rb"\r+\n", b"\n", text.data)


def _with_blanks(text: _Text) -> bytes:
    """Make blanks of the tabs in commands, as GRUB Legacy reads them; comments keep theirs."""
    if text.dialect.name != "menu.lst":
        return text.data
    lines = text.data.split(b"\n")
    return b"\n".join(line if line.lstrip(b" \t").startswith(b"#") else line.replace(b"\t", b" ") for line in lines)


def _with_default_in_range(text: _Text) -> bytes:
    """Write the number of the entry that the loader takes anyway."""
    menu = text.menu(text.data)
    source = text.data.decode("utf-8", "surrogateescape")
    if menu.entries and text.dialect.name == "menu.lst":
        source = _replace_legacy_default(source, menu)
    elif menu.entries and text.dialect.name == "grub.cfg":

        def in_range(match: re.Match[str]) -> str:
            is_below = len(match[3]) <= 9 and int(match[3]) < len(menu.entries)
            return match[0] if is_below else f"{match[1]}{match[2]}{menu.default}{match[2]}"

        source = _GRUB_CFG_DEFAULT.sub(in_range, source)
    return source.encode("utf-8", "surrogateescape")


def _replace_legacy_default(source: str, menu: Menu) -> str:
    from grammars.menu_lst import parse
    from pvboot.grub_errors import GrubError, read_number

    lines = source.split("\n")
    for command in parse(source.encode("utf-8", "surrogateescape"), menu.path).lines:
        if command.name == "title":
            break
        if command.name != "default":
            continue
        try:
            is_below = read_number(command.argument)[0] < len(menu.entries)
        except GrubError:
            continue
        word = command.argument.partition(" ")[0]
        span = command.argument_part(0, len(word))
        at, row = span.column - 1, span.line - 1
        if not is_below and lines[row][at : at + span.length] == word:  # no continuation splits it
            lines[row] = f"{lines[row][:at]}{menu.default}{lines[row][at + len(word) :]}"
    return "\n".join(lines)


# Rule, its fix, and whether the menu may be another one afterwards (the fault hid a part of it).
FIXES: Final[Sequence[tuple[str, Callable[[_Text], bytes], bool]]] = (
    ("byte-order-mark", _without_mark, True),
    ("control-character", _without_trailing_nuls, True),
    ("cr-only-line-ends", _with_line_feeds, True),
    ("crlf-line-ends", _without_carriage_returns, False),
    ("tab-separator", _with_blanks, False),
    ("default-out-of-range", _with_default_in_range, False),
)
FIXABLE: Final = frozenset(rule for rule, _fix, _shows in FIXES)


def fixable_rules(data: bytes, path: str, options: CheckOptions) -> frozenset[str]:
    """Return the rules whose findings in this file are to be mended: neither off nor ignored by its own comments."""
    from pvboot.check.ignore import read_ignores
    from pvboot.check.settings import override

    given = dict(options.severities)
    findings = [Finding(rule, given.get(rule, "note"), "", path) for rule in sorted(FIXABLE)]
    rules = {finding.rule for finding in override(findings, path, options.overrides) if finding.severity != "off"}
    if options.ignore_comments:
        text = data.decode("utf-8", "surrogateescape")
        rules -= {ignore.rule for ignore in read_ignores(text, path, dialect_of(path).name, FIXABLE)[0]}
    return frozenset(rules)


def fix_text(data: bytes, path: str, wanted: Container[str] = FIXABLE) -> Fixed:
    """Mend what `wanted` names; `path` says which dialect it is.  Mending twice changes nothing more."""
    text = _Text(data, path, dialect_of(path))
    done: list[str] = []
    left: list[str] = []
    for rule, fix, shows in FIXES:
        if rule not in wanted:
            continue
        new = fix(text)
        if new == text.data:
            continue
        if shows or meaning(text.menu(text.data)) == meaning(text.menu(new)):
            text = _Text(new, path, text.dialect)
            done.append(rule)
        else:
            left.append(rule)
    return Fixed(path, data, text.data, tuple(done), tuple(left))


def meaning(menu: Menu) -> object:
    """Return all that a menu says, without where it says it."""
    entries = tuple(_entry_meaning(entry) for entry in menu.entries)
    return entries, menu.default, menu.fallback, menu.timeout, menu.hidden, menu.password


def _entry_meaning(entry: Entry) -> object:
    files: object = None
    if entry.files is not None:
        try:
            files = entry.files()
        except PvbootError as err:
            files = type(err).__name__
    commands = tuple((command.name, command.args) for command in entry.commands)
    return entry.title, entry.id, entry.submenu, entry.locked, commands, files


# --- files ------------------------------------------------------------------------------------------------


def read_plain_menu(path: str, *, links: bool = False) -> tuple[bytes, os.stat_result]:
    """Return the bytes of a plain menu file and its status; with `links` it may be reached by a symbolic link.

    Raises `UsageError` for anything that `--fix` must not touch.
    """
    if is_url(path):
        raise _refused(path, "a URL")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW))
    except OSError as err:
        if not links and os.path.islink(path):
            raise _refused(path, "a symbolic link; --fix-links mends what it leads to") from err
        raise UsageError(f"cannot be read: {err.strerror}", where=path) from err
    except ValueError as err:
        raise UsageError("not a file name", where=repr(path)) from err
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise _refused(path, "a directory" if stat.S_ISDIR(status.st_mode) else "a device or another special file")
        if status.st_size > MENU_LIMIT_BYTES:
            raise _refused(path, f"{status.st_size} bytes: an image")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(MENU_LIMIT_BYTES + 1)
    finally:
        os.close(fd)
    if b"\0" in data.rstrip(b"\0") or (data and not data.rstrip(b"\0")):
        raise _refused(path, "bytes that are not text: an image")
    if data.startswith(_GZIP):
        raise _refused(path, "a compressed file")
    return data, status


def _refused(path: str, found: str) -> UsageError:
    return UsageError("cannot be fixed", where=path, expected="a plain menu file", found=found)


def unified_diff(fixed: Fixed) -> str:
    """Show what changes as `diff -u` does; what does not print (carriage returns, marks) is shown escaped."""
    name = safe(fixed.path)
    lines = difflib.unified_diff(_lines(fixed.before), _lines(fixed.after), f"a/{name}", f"b/{name}", lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _lines(data: bytes) -> list[str]:
    text = data.decode("utf-8", "surrogateescape")
    ended = text.endswith("\n")
    lines = [safe(line).replace("\\x09", "\t") for line in (text[:-1] if ended else text).split("\n")]
    return lines if ended else [*lines[:-1], f"{lines[-1]}\\ no newline at the end"] if text else []


def write_fixed(fixed: Fixed, status: os.stat_result, *, links: bool = False) -> None:
    """Put the mended bytes in the place of a file whose `status` was taken when it was read.

    With `links` the file that a symbolic link leads to is replaced, the link stays; without, a link that has come into
    the file's place is an error.  Mode, owner and extended attributes are kept.
    Raises `UsageError` if the file has changed meanwhile or has other names (hard links), `OSError` if it cannot be
    written; then the old file is whole.
    """
    target = os.path.realpath(fixed.path) if links else os.path.abspath(fixed.path)
    if status.st_nlink > 1:
        raise UsageError("cannot be fixed: the file has other names (hard links)", where=fixed.path)
    temporary = os.path.join(os.path.dirname(target), f".{os.path.basename(target)[:200]}.{os.urandom(6).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(fixed.after)
            file.flush()
            _keep_attributes(target, fd, status)
            os.fsync(fd)
        now = os.lstat(target)
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (status.st_ino, status.st_size, status.st_mtime_ns):
            raise UsageError("the file has changed while it was being mended", where=fixed.path)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    folder = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _keep_attributes(target: str, fd: int, status: os.stat_result) -> None:
    made = os.fstat(fd)
    if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
        os.fchown(fd, status.st_uid, status.st_gid)
    for name in os.listxattr(target, follow_symlinks=False):
        with contextlib.suppress(OSError):  # a label that this user may not set
            os.setxattr(fd, name, os.getxattr(target, name, follow_symlinks=False))
    os.fchmod(fd, stat.S_IMODE(status.st_mode))  # last: changing the owner clears bits
