"""What --plan and --run find: whether an entry can be laid out and relocated, and whether it starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

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

_PLANS: WeakKeyDictionary[Subject, dict[int, str | PvbootError]] = WeakKeyDictionary()
_RUNS: WeakKeyDictionary[Subject, dict[int, Ran | PvbootError]] = WeakKeyDictionary()


def _memory(subject: Subject) -> int:
    return subject.options.memory_mib or DEFAULT_MEMORY_MIB


def _complete_entries(subject: Subject) -> Iterator[tuple[Entry, NamedFile]]:
    """Entries whose files are all there and whose kernel is one: what others lack, other rules have told."""
    for entry, loads, named in booted(subject):
        if kernel_of(subject, named).image is not None and all(file.file is not None for file in loads.named):
            yield entry, named


def _plan(subject: Subject, entry: Entry, named: NamedFile) -> str | PvbootError:
    """What is to be done, in a line, or why it cannot be done."""
    plans = _PLANS.setdefault(subject, {})
    if entry.index not in plans:
        from pvboot.handoff.machine import plan_in_fresh_domain

        image = kernel_of(subject, named).image
        assert image is not None
        try:
            plan = plan_in_fresh_domain(layout_of(subject, entry, image, _memory(subject)))
            plans[entry.index] = (
                f"planned with {_memory(subject)} MiB: {len(plan.displaced)} of "
                f"{plan.layout.nr_pages} pages change their frame, {len(plan.operations)} operations"
            )
        except PvbootError as err:
            plans[entry.index] = err
    return plans[entry.index]


@rule("no-plan", "error", "no domain can be laid out for an entry, or none that a loader could relocate", needs="plan")
def no_plan(subject: Subject) -> Iterator[Problem]:
    """With --plan: all that the domain builder and PV-GRUB's kexec do, less the doing."""
    for entry, named in _complete_entries(subject):
        found = _plan(subject, entry, named)
        if not isinstance(found, str):
            yield problem_at(subject, entry, named, f"no plan with {_memory(subject)} MiB: {found}")


@rule("plan-made", "note", "an entry was laid out and its relocation planned", needs="plan")
def plan_made(subject: Subject) -> Iterator[Problem]:
    """With --plan: how much the hand-over has to do."""
    for entry, named in _complete_entries(subject):
        found = _plan(subject, entry, named)
        if isinstance(found, str):
            yield problem_at(subject, entry, named, found)


def _ran(subject: Subject, entry: Entry, named: NamedFile) -> Ran | PvbootError:
    runs = _RUNS.setdefault(subject, {})
    if entry.index not in runs:
        from pvboot.check.run_entry import run_layout

        options = subject.options
        try:
            layout = layout_of(subject, entry, whole_image(named), _memory(subject))
            runs[entry.index] = run_layout(layout, options.until, options.run_seconds)
        except PvbootError as err:
            runs[entry.index] = err
    return runs[entry.index]


@rule("does-not-start", "error", "an entry was started and showed nothing on its console", needs="run")
def does_not_start(subject: Subject) -> Iterator[Problem]:
    """With --run: not one line, or never the text of --until, within the limit of CPU time."""
    for entry, named in _complete_entries(subject):
        found = _ran(subject, entry, named)
        if isinstance(found, PvbootError):
            yield problem_at(subject, entry, named, f"could not be started: {found}")
        elif not found.good:
            last = f", last line {found.line!r}" if found.line else ""
            message = f"did not start within {found.seconds:g} CPU seconds ({found.reason}{last})"
            yield problem_at(subject, entry, named, message)


@rule("started", "note", "an entry was started and its console spoke", needs="run")
def started(subject: Subject) -> Iterator[Problem]:
    """With --run: the line and the CPU time until then."""
    for entry, named in _complete_entries(subject):
        found = _ran(subject, entry, named)
        if not isinstance(found, PvbootError) and found.good:
            yield problem_at(subject, entry, named, f"started, after {found.seconds:g} CPU seconds: {found.line!r}")


@rule("run-sandbox", "note", "layers of the sandbox that could not hold the entries that were run", needs="run")
def run_sandbox(subject: Subject) -> Iterator[Problem]:
    """Told once a menu."""
    for entry, named in _complete_entries(subject):
        found = _ran(subject, entry, named)
        if not isinstance(found, PvbootError) and found.missing:
            yield Problem(f"entries were run in a child that lacks: {'; '.join(found.missing)}")
            return
