"""Write `grammars/_<dialect>.py`, a plain parser with the same results, from each dialect's pyparsing grammar.

`make generate` runs it.  A boot loader cannot pay for importing pyparsing, so elements become functions

    def rule(text: str, at: int, out: list[Any], build: Any) -> int

that append to `out` what was matched from `text[at:]` on and return where it ends, or -1.  Parse actions become calls
of the builder's methods.  What one regular expression can match becomes one, atomic where its elements were apart, so
that it goes back no further than pyparsing does.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from types import ModuleType

import pyparsing as pp

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))
DIALECTS = ("bls", "commands", "elilo", "extlinux", "grub_cfg", "menu_lst")
WITH_USAGE = ("commands",)

from grammars.elements import Recovering  # noqa: E402  (from this tree, wherever the tool is started)

REPEATED = {pp.Opt: "?+", pp.ZeroOrMore: "*+", pp.OneOrMore: "++"}

HEAD = '''"""Made by tools/generate_parsers.py from grammars/{dialect}.py: `make generate`."""

from __future__ import annotations

{imports}'''


class Action:
    """Stands for a method of a dialect's builder while a grammar is made."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self) -> None:
        raise NotImplementedError


class Builder:
    """Stands for a dialect's builder."""

    def __getattr__(self, name: str) -> Action:
        return Action(name)


@dataclass
class Match:
    """What one regular expression matches: `values` are the expressions that make something of its match `m`.

    `actions` belong to its groups, "" to a group whose text is the value.  `sure`: every group takes part in a match;
    else the groups that do are found by their names, which are those of the actions.
    """

    pattern: str
    values: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    start: str = ""
    sure: bool = True

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.actions)


def action_of(element: pp.ParserElement) -> str | None:
    """The method that makes something of what an element matched; in a Suppress it would be called for nothing."""
    if not element.parseAction:
        return None
    (action,) = element.parseAction
    return str(action.__name__)


def name_of(element: pp.ParserElement) -> str:
    """What pyparsing's message says was expected where an element does not match."""
    while isinstance(element, pp.And) or not (element.customName or isinstance(element, pp.MatchFirst)):
        inner = [each for each in element.recurse() if not isinstance(each, pp.Opt | pp.ZeroOrMore)]
        if not inner:
            break
        element = inner[0]
    return str(element.name)


def skipped(element: pp.ParserElement) -> str:
    """The pattern of what pyparsing passes over before an element."""
    blanks = "".join(sorted(element.whiteChars)) if element.skipWhitespace else ""
    blanks = blanks.encode("unicode_escape").decode()
    return (f"[{blanks}]*+" if len(blanks) > 1 else f"{blanks}*+") if blanks else ""


def match_of(element: pp.ParserElement, *, named: bool = False) -> Match | None:
    """The one expression that matches an element, None if it takes more than one; `named`: by named groups alone."""
    match = _match_of(element, 0)
    if match is None or (match.sure and not named):
        return match and replace(match, pattern=match.pattern.replace("\0", ""))
    if "" in match.actions or len(set(match.actions)) < match.groups:
        return None
    names = iter(match.actions)
    pattern = re.sub("\0", lambda _mark: f"?P<{next(names)}>", match.pattern)
    one = isinstance(element, pp.MatchFirst) and all(isinstance(each, pp.Regex) for each in element.exprs)
    return replace(match, pattern=pattern, values=["*act(m, build)" if one else "*acts(m, build)"])


