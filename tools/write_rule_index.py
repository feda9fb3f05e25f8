"""Write docs/reference/check-rules.md from the registry of rules."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from pvboot.check.api import RULES  # noqa: E402
from pvboot.check.rules import load_rules  # noqa: E402

INDEX = REPOSITORY / "docs" / "reference" / "check-rules.md"
HEAD = """\
# Rules of pvboot check

Made by `python tools/write_rule_index.py`; do not edit. The names are a contract: they stay what they are.
The severity is the usual one; some findings of a rule are graver or milder, as its page says. *needs* is how far a
check must go for the rule: `text` the menu alone, `files` the guest's disks, `kernel` the kernel files, `plan` the
domain laid out, `run` the entry started; `engine` is found by the check itself.

| rule | severity | dialects | needs | what it finds |
| --- | --- | --- | --- | --- |
"""


def index() -> str:
    """Return the page that lists all rules."""
    load_rules()
    rows = [
        f"| [`{rule.id}`](../../pvboot/check/pages/{rule.id}.md) | {rule.severity} | "
        f"{', '.join(sorted(rule.dialects)) or 'all'} | {rule.needs} | {rule.summary} |"
        for _, rule in sorted(RULES.items())
    ]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    INDEX.write_text(index(), "utf-8")
