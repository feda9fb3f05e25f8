"""`# pvboot: ignore RULE[,RULE]` in a menu: findings that its author knows about.

A comment behind a command (where the dialect has such comments) is about that line; one on a line of its own is about
the next line that is neither empty nor a comment; `ignore-file` is about the whole file, wherever it stands.  What
follows `--` is the reason.  A comment that names no rule, or an unknown one, is a finding; one that is not needed is a
note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from grammars.spans import SourceSpan
from pvboot.check.api import Problem
from pvboot.check.hints import nearest
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
    """One rule named by one comment, at `span`; `target` is the line it is about, None for the whole file."""

    rule: str
    span: SourceSpan
    target: int | None
    used: bool = field(default=False, compare=False)


class Comments:
    """The comments of a menu and of the files that rules look at besides; each file is read for them once.

    `texts` gives the texts that are known by now, by file; `rules` are the ids that there are.
    """

    def __init__(self, dialect: str, texts: Callable[[], Mapping[str, str]], rules: Collection[str]) -> None:
        self._dialect = dialect
        self._texts = texts
        self._rules = rules
        self._read: set[str] = set()
        self._by_place: dict[tuple[str, str, int | None], list[Ignore]] = {}
        self._ignores: list[Ignore] = []
        self._faults: list[Problem] = []

    def covers(self, finding: Finding) -> bool:
        """Return whether a comment in the finding's file names it; the comment then was needed."""
        if finding.file not in self._read:
            self._read_all()
            self._read.add(finding.file)  # without a text (a kernel) it is not asked about again
        places = [(finding.file, finding.rule, target) for target in (finding.line, None)]
        matching = [ignore for place in places for ignore in self._by_place.get(place, ())]
        for ignore in matching:
            ignore.used = True
        return bool(matching)

    def _read_all(self) -> None:
        for file, text in self._texts().items():
            if file not in self._read:
                self._read.add(file)
                ignores, faults = read_ignores(text, file, self._dialect, self._rules)
                self._ignores += ignores
                self._faults += faults
                for ignore in ignores:
                    self._by_place.setdefault((file, ignore.rule, ignore.target), []).append(ignore)

    def unknown(self) -> list[Problem]:
        """Return what is wrong with the comments of all files."""
        self._read_all()
        return self._faults

    def unused(self, ran: Container[str]) -> Iterator[Problem]:
        """Yield comments that no finding needed; `ran` are the rules that looked: others may well be needed."""
        self._read_all()
        for ignore in self._ignores:
            if not ignore.used and ignore.rule in ran:
                yield Problem(f"nothing here is found by {ignore.rule!r}: the comment is not needed", ignore.span)


def read_ignores(text: str, file: str, dialect: str, rules: Collection[str]) -> tuple[list[Ignore], list[Problem]]:
    """Return the comments in a menu's text, and what is wrong with them.  Linear in the length of the text."""
    ignores: list[Ignore] = []
    faults: list[Problem] = []
    if "pvboot:" not in text:
        return ignores, faults
    waiting: list[Ignore] = []
    for number, line in enumerate(re.split("\r\n|\n|\r", text), 1):
        first = _FIRST_WORD.search(line)
        if first is None:
            continue
        alone = line[first.start()] == "#"
        found = _comment_of(line, first.start(), alone, dialect)
        if found is not None and len(ignores) + len(faults) < IGNORES_LIMIT:
            named = list(_read(found, SourceSpan(file, number, found.start() + 1, 0), rules, faults))
            ignores += named
            if alone:
                waiting += [ignore for ignore in named if ignore.target == number]
        if not alone:
            for ignore in waiting:
                ignore.target = number
            waiting.clear()
    return ignores, faults


def _comment_of(line: str, start: int, alone: bool, dialect: str) -> re.Match[str] | None:
    if "pvboot:" not in line:
        return None
    if alone:
        return _COMMENT.match(line, start)
    for match in _COMMENT.finditer(line) if dialect in TRAILING_COMMENTS else ():
        before = line[: match.start()]
        in_quotes = before.count('"') % 2 or before.count("'") % 2
        if before[-1:].isspace() and not in_quotes:
            return match
    return None


def _read(match: re.Match[str], place: SourceSpan, known: Collection[str], faults: list[Problem]) -> Iterator[Ignore]:
    """Yield what one comment at `place` names; its faults go to `faults`."""
    whole = replace(place, length=len(match[0].rstrip()))
    word, rest = match["word"], match["rest"].partition("--")[0]
    if word not in ("ignore", "ignore-file"):
        faults.append(Problem(f"{quoted(word, 60)} is not an instruction; ignore and ignore-file are", whole))
        return
    names = list(_RULE.finditer(rest))
    if not names:
        faults.append(Problem(f"{word} names no rule; what it should ignore is not guessed", whole))
    for name in names:
        span = replace(place, column=match.start("rest") + name.start() + 1, length=len(name[0]))
        if name[0] in known and name[0] not in _OWN:
            yield Ignore(name[0], span, None if word == "ignore-file" else place.line)
        else:
            # Comparing costs: a menu full of wrong names gets no help with all of them.
            close = nearest(name[0][:80], known) if len(faults) < HINTS_LIMIT else ""
            hint = f"; did you mean {close!r}?" if close else ""
            what = "cannot be ignored" if name[0] in _OWN else "is not a rule"
            faults.append(Problem(f"{quoted(name[0], 60)} {what}{hint}", span))
