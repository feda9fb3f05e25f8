"""How the dialects made of plain lines are cut."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammars import bls, elilo, extlinux
from grammars.fields import Field

Parser = Callable[[bytes, str], tuple[Field, ...]]
PARSERS: list[Parser] = [
    bls.parse,
    bls.parse_as_grub,
    lambda data, file: extlinux.parse(data, file).fields,
    lambda data, file: elilo.parse(data, file).fields,
]


def _pairs(fields: tuple[Field, ...]) -> list[tuple[str, str]]:
    return [(field.key, field.value) for field in fields]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (b"title A B\nlinux /k\n", [("title", "A B"), ("linux", "/k")]),
        (b"\xef\xbb\xbftitle A\r\n\r\nlinux\t/k \t\r\n", [("title", "A"), ("linux", "/k")]),
        (b" # remark\nlinux  /k\n\noptions a\noptions b", [("linux", "/k"), ("options", "a"), ("options", "b")]),
        (b"title\nlinux /k", [("linux", "/k")]),
        (b'title "A B"\noptions a="b c"\n', [("title", "A B"), ("options", 'a="b c"')]),
        (b"title caf\xe9\0 lost\n", [("title", "caf\udce9")]),
    ],
)
def test_bls_as_systemd_reads_it(text: bytes, pairs: list[tuple[str, str]]) -> None:
    assert _pairs(bls.parse(text, "f")) == pairs


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (b"title A B\nlinux /k\n", [("title", "A B"), ("linux", "/k")]),
        (b"linux /k\n\ninitrd /i\n", [("linux", "/k")]),
        (b"linux /k\ntitle\ninitrd /i\n", [("linux", "/k")]),
        (b"# remark\n\tlinux   /k x\n", [("linux", "/k x")]),
        (b"linux\t/k\n", [("linux", "/k")]),
        (b"title\tA B\n", [("title\tA", "B")]),
        (b'title "A B"\n', [("title", '"A B"')]),
    ],
)
def test_bls_as_blscfg_reads_it(text: bytes, pairs: list[tuple[str, str]]) -> None:
    assert _pairs(bls.parse_as_grub(text, "f")) == pairs


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (b"LABEL a\n  Kernel\t/k  x\n", [("label", "a"), ("kernel", "/k  x")]),
        (b"MENU  Label ^A b\nmenu\nmenu begin\n", [("menu label", "^A b"), ("menu", ""), ("menu begin", "")]),
        (b"# remark\n\n #x\nprompt 0\r\n", [("prompt", "0")]),
        (b"text help\nlabel no\n  ENDTEXT\nlabel yes", [("text", "help"), ("label", "yes")]),
        (b"timeout=50\nappend =x a=b\n", [("timeout", "50"), ("append", "=x a=b")]),
    ],
)
def test_extlinux(text: bytes, pairs: list[tuple[str, str]]) -> None:
    assert _pairs(extlinux.parse(text, "f").fields) == pairs


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        (
            b"image=/vmlinuz\n\tlabel = linux\n\tread-only\n",
            [("image", "/vmlinuz"), ("label", "linux"), ("read-only", "")],
        ),
        (b'append="a \\"b\\" # c" # remark\n', [("append", 'a "b" # c')]),
        (b"timeout=50 prompt DEFAULT=x # y\n", [("timeout", "50"), ("prompt", ""), ("default", "x")]),
        (b'append="never closed\nlabel=x\n', [("append", "never closed"), ("label", "x")]),
        (b"label=\n", [("label", "")]),
    ],
)
def test_elilo(text: bytes, pairs: list[tuple[str, str]]) -> None:
    assert _pairs(elilo.parse(text, "f").fields) == pairs


def test_spans_are_places_in_the_file() -> None:
    (_, second) = extlinux.parse(b"LABEL a\n\t  KERNEL /k  \n", "f").fields
    assert (str(second.span), second.span.length) == ("f:2:4", 9)
    (_, flag) = elilo.parse(b"label=a   read-only\n", "f").fields
    assert (str(flag.span), flag.span.length) == ("f:1:11", 9)


@pytest.mark.parametrize("parser", PARSERS)
@given(data=st.one_of(st.binary(max_size=300), st.text("ab=\" \t\\#\n\r\0'$label", max_size=300).map(str.encode)))
def test_any_bytes_are_a_file(parser: Parser, data: bytes) -> None:
    for field in parser(data, "f"):
        assert field.key
        assert field.span.line >= 1
        assert field.span.column >= 1


@pytest.mark.parametrize("parser", PARSERS)
def test_lines_are_bounded(parser: Parser) -> None:
    assert len(parser(b"a b\n" * 300_000, "f")) <= 200_000
