"""Guests made of a few files in a directory, and what their menus would load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pvboot.menu import Menu, find, load
from pvboot.menu.model import BootFiles
from pvboot.sources import open_devices


def plant(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write the files (path below `root` -> content)."""
    for name, content in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def load_tree(root: Path, files: Mapping[str, str | bytes], config: str | None = None) -> tuple[Menu, list[BootFiles]]:
    """The menu that is found, and what each entry loads."""
    with open_devices(str(plant(root, files))) as devices:
        menu = load(devices, find(devices, config))
        return menu, [entry.files() if entry.files else BootFiles(None) for entry in menu.entries]


def shown(menu: Menu, files: list[BootFiles]) -> list[tuple[str, str | None, str, tuple[str, ...]]]:
    """Title, kernel, arguments and ramdisks of each entry."""
    return [
        (entry.title, file.kernel, file.args, file.initrds) for entry, file in zip(menu.entries, files, strict=True)
    ]


def messages(menu: Menu) -> list[str]:
    """The warnings as a user sees them."""
    return [str(warning) for warning in menu.warnings]
