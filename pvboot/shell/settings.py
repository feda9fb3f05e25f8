"""Commands about the menu, the terminal and rights, and the known words that a PV guest cannot obey."""

from __future__ import annotations

from grammars.commands import Arguments
from pvboot import grub_errors
from pvboot.grub_errors import GrubError
from pvboot.menu.menu_lst import read_password
from pvboot.shell.passwords import matches
from pvboot.shell.request import Outcome
from pvboot.shell.state import Shell
from pvboot.shell.table import COMMANDS, command

# --- the menu: these act in the head, where `pvboot.menu` reads them --------------------------------------


def _head_only(shell: Shell, args: Arguments) -> Outcome | None:
    raise GrubError(grub_errors.UNKNOWN_COMMAND, "it acts only before the first title")


command("title", text="Begin an entry.")(_head_only)
command("default", text="Choose the entry that is booted by itself.")(_head_only)
command("fallback", text="Choose the entries to try when one fails.")(_head_only)
command("hiddenmenu", text="Do not show the menu while the clock runs.")(_head_only)
command("timeout", text="Set the seconds until the default entry is booted.")(_head_only)


# --- rights -----------------------------------------------------------------------------------------------


@command("lock", text="Stop unless the menu's password was given.")
def lock(shell: Shell, args: Arguments) -> Outcome | None:
    if shell.menu is not None and shell.menu.password is not None and not shell.authenticated:
        raise GrubError(grub_errors.NEEDS_AUTHENTICATION, "the entry is locked by the menu's password")
    return None


@command("password", text="Ask for a password and stop if it is wrong.", echo=False)
def password(shell: Shell, args: Arguments) -> Outcome | None:
    entered = shell.console.ask("Password: ") if shell.console.ask else None
    if entered is None:
        raise GrubError(grub_errors.NEEDS_AUTHENTICATION, "a password is wanted and nobody is there to type it")
    if not matches(entered, read_password(args)):
        raise GrubError(grub_errors.NEEDS_AUTHENTICATION, "the password is wrong")
    return None


@command("savedefault", text="Accepted; the guest's disk is never written to.")
def savedefault(shell: Shell, args: Arguments) -> Outcome | None:
    # GRUB fails where it cannot write; a boot must not stop because the disk is read-only here.
    if shell.entry is None:
        raise GrubError(grub_errors.UNKNOWN_COMMAND, "it acts only in an entry")
    return None


# --- the terminal -----------------------------------------------------------------------------------------


@command("print", text="Print a text.", echo=False)
def print_text(shell: Shell, args: Arguments) -> Outcome | None:
    shell.out(args.text)
    return None


@command("pause", text="Print a text and wait for a key.", echo=False)
def pause(shell: Shell, args: Arguments) -> Outcome | None:
    shell.out(args.text)
    if shell.console.ask:
        shell.console.ask("")
    return None


@command("pager", text="Switch the pager, or turn it over.")
def pager(shell: Shell, args: Arguments) -> Outcome | None:
    shell.pager = args.get("switch") == "on" if "switch" in args else not shell.pager
    shell.out(f" Internal pager is now {'on' if shell.pager else 'off'}")
    return None


@command("help", text="List the commands, or explain those that begin with a pattern.")
def help_text(shell: Shell, args: Arguments) -> Outcome | None:
    patterns = tuple(args.all("pattern"))
    for info in sorted(COMMANDS.values(), key=lambda info: info.name):
        if not patterns and info.entry:
            shell.out(info.usage)
        elif info.name.startswith(patterns or ("\n",)):
            shell.out(f"{info.name}: {info.usage}\n    {info.help}")
    return None


# --- known words that do nothing here, or cannot ----------------------------------------------------------


def _nothing(shell: Shell, args: Arguments) -> Outcome | None:
    return None


def _unsupported(shell: Shell, args: Arguments) -> Outcome | None:
    raise GrubError(grub_errors.UNKNOWN_COMMAND, "unsupported in a PV guest")


# Words that only a PC's boot loader could obey.
_FOR_PCS = (
    "displayapm displaymem dump embed hide impsprobe install ioprobe makeactive map md5crypt partnew parttype quit "
    "read setup testload testvbe unhide uppermem vbeprobe"
)
UNSUPPORTED = tuple(_FOR_PCS.split())
_IDLE = "background border clear debug device foreground fstest quiet serial setkey shade splashimage terminfo viewport"

command("color", text="Choose the menu's colours, FOREGROUND/BACKGROUND or a number.")(_nothing)
command("terminal", text="Choose where to talk; here that is always this terminal.")(_nothing)
command(*_IDLE.split(), text="Accepted; it has no effect here.")(_nothing)
command(*UNSUPPORTED, text="For PCs and their disks' boot sectors; unsupported in a PV guest.")(_unsupported)
