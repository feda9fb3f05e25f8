"""Rules about `grub.cfg`: its syntax, and the warnings of its script while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from fsdrivers.errors import FsError
from grammars.grub_cfg import Command, If, Statement, commands
from grammars.grub_cfg import Problem as SyntaxProblem
from pvboot.check.api import Problem, rule
from pvboot.check.hints import Hints
from pvboot.check.scripted import pass_on, warnings_of
from pvboot.device_names import read_device
from pvboot.errors import PvbootError
from pvboot.grub_errors import quoted
from pvboot.menu.grub_cfg import EndlessScriptError, HypervisorEntryError
from pvboot.menu.grub_env import SIGNATURE

if TYPE_CHECKING:
    from fsdrivers.api import File
    from pvboot.check.subject import Subject

DIALECT = ("grub.cfg",)
BLOCK_BYTES = 1024

# What GRUB 2 has in modules for other systems, other firmware and for looking around; distributions' menus use some.
_ELSEWHERE = (
    "kfreebsd kfreebsd_loadenv kfreebsd_module kfreebsd_module_elf knetbsd knetbsd_module knetbsd_module_elf kopenbsd "
    "kopenbsd_ramdisk ntldr freedos plan9 truecrypt pxe_unload appleloader xnu_devprop_load xnu_kernel xnu_kernel64 "
    "xnu_kext xnu_kextdir xnu_mkext xnu_ramdisk xnu_splash xnu_uuid legacy_kernel legacy_initrd legacy_initrd_nounzip "
    "legacy_check_password extract_entries_source extract_entries_configfile extract_legacy_entries_source "
    "extract_legacy_entries_configfile extract_syslinux_entries_source extract_syslinux_entries_configfile "
    "syslinux_source macppcbless mactelbless loadbios fix_video fwconfig efitextmode lsefi lsefimmap lsefisystab lssal "
    "lsacpi lsapm lsmmap lsfonts lscoreboot cbmemc coreboot_boottime boottime badram cutmem blocklist cmp crc hashsum "
    "md5sum sha1sum sha256sum sha512sum file hdparm gptsync getenv gettext setpci pcidump read_byte read_word "
    "read_dword write_byte write_word write_dword cmosdump cmostest sendkey stall testload testspeed time tr usb "
    "uppermem vbeinfo vbetest zfs-bootfs zfsinfo zfskey distrust_certificate gdbstub gdbstub_break gdbstub_stop "
    "at_keyboard usb_keyboard backtrace versioninfo hiddenentry"
)
_GRUB2_ONLY = frozenset(_ELSEWHERE.split())


_WARNED: Final = (
    ("bad-argument", "error", "an argument that is missing or cannot be read", "argument", "warning"),
    ("command-not-allowed-here", "error", "a command that does not act where it stands", "misplaced", "warning"),
    ("unset-variable", "warning", "a file's name contains a variable that is not set", "unset-variable"),
    ("configfile-loop", "error", "menus that read each other without end", "loop"),
    ("no-bls-entries", "error", "blscfg finds no entries", "no-bls-entries", None, "files"),
    ("missing-config-file", "error", "a menu that another one names is not there", "unread-file", "warning", "files"),
    ("default-out-of-range", "warning", "the default is not an entry", "default", "warning"),
    ("fallback-out-of-range", "warning", "a fallback is not an entry", "fallback"),
)
for _row in _WARNED:
    pass_on(DIALECT, *_row)


@rule(
    "syntax-error", "error", "the text breaks the rules of its language, and a part of it is dropped", dialects=DIALECT
)
def syntax_error(subject: Subject) -> Iterator[Problem]:
    """What grub-script-check refuses: braces, quotes, `if` without `fi` ..."""
    for statement in subject.script.statements:
        if isinstance(statement, SyntaxProblem):
            severity = "note" if statement.is_limit else None
            yield Problem(statement.message, statement.span, severity=severity)


@rule("unknown-command", "warning", "a word that is not a command", dialects=DIALECT)
def unknown_command(subject: Subject) -> Iterator[Problem]:
    """GRUB says so on the screen and goes on."""
    from pvboot.menu.grub_commands import COMMANDS

    hints = Hints([*COMMANDS, "function", "if", "for", "while", "until"])
    for warning, entry in warnings_of(subject, "unknown-command"):
        name = quoted(warning.subject)
        if warning.subject in _GRUB2_ONLY:
            message = f"{name} is a command that GRUB 2 may have; pvboot skips it"
            yield Problem(message, warning.span, entry, severity="note")
        else:
            yield Problem(f"{name} is not a command of GRUB 2{hints.question(warning.subject)}", warning.span, entry)


@rule("unsupported-in-pv-guest", "warning", "an entry that a PV guest cannot start", dialects=DIALECT)
def unsupported_in_pv_guest(subject: Subject) -> Iterator[Problem]:
    """Boot sectors, firmware, a hypervisor of its own: fine to have, a pity to choose."""
    for warning, entry in warnings_of(subject, "chainloader"):
        yield Problem("'chainloader' starts nothing in a PV guest", warning.span, entry, severity="note")
    for found in subject.opened_entries:
        error = subject.loads(found).error
        if isinstance(error, HypervisorEntryError):
            severity = "warning" if found.index == subject.menu.default else "note"
            yield Problem(error.what, found.span, found.index, severity=severity)


@rule("script-does-not-end", "error", "the menu's script runs for ever, or grows without end", dialects=DIALECT)
def script_does_not_end(subject: Subject) -> Iterator[Problem]:
    """GRUB would hang at this place."""
    for warning, entry in warnings_of(subject, "exhausted"):
        yield Problem(warning.message, warning.span, entry)
    for found in subject.opened_entries:
        error = subject.loads(found).error
        if isinstance(error, EndlessScriptError):
            yield Problem(error.what, found.span, found.index)


# --- other files ------------------------------------------------------------------------------------------


def _grubenv(subject: Subject) -> File | FsError | None:
    """The environment block beside the menu, None if it cannot be looked for."""
    if subject.devices is None or subject.volume is None:
        return None
    path = f"{subject.path.rpartition('/')[0]}/grubenv"
    try:
        return subject.devices.mount(read_device(subject.volume)[0]).open(path)
    except FsError as err:
        return err
    except PvbootError:
        return None


@rule("bad-grubenv", "error", "the file grubenv is not an environment block", dialects=DIALECT, needs="files")
def bad_grubenv(subject: Subject) -> Iterator[Problem]:
    """GRUB neither reads what it says nor writes to it."""
    file = _grubenv(subject)
    if file is None or isinstance(file, FsError):
        return
    name = f"{subject.volume}{file.path}"
    data = file.read_at(0, len(SIGNATURE))
    if data != SIGNATURE:
        shown = data[:24].decode("latin-1")
        wanted = SIGNATURE[:24].decode()
        yield Problem(f"no environment block: it begins with {shown!r}, not with {wanted!r}", file=name)
    elif file.size != BLOCK_BYTES:
        yield Problem(
            f"an environment block has {BLOCK_BYTES} bytes, this one {file.size}: it was edited by hand",
            file=name,
            severity="warning",
        )


@rule(
    "default-saved-no-file",
    "warning",
    "the default is the saved entry, and there is no file to save it in",
    dialects=DIALECT,
    needs="files",
)
def default_saved_no_file(subject: Subject) -> Iterator[Problem]:
    """Without grubenv nothing was ever saved: the first entry is the default."""
    file = _grubenv(subject)
    if not isinstance(file, FsError):
        return
    for command in commands(_unguarded(subject.script.statements)):
        for word in command.words[1:2] if command.words[0].pieces[:1] == _SET else ():
            name = word.pieces[0].text if word.pieces else ""
            if name == "default=" and any(piece.text == "saved_entry" for piece in word.pieces[1:]):
                message = "the default is the saved entry, but there is no grubenv beside the menu: the first is taken"
                yield Problem(message, command.source.span(word.start, word.end))
                return


_SET = (("text", "set"),)


def _unguarded(statements: Iterable[Statement]) -> Iterator[Statement]:
    """Without an `if` that asks for the saved entry before it takes it."""
    for statement in statements:
        if not isinstance(statement, If) or not any(_asks_for_saved(condition) for condition, _ in statement.branches):
            yield statement


def _asks_for_saved(condition: Iterable[Statement]) -> bool:
    words = (word for statement in condition if isinstance(statement, Command) for word in statement.words)
    return any(piece.text == "saved_entry" for word in words for piece in word.pieces)
