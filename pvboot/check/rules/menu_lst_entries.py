"""Rules about the entries of a `menu.lst`: how their commands act together, the devices and paths they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final, cast

from grammars.menu_lst import CommandLine
from pvboot.blocklist import open_block_list
from pvboot.check.api import Problem, rule
from pvboot.check.menu_lst_view import EntryLines
from pvboot.check.rules.menu_lst_words import FILE_COMMANDS, MENU_LST
from pvboot.check.subject import Subject
from pvboot.device_names import Device, read_device
from pvboot.grub_errors import GrubError, quoted, shorten
from pvboot.menu.words import WORDS
from pvboot.shell.settings import UNSUPPORTED

if TYPE_CHECKING:
    from fsdrivers.api import BlockSource

# Once they have worked, nothing below them in the entry is run.
_LAST: Final = frozenset({"boot", "configfile", "halt", "reboot", "quit"})
_MODULES: Final = frozenset({"module", "modulenounzip"})
_ROOTS: Final = frozenset({"root", "rootnoverify", "uuid"})
TITLES_BYTES: Final = 32 << 10  # GRUB Legacy's memory for titles while it reads a menu
MENU_BYTES: Final = 331_000  # titles and commands with which its shell crashes, measured
_ANY_ROOT: Final = Device("hd", 0, 0)
_ENDLESS: Final = cast("BlockSource", SimpleNamespace(name="", size=1 << 62))  # holds every block list


@rule("empty-entry", "warning", "a title without a command", dialects=MENU_LST)
def empty_entry(subject: Subject) -> Iterator[Problem]:
    """A default or fallback that only fits if the title is counted is the reason to call it an error."""
    entries = subject.menu_lst.entries
    survivors = len(subject.menu.entries)
    numbers = [line.argument for line in subject.menu_lst.head_named("default", "fallback")]
    shifted = any(
        word.isascii() and word.isdigit() and survivors <= int(word[:9]) < len(entries)
        for argument in numbers
        for word in argument.split()
    )
    for entry in entries:
        if entry.index is None:
            message = (
                f"no command follows {quoted(entry.title.argument)}: GRUB neither shows nor counts it "
                "(pygrub counts it)"
            )
            yield Problem(message, entry.title.span, severity="error" if shifted else None)


@rule("unreachable-command", "warning", "a command that is never run", dialects=MENU_LST)
def unreachable_command(subject: Subject) -> Iterator[Problem]:
    for entry in subject.menu_lst.entries:
        last = next((place for place, line in enumerate(entry.lines) if line.name in _LAST), None)
        if last is None:
            continue
        line = next((line for line in entry.lines[last + 1 :] if line.name in WORDS), None)
        if line is not None:
            message = f"{line.name} is not run: {entry.lines[last].name} ends the entry"
            yield Problem(message, line.name_span, entry.index)


@rule("initrd-before-kernel", "error", "a ramdisk or module is loaded before the kernel", dialects=MENU_LST)
def initrd_before_kernel(subject: Subject) -> Iterator[Problem]:
    for entry in subject.menu_lst.entries:
        for line in _run_lines(entry):
            if line.name == "kernel":
                break
            if line.name == "initrd" or line.name in _MODULES:
                number = 19 if line.name == "initrd" else 20
                message = f"{line.name} needs a kernel line above it: the entry stops here with error {number}"
                yield Problem(message, line.name_span, entry.index)
                break


@rule("overridden-command", "warning", "a line that a later one makes void", dialects=MENU_LST)
def overridden_command(subject: Subject) -> Iterator[Problem]:
    for name in ("default", "timeout", "fallback", "password"):
        lines = list(subject.menu_lst.head_named(name))
        for line in lines[:-1]:
            same = line.argument.strip() == lines[-1].argument.strip()
            message = f"{name} stands again in line {lines[-1].span.line}, and the last one counts"
            yield Problem(message, line.span, severity="note" if same else None)
    for entry in subject.menu_lst.entries:
        yield from _overridden_in(entry)


def _overridden_in(entry: EntryLines) -> Iterator[Problem]:
    """Later lines of the same kind replace earlier ones; ramdisk and modules drop each other."""
    kernel: CommandLine | None = None
    root: CommandLine | None = None
    ramdisk: CommandLine | None = None
    modules: list[CommandLine] = []
    for line in _run_lines(entry):
        replaced: list[CommandLine] = []
        if line.name in _ROOTS and line.argument:
            replaced, root = [root] if root else [], line
        elif line.name == "kernel":
            replaced, kernel, root = [kernel] if kernel else [], line, None
        elif line.name == "initrd":
            replaced = [*([ramdisk] if ramdisk else []), *modules]
            ramdisk, modules, root = line, [], None
        elif line.name in _MODULES:
            replaced = [ramdisk] if ramdisk else []
            ramdisk, root = None, None
            modules.append(line)
        elif line.name in WORDS:
            root = None  # whatever it is, it may have used the device
        for earlier in replaced:
            message = f"{line.name} in line {line.span.line} takes the place of this {earlier.name}"
            yield Problem(message, earlier.span, entry.index)


@rule("unsupported-in-pv-guest", "warning", "a command that a PV guest cannot obey", dialects=MENU_LST)
def unsupported_in_pv_guest(subject: Subject) -> Iterator[Problem]:
    """In an entry that boots unattended it is an error: the entry stops there."""
    for name in ("chainloader", *UNSUPPORTED):
        for entry, line in subject.menu_lst.named(name):
            if entry is None and not WORDS[name].head:
                continue
            index = entry.index if entry else None
            what = "a boot sector cannot be run" if name == "chainloader" else f"{name} is for PCs and their disks"
            stops = " (the entry stops here)" if entry else ""
            message = f"{what}: unsupported in a PV guest{stops}"
            is_grave = index is not None and index in subject.unattended
            yield Problem(message, line.span, index, severity="error" if is_grave else None)
    yield from _floppies(subject)


def _floppies(subject: Subject) -> Iterator[Problem]:
    for entry, line in subject.menu_lst.named("root", "rootnoverify", *FILE_COMMANDS):
        word, start = _named(line)
        if entry is not None and word.startswith("(fd") and line.name != "chainloader":
            span = line.argument_part(start, start + max(word.find(")") + 1, 1))
            message = "a PV guest has no floppy disk (error 21)"
            yield Problem(message, span, entry.index, severity="error" if entry.index in subject.unattended else None)


@rule("too-many-entries", "warning", "more titles than GRUB Legacy has memory for", dialects=MENU_LST)
def too_many_entries(subject: Subject) -> Iterator[Problem]:
    titles = everything = 0
    first: EntryLines | None = None
    for entry in subject.menu_lst.entries:
        if entry.index is not None:
            title = _size(entry.title.argument)
            titles += title
            everything += title + 1 + sum(_size(line.text) for line in entry.known)
            first = first or (entry if titles > TITLES_BYTES else None)
    if first is not None:
        effect = "crash" if everything > MENU_BYTES else "write over other memory"
        message = (
            f"GRUB Legacy and PV-GRUB keep titles in {TITLES_BYTES} bytes and do not check: with those from "
            f"entry {first.index} on they {effect}"
        )
        severity = "error" if subject.options.target.loader == "pv-grub" else None
        yield Problem(message, first.title.span, first.index, severity=severity)


def _size(text: str) -> int:
    """Return the bytes of a text with the NUL behind it."""
    return (len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))) + 1


# --- devices and paths ------------------------------------------------------------------------------------


@rule("bad-device-syntax", "error", "a device name that GRUB cannot read", dialects=MENU_LST)
def bad_device_syntax(subject: Subject) -> Iterator[Problem]:
    verdicts: dict[str, str | None] = {}  # a menu names few devices, many times
    reads_new_names = subject.options.target.loader in ("pvboot", "pygrub")
    for entry, line in subject.menu_lst.named("root", "rootnoverify", *FILE_COMMANDS):
        if entry is None:
            continue
        word, start = _named(line)
        if line.name in FILE_COMMANDS and not word.startswith("("):
            continue
        if not word or word[0] in "'\"":
            continue
        device = word[: word.find(")") + 1] or word
        if device not in verdicts:
            verdicts[device] = _device_problem(device)
        problem = verdicts[device]
        if problem:
            span = line.argument_part(start, start + len(device))
            mild = reads_new_names and re.match(r"\(hd\d+,(msdos|gpt)\d+\)", device)
            yield Problem(problem, span, entry.index, severity="warning" if mild else None)


def _device_problem(text: str) -> str | None:
    try:
        device = read_device(text, _ANY_ROOT)[0]
    except GrubError as err:
        return f"error {err.number}: {err.detail}{_device_hint(text)}"
    if device.scheme is not None:
        legacy = f"(hd{device.drive},{device.partition})"
        return f"{shorten(text)} is GRUB 2's name; GRUB Legacy counts from 0: {legacy}"
    return None


def _device_hint(text: str) -> str:
    bare = text.strip("()")
    if re.fullmatch(r"hd\d+(,\d+)?", bare):
        return f"; write ({bare})"
    if re.match(r"(/dev/)?(xvd|sd|hd|vd)[a-z]", bare):
        return "; GRUB names disks (hd0), (hd1) and partitions (hd0,0)"
    return ""


@rule("relative-path", "error", "a file's path that does not begin with a slash", dialects=MENU_LST)
def relative_path(subject: Subject) -> Iterator[Problem]:
    for entry, line in subject.menu_lst.named(*FILE_COMMANDS):
        if entry is None:
            continue
        word, start = _named(line)
        path = word.partition(")")[2] if word.startswith("(") else word
        if not word or word[0] in "'\"-/" or path.startswith("/") or _is_block_list(path):
            continue
        if word.startswith("(") and ")" not in word:
            continue  # bad-device-syntax
        span = line.argument_part(start, start + len(word))
        what = f"{quoted(path)} does not begin with /" if path else f"no path follows {shorten(word)}"
        yield Problem(f"{what}: error 1", span, entry.index)


@rule("root-missing", "warning", "a path without a device, and no root", dialects=MENU_LST)
def root_missing(subject: Subject) -> Iterator[Problem]:
    for_pv_grub = subject.options.target.loader == "pv-grub"
    severity = "error" if for_pv_grub else None
    roots = _ROOTS - {"uuid"} if for_pv_grub else _ROOTS  # Ubuntu's word, which PV-GRUB skips
    for entry in subject.menu_lst.entries:
        for line in _run_lines(entry):
            if line.name in roots and line.argument:
                break
            word, start = _named(line)
            if line.name in FILE_COMMANDS and word.startswith("/"):
                message = (
                    f"{shorten(word)} has no device and the entry no root: PV-GRUB takes the network for it "
                    "(error 17), others the menu's own volume"
                )
                span = line.argument_part(start, start + len(word))
                yield Problem(message, span, entry.index, severity=severity)
                break


def _is_block_list(text: str) -> bool:
    if text[:1] not in "0123456789+":
        return False
    try:
        open_block_list(text, _ENDLESS)
    except GrubError:
        return False
    return True


def _run_lines(entry: EntryLines) -> Iterator[CommandLine]:
    """Yield the lines that GRUB keeps, up to the one that ends the entry."""
    for line in entry.lines:
        yield line
        if line.name in _LAST:
            return


def _named(line: CommandLine) -> tuple[str, int]:
    """Return the file or device that a line names, and its index in the argument."""
    part = line.arguments.part("file") or line.arguments.part("device")
    return (part.text, part.start) if part is not None else ("", 0)
