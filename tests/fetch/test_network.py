"""Menus that come from servers, and menus that name servers."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.make_images import make_ext
from pvboot.device_names import Device, read_device
from pvboot.devices import Devices
from pvboot.errors import BootError, PvbootError, UsageError
from pvboot.fetch.settings import NetOptions
from pvboot.grub_errors import GrubError
from pvboot.menu import Menu, find, load
from pvboot.shell.interpreter import run_line
from pvboot.shell.request import BootRequest, OpenMenu
from pvboot.shell.session import boot_menu
from pvboot.shell.state import Console, Shell, new_shell
from pvboot.sources import open_devices
from tests.fetch.conftest import QUICK, quick, sha256
from tests.fetch.servers import Served, http_server, tftpd_hpa


@pytest.fixture
def top(web: Served) -> Path:
    top = web.root / "guest"
    (top / "boot" / "grub").mkdir(parents=True)
    (top / "k").write_bytes(b"kernel")
    (top / "i").write_bytes(b"initrd")
    return top


def devices_of(source: str, *net: str, disks: tuple[str, ...] = ()) -> Devices:
    return open_devices(source, disks, NetOptions(net, QUICK))


def loaded(devices: Devices) -> Menu:
    return load(devices, find(devices))


def booted(devices: Devices) -> tuple[str, bytes, list[bytes]]:
    """Name and content of the kernel, and the modules' content."""
    request = boot_menu(devices, loaded(devices), lambda request: request)
    assert isinstance(request, BootRequest)
    return request.name, request.kernel.read_at(0, 99), [one.file.read_at(0, 99) for one in request.modules]


@pytest.mark.parametrize(
    ("menu", "name"),
    [
        ("title x\nroot (nd)\nkernel /k a=1\ninitrd /i\n", "(nd)/k"),
        ("title x\nkernel (nd)/k\ninitrd (nd)/i\n", "(nd)/k"),
        ("title x\nkernel /k\nmodule /i\n", "(nd)/k"),
        ("title x\ndhcp\nroot (nd)\nkernel /k\ninitrd /i\n", "(nd)/k"),
    ],
)
def test_a_menu_list_of_a_server(web: Served, top: Path, menu: str, name: str) -> None:
    (top / "menu.lst").write_text(menu)
    with devices_of(f"{web.url}/guest/menu.lst") as devices:
        found = find(devices)
        assert (str(found.device), found.path, found.dialect.name) == ("(nd)", "/guest/menu.lst", "menu.lst")
        assert booted(devices) == (name, b"kernel", [b"initrd"])
    assert web.asked_for("/guest/menu.lst") == ["HEAD", "GET"]


@pytest.mark.parametrize(
    ("menu", "name"),
    [
        ("menuentry x {{ linux /k a=1\ninitrd /i\n}}", "(nd)/k"),
        ("menuentry x {{ linux ($root)/k\ninitrd ($root)/i\n}}", "(nd)/k"),
        ("menuentry x {{ linux $prefix/k\ninitrd $prefix/i\n}}", "(nd)/guest/k"),
        ("set root=(http,{0})\nmenuentry x {{ linux /guest/k\ninitrd /guest/i\n}}", "(http,{0})/guest/k"),
        ("menuentry x {{ linux (http,{0})/guest/k\ninitrd (http,{0})/guest/i\n}}", "(http,{0})/guest/k"),
        ("menuentry x {{ linux (http)/guest/k\ninitrd $prefix/i\n}}", "(http)/guest/k"),
        ("menuentry x {{ linux (http,$net_default_server)/guest/k\ninitrd (http)/guest/i\n}}", "(http,{0})/guest/k"),
        ("if net_bootp; then menuentry x {{ linux /k\ninitrd /i\n}}\nfi", "(nd)/k"),
        ("if net_get_dhcp_option a b 1 string; then true; else menuentry x {{ linux /k\ninitrd /i\n}}\nfi", "(nd)/k"),
    ],
)
def test_a_grub_cfg_of_a_server(web: Served, top: Path, menu: str, name: str) -> None:
    server = web.url.removeprefix("http://")
    (top / "grub.cfg").write_text(menu.format(server))
    with devices_of(f"{web.url}/guest/grub.cfg") as devices:
        assert booted(devices) == (name.format(server), b"kernel", [b"initrd"])


