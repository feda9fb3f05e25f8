"""Guests and menus on a boot server: one source, whatever its URL stands for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pvboot.check.engine import check_source
from pvboot.check.model import SourceResult
from tests.check.guests import TINY64, Tree, menu_lst, plant
from tests.fetch.servers import Served, http_server

MENU = menu_lst("/boot/nothing", root="(hd0,0)")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    guest: Tree = {"boot/grub/menu.lst": MENU, "boot/grub/grub.cfg": "", "boot/k": TINY64}
    tree: Tree = {"menu.lst": MENU, **{f"guest/{name}": content for name, content in guest.items()}}
    with http_server(plant(tmp_path, tree)) as served:
        yield served


def looked_at(server: Served, path: str) -> tuple[tuple[str, ...], SourceResult]:
    result = check_source(f"http://127.0.0.1:{server.port}{path}")
    assert result.error is None, result.error
    return result.menus, result


def test_the_url_of_a_guests_menu_is_that_menu_with_the_tree_around_it(server: Served) -> None:
    menus, result = looked_at(server, "/guest/boot/grub/menu.lst")
    assert menus == ("(hd0)/boot/grub/menu.lst",)
    assert {finding.rule for finding in result.findings} == {"missing-kernel-file"}


def test_the_url_of_a_directory_is_the_guest_with_all_its_menus(server: Served) -> None:
    menus, _result = looked_at(server, "/guest/")
    assert set(menus) == {"(hd0)/boot/grub/menu.lst", "(hd0)/boot/grub/grub.cfg"}


def test_the_url_of_a_menu_elsewhere_is_its_text(server: Served) -> None:
    menus, result = looked_at(server, "/menu.lst")
    assert len(menus) == 1 and result.findings == ()


def test_a_url_that_leads_nowhere_is_a_source_that_is_not_checked(server: Served) -> None:
    result = check_source(f"http://127.0.0.1:{server.port}/nothing.img")
    assert result.error is not None and result.exit_code == 3