def _match_of(element: pp.ParserElement, groups: int, *, wanted: bool = True) -> Match | None:
    """The same behind so many groups; if it is not `wanted`, without groups of its own."""
    action = action_of(element)
    if isinstance(element, pp.Suppress):
        return _match_of(element.expr, groups, wanted=False)
    if isinstance(element, pp.Regex | pp.Empty) and not isinstance(element, pp.And._ErrorStop):
        pattern = f"(?>{element.pattern})" if isinstance(element, pp.Regex) else ""
        assert not re.compile(pattern).groups, f"{element}: groups are the generator's"
        if not wanted:
            return Match(skipped(element) + pattern)
        made = Match(f"{skipped(element)}(\0{pattern})", [f"m[{groups + 1}]"], [action or ""], f"m.start({groups + 1})")
        if isinstance(element, pp.Empty):
            made.values = []
    elif type(element) in REPEATED and action is None:
        inner = _match_of(element.expr, groups, wanted=wanted)
        if inner is None or (inner.groups and not isinstance(element, pp.Opt)):
            return None
        return Match(f"(?:{inner.pattern}){REPEATED[type(element)]}", [], inner.actions, sure=not inner.groups)
    elif isinstance(element, pp.And | pp.MatchFirst):
        parts: list[Match] = []
        for each in element.exprs:
            part = _match_of(each, groups + sum(part.groups for part in parts), wanted=wanted)
            if part is None or (action is not None and not part.sure):
                return None
            parts.append(part)
        patterns, together = [part.pattern for part in parts], isinstance(element, pp.And)
        made = Match("".join(patterns) if together else f"(?>{'|'.join(patterns)})")
        made.values = [value for part in parts for value in part.values]
        made.actions = [each for part in parts for each in part.actions]
        made.sure = not made.groups or (together and all(part.sure for part in parts))
        made.start = parts[0].start
        if action is not None and (not together or not made.start):
            return None
    else:
        return None
    if action is not None:
        made.values = [f"*build.{action}(text, {made.start}, ({''.join(f'{value}, ' for value in made.values)}))"]
        if isinstance(element, pp.And):
            made.actions = [""] * made.groups  # none of them is to be called by the name of its group
    return made


def steps_of(element: pp.ParserElement) -> list[tuple[str, bool]]:
    """The expressions of a rule that is no more than these, each with whether it repeats."""
    if isinstance(element, pp.ZeroOrMore) and (match := match_of(element.expr, named=True)):
        return [(match.pattern, True)]
    inner = element.expr if isinstance(element, pp.Opt) else element
    if always_matches(element) and (match := match_of(inner, named=True)):
        return [(match.pattern, False)]
    if not isinstance(element, pp.And):
        raise SystemExit(f"{element}: not a few expressions one after the other")
    return [step for part in element.exprs for step in steps_of(part)]


def always_matches(element: pp.ParserElement) -> bool:
    """Whether an element cannot fail."""
    if isinstance(element, pp.MatchFirst):
        return always_matches(element.exprs[-1])
    if isinstance(element, pp.And):
        return all(map(always_matches, element.exprs)) and action_of(element) is None
    if isinstance(element, pp.Suppress):
        return always_matches(element.expr)
    if isinstance(element, pp.Regex):
        return re.fullmatch(r"\[[^]]*]\*", element.pattern) is not None
    return isinstance(element, pp.Empty | pp.ZeroOrMore | pp.Opt) and not isinstance(element, pp.And._ErrorStop)


def never_returns_failure(element: pp.ParserElement) -> bool:
    """Whether what does not match is a fault from the beginning."""
    if isinstance(element, pp.Group):
        return never_returns_failure(element.expr)
    if not isinstance(element, pp.And):
        return always_matches(element)
    before = takewhile(lambda part: not isinstance(part, pp.And._ErrorStop), element.exprs)
    return all(map(never_returns_failure, before))


def alternatives_of(element: pp.ParserElement) -> list[pp.ParserElement]:
    """Those of a choice whose result nobody makes anything of; the element itself is the only one of any other."""
    return list(element.exprs) if type(element) is pp.MatchFirst and not element.parseAction else [element]


def add(values: list[str], out: str) -> list[str]:
    """The statement that appends values to a list ("" for nowhere)."""
    if not values or not out:
        return []
    if len(values) > 1:
        return [f"{out} += ({', '.join(values)})"]
    return [f"{out} += {values[0][1:]}" if values[0].startswith("*") else f"{out}.append({values[0]})"]


