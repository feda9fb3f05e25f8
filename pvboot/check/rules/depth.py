"""Rules of --plan and --run: whether an entry can be laid out and relocated, and whether it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pvboot.check.api import Problem, rule
from pvboot.check.kernels import kernel_of, layout_of, whole_image
from pvboot.check.rules.files import problem_at
from pvboot.check.rules.kernels import booted
from pvboot.errors import PvbootError

if TYPE_CHECKING:
    from pvboot.check.run_entry import Ran
    from pvboot.check.subject import Subject
    from pvboot.menu.loads import NamedFile
    from pvboot.menu.model import Entry

DEFAULT_MEMORY_MIB = 512

Made = TypeVar("Made")


def _attempts(
    subject: Subject, attempt: Callable[[Subject, Entry, NamedFile], Made]
) -> Iterator[tuple[Entry, NamedFile, Made | PvbootError]]:
    """Yield the entries whose files are all there and whose kernel is fit for PV guests, and what an attempt led to.

    What the other entries lack is the matter of other rules.  Each attempt is made once.
    """
    for entry, loads, named in booted(subject):
        if kernel_of(subject, named).image is not None and all(file.file is not None for file in loads.named):
            made = subject.once((attempt, entry.index), partial(_caught, attempt, subject, entry, named))
            yield entry, named, made


def _caught(
    attempt: Callable[[Subject, Entry, NamedFile], Made], subject: Subject, entry: Entry, named: NamedFile
) -> Made | PvbootError:
    try:
        return attempt(subject, entry, named)
    except PvbootError as err:
        return err


def _memory_mib(subject: Subject) -> int:
    return subject.options.memory_mib or DEFAULT_MEMORY_MIB


def _plan(subject: Subject, entry: Entry, named: NamedFile) -> str:
    """Say in a line what is to be done."""
    from pvboot.handoff.machine import plan_in_fresh_domain

    image, memory_mib = kernel_of(subject, named).image, _memory_mib(subject)
    assert image is not None
    plan = plan_in_fresh_domain(layout_of(subject, entry, image, memory_mib))
    return (
        f"planned with {memory_mib} MiB: {len(plan.displaced)} of {plan.layout.nr_pages} pages change their frame, "
        f"{len(plan.operations)} operations"
    )


@rule("no-plan", "error", "no domain can be laid out for an entry, or none that a loader could relocate", needs="plan")
def no_plan(subject: Subject) -> Iterator[Problem]:
    """With --plan: all that the domain builder and PV-GRUB's kexec do, less the doing."""
    for entry, named, plan in _attempts(subject, _plan):
        if isinstance(plan, PvbootError):
            yield problem_at(subject, entry, named, f"no plan with {_memory_mib(subject)} MiB: {plan}")


@rule("plan-made", "note", "an entry was laid out and its relocation planned", needs="plan")
def plan_made(subject: Subject) -> Iterator[Problem]:
    """With --plan: how much the hand-over has to do."""
    for entry, named, plan in _attempts(subject, _plan):
        if isinstance(plan, str):
            yield problem_at(subject, entry, named, plan)


def _run(subject: Subject, entry: Entry, named: NamedFile) -> Ran:
    from pvboot.check.run_entry import run_layout

    layout = layout_of(subject, entry, whole_image(named), _memory_mib(subject))
    return run_layout(layout, subject.options.until, subject.options.run_seconds)


@rule("does-not-start", "error", "an entry was started and showed nothing on its console", needs="run")
def does_not_start(subject: Subject) -> Iterator[Problem]:
    """With --run: not one line, or never the text of --until, within the limit of CPU time."""
    for entry, named, ran in _attempts(subject, _run):
        if isinstance(ran, PvbootError):
            yield problem_at(subject, entry, named, f"could not be started: {ran}")
        elif not ran.good:
            last = f", last line {ran.line!r}" if ran.line else ""
            message = f"did not start within {ran.seconds:g} CPU seconds ({ran.reason}{last})"
            yield problem_at(subject, entry, named, message)


@rule("started", "note", "an entry was started and its console spoke", needs="run")
def started(subject: Subject) -> Iterator[Problem]:
    """With --run: the line and the CPU time until then."""
    for entry, named, ran in _attempts(subject, _run):
        if not isinstance(ran, PvbootError) and ran.good:
            yield problem_at(subject, entry, named, f"started, after {ran.seconds:g} CPU seconds: {ran.line!r}")


@rule("run-sandbox", "note", "layers of the sandbox that could not hold the entries that were run", needs="run")
def run_sandbox(subject: Subject) -> Iterator[Problem]:
    """Once a menu."""
    for _entry, _named, ran in _attempts(subject, _run):
        if not isinstance(ran, PvbootError) and ran.missing:
            yield Problem(f"entries were run in a child that lacks: {'; '.join(ran.missing)}")
            return
