"""`# pvboot: ignore RULE[,RULE]` in a menu: findings that its author knows about.

A comment behind a command (where the dialect has such comments) is about that line; one on a line of its own is about
the next line that is neither empty nor a comment; `ignore-file` is about the whole file, wherever it stands.  What
follows `--` is the reason.  A comment that names no rule, or an unknown one, is a finding; one that is not needed is a
note.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from grammars.spans import SourceSpan
from pvboot.check.api import Problem
from pvboot.check.model import Finding
from pvboot.grub_errors import quoted

UNKNOWN_RULE: Final = "ignore-unknown-rule"
UNUSED: Final = "ignore-unused"
_OWN: Final = (UNKNOWN_RULE, UNUSED)

# Dialects in which a comment may stand behind a command; in the others `#` there is a letter like any other.
TRAILING_COMMENTS: Final = frozenset({"grub.cfg", "elilo"})

_COMMENT = re.compile(r"#[ \t]*pvboot:[ \t]*(?P<word>[^\s,]*)[ \t]*(?P<rest>[^\r\n]*)")
_FIRST_WORD = re.compile(r"[^\s]")
_RULE = re.compile(r"[^\s,]+")
IGNORES_LIMIT = 10_000  # comments of one file; a menu of a megabyte could have a hundred thousand
HINTS_LIMIT = 20


@dataclass(slots=True)
class Ignore:
    """One rule named by one comment at `line`:`column`; `target` is the line it is about, None for the whole file."""

    rule: str
    line: int
    column: int
    target: int | None
    used: bool = field(default=False, compare=False)


@dataclass(slots=True)
class Ignores:
    """The comments of `file`, and what is wrong with them (line, column, length, message)."""

    file: str
    named: list[Ignore] = field(default_factory=list)
    faults: list[tuple[int, int, int, str]] = field(default_factory=list)
    _by_place: dict[tuple[str, int | None], list[Ignore]] = field(default_factory=dict)

    def covers(self, finding: Finding) -> bool:
        """Whether a comment names the finding; the comment then was needed."""
        if not self.named or finding.file != self.file:
            return False
        if not self._by_place:
            for ignore in self.named:
                self._by_place.setdefault((ignore.rule, ignore.target), []).append(ignore)
        targets = (finding.line, None)
        matching = [ignore for target in targets for ignore in self._by_place.get((finding.rule, target), ())]
        for ignore in matching:
            ignore.used = True
        return bool(matching)

    def unknown(self) -> Iterator[Problem]:
        """What is wrong with the comments."""
        for line, column, length, message in self.faults:
            yield Problem(message, SourceSpan(self.file, line, column, length))

    def unused(self, ran: Container[str]) -> Iterator[Problem]:
        """Comments that no finding needed; `ran` are the rules that looked: one about another may well be needed."""
        for ignore in self.named:
            if not ignore.used and ignore.rule in ran:
                message = f"nothing here is found by {ignore.rule!r}: the comment is not needed"
                yield Problem(message, SourceSpan(self.file, ignore.line, ignore.column, len(ignore.rule)))


class Comments:
    """The comments of a menu and of the files that rules look at besides; each file is read for them once."""

    def __init__(self, dialect: str, texts: Callable[[], Mapping[str, str]], rules: Collection[str]) -> None:
        """`texts` gives the texts that are known by now, by file."""
        self._dialect = dialect
        self._texts = texts
        self._rules = rules
        self._read: dict[str, Ignores] = {}

    def covers(self, finding: Finding) -> bool:
        """Whether a comment in the finding's file names it."""
        if finding.file not in self._read:
            self._read_all()
        # A file without text (a kernel) is asked about once and not for each of its findings.
        return self._read.setdefault(finding.file, Ignores(finding.file)).covers(finding)

    def _read_all(self) -> None:
        for file, text in self._texts().items():
            if file not in self._read:
                self._read[file] = read_ignores(text, file, self._dialect, self._rules)

    def unknown(self) -> Iterator[Problem]:
        """What is wrong with the comments of all files."""
        self._read_all()
        return (problem for ignores in self._read.values() for problem in ignores.unknown())

    def unused(self, ran: Container[str]) -> Iterator[Problem]:
        """Comments that no finding needed; `ran` as in `Ignores.unused`."""
        self._read_all()
        return (problem for ignores in self._read.values() for problem in ignores.unused(ran))


def read_ignores(text: str, file: str, dialect: str, rules: Collection[str]) -> Ignores:
    """The comments in a menu's text; `rules` are the ids that there are.  Linear in the length of the text."""
    ignores = Ignores(file)
    if "pvboot:" not in text:
        return ignores
    known = tuple(rules)
    waiting: list[Ignore] = []
    for number, line in enumerate(re.split("\r\n|\n|\r", text), 1):
        first = _FIRST_WORD.search(line)
        if first is None:
            continue
        alone = line[first.start()] == "#"
        found = _comment_of(line, first.start(), alone, dialect)
        if found is not None and len(ignores.named) + len(ignores.faults) < IGNORES_LIMIT:
            named = list(_read(found, number, known, ignores))
            ignores.named += named
            if alone:
                waiting += [ignore for ignore in named if ignore.target == number]
        if not alone:
            for ignore in waiting:
                ignore.target = number
            waiting.clear()
    return ignores


def _comment_of(line: str, start: int, alone: bool, dialect: str) -> re.Match[str] | None:
    if "pvboot:" not in line:
        return None
    if alone:
        return _COMMENT.match(line, start)
    if dialect not in TRAILING_COMMENTS:
        return None
    for match in _COMMENT.finditer(line):
        before = line[: match.start()]
        quoted = before.count('"') % 2 or before.count("'") % 2
        if before[-1:].isspace() and not quoted:
            return match
    return None


def _read(match: re.Match[str], line: int, known: Sequence[str], ignores: Ignores) -> Iterator[Ignore]:
    """What one comment names; its faults go to `ignores`."""
    column, length = match.start() + 1, len(match[0].rstrip())
    word, rest = match["word"], match["rest"].partition("--")[0]
    if word not in ("ignore", "ignore-file"):
        what = f"{quoted(word, 60)} is not an instruction; ignore and ignore-file are"
        ignores.faults.append((line, column, length, what))
        return
    names = list(_RULE.finditer(rest))
    if not names:
        ignores.faults.append((line, column, length, f"{word} names no rule; what it should ignore is not guessed"))
    for name in names:
        at = match.start("rest") + name.start() + 1
        if name[0] in known and name[0] not in _OWN:
            yield Ignore(name[0], line, at, None if word == "ignore-file" else line)
        else:
            # Comparing costs: a menu full of wrong names gets no help with all of them.
            close = difflib.get_close_matches(name[0][:80], known, 1) if len(ignores.faults) < HINTS_LIMIT else []
            hint = f"; did you mean {close[0]!r}?" if close else ""
            what = "cannot be ignored" if name[0] in _OWN else "is not a rule"
            ignores.faults.append((line, at, len(name[0]), f"{quoted(name[0], 60)} {what}{hint}"))
