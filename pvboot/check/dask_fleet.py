"""Many sources on many machines: the same work as tasks of a Dask cluster.

Dask decides who does what, and gives the tasks of a worker that dies to another one.  Sources are named by paths and
URLs, so the workers must see the same storage.  A Dask worker is a process with threads and must not fork: each of its
tasks is a few sources, for a process of their own (`pvboot.check.worker`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import islice
from typing import Any, Final

from pvboot.check import codec
from pvboot.check.fleet import Task, stopped
from pvboot.check.model import SourceResult
from pvboot.check.worker import check_elsewhere
from pvboot.confine.jobs import JobLimits
from pvboot.errors import NetworkError, UsageError

CONNECT_SECONDS: Final = 20
BATCH: Final = 50  # sources at most for one process, which takes its time to start
AHEAD: Final = 4  # batches a thread that the scheduler knows of; the others wait here


def check_there(tasks: list[tuple[int, str, str]], limits: tuple[Any, ...]) -> list[str]:
    """What a Dask worker does for a few sources: options come and results leave as the codec writes them."""
    decoded = [(number, source, codec.decode_options(options)) for number, source, options in tasks]
    return [codec.encode(result) for result in check_elsewhere(decoded, JobLimits(*limits))]


def run_on_dask(tasks: Sequence[Task], address: str, limits: JobLimits) -> Iterator[tuple[int, SourceResult]]:
    """Check all tasks on the cluster of the scheduler at `address`; yields (number, result), each exactly once.

    Raises `UsageError` without Dask, `NetworkError` if the scheduler cannot be reached or is lost.
    """
    if not tasks:
        return
    if any(source.startswith("memory:") for _number, source, _options in tasks):
        raise UsageError("a cluster cannot see the memory of this program", where="--dask")
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
    threads = max(1, sum(client.nthreads().values()))
    size = max(1, min(BATCH, len(tasks) // (threads * AHEAD)))
    waiting = iter(tasks)
    known: dict[str, list[Task]] = {}

    def submit() -> Any:
        batch = list(islice(waiting, size))
        if not batch:
            return None
        key = f"pvboot-check-{run}-{batch[0][0]}"
        known[key] = batch
        packed = [(number, source, codec.encode_options(options)) for number, source, options in batch]
        return client.submit(check_there, packed, tuple(limits), key=key, pure=False)

    first = [future for future in (submit() for _ in range(threads * AHEAD)) if future is not None]
    done: Any = import_module("distributed").as_completed(first, loop=client.loop, raise_errors=False)
    for future in done:
        batch = known.pop(future.key)
        following = submit()
        if following is not None:
            done.add(following)
        for task, result in zip(batch, _results_of(future, batch), strict=True):
            yield task[0], result
    if known:
        raise NetworkError(
            "the Dask cluster lost sources", where=address, found=f"{len(known)} batches without results"
        )


def _results_of(future: Any, batch: list[Task]) -> list[SourceResult]:
    if future.status != "finished":
        error = future.exception() if future.status == "error" else None
        return [stopped(task[1], f"the cluster could not check it: {error or future.status}") for task in batch]
    try:
        return [codec.decode(line) for line in future.result()]
    except ValueError as err:
        return [stopped(task[1], f"its checker answered nonsense: {err}") for task in batch]