def usage(element: pp.ParserElement) -> str:
    """How help writes what an element matches; errors and what has no name do not show."""
    if isinstance(element, pp.Suppress):
        return usage(element.expr)
    if isinstance(element, pp.And | pp.MatchFirst):
        parts = [part for part in map(usage, element.exprs) if part]
        return " ".join(parts) if isinstance(element, pp.And) else "|".join(dict.fromkeys(parts))
    if isinstance(element, pp.Opt | pp.ZeroOrMore):
        inner = usage(element.expr)
        return f"[{inner}]{'...' if isinstance(element, pp.ZeroOrMore) else ''}" if inner else ""
    name = element.customName or ""
    return "" if name.startswith("error") or name == "letters" else name


def literals(element: pp.ParserElement) -> tuple[str, ...]:
    """The words that match as they are, options up to their `=`."""
    names = "|".join(usage(each) for each in element.visit_all() if isinstance(each, pp.Regex)).split("|")
    return tuple(dict.fromkeys(match[0] for name in names if (match := re.match(r"--[a-z0-9-]+=?|[a-z]+$", name))))


def syntax(element: pp.ParserElement) -> str:
    """The row of a rule that is a few expressions one after the other."""
    steps = [f"[{literal(pattern)}]" if repeats else literal(pattern) for pattern, repeats in steps_of(element)]
    return f"Syntax({usage(element)!r}, {literals(element)}, {', '.join(steps)})"


def literal(text: str) -> str:
    """A pattern as people would write it."""
    quote = "'" if '"' in text else '"'
    return repr(text) if quote in text or not text.isprintable() or text.endswith("\\") else f"r{quote}{text}{quote}"


def indented(lines: Iterable[str]) -> list[str]:
    """One level deeper."""
    return [f"    {line}" for line in lines]


