"""Trees of files to put on images, and whole-tree comparison."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from fsdrivers.api import DirEntry, Extent, File, Filesystem
from fsdrivers.tree import decode

# path -> (kind, size, link target, hash of the content); sizes of directories differ between file systems.
Snapshot = dict[str, tuple[str, int, str | None, str | None]]

READ_BYTES = 1 << 20


def run(*command: str | Path, **options: object) -> str:
    """A tool's standard output; the test fails with its messages if the tool does."""
    done = subprocess.run([str(part) for part in command], capture_output=True, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
    return str(done.stdout.decode(errors="surrogateescape"))


def fill_tree(root: Path, *, names: int = 300, odd_names: bool = True) -> Path:
    """Directories, files of the sizes where block maps change, links of the lengths where their storage changes."""
    random_bytes = random.Random(7).randbytes
    (root / "boot/grub").mkdir(parents=True)
    (root / "boot/grub/menu.lst").write_bytes(b"default 0\ntitle A\nkernel /boot/vmlinuz\n")
    (root / "deep/a/b/c/d/e/f/g/h/i/j").mkdir(parents=True)
    (root / "deep/a/b/c/d/e/f/g/h/i/j/file").write_bytes(b"deep")
    (root / "sizes").mkdir()
    for size in (
        0,
        1,
        59,
        60,
        61,
        100,
        156,
        157,
        1023,
        1024,
        1025,
        4096,
        12 * 1024 + 1,
        65536,
        268 * 1024 + 1,
        1 << 20,
    ):
        (root / "sizes" / str(size)).write_bytes(random_bytes(size))
    (root / "links").mkdir()
    for length in (1, 58, 59, 60, 61, 100, 255, 1000):
        (root / "links" / f"length{length}").symlink_to(("x" * 200 + "/") * (length // 201) + "x" * (length % 201))
    (root / "links/relative").symlink_to("../boot/grub/menu.lst")
    (root / "links/absolute").symlink_to("/boot/grub/menu.lst")
    (root / "links/up").symlink_to("../../../../boot")
    (root / "many").mkdir()
    for number in range(names):
        (root / "many" / f"name-{number:05}-{'n' * (number % 40)}").write_bytes(b"%d" % number)
    if odd_names:
        for name in (b"latin-\xe9", b"utf8-\xc3\xa9", b"n" * 255, b"with space", b"back\\slash", b"new\nline"):
            (root / os.fsdecode(name)).write_bytes(name)
    return root


def add_sparse(root: Path) -> None:
    """Files with holes: at the start, in the middle, at the end, and far out."""
    with open(root / "holes", "wb") as out:
        for offset in (5000, 20000, 300_000, 1_000_000):
            out.seek(offset)
            out.write(b"data at %d" % offset)
        out.truncate(1_500_000)
    with open(root / "far", "wb") as out:
        out.seek(70 << 20)
        out.write(b"behind 64 MiB")
    with open(root / "comb", "wb") as out:
        for block in range(2000):
            out.seek(block * 8192 + 4096)
            out.write(b"%4096d" % block)


def snapshot_host(root: Path) -> Snapshot:
    """The tree as the host sees it."""
    found: Snapshot = {}
    raw_root = os.fsencode(root)
    for folder, directories, files in os.walk(raw_root):
        for name in directories + files:
            full = os.path.join(folder, name)
            path = decode(full[len(raw_root) :])
            if os.path.islink(full):
                target = os.readlink(full)
                found[path] = "symlink", len(target), decode(target), None
            elif os.path.isdir(full):
                found[path] = "dir", 0, None, None
            else:
                with open(full, "rb") as file:
                    found[path] = "file", os.path.getsize(full), None, hashlib.file_digest(file, "sha256").hexdigest()
    return found


def walk(filesystem: Filesystem, path: str = "") -> Iterator[tuple[str, DirEntry]]:
    """Every entry below a directory, depth first."""
    for entry in filesystem.listdir(path or "/"):
        yield f"{path}/{entry.name}", entry
        if entry.stat.kind == "dir":
            yield from walk(filesystem, f"{path}/{entry.name}")


def hash_by_reading(file: File) -> str:
    """Read by odd pieces, so that piece and block borders do not coincide."""
    digest, offset, step = hashlib.sha256(), 0, READ_BYTES + 17
    while piece := file.read_at(offset, step):
        digest.update(piece)
        offset += len(piece)
    assert offset == file.size
    return digest.hexdigest()


def hash_by_extents(file: File) -> str:
    """Read what `extents()` says, which must add up to the size and have its neighbours joined."""
    digest, total = hashlib.sha256(), 0
    last: Extent | None = None
    for extent in file.extents():
        assert extent.length > 0
        total += extent.length
        if last is not None and last.fd is not None and last.fd == extent.fd:
            assert last.offset + last.length != extent.offset, "adjacent runs are not joined"
        last = extent
        for start in range(0, extent.length, READ_BYTES):
            length = min(READ_BYTES, extent.length - start)
            if extent.data is not None:
                digest.update(extent.data[start : start + length])
            elif extent.fd is not None:
                digest.update(os.pread(extent.fd, length, extent.offset + start))
            else:
                digest.update(bytes(length))
    assert total == file.size
    return digest.hexdigest()


def snapshot(filesystem: Filesystem, *, ignore: tuple[str, ...] = ("/lost+found",)) -> Snapshot:
    """The tree as a driver sees it; contents by reading and by extents, which must agree."""
    found: Snapshot = {}
    for path, entry in walk(filesystem):
        if path in ignore:
            continue
        stat = entry.stat
        content = None
        if stat.kind == "file":
            file = filesystem.open(path)
            content = hash_by_reading(file)
            assert hash_by_extents(file) == content, path
        assert filesystem.lookup(path, follow=False) == stat, path
        found[path] = stat.kind, 0 if stat.kind == "dir" else stat.size, stat.target, content
    return found
