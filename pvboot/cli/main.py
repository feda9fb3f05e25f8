"""The frame of the command line: find the verb, run it, turn errors into one line and an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from fsdrivers.light import NoReturn
from pvboot import __version__

VERBS = ("boot", "menu", "plan", "check", "ls", "cat", "cp", "serve", "completion")

INTERRUPTED = 130

_DESCRIPTION = "Boot Xen paravirtual guests from their own disk, and look at what they would boot."
_EPILOG = """\
verbs:
{verbs}

examples:
  pvboot boot disk.img                     the guest's menu, then the guest, in this terminal
  pvboot boot http://server/guest/menu.lst over the network
  pvboot menu disk.img                     the boot menu of a disk image
  pvboot check disk.img                    what would go wrong at its next boot
  pvboot ls disk.img /boot                 what lies in /boot
  pvboot cat disk.img '(hd0,0)/etc/fstab'  a file of the first partition

"pvboot VERB --help" tells more of each.
exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 damaged or unsupported input, 4 network, 130 interrupted
"""


class Parser(argparse.ArgumentParser):
    """argparse with the contract's one-line errors."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks
    debug = "--debug" in arguments
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as err:  # argparse: --help, --version, wrong usage
        return err.code if isinstance(err.code, int) else 2
    except KeyboardInterrupt:
        if debug:
            raise
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_is_gone()
    except Exception as err:
        if isinstance(err.__cause__, BrokenPipeError):
            return _reader_is_gone()
        if debug:
            raise
        return _report(err)


def _open_missing_streams() -> None:
    """Open /dev/null for standard streams that the caller has closed (`<&-`)."""
    import os

    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (for the process's life)


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        top_parser(with_verbs=True).print_help(sys.stderr)
        return 2
    options = top_parser(with_verbs=arguments[0] in ("-h", "--help")).parse_args(arguments)
    parser, module = verb_parser(options.verb)
    code = module.run(parser.parse_args(options.rest))
    assert isinstance(code, int)
    return code


def top_parser(*, with_verbs: bool) -> argparse.ArgumentParser:
    """Make the parser of the words before the verb; only its help text needs the verbs' modules."""
    verbs = [f"  {name:<12}{_module(name).HELP}" for name in VERBS] if with_verbs else []
    parser = Parser(
        "pvboot",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(verbs="\n".join(verbs)),
        usage="pvboot [--version] [--help] VERB ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pvboot {__version__}")
    parser.add_argument("verb", metavar="VERB", choices=VERBS, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def verb_parser(verb: str) -> tuple[argparse.ArgumentParser, ModuleType]:
    """Make the parser of a verb; returns it and the verb's module."""
    module = _module(verb)
    parser = Parser(f"pvboot {verb}", formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="tell more on stderr")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser, module


def _module(verb: str) -> ModuleType:
    return import_module(f"pvboot.cli.{verb}")


def _reader_is_gone() -> int:
    """Leave nothing for the interpreter to flush into a closed pipe (`pvboot ... | head`); returns 0."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _report(err: Exception) -> int:
    from pvboot.cli.common import complain
    from pvboot.errors import PvbootError

    if isinstance(err, PvbootError):
        complain(str(err))
        return err.exit_code
    if isinstance(err, OSError):
        complain(f"{err.filename or 'input or output'}: {err.strerror or err}")
        return 1
    if isinstance(err, MemoryError):
        complain("not enough memory for this input")
        return 3
    complain(f"internal error, please report it: {type(err).__name__}: {err} (--debug shows where)")
    return 3


if __name__ == "__main__":
    sys.exit(main())
