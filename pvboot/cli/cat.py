"""`pvboot cat`: a file of a guest's disk to standard output."""

from __future__ import annotations

import argparse
import sys

from pvboot.cli.common import add_source_options, open_guest

HELP = "print a file of a guest's disk"

EXAMPLES = """\
examples:
  pvboot cat disk.img /boot/grub/menu.lst
  pvboot cat disk.img '(hd0,gpt2)/vmlinuz' | file -
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCE PATH."""
    parser.description = "Write the bytes of a file to standard output."
    parser.epilog = EXAMPLES
    add_source_options(parser, with_json=False)
    parser.add_argument("path", metavar="PATH", help="[DEVICE]/path")


def run(args: argparse.Namespace) -> int:
    """Return 0; a path that does not exist raises."""
    from fsdrivers.copy import copy_to_fd
    from pvboot.menu.discovery import locate_path

    with open_guest(args) as devices:
        _device, filesystem, path, _found = locate_path(devices, args.path, args.config)
        sys.stdout.flush()
        copy_to_fd(filesystem.open(path), sys.stdout.fileno())
    return 0