def test_an_extlinux_configuration_of_a_server(web: Served, top: Path) -> None:
    (top / "extlinux.conf").write_text("label x\nlinux k\ninitrd i\nappend a=1\n")
    with devices_of(f"{web.url}/guest/extlinux.conf") as devices:
        assert booted(devices) == ("(nd)/guest/k", b"kernel", [b"initrd"])


def test_menus_lead_to_menus(web: Served, top: Path) -> None:
    (top / "menu.lst").write_text("title next\nconfigfile (nd)/boot/grub/grub.conf\n")
    (top / "boot" / "grub" / "grub.conf").write_text("title x\nkernel (nd)/k\n")
    with devices_of(f"{web.url}/guest/menu.lst") as devices:
        assert booted(devices) == ("(nd)/k", b"kernel", [])


def test_the_menu_and_its_files_by_tftp(web: Served, top: Path) -> None:
    (top / "menu.lst").write_text("title x\nroot (nd)\nkernel /k\ninitrd /i\n")
    web.root.chmod(0o755)
    with tftpd_hpa(web.root) as url, devices_of(f"{url}/guest/menu.lst") as devices:
        assert booted(devices) == ("(nd)/k", b"kernel", [b"initrd"])


@pytest.mark.parametrize(
    ("menu", "kernel"),
    [
        ("title x\nkernel (nd)/k\n", b"kernel at the top"),
        ("title x\nroot (nd)\nkernel /guest/k\n", b"kernel"),
        ("title x\nkernel (nd)/guest/only-here\n", b"only here"),
    ],
)
def test_paths_count_from_the_top_of_the_server_as_in_pv_grub(web: Served, top: Path, menu: str, kernel: bytes) -> None:
    (top / "menu.lst").write_text(menu)
    (web.root / "k").write_bytes(b"kernel at the top")
    (top / "only-here").write_bytes(b"only here")
    with devices_of(f"{web.url}/guest/menu.lst") as devices:
        assert booted(devices)[1] == kernel


@pytest.mark.parametrize("path", ["boot/grub/menu.lst", "boot/grub/grub.conf"])
def test_a_menu_where_a_guest_has_it_brings_the_guests_disk(web: Served, top: Path, path: str) -> None:
    (top / path).write_text("title x\nroot (hd0,0)\nkernel /k\ninitrd /i\n")
    with devices_of(f"{web.url}/guest/{path}") as devices:
        assert booted(devices) == ("(hd0,0)/k", b"kernel", [b"initrd"])
    assert web.asked_for(f"/guest/{path}") == ["HEAD", "GET"]


def test_net_says_what_nd_is(web: Served, top: Path) -> None:
    (web.root / "k").write_bytes(b"kernel at the top")
    (top / "menu.lst").write_text("title x\nkernel (nd)/k\n")
    with devices_of(f"{web.url}/guest/menu.lst", f"{web.url}/") as devices:
        assert find(devices).path == "/guest/menu.lst"
        assert booted(devices) == ("(nd)/k", b"kernel at the top", [])


def test_nd_may_be_another_server_than_the_menus(web: Served, top: Path, tmp_path: Path) -> None:
    (top / "menu.lst").write_text("title x\nkernel /k2\n")
    other_root = tmp_path / "other"
    other_root.mkdir()
    (other_root / "k2").write_bytes(b"other")
    with http_server(other_root) as other, devices_of(f"{web.url}/guest/menu.lst", f"{other.url}/") as devices:
        assert find(devices).device is None
        assert booted(devices) == ("(nd)/k2", b"other", [])
    assert other.asked == [("GET", "/k2", "")]


