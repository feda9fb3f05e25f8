"""TAB at the prompt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pvboot.grub_errors import GrubError
from pvboot.shell.completion import NAMES_LISTED, complete
from pvboot.shell.state import Shell, new_shell
from pvboot.sources import open_devices


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    for name in ("a/boot/vmlinuz-1", "a/boot/vmlinuz-2", "a/boot/initrd", "b/other"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "a/many").mkdir()
    for number in range(NAMES_LISTED + 50):
        (tmp_path / f"a/many/n{number:04}").touch()
    return new_shell(open_devices(str(tmp_path / "a"), [str(tmp_path / "b")]), None)


@pytest.mark.parametrize(
    ("line", "insert", "listing"),
    [
        ("kern", "el ", ""),
        ("  kern", "el ", ""),
        ("title", "", ""),  # unusable at the prompt
        ("nosuch", "", ""),
        ("roo", "t", "Possible commands are:  root  rootnoverify"),
        ("kernel /bo", "ot/", ""),
        ("kernel=/bo", "ot/", ""),
        ("kernel --type=linux /bo", "ot/", ""),
        ("kernel /boot/v", "mlinuz-", "Possible files are:  vmlinuz-1  vmlinuz-2"),
        ("kernel /boot/vmlinuz-1", " ", ""),
        ("kernel /boot/i", "nitrd ", ""),
        ("kernel /boot/none", "", ""),
        ("kernel (", "hd", "Possible disks are:  hd0  hd1"),
        ("kernel (hd1", ")", ""),
        ("kernel (hd1)", "/", ""),
        ("kernel (hd1)/", "other ", ""),
        ("kernel (hd7", "", ""),
        ("kernel rel", "", ""),
        ("kernel --t", "ype=", ""),
        ("pager o", "", "Possible words are:  off  on"),
        ("savedefault fa", "llback ", ""),
    ],
)
def test_completion(shell: Shell, line: str, insert: str, listing: str) -> None:
    found = complete(shell, line)
    assert (found.insert, found.listing) == (insert, listing)


def test_partitions_are_listed_with_their_file_systems(images: Callable[[str], Path]) -> None:
    with open_devices(str(images("mbr.img"))) as devices:
        shell = new_shell(devices, None)
        assert complete(shell, "root (").insert == "hd0,"
        listing = complete(shell, "root (hd0,").listing
        inserted = complete(shell, "root (hd0,0").insert
    assert "partition 0: Filesystem type is" in listing
    assert inserted == ")"


def test_a_long_listing_is_cut(shell: Shell) -> None:
    found = complete(shell, "cat /many/")
    assert found.insert == "n0"
    assert found.listing.endswith("n0199  ... 50 more")


@pytest.mark.parametrize("line", ["kernel /none/x", "root (hd5,", "root (xx,", "cat (hd9)/"])
def test_what_cannot_be_read_says_why(shell: Shell, line: str) -> None:
    with pytest.raises(GrubError):
        complete(shell, line)
