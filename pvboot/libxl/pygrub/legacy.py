"""`menu.lst` as pygrub counts and reads it.

Guests of xl have a `default` that was tried with pygrub, and it counts every title, also one without commands (GRUB
does not).  Of an entry only kernel, initrd, root and module matter, the last one of each; everything else is passed
over, while GRUB's shell would stop at what it does not know.  The grammar is GRUB's own.
"""

from __future__ import annotations

from functools import partial

from grammars.menu_lst import CommandLine, parse
from pvboot.errors import BootError
from pvboot.grub_errors import GrubError, first_word, read_number, skip_word
from pvboot.menu.dialects import MenuContext
from pvboot.menu.model import BootFiles, Command, Entry, Menu, MenuWarning

DIALECT = "menu.lst"
KERNEL_OPTIONS = ("--type=", "--no-mem-option")


def build(data: bytes, context: MenuContext) -> Menu:
    """The menu in `data`; never fails."""
    tree = parse(data, f"{context.volume or ''}{context.path}")
    titles = [index for index, line in enumerate(tree.lines) if line.name == "title"]
    head = tree.lines[: titles[0]] if titles else tree.lines
    ends = (*titles[1:], len(tree.lines))
    bodies = [tree.lines[start + 1 : ends[number]] for number, start in enumerate(titles)]
    if bodies and not bodies[-1]:  # the one title without commands that pygrub does not count is the last
        bodies.pop()
    entries = tuple(_entry(index, tree.lines[titles[index]], body) for index, body in enumerate(bodies))
    numbers, warnings = _read_head(head, context)
    default = numbers.get("default", 0)
    fallback = numbers.get("fallback")
    return Menu(
        context.source,
        context.volume,
        context.path,
        DIALECT,
        entries,
        default=default if default < len(entries) else 0,
        fallback=() if fallback is None or fallback >= len(entries) else (fallback,),
        timeout=numbers.get("timeout"),
        warnings=tuple(warnings),
    )


def _read_head(lines: tuple[CommandLine, ...], context: MenuContext) -> tuple[dict[str, int], list[MenuWarning]]:
    numbers: dict[str, int] = {}
    warnings: list[MenuWarning] = []
    for line in lines:
        if line.name not in ("default", "timeout", "fallback"):
            continue
        text = line.argument
        if line.name == "default" and text == "saved":
            saved = context.saved_default().decode("latin-1")
            text = saved.rpartition(":")[2] or "0"
        try:
            numbers[line.name] = read_number(text)[0]
        except GrubError as err:
            numbers.pop(line.name, None)
            warnings.append(MenuWarning(f"{line.name!r} has no effect: {err.detail}", line.name_span))
    return numbers, warnings


def _entry(index: int, title: CommandLine, body: tuple[CommandLine, ...]) -> Entry:
    commands = tuple(Command(line.name, line.argument, line.text, line.span, line.argument_span) for line in body)
    return Entry(index, title.argument.strip(), commands, title.span, files=partial(read_files, commands))


def read_files(commands: tuple[Command, ...]) -> BootFiles:
    """What an entry's commands load.  Raises `BootError` if they name no kernel."""
    kernel = initrd = root = None
    modules: list[tuple[str, str]] = []
    for command in commands:
        if command.name in ("root", "rootnoverify"):
            root = command.args.strip()
        elif command.name == "kernel":
            kernel = command.args
        elif command.name == "initrd":
            initrd = first_word(command.args)
        elif command.name in ("module", "modulenounzip"):
            modules.append((first_word(command.args), skip_word(command.args)))
    if kernel is None:
        raise BootError("the entry names no kernel")
    while kernel.startswith(KERNEL_OPTIONS):
        kernel = skip_word(kernel)
    return BootFiles(first_word(kernel), skip_word(kernel), (initrd,) if initrd else (), tuple(modules), root or None)