def test_a_grub_cfg_may_count_from_its_directory_too(web: Served, top: Path) -> None:
    (top / "grub.cfg").write_text("menuentry x {\nif [ -f /files/k2 ]; then linux /files/k2\nfi\ninitrd /i\n}\n")
    (web.root / "files").mkdir()
    (web.root / "files" / "k2").write_bytes(b"from the top")
    with devices_of(f"{web.url}/guest/grub.cfg") as devices:
        assert booted(devices) == ("(nd)/files/k2", b"from the top", [b"initrd"])


def test_a_missing_file_is_named_with_both_places(web: Served, top: Path) -> None:
    (top / "menu.lst").write_text("title x\nkernel (nd)/none\n")
    with devices_of(f"{web.url}/guest/menu.lst") as devices, pytest.raises(BootError) as caught:
        booted(devices)
    assert f"{web.url}/none: no such file" in str(caught.value)
    assert f"nothing at {web.url}/guest/none" in str(caught.value)


def test_net_is_the_only_place_for_nd(web: Served, top: Path) -> None:
    (top / "menu.lst").write_text("title x\nkernel (nd)/k\n")
    (top / "k").unlink()
    with devices_of(f"{web.url}/guest/menu.lst", f"{web.url}/guest/") as devices, pytest.raises(BootError):
        booted(devices)
    assert not web.asked_for("/k")


def test_lists_of_a_menus_server(web: Served, top: Path) -> None:
    (top / "menu.lst").write_text("title x\nkernel (nd)/k\n")
    with devices_of(f"{web.url}/guest/menu.lst") as devices:
        tree = devices.mount(Device("nd"))
        assert sorted(entry.name for entry in tree.listdir("/")) == ["guest"]
        assert sorted(tree.names("/guest")) == ["boot", "i", "k", "menu.lst"]
        assert sorted(tree.names("/boot")) == ["grub"]


# --- directories


def test_a_directory_is_hd0_and_nd(web: Served, top: Path) -> None:
    (top / "boot" / "grub" / "menu.lst").write_text("title x\nroot (hd0,0)\nkernel /k\ninitrd (nd)/i\n")
    with devices_of(f"{web.url}/guest/") as devices:
        assert booted(devices) == ("(hd0,0)/k", b"kernel", [b"initrd"])
    assert len(web.asked) < 20


def test_a_tree_by_tftp_and_a_menu_of_it(web: Served, top: Path) -> None:
    (top / "boot" / "grub" / "menu.lst").write_text("title x\nroot (hd0,0)\nkernel /k\ninitrd /i\n")
    (top / "other.lst").write_text("title x\nkernel (hd0)/i\n")
    web.root.chmod(0o755)
    with tftpd_hpa(web.root) as url:
        with devices_of(f"{url}/guest/") as devices:
            assert booted(devices) == ("(hd0,0)/k", b"kernel", [b"initrd"])
        with devices_of(f"{url}/guest/") as devices:
            assert find(devices, "/other.lst").path == "/other.lst"


def test_trouble_ends_the_search_at_once(web: Served, top: Path) -> None:
    web.misbehave = lambda handler: not handler.reply(401, b"")
    with devices_of(f"{web.url}/guest/") as devices, pytest.raises(PvbootError, match="name and password") as caught:
        find(devices)
    assert (len(web.asked), caught.value.exit_code) == (1, 4)


def test_a_forgotten_slash(web: Served, top: Path) -> None:
    (top / "menu.lst").write_text("title x\nkernel (nd)/k\n")
    with devices_of(f"{web.url}/guest") as devices:
        assert booted(devices) == ("(nd)/k", b"kernel", [])


def test_looking_for_a_menu_asks_few_questions(web: Served, top: Path) -> None:
    with devices_of(f"{web.url}/guest/") as devices, pytest.raises(PvbootError, match="no boot menu"):
        find(devices)
    assert len(web.asked) <= 16
    assert all(path.startswith("/guest/") for _, path, _ in web.asked)


