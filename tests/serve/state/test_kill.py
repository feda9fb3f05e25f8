"""A server that is killed loses nothing that it has acknowledged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import REPOSITORY


@pytest.mark.slow
def test_fifty_kills_lose_no_acknowledged_record(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.serve.state.kill_storm", str(tmp_path), "50", "4711"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    # A storm that wrote nothing would prove nothing.
    assert int(done.stdout) > 500
