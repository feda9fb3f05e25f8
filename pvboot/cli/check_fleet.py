"""The options of `pvboot check` for many sources: workers, journal, cluster, summary page; and running them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence

from fsdrivers.light import TYPE_CHECKING
from pvboot.errors import UsageError

if TYPE_CHECKING:
    from pvboot.check.fleet import Task
    from pvboot.check.model import CheckOptions, SourceResult


def add_options(parser: argparse.ArgumentParser) -> None:
    """--jobs, --recurse, --state, --dask, --source-limit, --html."""
    fleet = parser.add_argument_group("fleets")
    fleet.add_argument(
        "--jobs",
        metavar="N",
        type=_jobs,
        default=None,
        help="check N sources at a time, each in a confined process (0: one for each CPU)",
    )
    fleet.add_argument(
        "--recurse",
        action="store_true",
        help="a directory is not a guest but holds guests: images and menus, at any depth",
    )
    fleet.add_argument(
        "--state", metavar="FILE", help="keep results here as they come, and do not check an unchanged source again"
    )
    fleet.add_argument(
        "--dask", metavar="ADDRESS", help="check on a Dask cluster whose workers see the same files (tcp://host:8786)"
    )
    fleet.add_argument(
        "--source-limit",
        metavar="SECONDS",
        type=_seconds,
        default=None,
        help="CPU time for one source of a fleet (60); its clock runs five times as long",
    )
    fleet.add_argument("--html", metavar="FILE", help="write a page about all sources, for a browser")


def apply(args: argparse.Namespace, options: CheckOptions) -> CheckOptions:
    """Nothing of these is about what is checked."""
    return options


def _jobs(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    if not 0 <= number <= 1024:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1024, found {text!r}")
    return number or len(os.sched_getaffinity(0))


def _seconds(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0
    if not 1 <= number <= 86400:
        raise argparse.ArgumentTypeError(f"expected seconds from 1 to 86400, found {text!r}")
    return number


def expand(args: argparse.Namespace) -> list[str]:
    """The sources, those of directories in their place with --recurse.  Raises `UsageError`."""
    if not args.recurse:
        return list(args.sources)
    from pvboot.check.recurse import sources_below

    sources: list[str] = []
    for name in args.sources:
        if not os.path.isdir(name):
            sources.append(name)
            continue
        below = sources_below(name)
        if not below:
            raise UsageError("no image and no menu below", where=name)
        sources += below
    return sources


def is_fleet(args: argparse.Namespace, sources: Sequence[str]) -> bool:
    """Whether the sources are checked by workers: when there are several, or an option of fleets is given."""
    asked = (args.jobs, args.state, args.dask, args.source_limit)
    return len(sources) > 1 or args.recurse or any(option is not None for option in asked)


def fleet_results(
    args: argparse.Namespace, sources: Sequence[str], options_for: Callable[[str], CheckOptions]
) -> Iterator[SourceResult]:
    """The results in the order of the sources, whatever the order in which they are ready.  Raises `UsageError`."""
    from pvboot.check import fleet, journal
    from pvboot.check.progress import Progress

    tasks = [(number, source, options_for(source)) for number, source in enumerate(sources)]
    limits = fleet.LIMITS
    if (cpu := args.source_limit) is not None:
        limits = limits._replace(parse_seconds=cpu, cpu_seconds=cpu, wall_seconds=5.0 * cpu)

    def work(tasks: list[Task]) -> Iterator[tuple[int, SourceResult]]:
        if args.dask is None:
            return fleet.run_fleet(tasks, args.jobs or 1, limits)
        from pvboot.check.dask_fleet import run_on_dask

        return run_on_dask(tasks, args.dask, limits)

    progress = Progress(sys.stderr, len(tasks), terminal=sys.stderr.isatty(), lines=args.verbose)
    return fleet.in_order(journal.resumed(tasks, args.state, work), progress)


class Page:
    """The page of --html, written when all sources are in; without the option it keeps nothing."""

    def __init__(self, path: str | None) -> None:
        """Raises `UsageError` now, and not after an hour's work, if no file can be written there."""
        if path is not None:
            place = path if os.path.exists(path) else os.path.dirname(path) or "."
            if os.path.isdir(path) or not os.access(place, os.W_OK):
                raise UsageError("the page cannot be written there", where=path)
        self._path = path
        self._results: list[SourceResult] = []

    def add(self, result: SourceResult) -> None:
        """One more source."""
        if self._path is not None:
            self._results.append(result)

    def write(self) -> None:
        """Write the page.  Raises `OSError`."""
        if self._path is not None:
            from pvboot.check.html_report import html_report

            with open(self._path, "w", encoding="utf-8") as file:
                file.write(html_report(self._results))
