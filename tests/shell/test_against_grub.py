"""Commands, device names and file lookups: the same error numbers as the real GRUB Legacy shell."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.make_images import Link
from pvboot.devices import Devices
from pvboot.grub_errors import GrubError
from pvboot.shell.interpreter import run_line
from pvboot.shell.state import Console, new_shell
from pvboot.sources import open_devices
from tests.grub_oracle.shell import GrubShell, make_disk

TREE = {
    "f": b"hello\n",
    "g": b"hallo\n",
    "binary": bytes(byte for byte in range(256) if byte != ord("\t")),  # whose columns the real shell fills with blanks
    "d/inner": b"inner\n",
    "empty-dir/": b"",
    "f.gz": gzip.compress(b"zipped\n", mtime=0),
    "damaged.gz": b"\x1f\x8b\x08\0\0\0\0\0\0\0garbage" * 3,
    "short.gz": b"\x1f\x8b\x09xx",
    "wrong-method.gz": b"\x1f\x8b\x09\0\0\0\0\0\0\0" + bytes(40),
    "link": Link("f"),
    "deep-link": Link("/d/../link"),
    "dangling": Link("nowhere"),
    "loop": Link("loop"),
    "dir-link": Link("d"),
    "boot/grub/menu.lst": b"title A\nroot (hd0,0)\n",
}

# Lines that answer alike, typed after `root (hd0,0)`.
ALIKE = [
    # device names
    "root (hd0,0)",
    "root (hd0,0)x",
    "root (hd0,0) 1",
    "root (hd0,0)abc 99999999999",
    "root (,0)",
    "root (hd0,)",
    "root ()",
    "root (hd0)",
    "root (0x80,0)",
    "root (hd0x0,0x0)",
    "root (0)",
    "root (fd0)",
    "root (h0)",
    "root (hd)",
    "root (hd0,0",
    "root (hd0",
    "root hd0,0",
    "root )",
    "root /dev/xvda1",
    "root (xvda)",
    "root (sd0)",
    "root (hd0x)",
    "root (hd0,x)",
    "root (hd0,0,z)",
    "root (hd0,0,a)",
    "root (hd0,a)",
    "root (hd0,7)",
    "root (hd0,254)",
    "root (hd0,255)",
    "root (hd0,99999999999)",
    "root (hd1)",
    "root (hd1,0)",
    "root (hd7)",
    "root (hd8)",
    "root (hd0x8)",
    "root (hd99999999999)",
    "root (hd0,00)",
    "root (hd00,0)",
    "root (hd0 ,0)",
    "root (hd0,0,)",
    "root (fd0,0)",
    "root (hd0,-1)",
    "rootnoverify (hd0,5)",
    "rootnoverify (hd3)",
    "rootnoverify (hd9)",
    "rootnoverify x",
    "root =(hd0,0)",
    "root",
    # files
    "cat /f",
    "cat=/f",
    "cat = /f",
    "  cat /f",
    "cat /f extra",
    "cat (hd0,0)/f",
    "cat (hd0,7)/f",
    "cat (hd1,0)/f",
    "cat (hd0)/f",
    "cat f",
    "cat",
    "cat (hd0,0)",
    "cat /nope",
    "cat /nope/x",
    "cat /f/x",
    "cat /f/",
    "cat /d",
    "cat /d/",
    "cat /",
    "cat //f",
    "cat /./f",
    "cat /d/../f",
    "cat /d/..",
    "cat /d//inner",
    "cat /f=x",
    "cat /F",
    "cat /link",
    "cat /deep-link",
    "cat /dangling",
    "cat /loop",
    "cat /dir-link/inner",
    "cat /dir-link",
    "cat /empty-dir",
    "cat /empty-dir/x",
    "cat /binary",
    "cat /f.gz",
    "cat /damaged.gz",
    "cat /short.gz",
    "cat /wrong-method.gz",
    "CAT /f",
    # block lists
    "cat +1",
    "cat 0+1",
    "cat 0x0+0x1",
    "cat +1,5",
    "cat 0+1,1+1",
    "cat (hd0)+1",
    "cat (hd0)0+1,9",
    "cat 5",
    "cat 0+",
    "cat +0",
    "cat +1,",
    "cat +1,0",
    "cat +1,513",
    "cat +1x",
    "cat 1 +1",
    "cat +",
    "cat 99999999+1",
    "cat (hd1)+1",
    # looking
    "find /f",
    "find /d/inner",
    "find /nope",
    "find f",
    "find /d",
    "find",
    "find /f.gz",
    "find /damaged.gz",
    "cmp /f /f",
    "cmp /f /link",
    "cmp /f",
    "cmp",
    "cmp /f /nope",
    "cmp /f /binary",
    "cmp /f /g",
    "cmp /f.gz /f",
    "blocklist /nope",
    "blocklist",
    "blocklist /d",
    "geometry (hd1)",
    "geometry",
    "geometry (hd8)",
    # loading
    "kernel",
    "kernel --type=foo /f",
    "kernel --type=linux",
    "kernel --no-mem-option",
    "kernel /d",
    "kernel /nope",
    "kernel (hd0,0)/nope",
    "kernel (hd0,9)/f",
    "initrd /f",
    "initrd",
    "module /f",
    "module",
    "modulenounzip /f",
    "boot",
    "configfile /nope",
    "configfile",
    "configfile /d",
    "chainloader /f",
    "chainloader",
    "chainloader /nope",
    # settings
    "color red/black",
    "color light-gray/blue black/light-gray",
    "color blink-red/blue",
    "color 7",
    "color 0x7",
    "color 7 8",
    "color a/b",
    "color red",
    "color",
    "color red/yellow",
    "color red/black x",
    "pager on",
    "pager off",
    "pager",
    "pager foo",
    "terminal foo",
    "lock",
    "print hello",
    "help nothing",
    "help boot",
    "clear",
    # words
    "default 1",
    "fallback 1",
    "timeout 1",
    "hiddenmenu",
    "title x",
    "foo",
    "Root (hd0,0)",
    "=root",
    "# x",
    "uname",
    "root(hd0,0)",
]

PRINTED_ALIKE = [
    "cat /f",
    "cat /binary",
    "cat /f.gz",
    "cat /deep-link",
    "find /f",
    "find /d/inner",
    "cmp /f /g",
    "cmp /f /binary",
    "cmp /f.gz /f",
    "cmp /f /f",
    "blocklist /f",
    "blocklist /binary",
    "print a  b ",
]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_disk(tmp_path_factory.mktemp("shell") / "disk.img", TREE, size_mib=4)


@pytest.fixture(scope="module")
def grub(disk: Path, parts: Callable[[str], Path]) -> GrubShell:
    return GrubShell(parts("grub-legacy") / "root", disk)


@pytest.fixture(scope="module")
def devices(disk: Path) -> Devices:
    return open_devices(str(disk))


def _ours(devices: Devices, *lines: str) -> tuple[int, list[str]]:
    """Error number and printed lines of the last of these lines."""
    printed: list[str] = []
    shell = new_shell(devices, None, console=Console(printed.append))
    number = 0
    for line in lines:
        printed.clear()
        number = 0
        try:
            run_line(shell, line)
        except GrubError as err:
            number = err.number
    return number, [line for line in "".join(printed).split("\n") if line.strip()]


@pytest.mark.parametrize("line", ALIKE)
def test_error_number(grub: GrubShell, devices: Devices, line: str) -> None:
    assert _ours(devices, "root (hd0,0)", line)[0] == grub.run("root (hd0,0)", line).number


@pytest.mark.parametrize("line", PRINTED_ALIKE)
def test_what_is_printed(grub: GrubShell, devices: Devices, line: str) -> None:
    assert _ours(devices, "root (hd0,0)", line)[1] == grub.run("root (hd0,0)", line).lines


@pytest.mark.parametrize("root", ["(hd0)", "(hd0,0)", "(,0)", "()"])
@pytest.mark.parametrize("path", ["(,0)/f", "(hd0,)/f", "()+1", "/f"])
def test_what_root_leaves_to_later_names(grub: GrubShell, devices: Devices, root: str, path: str) -> None:
    lines = ("root (hd0,0)", f"root {root}", f"cat {path}")
    assert _ours(devices, *lines)[0] == grub.run(*lines).number
