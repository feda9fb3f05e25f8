"""The arguments of GRUB Legacy's commands: text -> named parts, and what is wrong with them.

Declared once for all who need them: the shell that runs commands, the validator, help and completion.  A command that
is not here takes any text.  Source of the rules: builtins.c and cmdline.c of GRUB 0.97, measured with its real shell;
numbers of errors are GRUB's.  What a device or file name means is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from fsdrivers.light import TYPE_CHECKING, Final, dataclass
from grammars import _commands
from grammars.source import Values

if TYPE_CHECKING:
    from pyparsing import ParserElement

Action = Callable[[str, int, Values], "list[Part] | list[Wrong]"]

MAXIMUM_NUMBER: Final = 0x7FFFFFFF
SHOWN_CHARACTERS: Final = 60
INVALID_ARGUMENT: Final = 30
BAD_NUMBER: Final = 23
NUMBER_OVERFLOW: Final = 35

KERNEL_TYPES: Final = ("netbsd", "freebsd", "openbsd", "linux", "biglinux", "multiboot")
TERMINALS: Final = ("console", "serial", "graphics", "hercules", "vga")
_DARK = "black blue green cyan red magenta brown light-gray"
_BRIGHT = "dark-gray light-blue light-green light-cyan light-red light-magenta yellow white"
BACKGROUNDS: Final = tuple(_DARK.split())
FOREGROUNDS: Final = tuple(f"{_DARK} {_BRIGHT}".split())


@dataclass(frozen=True, slots=True)
class Part:
    """A named part of an argument: its text, and its index in the argument."""

    name: str
    text: str
    start: int

    @property
    def number(self) -> int:
        """The value of a number."""
        return int(self.text, 16 if self.text[:2].lower() == "0x" else 10)


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with the `text` at `start`.

    `number` is the error with which GRUB refuses it at once, 0 if it finds out later or never; `mild`: it goes on.
    """

    message: str
    text: str
    start: int
    number: int
    mild: bool


class Arguments:
    """The argument of a command: the whole `text`, and what was `found` in it, in order."""

    __slots__ = ("found", "text")

    def __init__(self, text: str, found: Sequence[Part | Wrong]) -> None:
        self.text = text
        self.found = found

    @property
    def problems(self) -> list[Wrong]:
        """What is wrong."""
        return [problem for problem in self.found if isinstance(problem, Wrong)]

    @property
    def parts(self) -> list[Part]:
        """What is right."""
        return [part for part in self.found if isinstance(part, Part)]

    def part(self, name: str) -> Part | None:
        """The first part of that name."""
        for part in self.found:
            if isinstance(part, Part) and part.name == name:
                return part
        return None

    def get(self, name: str) -> str:
        """The text of the first part of that name, "" if there is none."""
        part = self.part(name)
        return part.text if part is not None else ""

    def all(self, name: str) -> list[str]:
        """The texts of all parts of that name."""
        return [part.text for part in self.parts if part.name == name]

    def __contains__(self, name: str) -> bool:
        return self.part(name) is not None


@lru_cache(maxsize=1 << 16)  # several rules and the interpreter read the same lines
def read_arguments(command: str, text: str) -> Arguments:
    """Take the argument of a command apart.  Never fails; what follows the last part does not count for GRUB."""
    found: list[Part | Wrong] = []
    syntax = _commands.COMMANDS.get(command)
    if syntax is not None:
        syntax.parse(text, found, Builder(command))
    return Arguments(text, found)


def usage(command: str) -> str:
    """The command and its arguments, as `help` shows them."""
    syntax = _commands.COMMANDS.get(command)
    return f"{command} {syntax.usage}" if syntax is not None else command


def literals(command: str) -> tuple[str, ...]:
    """The words that may stand among the arguments as they are, options with their `=`."""
    syntax = _commands.COMMANDS.get(command)
    return syntax.literals if syntax is not None else ()


