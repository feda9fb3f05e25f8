"""A process that checks one source after the other: `python -m pvboot.check.worker`.

Jobs come as lines on standard input, results leave as lines on standard output; it ends with its input.  It never looks
at a guest's bytes itself: each source has a child of its own (`confine`).
"""

from __future__ import annotations

# What a confined child cannot load and its parent would not load for it, because no reader's name begins so.
import base64
import bz2  # noqa: F401
import difflib  # noqa: F401
import json
import lzma  # noqa: F401
import os
import pickle
import sys
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pvboot.check.confine import FleetLimits
    from pvboot.check.model import CheckOptions


def encode_job(number: int, source: str, options: CheckOptions, limits: FleetLimits) -> bytes:
    """A line for a worker.  Jobs come from the program that started it, so that pickle is no risk."""
    packed = base64.b64encode(pickle.dumps((options, limits))).decode("ascii")
    return json.dumps([number, source, packed]).encode("ascii") + b"\n"


def serve(jobs: BinaryIO, results: BinaryIO) -> None:
    """Work until `jobs` ends."""
    from pvboot.check import wire
    from pvboot.check.confine import check_confined

    _load_modules()
    for line in jobs:
        number, source, packed = json.loads(line)
        options, limits = pickle.loads(base64.b64decode(packed))
        result = check_confined(source, options, limits)
        results.write(b"%d %s\n" % (number, wire.encode(result).encode("ascii")))
        results.flush()


def _load_modules() -> None:
    """Everything that most sources need, once, instead of once in each child."""
    import importlib

    from pvboot.check.rules import load_rules
    from pvboot.menu.dialects import DIALECTS

    load_rules()
    others = (
        "fsdrivers.partitions",
        "fsdrivers.probe",
        "pvboot.kernel.loader",
        "encodings.utf_16_le",
        "lz4.block",
        "lz4.frame",
        "lzallright",
        "backports.zstd",
    )
    for name in (*(dialect.module for dialect in DIALECTS), *others):
        importlib.import_module(name)


def main() -> None:
    """As a program.  Whatever is printed by mistake goes to stderr and not between the results."""
    from pvboot.check.confine import default_signals

    default_signals()
    out = os.dup(1)
    os.dup2(2, 1)
    with open(out, "wb") as results:
        serve(sys.stdin.buffer, results)


if __name__ == "__main__":
    main()
