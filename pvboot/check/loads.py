"""The files that an entry loads and where it names them, opened without running the entry.

A file that is not there does not hide the next one: an entry is looked at to its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from grammars.spans import SourceSpan
from pvboot.device_names import read_device
from pvboot.errors import PvbootError
from pvboot.grub_errors import GrubError, first_word, skip_word
from pvboot.menu.model import BootFiles, Command, Entry
from pvboot.menu.summary import skip_kernel_options
from pvboot.shell.describe import find_uuid
from pvboot.shell.state import Shell, new_shell

if TYPE_CHECKING:
    from fsdrivers.api import File
    from pvboot.check.subject import Subject


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file an entry names.

    `role` is "kernel", "initrd" or "module"; `text` the name as it is written, `name` with its device, `args` what
    follows it; `span` is the name (or the entry's title, where the dialect does not tell).  Without disks both `file`
    and `error` are None; otherwise one of them is set.
    """

    role: str
    text: str
    name: str
    args: str
    span: SourceSpan
    file: File | None = None
    error: PvbootError | None = None


@dataclass(frozen=True, slots=True)
class RootProblem:
    """A root device that cannot be set, and where it is named."""

    span: SourceSpan
    error: PvbootError


@dataclass(slots=True)
class EntryLoads:
    """What an entry loads in the end: `kernel` is the last one, `initrds` and `modules` those that stay.

    `named` are all files of the entry in order, those that a later command replaces among them.  `error` says why the
    entry's script could not be run at all, `span` is that of the kernel's line.
    """

    kernel: NamedFile | None = None
    initrds: list[NamedFile] = field(default_factory=list)
    modules: list[NamedFile] = field(default_factory=list)
    named: list[NamedFile] = field(default_factory=list)
    roots: list[RootProblem] = field(default_factory=list)
    error: PvbootError | None = None

    @property
    def cmdline(self) -> str:
        """The kernel's command line, "" without a kernel."""
        return self.kernel.args if self.kernel else ""


def loads_of(subject: Subject, entry: Entry) -> EntryLoads:
    """What `entry` loads.  Never raises for what the guest says."""
    loads = EntryLoads()
    if entry.files is None:
        _walk_commands(subject, entry, loads)
        return loads
    try:
        _take_files(subject, entry, entry.files(), loads)
    except PvbootError as err:
        loads.error = err
    return loads


def _shell(subject: Subject, entry: Entry) -> tuple[Shell | None, Shell]:
    """One that opens files, if there are disks; and one that only keeps the root device."""
    from pvboot.devices import Devices

    if subject.devices is None or subject.options.depth == "text":
        return None, new_shell(Devices([]), subject.menu, entry)
    shell = new_shell(subject.devices, subject.menu, entry)
    return shell, shell


# --- GRUB Legacy's commands -------------------------------------------------------------------------------


def _walk_commands(subject: Subject, entry: Entry, loads: EntryLoads) -> None:
    opener, state = _shell(subject, entry)
    for command in entry.commands:
        if command.name in ("root", "rootnoverify", "uuid"):
            _set_root(opener, state, command, loads)
        elif command.name == "kernel":
            loads.kernel = _named(opener, state, "kernel", command, skip_kernel_options(command.args))
            loads.named.append(loads.kernel)
        elif command.name == "initrd":
            loads.modules = []
            loads.initrds = [_named(opener, state, "initrd", command, command.args)]
            loads.named += loads.initrds
        elif command.name in ("module", "modulenounzip"):
            loads.initrds = []
            loads.modules.append(_named(opener, state, "module", command, command.args))
            loads.named.append(loads.modules[-1])
        elif command.name in ("boot", "configfile", "halt", "reboot"):
            break


def _set_root(opener: Shell | None, state: Shell, command: Command, loads: EntryLoads) -> None:
    if not command.args:
        return
    word = first_word(command.args)
    span = replace(command.args_span, length=len(word))
    try:
        if command.name == "uuid":
            device = find_uuid(opener.devices, word) if opener else None
            if device is None:
                if opener:
                    loads.roots.append(RootProblem(span, GrubError(15, f"no file system with UUID {word!r}")))
                return
        else:
            device = read_device(command.args, state.root)[0]
            if opener and command.name == "root":
                opener.devices.locate(device)
        state.root, state.root_named = device, True
    except PvbootError as err:
        loads.roots.append(RootProblem(span, err))


def _named(opener: Shell | None, state: Shell, role: str, command: Command, text: str) -> NamedFile:
    word, skipped = first_word(text), len(command.args) - len(text)
    span = command.args_span
    span = replace(span, column=span.column + skipped, length=len(word))
    return _open(opener, NamedFile(role, word, _full(state, word), skip_word(text), span), whole=False)


# --- other dialects ---------------------------------------------------------------------------------------


def _take_files(subject: Subject, entry: Entry, files: BootFiles, loads: EntryLoads) -> None:
    opener, state = _shell(subject, entry)
    if files.root is not None:
        try:
            state.root, state.root_named = read_device(files.root, state.root)[0], True
        except GrubError as err:
            loads.roots.append(RootProblem(entry.span, err))

    def named(role: str, text: str, args: str = "") -> NamedFile:
        file = _open(opener, NamedFile(role, text, _full(state, text), args, entry.span), whole=True)
        loads.named.append(file)
        return file

    if files.kernel is not None:
        loads.kernel = named("kernel", files.kernel, files.args)
    loads.initrds = [named("initrd", text) for text in files.initrds]
    loads.modules = [named("module", text, args) for text, args in files.modules]


def _full(state: Shell, word: str) -> str:
    return word if word.startswith("(") else f"{state.root or ''}{word}"


def _open(opener: Shell | None, named: NamedFile, *, whole: bool) -> NamedFile:
    if opener is None:
        return named
    try:
        name, file = opener.open_whole(named.text) if whole else opener.open(named.text)
        return replace(named, name=name, file=file)
    except PvbootError as err:
        return replace(named, error=err)
