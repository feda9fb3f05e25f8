"""Commands about the menu, the terminal and rights, and the known words that a PV guest cannot obey."""

from __future__ import annotations

from pvboot import grub_errors
from pvboot.grub_errors import GrubError, first_word, read_number, skip_word
from pvboot.menu.model import Password
from pvboot.menu.words import WORDS
from pvboot.shell.passwords import matches
from pvboot.shell.request import Outcome
from pvboot.shell.state import Shell
from pvboot.shell.table import COMMANDS, CommandInfo, Function, command

BACKGROUNDS = ("black", "blue", "green", "cyan", "red", "magenta", "brown", "light-gray")
FOREGROUNDS = (
    *BACKGROUNDS,
    "dark-gray",
    "light-blue",
    "light-green",
    "light-cyan",
    "light-red",
    "light-magenta",
    "yellow",
    "white",
)
TERMINALS = ("console", "serial", "graphics", "hercules", "vga")


# --- the menu: these act in the head, where `pvboot.menu` reads them --------------------------------------


def _head_only(shell: Shell, args: str) -> Outcome | None:
    raise GrubError(grub_errors.UNKNOWN_COMMAND, "it acts only before the first title")


command("title TEXT", "Begin an entry.")(_head_only)
command("default NUM|saved", "Choose the entry that is booted by itself.")(_head_only)
command("fallback NUM...", "Choose the entries to try when one fails.")(_head_only)
command("hiddenmenu", "Do not show the menu while the clock runs.")(_head_only)
command("timeout SECS", "Set the seconds until the default entry is booted.")(_head_only)


# --- rights -----------------------------------------------------------------------------------------------


@command("lock", "Stop unless the menu's password was given.")
def lock(shell: Shell, args: str) -> Outcome | None:
    if shell.menu is not None and shell.menu.password is not None and not shell.authenticated:
        raise GrubError(grub_errors.NEEDS_AUTHENTICATION, "the entry is locked by the menu's password")
    return None


@command("password [--md5] PASSWD [FILE]", "Ask for a password and stop if it is wrong.", echo=False)
def password(shell: Shell, args: str) -> Outcome | None:
    wanted = Password("md5", skip_word(args)) if args.startswith("--md5") else Password("plain", args)
    if wanted.value.startswith("--"):
        wanted = Password("unsupported", skip_word(wanted.value))
    entered = shell.console.ask("Password: ") if shell.console.ask else None
    if entered is None:
        raise GrubError(grub_errors.NEEDS_AUTHENTICATION, "a password is wanted and nobody is there to type it")
    if not matches(entered, wanted):
        raise GrubError(grub_errors.NEEDS_AUTHENTICATION, "the password is wrong")
    return None


@command("savedefault [NUM|fallback]", "Accepted; the guest's disk is never written to.")
def savedefault(shell: Shell, args: str) -> Outcome | None:
    # GRUB fails where it cannot write; a boot must not stop because the disk is read-only here.
    if shell.entry is None:
        raise GrubError(grub_errors.UNKNOWN_COMMAND, "it acts only in an entry")
    return None


# --- the terminal -----------------------------------------------------------------------------------------


@command("print TEXT", "Print a text.", echo=False)
def print_text(shell: Shell, args: str) -> Outcome | None:
    shell.out(args)
    return None


@command("pause TEXT", "Print a text and wait for a key.", echo=False)
def pause(shell: Shell, args: str) -> Outcome | None:
    shell.out(args)
    if shell.console.ask:
        shell.console.ask("")
    return None


@command("color NORMAL [HIGHLIGHT]", "Choose the menu's colours, FOREGROUND/BACKGROUND or a number.")
def color(shell: Shell, args: str) -> Outcome | None:
    read_color(args)
    if highlight := skip_word(args):
        read_color(highlight)
    return None


def read_color(args: str) -> int:
    """The attribute byte.  Raises `GrubError` 23 for what is neither a pair of names nor a number."""
    foreground, slash, background = first_word(args).partition("/")
    blink = foreground.startswith("blink-")
    foreground = foreground.removeprefix("blink-")
    if slash and foreground in FOREGROUNDS and background in BACKGROUNDS:
        return blink << 7 | BACKGROUNDS.index(background) << 4 | FOREGROUNDS.index(foreground)
    return read_number(args)[0]


@command("terminal [OPTION...] [NAME...]", "Choose where to talk; here that is always this terminal.")
def terminal(shell: Shell, args: str) -> Outcome | None:
    while args.startswith("--"):
        args = skip_word(args)
    for name in args.split(" ") if args.strip(" ") else ():
        if name and name not in TERMINALS:
            raise GrubError(grub_errors.INVALID_ARGUMENT, f"terminal {name!r}, expected one of {', '.join(TERMINALS)}")
    return None


@command("pager [on|off]", "Switch the pager, or turn it over.")
def pager(shell: Shell, args: str) -> Outcome | None:
    wanted = {"on": True, "off": False, "": not shell.pager}.get(args)
    if wanted is None:
        raise GrubError(grub_errors.INVALID_ARGUMENT, f"{args!r}, expected on or off")
    shell.pager = wanted
    shell.out(f" Internal pager is now {'on' if wanted else 'off'}")
    return None


@command("help [--all] [PATTERN...]", "List the commands, or explain those that begin with a pattern.")
def help_text(shell: Shell, args: str) -> Outcome | None:
    patterns = [word for word in args.split(" ") if word and word != "--all"]
    for info in sorted(COMMANDS.values(), key=lambda info: info.name):
        if not patterns and info.entry:
            shell.out(info.usage)
        elif any(info.name.startswith(pattern) for pattern in patterns):
            shell.out(f"{info.name}: {info.usage}\n    {info.help}")
    return None


# --- known words that do nothing here, or cannot ----------------------------------------------------------


def _nothing(shell: Shell, args: str) -> Outcome | None:
    return None


def _unsupported(shell: Shell, args: str) -> Outcome | None:
    raise GrubError(grub_errors.UNKNOWN_COMMAND, "unsupported in a PV guest")


# Words that only a PC's boot loader could obey.
_FOR_PCS = (
    "displayapm displaymem dump embed hide impsprobe install ioprobe makeactive map md5crypt partnew parttype quit "
    "read setup testload testvbe unhide uppermem vbeprobe"
)
UNSUPPORTED = tuple(_FOR_PCS.split())


def _enter_all(names: str, function: Function, help_line: str) -> None:
    for name in names.split():
        word = WORDS[name]
        COMMANDS[name] = CommandInfo(name, function, name, help_line, word.head, word.entry, True)


_enter_all(
    "background border clear debug device foreground fstest quiet serial setkey shade splashimage terminfo viewport",
    _nothing,
    "Accepted; it has no effect here.",
)
_enter_all(_FOR_PCS, _unsupported, "For PCs and their disks' boot sectors; unsupported in a PV guest.")
