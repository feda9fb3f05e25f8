"""pygrub's command line: long options by any unique prefix, options behind the image, `--x=V` and `--x V`.

Measured with the pygrub of Xen 4.17 and read in that of Xen 4.20; libxl adds its own options in front.
"""

from __future__ import annotations

import getopt
import os

from fsdrivers.light import dataclass
from pvboot.libxl.program import Stop

PROGRAM = "pvboot-pygrub"
DEFAULT_DIRECTORY = "/var/run/xen/pygrub"
FORMATS = ("sxp", "simple", "simple0")

# pygrub declares -h as taking an argument; nobody can rely on `-h` alone being an error.
_SHORT = "qilnhv"
_FLAGS = {
    "-l": "list_entries",
    "--list-entries": "list_entries",
    "-n": "not_really",
    "--not-really": "not_really",
    "-v": "verbose",
    "--verbose": "verbose",
    "--isconfig": "isconfig",
    "--debug": "debug",
    "--no-sandbox": "no_sandbox",
}
_VALUES = "output output-format output-directory offset runas entry kernel ramdisk args"
_LONG = ["quiet", "interactive", "help", *(f"{name}=" for name in _VALUES.split())]
_LONG += [name[2:] for name in _FLAGS if name.startswith("--")]

USAGE = (
    f"Usage: {PROGRAM} [-q|--quiet] [-i|--interactive] [-l|--list-entries] [-n|--not-really] [--output=FILE] "
    "[--kernel=PATH] [--ramdisk=PATH] [--args=ARGS] [--entry=N|TITLE] [--output-directory=DIR] "
    "[--output-format=sxp|simple|simple0] [--runas=UID] [--offset=BYTES] [--isconfig] [--debug] [-v|--verbose] "
    "[--no-sandbox] IMAGE"
)


@dataclass(slots=True)
class Options:
    """The parsed command line; the names are those of the options."""

    image: str = ""
    interactive: bool = True
    list_entries: bool = False
    not_really: bool = False
    output: str | None = None
    output_format: str = "sxp"
    output_directory: str | None = None
    kernel: str | None = None
    ramdisk: str | None = None
    args: bytes = b""
    entry: str | None = None
    offset: int | None = None
    runas: int | None = None
    isconfig: bool = False
    debug: bool = False
    verbose: bool = False
    no_sandbox: bool = False

    @property
    def result_directory(self) -> str:
        """Where kernel and ramdisk go; the given text is kept, since it is part of the result's file names."""
        return self.output_directory or DEFAULT_DIRECTORY


def parse(arguments: list[str]) -> Options:
    """The options of a command line.  Raises `Stop`."""
    try:
        given, rest = getopt.gnu_getopt(arguments, _SHORT, _LONG)
    except getopt.GetoptError as err:
        raise Stop(1, str(err), usage=True) from err
    if not rest:
        # `--help` without an image is an error to pygrub, with one it is not.
        raise Stop(1, usage=True)
    options = Options(image=rest[0])
    for name, value in given:
        _apply(options, name, value)
    if options.runas and options.interactive:
        raise Stop(1, "In order to use --runas, you must also set --entry or -q")
    return options


def _apply(options: Options, name: str, value: str) -> None:
    """One option; later ones win, as libxl relies on."""
    if name in ("-q", "--quiet", "-i", "--interactive"):
        options.interactive = name in ("-i", "--interactive")
    elif name in ("-h", "--help"):
        raise Stop(0, usage=True)
    elif name in _FLAGS:
        setattr(options, _FLAGS[name], True)
    elif name == "--output":
        if value != "-":
            options.output = value
    elif name == "--output-format":
        if value not in FORMATS:
            raise Stop(1, f"unknown output format {value}", usage=True)
        options.output_format = value
    elif name == "--output-directory":
        if not os.path.isdir(value):
            raise Stop(1, f"{value} is not an existing directory")
        options.output_directory = value
    elif name == "--entry":
        options.entry, options.interactive = value, False
    elif name == "--args":
        options.args = os.fsencode(value)
    elif name == "--kernel":
        options.kernel = value or None
    elif name == "--ramdisk":
        options.ramdisk = value or None
    elif name == "--offset":
        options.offset = _integer(value, "offset value must be an integer")
    elif name == "--runas":
        options.runas = _integer(value, "runas value must be an integer user id")


def _integer(text: str, problem: str) -> int:
    try:
        value = int(text)
    except ValueError as err:
        raise Stop(1, problem, usage=True) from err
    if not 0 <= value < 1 << 63:
        raise Stop(1, f"{problem} that is not negative, found {text[:40]}")
    return value
