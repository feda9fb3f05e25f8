"""grub.cfg as text: words, statements, errors, places."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammars.grub_cfg import (
    DEPTH_LIMIT,
    LINE_LIMIT,
    Command,
    For,
    Function,
    If,
    Loop,
    Problem,
    Statement,
    parse,
    split_words,
)
from pvboot.menu.grub2_rules import join_arguments


def _commands(text: str) -> list[str]:
    """The names of the commands at the top, "ERROR" for what is wrong."""
    names = []
    for statement in parse(text.encode(), "f").statements:
        if isinstance(statement, Command):
            names.append("".join(piece.text for piece in statement.words[0].pieces))
        elif isinstance(statement, Problem):
            names.append("ERROR")
        else:
            names.append(type(statement).__name__)
    return names


def _word(text: str) -> list[tuple[str, str]]:
    (command,) = parse(f"echo {text}\n".encode("utf-8", "surrogateescape"), "f").statements
    assert isinstance(command, Command)
    return [tuple(piece) for word in command.words[1:] for piece in word.pieces]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a", [("text", "a")]),
        ("a'b c'", [("text", "a"), ("quoted", "b c")]),
        (r"'a\b'", [("quoted", r"a\b")]),
        (
            r'"a\"\$\\\x"',
            [
                ("quoted", ""),
                ("quoted", "a"),
                ("quoted", '"'),
                ("quoted", "$"),
                ("quoted", "\\"),
                ("quoted", "\\"),
                ("quoted", "x"),
            ],
        ),
        (r"a\ b", [("text", "a"), ("quoted", " "), ("text", "b")]),
        (r"A\x20B", [("text", "A"), ("quoted", r"\x20"), ("text", "B")]),
        (r"\xag", [("quoted", "x"), ("text", "ag")]),
        ("$v", [("variable", "v")]),
        ("${v}w", [("variable", "v"), ("text", "w")]),
        ('"$v"', [("quoted", ""), ("quoted variable", "v")]),
        ("$1$#$?${10}", [("variable", "1"), ("variable", "#"), ("variable", "?"), ("variable", "10")]),
        ("a\\\nb", [("text", "a"), ("text", "b")]),
        ("a#b #c", [("text", "a#b")]),
        ('""', [("quoted", "")]),
        (
            '$"a $v $ b"',
            [
                ("quoted", ""),
                ("quoted", "a "),
                ("quoted variable", "v"),
                ("quoted", " "),
                ("quoted", "$"),
                ("quoted", " b"),
            ],
        ),
        ("if then", [("text", "if"), ("text", "then")]),
        ("\udcff", [("text", "\udcff")]),
    ],
)
def test_word(text: str, pieces: list[tuple[str, str]]) -> None:
    assert _word(text) == pieces


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a; b\nc\n", ["a", "b", "c"]),
        ("menuentry A{linux /k}\n", ["menuentry"]),
        ("menuentry A {\n#c\nx\n\n}\nb\n", ["menuentry", "b"]),
        ("menuentry A\n{\nb\n}\n", ["menuentry", "ERROR", "b", "ERROR"]),
        ("a\n}\nb\n", ["a", "ERROR", "b"]),
        ("a; fi\nb\n", ["ERROR", "b"]),
        ("if a; then b; elif c; then d; else e; fi; f\n", ["If", "f"]),
        ("for i in a b; do c; done\n", ["For"]),
        ("until a; do b; done\nwhile a; do b; done\n", ["Loop", "Loop"]),
        ("function f { a; }\nf\n", ["Function", "f"]),
        ("function f { a }\nb\n", ["ERROR", "b"]),
        ("if a; then\nfunction f {\nb\n}\nfi\nc\n", ["ERROR", "b", "ERROR", "ERROR", "c"]),
        ("menuentry A {\nb\n", ["ERROR"]),
        ("a\nmenuentry A {\n  'b\n", ["a", "ERROR"]),
        ("a && b\nc\n", ["ERROR", "c"]),
        ("a $\nb\n", ["ERROR", "b"]),
        ('a "$ "\nb\n', ["ERROR", "b"]),
        ("a;;\nb\n", ["ERROR", "b"]),
        ("case x in\nb\n", ["ERROR", "b"]),
        ("menuentry A { }\nb\n", ["ERROR", "b"]),
        ("! a\n", ["!"]),
        ("a\r\nb\0c d\ne", ["a", "b", "e"]),
        ("a 'b\n# not there\nc'\nd\n", ["a", "d"]),
        ("", []),
    ],
)
def test_statements(text: str, names: list[str]) -> None:
    assert _commands(text) == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a  b\tc ", ["a", "b", "c"]),
        ("a'b c'd", ["ab cd"]),
        ('a="b c" d', ["a=b c", "d"]),
        ('"a\\"b" "a\\b" "\\$x" "\\\\"', ['a"b', "a\\b", "$x", "\\"]),
        ("'a\\' b", ["a\\", "b"]),
        ("a\\ b \\c", ["a b", "c"]),
        ('\\x20 "\\x20"', ["\\x20", "\\x20"]),
        ("'' \"\" a", ["", "", "a"]),
        ("'never closed", ["never closed"]),
        ("end\\", ["end\\"]),
        ("", []),
    ],
)
def test_words_of_a_line(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@given(st.lists(st.text("abc=/.-_", min_size=1, max_size=5), max_size=5))
def test_plain_words_come_back(words: list[str]) -> None:
    assert split_words(join_arguments(words)) == words


def test_places_count_what_the_reader_drops() -> None:
    script = parse(b"# comment\r\n\ra\rb  c\r\n  fi\n", "f")
    command, problem = script.statements
    assert isinstance(command, Command) and isinstance(problem, Problem)
    assert (str(command.span), command.span.length) == ("f:2:2", 6)
    assert (str(problem.span), problem.span.length) == ("f:3:3", 2)


def test_text_of_a_block() -> None:
    (command,) = parse(b"menuentry A {\n linux /k\n}\n", "f").statements
    assert isinstance(command, Command) and command.block is not None
    assert command.block.text == "\n linux /k\n"


def test_nesting_is_bounded() -> None:
    fits = "if a; then " * DEPTH_LIMIT + "b; " + "fi; " * DEPTH_LIMIT
    assert _commands(fits + "\n") == ["If"]
    assert _commands(f"if a; then {fits} fi\nc\n") == ["ERROR", "c"]


@pytest.mark.parametrize(
    "text",
    ["a " * 400_000, "a\n" * 400_000, ";\n" * 400_000, "if a; then\n" * 50_000, '"$ "\n' * 100_000],
    ids=["words", "lines", "errors", "nesting", "dollars"],
)
def test_large_files_end(text: str) -> None:
    assert len(parse(text.encode(), "f").statements) <= LINE_LIMIT


def test_lines_beyond_the_limit_are_told() -> None:
    assert _commands("\n" * (LINE_LIMIT - 1) + "a\nb\n") == ["a", "ERROR"]
    assert _commands("\n" * (LINE_LIMIT - 1) + "a\n") == ["a"]


def _walk(statements: tuple[Statement, ...]) -> None:
    for statement in statements:
        if isinstance(statement, Command):
            assert statement.words and statement.span.line > 0
            _walk(statement.block.body if statement.block else ())
        elif isinstance(statement, If):
            for condition, body in statement.branches:
                _walk(condition + body)
            _walk(statement.otherwise)
        elif isinstance(statement, For | Function | Loop):
            _walk(statement.body)


TOKENS = [
    "if",
    "then",
    "fi",
    "else",
    "elif",
    "for",
    "in",
    "do",
    "done",
    "while",
    "until",
    "{",
    "}",
    ";",
    "\n",
    "a",
    "b",
    "x=1",
    '"q s"',
    "'s'",
    "$v",
    "${v}",
    "\\\n",
    "function",
    "f",
    "!",
    "menuentry",
    " #c",
    '"$',
    "|",
    "&&",
    "[[",
    "a\\ b",
    '$"t"',
    "$",
    "case",
]
WHOLE = [
    "if a; then b; fi",
    "menuentry a { b; }",
    "for i in a b; do c; done",
    "function f { a; }",
    "while a; do b; done",
    "if a; then b; else c; fi",
    "a \"b c\" 'd'",
    "\n",
    ";",
]


@given(st.binary(max_size=300) | st.lists(st.sampled_from(TOKENS + WHOLE), max_size=30).map(" ".join).map(str.encode))
def test_any_bytes_are_a_script(data: bytes) -> None:
    _walk(parse(data, "f").statements)


def _generated(seed: int) -> str:
    choose = random.Random(seed)
    text = ""
    for _ in range(choose.randint(1, 12)):
        words = choose.choice(WHOLE if choose.random() < 0.5 else TOKENS).split(" ")
        if choose.random() < 0.15:
            del words[choose.randrange(len(words))]
        text += " ".join(words) + choose.choice([" ", " ", "", "\n"])
    return text


def test_what_is_wrong_is_what_grub_says(parts: Callable[[str], Path], tmp_path: Path) -> None:
    checker = parts("grub-emu") / "root/usr/bin/grub-script-check"
    path = tmp_path / "grub.cfg"
    for seed in range(400):
        text = _generated(seed)
        if text.startswith("#") or "\n#" in text:
            continue  # the checker has no reader that drops such lines
        path.write_text(text)
        done = subprocess.run([checker, path], capture_output=True, text=True)
        right = done.returncode == 0 or "contains no commands" in done.stdout + done.stderr
        assert ("ERROR" not in _commands(text)) == right, text
