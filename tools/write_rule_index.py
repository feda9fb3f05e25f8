"""Write docs/reference/check-rules.md from the registry of rules."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from pvboot.check.explain import write_index  # noqa: E402

write_index(REPOSITORY / "docs" / "reference" / "check-rules.md")