def test_a_directory_as_second_disk(web: Served, top: Path, tmp_path: Path) -> None:
    menu = tmp_path / "menu.lst"
    menu.write_text("title x\nkernel (hd0)/k\n")
    with devices_of(str(menu), disks=(f"{web.url}/guest/",)) as devices:
        assert booted(devices) == ("(hd0)/k", b"kernel", [])


# --- what a menu may not do


LOCAL_MENUS = {
    "menu.lst": [
        "kernel (nd)/k",
        "root (nd)\nkernel /k",
        "configfile (nd)/menu.lst",
        "dhcp\nkernel /k",
        "tftpserver 127.0.0.1",
        "ifconfig --server=127.0.0.1",
    ],
    "grub.cfg": [
        "linux (http,{0})/guest/k",
        "linux (tftp,127.0.0.1)/k",
        "linux (nd)/k",
        "set root=http,{0}\nlinux /k",
        "configfile (http,{0})/grub.cfg",
        "source (http,{0})/grub.cfg",
        "if [ -f (http,{0})/k ]; then\nlinux /k\nfi",
        "search --file --set=root /guest/k\nlinux /guest/k",
        "net_bootp && linux (http,{0})/guest/k",
    ],
}


@pytest.mark.parametrize(("name", "body"), [(name, body) for name, bodies in LOCAL_MENUS.items() for body in bodies])
def test_a_local_menu_asks_no_server(web: Served, top: Path, tmp_path: Path, name: str, body: str) -> None:
    guest = tmp_path / "disk"
    (guest / "boot" / "grub").mkdir(parents=True)
    text = body.format(web.url.removeprefix("http://"))
    menu = f"title x\n{text}\n" if name == "menu.lst" else f"menuentry x {{\n{text}\n}}\n"
    (guest / "boot" / "grub" / name).write_text(menu)
    with open_devices(str(guest)) as devices, pytest.raises(PvbootError):
        booted(devices)
    assert web.asked == []


def test_the_error_says_how_to_allow_it(tmp_path: Path) -> None:
    (tmp_path / "menu.lst").write_text("title x\nkernel (nd)/k\n")
    with open_devices(str(tmp_path / "menu.lst")) as devices, pytest.raises(BootError, match="--net URL"):
        booted(devices)


def test_net_allows_a_local_menu_its_server_and_no_other(web: Served, top: Path, tmp_path: Path) -> None:
    with http_server(tmp_path) as other:
        (tmp_path / "menu.lst").write_text("title x\nkernel (nd)/k\n")
        (tmp_path / "grub.cfg").write_text(f"menuentry x {{ linux (http,127.0.0.1:{other.port})/k\n}}\n")
        with devices_of(str(tmp_path / "menu.lst"), f"{web.url}/guest/") as devices:
            assert booted(devices) == ("(nd)/k", b"kernel", [])
        refused = pytest.raises(BootError, match="not a server that you named")
        with devices_of(str(tmp_path / "grub.cfg"), f"{web.url}/guest/") as devices, refused:
            booted(devices)
        assert other.asked == []


def test_searching_a_local_disk_does_not_ask_the_allowed_server(web: Served, top: Path, tmp_path: Path) -> None:
    guest = tmp_path / "disk"
    (guest / "boot" / "grub").mkdir(parents=True)
    (guest / "boot" / "grub" / "grub.cfg").write_text("search --file --set=root /k\nmenuentry x { linux /k\n}\n")
    with devices_of(str(guest), f"{web.url}/guest/") as devices, pytest.raises(BootError):
        booted(devices)
    assert web.asked == []


