"""`pvboot plan`: the domain layout of a kernel, and its relocation from a running loader."""

from __future__ import annotations

import argparse
import io
import json
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pvboot.cli.common import add_source_options, net_options
from pvboot.cli.entry_options import add_entry_options, load_options, menu_chooser, open_guest
from pvboot.errors import BootError, KernelError, PlanError, UsageError

if TYPE_CHECKING:
    from pvboot.kernel.image import KernelImage
    from pvboot.kexec.build import DomainImage
    from pvboot.kexec.layout import Blob, DomainLayout
    from pvboot.kexec.pagetables import FrameArray
    from pvboot.kexec.relocate import KexecPlan

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

FIRST_MFN = 0x100000  # page p stands in frame p + 0x100000 unless --p2m-in says otherwise
MAX_MIB = 512 << 10  # the p2m and its companions of a domain this large already take 4 GiB here
LIMIT_BYTES = 1 << 30
LOADER_LIMIT_BYTES = 64 << 20
CMDLINE_LIMIT_BYTES = 1 << 20
READ_BYTES = 64 << 20


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
        default="xen-3.0-x86_64 xen-3.0-x86_32p",
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
    kernel, ramdisk, cmdline, flags = _kernel_of(args)
    plan, image = _make_plan(args, kernel, ramdisk, cmdline, flags)
    _write_outputs(args, plan, image)
    if args.json is None:
        _print_text(plan, image)
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


def _kernel_of(args: argparse.Namespace) -> tuple[KernelImage, Blob | None, bytes, int]:
    from pvboot.kernel.loader import parse_kernel

    if args.source is not None:
        return _kernel_of_entry(args)
    options = load_options(args)
    kernel = parse_kernel(
        _read_input(args, args.kernel, "kernel"),
        name=args.kernel,
        max_size=LIMIT_BYTES,
        capabilities=options.capabilities,
        requested_features=options.features,
    )
    return kernel, _ramdisk_of(args), _cmdline_of(args), 0


def _kernel_of_entry(args: argparse.Namespace) -> tuple[KernelImage, Blob | None, bytes, int]:
    from pvboot.boot import boot_from
    from pvboot.shell.request import PowerControl

    devices = open_guest(args)  # open until the process ends: the ramdisk is read when it is placed
    choose = menu_chooser(args, devices)
    loaded = boot_from(devices, config=args.config, choose=choose, options=load_options(args))
    if isinstance(loaded, PowerControl):
        raise BootError(f"the entry boots no kernel, it says {loaded.action}")
    return loaded.kernel, loaded.ramdisk, loaded.cmdline, loaded.flags


def _ramdisk_of(args: argparse.Namespace) -> Blob | None:
    from pvboot.boot import one_ramdisk
    from pvboot.kexec.layout import BytesBlob

    if not args.ramdisk:
        return None
    return one_ramdisk([BytesBlob(_read_input(args, path, "ramdisk")) for path in args.ramdisk], args.compat)


def _cmdline_of(args: argparse.Namespace) -> bytes:
    from pvboot.boot import append_arguments

    if args.cmdline_file is None:
        line = os.fsencode(args.cmdline or "")
    else:
        line = _read_file(args.cmdline_file, "command line", CMDLINE_LIMIT_BYTES).split(b"\0")[0]
    return append_arguments(line, os.fsencode(args.append))


def _read_input(args: argparse.Namespace, path: str, what: str) -> bytes:
    """A kernel or ramdisk, given by name or URL."""
    from pvboot.sources import is_url

    options = net_options(args) if is_url(path) else None
    if options is None:
        return _read_file(path, what)
    from pvboot.fetch.fetch import fetch_input

    return fetch_input(path, options.settings, LIMIT_BYTES)


def _read_file(path: str, what: str, limit: int = LIMIT_BYTES) -> bytes:
    """A file given by name; an empty one, a device, a directory and one above `limit` bytes are refused."""
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes must not hang.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb", buffering=0) as file:
            facts = os.fstat(fd)
            if not (stat.S_ISREG(facts.st_mode) or stat.S_ISFIFO(facts.st_mode)):
                found = "a directory" if stat.S_ISDIR(facts.st_mode) else "a special file"
                raise KernelError(f"cannot read the {what} file", where=path, expected="a regular file", found=found)
            os.set_blocking(fd, stat.S_ISFIFO(facts.st_mode))  # some files of /proc wait for ever for more
            data = _read_bounded(file, facts.st_size, limit)
    except OSError as err:
        raise KernelError(f"cannot read the {what} file", where=path, found=err.strerror or str(err)) from err
    if data is None:
        found = f"{facts.st_size} bytes" if facts.st_size else "more"
        raise KernelError(f"the {what} file is too large", where=path, expected=f"at most {limit} bytes", found=found)
    if not data and what != "command line":
        raise KernelError(f"the {what} file is empty", where=path)
    return data


