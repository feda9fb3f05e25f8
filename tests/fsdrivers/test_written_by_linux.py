"""File systems that a running Linux has written are read as that Linux reads them."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

import pytest

from fixtures.writers import factory
from fsdrivers.api import Filesystem, Stat
from fsdrivers.blocks import open_source
from fsdrivers.probe import probe


def tree_of(filesystem: Filesystem) -> dict[str, list[Any]]:
    """As a manifest: path -> type, size, and SHA-256 or target."""
    found: dict[str, list[Any]] = {"/": ["dir", 0, ""]}
    waiting = ["/"]
    while waiting:
        folder = waiting.pop()
        for entry in filesystem.listdir(folder):
            path = f"{folder.rstrip('/')}/{entry.name}"
            found[path] = described(filesystem, path, entry.stat)
            if entry.stat.kind == "dir":
                waiting.append(path)
    return found


def described(filesystem: Filesystem, path: str, stat: Stat) -> list[Any]:
    if stat.kind == "file":
        file = filesystem.open(path)
        digest = hashlib.sha256()
        for offset in range(0, file.size, 1 << 20):
            digest.update(file.read_at(offset, 1 << 20))
        return ["file", file.size, digest.hexdigest()]
    if stat.kind == "symlink":
        return ["symlink", stat.size, stat.target]
    return [stat.kind, 0, ""]


pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # the first of a group makes its images


@pytest.mark.parametrize("name", factory.recipes())
def test_everything_is_read_as_linux_reads_it(name: str) -> None:
    image, manifest = factory.load(name)
    with contextlib.closing(open_source(image)) as source:
        assert tree_of(probe(source)) == manifest


@pytest.mark.parametrize("mode", factory.crashes())
def test_after_a_crash_everything_is_read_as_linux_recovers_it(mode: str) -> None:
    for image, manifest in factory.load_crash(mode):
        with contextlib.closing(open_source(image)) as source:
            assert tree_of(probe(source)) == manifest
