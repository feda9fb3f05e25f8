"""Whole guests as distributions and installers leave them, and what each of them boots."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.distributions import distributions, menu_of

Disks = Callable[[str], tuple[str, ...]]
MENU_KEYS = ("menu", "default", "fallback", "timeout", "hidden", "entries", "warnings")


@pytest.mark.parametrize("name", distributions())
def test_the_menu_of_a_guest(name: str, guest_disks: Disks) -> None:
    assert menu_of(guest_disks(name)) == {key: distributions()[name].expect[key] for key in MENU_KEYS}