def _read_bounded(file: io.FileIO, expected: int, limit: int) -> bytes | None:
    """All bytes up to the end, None above `limit`; each step reserves what it reads and never the limit.

    `expected` is the size that the system names: 0 for pipes and for files of /proc.
    """
    if expected > limit:
        return None
    pieces, total, wanted = [], 0, expected + 1
    while piece := file.read(min(wanted, READ_BYTES)):
        total += len(piece)
        if total > limit:
            return None
        pieces.append(piece)
        wanted = READ_BYTES
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _make_plan(
    args: argparse.Namespace, kernel: KernelImage, ramdisk: Blob | None, cmdline: bytes, flags: int
) -> tuple[KexecPlan | None, DomainImage]:
    import numpy as np

    from pvboot.kexec.build import build_domain
    from pvboot.kexec.layout import plan_layout
    from pvboot.kexec.loader_file import loader_ports, parse_loader
    from pvboot.kexec.relocate import plan_relocation
    from pvboot.kexec.verify import check_plan

    nr_pages = args.memory * 256
    loader = _read_json(args.loader) if args.loader is not None else {}
    console, store = loader_ports(loader)
    layout = plan_layout(
        kernel, nr_pages, ramdisk=ramdisk, cmdline=cmdline, flags=flags, console_port=console, store_port=store
    )
    if args.p2m_in is not None:
        p2m = _p2m_of(args.p2m_in, nr_pages)
    else:
        p2m = np.arange(nr_pages, dtype=np.uint64) + np.uint64(FIRST_MFN)
    shared_info_mfn = int(p2m.max()) + 1
    if args.loader is None:
        image = build_domain(layout, p2m, shared_info_mfn, low_mfn=_low_frame(args, p2m, layout))
        return None, image
    source = parse_loader(loader, width=layout.width, p2m=p2m, shared_info_mfn=shared_info_mfn)
    plan = plan_relocation(layout, source)
    check_plan(plan)
    return plan, plan.image


def _low_frame(args: argparse.Namespace, p2m: FrameArray, layout: DomainLayout) -> int | None:
    """The lowest frame below 4 GiB that the domain does not have yet, as a hypervisor might give it."""
    import numpy as np

    from pvboot.kexec.build import FIRST_HIGH_MFN, needs_low_root

    if args.no_low_memory or not needs_low_root(layout):
        return None
    used = np.zeros(FIRST_HIGH_MFN, dtype=np.bool_)
    used[0] = True
    used[p2m[p2m < FIRST_HIGH_MFN].astype(np.int64)] = True
    free = int(np.argmin(used))
    return None if used[free] else free


def _p2m_of(path: str, nr_pages: int) -> FrameArray:
    import numpy as np

    data = _read_file(path, "p2m")
    if len(data) != nr_pages * 8:
        raise PlanError(
            "the p2m file does not fit the domain",
            where=path,
            expected=f"{nr_pages * 8} bytes (8 a page)",
            found=f"{len(data)} bytes",
        )
    p2m = np.frombuffer(data, dtype="<u8")
    if nr_pages and int(p2m.max()) >= 1 << 40:
        raise PlanError("the p2m file holds an impossible frame", where=path, found=hex(int(p2m.max())))
    return p2m


def _read_json(path: str) -> Any:
    try:
        return json.loads(_read_file(path, "loader", LOADER_LIMIT_BYTES))
    except (ValueError, RecursionError) as err:
        raise PlanError("the loader description is not JSON", where=path, found=str(err)) from err


def _write_outputs(args: argparse.Namespace, plan: KexecPlan | None, image: DomainImage) -> None:
    from pvboot.kexec.report import domain_report, plan_report

    try:
        if args.json is not None:
            shown = {"poison": args.poison}
            report = plan_report(plan, **shown) if plan is not None else domain_report(image, **shown)
            text = json.dumps(report, indent=1)
            if args.json == "-":
                print(text)
            else:
                Path(args.json).write_text(text + "\n", encoding="utf-8")
        if args.dump is not None:
            from pvboot.kexec.contents import dump_domain

            dump_domain(image, args.dump, args.poison)
        if args.p2m_out is not None:
            Path(args.p2m_out).write_bytes(image.p2m.astype("<u8").tobytes())
        if args.m2p_out is not None:
            updates = plan.m2p_updates.astype("<u8").tobytes() if plan is not None else b""
            Path(args.m2p_out).write_bytes(updates)
        if args.svg is not None:
            from pvboot.kexec.picture import draw

            Path(args.svg).write_text(draw(image, plan), encoding="utf-8")
    except OSError as err:
        raise UsageError("cannot write the output", where=err.filename or "", found=err.strerror or str(err)) from err


def _print_text(plan: KexecPlan | None, image: DomainImage) -> None:
    from pvboot.kexec.text import describe

    sys.stdout.write(describe(image, plan))
