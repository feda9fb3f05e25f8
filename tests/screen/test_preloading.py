"""A process that may not open files any more can still show the menu, edit, and run the prompt's commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests import REPOSITORY

SCRIPT = """
import os, pty, sys
from importlib import import_module
from pvboot.sources import open_devices
from pvboot.menu import find, load
from pvboot.screen import SCREEN_MODULES, choose

devices = open_devices(sys.argv[1])
menu = load(devices, find(devices))
for name in SCREEN_MODULES:
    import_module(name)
before = set(sys.modules)
master, slave = pty.openpty()
os.write(master, b"xc" + b"help\\rroot (\\t\\x15cat (hd0)0+1\\rfind /boot/tiny64.elf\\rcat /none\\rnonsense\\r\\x1b")
os.write(master, b"ee x\\rb")
with os.fdopen(slave, "r") as stdin, os.fdopen(os.dup(slave), "w") as stdout:
    choice = choose(menu, devices, stdin, stdout, term="vt100")
print(choice.lines, sorted(set(sys.modules) - before))
"""


def test_nothing_is_imported_later(images: Callable[[str], Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(images("mbr.img"))],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines, _comma, imported = done.stdout.strip().rpartition(") ")
    assert " x'" in lines
    assert imported == "[]"
