"""TAB at the prompt: command names, the words and options of a command, devices, partitions and file names.

Source of the rules: GRUB 0.97, stage2/builtins.c and disk_io.c (print_completions): one match is inserted with what
must follow it, several give their common part and a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from fsdrivers import errors as fs_errors
from fsdrivers.light import dataclass
from grammars.commands import literals
from pvboot.device_names import Device, read_device
from pvboot.devices import translate
from pvboot.shell import interpreter as _interpreter  # noqa: F401  (enters the commands into the table)
from pvboot.shell.describe import describe_volume
from pvboot.shell.state import Shell
from pvboot.shell.table import COMMANDS

NAMES_READ = 100_000  # of a directory: a hostile one has no end
NAMES_LISTED = 200


@dataclass(frozen=True, slots=True)
class Completion:
    """`insert` goes in at the cursor; `listing` is to be shown, "" if there is nothing to say."""

    insert: str = ""
    listing: str = ""


@dataclass(frozen=True, slots=True)
class _Match:
    """`text` completes the word, `after` follows if it is the only one, `shown` stands in the list."""

    text: str
    after: str
    shown: str


def complete(shell: Shell, line: str) -> Completion:
    """Complete `line`, the text up to the cursor, as TAB does.  Raises `GrubError` if a device cannot be read."""
    line = line.lstrip(" ")
    command = re.split("[ =]", line, maxsplit=1)[0]
    if command == line:
        return _completion("commands", command, _commands(command))
    word = line[len(command) + 1 :].rpartition(" ")[2]
    if word.startswith("(") and ")" not in word:
        if "," in word:
            return _completion("partitions", word, _partitions(shell, word))
        return _completion("disks", word, _disks(shell, word))
    words = [literal for literal in literals(command) if word and literal.startswith(word)]
    if words:
        return _completion("words", word, (_Match(text, "" if text.endswith("=") else " ", text) for text in words))
    try:
        name = word.rpartition("/")[2] if "/" in word else ""
        return _completion("files", name, _files(shell, word))
    except fs_errors.FsError as err:
        raise translate(err) from err


def _completion(kind: str, word: str, found: Iterable[_Match]) -> Completion:
    matches = sorted(found, key=lambda match: match.text)
    if not matches:
        return Completion()
    if len(matches) == 1:
        return Completion(matches[0].text[len(word) :] + matches[0].after)
    shown = [match.shown for match in matches[:NAMES_LISTED]]
    more = [f"... {len(matches) - NAMES_LISTED} more"] if len(matches) > NAMES_LISTED else []
    separator = "\n  " if kind == "partitions" else "  "
    listing = f"Possible {kind} are:{separator}{separator.join((*shown, *more))}"
    return Completion(_common(matches[0].text, matches[-1].text)[len(word) :], listing)


def _common(first: str, last: str) -> str:
    """The common start of all texts: that of the first and the last when sorted."""
    length = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:length]


def _commands(word: str) -> Iterator[_Match]:
    for info in COMMANDS.values():
        if info.entry and info.name.startswith(word):
            yield _Match(info.name, " ", info.name)


def _disks(shell: Shell, word: str) -> Iterator[_Match]:
    for drive, disk in enumerate(shell.devices.disks):
        name = f"(hd{drive}"
        if name.startswith(word):
            parted = disk.filesystem is None and any(
                device.drive == drive and device.partition is not None for device in shell.devices.candidates()
            )
            yield _Match(name, "," if parted else ")", f"{name[1:]}")


def _partitions(shell: Shell, word: str) -> Iterator[_Match]:
    drive = read_device(word.partition(",")[0] + ")", shell.root)[0]
    shell.devices.locate(drive)
    for device in shell.devices.candidates():
        text = f"{word.partition(',')[0]},{device.partition}"
        if device.drive == drive.drive and device.partition is not None and text.startswith(word):
            about = describe_volume(shell.devices, Device("hd", device.drive, device.partition))
            yield _Match(text, ")", f"partition {device.partition}:{about}")


def _files(shell: Shell, word: str) -> Iterator[_Match]:
    device, path = read_device(word, shell.root) if word.startswith("(") else (shell.need_root(), word)
    if not path.startswith("/"):
        if not path:
            yield _Match("/", "", "/")
        return
    folder, _slash, start = path.rpartition("/")
    filesystem = shell.devices.filesystem(device)
    names = islice(filesystem.names(folder or "/"), NAMES_READ)
    matches = [name for name in names if name.startswith(start)]
    for name in matches:
        yield _Match(name, _after(filesystem.lookup(f"{folder}/{name}").kind) if len(matches) == 1 else "", name)


def _after(kind: str) -> str:
    return "/" if kind == "dir" else " "
