"""The arguments of GRUB Legacy's commands: text -> named parts, and what is wrong with them.

Declared once for all who need them: the shell that runs commands, the validator, help and completion.  A command that
is not here takes any text.  Source of the rules: builtins.c and cmdline.c of GRUB 0.97, measured with its real shell;
numbers of errors are GRUB's.  What a device or file name means is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from grammars import _commands
from grammars.source import Values

if TYPE_CHECKING:
    from grammars.elements import ParserElement

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


class Part(NamedTuple):
    """A named part of an argument: its text, and its index in the argument."""

    name: str
    text: str
    start: int

    @property
    def number(self) -> int:
        """The value of a number."""
        return int(self.text, 16 if self.text[:2].lower() == "0x" else 10)


class Wrong(NamedTuple):
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
        return next((part for part in self.parts if part.name == name), None)

    def get(self, name: str) -> str:
        """The text of the first part of that name, "" if there is none."""
        part = self.part(name)
        return part.text if part is not None else ""

    def all(self, name: str) -> list[str]:
        """The texts of all parts of that name."""
        return [part.text for part in self.parts if part.name == name]

    def __contains__(self, name: str) -> bool:
        return self.part(name) is not None


def read_arguments(command: str, text: str) -> Arguments:
    """Take the argument of a command apart.  Never fails; what follows the last part does not count for GRUB."""
    found: list[Part | Wrong] = []
    rule = _commands.RULES.get(command)
    if rule is not None:
        rule(text, 0, found, Builder(command))
    return Arguments(text, found)


def usage(command: str) -> str:
    """The command and its arguments, as `help` shows them."""
    return f"{command} {_commands.USAGE.get(command, '')}".rstrip()


def literals(command: str) -> tuple[str, ...]:
    """The words that may stand among the arguments as they are, options with their `=`."""
    return _commands.LITERALS.get(command, ())


class Builder:
    """The actions of the grammar; messages may name the `command` and the `text` that is wrong."""

    def __init__(self, command: str) -> None:
        self._command = command

    def part(self, name: str) -> Callable[[str, int, Values], list[Part]]:
        """A part of this name."""
        return lambda _text, at, values: [Part(name, values[0], at)]

    def value(self, name: str) -> Callable[[str, int, Values], list[Part]]:
        """A part of this name: what is given with `--option=`."""

        def make(_text: str, at: int, values: Values) -> list[Part]:
            value = values[0].partition("=")[2]
            return [Part(name, value, at + len(values[0]) - len(value))]

        return make

    def number(self, text: str, at: int, values: Values) -> list[Part] | list[Wrong]:
        """A number that fits into 31 bits."""
        part = Part("number", values[0], at)
        too_large = self.wrong(f"{{text}} is above {MAXIMUM_NUMBER:#x}", NUMBER_OVERFLOW)
        return [part] if part.number <= MAXIMUM_NUMBER else too_large(text, at, values)

    def wrong(self, message: str, number: int = 0, mild: bool = False) -> Callable[[str, int, Values], list[Wrong]]:
        """Text that cannot stand here; nothing at all, at the end, where something should stand."""

        def make(text: str, at: int, values: Values) -> list[Wrong]:
            at = at if values else len(text)
            found: str = (values and values[0]) or text[at:].partition(" ")[0]
            shown = found if len(found) <= SHOWN_CHARACTERS else found[: SHOWN_CHARACTERS - 3] + "..."
            return [Wrong(message.format(command=self._command, text=repr(shown)), found, at, number, mild)]

        return make


def grammar(build: Builder) -> dict[str, ParserElement]:
    """The argument of each command.

    GRUB compares only the beginnings of options, and ignores what is left behind the last part.
    """
    from grammars.elements import Empty, Opt, Suppress, ZeroOrMore, blanks, token

    def part(name: str, shown: str, pattern: str = "[^ ]+") -> ParserElement:
        return token(pattern, build.part(name), shown)

    def option(*names: str) -> ParserElement:
        """Options that change nothing here: `--name`, or `--name=` and a value."""
        pattern = "|".join(name.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for name in names)
        return Suppress(token(f"--(?:{pattern})[^ ]*", name="|".join(f"--{name}" for name in names)))

    def wrong(message: str, number: int = 0, pattern: str = "[^ ]+", mild: bool = False) -> ParserElement:
        return token(pattern, build.wrong(message, number, mild), f"error {number or ''}".rstrip())

    def absent(message: str, number: int = 0) -> ParserElement:
        """Nothing where something should stand."""
        return Empty().leave_whitespace().set_parse_action(build.wrong(message, number))

    with blanks(" "):
        text = Opt(part("text", "TEXT", r"[\s\S]+"))
        rest = part("rest", "ARG...", r"[\s\S]+")
        root = Opt(part("device", "DEVICE") + Opt(part("bias", "HDBIAS")))
        path = part("file", "FILE")
        file = path | absent("{command} names no file")
        module = file + Opt(rest)
        two_files = absent("{command} needs two files", INVALID_ARGUMENT)
        number = token("0[xX][0-9a-fA-F]+|(?!0[xX])[0-9]+", build.number, "NUMBER")
        bad_number = wrong("no number in {text}", BAD_NUMBER, r"[\s\S]+")
        one_number = number | bad_number | absent("no number in {text}", BAD_NUMBER)
        ending = Suppress(token("[^ ]*", name="letters").leave_whitespace())  # of a word that begins with a number

        one_type = f"not a type of kernel, expected {', '.join(KERNEL_TYPES)}"
        bad_type = wrong("{text}: " + one_type, INVALID_ARGUMENT, f"--type=(?!{'|'.join(KERNEL_TYPES)})[^ ]*")
        kernel_options = ZeroOrMore(bad_type | option("type=TYPE", "no-mem-option"))
        dash = wrong("{text} is not an option of {command} and is taken for the file's name", 0, "(?=-)")
        second = wrong("GRUB loads only the first file of an initrd line, not {text}", 0, r"[^ ](?:[\s\S]*[^ ])?", True)

        names = rf"(?:blink-)?(?:{'|'.join(FOREGROUNDS)})/(?:{'|'.join(BACKGROUNDS)})(?![^ ])"
        one_color = "{text} is not a color, expected FOREGROUND/BACKGROUND such as white/blue"
        color = part("color", "COLOR", names) | number + ending | wrong(one_color, BAD_NUMBER)

        terminal_options = option("dumb", "no-echo", "no-edit", "silent", "timeout=SECS", "lines=N")
        terminal = Suppress(token(f"(?:{'|'.join(TERMINALS)})(?![^ ])", name="|".join(TERMINALS)))
        bad_terminal = wrong(f"{{text}} is not a terminal, expected {', '.join(TERMINALS)}", INVALID_ARGUMENT)

        octet = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])"
        address = rf"{octet}(?:\.{octet}){{3}}(?![^ ])"
        one_address = "{text}: not an IPv4 address"
        server_option = token(f"--server={address}", build.value("server"), "--server=IP")
        address_option = Suppress(
            token(f"--(?:address|gateway|mask)={address}", name="--address=IP|--gateway=IP|--mask=IP")
        )
        bad_address = wrong(one_address, INVALID_ARGUMENT, "--(?:address|gateway|mask|server)=[^ ]*")
        bad_option = wrong("{text} is not an option of {command}", INVALID_ARGUMENT)

        saved = token(r"saved\Z", build.part("saved"), "saved")
        next_fallback = Suppress(token(r"fallback *\Z", name="fallback"))
        not_an_entry = wrong("{command} takes an entry's number or fallback, not {text}")
        other_hash = part("unsupported", "--TYPE", "--[^ ]*")
        secret = part("password", "PASSWD") + Opt(path)
        switch = part("switch", "on|off", "(?:on|off)(?![^ ])")
        configfile = Opt(part("configfile", "--with-configfile", "--with-configfile[^ ]*"))
        return {
            "default": saved | one_number,
            "fallback": ZeroOrMore(number + ending | bad_number),
            "timeout": one_number,
            "title": text,
            "password": Opt(part("md5", "--md5", "--md5[^ ]*")) + Opt(other_hash) + Opt(secret),
            "savedefault": ZeroOrMore(option("default=NUMBER", "once")) + Opt(next_fallback | number | not_an_entry),
            "root": root,
            "rootnoverify": root,
            "uuid": part("uuid", "UUID") | absent("{command} names no file system"),
            "kernel": kernel_options + Opt(dash) + file + Opt(rest),
            "initrd": file + Opt(second),
            "module": module,
            "modulenounzip": module,
            "chainloader": Opt(option("force")) + file,
            **dict.fromkeys(("configfile", "cat", "find", "blocklist", "testload"), file),
            "cmp": path + (path | two_files) | two_files,
            "geometry": Opt(part("device", "DRIVE")),
            "halt": Opt(option("no-apm")),
            "print": text,
            "pause": text,
            "color": (color | absent(one_color, BAD_NUMBER)) + Opt(color),
            "pager": Opt(switch | wrong("{text}, expected on or off", INVALID_ARGUMENT)),
            "terminal": ZeroOrMore(terminal_options) + ZeroOrMore(terminal | bad_terminal),
            "help": ZeroOrMore(option("all") | part("pattern", "PATTERN")),
            "dhcp": configfile,
            "bootp": configfile,
            "ifconfig": ZeroOrMore(server_option | address_option | bad_address | bad_option),
            "tftpserver": part("server", "IP", address)
            | wrong(one_address, INVALID_ARGUMENT)
            | absent(one_address, 30),
        }