class Module:
    """The text of one generated module while its elements are walked."""

    def __init__(self, builder: type) -> None:
        self.builder = builder
        self.patterns: dict[str, str] = {}
        self.functions: dict[str, list[str]] = {}
        self.names: dict[int, str] = {}
        self.kept: list[pp.ParserElement] = []  # so that no other element gets the same id
        self.helpers: set[str] = set()

    def pattern(self, text: str) -> str:
        """The name of a compiled pattern's `match`."""
        return self.patterns.setdefault(text, f"_match{len(self.patterns)}")

    def rule(self, element: pp.ParserElement, name: str = "") -> str:
        """The name of the function that parses an element."""
        if isinstance(element, pp.Forward):
            element = element.expr
        if id(element) not in self.names:
            wanted = name or "_" + re.sub(r"\W+", "_", element.customName or "part").strip("_").lower()
            numbers = (f"{wanted}{number or ''}" for number in range(1000))
            name = next(each for each in numbers if each not in self.functions)
            self.names[id(element)] = name
            self.kept.append(element)
            self.functions[name] = []
            self.functions[name] = self.function(name, element)
        return self.names[id(element)]

    def function(self, name: str, element: pp.ParserElement) -> list[str]:
        """The whole function."""
        action = action_of(element)
        fail = ["return -1"]
        if isinstance(element, Recovering):
            body = self.recovering(element)
        elif action is not None and match_of(element) is None:
            _self, _text, place, _values = inspect.signature(getattr(self.builder, action)).parameters
            if not place.startswith("_"):
                raise SystemExit(f"{action}: only the action of one expression learns where that begins")
            body = ["values: list[Any] = []", *self.code(element, "values", fail, top=True)]
            body.append(f"out += build.{action}(text, at, values)")
        else:
            body = self.code(element, "out", fail, top=True)
            if any("del out" in line for line in body):
                body.insert(0, "size = len(out)")
        head = f"def {name}(text: str, at: int, out: list[Any], build: Any) -> int:"
        last = [f"return {body[-1][5:]}"] if body[-1].startswith("at = ") else [body[-1], "return at"]
        return [head, *indented([*body[:-1], *last])]

    def recovering(self, element: Recovering) -> list[str]:
        """The second alternative where the first one meets a fault."""
        statement = self.rule(element.exprs[0])
        self.helpers.add("Fault")
        return [
            "size = len(out)",
            "try:",
            f"    return {statement}(text, at, out, build)",
            "except Fault as fault:",
            "    del out[size:]",
            f"    out += build.{element.problem.__name__}(fault)",  # type: ignore[attr-defined]
            "    at = fault.resume",
            *indented(self.code(element.exprs[1], "out", ["return -1"])),
        ]

    # -- statements that parse an element: at `at`, into the list `out` ("" for nowhere), `fail` where it does not match

    def code(self, element: pp.ParserElement, out: str, fail: list[str], *, top: bool = False) -> list[str]:
        """`top`: in a function of its own, so that a sequence may fail in the middle and the action is called there."""
        if isinstance(element, pp.Empty):
            return add([f"*build.{action_of(element)}(text, at, ())"], out) if action_of(element) else []
        if not out and action_of(element):
            raise SystemExit(f"{element}: an action in a Suppress")
        if isinstance(element, pp.Suppress) and isinstance(element.expr, pp.Opt):
            return self.code(element.expr, "", fail)
        if isinstance(element, pp.Opt) and action_of(element) is None:
            return self.choice(alternatives_of(element.expr), out, [])
        if match_of(element) is None and (top or action_of(element) is None):
            if isinstance(element, pp.Suppress):
                return self.code(element.expr, "", fail)
            if isinstance(element, pp.And) and top:
                return self.sequence(element, out, fail)
            if type(element) is pp.MatchFirst:
                return self.choice(element.exprs, out, fail)
            if isinstance(element, pp.OneOrMore):
                return ["before = at", *self.loop(element.expr, out), "if at == before:", *indented(fail)]
            if isinstance(element, pp.ZeroOrMore):
                return self.loop(element.expr, out)
            if isinstance(element, pp.Group):
                return [f"{out}.append([])", *self.code(element.expr, f"{out}[-1]", fail)]
        if isinstance(element, pp.And) and match_of(element) is None and never_returns_failure(element):
            return [f"at = {self.rule(element)}(text, at, {out or '[]'}, build)"]
        condition, body = self.branch(element, out)
        return [f"if not ({condition}):", *indented(fail), *body]

    def sequence(self, element: pp.And, out: str, fail: list[str]) -> list[str]:
        """One after the other; behind pyparsing's `-` what does not match is a fault."""
        lines: list[str] = []
        must = False
        parts = list(element.exprs)
        while parts:
            if isinstance(parts[0], pp.And._ErrorStop):
                parts, must = parts[1:], True
                continue
            # As many as one expression can match together.
            count = 1
            while not must and count < len(parts) and match_of(pp.And(parts[: count + 1])) is not None:
                count += 1
            part = parts[0] if count == 1 else pp.And(parts[:count])
            match = match_of(part)
            if must and match is not None and not match.values:
                self.helpers.add("expect")
                wanted = "" if always_matches(part) else name_of(part)
                lines.append(f"at = expect({self.pattern(match.pattern)}, text, at, build, {wanted!r})")
            else:
                missing = [f"raise build.missing(text, at, {name_of(part)!r})"]
                lines += self.code(part, out, missing if must else fail)
            fail = fail if out == "values" else ["del out[size:]", "return -1"]
            parts = parts[count:]
        return lines

    def branch(self, element: pp.ParserElement, out: str) -> tuple[str, list[str]]:
        """A condition that is true if the element matches, and what to do then."""
        match = match_of(element)
        if match is not None:
            self.helpers |= {name for name in ("act", "acts") if f"*{name}(m, build)" in match.values and out}
            return f"m := {self.pattern(match.pattern)}(text, at)", [*add(match.values, out), "at = m.end()"]
        if isinstance(element, pp.And) and action_of(element) is None and all(map(always_matches, element.exprs[1:])):
            condition, body = self.branch(element.exprs[0], out)
            return condition, [*body, *(line for part in element.exprs[1:] for line in self.code(part, out, []))]
        return f"(end := {self.rule(element)}(text, at, {out or '[]'}, build)) >= 0", ["at = end"]

    def choice(self, alternatives: list[pp.ParserElement], out: str, fail: list[str]) -> list[str]:
        """The first alternative that matches."""
        branches: list[tuple[list[str], list[str]]] = []  # conditions, and what to do if one of them holds
        while alternatives:
            if always_matches(alternatives[0]):
                fail = self.code(alternatives[0], out, fail)
                break
            # As many as one expression can choose from.
            count = max(
                n for n in range(1, len(alternatives) + 1) if n == 1 or match_of(pp.MatchFirst(alternatives[:n]))
            )
            condition, body = self.branch(alternatives[0] if count == 1 else pp.MatchFirst(alternatives[:count]), out)
            if branches and branches[-1][1] == body:
                branches[-1][0].append(condition)
            else:
                branches.append(([condition], body))
            alternatives = alternatives[count:]
        lines: list[str] = []
        for conditions, body in branches:
            whole = conditions[0] if len(conditions) == 1 else " or ".join(f"({each})" for each in conditions)
            lines += [f"{'elif' if lines else 'if'} {whole}:", *indented(body)]
        return [*lines, "else:", *indented(fail)] if fail else lines

    def loop(self, element: pp.ParserElement, out: str) -> list[str]:
        """As often as it matches."""
        lines = self.choice(alternatives_of(element), out, ["break"])
        if lines[-2:] == ["else:", "    break"] and not any(line.startswith("elif") for line in lines):
            return ["while" + lines[0].removeprefix("if"), *lines[1:-2]]
        return ["while True:", *indented(lines)]

    def text(self, dialect: str, starts: Mapping[str, pp.ParserElement]) -> str:
        """The module; with the rules that others may begin with come tables of what they look like."""
        if dialect in WITH_USAGE:
            kind, rows = "Syntax", [f"{key!r}: {syntax(element.streamline())}" for key, element in starts.items()]
        else:
            kind, rows = "Rule", [f"{key!r}: {self.rule(each.streamline(), f'_{key}')}" for key, each in starts.items()]
        table = f"{'COMMANDS' if dialect in WITH_USAGE else 'RULES'}: dict[str, {kind}] = {{{', '.join(rows)}}}"
        self.helpers |= {kind, "compiler"} if self.patterns else {kind}
        imports = ["from fsdrivers.light import Any"] if self.functions else []
        imports.append(f"from grammars.source import {', '.join(sorted(self.helpers))}\n")
        head = HEAD.format(dialect=dialect, imports="\n".join(imports))
        head += "\n_compiled = compiler(globals())\n" if self.patterns else "\n"
        patterns = [f"{name} = _compiled({literal(text)})" for text, name in self.patterns.items()]
        if not self.functions:
            return head + table
        return "\n\n\n".join((head + "\n".join(patterns), *map("\n".join, self.functions.values()), table))


def generate(dialect: str) -> str:
    """The text of a dialect's module."""
    room = import_module(f"grammars.{dialect}")
    module = Module(getattr(room, room.grammar.__annotations__["build"]))
    starts: Mapping[str, pp.ParserElement] = room.grammar(Builder())
    command = (sys.executable, "-m", "ruff", "format", "-q", "--stdin-filename", f"grammars/_{dialect}.py", "-")
    text = module.text(dialect, starts)
    done = subprocess.run(command, input=text, text=True, capture_output=True, cwd=REPOSITORY)
    if done.returncode:
        raise SystemExit(f"{dialect}: {done.stderr}\n{text}")
    return done.stdout


def target(dialect: str) -> Path:
    """Where a dialect's module stands."""
    return REPOSITORY / "grammars" / f"_{dialect}.py"


def main() -> None:
    """Write what has changed."""
    for dialect in DIALECTS:  # the grammar's module imports it, and may be the first to be there
        sys.modules[f"grammars._{dialect}"] = ModuleType(f"grammars._{dialect}")
    for dialect in DIALECTS:
        text = generate(dialect)
        if not target(dialect).exists() or target(dialect).read_text() != text:
            target(dialect).write_text(text)
            print(f"wrote {target(dialect).relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