@pytest.mark.parametrize(
    ("named", "asked", "allowed"),
    [
        ("http://h/d/", ("http", "h"), "http://h/"),
        ("http://h:8080/d/", ("http", "h:8080"), "http://h:8080/"),
        ("http://h:8080/d/", ("http", "h"), "http://h/"),
        ("http://h:8080/d/", ("http", ""), "http://h:8080/"),
        ("http://h:8080/d/", ("tftp", ""), "tftp://h/"),
        ("tftp://h:6969/d/", ("tftp", ""), "tftp://h:6969/"),
        ("tftp://h/d/", ("http", "H"), "http://H/"),
        ("https://h/d/", ("http", "h"), "https://h/"),
        ("https://h:444/d/", ("http", "h:444"), "https://h:444/"),
        ("http://[::1]:81/d/", ("http", "[::1]:81"), "http://[::1]:81/"),
        ("http://h:8080/d/", ("http", "h:8081"), None),
        ("http://h/d/", ("http", "h2"), None),
        ("http://h/d/", ("http", "h@evil"), None),
        ("http://h/d/", ("http", "user@h"), None),
        ("http://h/d/", ("http", "h/../x"), None),
        ("http://h/d/", ("http", "h?x"), None),
        ("http://h/d/", ("http", "h#"), None),
        ("http://h/d/", ("http", "h:80:80"), None),
        ("http://h/d/", ("tftp", "169.254.169.254"), None),
    ],
)
def test_which_servers_a_menu_may_name(named: str, asked: tuple[str, str], allowed: str | None) -> None:
    with devices_of(__file__, named) as devices:
        assert devices.network is not None
        if allowed is None:
            with pytest.raises(GrubError):
                devices.network.server(*asked)
        else:
            assert str(devices.network.server(*asked).base) == allowed


def test_a_password_of_the_url_is_for_its_server(web: Served, top: Path) -> None:
    seen: list[str | None] = []
    web.misbehave = lambda handler: seen.append(handler.headers.get("Authorization"))  # type: ignore[func-returns-value]
    (top / "menu.lst").write_text("title x\nkernel (nd)/k\n")
    with devices_of(web.url.replace("//", "//me:secret@") + "/guest/menu.lst") as devices:
        assert "secret" not in devices.source_name
        booted(devices)
    assert set(seen) == {"Basic bWU6c2VjcmV0"}


# --- the commands


@contextlib.contextmanager
def shell_of(source: str, *net: str):  # type: ignore[no-untyped-def]
    said: list[str] = []
    with devices_of(source, *net) as devices:
        menu = loaded(devices) if devices.menu is None else None
        shell = new_shell(devices, menu, console=Console(said.append))
        yield shell, said


@pytest.fixture
def shell(web: Served, top: Path):  # type: ignore[no-untyped-def]
    (top / "menu.lst").write_text("title x\nkernel (nd)/k\n")
    with shell_of(f"{web.url}/guest/menu.lst", f"{web.url}/guest/menu.lst", "http://127.0.0.9/") as made:
        yield made


@pytest.mark.parametrize("line", ["dhcp", "bootp", "rarp", "ifconfig"])
def test_what_the_network_is(web: Served, shell: tuple[Shell, list[str]], line: str) -> None:
    assert run_line(shell[0], line) is None
    assert f"(nd) is {web.url}/" in "".join(shell[1])


def test_with_configfile(shell: tuple[Shell, list[str]]) -> None:
    outcome = run_line(shell[0], "dhcp --with-configfile")
    assert isinstance(outcome, OpenMenu)
    assert (str(outcome.found.device), outcome.found.path) == ("(nd)", "/guest/menu.lst")


def test_with_configfile_but_none_named(web: Served, top: Path) -> None:
    with shell_of(__file__, f"{web.url}/guest/") as (shell, _said), pytest.raises(GrubError) as caught:
        run_line(shell, "dhcp --with-configfile")
    assert caught.value.number == 12


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("tftpserver 127.0.0.9", None),
        ("ifconfig --address=10.0.0.2 --mask=255.0.0.0 --gateway=10.0.0.1", None),
        ("ifconfig --server=127.0.0.9", None),
        ("tftpserver 127.0.0.8", 12),
        ("tftpserver", 30),
        ("tftpserver host", 30),
        ("tftpserver 1.2.3.256", 30),
        ("ifconfig --address=x", 30),
        ("ifconfig up", 30),
        ("ifconfig --server=8.8.8.8", 12),
    ],
)
def test_tftpserver_and_ifconfig(shell: tuple[Shell, list[str]], line: str, error: int | None) -> None:
    if error is None:
        assert run_line(shell[0], line) is None
    else:
        with pytest.raises(GrubError) as caught:
            run_line(shell[0], line)
        assert caught.value.number == error
    network = shell[0].devices.network
    assert network is not None
    assert (network.default_server == "127.0.0.9") == (error is None and "127.0.0.9" in line)


