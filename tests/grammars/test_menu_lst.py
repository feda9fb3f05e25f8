"""Lines, words and places of menu.lst."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammars.menu_lst import LINE_LIMIT_BYTES, CommandLine, parse, parse_line
from grammars.spans import SourceSpan

PIECES = [
    b"title A",
    b"kernel /x",
    b" ",
    b"\t",
    b"=",
    b"\\",
    b"\n",
    b"\r",
    b"\0",
    b"#",
    b"\xff",
    b"\xc3\xa9",
    b"\xef\xbb\xbf",
    b"\\\n",
    b"\\\r\n",
    b"k" * 800,
]
MENUS = st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))


def _texts(data: bytes) -> list[str]:
    return [line.text for line in parse(data, "m").lines]


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"a b\n c\n\n", ["a b", "c"]),
        (b"a\r\nb\r", ["a", "b"]),
        (b"a\tb", ["a b"]),
        (b"# x\n  # y\na # z", ["a # z"]),
        (b"a\\\nb", ["a b"]),
        (b"a\\\r\n  b", ["a   b"]),
        (b"a\\ \nb", ["a\\ ", "b"]),
        (b"a\\\\\nb", ["a\\ b"]),
        (b"# x\\\nswallowed\na", ["a"]),
        (b"\\\n# x\na", ["a"]),
        (b"a\\", ["a\\"]),
        (b"a\0b\nc", ["a", "c"]),
        (b"\xef\xbb\xbfa", ["\ufeffa"]),
        (b"caf\xe9 \xc3\xa9", ["caf\udce9 é"]),
    ],
)
def test_logical_lines(data: bytes, texts: list[str]) -> None:
    assert _texts(data) == texts


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("default 1", "default", "1"),
        ("default=1", "default", "1"),
        ("default = = 1 = 2 ", "default", "1 = 2 "),
        ("boot", "boot", ""),
        ("=x", "", "x"),
        ("a\x0bb c", "a\x0bb", "c"),
    ],
)
def test_name_and_argument(text: str, name: str, argument: str) -> None:
    line = parse_line(text)
    assert line is not None
    assert (line.name, line.argument) == (name, argument)


def test_blank_line_typed_at_a_prompt_is_no_command() -> None:
    assert parse_line(" \t ") is None


def test_spans_behind_a_continuation_point_at_the_original_line() -> None:
    (line,) = parse(b"\n\tkernel /x \\\n   b=1\n", "m").lines
    assert line.name_span == SourceSpan("m", 2, 2, 6)
    assert line.argument_span == SourceSpan("m", 2, 9, 11)
    parts = [(part.text, line.argument_part(part.start, len(line.argument))) for part in line.arguments.parts]
    assert [(text, str(span)) for text, span in parts] == [("/x", "m:2:9"), ("b=1", "m:3:4")]


@pytest.mark.parametrize("length", [LINE_LIMIT_BYTES - 1, LINE_LIMIT_BYTES, LINE_LIMIT_BYTES + 1])
def test_only_what_is_beyond_the_limit_is_cut(length: int) -> None:
    (line,) = parse(b"k" * length, "m").lines
    assert len(line.text) == min(length, LINE_LIMIT_BYTES)
    assert line.cut == (length > LINE_LIMIT_BYTES)


def test_limit_counts_bytes() -> None:
    (line,) = parse("é".encode() * 1000, "m").lines
    assert line.text == "é" * (LINE_LIMIT_BYTES // 2)


def test_continuation_of_a_cut_line_overwrites_its_last_byte() -> None:
    (line,) = parse(b"k" * 2000 + b"\\\nlost", "m").lines
    assert line.text == "k" * (LINE_LIMIT_BYTES - 1) + " "


def test_file_with_too_many_lines_says_so() -> None:
    tree = parse(b"a\n" * 20, "m", line_limit=10)
    assert (len(tree.lines), tree.complete) == (10, False)
    assert parse(b"a\n" * 10, "m", line_limit=10).complete


def _in_file(data: bytes, span: SourceSpan) -> str:
    """The text that a span covers, read as GRUB reads it."""
    text = data.decode("utf-8", "surrogateescape")
    start = 0
    for _line in range(span.line - 1):
        start = text.index("\n", start) + 1
    start += span.column - 1
    covered = text[start : start + span.length].replace("\r", "").replace("\t", " ")
    return covered.replace("\\\n", " ")


@given(MENUS)
def test_any_bytes_parse_and_every_span_covers_its_text(data: bytes) -> None:
    for line in parse(data, "m").lines:
        if line.cut:
            continue
        for text, span in _parts(line):
            covered = _in_file(data, span)
            # The blank of a continuation stands on the backslash alone where a text ends with it.
            assert covered == text or (text.endswith(" ") and covered == text[:-1] + "\\")


def _parts(line: CommandLine) -> list[tuple[str, SourceSpan]]:
    parts = line.arguments.parts
    words = [(part.text, line.argument_part(part.start, part.start + len(part.text))) for part in parts]
    return [(line.text, line.span), (line.name, line.name_span), (line.argument, line.argument_span), *words]


@given(MENUS)
def test_lines_hold_what_grubs_reader_makes_of_them(data: bytes) -> None:
    assert [_grub_string(line) for line in _read_byte_by_byte(data)] == [
        line.text.encode("utf-8", "surrogateescape") for line in parse(data, "m").lines
    ]


def _grub_string(line: bytes) -> bytes:
    return line.partition(b"\0")[0]


def _read_byte_by_byte(data: bytes) -> list[bytes]:
    """The rules once more, as a state machine over single bytes."""
    lines, line, escaped, comment = [], bytearray(), False, False
    for byte in data.replace(b"\r", b"").replace(b"\t", b" "):
        end = byte == ord("\n")
        if escaped and end:
            end, byte = False, ord(" ")
            del line[-1:]
        escaped = byte == ord("\\")
        if comment:
            comment = not end
        elif end:
            if line:
                lines.append(bytes(line))
            line.clear()
        elif not line and byte == ord("#"):
            comment = True
        elif (line or byte != ord(" ")) and len(line) < LINE_LIMIT_BYTES:
            line.append(byte)
    return [*lines, bytes(line)] if line else lines


@given(st.text(max_size=80))
def test_any_typed_line_parses(text: str) -> None:
    line = parse_line(text)
    assert line is None or re.fullmatch(r"[^ =]*", line.name)
