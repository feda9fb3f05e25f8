"""Type commands and keys at the real GRUB Legacy shell and read what it prints.

The program is Debian's 32-bit `grub` (0.97-80), started by the loader of libc6-i386; both are unpacked, not
installed.  Text goes in and comes out as Latin-1: to GRUB every byte is a character.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fixtures.make_images import MIB, ROOT_UUID, Link, run_tool
from fixtures.partitions import LINUX, MbrEntry, write_mbr

RULE = "-" * 67 + "\n"
BANNER = "    GNU GRUB  version 0.97"
SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True)
class Answer:
    """What one command printed, and its error number (0 for success)."""

    number: int
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Screen:
    """One drawing of the menu or of the entry editor: its numbered items and the text below them."""

    kind: str
    items: list[str]
    below: str


@dataclass(frozen=True, slots=True)
class ShownMenu:
    """What the real shell makes of a menu file; `timeout` None if it waits."""

    titles: list[str]
    commands: list[list[str]]
    default: int
    timeout: int | None
    hidden: bool
    locked: bool


def make_disk(path: Path, tree: Mapping[str, bytes | Link], size_mib: int = 16) -> Path:
    """A disk with one ext2 partition, (hd0,0), that holds the tree; a name that ends in "/" is a directory."""
    with path.open("wb") as file:
        file.truncate((size_mib + 1) * MIB)
        write_mbr(file, [MbrEntry(LINUX, MIB // SECTOR_BYTES, size_mib * MIB // SECTOR_BYTES)])
    with tempfile.TemporaryDirectory(prefix="pvboot-tree-") as folder:
        for name, content in tree.items():
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                target.mkdir(exist_ok=True)
            elif isinstance(content, Link):
                target.symlink_to(content.target)
            else:
                target.write_bytes(content)
        # 128-byte inodes and no newer feature: the real shell knows nothing else.
        run_tool(
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext2",
            "-O",
            "none,filetype,sparse_super",
            "-I",
            "128",
            "-b",
            "1024",
            "-N",
            "4096",
            "-U",
            ROOT_UUID,
            "-E",
            f"offset={MIB}",
            "-d",
            folder,
            path,
            f"{size_mib * 1024}k",
        )
    return path


class GrubShell:
    """The shell on one disk image, (hd0)."""

    def __init__(self, program: Path, image: Path) -> None:
        self._program = program
        self._image = image

    def type(self, keys: str) -> str:
        """Everything printed until the input is used up."""
        with tempfile.NamedTemporaryFile("w", prefix="pvboot-device-map-") as device_map:
            device_map.write(f"(hd0)\t{self._image}\n")
            device_map.flush()
            library = self._program / "lib32"
            done = subprocess.run(
                [
                    library / "ld-linux.so.2",
                    "--library-path",
                    library,
                    self._program / "usr/sbin/grub",
                    "--batch",
                    "--read-only",
                    f"--device-map={device_map.name}",
                ],
                input=keys.encode("latin-1"),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=60,
            )
        return done.stdout.decode("latin-1")

    def run(self, *commands: str) -> Answer:
        """The answer to the last of these commands."""
        printed = self.type("".join(f"{command}\n" for command in commands) + "quit\n")
        answers = printed.split("grub> ")[1:]
        assert len(answers) > len(commands), f"the shell died of {commands}: {printed[-300:]!r}"
        lines = answers[len(commands) - 1].split("\n")[1:]
        errors = [match for line in lines if (match := re.match(r"Error (\d+): ", line))]
        plain = [line for line in lines if line.strip() and not re.match(r"Error \d+: ", line)]
        return Answer(int(errors[0][1]) if errors else 0, plain)

    def menu(self, path: str) -> ShownMenu | None:
        """The menu behind `configfile`; None if the file gives no menu.  It must not have `timeout 0`."""
        start = f"configfile {path}\n"
        printed = self.type(start + "x\x1b")
        menus = [screen for screen in _screens(printed) if screen.kind == "menu"]
        if not menus:
            return None
        shown = menus[0]
        default = re.search(r"The selected entry is (\d+)", shown.below)
        assert default is not None
        hidden = re.search(r"Press `ESC' to enter the menu\.\.\. (\d+)", printed)
        clock = re.search(r"booted automatically in (\d+) seconds", printed)
        timeout = int(clock[1]) if clock else int(hidden[1]) + 1 if hidden else None
        count = len(shown.items)
        locked = "'p' to enter a" in shown.below
        keys = "".join("^" * count + "v" * index + "e\x1b" for index in range(count))
        screens = [] if locked else _screens(self.type(start + "x\x1b" + keys))
        commands = [screen.items for screen in screens if screen.kind == "editor"]
        return ShownMenu(shown.items, commands, int(default[1]), timeout, hidden is not None, locked)

    def booted(self, path: str) -> list[str]:
        """Titles of the entries that are tried when nobody touches a menu with `timeout 0`."""
        return re.findall(r"^  Booting '(.*)'$", self.type(f"configfile {path}\n"), re.M)


def _screens(printed: str) -> list[Screen]:
    screens = []
    for chunk in printed.split(BANNER)[1:]:
        parts = chunk.split(RULE)
        if len(parts) < 3:
            continue
        items: list[str] = []
        for line in parts[1].split("\n")[:-1]:
            match = re.match(r" ?(\d+): (.*)$", line)
            if match and int(match[1]) == len(items):
                items.append(match[2])
            elif items:
                items[-1] += "\n" + line
        below = parts[2]
        screens.append(Screen("editor" if "b' to boot" in below else "menu", items, below))
    return screens
