"""Displaced pages as runs: consecutive slots that take consecutive old pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pvboot.kexec.relocate import KexecPlan


def change_runs(plan: KexecPlan, limit: int) -> Iterator[tuple[int, int, int]]:
    """(slot, old PFN, pages) for every run of displaced slots in ascending order, at most `limit` runs."""
    import numpy as np

    slots = plan.displaced
    if not len(slots):
        return
    old = plan.source.p2m
    order = np.argsort(old, kind="stable")
    pfns = order[np.searchsorted(old[order], plan.image.p2m[slots])]
    breaks = np.flatnonzero((np.diff(slots) != 1) | (np.diff(pfns) != 1)) + 1
    starts = np.concatenate([[0], breaks])
    stops = np.concatenate([breaks, [len(slots)]])
    for first, stop in zip(starts[:limit].tolist(), stops[:limit].tolist(), strict=True):
        yield int(slots[first]), int(pfns[first]), stop - first
