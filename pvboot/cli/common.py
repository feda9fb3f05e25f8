"""Arguments and output that the verbs share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pvboot.screen.safe_text import safe

if TYPE_CHECKING:
    from pvboot.devices import Devices
    from pvboot.fetch.settings import NetOptions
    from pvboot.menu.model import MenuWarning


def add_source_options(parser: argparse.ArgumentParser, *, required: bool = True, with_json: bool = True) -> None:
    """SOURCE, what else belongs to the guest, and --json."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs=None if required else "?",
        help="disk image, block device, directory or menu file, or the URL of one",
    )
    parser.add_argument(
        "--disk",
        metavar="SOURCE",
        action="append",
        default=[],
        help="a further disk of the guest: hd1, hd2 ... (may be repeated)",
    )
    parser.add_argument("--config", metavar="PATH", help="the menu to use, [DEVICE]/path, instead of looking for it")
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


def open_source(args: argparse.Namespace) -> Devices:
    """The guest's disks: SOURCE and --disk, and what --net and the environment say about servers."""
    from pvboot.sources import open_devices

    return open_devices(args.source, args.disk, net_options(args))


def net_options(args: argparse.Namespace) -> NetOptions | None:
    """None if nothing of the network is wanted."""
    import os

    from pvboot.sources import is_on_server

    given = os.environ.get("PVBOOT_NET", "")
    urls = (*args.net, *given.split())
    if not urls and not args.sums and not any(is_on_server(name) for name in named_sources(args)):
        return None
    from pvboot.cli.meter import meter_for
    from pvboot.fetch.settings import NetOptions, NetSettings
    from pvboot.fetch.sums import read_sums

    sums = read_sums(args.sums) if args.sums else None
    tell = complain if args.verbose else lambda _text: None
    return NetOptions(urls, NetSettings(sums=sums, tell=tell, meter=meter_for(sys.stderr)))


def named_sources(args: argparse.Namespace) -> list[str]:
    """Everything on the command line that may be a URL."""
    named = [args.source, *args.disk, getattr(args, "kernel", None), *getattr(args, "ramdisk", [])]
    return [name for name in named if name]


def print_json(document: object) -> None:
    """One JSON document; what is not ASCII is escaped, so that surrogate escapes survive any terminal."""
    import json

    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")


LINE_LIMIT = 2000  # characters; a guest's names and numbers may be of any length


def complain(text: str) -> None:
    """One line on stderr, harmless to the terminal and of bounded length."""
    line = safe(text[:LINE_LIMIT])
    print(f"pvboot: {line}{'...' if len(text) > LINE_LIMIT else ''}", file=sys.stderr)


def print_warnings(warnings: Iterable[MenuWarning], limit: int = 20) -> None:
    """What a menu's reader noticed; a broken menu can give thousands."""
    listed = list(warnings)
    for warning in listed[:limit]:
        complain(f"warning: {warning}")
    if len(listed) > limit:
        complain(f"warning: {len(listed) - limit} more")


def tell_volumes(args: argparse.Namespace, devices: Devices) -> None:
    """With --verbose, every volume of the guest and what it holds."""
    if not args.verbose:
        return
    from fsdrivers.errors import FsError

    for device in devices.candidates(lambda err: complain(str(err))):
        try:
            filesystem = devices.mount(device)
        except FsError as err:
            complain(f"{device}: {err}")
            continue
        facts = [
            filesystem.kind,
            *(f"{name} {value}" for name, value in (("label", filesystem.label), ("uuid", filesystem.uuid)) if value),
        ]
        complain(f"{device}: {', '.join(facts)}")
