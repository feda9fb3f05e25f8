"""The menus that are made, read back by our own parsers and by GRUB's syntax checker."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvboot.devices import Devices
from pvboot.menu import extlinux, grub_cfg, menu_lst
from pvboot.menu.dialects import MenuContext
from pvboot.menu.model import BootFiles, Menu
from pvboot.serve.state.errors import InexpressibleError
from pvboot.serve.state.names import DIALECTS, GRUB_CFG, IPXE, MENU_LST, PXELINUX
from pvboot.serve.state.profiles import Profile
from pvboot.serve.state.render import FetchContext, render
from tests.serve.state.helpers import read_profile

TFTP = FetchContext("tftp", {"tftp": "tftp://192.0.2.1", "http": "http://192.0.2.1:8080"})
HTTP = FetchContext("http", TFTP.bases)
TWO: dict[str, Any] = {
    "title": "Choose",
    "entries": [
        {"title": "Debian's own", "kernel": "/deb/vmlinuz", "initrd": "/deb/initrd", "args": "root=/dev/xvda1 ro"},
        {"title": "Local", "local": True},
        {"title": "Rescue", "kernel": "/rescue", "args": "single"},
    ],
    "default": 2,
    "timeout": 7,
    "fallback": [0, 1],
}


READ_BACK = {MENU_LST: menu_lst.build, GRUB_CFG: grub_cfg.build, PXELINUX: extlinux.build}


def profile(**given: Any) -> Profile:
    return read_profile("test", given)


def entry(**given: Any) -> Profile:
    return profile(title="T", kernel="/k", **given)


def menu_of(dialect: str, text: str) -> Menu:
    """The menu as read; its files without their devices, which a menu without disks does not have."""
    text = re.sub(r"'\((?:tftp|http)[^)']*\)/", "'/", text)
    return READ_BACK[dialect](text.encode(), MenuContext("test", None, "/menu", Devices(())))


def files_of(menu: Menu, index: int = 0) -> BootFiles:
    files = menu.entries[index].files
    assert files is not None
    return files()


def made(one: Profile, dialect: str, context: FetchContext = TFTP) -> Menu:
    return menu_of(dialect, render(one, dialect, context).text)


def check_grub(text: str) -> None:
    done = subprocess.run(["grub-script-check"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + text


# --- read back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", READ_BACK)
def test_titles_default_and_timeout_come_back(dialect: str) -> None:
    menu = made(profile(**TWO), dialect)
    assert [one.title for one in menu.entries] == ["Debian's own", "Local", "Rescue"]
    assert (menu.default, menu.timeout, menu.warnings) == (2, 7, ())


@pytest.mark.parametrize("dialect", [MENU_LST, GRUB_CFG])
def test_fallbacks_come_back(dialect: str) -> None:
    assert made(profile(**TWO), dialect).fallback == (0, 1)


@pytest.mark.parametrize(
    ("dialect", "timeout", "read_back"),
    [(MENU_LST, 0, 0), (GRUB_CFG, 0, 0), (PXELINUX, 0, 1), *((dialect, -1, None) for dialect in READ_BACK)],
)
def test_timeout(dialect: str, timeout: int, read_back: int | None) -> None:
    assert made(entry(timeout=timeout), dialect).timeout == read_back


@pytest.mark.parametrize(
    ("given", "commands"),
    [
        ({"args": "a=1 b", "initrd": "/i"}, ["root (nd)", "kernel (nd)/k a=1 b", "initrd (nd)/i"]),
        ({"modules": [{"file": "/m", "args": "x y"}]}, ["root (nd)", "kernel (nd)/k", "module (nd)/m x y"]),
    ],
)
def test_menu_lst_is_for_pv_grub(given: dict[str, Any], commands: list[str]) -> None:
    (only,) = made(entry(**given), MENU_LST).entries
    assert [command.text for command in only.commands] == commands


def test_menu_lst_goes_on_with_the_local_menu() -> None:
    menu = made(profile(title="L", local=True), MENU_LST)
    assert [command.name for command in menu.entries[0].commands] == ["configfile"]


@pytest.mark.parametrize(
    ("context", "device"),
    [(TFTP, "(tftp,192.0.2.1)"), (HTTP, "(http,192.0.2.1:8080)"), (FetchContext("http", {}), "(http)")],
)
def test_grub_cfg_names_the_server(context: FetchContext, device: str) -> None:
    text = render(entry(args="a b", initrd=["/i", "/j"]), GRUB_CFG, context).text
    assert f"    linux '{device}/k' 'a' 'b'\n    initrd '{device}/i' '{device}/j'\n" in text


def test_grub_cfg_keeps_a_value_with_blanks_in_one_word() -> None:
    assert files_of(made(entry(args='dyndbg="a b" c'), GRUB_CFG)).args == '"dyndbg=a b" c'


@pytest.mark.parametrize("dialect", [GRUB_CFG, PXELINUX])
def test_files_come_back(dialect: str) -> None:
    files = files_of(made(entry(args="a=1 b", initrd=["/i", "/j"]), dialect))
    assert (files.kernel, files.args, files.initrds) == ("/k", "a=1 b", ("/i", "/j"))


def test_grub_cfg_with_a_port_warns_of_old_grubs() -> None:
    assert "2.06" in render(entry(), GRUB_CFG, HTTP).warnings[0]


def test_ipxe_script_of_one_entry() -> None:
    lines = render(entry(args="a b", initrd="/i i"), IPXE, HTTP).text.splitlines()
    assert lines[0] == "#!ipxe"
    assert "kernel http://192.0.2.1:8080/k initrd=initrd0 a b || exit 1" in lines
    assert "initrd --name initrd0 http://192.0.2.1:8080/i%20i || exit 1" in lines


def test_ipxe_menu_falls_back_in_order() -> None:
    text = render(profile(**TWO), IPXE, TFTP).text
    assert "choose --default entry2 --timeout 7000 chosen && goto ${chosen} || exit" in text
    blocks = re.findall(r":(entry\d)\n(.*?)(?=\n:|$)", text, re.DOTALL)
    goals = {label: set(re.findall(r"\|\| (.*)", lines)) for label, lines in blocks}
    assert goals == {"entry0": {"goto entry1"}, "entry1": set(), "entry2": {"goto entry0"}}


# --- what cannot be said ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "given"),
    [
        (MENU_LST, {"args": "a\\"}),
        (MENU_LST, {"title": "= x"}),
        (MENU_LST, {"title": "x\\"}),
        (MENU_LST, {"kernel": "/a b"}),
        (MENU_LST, {"kernel": "http://192.0.2.9/k"}),
        (MENU_LST, {"initrd": ["/i", "/j"]}),
        (MENU_LST, {"initrd": "/i", "modules": [{"file": "/m"}]}),
        (MENU_LST, {"args": "x" * 1500}),
        (GRUB_CFG, {"args": "a='b'"}),
        (GRUB_CFG, {"args": 'a="b'}),
        (GRUB_CFG, {"args": 'a="b"'}),
        (GRUB_CFG, {"args": "a\\b"}),
        (GRUB_CFG, {"kernel": "https://192.0.2.9/k"}),
        (GRUB_CFG, {"kernel": "http://192.0.2.9/k?x"}),
        (GRUB_CFG, {"kernel": "http://a,b/k"}),
        (PXELINUX, {"kernel": "/a b"}),
        (PXELINUX, {"kernel": "tftp://192.0.2.9/k"}),
        (PXELINUX, {"initrd": "/a,b"}),
        (PXELINUX, {"args": "-"}),
        (PXELINUX, {"args": "a initrd=/x"}),
        (PXELINUX, {"title": "a^b"}),
        (PXELINUX, {"modules": [{"file": "/m"}]}),
        (IPXE, {"args": "a ${b}"}),
        (IPXE, {"args": "a || reboot"}),
        (IPXE, {"args": "a && reboot"}),
        (IPXE, {"args": "a # b"}),
        (IPXE, {"args": "a  b"}),
        (IPXE, {"kernel": "http://192.0.2.9/${x}"}),
    ],
)
def test_what_a_dialect_cannot_say_is_refused(dialect: str, given: dict[str, Any]) -> None:
    with pytest.raises(InexpressibleError):
        render(profile(**{"title": "T", "kernel": "/k", **given}), dialect, TFTP)


def test_grub_refuses_a_name_that_http_would_encode() -> None:
    one = profile(title="T", kernel="/a b")
    with pytest.raises(InexpressibleError):
        render(one, GRUB_CFG, HTTP)
    assert files_of(made(one, GRUB_CFG, TFTP)).kernel == "/a b"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_long_arguments_are_warned_of(dialect: str) -> None:
    assert "1023" in render(entry(args="x" * 1100), dialect, TFTP).warnings[0]


# --- whatever is in them ----------------------------------------------------------------------------------

_CHARS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
_TEXT = st.text(_CHARS, min_size=1, max_size=30).map(str.strip).filter(bool)
_TRICKY = st.text("ab '\"\\$`{};#|&()<>=^-!,%~*?[]/", min_size=1, max_size=20).map(str.strip).filter(bool)
_WORDS = st.one_of(_TEXT, _TRICKY)


def rendered(title: str, args: str, dialect: str) -> str | None:
    try:
        return render(profile(title=title, kernel="/k", args=args), dialect, TFTP).text
    except InexpressibleError:
        return None


@pytest.mark.parametrize("dialect", READ_BACK)
@given(_WORDS, _WORDS)
def test_a_menu_says_what_was_meant(dialect: str, title: str, args: str) -> None:
    text = rendered(title, args, dialect)
    if text is None:
        return
    menu = menu_of(dialect, text)
    assert [one.title for one in menu.entries] == [title]
    if dialect == MENU_LST:
        assert [command.text for command in menu.entries[0].commands] == ["root (nd)", f"kernel (nd)/k {args}"]
    elif dialect == PXELINUX:
        assert files_of(menu).args == args
    else:  # the quotes that GRUB puts round a word with a blank mean the same to Linux
        assert files_of(menu).args.replace('"', "").split() == args.replace('"', "").split()


@settings(max_examples=40)
@given(st.lists(st.tuples(_TRICKY, _TRICKY), min_size=1, max_size=20))
def test_grub_itself_takes_the_grub_cfg(pairs: list[tuple[str, str]]) -> None:
    check_grub("true\n" + "".join(text for title, args in pairs if (text := rendered(title, args, GRUB_CFG))))


def test_grub_takes_a_whole_menu() -> None:
    check_grub(render(profile(**TWO), GRUB_CFG, HTTP).text)


@given(_WORDS, _WORDS)
def test_ipxe_scripts_have_no_more_lines_than_meant(title: str, args: str) -> None:
    text = rendered(title, args, IPXE)
    if text is not None:
        words = [line.split()[0] for line in text.splitlines() if line]
        assert words == ["#!ipxe", "goto", ":entry0", "imgfree", "kernel", "boot"]
