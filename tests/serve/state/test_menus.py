"""Menus as clients ask for them, and what the history says of their boots."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fsdrivers.errors import NotFound
from pvboot.serve.state.errors import InexpressibleError
from pvboot.serve.state.pv_grub import PV_GRUB_FILE_BYTES
from tests.serve.state.helpers import MAC, OTHER_MAC, MemoryContent, Served, ask, read, read_profile, state_in, who

DASHED = MAC.replace(":", "-")
HEX = "C000020A"  # 192.0.2.10


def kernel_of(text: str) -> str:
    """Which profile's kernel a menu loads."""
    return "debian" if "/debian/vmlinuz" in text else "rescue" if "/k" in text else "local"


@pytest.mark.parametrize(
    ("path", "asker", "kernel"),
    [
        ("/boot/menu.lst", who(), "rescue"),
        ("/boot/menu.lst", who(mac=MAC.upper()), "debian"),
        ("/boot/menu.lst", who(address="192.0.2.10"), "debian"),
        ("/boot/menu.lst", who(address="::ffff:192.0.2.10"), "debian"),
        (f"/boot/menu.lst.{MAC}", who(), "debian"),
        (f"/boot/menu.lst.{MAC}", who(mac=OTHER_MAC), "debian"),
        ("/boot/menu.lst.52:54:00:99:99:99", who(), "rescue"),
        (f"/boot/menu.lst.{OTHER_MAC}", who(), "local"),
        (f"/boot/grub.cfg-01-{DASHED}", who(), "debian"),
        (f"/boot/grub.cfg-{HEX}", who(), "debian"),
        ("/boot/grub.cfg", who("http"), "rescue"),
        (f"/boot/pxelinux.cfg/01-{DASHED}", who(), "debian"),
        (f"/boot/pxelinux.cfg/{HEX}", who(), "debian"),
        ("/boot/pxelinux.cfg/default", who(), "rescue"),
        ("/boot/pxelinux.cfg/default", who(address="192.0.2.10"), "debian"),
        ("/boot/boot.ipxe", who("http", mac=MAC), "debian"),
        ("/boot/boot.ipxe", who("http"), "rescue"),
    ],
)
def test_menu_is_the_askers(path: str, asker: Any, kernel: str, state: Served) -> None:
    assert kernel_of(read(state, path, asker)) == kernel


@pytest.mark.parametrize(
    "path",
    [
        "/boot/pxelinux.cfg/01-52-54-00-99-99-99",
        "/boot/pxelinux.cfg/C0000263",
        "/boot/pxelinux.cfg/C00002",
        "/boot/pxelinux.cfg/0a1b2c3d-0000-1111-2222-333344445555",
        "/boot/grub.cfg-01-52-54-00-99-99-99",
        "/boot/other",
    ],
)
def test_loader_that_searches_goes_on_to_its_next_name(path: str, state: Served) -> None:
    with pytest.raises(NotFound):
        state.content.open(path, who(address="192.0.2.10"))


def test_odd_scope_of_an_address_is_recorded_readable(state: Served) -> None:
    read(state, "/boot/menu.lst.fe80::1%\udcff", who())
    assert boots(state)[0]["path"] == "/boot/menu.lst.fe80::1%\\udcff"


def test_everything_else_is_the_wrapped_content(state: Served) -> None:
    assert read(state, "/debian/initrd", who()) == "x" * 100


def test_menus_live_where_the_configuration_says(tmp_path: Path) -> None:
    with state_in(tmp_path, menus={"path": "/m/n"}) as state:
        assert kernel_of(read(state, "/m/n/menu.lst", who())) == "rescue"
        with pytest.raises(NotFound):
            state.content.open("/boot/menu.lst", who())


def test_next_boot_is_in_one_menu_only_and_looking_does_not_take_it(state: Served) -> None:
    ask(state, "PUT", "/api/v1/clients/web/next-boot", {"profile": "rescue"})
    assert kernel_of(read(state, "/boot/menu.lst", who("http", mac=MAC, peek="yes"))) == "rescue"
    menus = [kernel_of(read(state, f"/boot/menu.lst.{MAC}", who())) for _ in range(2)]
    assert menus == ["rescue", "debian"]
    assert [boot["next_boot"] for boot in boots(state)] == [False, True]


def test_profile_that_the_dialect_cannot_say_is_an_error(tmp_path: Path) -> None:
    profiles = {"two": {"kernel": "/k", "initrd": ["/i", "/i"]}}
    with state_in(tmp_path, profiles=profiles, default="two", clients={}) as state:
        with pytest.raises(InexpressibleError):
            state.content.open("/boot/menu.lst", who())
        assert "initrd" in read(state, "/boot/grub.cfg", who())


def test_made_files_change_their_etag_with_their_text(state: Served) -> None:
    etags = {state.content.open("/boot/menu.lst", asker).etag for asker in (who(), who(), who(mac=MAC))}  # type: ignore[union-attr]
    assert len(etags) == 2


