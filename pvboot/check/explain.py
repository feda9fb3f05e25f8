"""The pages of the rules: what is wrong, what happens at boot, a bad and a good example."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

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
    """The page of a rule, in Markdown.  Raises `UsageError` for an id that is no rule."""
    load_rules()
    if rule_id not in RULES:
        raise UsageError("no such rule", expected="one of pvboot check --list-rules", found=rule_id)
    rule = RULES[rule_id]
    body = (files("pvboot.check") / "pages" / f"{rule_id}.md").read_text("utf-8")
    scope = ", ".join(sorted(rule.dialects)) or "every dialect"
    return f"# {rule_id}\n\n{rule.severity}, {scope}: {rule.summary}\n\n{body}"


def examples(text: str) -> list[Example]:
    """The examples of a page: fenced blocks whose info string is DIALECT bad|good [FLAG...]."""
    found = []
    for match in _FENCE.finditer(text):
        dialect, *words = match["info"].split() or [""]
        kind = next((word for word in words if word in ("bad", "good")), None)
        if kind:
            found.append(Example(kind, dialect, frozenset(words) - {kind}, match["text"]))
    return found


def index() -> str:
    """The page that lists all rules (docs/reference/check-rules.md)."""
    load_rules()
    rows = [
        f"| [`{rule.id}`](../../pvboot/check/pages/{rule.id}.md) | {rule.severity} | "
        f"{', '.join(sorted(rule.dialects)) or 'all'} | {rule.needs} | {rule.summary} |"
        for _, rule in sorted(RULES.items())
    ]
    return _INDEX_HEAD + "\n".join(rows) + "\n"


_INDEX_HEAD = """\
# Rules of pvboot check

Made by `python tools/write_rule_index.py`; do not edit. The names are a contract: they stay what they are.
The severity is the usual one; some findings of a rule are graver or milder, as its page says. *needs* is how far a
check must go for the rule: `text` the menu alone, `files` the guest's disks, `kernel` the kernel files, `plan` the
domain laid out, `run` the entry started; `engine` is told by the check itself.

| rule | severity | dialects | needs | what it finds |
| --- | --- | --- | --- | --- |
"""


def write_index(path: Path) -> None:
    """Write the list of all rules."""
    path.write_text(index(), "utf-8")
