"""`menu.lst`, line by line: words that are no commands, words in the wrong place, arguments that cannot be read.

What GRUB does with each is measured with its real shell; the numbers in messages are its error numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from grammars.menu_lst import LINE_LIMIT_BYTES, CommandLine
from pvboot.check.api import Problem, rule
from pvboot.check.menu_lst_view import EntryLines
from pvboot.check.rules.text import BYTE_ORDER_MARK, is_utf16
from pvboot.check.subject import Subject
from pvboot.grub_errors import first_word, quoted
from pvboot.menu.words import TITLE, WORDS

MENU_LST: Final = ("menu.lst",)

# Commands of one distribution's GRUB; without them an entry boots as well.
FOREIGN: Final = {
    "gfxmenu": "SUSE's graphical menu",
    "silent": "Red Hat's",
    "verbose": "Red Hat's",
    "version": "Red Hat's",
    "efimap": "Red Hat's",
    "desc": "GRUB4DOS's",
    "graphicsmode": "GRUB4DOS's",
    "bootfs": "Solaris's",
    "findroot": "Solaris's",
    "min_mem64": "Solaris's",
    "testcdrom": "an old installer's",
}
_GRUB2 = (
    "menuentry submenu set unset export linux linux16 linuxefi initrd16 initrdefi insmod search if then else elif fi "
    "for while until do done function load_env save_env load_video loadfont terminal_input terminal_output echo source "
    "multiboot multiboot2 module2 blscfg gfxpayload password_pbkdf2 test true false normal } { ["
)
GRUB2_WORDS: Final = frozenset(_GRUB2.split())
_HARMLESS: Final = frozenset(  # an entry boots as well without them
    ("echo", "insmod", "load_video", "loadfont", "export", "unset", "terminal_input", "terminal_output", "gfxpayload")
)
TITLE_CHARACTERS: Final = 40
GUESSES: Final = 100  # different words of a menu for which the command that was meant is looked for


@rule("grub2-syntax", "error", "words of GRUB 2 in a menu of GRUB Legacy", dialects=MENU_LST)
def grub2_syntax(subject: Subject) -> Iterator[Problem]:
    lines = [line for line in subject.menu_file.lines if line.name in GRUB2_WORDS or _is_block_end(line)]
    entries = [line for line in lines if line.name == "menuentry" and "{" in line.argument]
    if entries and not any(line.name == TITLE for line in subject.menu_file.lines):
        yield Problem(
            "this is a menu of GRUB 2 (grub.cfg) under the name of one of GRUB Legacy: to GRUB Legacy and "
            "PV-GRUB it has no entry",
            entries[0].span,
        )
        return
    instead = {
        "linux": "kernel",
        "linux16": "kernel",
        "linuxefi": "kernel",
        "menuentry": "title",
        "initrd16": "initrd",
        "initrdefi": "initrd",
        "set": "the command itself, as in default 0",
        "search": "root",
        "multiboot": "kernel",
        "module2": "module",
    }
    for line in lines:
        hint = f"; GRUB Legacy has {instead[line.name]}" if line.name in instead else ""
        yield Problem(
            f"{quoted(line.name)} is GRUB 2's and is skipped{hint}",
            line.name_span,
            severity="warning" if line.name in _HARMLESS else None,
        )


def _is_block_end(line: CommandLine) -> bool:
    return line.text.strip() in ("}", "{", "};")


@rule("unknown-command", "warning", "a word that is not a command", dialects=MENU_LST)
def unknown_command(subject: Subject) -> Iterator[Problem]:
    if is_utf16(subject.data):
        return  # told once, by encoding
    guessed = 0
    for name, places in subject.menu_lst.by_name.items():
        if name in WORDS or name in GRUB2_WORDS or name.startswith(BYTE_ORDER_MARK):
            continue
        meant = _meant(name) if guessed < GUESSES else None
        guessed += 1
        for entry, line in places:
            if not _is_block_end(line):
                yield _unknown(entry, line, meant)


def _meant(name: str) -> str | None:
    """The command that a word was probably meant to be."""
    lower = name.lower()
    near = [lower] if lower in WORDS else get_close_matches(lower, WORDS, 1, 0.8) if len(lower) < 20 else []
    return near[0] if near else None


def _unknown(entry: EntryLines | None, line: CommandLine, meant: str | None) -> Problem:
    """A foreign word is a note; one that was meant to be a command decides what boots."""
    index = entry.index if entry else None
    if line.name in FOREIGN:
        return Problem(
            f"{line.name} is {FOREIGN[line.name]}; other loaders skip it", line.name_span, index, severity="note"
        )
    if not line.name:
        first = "'='" if line.text.lstrip().startswith("=") else "a NUL"
        return Problem(f"a line that begins with {first} is skipped", line.name_span, index)
    if meant == TITLE:
        text = "so this line begins no entry and the commands below it join the entry above"
        return Problem(
            f"{quoted(line.name)} is not a command (title?), {text}", line.name_span, index, severity="error"
        )
    if meant is not None:
        case = ": commands are written in small letters" if meant == line.name.lower() else ""
        boots = meant in ("kernel", "root", "initrd", "module", "uuid", "configfile", "default", "timeout")
        return Problem(
            f"{quoted(line.name)} is not a command and is skipped ({meant}?){case}",
            line.name_span,
            index,
            severity="error" if boots and (entry is None or WORDS[meant].entry) else None,
        )
    return Problem(f"{quoted(line.name)} is not a command and is skipped", line.name_span, index)


@rule("command-not-allowed-here", "error", "a command that does not act where it stands", dialects=MENU_LST)
def command_not_allowed_here(subject: Subject) -> Iterator[Problem]:
    for line in subject.menu_lst.head:
        word = WORDS.get(line.name)
        if word is not None and not word.head:
            yield Problem(
                f"{line.name} does nothing before the first title; it belongs into each entry",
                line.name_span,
                severity="warning",
            )
    by_pygrub = subject.options.target.loader == "pygrub"
    for name, word in WORDS.items():
        if word.entry or name == TITLE:
            continue
        for entry, line in subject.menu_lst.named(name):
            if entry is not None:
                effect = "pygrub ignores it here" if by_pygrub else "the entry stops here with error 27"
                yield Problem(
                    f"{name} acts only before the first title: {effect}",
                    line.name_span,
                    entry.index,
                    severity="warning" if by_pygrub else None,
                )


# --- arguments --------------------------------------------------------------------------------------------

_FILES = "kernel initrd module modulenounzip configfile chainloader cat blocklist find testload"
FILE_COMMANDS: Final = tuple(_FILES.split())
_ELSEWHERE: Final = ("default", "timeout", "fallback", "color")  # what is wrong with them is told by rules of their own


@rule("bad-argument", "error", "an argument that is missing or cannot be read", dialects=MENU_LST)
def bad_argument(subject: Subject) -> Iterator[Problem]:
    for name, places in subject.menu_lst.by_name.items():
        if name not in WORDS or name in _ELSEWHERE:
            continue
        for entry, line in places:
            if entry is None and not WORDS[name].head:
                continue
            for wrong in line.arguments.problems:
                # Before the first title GRUB forgets errors without a word.
                severity = "warning" if wrong.mild or entry is None else None
                number = f" (error {wrong.number})" if wrong.number else ""
                span = line.argument_span if line.argument else line.name_span
                yield Problem(f"{wrong.message}{number}", span, entry.index if entry else None, severity=severity)


# --- the line as a whole ----------------------------------------------------------------------------------


@rule("line-too-long", "error", "a line longer than GRUB keeps", dialects=MENU_LST)
def line_too_long(subject: Subject) -> Iterator[Problem]:
    for line in subject.menu_file.lines:
        if line.cut:
            known = line.name in WORDS
            yield Problem(
                f"GRUB keeps {LINE_LIMIT_BYTES} bytes of a line, the rest is lost",
                line.name_span,
                severity=None if known else "warning",
            )


_DECIDING = (
    "title root rootnoverify uuid kernel initrd module modulenounzip boot default timeout fallback configfile "
    "savedefault lock password hiddenmenu"
)
_SWALLOWED: Final = frozenset(_DECIDING.split())


@rule(
    "suspicious-continuation",
    "warning",
    "a backslash that joins lines, or does not, against all appearance",
    dialects=MENU_LST,
)
def suspicious_continuation(subject: Subject) -> Iterator[Problem]:
    if "\\" not in subject.text:
        return
    lines = subject.lines
    before: str | None = None  # what goes on in this line: "comment" or "text"
    for number, raw in enumerate(lines, 1):
        line = raw.rstrip("\r")
        comment = before == "comment" or (before is None and line.lstrip(" \t").startswith("#"))
        continues = line.endswith("\\") and number < len(lines)
        if continues:
            following = lines[number].strip(" \t\r")
            span = subject.span(subject.offset_of(number) + len(line) - 1, 1)
            word = re.split(r"[ \t]", following, maxsplit=1)[0]
            if comment and following and not following.startswith("#"):
                yield Problem(
                    "the comment goes on: the next line belongs to it",
                    span,
                    severity="error" if word in WORDS else None,
                )
            elif not comment and word in _SWALLOWED and word != following:
                yield Problem(f"the next line, {quoted(following)}, becomes a part of this one", span, severity="error")
            elif not comment and not following:
                yield Problem("an empty line is joined to this one", span, severity="note")
        elif line.endswith("\\"):
            if not comment:
                yield Problem(
                    "the backslash at the end of the file stays in the argument",
                    subject.span(subject.offset_of(number) + len(line) - 1, 1),
                )
        elif not comment and (match := re.search(r"\\[ \t]+$", line)):
            yield Problem(
                "blanks follow the backslash, so the line does not go on",
                subject.span(subject.offset_of(number) + match.start(), len(match[0])),
            )
        before = ("comment" if comment else "text") if continues else None


@rule("tab-separator", "warning", "a tab between a kernel and its arguments", dialects=MENU_LST)
def tab_separator(subject: Subject) -> Iterator[Problem]:
    if "\t" not in subject.text:
        return
    for entry, line in subject.menu_lst.named("kernel", "module"):
        span = line.argument_span
        raw = subject.line_at(subject.name, span.line) or ""
        argument = raw[span.column - 1 : span.column - 1 + span.length].rstrip()
        if "\t" in argument and " " not in argument:
            yield Problem(
                "only tabs stand behind the file's name: pygrub takes the whole text for the name",
                span,
                entry.index if entry else None,
                severity="error" if subject.options.target.loader == "pygrub" else None,
            )


@rule(
    "quoted-file-name", "error", "quotes around a file or device, which GRUB Legacy takes as letters", dialects=MENU_LST
)
def quoted_file_name(subject: Subject) -> Iterator[Problem]:
    named = (*FILE_COMMANDS, "root", "rootnoverify", "default", "timeout")
    for entry, line in subject.menu_lst.named(*named):
        text = line.arguments.get("file") or line.arguments.get("device") or line.argument
        if text[:1] in ("'", '"') and (entry is not None or WORDS[line.name].head):
            yield Problem(
                f"GRUB Legacy knows no quotes: {quoted(first_word(text))} is read with them",
                line.argument_span,
                entry.index if entry else None,
            )