def test_root_describes_the_server(shell: tuple[Shell, list[str]]) -> None:
    run_line(shell[0], "root (nd)")
    assert "".join(shell[1]) == " Filesystem type is http, using whole disk\n"


# --- names


@pytest.mark.parametrize("name", ["(http,host)", "(http,host:80)", "(tftp,10.0.0.1)", "(http,[::1]:80)", "(nd)"])
def test_names_of_servers_are_read_as_they_are_printed(name: str) -> None:
    device, rest = read_device(name + "/x", loops=True)
    assert (str(device), rest) == (name, "/x")
    assert device.kind in ("http", "tftp", "nd")


def test_grub_legacy_knows_no_names_of_servers() -> None:
    with pytest.raises(GrubError):
        read_device("(http,host)/x")


def test_a_server_is_not_a_disk(web: Served, top: Path) -> None:
    (top / "menu.lst").write_text("title x\nkernel (nd)/k\n")
    with devices_of(f"{web.url}/guest/menu.lst") as devices:
        for device in (Device("nd"), Device("http", server="h")):
            with pytest.raises(GrubError):
                devices.blocks(device)


# --- sources that are none


def test_a_bad_url_is_wrong_usage() -> None:
    with pytest.raises(UsageError):
        open_devices("http://")
    with pytest.raises(UsageError):
        devices_of(__file__, "gopher://h/")


def test_sums_hold_menu_and_files(web: Served, top: Path) -> None:
    text = "title x\nkernel (nd)/k\ninitrd (nd)/i\n"
    (top / "menu.lst").write_text(text)
    sums = {"menu.lst": sha256(text.encode()), "k": sha256(b"kernel"), "i": sha256(b"another")}
    settings = quick(sums=sums)
    wrong = pytest.raises(BootError, match="checksum is wrong")
    with open_devices(f"{web.url}/guest/menu.lst", net=NetOptions((), settings)) as devices, wrong:
        booted(devices)
    sums["i"] = sha256(b"initrd")
    with open_devices(f"{web.url}/guest/menu.lst", net=NetOptions((), settings)) as devices:
        assert booted(devices)[2] == [b"initrd"]
    sums["menu.lst"] = "0" * 64
    with pytest.raises(PvbootError, match="checksum is wrong"):
        open_devices(f"{web.url}/guest/menu.lst", net=NetOptions((), settings))


def test_a_server_that_is_gone(web: Served) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(PvbootError) as caught:
        devices_of(f"http://127.0.0.1:{port}/menu.lst")
    assert caught.value.exit_code == 4


def test_the_boot_loader_of_xl_never_uses_the_network(web: Served, top: Path, tmp_path: Path) -> None:
    """Neither for a menu that names a server, nor for a URL in place of an image, whatever the environment allows."""
    image = tmp_path / "disk.img"
    server = web.url.removeprefix("http://")
    menu = f"menuentry x {{ linux (http,{server})/guest/k\n}}\nmenuentry y {{ linux (nd)/k\n}}\n"
    make_ext(image, {"boot/grub/grub.cfg": menu.encode(), "boot/grub/menu.lst": b"title x\nkernel (nd)/k\n"}, 2 << 20)
    for source in (str(image), f"{web.url}/guest/"):
        command = [sys.executable, "-m", "pvboot.libxl.pygrub", "-q", "--output-directory", str(tmp_path), source]
        done = subprocess.run(command, capture_output=True, env={**os.environ, "PVBOOT_NET": f"{web.url}/guest/"})
        assert done.returncode == 1
    assert web.asked == []
