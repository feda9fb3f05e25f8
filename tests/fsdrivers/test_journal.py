"""Virtual replay against e2fsck, which replays for good."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from fsdrivers.blocks import open_source
from fsdrivers.errors import Corrupt, FsError, Unsupported
from fsdrivers.ext2 import open_ext
from tests.fsdrivers import trees
from tests.fsdrivers.journals import BIT64, CSUM_V2, CSUM_V3, MAGIC, Change, JournalWriter
from tests.fsdrivers.test_ext_odd import image_of

FORMATS = {
    "plain": {},
    "64bit": {"incompat": BIT64},
    "csum-v1": {"v1_checksum": True},
    "csum-v2": {"incompat": CSUM_V2},
    "csum-v2-64bit": {"incompat": CSUM_V2 | BIT64},
    "csum-v3": {"incompat": CSUM_V3},
    "csum-v3-64bit": {"incompat": CSUM_V3 | BIT64},
    "wrapping": {"incompat": CSUM_V3, "start": 1019},
    "sequence-overflow": {"sequence": 0xFFFFFFFE},
}
OPTIONS = "-t ext4 -b 1024 -J size=1 -O ^metadata_csum"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small journalled file system with three files of one block each."""
    tree = tmp_path / "t"
    tree.mkdir()
    for name in "abc":
        (tree / name).write_bytes(b"old " + name.encode() * 1020)
    return image_of(tmp_path, OPTIONS, tree=tree)


def block_of(image: Path, path: str) -> int:
    filesystem = open_ext(open_source(image))
    return filesystem.runs(filesystem.resolve(path))[0].disk_block


def content(image: Path, path: str) -> bytes:
    """The file through our replay, by reading and by extents, which must agree."""
    file = open_ext(open_source(image)).open(path)
    assert trees.hash_by_extents(file) == trees.hash_by_reading(file)
    return file.read_at(0, file.size)


def replayed_by_e2fsck(image: Path) -> Path:
    copy = image.with_name("replayed")
    shutil.copyfile(image, copy)
    subprocess.run(["e2fsck", "-fy", str(copy)], capture_output=True, check=False)
    return copy


def assert_as_e2fsck(image: Path) -> None:
    mine = trees.snapshot(open_ext(open_source(image)))
    assert mine == trees.snapshot(open_ext(open_source(replayed_by_e2fsck(image))))


@pytest.mark.parametrize("form", FORMATS)
def test_replay(form: str, image: Path) -> None:
    a, b, c = (block_of(image, path) for path in ("/a", "/b", "/c"))
    writer = JournalWriter(image, **FORMATS[form])
    escaped = struct.pack(">I", MAGIC) + b"escaped"
    writer.add(Change({a: b"first a", b: b"first b"}))
    writer.add(Change({b: b"second b", c: escaped}))
    writer.add(Change({a: b"revoked a"}))
    writer.add(Change({}, revoked=(a,)))
    writer.add(Change({c: b"uncommitted"}, commit=False))
    writer.finish()
    assert content(image, "/a")[:4] == b"old "
    assert content(image, "/b")[:10] == b"second b\0\0"
    assert content(image, "/c")[:12] == escaped + b"\0"
    assert_as_e2fsck(image)


def test_copy_after_a_revoke_counts_again(image: Path) -> None:
    a = block_of(image, "/a")
    writer = JournalWriter(image)
    writer.add(Change({a: b"one"}))
    writer.add(Change({}, revoked=(a,)))
    writer.add(Change({a: b"three"}))
    writer.finish()
    assert content(image, "/a")[:5] == b"three"
    assert_as_e2fsck(image)


def test_revoke_covers_its_own_transaction(image: Path) -> None:
    a = block_of(image, "/a")
    writer = JournalWriter(image)
    writer.add(Change({a: b"one"}, revoked=(a,)))
    writer.finish()
    assert content(image, "/a")[:4] == b"old "
    assert_as_e2fsck(image)