_COLOR = "{text} is not a color, expected FOREGROUND/BACKGROUND such as white/blue"
# What is wrong, GRUB's number of the error (0: it finds out later or never), whether it goes on.  Where something is
# missing, the `text` is "".
MESSAGES: Final[dict[str, tuple[str, int, bool]]] = {
    "no_file": ("{command} names no file", 0, False),
    "no_files": ("{command} needs two files", INVALID_ARGUMENT, False),
    "no_second_file": ("{command} needs two files", INVALID_ARGUMENT, False),
    "no_number": ("no number in {text}", BAD_NUMBER, False),
    "large_number": (f"{{text}} is above {MAXIMUM_NUMBER:#x}", NUMBER_OVERFLOW, False),
    "no_color": (_COLOR, BAD_NUMBER, False),
    "no_uuid": ("{command} names no file system", 0, False),
    "no_address": ("{text}: not an IPv4 address", INVALID_ARGUMENT, False),
    "no_entry": ("{command} takes an entry's number or fallback, not {text}", 0, False),
    "no_type": (f"{{text}}: not a type of kernel, expected {', '.join(KERNEL_TYPES)}", INVALID_ARGUMENT, False),
    "no_terminal": (f"{{text}} is not a terminal, expected {', '.join(TERMINALS)}", INVALID_ARGUMENT, False),
    "no_switch": ("{text}, expected on or off", INVALID_ARGUMENT, False),
    "no_option": ("{text} is not an option of {command}", INVALID_ARGUMENT, False),
    "dashed_file": ("{text} is not an option of {command} and is taken for the file's name", 0, False),
    "second_file": ("GRUB loads only the first file of an initrd line, not {text}", 0, True),
}


