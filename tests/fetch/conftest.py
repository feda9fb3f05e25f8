"""Servers for a test."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pvboot.fetch.settings import FetchLimits, NetSettings
from tests.fetch.servers import Served, http_server

# Short silences, so that a test of a silent server does not take long.
QUICK = NetSettings(
    limits=FetchLimits(
        wait_seconds=1.0, step_seconds=4.0, attempts=4, pause_seconds=0.01, tftp_wait_seconds=0.4, tftp_retries=6
    )
)


def quick(**changes: object) -> NetSettings:
    """`QUICK` with other settings."""
    return replace(QUICK, **changes)  # type: ignore[arg-type]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="session")
def noise() -> bytes:
    """300 KB that no part of which looks like another."""
    return random.Random(4).randbytes(300_001)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Served]:
    root = tmp_path / "web"
    root.mkdir()
    with http_server(root) as served:
        yield served
