"""Menus as distributions, installers and images for clouds write them: one guest in each directory of `tests/data`.

The files lie at their real paths.  `expect.json` holds what `pvboot menu --json` says of an image made of them (less
`source` and a leading number of bytes), and:

- `check`: what the checker finds in that image, by rule, and `menu` what it finds in the menu file alone;
- `boots`: the loaders for which it finds no error, with every kernel and ramdisk in place;
- `second_disk`: whether the guest has a second disk, with the same files and the UUID `BOOT_UUID`;
- `partitions`: the number of the guest's partition, and how many there are (none: a file system over the whole disk).

`python -m tests.distributions` writes what is observed; read the difference before it is committed.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from fixtures.partitions import LINUX, MbrEntry, write_mbr
from pvboot.check.engine import check_source
from pvboot.check.loaders import LOADERS
from pvboot.check.model import SEVERITIES, CheckOptions, SourceResult, Target
from pvboot.cli.main import main
from tests import REPOSITORY
from tests.check.guests import linux, make_ext, plant
from tests.check.test_initrd import newc

DATA = REPOSITORY / "tests" / "data"
EXPECT = "expect.json"
ROOT_UUID = "6c1f8a54-6c0c-4f4c-9a83-51d7b1a9f3d0"
BOOT_UUID = "f2b1c8a0-1f3d-4e55-8d3e-0c9a7b6d5e4f"
XEN = (4, 17)
MEMORY_MIB = 256
DISK_BYTES = 8 << 20
VERSION = "6.1.0-50-amd64"
DRIVER = f"lib/modules/{VERSION}/kernel/drivers/block/xen-blkfront.ko"
KERNEL = linux(VERSION)
INITRD = gzip.compress(newc({"init": b"#!/bin/sh", DRIVER: b"ko"}), mtime=0)


def environment(**values: str) -> bytes:
    """A grubenv of the usual kilobyte."""
    lines = "".join(f"{name}={value}\n" for name, value in values.items())
    return (b"# GRUB Environment Block\n" + lines.encode()).ljust(1024, b"#")


@dataclass(frozen=True)
class Distribution:
    """One guest; a guest that boots also has the kernels and ramdisks that `expect` names."""

    name: str

    @property
    def folder(self) -> Path:
        return DATA / self.name

    @cached_property
    def expect(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / EXPECT).read_text()))

    @cached_property
    def files(self) -> dict[str, bytes]:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths if path.name != EXPECT}

    @property
    def dialect(self) -> str:
        return str(self.expect["menu"]["dialect"])

    @property
    def menu(self) -> Path:
        """The menu file, or the directory of entries."""
        return self.folder / str(self.expect["menu"]["path"]).lstrip("/")

    @property
    def text(self) -> str:
        """The menu file's text."""
        return self.menu.read_text()

    def tree(self) -> dict[str, bytes]:
        """All files, with stand-ins for kernels and ramdisks."""
        return {**self.files, **_stand_ins(self.expect["entries"])}


def _stand_ins(entries: list[Mapping[str, Any]]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for entry in entries:
        kernels = [entry["kernel"]] if entry["kernel"] else []
        loaded = [module["path"] for module in entry["modules"]]
        if kernels and loaded and not entry["initrds"]:  # Xen, Linux, ramdisk
            kernels.append(loaded.pop(0))
        files |= {path.lstrip("/"): INITRD for path in loaded}
        files |= {path.lstrip("/"): KERNEL for path in kernels}
    return files


@cache
def distributions(dialect: str | None = None) -> dict[str, Distribution]:
    """All of them by name, or those of one dialect."""
    found = {folder.name: Distribution(folder.name) for folder in sorted(DATA.iterdir()) if folder.is_dir()}
    return {name: guest for name, guest in found.items() if dialect is None or guest.dialect == dialect}


def make_disks(folder: Path, tree: Mapping[str, bytes], expect: Mapping[str, Any]) -> tuple[str, ...]:
    """Images of a guest, with file systems that every loader can read."""
    source = plant(folder / "tree", tree)
    images = []
    for uuid in (ROOT_UUID, BOOT_UUID)[: 1 + expect.get("second_disk", False)]:
        image, offset = folder / f"{uuid}.img", 0
        if "partitions" in expect:
            number, count = expect["partitions"]
            sectors = DISK_BYTES // 512
            with open(image, "wb") as disk:
                disk.truncate((count + 1) * DISK_BYTES)
                write_mbr(disk, [MbrEntry(LINUX, sectors * part, sectors) for part in range(1, count + 1)])
            offset = number * DISK_BYTES
        options = ("-U", uuid, "-O", "^64bit", "-E", f"offset={offset}")
        images.append(str(make_ext(image, source, *options, size=f"{DISK_BYTES >> 10}k")))
    return tuple(images)


def menu_of(disks: tuple[str, ...]) -> dict[str, Any]:
    """What `pvboot menu --json` prints, less the name of the image."""
    more = [word for disk in disks[1:] for word in ("--disk", disk)]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        main(["menu", "--json", disks[0], *more])
    document: dict[str, Any] = json.loads(printed.getvalue())
    del document["source"]
    return document


def rules_of(result: SourceResult) -> dict[str, str]:
    """Rule -> the gravest severity at which it was found."""
    assert result.error is None, result.error
    mildest_first = sorted(result.findings, key=lambda finding: -SEVERITIES.index(finding.severity))
    return dict(sorted({finding.rule: finding.severity for finding in mildest_first}.items()))


def check_of(disks: tuple[str, ...], loader: str | None = None) -> dict[str, str]:
    """What the checker finds in a guest, for a loader on Xen 4.17."""
    target = Target(XEN, loader) if loader else Target()
    return rules_of(check_source(disks[0], CheckOptions(disks[1:], target=target, memory_mib=MEMORY_MIB)))


def menu_check_of(menu: Path) -> dict[str, str]:
    """What the checker finds in a menu file alone, nothing for a directory of entries."""
    return rules_of(check_source(str(menu))) if menu.is_file() else {}


def boots(disks: tuple[str, ...], loader: str) -> bool:
    """Whether the checker finds no error for a loader."""
    return "error" not in check_of(disks, loader).values()


def _observe(guest: Distribution, folder: Path) -> dict[str, Any]:
    disk = {key: guest.expect[key] for key in ("second_disk", "partitions") if key in guest.expect}
    menu: dict[str, Any] = {"entries": []}
    for number in range(2):  # what stands where a name leads decides about some names
        disks = make_disks(folder / str(number), {**guest.files, **_stand_ins(menu["entries"])}, disk)
        menu = menu_of(disks)
    file = guest.folder / str(menu["menu"]["path"]).lstrip("/")
    return {
        **disk,
        **menu,
        "check": {"menu": menu_check_of(file), "guest": check_of(disks)},
        "boots": [loader for loader in LOADERS if boots(disks, loader)],
    }


def _write() -> Iterator[str]:
    for guest in distributions().values():
        with tempfile.TemporaryDirectory() as folder:
            text = json.dumps(_observe(guest, Path(folder)), indent=1, ensure_ascii=False)
        (guest.folder / EXPECT).write_text(text + "\n")
        yield guest.name


if __name__ == "__main__":
    for written in _write():
        print(written)
