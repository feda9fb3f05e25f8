"""Ask the real GRUB 2 (Debian's grub-emu 2.06) what a grub.cfg says.

grub-emu has no loaders, so `linux`, `initrd` and the like are given to it as script functions which print their
arguments; `menuentry` and `submenu` become functions that print the title and keep the body.  Lexer, variables,
control flow, `test`, `search` on real images, `load_env` and `source` are GRUB's own.  The body of an entry runs in
a process of its own behind the whole file, as when it is chosen.

Not as in a booted GRUB: submenus run in the context of the file, `configfile` acts as `source`.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.make_images import MIB, run_tool
from fixtures.partitions import LINUX, MbrEntry, write_mbr

SECTOR_BYTES = 512
PART_MIB = 4

_START = r"(^[ \t]*|[;{][ \t]*|\bthen[ \t]+|\belse[ \t]+|\bdo[ \t]+)"
_END = r"(?=[\s\"'{;]|$)"
_RENAMED = ("menuentry", "submenu", "exit", "reboot", "halt", "boot", "configfile")
_SILENT = (
    "terminal_input",
    "terminal_output",
    "background_image",
    "background_color",
    "clear",
    "play",
    "sleep",
    "read",
    "save_env",
)
_PRINTED = (
    "linux",
    "linux16",
    "linuxefi",
    "initrd",
    "initrd16",
    "initrdefi",
    "multiboot",
    "multiboot2",
    "module",
    "module2",
    "chainloader",
)
_VARIABLES = ("default", "timeout", "fallback", "timeout_style", "root", "superusers", "result")

_PRINT = r"""
function pvx_p {
  set pvx_s="$2"
  while regexp --set 1:pvx_h --set 2:pvx_r '^(.{50})(.+)$' -- "$pvx_s"; do
    echo "@@+|$pvx_h@@"
    set pvx_s="$pvx_r"
  done
  echo "@@$1|$pvx_s@@"
}
"""
_CALL = r"""
function %s {
  pvx_p C "%s"
  pvx_p R "$root"
  for pvx_a in "$@"; do
    pvx_p A "$pvx_a"
  done
  pvx_p E ""
}
"""
_MENU = r"""
function pvx_menuentry {
  set pvx_n="${pvx_n}x"
  pvx_p M "$1"
  set pvx_t="$1"
  shift
  while [ $# -gt 1 ]; do
    pvx_p O "$1"
    shift
  done
  if [ "$pvx_n" = "$pvx_pick" ]; then
    set pvx_body="$1"
    set pvx_title="$pvx_t"
  fi
}
function pvx_submenu {
  pvx_p S "$1"
  shift
  while [ $# -gt 1 ]; do
    pvx_p O "$1"
    shift
  done
  regexp --set 1:pvx_sb '^\{(.*)\}$' -- "$1"
  eval "$pvx_sb"
  pvx_p X ""
}
function pvx_run {
  eval "$pvx_body2"
}
"""
_LINE = re.compile(r"@@\+\|(.*)@@\n|@@([A-Z])\|((?:.|\n)*?)@@\n|@@V(\w+)\|((?:.|\n)*?)@@\n")
# grub-emu shows how a file is being read, in the middle of everything.
_PROGRESS = re.compile(r"[ \t]*\[ [^\[\]\n]*\d+% [^\[\]\n]*/s \]")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_OPTIONS_WITH_VALUE = ("--class", "--users", "--hotkey", "--source", "--id")


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk: an MBR and one ext2 partition."""

    tree: Mapping[str, bytes]
    uuid: str | None = None
    label: str | None = None


@dataclass(slots=True)
class Call:
    """A loader command: its name, the root at that time, its words."""

    name: str
    root: str
    words: list[str] = field(default_factory=list)


@dataclass(slots=True)
class EmuEntry:
    """`submenu` holds the titles around it, `options` all words between title and body."""

    title: str
    submenu: tuple[str, ...]
    options: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def split_options(self) -> tuple[str | None, list[str]]:
        """The id, and the words that are no options."""
        found: str | None = None
        words: list[str] = []
        rest = list(self.options)
        while rest:
            word = rest.pop(0)
            if word == "--id":
                found = rest.pop(0) if rest else None
            elif word.startswith("--id="):
                found = word[5:]
            elif word in _OPTIONS_WITH_VALUE:
                rest[:1] = []
            elif not word.startswith("--"):
                words.append(word)
        return found, words


@dataclass(slots=True)
class EmuMenu:
    """What the real GRUB says: entries in order, and variables at the end of the file."""

    entries: list[EmuEntry]
    variables: dict[str, str]


def make_emu_disk(path: Path, disk: Disk, *, transformed: bool) -> Path:
    """An image of the disk; `transformed` prepares its scripts for grub-emu, whose `save_env` writes."""
    with path.open("wb") as file:
        file.truncate((PART_MIB + 1) * MIB)
        write_mbr(file, [MbrEntry(LINUX, MIB // SECTOR_BYTES, PART_MIB * MIB // SECTOR_BYTES)])
    with tempfile.TemporaryDirectory(prefix="pvboot-tree-") as folder:
        for name, content in disk.tree.items():
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(transform(content) if transformed and name.endswith(".cfg") else content)
        extra = [*(("-U", disk.uuid) if disk.uuid else ()), *(("-L", disk.label) if disk.label else ())]
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
            *extra,
            "-E",
            f"offset={MIB}",
            "-d",
            folder,
            path,
            f"{PART_MIB * 1024}k",
        )
    return path


def transform(content: bytes) -> bytes:
    """Rename the commands that grub-emu would run itself; keep `\\xHH` as Fedora's GRUB does."""
    text = content.decode("utf-8", "surrogateescape")
    for name in _RENAMED:
        text = re.sub(_START + name + _END, rf"\1pvx_{name}", text, flags=re.MULTILINE)
    for name in _SILENT:
        text = re.sub(_START + name + _END, r"\1true", text, flags=re.MULTILINE)
    text = re.sub(r"^[ \t]*set pager=1[ \t]*$", "true", text, flags=re.MULTILINE)
    text = re.sub(r"\\(x[0-9a-fA-F]{2})", r"\\\\\1", text)
    return text.encode("utf-8", "surrogateescape")


class GrubEmu:
    """grub-emu on the disks of one guest; `config` is the path of its menu on the first disk."""

    def __init__(self, program: Path, folder: Path, disks: Sequence[Disk], config: str = "/boot/grub/grub.cfg") -> None:
        self._program = program
        self._config = config
        self._folder = folder
        (folder / "start").mkdir(exist_ok=True)
        images = [make_emu_disk(folder / f"emu{n}.img", disk, transformed=True) for n, disk in enumerate(disks)]
        lines = [f"(hd{number}) {image}\n" for number, image in enumerate(images)]
        (folder / "device.map").write_text("".join(lines))

    def menu(self) -> EmuMenu:
        """Read the menu, then run every entry."""
        menu = _read(self._run(0, []))
        for number, entry in enumerate(menu.entries, 1):
            printed = self._run(number, entry.split_options()[1])
            body = printed.partition("@@Q|@@\n")[2]
            entry.calls = _calls(body)
        return menu

    def _run(self, pick: int, words: Sequence[str]) -> str:
        start = self._folder / "start"
        script = self._script(pick, words)
        (start / "grub.cfg").write_bytes(script.encode("utf-8", "surrogateescape"))
        done = subprocess.run(
            [self._program / "root/usr/bin/grub-emu", "-d", start, "-m", self._folder / "device.map"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            env={**os.environ, "LD_LIBRARY_PATH": str(self._program / "stub"), "TERM": "dumb"},
        )
        printed = _ESCAPES.sub("", done.stdout.decode("utf-8", "surrogateescape")).replace("\r", "")
        assert "@@Z|@@" in printed, printed[-600:]
        return _PROGRESS.sub("", printed)

    def _script(self, pick: int, words: Sequence[str]) -> str:
        parts = [_PRINT, *(_CALL % (name, name) for name in _PRINTED), _MENU]
        parts += [_CALL % (f"pvx_{name}", name) for name in ("exit", "reboot", "halt", "boot")]
        parts.append('function pvx_configfile { source "$1"; }\n')
        prefix = self._config.rpartition("/")[0]
        parts.append(
            f"set pvx_n=\nset pvx_pick={'x' * pick}\nset grub_platform=xen\nset root=hd0,msdos1\n"
            f"set prefix=(hd0,msdos1){prefix}\nsource '(hd0,msdos1){self._config}'\n"
        )
        parts += [f'pvx_p "V{name}" "${name}"\n' for name in _VARIABLES]
        if pick:
            quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
            parts.append(
                "regexp --set 1:pvx_body2 '^\\{(.*)\\}$' \"$pvx_body\"\n"
                f'echo "@@Q|@@"\npvx_run "$pvx_title" {quoted}\n'
            )
        return "".join(parts) + 'echo "@@Z|@@"\nexit\n'


def _items(printed: str) -> list[tuple[str, str]]:
    """The marked lines; long texts come in pieces, because the screen has 80 columns."""
    found: list[tuple[str, str]] = []
    pending = ""
    for match in _LINE.finditer(printed):
        if match[1] is not None:
            pending += match[1]
        elif match[2]:
            found.append((match[2], pending + match[3]))
            pending = ""
        else:
            found.append((f"V{match[4]}", pending + match[5]))
            pending = ""
    return found


def _read(printed: str) -> EmuMenu:
    menu = EmuMenu([], {})
    submenus: list[str] = []
    options: list[str] = []
    for tag, text in _items(printed):
        if tag == "M":
            menu.entries.append(EmuEntry(text, tuple(submenus)))
            options = menu.entries[-1].options
        elif tag == "S":
            submenus.append(text)
            options = []
        elif tag == "O":
            options.append(text)
        elif tag == "X":
            submenus.pop()
        elif tag.startswith("V"):
            menu.variables[tag[1:]] = text
    return menu


def _calls(printed: str) -> list[Call]:
    calls: list[Call] = []
    for tag, text in _items(printed):
        if tag == "C":
            calls.append(Call(text, ""))
        elif tag == "R" and calls:
            calls[-1].root = text
        elif tag == "A" and calls:
            calls[-1].words.append(text)
    return calls