class Builder:
    """The actions of the grammar: one of `MESSAGES` says what is wrong, any other name makes a part of that name."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __getattr__(self, name: str) -> Action:
        return partial(self._wrong if name in MESSAGES else self._part, name)

    def _part(self, name: str, _text: str, at: int, values: Values) -> list[Part]:
        return [Part(name, values[0], at)]

    def _wrong(self, name: str, text: str, at: int, values: Values) -> list[Wrong]:
        found: str = values[0] if values else ""
        shown = found if len(found) <= SHOWN_CHARACTERS else found[: SHOWN_CHARACTERS - 3] + "..."
        message, number, mild = MESSAGES[name]
        what = message.format(command=self._command, text=repr(shown))
        return [Wrong(what, found, at if found else len(text), number, mild)]

    def number(self, text: str, at: int, values: Values) -> list[Part] | list[Wrong]:
        part = Part("number", values[0], at)
        return [part] if part.number <= MAXIMUM_NUMBER else self._wrong("large_number", text, at, values)

    def server_option(self, _text: str, at: int, values: Values) -> list[Part]:
        option, _equals, value = values[0].partition("=")
        return [Part("server", value, at + len(option) + 1)]

    def dashed_file(self, text: str, at: int, values: Values) -> list[Part | Wrong]:
        return [*self._wrong("dashed_file", text, at, values), Part("file", values[0], at)]


def grammar(build: Builder) -> dict[str, ParserElement]:
    """The argument of each command.

    GRUB compares only the beginnings of options, and ignores what is left behind the last part.
    """
    from pyparsing import Empty, Opt, Suppress, ZeroOrMore

    from grammars.elements import blanks, token

    def part(name: str, shown: str, pattern: str = "[^ ]+") -> ParserElement:
        return token(pattern, getattr(build, name), shown)

    def option(*names: str) -> ParserElement:
        """Options that change nothing here: `--name`, or `--name=` and a value."""
        pattern = "|".join(name.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for name in names)
        return Suppress(token(f"--(?:{pattern})[^ ]*", name="|".join(f"--{name}" for name in names)))

    def wrong(name: str, pattern: str = "[^ ]+") -> ParserElement:
        """Text that cannot stand here; where the pattern may match nothing, also that something is missing."""
        return token(pattern, getattr(build, name), f"error {MESSAGES[name][1] or ''}".rstrip())

    def absent(name: str) -> ParserElement:
        """Nothing where something should stand."""
        return Empty().leave_whitespace().set_parse_action(getattr(build, name))

    with blanks(" "):
        text = Opt(part("text", "TEXT", r"[\s\S]+"))
        rest = Opt(part("rest", "ARG...", r"[\s\S]+"))
        root = Opt(part("device", "DEVICE") + Opt(part("bias", "HDBIAS")))
        path = part("file", "FILE")
        file = path | absent("no_file")
        number = token("0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+", build.number, "NUMBER")
        one_number = number | wrong("no_number", r"[\s\S]*")
        letters = Suppress(token("[^ ]*", name="letters").leave_whitespace())  # of a word that begins with a number

        bad_type = wrong("no_type", f"--type=(?!{'|'.join(KERNEL_TYPES)})[^ ]*")
        dashed = token("-[^ ]*", build.dashed_file, "error")
        kernel = ZeroOrMore(bad_type | option("type=TYPE", "no-mem-option")) + (dashed | file) + rest

        names = rf"(?:blink-)?(?:{'|'.join(FOREGROUNDS)})/(?:{'|'.join(BACKGROUNDS)})(?![^ ])"
        color = part("color", "COLOR", names) | number + letters

        terminal_options = option("dumb", "no-echo", "no-edit", "silent", "timeout=SECS", "lines=N")
        terminal = Suppress(token(f"(?:{'|'.join(TERMINALS)})(?![^ ])", name="|".join(TERMINALS)))

        octet = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
        address = rf"{octet}(?:\.{octet}){{3}}(?![^ ])"
        server_option = token(f"--server={address}", build.server_option, "--server=IP")
        other_options = Suppress(
            token(f"--(?:address|gateway|mask)={address}", name="--address=IP|--gateway=IP|--mask=IP")
        )
        bad_address = wrong("no_address", "--(?:address|gateway|mask|server)=[^ ]*")

        saved = part("saved", "saved", r"saved\Z")
        next_fallback = Suppress(token(r"fallback *\Z", name="fallback"))
        other_hash = part("unsupported", "--TYPE", "--[^ ]*")
        secret = part("password", "PASSWD") + Opt(path)
        switch = part("switch", "on|off", "(?:on|off)(?![^ ])")
        configfile = Opt(part("configfile", "--with-configfile", "--with-configfile[^ ]*"))
        return {
            "default": saved | one_number,
            "fallback": ZeroOrMore(number + letters | wrong("no_number", r"[\s\S]+")),
            "timeout": one_number,
            "title": text,
            "password": Opt(part("md5", "--md5", "--md5[^ ]*")) + Opt(other_hash) + Opt(secret),
            "savedefault": ZeroOrMore(option("default=NUMBER", "once"))
            + Opt(next_fallback | number | wrong("no_entry")),
            "root": root,
            "rootnoverify": root,
            "uuid": part("uuid", "UUID") | absent("no_uuid"),
            "kernel": kernel,
            "initrd": file + Opt(wrong("second_file", r"[^ ](?:[\s\S]*[^ ])?")),
            **dict.fromkeys(("module", "modulenounzip"), file + rest),
            "chainloader": Opt(option("force")) + file,
            **dict.fromkeys(("configfile", "cat", "find", "blocklist", "testload"), file),
            "cmp": path + (part("second", "FILE") | absent("no_second_file")) | absent("no_files"),
            "geometry": Opt(part("device", "DRIVE")),
            "halt": Opt(option("no-apm")),
            "print": text,
            "pause": text,
            "color": (color | wrong("no_color", "[^ ]*")) + Opt(color | wrong("no_color")),
            "pager": Opt(switch | wrong("no_switch")),
            "terminal": ZeroOrMore(terminal_options) + ZeroOrMore(terminal | wrong("no_terminal")),
            "help": ZeroOrMore(option("all") | part("pattern", "PATTERN")),
            **dict.fromkeys(("dhcp", "bootp"), configfile),
            "ifconfig": ZeroOrMore(server_option | other_options | bad_address | wrong("no_option")),
            "tftpserver": part("server", "IP", address) | wrong("no_address", "[^ ]*"),
        }
