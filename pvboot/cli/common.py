"""Arguments and output that the verbs share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from fsdrivers.light import TYPE_CHECKING
from pvboot.safe_text import safe

if TYPE_CHECKING:
    from pvboot.devices import Devices
    from pvboot.fetch.settings import NetOptions
    from pvboot.menu.model import MenuWarning


def add_source_options(parser: argparse.ArgumentParser, *, required: bool = True, with_json: bool = True) -> None:
    """SOURCE, --disk, --config, --net, --sums, --json."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs=None if required else "?",
        help="disk image, block device, directory or menu file, or the URL of one",
    )
    add_guest_options(parser)
    parser.add_argument(
        "--net",
        metavar="URL",
        action="append",
        default=[],
        help="what (nd) is, and a server that menus may use (may be repeated)",
    )
    parser.add_argument("--sums", metavar="FILE", help="SHA-256 that every fetched file must have, as sha256sum lists")
    if with_json:
        parser.add_argument("--json", action="store_true", help="print one JSON document")


def add_guest_options(parser: argparse.ArgumentParser) -> None:
    """--disk and --config: what else belongs to the guest of a SOURCE."""
    parser.add_argument(
        "--disk",
        metavar="SOURCE",
        action="append",
        default=[],
        help="a further disk of the guest: hd1, hd2 ... (may be repeated)",
    )
    parser.add_argument("--config", metavar="PATH", help="the menu to use, [DEVICE]/path, instead of looking for it")


def open_guest(args: argparse.Namespace) -> Devices:
    """Open the guest's disks: SOURCE and --disk, with the servers of --net and the environment."""
    from pvboot.sources import open_devices

    devices = open_devices(args.source, args.disk, net_options(args))
    if args.verbose:
        _describe_volumes(devices)
    return devices


def _describe_volumes(devices: Devices) -> None:
    """Say on stderr what every volume of the guest holds."""
    from pvboot.errors import PvbootError

    for device in devices.candidates(lambda err: complain(str(err))):
        try:
            filesystem = devices.mount(device)
        except PvbootError as err:
            complain(f"{device}: {err}")
            continue
        facts = [("label", filesystem.label), ("uuid", filesystem.uuid)]
        complain(f"{device}: {', '.join([filesystem.kind, *(f'{name} {value}' for name, value in facts if value)])}")


def net_options(args: argparse.Namespace) -> NetOptions | None:
    """The servers that may be asked, and how; None if nothing on the command line needs the network."""
    import os

    from pvboot.sources import is_on_server

    urls = (*args.net, *os.environ.get("PVBOOT_NET", "").split())
    if not urls and not args.sums and not any(is_on_server(name) for name in _named_sources(args)):
        return None
    from pvboot.cli.meter import meter_for
    from pvboot.fetch.settings import NetOptions, NetSettings
    from pvboot.fetch.sums import read_sums

    sums = read_sums(args.sums) if args.sums else None
    tell = complain if args.verbose else lambda _text: None
    return NetOptions(urls, NetSettings(sums=sums, report=tell, meter=meter_for(sys.stderr)))


def _named_sources(args: argparse.Namespace) -> list[str]:
    """The arguments that may be URLs."""
    named = [args.source, *args.disk, getattr(args, "kernel", None), *getattr(args, "ramdisk", [])]
    return [name for name in named if name]


def print_json(document: object) -> None:
    """Print a JSON document in ASCII, so that surrogate escapes survive any terminal."""
    import json

    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")


LINE_LIMIT = 2000  # characters; a guest's names and numbers may be of any length


def complain(text: str) -> None:
    """Print one line on stderr, harmless to the terminal and of bounded length."""
    line = safe(text[:LINE_LIMIT])
    print(f"pvboot: {line}{'...' if len(text) > LINE_LIMIT else ''}", file=sys.stderr)


def print_warnings(warnings: Iterable[MenuWarning], limit: int = 20) -> None:
    """Print the warnings about a menu; a broken one can give thousands."""
    listed = list(warnings)
    for warning in listed[:limit]:
        complain(f"warning: {warning}")
    if len(listed) > limit:
        complain(f"warning: {len(listed) - limit} more")
