"""The pages of the rules: what is wrong, what happens at boot, a bad and a good example."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

from pvboot.check.api import RULES
from pvboot.check.rules import load_rules
from pvboot.errors import UsageError

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """A menu out of a page: `kind` is "bad" or "good", `dialect` what it is written in.

    `flags` are further words: "needs-files" says that the rule looks at a guest, which a text alone is not;
    "escapes" that Python's backslash escapes in the text stand for characters that a page cannot show.
    """

    kind: str
    dialect: str
    flags: frozenset[str]
    text: str

    @property
    def data(self) -> bytes:
        """The bytes of the menu."""
        if "escapes" not in self.flags:
            return self.text.encode()
        return self.text.encode().decode("unicode_escape").encode("latin-1")


def page(rule_id: str) -> str:
    """Return the page of a rule, in Markdown.  Raises `UsageError` for an unknown id."""
    load_rules()
    if rule_id not in RULES:
        raise UsageError("no such rule", expected="one of pvboot check --list-rules", found=rule_id)
    rule = RULES[rule_id]
    body = (files("pvboot.check") / "pages" / f"{rule_id}.md").read_text("utf-8")
    scope = ", ".join(sorted(rule.dialects)) or "every dialect"
    return f"# {rule_id}\n\n{rule.severity}, {scope}: {rule.summary}\n\n{body}"


def examples(text: str) -> list[Example]:
    """Return the examples of a page: fenced blocks whose info string is DIALECT bad|good [FLAG...]."""
    found = []
    for match in _FENCE.finditer(text):
        dialect, *words = match["info"].split() or [""]
        kind = next((word for word in words if word in ("bad", "good")), None)
        if kind:
            found.append(Example(kind, dialect, frozenset(words) - {kind}, match["text"]))
    return found
