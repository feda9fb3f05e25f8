"""Small guests for the tests of fleets: images made at test time, and results made by hand."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pvboot.check.model import Finding, SourceError, SourceResult

GOOD_MENU = "default 0\ntimeout 5\ntitle Debian\nroot (hd0,0)\nkernel /boot/vmlinuz root=/dev/xvda1 ro console=hvc0\n"
BAD_MENU = GOOD_MENU.replace("default 0", "default 7").replace("\n", "\r\n")


def make_guest(path: Path, menu: str = GOOD_MENU) -> Path:
    """An ext2 image of 1 MiB with a menu.lst."""
    tree = path.with_suffix(".tree")
    (tree / "boot" / "grub").mkdir(parents=True)
    (tree / "boot" / "grub" / "menu.lst").write_bytes(menu.encode())
    (tree / "boot" / "vmlinuz").write_bytes(b"no kernel " * 100)
    subprocess.run(
        ["mke2fs", "-q", "-F", "-t", "ext2", "-d", str(tree), str(path), "1M"], check=True, capture_output=True
    )
    subprocess.run(["rm", "-r", str(tree)], check=True)
    return path


def make_fleet(folder: Path, count: int) -> list[str]:
    """`count` guests, every second with a bad menu; the paths as strings."""
    folder.mkdir(exist_ok=True)
    return [str(make_guest(folder / f"guest-{n:03}.img", BAD_MENU if n % 2 else GOOD_MENU)) for n in range(count)]


MENU = "(hd0,0)/boot/grub/menu.lst"

# One image with findings in its menu, one plain menu, one that could not be read; names as hostile as they come.
RESULTS = [
    SourceResult(
        "images/a b.img",
        (
            Finding("crlf-line-ends", "warning", "every line ends with CR LF", MENU, 1, 10, 11),
            Finding("default-out-of-range", "error", "default is 7, entries are 0 to 1", MENU, 1, 9, 10),
            Finding("ignore-unused", "note", "not needed </script><script>alert(1)</script>", MENU, 0, 0, 0, 1),
        ),
        None,
        (MENU,),
        {MENU: ("Debian", '<b>"Ubuntu"</b> & \x1b[31m co\udcff')},
        {(MENU, 1): "default 7 <img src=x onerror=alert(1)>"},
    ),
    SourceResult(
        "menu.lst",
        (Finding("empty-entry", "error", "the entry has no command", "menu.lst", 3, 1, 8, 0),),
        None,
        ("menu.lst",),
        {"menu.lst": ("Ä\u202e",)},
        {("menu.lst", 3): "title \u00c4"},
    ),
    SourceResult("clean.img", (), None, (MENU,), {MENU: ("Debian",)}, {}),
    SourceResult("/nowhere/<i>x</i>\udc80.img", error=SourceError("cannot open: \x07", "source-error", 3)),
]
