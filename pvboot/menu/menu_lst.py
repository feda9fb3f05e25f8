"""The meaning of `menu.lst`: head commands, entries, default and fallback as GRUB Legacy 0.97 takes them.

Source of the rules: stage2.c (cmain, run_menu) and builtins.c of GRUB 0.97, measured with its real shell.
"""

from __future__ import annotations

from collections.abc import Callable

from fsdrivers.light import dataclass, field, replace
from grammars.commands import Arguments, Wrong
from grammars.menu_lst import CommandLine, MenuFile, parse
from pvboot.grub_errors import BAD_NUMBER, GrubError, quoted, read_number, refuse_wrong
from pvboot.menu.dialects import MenuContext
from pvboot.menu.model import Command, Entry, Menu, MenuWarning, Password
from pvboot.menu.words import TITLE, WORDS

DIALECT = "menu.lst"
MAXIMUM_FALLBACKS = 8
PASSWORD_LIMIT = 510


@dataclass(slots=True)
class _Draft:
    """A menu while its lines are read."""

    default: int = 0
    timeout: int | None = None
    hidden: bool = False
    password: Password | None = None
    # GRUB writes into a fixed array and may leave the tail of an earlier line behind a broken later one.
    fallback_slots: list[int | None] = field(default_factory=lambda: [None] * MAXIMUM_FALLBACKS)
    has_fallback: bool = False
    warnings: list[MenuWarning] = field(default_factory=list)

    def warn(self, message: str, line: CommandLine) -> None:
        self.warnings.append(MenuWarning(message, line.name_span))


def build(data: bytes, context: MenuContext) -> Menu:
    """The menu in `data`.

    Any bytes give a menu: what GRUB would skip is skipped, with a warning that names line and column.
    """
    return build_tree(parse(data, context.name), context)


def build_tree(tree: MenuFile, context: MenuContext) -> Menu:
    """As `build`, of a menu that was parsed already."""
    draft = _Draft()
    if not tree.complete:
        draft.warnings.append(MenuWarning(f"{tree.file}: only the first {len(tree.lines)} lines are read"))
    first_title = next((i for i, line in enumerate(tree.lines) if line.name == TITLE), len(tree.lines))
    for line in tree.lines:
        if line.cut:
            draft.warn("the line is longer than 1500 characters, its end is lost", line)
    for line in tree.lines[:first_title]:
        _run_head_line(draft, line, context.saved_default)
    entries = _read_entries(draft, tree.lines[first_title:], every_title=context.every_title)
    if draft.password is not None:
        entries = tuple(replace(entry, locked=_needs_password(entry)) for entry in entries)
    default, fallback = _settle(draft, len(entries), every_title=context.every_title)
    return context.menu(
        DIALECT,
        entries,
        draft.warnings,
        default=default,
        fallback=fallback,
        timeout=draft.timeout,
        hidden=draft.hidden,
        password=draft.password,
    )


# --- the head ---------------------------------------------------------------------------------------------


def _run_head_line(draft: _Draft, line: CommandLine, saved_default: Callable[[], bytes]) -> None:
    """GRUB discards errors of the head without a word; here they are warnings."""
    word = WORDS.get(line.name)
    if word is None:
        draft.warn(f"unknown command {quoted(line.name)} is skipped", line)
        return
    if not word.head:
        draft.warn(f"{line.name!r} does nothing before the first title", line)
        return
    try:
        if line.name == "default":
            saved = "saved" in line.arguments
            draft.default = _saved_number(saved_default()) if saved else _number(line.arguments)
        elif line.name == "timeout":
            draft.timeout = _number(line.arguments)
        elif line.name == "hiddenmenu":
            draft.hidden = True
        elif line.name == "fallback":
            _set_fallback(draft, line.arguments)
        elif line.name == "password":
            _set_password(draft, line)
    except GrubError as err:
        draft.warn(f"{line.name!r} has no effect: {err.detail}", line)


def _number(arguments: Arguments) -> int:
    refuse_wrong(arguments)
    return arguments.parts[0].number


def _saved_number(saved: bytes) -> int:
    """The number in the file `default`; `OLD:NEW` (Debian's `savedefault --once`) means NEW."""
    text = saved.decode("latin-1")
    try:
        return read_number(text.partition(":")[2] if ":" in text else text)[0]
    except GrubError:
        return 0


def _set_fallback(draft: _Draft, arguments: Arguments) -> None:
    """Up to eight numbers; a number that repeats with more behind it voids the line, as in GRUB."""
    count = 0
    for part in arguments.found:
        if count == MAXIMUM_FALLBACKS:
            break
        if isinstance(part, Wrong):
            raise GrubError(part.number, part.message)
        if part.number not in draft.fallback_slots[:count]:
            draft.fallback_slots[count] = part.number
            count += 1
        elif behind := arguments.text[part.start + len(part.text) :]:
            raise GrubError(BAD_NUMBER, f"no number in {quoted(behind)}")
    if count < MAXIMUM_FALLBACKS:
        draft.fallback_slots[count] = None
    draft.has_fallback = count > 0


def _set_password(draft: _Draft, line: CommandLine) -> None:
    password = read_password(line.arguments)
    if password.kind == "unsupported":
        draft.warn("this kind of password never matches", line)
    if len(password.value) > PASSWORD_LIMIT:
        draft.warn(f"a password of more than {PASSWORD_LIMIT} characters is ignored", line)
        return
    draft.password = password


def read_password(arguments: Arguments) -> Password:
    """What `password` says: its value is the rest of the line, as GRUB stores it."""
    secret = arguments.part("password")
    kind = next((kind for kind in ("unsupported", "md5") if kind in arguments), "plain")
    return Password(kind, arguments.text[secret.start :] if secret is not None else "")


# --- entries ----------------------------------------------------------------------------------------------


def _read_entries(draft: _Draft, lines: tuple[CommandLine, ...], *, every_title: bool) -> tuple[Entry, ...]:
    """The entries behind the first title; those without a known command vanish and are not counted.

    With `every_title` they count, but for a title that is the last line of all.
    """
    entries: list[Entry] = []
    title: CommandLine | None = None
    commands: list[Command] = []

    def finish() -> None:
        if title is None:
            return
        if commands or (every_title and title is not lines[-1]):
            entries.append(Entry(len(entries), title.argument, tuple(commands), title.span))
        else:
            draft.warn(f"entry {quoted(title.argument)} has no known command and is left out", title)

    for line in lines:
        if line.name == TITLE:
            finish()
            title, commands = line, []
        elif line.name not in WORDS:
            draft.warn(f"unknown command {quoted(line.name)} is skipped", line)
        else:
            if not WORDS[line.name].entry:
                draft.warn(f"{line.name!r} in an entry makes it fail", line)
            commands.append(Command(line.name, line.argument, line.text, line.span, line.argument_span))
    finish()
    return tuple(entries)


def _needs_password(entry: Entry) -> bool:
    return any(command.name == "lock" for command in entry.commands)


def _settle(draft: _Draft, count: int, *, every_title: bool) -> tuple[int, tuple[int, ...]]:
    """Default and fallbacks after GRUB's checks: a default out of range takes the first valid fallback (pygrub: 0)."""
    if not count:
        return 0, ()
    slots = draft.fallback_slots
    given = slots[: slots.index(None)] if None in slots else slots
    fallback = [number for number in given if number is not None and number < count] if draft.has_fallback else []
    default = draft.default
    if default >= count:
        draft.warnings.append(MenuWarning(f"default {default} is beyond the last of {count} entries"))
        default = fallback.pop(0) if fallback and not every_title else 0
    return default, tuple(fallback)
