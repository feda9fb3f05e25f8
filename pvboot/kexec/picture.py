"""A plan as a picture (SVG): the domain's pages before and after, and what moves where."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from pvboot.kexec.build import DomainImage
from pvboot.kexec.runs import change_runs
from pvboot.xen.paging import PAGE_SIZE

if TYPE_CHECKING:
    from pvboot.kexec.relocate import KexecPlan

WIDTH = 1080
LEFT = 90
BAR_HEIGHT = 46
TOP_BAR = 90
BOTTOM_BAR = 300
MIN_BOX = 3.0
MAX_BUSY_RUNS = 400
MAX_MOVES = 120

COLOURS = {
    "kernel": "#4c78a8",
    "ramdisk": "#72b7b2",
    "p2m": "#eeca3b",
    "start_info": "#e45756",
    "xenstore": "#f58518",
    "console": "#f58518",
    "pgtables": "#b279a2",
    "bootstack": "#54a24b",
}


@dataclass(frozen=True, slots=True)
class _Scale:
    """Pages -> x: the part that is laid out gets most of the width, the free rest is shortened."""

    used_pages: int
    nr_pages: int

    def x(self, page: int) -> float:
        span = WIDTH - LEFT - 20
        share = 0.8 if self.nr_pages > self.used_pages else 1.0
        if page <= self.used_pages:
            return LEFT + span * share * page / max(self.used_pages, 1)
        rest = max(self.nr_pages - self.used_pages, 1)
        return LEFT + span * (share + (1 - share) * (page - self.used_pages) / rest)


def draw(image: DomainImage, plan: KexecPlan | None = None) -> str:
    """An SVG document; with a plan the loader's busy pages stand above and lines show the exchanges."""
    layout = image.layout
    used = layout.pfn_end if plan is None else max(layout.pfn_end, _last_busy(plan) + 1)
    scale = _Scale(min(used, layout.nr_pages), layout.nr_pages)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 470" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="470" fill="white"/>',
        f'<text x="16" y="28" font-size="16">{escape(layout.kernel.name)}: {layout.nr_pages} pages '
        f"({layout.nr_pages * PAGE_SIZE >> 20} MiB), {layout.kernel.guest_type}</text>",
    ]
    if plan is not None:
        parts += _loader_bar(plan, scale)
        parts += _moves(plan, scale)
    parts += _domain_bar(image, scale)
    parts += _legend(image)
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _last_busy(plan: KexecPlan) -> int:
    import numpy as np

    return int(np.flatnonzero(plan.source.busy)[-1])


def _box(scale: _Scale, start: int, stop: int, y: int, colour: str, title: str) -> str:
    x = scale.x(start)
    width = max(scale.x(stop) - x, MIN_BOX)
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}" fill="{colour}" stroke="white" '
        f'stroke-width="0.5"><title>{escape(title)}</title></rect>'
    )


def _frame(scale: _Scale, y: int, label: str, pages: int) -> list[str]:
    x, end = scale.x(0), scale.x(pages)
    return [
        f'<text x="16" y="{y + 27}">{escape(label)}</text>',
        f'<rect x="{x:.1f}" y="{y}" width="{end - x:.1f}" height="{BAR_HEIGHT}" fill="#f2f2f2" stroke="#999"/>',
    ]


def _loader_bar(plan: KexecPlan, scale: _Scale) -> list[str]:
    import numpy as np

    parts = _frame(scale, TOP_BAR, "loader", plan.source.nr_pages)
    edges = np.flatnonzero(np.diff(plan.source.busy.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    for start, stop in edges[:MAX_BUSY_RUNS].tolist():
        parts.append(_box(scale, start, stop, TOP_BAR, "#888", f"busy pages {start:#x}..{stop - 1:#x}"))
    return parts


def _moves(plan: KexecPlan, scale: _Scale) -> list[str]:
    parts = []
    for slot, old, pages in change_runs(plan, MAX_MOVES):
        x1, x2 = scale.x(old) + 1, scale.x(slot) + 1
        y1, y2 = TOP_BAR + BAR_HEIGHT, BOTTOM_BAR
        title = f"frames of pages {old:#x}..{old + pages - 1:#x} become pages {slot:#x}..{slot + pages - 1:#x}"
        parts.append(
            f'<path d="M{x1:.1f} {y1} C{x1:.1f} {y1 + 80} {x2:.1f} {y2 - 80} {x2:.1f} {y2}" fill="none" '
            f'stroke="#c44" stroke-opacity="0.45"><title>{title}</title></path>'
        )
    return parts


def _domain_bar(image: DomainImage, scale: _Scale) -> list[str]:
    layout = image.layout
    parts = _frame(scale, BOTTOM_BAR, "domain", layout.nr_pages)
    for segment in layout.segments:
        title = f"{segment.name}: page {segment.pfn:#x}, {segment.pages} pages, frame {int(image.p2m[segment.pfn]):#x}"
        parts.append(_box(scale, segment.pfn, segment.end_pfn, BOTTOM_BAR, COLOURS.get(segment.name, "#666"), title))
    x = scale.x(layout.mapped_pages)
    bottom = BOTTOM_BAR + BAR_HEIGHT
    parts.append(f'<path d="M{x:.1f} {BOTTOM_BAR - 8} V{bottom + 8}" stroke="#333" stroke-dasharray="3 3"/>')
    parts.append(f'<text x="{x + 4:.1f}" y="{bottom + 16}" fill="#333">end of the initial mapping</text>')
    return parts


def _legend(image: DomainImage) -> list[str]:
    parts, x = [], LEFT
    for segment in image.layout.segments:
        label = f"{segment.name} ({segment.pages})"
        parts.append(f'<rect x="{x}" y="400" width="12" height="12" fill="{COLOURS.get(segment.name, "#666")}"/>')
        parts.append(f'<text x="{x + 16}" y="410">{escape(label)}</text>')
        x += 34 + 7 * len(label)
        if x > WIDTH - 140:
            break
    return parts