# --- what comes of a boot ---------------------------------------------------------------------------------


def boots(state: Served) -> list[Any]:
    state.journal.flush()
    status, body = ask(state, "GET", "/api/v1/boots")
    assert status == 200
    return list(body["items"])


def fetch(state: Served, path: str, outcome: str = "done", address: str = "198.51.100.1") -> None:
    number = state.journal.begin(who(address=address), path, 100)
    state.journal.advance(number, 50)
    state.journal.end(number, outcome, 100)


def test_boot_goes_from_menu_to_complete(state: Served) -> None:
    read(state, f"/boot/menu.lst.{MAC}", who())
    seen = [boots(state)[0]["outcome"]]
    for path in ("/other", "/debian/vmlinuz", "/debian/initrd"):
        fetch(state, path)
        seen.append(boots(state)[0]["outcome"])
    assert seen == ["menu-given", "menu-given", "kernel-fetched", "complete"]
    (boot,) = boots(state)
    assert (boot["client"], boot["mac"], boot["profile"], boot["dialect"]) == ("web", MAC, "debian", "menu.lst")
    assert boot["fetched"] == ["/debian/vmlinuz", "/debian/initrd"]


def test_menu_and_files_may_come_from_different_servers(tmp_path: Path) -> None:
    with state_in(tmp_path) as tftp, state_in(tmp_path) as http:
        read(tftp, f"/boot/menu.lst.{MAC}", who())
        fetch(http, "/debian/vmlinuz")
        http.journal.flush()
        assert boots(tftp)[0]["outcome"] == "kernel-fetched"


def test_failed_file_is_a_failed_boot_until_it_is_fetched(state: Served) -> None:
    read(state, f"/boot/menu.lst.{MAC}", who())
    fetch(state, "/debian/vmlinuz", "timeout")
    assert (boots(state)[0]["outcome"], boots(state)[0]["detail"]) == ("failed", "/debian/vmlinuz: timeout")
    state.journal.refuse(who(), "/debian/initrd", "no such file")
    assert boots(state)[0]["detail"] == "/debian/initrd: refused: no such file"
    fetch(state, "/debian/vmlinuz")
    assert (boots(state)[0]["outcome"], boots(state)[0]["detail"]) == ("kernel-fetched", "")


@pytest.mark.parametrize(
    ("second", "outcomes"),
    [("198.51.100.2", ["menu-given", "kernel-fetched"]), ("198.51.100.1", ["kernel-fetched", "menu-given"])],
)
def test_files_belong_to_the_latest_boot_of_their_address(second: str, outcomes: list[str], state: Served) -> None:
    for address in ("198.51.100.1", second):
        read(state, f"/boot/menu.lst.{MAC}", who(address=address))
    fetch(state, "/debian/vmlinuz", address="198.51.100.1")
    assert [boot["outcome"] for boot in boots(state)] == outcomes


def test_history_is_bounded(tmp_path: Path) -> None:
    from pvboot.serve.state import history

    with state_in(tmp_path) as state:
        for _ in range(9):
            read(state, "/boot/menu.lst", who())
        history.prune(state.state._database, 4, 90)
        kept = [boot["id"] for boot in boots(state)]
        assert kept == [9, 8, 7, 6]
        history.prune(state.state._database, 4, 0)
        assert boots(state) == []


# --- limits and changes of the configuration ----------------------------------------------------------------


class Large(MemoryContent):
    """Content whose kernel is as large as it says."""

    def __init__(self, size: int) -> None:
        super().__init__({"/k": b""})
        self.size = size

    def open(self, path: str, who: Any) -> Any:
        super().open(path, who)
        return SimpleNamespace(size=self.size, close=lambda: None)


@pytest.mark.parametrize(("size", "warned"), [(PV_GRUB_FILE_BYTES, False), (PV_GRUB_FILE_BYTES + 1, True)])
def test_file_that_pv_grub_cannot_fetch_is_warned_of(size: int, warned: bool) -> None:
    from pvboot.serve.state.pv_grub import check_files

    profile = read_profile("p", {"kernel": "/k"})
    found = check_files(profile, Large(size), frozenset({"tftp"}))
    assert bool(found) == warned
    assert PV_GRUB_FILE_BYTES == 93_846_120


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"profiles": {"rescue": {"kernel": "/gone"}}, "clients": {}}, "/gone: cannot be served"),
        ({"profiles": {"rescue": {"kernel": "/k"}}, "clients": {}, "default": "x"}, "no profile 'x'"),
        ({"profiles": {"rescue": {"kernel": "http://h/k"}}, "clients": {}}, "from its own TFTP server only"),
        ({"menus": {"path": "/" + "m" * 120}}, "option 150"),
    ],
)
def test_warning_about_the_configuration(more: dict[str, Any], text: str, tmp_path: Path) -> None:
    with state_in(tmp_path, **more) as state:
        assert any(text in line for line in state.warnings()), state.warnings()


def test_good_configuration_has_no_warnings(state: Served) -> None:
    assert state.warnings() == []
