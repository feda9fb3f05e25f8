"""Many sources on one machine: each is checked by a confined child of its own, so many at a time as there are jobs.

An image, a device or a plain menu is opened first, and read by a child that can open nothing; the child of a directory
can read what is below it, that of a URL has the network.  A source that kills, starves or hangs its checker is reported
as not checked, and the others go on.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from pvboot.check import codec
from pvboot.check.engine import check_source, failed
from pvboot.check.model import CheckOptions, SourceError, SourceResult
from pvboot.check.opened import OpenedSource, open_for_check
from pvboot.check.progress import Progress
from pvboot.check.rules import load_rules
from pvboot.check.run_entry import run_limits
from pvboot.confine import parent, preload
from pvboot.confine.child import Channel, Work
from pvboot.confine.jobs import CODE, FILES, NETWORK, ChildKilled, Grants, Job, JobLimits, Message, SandboxError
from pvboot.errors import PvbootError
from pvboot.sources import is_url

LIMITS: Final = JobLimits(parse_seconds=60, cpu_seconds=60, memory_bytes=1 << 30, wall_seconds=300)
TRIES: Final = 2  # of a source whose checker was ended by somebody else
JOBS_LIMIT: Final = 1024
REPORT_LIMIT_BYTES: Final = 64 << 20

Task = tuple[int, str, CheckOptions]


CHECKER: Final = Job(
    "pvboot-checker",
    "the reader of the guest",
    "reading the guest",
    {"result": Message(REPORT_LIMIT_BYTES, codec.decode, final=True)},
    limit_bytes=REPORT_LIMIT_BYTES,
)


def run_fleet(
    tasks: Sequence[Task],
    jobs: int,
    limits: JobLimits = LIMITS,
    on_start: Callable[[str], object] = lambda _source: None,
) -> Iterator[tuple[int, SourceResult]]:
    """Check all tasks (number, source, options), `jobs` at a time; yields (number, result) as they are ready.

    Never raises for what a source holds or does to its reader.
    """
    if not tasks:
        return
    waiting = deque(tasks)
    running: dict[parent.Child, Task] = {}
    tries: Counter[int] = Counter()
    with _prepared(tasks, jobs), contextlib.ExitStack() as stack:
        stack.callback(lambda: [child.end() for child in running])
        while waiting or running:
            while waiting and len(running) < min(jobs, JOBS_LIMIT):
                task = waiting.popleft()
                try:
                    running[_start(task[1], task[2], limits)] = task
                except (PvbootError, OSError) as err:
                    yield task[0], failed(task[1], err)
                else:
                    on_start(task[1])
            _wait(running)
            for child, task in list(running.items()):
                result = _advanced(child, task[1])
                if result is None:
                    continue
                del running[child]
                tries[task[0]] += 1
                if isinstance(result, SourceResult):
                    yield task[0], result
                elif tries[task[0]] < TRIES:
                    waiting.appendleft(task)
                else:
                    yield task[0], stopped(task[1], str(result))


def in_order(found: Iterable[tuple[int, SourceResult]], progress: Progress) -> Iterator[SourceResult]:
    """The results by their numbers, whatever the order in which they are ready; `progress` is told of each at once."""
    ready: dict[int, SourceResult] = {}
    following = 0
    try:
        for number, result in found:
            ready[number] = result
            progress.done(result)
            while following in ready:
                progress.end()
                yield ready.pop(following)
                following += 1
    finally:
        progress.end()


def check_confined(source: str, options: CheckOptions, limits: JobLimits = LIMITS) -> SourceResult:
    """As `check_source`, in a confined child.  Never raises for what the source holds or does to its reader."""
    ((_number, result),) = run_fleet([(0, source, options)], 1, limits)
    return result


@contextlib.contextmanager
def _prepared(tasks: Sequence[Task], jobs: int) -> Iterator[None]:
    """Load what the children need, allow for their descriptors, and make a place for what they fetch."""
    load_rules()
    depths = {options.depth for _number, _source, options in tasks}
    preload.preload("check-run" if "run" in depths else "check-plan" if "plan" in depths else "check")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if jobs > soft // 8:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not any(is_url(source) for _number, source, _options in tasks):
        yield
        return
    preload.preload("fetch")
    with tempfile.TemporaryDirectory(prefix="pvboot-fetch-") as tempfile.tempdir:
        yield
    tempfile.tempdir = None


def _wait(running: Iterable[parent.Child]) -> None:
    """Wait until there is something to do for a child."""
    poll = select.poll()
    for child in running:
        if child.fileno() >= 0:
            poll.register(child.fileno(), select.POLLIN)
    poll.poll(1000 * min((child.timeout() for child in running), default=0))


def _advanced(child: parent.Child, source: str) -> SourceResult | ChildKilled | None:
    """The child's result, None if there is none yet, or the error if somebody else has ended it."""
    try:
        return _result(source, child.report) if child.advance() else None
    except ChildKilled as err:
        return err
    except SandboxError as err:
        return stopped(source, str(err), err.code)


def _start(source: str, options: CheckOptions, limits: JobLimits) -> parent.Child:
    """Start the child for a source.  Raises `PvbootError`, `OSError` if it cannot be opened."""
    rights = 0
    if options.depth == "run":
        rights, limits = CODE, run_limits(options, limits)
    if is_url(source):
        # Libraries of object stores load modules, also such as are machine code, and look for credentials.
        home = os.path.expanduser("~")
        readable = (
            *preload.files_of_the_network(),
            *options.disks,
            f"{home}/.aws",
            f"{home}/.config",
            f"{home}/.netrc",
        )
        grants = Grants((), readable, tempfile.tempdir, uid=None)
        return parent.start(CHECKER._replace(rights=NETWORK | CODE), _work(source, options), grants, limits)
    opened = open_for_check(source, options)
    try:
        if not opened.confinable:
            grants = Grants((), (source, *options.disks), uid=None)
            return parent.start(CHECKER._replace(rights=rights | FILES), _work(source, options), grants, limits)
        job = CHECKER._replace(rights=rights)
        return parent.start(job, _work(source, options, opened), Grants(opened.fds), limits)
    finally:
        opened.close()


def _work(source: str, options: CheckOptions, opened: OpenedSource | None = None) -> Work:
    def work(channel: Channel) -> None:
        channel.send("result", codec.encode(check_source(source, options, opened)).encode())

    return work


def _result(source: str, report: parent.Report) -> SourceResult:
    result = report.get("result")
    if not isinstance(result, SourceResult):
        return stopped(source, str(report.get("error") or "the reader gave no result"), SandboxError.code)
    if result.source != source:
        return stopped(source, "the reader tells of another source", SandboxError.code)
    return result


def stopped(source: str, why: str, code: str = "worker-ended") -> SourceResult:
    """The result for a source whose checker was ended from outside."""
    return SourceResult(source, error=SourceError(f"{source}: {why}", code, 3))
