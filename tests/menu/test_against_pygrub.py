"""pygrub's own reader of extlinux configurations beside ours: equal where it is right, different where we know why."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvboot.devices import Devices
from pvboot.menu.dialects import MenuContext
from pvboot.menu.extlinux import build

READER = """
import json, logging, sys
logging.disable()
sys.path.insert(0, sys.argv[1])
from grub.ExtLinuxConf import ExtLinuxConfigFile
answers = []
for text in json.load(sys.stdin):
    reader = ExtLinuxConfigFile()
    reader.filename = "/extlinux.conf"
    try:
        reader.parse(text)
        answers.append([reader.default, [
            [image.title, image.kernel and image.kernel[1], image.args or "", image.initrd and image.initrd[1]]
            for image in reader.images]])
    except Exception as err:
        answers.append(repr(err))
json.dump(answers, sys.stdout)
"""

Answer = Any  # [default, [[title, kernel, args, initrd], ...]], or a text if pygrub's reader failed


@pytest.fixture(scope="module")
def pygrub(parts: Callable[[str], Path]) -> Callable[[list[str]], list[Answer]]:
    """What pygrub's reader makes of some texts."""
    library = parts("pygrub") / "root/usr/lib/xen-4.17/lib/python"

    def read(texts: list[str]) -> list[Answer]:
        command = [sys.executable, "-B", "-c", READER, str(library)]
        done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
        return list(json.loads(done.stdout))

    return read


def _ours(text: str) -> Answer:
    menu = build(text.encode(), MenuContext("guest", None, "/extlinux.conf", Devices(())))
    entries = []
    for entry in menu.entries:
        assert entry.files is not None
        files = entry.files()
        entries.append([entry.id, files.kernel, files.args, ",".join(files.initrds) or None])
    return [menu.default, entries]


def _random_text(seed: int) -> str:
    """A configuration within what pygrub understands: KERNEL before APPEND, paths from the root, DEFAULT first."""
    dice = random.Random(seed)

    def word(text: str) -> str:
        return dice.choice([text.lower(), text, text.title()])

    labels = [dice.choice(["linux", "old", "xen", "rescue-{}", "l{}", "A b {}"]).format(n) for n in range(9)]
    labels = list(dict.fromkeys(labels))[: dice.randrange(1, 6)]
    lines = [f"{word('DEFAULT')} {dice.choice([*labels, 'gone'])}"] if dice.random() < 0.8 else []
    lines += dice.sample(["PROMPT 1", "# remark", "", "DISPLAY boot.msg", "SERIAL 0 115200", "F1 help.txt"], 3)
    for label in labels:
        indent = dice.choice(["", "\t", "  "])
        lines.append(f"{word('LABEL')} {label}")
        args = dice.sample(
            ["root=/dev/xvda1", "ro", "quiet", "console=hvc0", 'x="a b"', "a=b=c", "--", "#x"], dice.randrange(5)
        )
        if dice.random() < 0.3:
            parts = [" ".join(["/boot/vmlinuz", *args]), "/boot/initrd.img"]
            if dice.random() < 0.7:
                parts.insert(0, "/boot/xen.gz dom0_mem=512M")
            lines.append(f"{indent}{word('KERNEL')} /boot/{dice.choice(['', 'syslinux/'])}mboot.c32")
            lines.append(f"{indent}{word('APPEND')} {' --- '.join(parts)}")
            continue
        if dice.random() < 0.6:
            args.insert(dice.randrange(len(args) + 1), f"initrd=/boot/initrd-{dice.randrange(9)}.img")
        if dice.random() < 0.2:
            lines.append(f"{indent}{word('KERNEL')} /boot/vmlinuz a  b")
        else:
            lines.append(f"{indent}{word('KERNEL')}{dice.choice([' ', '  ', chr(9)])}/boot/vmlinuz-{dice.randrange(9)}")
        if args:
            lines.append(f"{indent}{word('APPEND')} {dice.choice([' ', '  ']).join(args)}{dice.choice(['', ' '])}")
    return dice.choice(["\n", "\n", "\r\n"]).join(lines) + "\n"


def test_random_configurations(pygrub: Callable[[list[str]], list[Answer]]) -> None:
    texts = [_random_text(seed) for seed in range(500)]
    for text, theirs in zip(texts, pygrub(texts), strict=True):
        assert _ours(text) == theirs, text


KNOWN_DIFFERENCES = {
    "INITRD is not known to pygrub": (
        "LABEL a\nKERNEL /k\nINITRD /i\n",
        [0, [["a", "/k", "", None]]],
        [0, [["a", "/k", "", "/i"]]],
    ),
    "LINUX is not known to pygrub": (
        "LABEL a\nLINUX /k\nAPPEND x\n",
        [0, [["a", None, "x", None]]],
        [0, [["a", "/k", "x", None]]],
    ),
    "global APPEND": ("APPEND g\nLABEL a\nKERNEL /k\n", [0, [["a", "/k", "", None]]], [0, [["a", "/k", "g", None]]]),
    "APPEND -": ("LABEL a\nKERNEL /k\nAPPEND -\n", [0, [["a", "/k", "-", None]]], [0, [["a", "/k", "", None]]]),
    "APPEND before KERNEL is lost": (
        "LABEL a\nAPPEND x\nKERNEL /k\n",
        [0, [["a", "/k", "", None]]],
        [0, [["a", "/k", "x", None]]],
    ),
    "DEFAULT behind the labels": (
        "LABEL a\nKERNEL /a\nLABEL b\nKERNEL /b\nDEFAULT b\n",
        [0, [["a", "/a", "", None], ["b", "/b", "", None]]],
        [1, [["a", "/a", "", None], ["b", "/b", "", None]]],
    ),
    "MENU DEFAULT": (
        "LABEL a\nKERNEL /a\nLABEL b\nMENU DEFAULT\nKERNEL /b\n",
        [0, [["a", "/a", "", None], ["b", "/b", "", None]]],
        [1, [["a", "/a", "", None], ["b", "/b", "", None]]],
    ),
    "Xen and a kernel without a ramdisk": (
        "LABEL a\nKERNEL mboot.c32\nAPPEND /xen.gz --- /k x\n",
        [0, [["a", "/xen.gz", "", "/k x"]]],
        [0, [["a", "/k", "x", None]]],
    ),
    "help text": (
        "LABEL a\nKERNEL /k\nTEXT HELP\nlabel it well\nENDTEXT\n",
        [0, [["a", "/k", "", None], ["it well", None, "", None]]],
        [0, [["a", "/k", "", None]]],
    ),
    "relative path": ("LABEL a\nKERNEL k\n", [0, [["a", "k", "", None]]], [0, [["a", "/k", "", None]]]),
}


@pytest.mark.parametrize("name", KNOWN_DIFFERENCES)
def test_known_difference(pygrub: Callable[[list[str]], list[Answer]], name: str) -> None:
    text, theirs, ours = KNOWN_DIFFERENCES[name]
    assert pygrub([text]) == [theirs]
    assert _ours(text) == ours
