"""Measures before the other imports, so that a boot loader starts as fast as it can.

Imports are most of the CPU time of a whole run.
"""

from __future__ import annotations

import gc
import sys

# Imports make thousands of objects that live as long as the process.
gc.disable()

# getopt can do without it; Python ships no translation of getopt's messages.
if "gettext" not in sys.modules:
    sys.modules["gettext"] = None  # type: ignore[assignment]
    import getopt  # noqa: F401

    del sys.modules["gettext"]
