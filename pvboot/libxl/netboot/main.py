"""The trusted side of `pvboot-netboot`: makes the files, starts the child that fetches, tells libxl."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from fsdrivers.light import NoReturn
from pvboot.confine import parent, preload
from pvboot.confine.child import Channel
from pvboot.confine.jobs import DEFAULT_LIMITS, FILES, NETWORK, Grants, Job, JobLimits
from pvboot.errors import BootError
from pvboot.libxl.deliver import Outputs, deliver
from pvboot.libxl.netboot.options import PROGRAM, Options, parse
from pvboot.libxl.netboot.sources import Source, open_location
from pvboot.libxl.program import BOOT_MESSAGES, Program
from pvboot.libxl.results import Result, ResultFiles, format_result

program = Program(PROGRAM)
IMAGE_READER = Job("pvboot-reader", "the reader of the image", "reading the image", BOOT_MESSAGES)
FILE_READER = Job("pvboot-reader", "the reader of the files", "reading the files", BOOT_MESSAGES, FILES)
FETCHER = Job("pvboot-fetcher", "the child that fetches", "fetching", BOOT_MESSAGES, NETWORK)
FETCH_LIMITS = JobLimits(parse_seconds=600, cpu_seconds=600, memory_bytes=1 << 30, wall_seconds=3600)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The program; ends the process."""
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(arguments: list[str]) -> int:
    """0, or 1 with one line on stderr."""
    options = parse(arguments)
    return program.run(lambda: _run(options), debug=options.debug)


def _run(options: Options) -> None:
    source = open_location(options)
    output = sys.stdout.fileno() if options.output is None else os.open(options.output, os.O_WRONLY)
    os.makedirs(options.output_directory, 0o700, exist_ok=True)
    with ResultFiles(options.output_directory.rstrip("/")) as files:
        report = _read(source, options, files)
        program.hand_over(report, files, options.args, output, lambda result: answer(result, options.output_format))


def answer(result: Result, output_format: str) -> bytes:
    """The answer to the toolstack.  The form for old toolstacks is xenpvnetboot's, which quotes otherwise than pygrub.

    Raises `BootError` for values that the format cannot carry.
    """
    if output_format != "sxp":
        return format_result(result, output_format)
    text = b"linux (kernel " + os.fsencode(str(result.kernel)) + b")"
    if result.ramdisk:
        text += b"(ramdisk " + os.fsencode(result.ramdisk) + b")"
    if result.args:
        if b'"' in result.args or b"\\" in result.args:
            raise BootError("the format sxp cannot carry these --args: they hold a quotation mark or a backslash")
        text += b'(args "' + result.args + b'")'
    return text


def _read(source: Source, options: Options, files: ResultFiles) -> parent.Report:
    """Start the child and return its messages.  Raises `BootError` with its reason."""
    outputs = (files.kernel, files.ramdisk)
    grants = Grants((*source.keep, *outputs), source.readable, uid=options.runas or None)
    job, limits = (IMAGE_READER if source.keep else FILE_READER), DEFAULT_LIMITS
    preload.preload("netboot")
    with contextlib.ExitStack() as stack:
        if source.fetches:
            job, limits = FETCHER, FETCH_LIMITS
            grants = _network(grants, stack)
        elif job is FILE_READER:
            grants = grants._replace(uid=None)  # the host's own: nobody is kept from files that only root may read
        report = parent.run(job, lambda channel: _work(source, outputs, channel), grants, limits, outputs=outputs)
    kinds = () if options.quiet else ("note", "warning") if options.verbose else ("warning",)
    program.tell(report, kinds, layers=options.verbose)
    return report


def _work(source: Source, outputs: Outputs, channel: Channel) -> None:
    kernel, ramdisk = source.find(lambda text: channel.send("note", text))
    if ramdisk is not None and not ramdisk.size:
        raise BootError("the ramdisk is empty", where=ramdisk.path)
    deliver(kernel, [ramdisk] if ramdisk else [], outputs, channel)


def _network(grants: Grants, stack: contextlib.ExitStack) -> Grants:
    """Load what fetching needs, and grant the files that it needs."""
    import tempfile

    preload.preload("fetch")
    scratch = tempfile.tempdir = stack.enter_context(tempfile.TemporaryDirectory(prefix="pvboot-fetch-"))
    if os.geteuid() == 0 and grants.uid is not None:
        os.chown(scratch, grants.uid, grants.uid)
    return grants._replace(readable=(*grants.readable, *preload.files_of_the_network()), scratch=scratch)
