"""Every guest that pygrub boots is started with the same bytes and arguments."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.libxl.pygrub.conftest import Boot, Loader
from tests.libxl.pygrub.guests import FILE_SYSTEMS, LAYOUTS, MIB, make_disk
from tests.libxl.pygrub.menus import EXTLINUX, EXTLINUX_PATHS, GRUB_CFG, GRUB_CFG_PATHS, MENU_LST, OPTIONS, PATHS, TWO

# Every file system in every place, each with menus of its own out of the whole list.
PLACES = [(kind, layout) for kind in FILE_SYSTEMS for layout in LAYOUTS]
PLACES += [("iso-rr", "whole"), ("iso-rr-joliet", "whole")]
MENUS_A_PLACE = 3
# pygrub started this many guests of each when it was last counted; fewer would mean that the comparison has gone blind.
STARTED = {"places": 200, "menus": 110, "options": 40, "dialects": 70}


class Score:
    """What both made of many guests."""

    def __init__(self, ours: Loader, pygrub: Loader) -> None:
        self._loaders = ours, pygrub
        self.started = 0
        self.different: list[str] = []

    def compare(self, name: str, image: Path, *options: str) -> None:
        """Run both; what pygrub starts must be started alike."""
        mine, theirs = (loader(image, *options) for loader in self._loaders)
        if theirs.code or theirs.kernel is None:
            return
        self.started += 1
        if (mine.code, mine.guest) != (theirs.code, theirs.guest) or mine.left_kinds != theirs.left_kinds:
            self.different.append(f"{name} {options}: {_short(mine)} instead of {_short(theirs)}")


def _short(boot: Boot) -> str:
    sizes = [None if content is None else len(content) for content in boot.guest]
    return f"{boot.code} {sizes} {boot.args!r:.100} {boot.stderr.strip()[:200]}"


@pytest.mark.slow
def test_file_systems_and_partitions(ours: Loader, pygrub: Loader, tmp_path: Path) -> None:
    score = Score(ours, pygrub)
    menus = itertools.cycle(MENU_LST.items())
    for kind, layout in PLACES:
        for (name, text), path in zip(itertools.islice(menus, MENUS_A_PLACE), PATHS, strict=False):
            image = tmp_path / "disk.img"
            make_disk(image, kind, layout, {path: text}, tmp_path)
            score.compare(f"{kind} {layout} {name}", image)
    assert not score.different
    assert score.started >= STARTED["places"]


@pytest.mark.slow
def test_other_dialects(ours: Loader, pygrub: Loader, tmp_path: Path) -> None:
    score = Score(ours, pygrub)
    for menus, paths in ((GRUB_CFG, GRUB_CFG_PATHS), (EXTLINUX, EXTLINUX_PATHS)):
        for index, (path, (name, text)) in enumerate(itertools.product(paths, menus.items())):
            image = tmp_path / "disk.img"
            kind = list(FILE_SYSTEMS)[index % len(FILE_SYSTEMS)]
            make_disk(image, kind, LAYOUTS[index % len(LAYOUTS)], {path: text}, tmp_path)
            score.compare(f"{path} {name}", image)
            score.compare(f"{path} {name}", image, "--entry=1", "--args=more")
    assert not score.different
    assert score.started >= STARTED["dialects"]


@pytest.mark.slow
def test_menus(ours: Loader, pygrub: Loader, tmp_path: Path) -> None:
    score = Score(ours, pygrub)
    for index, (name, text) in enumerate(MENU_LST.items()):
        for path in (PATHS[index % 4], PATHS[(index + 1) % 4], PATHS[(index + 2) % 4]):
            image = tmp_path / "disk.img"
            make_disk(image, "ext2-1k", "whole", {path: text}, tmp_path)
            score.compare(f"{path} {name}", image)
    assert not score.different
    assert score.started >= STARTED["menus"]


def test_options(ours: Loader, pygrub: Loader, tmp_path: Path) -> None:
    score = Score(ours, pygrub)
    for name in ("two", "no arguments", "utf-8", "empty title counts"):
        image = tmp_path / "disk.img"
        make_disk(image, "ext4", "mbr2", {PATHS[0]: MENU_LST[name]}, tmp_path)
        for options in OPTIONS:
            score.compare(name, image, *options)
        score.compare(name, image, f"--offset={2048 * 512}")
    assert not score.different
    assert score.started >= STARTED["options"]


def test_the_first_volume_with_a_menu_wins(ours: Loader, pygrub: Loader, tmp_path: Path) -> None:
    """Also when the first menu is empty: then the next volume's is taken."""
    from fixtures.partitions import LINUX, MbrEntry, write_mbr
    from tests.libxl.pygrub.guests import FS_BYTES, make_fs, write_tree

    score = Score(ours, pygrub)
    sectors = FS_BYTES // 512
    slots = [MbrEntry(LINUX, 2048 + i * sectors, sectors, active=i == 1) for i in range(2)]
    first, second = TWO, TWO.replace(b"default 0", b"default 1")
    pairs = [(first, second), (b"", second), (None, second), (b"timeout 3\n", second)]
    for number, (left, right) in enumerate(pairs):
        image = tmp_path / f"{number}.img"
        with open(image, "wb") as disk:
            disk.truncate(MIB + 2 * FS_BYTES)
            write_mbr(disk, slots)
        for index, text in enumerate((left, right)):
            tree = tmp_path / f"tree{number}{index}"
            write_tree(tree, {PATHS[0]: text} if text is not None else {})
            make_fs(image, "ext2-1k", tree, slots[index].start * 512)
        score.compare(str(number), image)
    assert not score.different
    assert score.started == 4


QUOTES = '--args=it\'s "quoted" \\ ü'


@pytest.mark.parametrize("extra", [(), ("-n",), (QUOTES,)], ids=["plain", "not really", "quotes"])
@pytest.mark.parametrize("output_format", ["simple", "simple0", "sxp"])
def test_output_bytes(ours: Loader, pygrub: Loader, tmp_path: Path, output_format: str, extra: tuple[str, ...]) -> None:
    image = tmp_path / "disk.img"
    make_disk(image, "ext2-1k", "whole", {PATHS[0]: TWO}, tmp_path)
    texts = []
    for loader in (ours, pygrub):
        folder = tmp_path / f"out{len(texts)}"
        folder.mkdir()
        said = loader.ask("-q", f"--output-format={output_format}", f"--output-directory={folder}", *extra, str(image))
        assert said["code"] == 0, said
        text = str(said["stdout"])
        for path in folder.iterdir():
            text = text.replace(str(path), f"{folder.parent}/{path.name.split('.')[0]}")
        texts.append(text)
    assert texts[0] == texts[1]
