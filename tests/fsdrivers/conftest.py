"""Source trees that several tests put on images."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fsdrivers import trees


@pytest.fixture(scope="session")
def plain_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files, links and directories without holes."""
    return trees.fill_tree(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="session")
def sparse_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `plain_tree`, with sparse and scattered files."""
    root = trees.fill_tree(tmp_path_factory.mktemp("sparse"), names=20)
    trees.add_sparse(root)
    return root
