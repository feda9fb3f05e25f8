"""Standard streams that the caller has closed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import REPOSITORY


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("verb", ["menu", "boot --until magic", "ls"])
def test_closed_streams_are_no_failure(images: Callable[[str], Path], verb: str, closed: str) -> None:
    command = f'"{sys.executable}" -m pvboot {verb} "{images("ext2.img")}" {closed}'
    done = subprocess.run(["sh", "-c", command], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "internal error" not in done.stderr
