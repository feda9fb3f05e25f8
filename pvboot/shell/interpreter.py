"""Running commands: a line of the prompt, or an entry from its first command to its boot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fsdrivers import errors as fs_errors
from fsdrivers.light import replace
from grammars.commands import read_arguments
from grammars.menu_lst import parse_line
from grammars.spans import SourceSpan
from pvboot import grub_errors
from pvboot.devices import Devices, translate
from pvboot.grub_errors import GrubError, refuse_wrong
from pvboot.menu.loads import GRUB, entry_loads
from pvboot.menu.model import Command, Entry, Menu
from pvboot.shell import files, loading, network, settings
from pvboot.shell.request import BootRequest, Outcome, request_of
from pvboot.shell.state import Console, Shell, new_shell
from pvboot.shell.table import COMMANDS

# Importing these enters their commands into the table.
_ROOMS = (files, loading, network, settings)


def run_entry(
    devices: Devices, menu: Menu, entry: Entry, *, console: Console | None = None, authenticated: bool = False
) -> Outcome | None:
    """Run an entry's commands from a fresh state; what it leads to, None if it loads nothing.

    The first error ends it (`GrubError` with its place in the menu).  A kernel that was loaded is booted at
    the end without being told.
    """
    shell = new_shell(devices, menu, entry, console=console, authenticated=authenticated)
    if entry.files is not None:
        return _load_files(shell, entry)
    return _run_commands(shell, entry.commands, entry.span)


def run_lines(
    devices: Devices,
    menu: Menu,
    entry: Entry,
    lines: Sequence[str],
    *,
    console: Console | None = None,
    authenticated: bool = False,
) -> Outcome | None:
    """As `run_entry`, with the command lines that somebody made of the entry in an editor.

    Nothing is skipped as it is in a menu file: an empty line or a comment is an unknown command (27), as in GRUB.
    """
    shell = new_shell(devices, menu, entry, console=console, authenticated=authenticated)
    commands = (_edited_command(text, number) for number, text in enumerate(lines, 1))
    return _run_commands(shell, commands, entry.span)


def _edited_command(text: str, number: int) -> Command:
    line = parse_line(text, "edited entry")
    if line is None:
        span = SourceSpan("edited entry", number, 1, len(text))
        return Command("", "", text, span, span)
    span, args_span = (replace(span, line=number) for span in (line.span, line.argument_span))
    return Command(line.name, line.argument, line.text, span, args_span)


def _run_commands(shell: Shell, commands: Iterable[Command], entry_span: SourceSpan) -> Outcome | None:
    for command in commands:
        info = COMMANDS.get(command.name)
        if info is None or info.echo:
            shell.out(command.text)
        outcome = _run(shell, command.name, command.args, command.args_span if command.args else command.span)
        if outcome is not None:
            return outcome
    if shell.kernel is not None:
        return _run(shell, "boot", "", entry_span)
    return None


def _load_files(shell: Shell, entry: Entry) -> BootRequest | None:
    """Open what an entry of another dialect names; None if it names no kernel."""
    try:
        loads = entry_loads(entry, shell.root, shell.devices, GRUB)
        for _span, err in loads.roots:
            raise err
        return request_of(loads)
    except GrubError as err:
        raise err.at(entry.span) from err.__cause__


def run_line(shell: Shell, text: str) -> Outcome | None:
    """Run one line as typed at the prompt.  Raises `GrubError`."""
    line = parse_line(text)
    if line is None:
        return None
    return _run(shell, line.name, line.argument, None)


def _run(shell: Shell, name: str, args: str, span: SourceSpan | None) -> Outcome | None:
    try:
        info = COMMANDS.get(name)
        if info is None:
            raise GrubError(grub_errors.UNKNOWN_COMMAND, repr(grub_errors.shorten(name)))
        if not info.entry:
            raise GrubError(grub_errors.UNKNOWN_COMMAND, f"{name!r} acts only before the first title")
        arguments = read_arguments(name, args)
        refuse_wrong(arguments)
        return info.function(shell, arguments)
    except GrubError as err:
        raise (err.at(span) if span else err) from err.__cause__
    except fs_errors.FsError as err:
        located = translate(err)
        raise (located.at(span) if span else located) from err
