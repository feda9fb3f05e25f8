"""Rules about the lines of a `menu.lst` before the first title, where GRUB forgets every error without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator

from grammars.menu_lst import CommandLine
from pvboot.check.api import Problem, rule
from pvboot.check.rules.menu_lst_words import MENU_LST
from pvboot.check.subject import Subject
from pvboot.grub_errors import GrubError, first_word, quoted, read_number, skip_word
from pvboot.menu.menu_lst import MAXIMUM_FALLBACKS

_MD5_HASH = re.compile(r"\$1\$[^$]{0,8}\$[./0-9A-Za-z]{22}")


@rule("default-not-a-number", "error", "default is neither a number nor saved", dialects=MENU_LST)
def default_not_a_number(subject: Subject) -> Iterator[Problem]:
    for line in subject.menu_lst.head_named("default"):
        if line.argument == "saved" or line.argument[:1] in ("'", '"'):
            continue
        span = line.argument_span if line.argument else line.name_span
        if line.argument.strip(" ") == "saved":
            yield Problem("blanks behind saved make it another word, which has no effect", span)
            continue
        try:
            _number, at = read_number(line.argument)
        except GrubError as err:
            title = any(entry.title == line.argument.strip() for entry in subject.menu.entries)
            hint = "; GRUB Legacy takes numbers, not titles" if title else ""
            yield Problem(f"default has no effect: {err.detail}{hint}", span)
            continue
        if line.argument[at:].strip(" "):
            yield Problem(
                f"only the number at the beginning of {quoted(line.argument)} is read", span, severity="warning"
            )


@rule("default-out-of-range", "error", "default is beyond the last entry", dialects=MENU_LST)
def default_out_of_range(subject: Subject) -> Iterator[Problem]:
    line = subject.menu_lst.last_in_head("default")
    number = _number(line)
    count = len(subject.menu.entries)
    if line is None or number is None or not count or number < count:
        return
    taken = subject.menu.entries[subject.menu.default]
    dropped = sum(entry.index is None for entry in subject.menu_lst.entries)
    hint = f", {dropped} of the titles are not entries" if dropped else ""
    message = (
        f"default {number}, but the {count} entries count from 0{hint}: entry {taken.index} {quoted(taken.title)} boots"
    )
    yield Problem(message, line.argument_span)


@rule("fallback-out-of-range", "warning", "fallback names an entry that is not there", dialects=MENU_LST)
def fallback_out_of_range(subject: Subject) -> Iterator[Problem]:
    count = len(subject.menu.entries)
    for line, numbers in _fallbacks(subject):
        for number in numbers:
            if count and number >= count:
                yield Problem(f"fallback {number} is dropped: the {count} entries count from 0", line.argument_span)


@rule("fallback-duplicate", "warning", "fallback names an entry twice", dialects=MENU_LST)
def fallback_duplicate(subject: Subject) -> Iterator[Problem]:
    for line, numbers in _fallbacks(subject):
        first = {number: i for i, number in reversed(list(enumerate(numbers)))}
        again = next((i for i, number in enumerate(numbers) if first[number] < i), None)
        if again is None:
            continue
        if again < len(numbers) - 1:
            message = f"fallback {numbers[again]} is repeated: GRUB reads nothing behind it (error 23)"
            yield Problem(message, line.argument_span, severity="error")
        else:
            yield Problem(f"fallback {numbers[again]} is named twice", line.argument_span)


@rule("fallback-not-a-number", "warning", "fallback is not a list of numbers", dialects=MENU_LST)
def fallback_not_a_number(subject: Subject) -> Iterator[Problem]:
    for line in subject.menu_lst.head_named("fallback"):
        words = line.argument.split(" ")
        wrong = next((word for word in words if word and not re.fullmatch(r"0[xX][0-9a-fA-F]+|[0-9]+", word)), None)
        if not line.argument.strip(" "):
            yield Problem("fallback names no entry", line.name_span)
        elif wrong is not None:
            yield Problem(
                f"{quoted(wrong)} is not a number; GRUB takes numbers with blanks between them", line.argument_span
            )


@rule("unreachable-fallback", "warning", "a fallback that is never tried, or tries the same again", dialects=MENU_LST)
def unreachable_fallback(subject: Subject) -> Iterator[Problem]:
    default = subject.menu_lst.last_in_head("default")
    if default is not None and default.argument == "saved":
        return
    decides = subject.menu_lst.last_in_head("fallback")
    for line, numbers in _fallbacks(subject):
        if line is not decides:
            continue
        if len(numbers) > MAXIMUM_FALLBACKS:
            yield Problem(f"GRUB tries {MAXIMUM_FALLBACKS} fallbacks, the others never", line.argument_span)
        chosen = _number(default) if default is not None else 0
        if chosen in numbers and len(subject.menu.entries) > 1:
            yield Problem(f"fallback {chosen} is the default itself, which has failed by then", line.argument_span)


@rule("timeout-not-a-number", "error", "timeout is not a number, so the menu waits for ever", dialects=MENU_LST)
def timeout_not_a_number(subject: Subject) -> Iterator[Problem]:
    for line in subject.menu_lst.head_named("timeout"):
        if line.argument[:1] in ("'", '"'):
            continue
        span = line.argument_span if line.argument else line.name_span
        try:
            _read, at = read_number(line.argument)
        except GrubError as err:
            waits = line.argument.strip() == "-1"  # what people write who want just that
            message = f"timeout has no effect, the menu waits for ever: {err.detail}"
            yield Problem(message, span, severity="warning" if waits else None)
            continue
        if line.argument[at:].strip(" "):
            message = f"only the number at the beginning of {quoted(line.argument)} is read, as seconds"
            yield Problem(message, span, severity="warning")


@rule("bad-color", "warning", "a color that GRUB does not know", dialects=MENU_LST)
def bad_color(subject: Subject) -> Iterator[Problem]:
    for entry, line in subject.menu_lst.named("color"):
        for wrong in line.arguments.problems:
            place = line.argument_part(wrong.start, wrong.start + len(wrong.text)) if wrong.text else line.name_span
            index, severity = (entry.index, "error") if entry else (None, None)
            yield Problem(wrong.message, place, index, severity=severity)


# --- passwords --------------------------------------------------------------------------------------------


@rule("bad-password-hash", "error", "a hash that no password can match", dialects=MENU_LST)
def bad_password_hash(subject: Subject) -> Iterator[Problem]:
    for entry, line in subject.menu_lst.named("password"):
        if not line.argument.startswith("--md5"):
            continue
        value = first_word(skip_word(line.argument))
        if not _MD5_HASH.fullmatch(value):
            message = "not an MD5 hash ($1$SALT$ and 22 letters), so that no password matches"
            yield Problem(message, line.argument_span, entry.index if entry else None)


@rule(
    "password-type-unsupported", "warning", "a kind of password hash that the loader does not know", dialects=MENU_LST
)
def password_type_unsupported(subject: Subject) -> Iterator[Problem]:
    loader = subject.options.target.loader
    for entry, line in subject.menu_lst.named("password"):
        index = entry.index if entry else None
        option = first_word(line.argument)
        if option == "--md5":
            if loader in (None, "pv-grub"):
                message = "PV-GRUB is built without MD5: there this password never matches"
                yield Problem(message, line.argument_span, index, severity="error" if loader else "note")
        elif option.startswith("--"):
            message = f"{quoted(option)} is not a kind of password that GRUB Legacy knows: it never matches"
            yield Problem(message, line.argument_span, index, severity="error" if loader == "pv-grub" else None)
        elif not option:
            yield Problem("password names no password", line.name_span, index)


@rule("lock-without-password", "warning", "an entry is locked and there is no password", dialects=MENU_LST)
def lock_without_password(subject: Subject) -> Iterator[Problem]:
    if any(True for _line in subject.menu_lst.head_named("password")):
        return
    for entry, line in subject.menu_lst.named("lock"):
        if entry is not None:
            yield Problem(
                "lock has no effect: the menu has no password before its first title", line.name_span, entry.index
            )


def _fallbacks(subject: Subject) -> Iterator[tuple[CommandLine, list[int]]]:
    """Yield the `fallback` lines with their numbers; other words are passed over."""
    for line in subject.menu_lst.head_named("fallback"):
        numbers = []
        for word in line.argument.split():
            try:
                numbers.append(read_number(word)[0])
            except GrubError:
                continue
        yield line, numbers


def _number(line: CommandLine | None) -> int | None:
    try:
        return read_number(line.argument)[0] if line is not None else None
    except GrubError:
        return None
