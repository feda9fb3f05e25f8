"""Draw `docs/reference/grammars/<dialect>.svg`: railroad diagrams of the grammars that parse (`make diagrams`)."""

from __future__ import annotations

import io
import re
import sys
from importlib import import_module
from pathlib import Path
from xml.sax.saxutils import escape

import pyparsing as pp
from pyparsing.diagram import NamedDiagram, to_railroad

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from tools.generate_parsers import DIALECTS, Builder  # noqa: E402  (from this tree, wherever the tool is started)

FOLDER = REPOSITORY / "docs/reference/grammars"
VERTICAL = 5  # parts from which on they stand below each other
MARGIN = 10
TITLE_HEIGHT = 26
STYLE = (
    "path{stroke:#333;stroke-width:2;fill:none}rect{stroke:#333;stroke-width:1.5;fill:#eef}.terminal rect{fill:#efe}"
    "text{font:13px monospace;text-anchor:middle}text.title{font-weight:bold;text-anchor:start}"
    ".page{fill:#fff;stroke:none}"
)


class Picture:
    """A grammar without what only machines need: places, groups, suppressions; terminals under their names."""

    def __init__(self) -> None:
        self._made: dict[int, pp.ParserElement] = {}
        self._kept: list[pp.ParserElement] = []  # so that no other element gets the same id

    def of(self, element: pp.ParserElement, name: str | None = None) -> pp.ParserElement:
        """The same element to be drawn."""
        if id(element) not in self._made:
            self._kept.append(element)
            self._made[id(element)] = self._draw(element, name or element.customName)
        return self._made[id(element)]

    def _draw(self, element: pp.ParserElement, name: str | None) -> pp.ParserElement:
        if isinstance(element, pp.Forward):
            made = self._made[id(element)] = pp.Forward()
            made <<= self.of(element.expr)
            return made
        if isinstance(element, pp.Suppress | pp.Group):
            return self.of(element.expr, name)
        if isinstance(element, pp.Regex):
            terminal = pp.Regex("x")
            terminal.pattern = name or element.pattern
            return terminal
        if isinstance(element, pp.Opt | pp.ZeroOrMore | pp.OneOrMore):
            return type(element)(self.of(element.expr))
        parts = [self.of(part) for part in element.recurse() if part.show_in_diagram and not isinstance(part, pp.Empty)]
        made = pp.And(parts) if isinstance(element, pp.And) else pp.MatchFirst(parts)
        return made.set_name(name) if name and len(parts) > 1 else made


def draw(dialect: str) -> str:
    """The text of a dialect's SVG: the diagrams of all its rules below each other."""
    rows: list[str] = []
    width = height = MARGIN
    for diagram in diagrams(dialect):
        assert diagram.diagram is not None
        text = io.StringIO()
        diagram.diagram.writeSvg(text.write)
        body = re.sub(r"<a [^>]*>(<text.*?</text>)\1</a>", r"\1", text.getvalue())  # the links lead nowhere
        body = re.sub(r'<path d="M\S+ \S+h0\.0" />', "", body).replace("\n", "")
        body = re.sub(r"(\d)\.0\b", r"\1", body)
        rows.append(f'<text class="title" x="{MARGIN}" y="{height + 16}">{escape(diagram.name)}</text>')
        height += TITLE_HEIGHT
        rows.append(f'<g transform="translate(0 {height})">{body}</g>')
        width = max(width, diagram.diagram.width + 2 * MARGIN)
        height += diagram.diagram.up + diagram.diagram.down + diagram.diagram.height + 2 * MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"><style>{STYLE}</style>'
    return "\n".join([head, '<rect class="page" width="100%" height="100%"/>', *rows, "</svg>\n"])


def diagrams(dialect: str) -> list[NamedDiagram]:
    """The diagrams of a dialect's rules, those that others begin with first."""
    found: dict[str, NamedDiagram] = {}
    picture = Picture()
    for name, element in import_module(f"grammars.{dialect}").grammar(Builder()).items():
        start = pp.Forward(picture.of(element.streamline())).set_name(name)
        for diagram in to_railroad(start, vertical=VERTICAL):
            found.setdefault(diagram.name or name, diagram)
    return list(found.values())


def main() -> None:
    """Write every diagram."""
    FOLDER.mkdir(exist_ok=True)
    for dialect in DIALECTS:
        (FOLDER / f"{dialect}.svg").write_text(draw(dialect))


if __name__ == "__main__":
    main()
