"""Fixtures for every room: fetched parts, made images, the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fixtures import fetch_parts, make_images
from tests import REPOSITORY

# No test may fail because the machine is busy: what bounds work is asserted as work, never as time.
settings.register_profile("pvboot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pvboot")

RunCli = Callable[..., "subprocess.CompletedProcess[Any]"]


def pytest_xdist_auto_num_workers() -> int:
    """One more than processors: tests of networks and terminals mostly wait."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the real Xen, whose tests take longest."""
    items.sort(key=lambda item: not item.path.is_relative_to(REPOSITORY / "tests" / "xen"))


@pytest.fixture(scope="session")
def parts() -> Callable[[str], Path]:
    """`parts(name)`: path of a part of `.parts/` (see `fixtures/fetch_parts.py --list`), fetched or built on demand.

    A part that cannot be had fails the test: a suite that skips its real kernels would prove nothing.
    """

    def part(name: str) -> Path:
        try:
            return fetch_parts.ensure(name)
        except fetch_parts.PartsError as err:
            pytest.fail(f"part {name}: {err}", pytrace=False)

    return part


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`images(name)`: an image of `fixtures/make_images.py --list`, made once a session; do not write to it."""
    folder = tmp_path_factory.mktemp("images")

    def image(name: str) -> Path:
        path = folder / name
        try:
            return path if path.exists() else make_images.make(name, folder)
        except (make_images.ImageError, fetch_parts.PartsError) as err:
            pytest.fail(f"image {name}: {err}", pytrace=False)

    return image


@pytest.fixture(scope="session")
def guest_disks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[str, ...]]:
    """`guest_disks(name)`: the images of a guest of `tests.distributions`, made once; do not write to them."""
    from tests.distributions import distributions, make_disks

    @cache
    def disks(name: str) -> tuple[str, ...]:
        guest = distributions()[name]
        return make_disks(tmp_path_factory.mktemp(name), guest.tree(), guest.expect)

    return disks


@pytest.fixture(scope="session")
def run_cli() -> RunCli:
    """`run_cli("menu", "disk.img", timeout=..., input=..., env={...})`: `python -m pvboot` as a user runs it.

    Returns the completed process; output is text (bytes that are not UTF-8 as surrogate escapes), or bytes with
    `binary=True`.  Standard input is empty unless `input` is given.
    """

    def run(
        *arguments: str | Path,
        timeout: float = 120,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        binary: bool = False,
    ) -> subprocess.CompletedProcess[Any]:
        decoding = {} if binary else {"encoding": "utf-8", "errors": "surrogateescape"}
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [sys.executable, "-m", "pvboot", *map(str, arguments)],
            cwd=REPOSITORY,
            capture_output=True,
            timeout=timeout,
            env={**os.environ, "NO_COLOR": "1", **(env or {})},
            **({"stdin": subprocess.DEVNULL} if input is None else {"input": input}),
            **decoding,
        )

    return run
