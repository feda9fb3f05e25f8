"""`pvboot plan`: the domain layout of a kernel, and its relocation from a running loader."""

from __future__ import annotations

import argparse
import os
import sys

from fsdrivers.light import TYPE_CHECKING
from pvboot.cli.common import add_source_options, net_options, open_guest
from pvboot.cli.entry_options import add_entry_options, load_options, menu_options
from pvboot.errors import BootError, UsageError
from pvboot.xen.constants import GUEST_TYPES

if TYPE_CHECKING:
    from pvboot.loading import LoadedBoot

HELP = "show a kernel's domain layout and relocation plan"

DESCRIPTION = """\
Lay out the domain that a kernel needs, exactly as Xen's domain builder does, and print it. With --loader also plan
how a loader that runs in the domain relocates it (PV-kexec). The kernel comes from a menu entry of SOURCE or from
--kernel.
"""
EXAMPLES = """\
examples:
  pvboot plan disk.img                         the default entry, 256 MiB
  pvboot plan --kernel vmlinuz --ramdisk initrd.img --memory 4096 --json
  pvboot plan --kernel vmlinuz --p2m-in frames.u64 --loader busy.json --m2p-out updates.u64
  pvboot plan disk.img --svg plan.svg          a picture of the page moves
"""

MAX_MIB = 512 << 10  # the p2m and its companions of a domain this large already take 4 GiB here
CMDLINE_LIMIT_BYTES = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = DESCRIPTION
    parser.epilog = EXAMPLES
    add_source_options(parser, required=False, with_json=False)
    add_entry_options(parser)
    kernel = parser.add_argument_group("kernel instead of SOURCE")
    kernel.add_argument("--kernel", metavar="FILE", help="kernel file (or its URL): ELF, ELF.gz or bzImage")
    kernel.add_argument(
        "--ramdisk", metavar="FILE", action="append", default=[], help="ramdisk (or its URL); several are joined"
    )
    kernel.add_argument("--cmdline", metavar="S", help="command line (bytes behind the 1023rd are cut, as Xen does)")
    kernel.add_argument("--cmdline-file", metavar="FILE", help="file that holds the command line")
    domain = parser.add_argument_group("domain")
    domain.add_argument("--memory", metavar="MIB", type=int, default=256, help="size of the domain (256)")
    domain.add_argument("--p2m-in", metavar="FILE", help="frames: raw little-endian u64 MFN for each page")
    domain.add_argument("--loader", metavar="FILE", help="JSON: busy pages of the running loader")
    domain.add_argument("--features", metavar="S", default="", help="features to insist on, as in a FEATURES note")
    domain.add_argument(
        "--capabilities",
        metavar="S",
        default=" ".join(GUEST_TYPES.values()),
        help="guest types that the hypervisor offers",
    )
    domain.add_argument(
        "--no-low-memory", action="store_true", help="assume that the hypervisor has no free frame below 4 GiB"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", metavar="FILE", nargs="?", const="-", help="one JSON document (to FILE)")
    output.add_argument("--dump", metavar="FILE", help="the domain's memory in PFN order, a sparse file")
    output.add_argument(
        "--poison",
        metavar="BYTE",
        nargs="?",
        const=0xA5,
        default=0,
        type=_byte,
        help="show what the builder leaves alone in its pages as BYTE (0xa5) in dump and hashes",
    )
    output.add_argument("--p2m-out", metavar="FILE", help="the new p2m, u64 a page")
    output.add_argument("--m2p-out", metavar="FILE", help="M2P updates: pairs of u64 (mfn<<12|1, pfn)")
    output.add_argument("--svg", metavar="FILE", help="a picture of the domain and of the moves")


def _byte(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value <= 0xFF:
        raise argparse.ArgumentTypeError(f"expected a byte (0 to 0xff), found {text[:40]!r}")
    return value


def run(args: argparse.Namespace) -> int:
    """Plan and print; exit code 0, or 3 for a kernel or domain that is impossible."""
    _settle_source(args)
    loaded = _loaded_from_files(args) if args.source is None else _loaded_from_menu(args)
    from pvboot.handoff.plan import plan_domain, plan_text, write_files

    nr_pages = args.memory * 256
    image, plan = plan_domain(
        loaded, nr_pages, p2m_file=args.p2m_in, loader_file=args.loader, low_memory=not args.no_low_memory
    )
    to_file = args.json if args.json != "-" else None
    files = {"json": to_file, "dump": args.dump, "p2m": args.p2m_out, "m2p": args.m2p_out, "svg": args.svg}
    write_files(files, image, plan, args.poison)
    if to_file is None:
        sys.stdout.write(plan_text(image, plan, as_json=args.json is not None, poison=args.poison))
    return 0


def _settle_source(args: argparse.Namespace) -> None:
    """`plan --json disk.img`: the optional FILE of --json must not eat the only SOURCE."""
    if args.source is None and args.kernel is None and args.json not in (None, "-"):
        args.source, args.json = args.json, "-"
    if (args.source is None) == (args.kernel is None):
        raise UsageError("give either SOURCE or --kernel FILE")
    kernel_only = {"--ramdisk": args.ramdisk, "--cmdline": args.cmdline, "--cmdline-file": args.cmdline_file}
    misplaced = [name for name, value in kernel_only.items() if value]
    if args.source is not None and misplaced:
        raise UsageError(f"{misplaced[0]} goes with --kernel; a menu entry names its own (--append adds to it)")
    if args.cmdline is not None and args.cmdline_file is not None:
        raise UsageError("give either --cmdline or --cmdline-file")
    if not 0 <= args.memory <= MAX_MIB:
        raise UsageError("impossible --memory", expected=f"0 to {MAX_MIB} MiB", found=str(args.memory))


def _loaded_from_menu(args: argparse.Namespace) -> LoadedBoot:
    devices = open_guest(args)  # open until the process ends: the ramdisk is read when it is placed
    from pvboot.boot import load_entry
    from pvboot.shell.request import PowerControl

    loaded = load_entry(devices, menu_options(args, devices), load_options(args))
    if isinstance(loaded, PowerControl):
        raise BootError(f"the entry boots no kernel, it says {loaded.action}")
    return loaded


def _loaded_from_files(args: argparse.Namespace) -> LoadedBoot:
    from pvboot.handoff.plan import read_file
    from pvboot.kexec.layout import BytesBlob
    from pvboot.loading import LoadedBoot, append_arguments, one_ramdisk, read_kernel

    options = load_options(args)
    kernel = read_kernel(_read_input(args, args.kernel, "kernel"), args.kernel, options)
    ramdisks = [BytesBlob(_read_input(args, path, "ramdisk")) for path in args.ramdisk]
    line = os.fsencode(args.cmdline or "")
    if args.cmdline_file is not None:
        text = read_file(args.cmdline_file, "command line", CMDLINE_LIMIT_BYTES, may_be_empty=True)
        line = text.split(b"\0")[0]
    return LoadedBoot(kernel, append_arguments(line, options.append), one_ramdisk(ramdisks, options.compat))


def _read_input(args: argparse.Namespace, path: str, what: str) -> bytes:
    """A kernel or ramdisk, given by name or URL."""
    from pvboot.handoff.plan import FILE_LIMIT_BYTES, read_file
    from pvboot.sources import is_url

    options = net_options(args) if is_url(path) else None
    if options is None:
        return read_file(path, what)
    from pvboot.fetch.fetch import fetch_input

    return fetch_input(path, options.settings, FILE_LIMIT_BYTES)
