"""A `menu.lst` cut into its head and entries, every line kept: rules also look at what GRUB skips."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from grammars.menu_lst import CommandLine, MenuFile
from pvboot.menu.words import TITLE, WORDS


@dataclass(frozen=True, slots=True)
class EntryLines:
    """The lines behind one `title`.  `index` is the number GRUB gives the entry, None if GRUB drops it."""

    index: int | None
    title: CommandLine
    lines: tuple[CommandLine, ...]

    @property
    def known(self) -> Iterator[CommandLine]:
        """The lines that GRUB keeps."""
        return (line for line in self.lines if line.name in WORDS)


@dataclass(frozen=True, slots=True)
class MenuLst:
    """`by_name`: the lines of each command (and unknown word) with the entry they stand in, None for the head."""

    head: tuple[CommandLine, ...]
    entries: tuple[EntryLines, ...]
    by_name: Mapping[str, list[tuple[EntryLines | None, CommandLine]]]

    def named(self, *names: str) -> Iterator[tuple[EntryLines | None, CommandLine]]:
        """The lines of these commands, command by command."""
        for name in names:
            yield from self.by_name.get(name, ())

    def head_named(self, *names: str) -> Iterator[CommandLine]:
        """The lines of these commands that stand before the first title."""
        return (line for entry, line in self.named(*names) if entry is None)

    def last_in_head(self, name: str) -> CommandLine | None:
        """The line that decides, where the last one counts."""
        return next(reversed([*self.head_named(name)]), None)


def view(tree: MenuFile) -> MenuLst:
    """Cut the lines at their titles and number the entries as GRUB does.  Linear."""
    starts = [place for place, line in enumerate(tree.lines) if line.name == TITLE]
    head = tree.lines[: starts[0]] if starts else tree.lines
    entries: list[EntryLines] = []
    index = 0
    for start, end in zip(starts, [*starts, len(tree.lines)][1:], strict=True):
        lines = tree.lines[start + 1 : end]
        exists = any(line.name in WORDS for line in lines)
        entries.append(EntryLines(index if exists else None, tree.lines[start], lines))
        index += exists
    by_name: dict[str, list[tuple[EntryLines | None, CommandLine]]] = defaultdict(list)
    for line in head:
        by_name[line.name].append((None, line))
    for entry in entries:
        for line in (entry.title, *entry.lines):
            by_name[line.name].append((entry, line))
    return MenuLst(head, tuple(entries), dict(by_name))
