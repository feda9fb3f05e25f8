"""The generated modules are those of today's grammars, and parse as pyparsing itself does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammars import bls, commands, elilo, extlinux, grub_cfg, menu_lst
from grammars.elements import parse_with
from grammars.fields import FieldBuilder
from grammars.source import Source
from tests.grammars.test_grub_cfg import TOKENS, WHOLE
from tests.menu import corpus, grub_corpus
from tools.draw_grammars import FOLDER, draw
from tools.generate_parsers import DIALECTS, generate, target

FIELD_PARTS = [
    "label",
    "menu",
    "TEXT help",
    "endtext",
    "=",
    '"',
    "\\",
    "#",
    " ",
    "\t",
    "\n",
    "\v",
    "title A b",
    "\xa0",
    '""',
]
LINE_PARTS = ["kernel /x", "default", "=", " ", "\0", "\n", "#", "é", "a=b c"]
COMMAND_TEXT = """saved fallback --type=x --type=linux --no-mem-option /f (hd0,0) 1 0x1f 0x 99999999999 red/blue
blink-red/blue on off --dumb console vt100 --server=1.2.3.4 --server=1 --mask=1.2.3.4 1.2.3.4 1.2.3.400 -x -- --md5
--once --default=1 --with-configfile --force = é"""
QUOTING = ["'", '"', "\\", " ", "\\x20", "]]", "${", "$(", "#x", "\\\n"]


def _field_builder(text: str) -> FieldBuilder:
    return FieldBuilder(_source(text))


def _source(text: str) -> Source:
    return Source("f", text, [0], [(1, 1, 0)])


STARTS: list[tuple[Any, str, Callable[[str], Any], list[str]]] = [
    (extlinux, "configuration", _field_builder, FIELD_PARTS),
    (elilo, "configuration", _field_builder, FIELD_PARTS),
    (bls, "entry", _field_builder, FIELD_PARTS),
    (bls, "blscfg_entry", _field_builder, FIELD_PARTS),
    (menu_lst, "menu", lambda text: menu_lst.Builder(_source(text), set()), LINE_PARTS),
    (grub_cfg, "script", lambda text: grub_cfg.Builder(_source(text)), [*TOKENS, *WHOLE, *QUOTING]),
    (grub_cfg, "words", lambda text: grub_cfg.Builder(_source(text)), [*TOKENS, *QUOTING]),
    *(
        (commands, name, lambda text, name=name: commands.Builder(name), COMMAND_TEXT.split())
        for name in ("kernel", "password", "savedefault", "fallback", "color", "terminal", "ifconfig", "cmp", "default")
    ),
]


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """pyparsing needs some twenty frames a level, the generated modules three."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + 4000)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize(("dialect", "start", "builder", "parts"), STARTS)
@given(data=st.data())
def test_both_parse_alike(
    dialect: Any, start: str, builder: Callable[[str], Any], parts: list[str], data: st.DataObject
) -> None:
    pieces = st.lists(st.sampled_from(parts), max_size=25)
    text = data.draw(pieces.map(" ".join) | pieces.map("".join) | st.text(max_size=40))
    _parse_both_ways(dialect, start, builder, f"{text}\n" if dialect is not commands else text)


def _parse_both_ways(dialect: Any, start: str, builder: Callable[[str], Any], text: str) -> None:
    generated = import_module(f"grammars._{dialect.__name__.rpartition('.')[2]}")
    found: list[Any] = []
    if dialect is commands:
        generated.COMMANDS[start].parse(text, found, builder(text))
    else:
        generated.RULES[start](text, 0, found, builder(text))
    with _deep_recursion():
        assert found == parse_with(dialect.grammar(builder(text))[start], text)


REAL = [
    *((grub_cfg, "script", case.text) for case in grub_corpus.WRITTEN.values()),
    *((menu_lst, "menu", menu.decode("utf-8", "surrogateescape")) for menu in corpus.written().values()),
]
BUILDERS = {start: builder for _dialect, start, builder, _parts in STARTS}


@given(st.sampled_from(REAL), st.lists(st.tuples(st.integers(0), st.integers(0, 30), st.sampled_from(TOKENS))))
def test_real_menus_and_what_is_made_of_them(real: tuple[Any, str, str], changes: list[tuple[int, int, str]]) -> None:
    dialect, start, text = real
    for place, length, inserted in changes:
        at = place % (len(text) + 1)
        text = text[:at] + inserted + text[at + length :]
    _parse_both_ways(dialect, start, BUILDERS[start], f"{text}\n")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_modules_are_up_to_date(dialect: str) -> None:
    """`make generate` writes them; how they are formatted may depend on ruff's version."""
    assert ast.dump(ast.parse(generate(dialect))) == ast.dump(ast.parse(target(dialect).read_text()))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_diagrams_show_the_grammar(dialect: str) -> None:
    """Not where its boxes stand: that is railroad-diagrams' matter."""
    drawn, stored = draw(dialect), (FOLDER / f"{dialect}.svg").read_text()
    assert re.findall(r">([^<>]+)</text>", drawn) == re.findall(r">([^<>]+)</text>", stored)


def test_parsing_does_not_import_pyparsing() -> None:
    program = (
        f"import sys, {', '.join(f'grammars.{dialect}' for dialect in DIALECTS)}; print('pyparsing' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
