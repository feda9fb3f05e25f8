"""What elilo.conf means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.devices import Devices
from pvboot.menu.dialects import MenuContext
from pvboot.menu.elilo import build
from pvboot.menu.model import BootFiles, Menu
from tests.menu.trees import load_tree, messages, shown

CONF = "efi/debian/elilo.conf"
DEBIAN = """\
install=/usr/lib/elilo/elilo.efi
timeout=45
delay=20
prompt
default=Linux
relocatable
root=/dev/xvda2
read-only

image=vmlinuz
\tlabel=Linux
\tinitrd=initrd.img
\tappend="console=hvc0 quiet"

image=/vmlinuz.old
\tlabel=LinuxOLD
\troot=/dev/xvda3
\tread-write
"""


def _build(text: str) -> Menu:
    return build(text.encode(), MenuContext("guest", None, "/elilo.conf", Devices(())))


def _only(text: str) -> BootFiles:
    (entry,) = _build(text).entries
    assert entry.files is not None
    return entry.files()


def test_debian(tmp_path: Path) -> None:
    there = {"efi/debian/vmlinuz": "k", "efi/debian/initrd.img": "i", "vmlinuz.old": "k"}
    menu, files = load_tree(tmp_path, {CONF: DEBIAN, **there})
    assert (menu.dialect, menu.path, menu.default, menu.timeout, messages(menu)) == ("elilo", f"/{CONF}", 0, 5, [])
    assert shown(menu, files) == [
        ("Linux", "/efi/debian/vmlinuz", "root=/dev/xvda2 ro console=hvc0 quiet", ("/efi/debian/initrd.img",)),
        ("LinuxOLD", "/vmlinuz.old", "root=/dev/xvda3 rw", ()),
    ]


@pytest.mark.parametrize(
    ("options", "args"),
    [
        ("", ""),
        ("root=/dev/x", "root=/dev/x"),
        ("read-only\nroot=/dev/x\nappend=a", "root=/dev/x ro a"),
        ('vmm=xen.gz\nappend="dom0_mem=1G -- console=hvc0 --b"', "console=hvc0 --b"),
        ('vmm=xen.gz\nappend="console=hvc0"', "console=hvc0"),
        ('vmm=xen.gz\nappend="dom0_mem=1G --"\nroot=/dev/x', "root=/dev/x"),
        ('root=/dev/x\nappend=a\nliteral="b c"', "b c"),
    ],
)
def test_command_line(options: str, args: str) -> None:
    assert _only(f"image=/k\n{options}\n").args == args


def test_backslashes_of_the_firmware_are_slashes() -> None:
    assert _only("image=\\efi\\linux\\k\n").kernel == "/efi/linux/k"


def test_other_systems_are_no_entries() -> None:
    menu = _build("image=/k\nlabel=a\nother=/dev/sda1\nlabel=dos\nimage=/l\nlabel=b\n")
    assert [entry.title for entry in menu.entries] == ["a", "b"]


def test_image_without_label_is_called_by_its_file() -> None:
    assert _build("image=/boot/k\n").entries[0].title == "k"


@pytest.mark.parametrize(
    ("head", "default", "timeout"),
    [
        ("", 0, None),
        ("default=b\n", 1, None),
        ("timeout=31\n", 0, 4),
        ("delay=10\n", 0, 1),
        ("timeout=0\n", 0, None),
        ("default=gone\ntimeout=x\n", 0, None),
    ],
)
def test_head(head: str, default: int, timeout: int | None) -> None:
    menu = _build(f"{head}image=/a\nlabel=a\nimage=/b\nlabel=b\n")
    assert (menu.default, menu.timeout) == (default, timeout)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo=1\n", "/elilo.conf:1:1: unknown option 'foo' is skipped"),
        ("default=x\n", "/elilo.conf:1:1: no image is labelled 'x'"),
        (" timeout = soon\n", "/elilo.conf:1:2: timeout 'soon' is not a number"),
    ],
)
def test_warning(text: str, message: str) -> None:
    assert message in messages(_build(text))


_PIECES = st.sampled_from(["image", "=", "/k", "\n", "label", "append", '"', "\\", " ", "--", "vmm", "root", "\0", "#"])


@given(pieces=st.lists(_PIECES, max_size=40))
def test_any_text_is_a_menu(pieces: list[str]) -> None:
    for entry in _build("".join(pieces)).entries:
        assert entry.files is not None
        entry.files()
