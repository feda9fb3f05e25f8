"""The command line of xenpvnetboot (Xen up to 4.17), and what is ours: --runas, --verbose.

libxl adds its own options in front and the guest's disk, if it has one, behind; the disk is not looked at.
"""

from __future__ import annotations

import argparse
import os

from fsdrivers.light import NoReturn, dataclass
from pvboot import __version__

PROGRAM = "pvboot-netboot"
DEFAULT_DIRECTORY = "/var/run/libxl"
FORMATS = ("sxp", "simple", "simple0")
NOBODY = 65534

_DESCRIPTION = "Fetch a guest's kernel and ramdisk, and tell the toolstack where they are."
_EPILOG = """\
LOCATION is the directory that holds the files, or an installation tree as distributions publish it:
  http://host/path  https://host/path  tftp://host/path   a directory on a server
  /path  file:///path                                     a local directory
  /path/file.iso  /path/disk.img  /dev/sda1               a local image or block device
A URL of --kernel and --ramdisk may end in #sha256=DIGEST; other bytes are then refused.

examples:
  pvboot-netboot --location http://mirror.example.org/debian/dists/bookworm/main/installer-amd64/
  pvboot-netboot --location tftp://10.0.0.1/guests/ --kernel vmlinuz --ramdisk initrd.img --args "console=hvc0"

in a guest's xl.cfg:
  bootloader = "pvboot-netboot"
  bootloader_args = ["--location=http://10.0.0.1/fedora/"]

exit codes: 0 done, 1 it failed and nothing was written, 2 wrong usage
"""


@dataclass(frozen=True, slots=True)
class Options:
    """The parsed command line; `location`, `kernel` and `ramdisk` are None where they were not given."""

    location: str | None
    kernel: str | None
    ramdisk: str | None
    args: bytes
    output: str | None
    output_directory: str
    output_format: str
    quiet: bool
    runas: int
    verbose: bool
    debug: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = _Parser(
        PROGRAM, description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    made.add_argument("--location", metavar="LOCATION", help="where the files, or a whole installation tree, lie")
    made.add_argument("--kernel", metavar="FILE", help="the kernel, below LOCATION, or a URL or path of its own")
    made.add_argument("--ramdisk", metavar="FILE", help="the ramdisk, likewise")
    made.add_argument("--args", metavar="ARGS", default="", help="arguments for the kernel")
    made.add_argument("--output", metavar="FILE", help="write the answer here instead of to standard output (-)")
    made.add_argument(
        "--output-directory",
        metavar="DIR",
        default=DEFAULT_DIRECTORY,
        help=f"where kernel and ramdisk go ({DEFAULT_DIRECTORY})",
    )
    made.add_argument(
        "--output-format",
        metavar="FORMAT",
        choices=FORMATS,
        default="sxp",
        help="sxp (default), simple or simple0; libxl asks for simple0",
    )
    made.add_argument("-q", "--quiet", action="store_true", help="say nothing about what is tried")
    made.add_argument(
        "--runas",
        metavar="UID",
        type=int,
        default=NOBODY,
        help=f"who fetches and reads images when started as root ({NOBODY}; 0 stays root)",
    )
    made.add_argument("-v", "--verbose", action="store_true", help="tell what was found and fetched")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    made.add_argument("disk", metavar="DISK", nargs="*", help="the guest's disk as libxl names it; not used")
    return made


def parse(arguments: list[str]) -> Options:
    """The options of a command line; ends the process for wrong usage, as argparse does."""
    made = parser()
    given = made.parse_args(arguments)
    if not (given.location or given.kernel):
        made.error("nothing to fetch: give --location, or --kernel")
    if given.ramdisk and not (given.kernel or given.location):
        made.error("a ramdisk without a kernel")
    if not 0 <= given.runas < 1 << 32:
        made.error(f"impossible --runas {given.runas}")
    facts = vars(given)
    del facts["disk"]
    facts |= {name: facts[name] or None for name in ("location", "kernel", "ramdisk", "output")}
    facts["args"] = os.fsencode(given.args)
    if given.output == "-":
        facts["output"] = None
    return Options(**facts)