def test_directories_inodes_and_descriptors_come_from_the_log(image: Path, tmp_path: Path) -> None:
    """The image is changed for good, the changed metadata blocks go to the log, and the old ones come back."""
    before = image.read_bytes()
    script = tmp_path / "script"
    (tmp_path / "new").write_bytes(b"new content" * 500)
    script.write_text(f"mkdir /dir\ncd /dir\nwrite {tmp_path / 'new'} new\ncd /\nrm /b\nsymlink /link dir/new\n")
    trees.run("debugfs", "-w", "-f", script, image)
    after = image.read_bytes()
    expected = trees.snapshot(open_ext(open_source(image)))
    image.write_bytes(before)
    changed = {
        block: after[block * 1024 : block * 1024 + 1024]
        for block in range(1, len(before) // 1024)
        if before[block * 1024 : block * 1024 + 1024] != after[block * 1024 : block * 1024 + 1024]
    }
    assert 1 in changed, "the super block is among them"
    writer = JournalWriter(image, incompat=CSUM_V3)
    writer.add(Change(changed))
    writer.finish()
    assert trees.snapshot(open_ext(open_source(image))) == expected
    assert_as_e2fsck(image)


@pytest.mark.parametrize("form", ["csum-v1", "csum-v2", "csum-v3"])
def test_torn_commit_ends_the_log(form: str, image: Path) -> None:
    a = block_of(image, "/a")
    writer = JournalWriter(image, **FORMATS[form])
    writer.add(Change({a: b"one"}))
    writer.add(Change({a: b"torn"}, damage="commit"))
    writer.finish()
    assert content(image, "/a")[:3] == b"one"
    assert_as_e2fsck(image)


def test_clean_journal_flag_means_no_replay(image: Path) -> None:
    a = block_of(image, "/a")
    writer = JournalWriter(image)
    writer.add(Change({a: b"one"}))
    writer.finish(needs_recovery=False)
    assert content(image, "/a")[:4] == b"old "


def test_journal_of_debugfs(image: Path, tmp_path: Path) -> None:
    """A transaction that e2fsprogs itself wrote."""
    new = tmp_path / "new"
    new.write_bytes(b"by debugfs".ljust(1024, b"\0"))
    script = tmp_path / "script"
    script.write_text(f"jo -c -v 3\njw -b {block_of(image, '/b')} {new}\njc\n")
    trees.run("debugfs", "-w", "-f", script, image)
    assert open_ext(open_source(image)).superblock.incompat & 4
    assert content(image, "/b")[:11] == b"by debugfs\0"


def test_bad_block_checksum_is_an_error(image: Path) -> None:
    a = block_of(image, "/a")
    writer = JournalWriter(image, incompat=CSUM_V3)
    writer.add(Change({a: b"one"}, damage="data"))
    writer.finish()
    with pytest.raises(Corrupt, match="checksum of a journalled block"):
        open_ext(open_source(image))


@pytest.mark.parametrize("home", ["outside", "journal"])
def test_bad_home_is_an_error(home: str, image: Path) -> None:
    writer = JournalWriter(image)
    writer.add(Change({1 << 30 if home == "outside" else writer.homes[5]: b"x"}))
    writer.finish()
    with pytest.raises(Corrupt, match=r"outside the file system|block of itself"):
        open_ext(open_source(image))


@pytest.mark.parametrize(
    ("offset", "value", "error"),
    [
        (0, 1, Corrupt),
        (4, 9, Corrupt),
        (12, 4096, Corrupt),
        (16, 1, Corrupt),
        (16, 1 << 30, Corrupt),
        (20, 0, Corrupt),
        (28, 1 << 20, Corrupt),
        (0x28, 0x40, Unsupported),
    ],
)
def test_bad_journal_super_block(offset: int, value: int, error: type[FsError], image: Path) -> None:
    writer = JournalWriter(image)
    writer.add(Change({block_of(image, "/a"): b"x"}))
    writer.finish()
    data = bytearray(image.read_bytes())
    struct.pack_into(">I", data, writer.homes[0] * 1024 + offset, value)
    image.write_bytes(data)
    with pytest.raises(error):
        open_ext(open_source(image))


def test_waiting_fast_commits_are_refused(image: Path) -> None:
    writer = JournalWriter(image, incompat=0x20)
    writer.add(Change({block_of(image, "/a"): b"x"}))
    writer.finish()
    data = bytearray(image.read_bytes())
    struct.pack_into(">I", data, writer.homes[0] * 1024 + 0x54, 16)
    image.write_bytes(data)
    assert content(image, "/a")[:1] == b"x"
    struct.pack_into("<HHII", data, writer.homes[-15] * 1024, 9, 8, 0, 101)  # the area's first block stays unused
    image.write_bytes(data)
    with pytest.raises(Unsupported, match="fast commits"):
        open_ext(open_source(image))


def test_dirty_external_journal_is_refused(tmp_path: Path) -> None:
    image = image_of(
        tmp_path,
        "-t ext4 -O ^has_journal,^metadata_csum",
        "feature has_journal needs_recovery",
        "ssv journal_uuid 01234567-89ab-cdef-0123-456789abcdef",
    )
    with pytest.raises(Unsupported, match="another device"):
        open_ext(open_source(image))
