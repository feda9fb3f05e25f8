"""What the lines of a menu.lst mean, beyond what the real shell shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.device_names import Device
from pvboot.devices import Devices
from pvboot.menu.dialects import MenuContext
from pvboot.menu.loads import entry_loads
from pvboot.menu.menu_lst import build
from pvboot.menu.model import Menu

AB = b"title A\nboot\ntitle B\nboot\n"


def _build(text: bytes, saved: bytes = b"") -> Menu:
    return build(text, MenuContext("disk.img", "(hd0,0)", "/boot/grub/menu.lst", Devices(()), lambda: saved))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"foo 1\n" + AB, "(hd0,0)/boot/grub/menu.lst:1:1: unknown command 'foo' is skipped"),
        (b" root (hd0,0)\n" + AB, "(hd0,0)/boot/grub/menu.lst:1:2: 'root' does nothing before the first title"),
        (b"default x\n" + AB, "(hd0,0)/boot/grub/menu.lst:1:1: 'default' has no effect: no number in 'x'"),
        (AB + b"timeout 3\n", "(hd0,0)/boot/grub/menu.lst:5:1: 'timeout' in an entry makes it fail"),
        (AB + b"title C\n", "(hd0,0)/boot/grub/menu.lst:5:1: entry 'C' has no known command and is left out"),
        (b"default 2\n" + AB, "default 2 is beyond the last of 2 entries"),
        (b"password --encrypted x\n" + AB, "(hd0,0)/boot/grub/menu.lst:1:1: this kind of password never matches"),
    ],
)
def test_warning(text: bytes, message: str) -> None:
    assert message in [str(warning) for warning in _build(text).warnings]


@pytest.mark.parametrize("line", [b"quiet", b"splashimage=(hd0,0)/x.xpm.gz", b"serial --unit=0", b"# groot=(hd0)"])
def test_harmless_line_gives_no_warning(line: bytes) -> None:
    assert _build(line + b"\n" + AB).warnings == ()


def test_uuid_and_quiet_are_known_in_entries() -> None:
    (entry,) = _build(b"title U\nuuid 1234\nkernel /x\nquiet\n").entries
    assert [command.name for command in entry.commands] == ["uuid", "kernel", "quiet"]


def test_default_takes_the_first_fallback_that_exists() -> None:
    menu = _build(b"default 9\nfallback 7 1 0\n" + AB)
    assert (menu.default, menu.fallback) == (1, (0,))


def test_eight_fallbacks_with_the_last_out_of_range() -> None:
    # The real shell never comes back from this one.
    assert _build(b"fallback 1 2 3 4 5 6 7 99\n" + AB).fallback == (1,)


@pytest.mark.parametrize(("head", "locked"), [(b"password x\n", True), (b"", False)])
def test_lock_counts_only_with_a_password(head: bytes, locked: bool) -> None:
    assert _build(head + b"title L\nlock\nboot\n").entries[0].locked is locked


def test_twenty_thousand_entries() -> None:
    assert len(_build(b"title T\nboot\n" * 20_000).entries) == 20_000


@given(st.binary(max_size=400))
def test_any_bytes_are_a_menu(data: bytes) -> None:
    menu = _build(data, saved=data[:20])
    assert 0 <= menu.default < max(len(menu.entries), 1)
    assert all(0 <= index < len(menu.entries) for index in menu.fallback)
    assert [entry.index for entry in menu.entries] == list(range(len(menu.entries)))
    for entry in menu.entries:
        entry_loads(entry, Device("hd"))


@pytest.mark.parametrize(
    ("commands", "root", "kernel", "modules", "initrds"),
    [
        (b"root (hd0,1)\nkernel /k a b\ninitrd /i x", "(hd0,1)", ("/k", "a b"), [("/i", "")], ["/i"]),
        (b"kernel --type=linux --no-mem-option /k", "(hd0,0)", ("/k", ""), [], []),
        (b"kernel (hd1,2)/k\ninitrd (hd1,2)/i", "(hd1,2)", ("/k", ""), [("/i", "")], ["/i"]),
        (b"kernel /k\nmodule /m a\nmodule /n", "(hd0,0)", ("/k", ""), [("/m", "a"), ("/n", "")], []),
        (b"kernel /k\nmodule /m\ninitrd /i", "(hd0,0)", ("/k", ""), [("/i", "")], ["/i"]),
        (b"kernel /k\ninitrd /i\nmodule /m", "(hd0,0)", ("/k", ""), [("/m", "")], []),
        (b"initrd /i\ninitrd /j\nkernel /k", "(hd0,0)", ("/k", ""), [("/j", "")], ["/j"]),
        (b"kernel /j 1\nkernel /k 2\nboot\nkernel /l", "(hd0,0)", ("/k", "2"), [], []),
        (b"root (hd0,msdos2)\nkernel /k", "(hd0,1)", ("/k", ""), [], []),
        (b"root (nonsense\nkernel /k", "(hd0,0)", ("/k", ""), [], []),
        (b"root (hd0,5)\nconfigfile /x", "(hd0,5)", None, [], []),
    ],
)
def test_what_an_entry_loads(
    commands: bytes, root: str, kernel: tuple[str, str] | None, modules: list[tuple[str, str]], initrds: list[str]
) -> None:
    loads = entry_loads(_build(b"title T\n" + commands).entries[0], Device("hd", 0, 0))
    device, path = loads.kernel.place if loads.kernel else (loads.root, None)
    assert (str(device), kernel and (path, loads.cmdline)) == (root, kernel)
    assert [(named.place[1], named.args) for named in (*loads.modules, *loads.initrds)] == modules
    assert [named.place[1] for named in loads.initrds] == initrds


@pytest.mark.parametrize(
    ("text", "titles", "default"),
    [
        (b"default 1\ntitle ----\ntitle L\nkernel /k", ["----", "L"], 1),
        (b"default 1\ntitle frob\nfrob\ntitle L\nkernel /k", ["frob", "L"], 1),
        (b"title L\nkernel /k\ntitle end", ["L"], 0),
        (b"title L\nkernel /k\ntitle end\nfrob", ["L", "end"], 0),
        (b"default 7\nfallback 1\ntitle L\nkernel /k\ntitle M\nkernel /k", ["L", "M"], 0),
        (b"title", [], 0),
    ],
)
def test_counting_every_title(text: bytes, titles: list[str], default: int) -> None:
    """As pygrub does."""
    menu = build(text, MenuContext("disk.img", "(hd0,0)", "/menu.lst", Devices(()), every_title=True))
    assert ([entry.title for entry in menu.entries], menu.default) == (titles, default)
