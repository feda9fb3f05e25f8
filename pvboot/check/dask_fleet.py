"""Many sources on many machines: the same work as tasks of a Dask cluster.

Dask decides who does what, and gives the tasks of a worker that dies to another one.  Sources are named by paths and
URLs, so the workers must see the same storage.  A Dask worker is a process with threads and must not fork: each of its
threads has a checker (`pvboot.check.worker`) to send the sources to.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, Final

from pvboot.check import codec
from pvboot.check.fleet import Task, stopped
from pvboot.check.model import SourceResult
from pvboot.check.worker import Checker
from pvboot.confine.jobs import JobLimits
from pvboot.errors import NetworkError, UsageError

CONNECT_SECONDS: Final = 20
AHEAD: Final = 50  # sources a thread that the scheduler knows of; the others wait here

_checkers = threading.local()


def check_there(source: str, options: str, limits: tuple[Any, ...]) -> bytes:
    """What a Dask worker does for one source: take options as the codec writes them, and give such a result."""
    checker: Checker | None = getattr(_checkers, "checker", None)
    if checker is None:
        checker = _checkers.checker = Checker()
    return checker.check(source, codec.decode_options(options), JobLimits(*limits))


def run_on_dask(tasks: Sequence[Task], address: str, limits: JobLimits) -> Iterator[tuple[int, SourceResult]]:
    """Check all tasks on the cluster of the scheduler at `address`; yields (number, result), each exactly once.

    Raises `UsageError` without Dask, `NetworkError` if the scheduler cannot be reached or is lost.
    """
    try:
        Client: Any = import_module("distributed").Client  # noqa: N806 (a class)
    except ImportError as err:
        raise UsageError("--dask needs a package that is not installed", expected="distributed (pvboot[dask])") from err
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as err:
        raise NetworkError("no Dask scheduler", where=address, found=str(err) or type(err).__name__) from err
    try:
        yield from _results(client, tasks, address, limits)
    finally:
        client.close(timeout=CONNECT_SECONDS)


def _results(client: Any, tasks: Sequence[Task], address: str, limits: JobLimits) -> Iterator[tuple[int, SourceResult]]:
    run = uuid.uuid4().hex[:12]  # another run's tasks must not be taken for ours
    waiting = iter(tasks)
    known: dict[str, Task] = {}

    def submit() -> Any:
        task = next(waiting, None)
        if task is None:
            return None
        key = f"pvboot-check-{run}-{task[0]}"
        known[key] = task
        return client.submit(check_there, task[1], codec.encode_options(task[2]), tuple(limits), key=key, pure=False)

    threads = max(1, sum(client.nthreads().values()))
    first = [future for future in (submit() for _ in range(threads * AHEAD)) if future is not None]
    done: Any = import_module("distributed").as_completed(first, loop=client.loop, raise_errors=False)
    for future in done:
        task = known.pop(future.key)
        following = submit()
        if following is not None:
            done.add(following)
        yield task[0], _result_of(future, task[1])
    if known:
        raise NetworkError("the Dask cluster lost sources", where=address, found=f"{len(known)} without a result")


def _result_of(future: Any, source: str) -> SourceResult:
    if future.status != "finished":
        error = future.exception() if future.status == "error" else None
        return stopped(source, f"the cluster could not check it: {error or future.status}")
    try:
        return codec.decode(future.result())
    except ValueError as err:
        return stopped(source, f"its checker answered nonsense: {err}")
