"""The inside of images: the tree, the confined reader, and what is believed of what it says."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdrivers.api import Extent
from fsdrivers.blocks import open_source
from fsdrivers.errors import FsError, NotADirectory, NotFound, Unsupported
from fsdrivers.partitions import volumes
from fsdrivers.probe import probe
from pvboot.confine.parent import cpu_seconds_of
from pvboot.serve import images
from pvboot.serve import reader_codec as codec
from pvboot.serve.api import Requester, ServedDirectory
from pvboot.serve.content import Directory, TreeContent
from pvboot.serve.images import ImageStore
from pvboot.serve.reader_codec import AnswerLimits, FoundDirectory, FoundFile, ImageError
from tests.serve.journal import wait_until
from tests.serve.server import is_alive

WHO = Requester("http", "127.0.0.1")
Tree = Callable[..., tuple[TreeContent, ImageStore]]


def read(extents: object) -> bytes:
    """The bytes that extents stand for."""
    pieces = []
    for extent in extents:  # type: ignore[attr-defined]
        if extent.data is not None:
            pieces.append(extent.data)
        elif extent.fd is not None:
            pieces.append(os.pread(extent.fd, extent.length, extent.offset))
        else:
            pieces.append(bytes(extent.length))
    return b"".join(pieces)


def fetch(tree: TreeContent, path: str) -> bytes:
    opened = tree.open(path, WHO)
    assert not isinstance(opened, ServedDirectory)
    try:
        data = read(opened.extents())
        assert len(data) == opened.size
        return data
    finally:
        opened.close()


def names(tree: TreeContent, path: str) -> list[str]:
    opened = tree.open(path, WHO)
    assert isinstance(opened, ServedDirectory)
    return [name for name, _, _ in opened.entries]


@pytest.mark.parametrize("image", ["ext2.img", "mbr.img", "gpt.img", "hybrid.iso", "rockridge-joliet.iso"])
def test_every_file_of_every_volume_is_the_drivers_own(tree: Tree, image_folder: Path, image: str) -> None:
    served, _ = tree(image_folder)
    source = open_source(image_folder / image)
    compared = 0
    for volume in volumes(source):
        try:
            filesystem = probe(volume.source)
        except FsError:
            continue
        waiting = ["/"]
        while waiting:
            folder = waiting.pop()
            for entry in filesystem.listdir(folder):
                path = f"{folder.rstrip('/')}/{entry.name}"
                if entry.stat.kind == "dir":
                    waiting.append(path)
                elif entry.stat.kind == "file":
                    file = filesystem.open(path)
                    assert fetch(served, f"/images/{image}/@{volume.number}{path}") == file.read_at(0, file.size)
                    compared += 1
    source.close()
    assert compared > 3


def test_the_volume_with_the_menu_stands_at_the_top(tree: Tree, image_folder: Path) -> None:
    served, _ = tree(image_folder)
    listed = names(served, "/images/mbr.img")
    assert {"@1", "@5", "@6", "@raw", "boot"} <= set(listed)
    menu = fetch(served, "/images/mbr.img/boot/grub/menu.lst")
    assert any(names_with_menu(served, number, menu) for number in (1, 5, 6))


def names_with_menu(served: TreeContent, number: int, menu: bytes) -> bool:
    with contextlib.suppress(FsError):
        return fetch(served, f"/images/mbr.img/@{number}/boot/grub/menu.lst") == menu
    return False


def test_the_raw_image_is_there_only_when_wanted(tree: Tree, image_folder: Path, fork_server: object) -> None:
    served, _ = tree(image_folder)
    opened = served.open("/images/ext2.img/@raw", WHO)
    assert not isinstance(opened, ServedDirectory)
    assert opened.size == (image_folder / "ext2.img").stat().st_size
    opened.close()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/images/none.img/x", NotFound),
        ("/images/ext2.img/none", NotFound),
        ("/images/ext2.img/@9/x", NotFound),
        ("/images/ext2.img/vmlinuz/x", NotADirectory),
        ("/none", NotFound),
        ("/images/ext2.img/" + "a" * 300, NotFound),
    ],
)
def test_what_is_not_there(tree: Tree, image_folder: Path, path: str, error: type[Exception]) -> None:
    served, _ = tree(image_folder)
    with pytest.raises(error):
        served.open(path, WHO)


def test_the_reader_is_confined(tree: Tree, image_folder: Path) -> None:
    served, store = tree(image_folder)
    fetch(served, "/images/ext2.img/vmlinuz")
    (image,) = store.readers
    reader = image.reader
    assert reader is not None
    expected = {"not traceable", "dies with its parent", "no new privileges", "landlock", "limits", "seccomp"}
    assert expected <= set(reader.report.layers)
    if os.getuid() == 0:
        assert reader.report.missing == []
        status = Path(f"/proc/{reader.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["Seccomp"] == "2"
        assert fields["NoNewPrivs"] == "1"
        assert set(fields["Uid"].split()) == {"65534"}
        fds = {os.readlink(f"/proc/{reader.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{reader.pid}/fd")}
        others = {fd for fd in fds if fd != os.devnull and not fd.startswith("socket:")}
        assert others == {str(image_folder / "ext2.img")}


def test_a_killed_reader_is_started_again(tree: Tree, image_folder: Path) -> None:
    served, store = tree(image_folder)
    fetch(served, "/images/ext2.img/vmlinuz")
    (image,) = store.readers
    assert image.reader is not None
    pid = image.reader.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), "it is dead")
    with contextlib.suppress(ImageError):
        fetch(served, "/images/ext2.img/boot/module.txt")
    assert fetch(served, "/images/ext2.img/boot/tiny64.elf")
    assert image.reader.pid != pid


def test_a_stuck_reader_is_given_up(tree: Tree, image_folder: Path) -> None:
    served, store = tree(image_folder, wall_seconds=0.5)
    fetch(served, "/images/ext2.img/vmlinuz")
    (image,) = store.readers
    assert image.reader is not None
    pid = image.reader.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ImageError, match="takes more than"):
        fetch(served, "/images/ext2.img/boot/module.txt")
    wait_until(lambda: not is_alive(pid), "it was killed")
    assert fetch(served, "/images/ext2.img/boot/module.txt")


def test_nobody_waits_for_an_image_that_is_slow_to_read(
    tree: Tree, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "SLOW_SECONDS", -1.0)  # every answer is a slow one
    served, store = tree(image_folder)
    fetch(served, "/images/ext2.img/vmlinuz")
    (image,) = store.readers
    os.kill(image.reader.pid, signal.SIGSTOP)
    got: list[bytes] = []
    first = threading.Thread(target=lambda: got.append(fetch(served, "/images/ext2.img/boot/module.txt")))
    first.start()
    wait_until(image._lock.locked, "the first one asks")
    with pytest.raises(ImageError, match="busy"):
        fetch(served, "/images/ext2.img/boot/tiny64.elf")
    assert fetch(served, "/images/gpt.img/vmlinuz")  # others are not concerned
    assert fetch(served, "/images/ext2.img/vmlinuz")  # nor is what is known already
    os.kill(image.reader.pid, signal.SIGCONT)
    first.join()
    assert got
    assert fetch(served, "/images/ext2.img/boot/tiny64.elf")


def test_cpu_time_of_another_process_is_known() -> None:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        wait_until(lambda: cpu_seconds_of(process.pid) > 0.2, "it has used some")
    finally:
        process.kill()
        process.wait()
    assert cpu_seconds_of(process.pid) == 0.0


def test_an_image_whose_reader_fails_again_and_again_is_left_alone(tree: Tree, image_folder: Path) -> None:
    served, store = tree(image_folder, failures=2, wall_seconds=1e-6)
    for _ in range(2):
        with pytest.raises(ImageError):
            fetch(served, "/images/ext2.img/vmlinuz")
    with pytest.raises(ImageError, match="left alone for a while"):
        fetch(served, "/images/ext2.img/vmlinuz")
    assert not store.readers


def test_no_more_readers_than_allowed(tree: Tree, image_folder: Path) -> None:
    served, store = tree(image_folder, readers=2)
    opened = served.open("/images/ext2.img/boot/module.txt", WHO)
    assert not isinstance(opened, ServedDirectory)
    pids = []
    for name in ("gpt.img", "mbr.img", "hybrid.iso"):
        names(served, f"/images/{name}")
        pids += [image.reader.pid for image in store.readers[-1:] if image.reader]
    assert len(store.readers) == 2
    # One that was given up can still be sent to its end.
    assert read(opened.extents()) == fetch(served, "/images/ext2.img/boot/module.txt")
    opened.close()
    wait_until(lambda: not is_alive(pids[0]), "the reader of an image that was given up ends")


def test_no_descriptor_is_left_open(tree: Tree, image_folder: Path) -> None:
    served, _ = tree(image_folder, readers=2)
    for image in ("ext2.img", "gpt.img", "mbr.img"):
        fetch(served, f"/images/{image}/vmlinuz")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        for image in ("ext2.img", "gpt.img", "mbr.img"):
            fetch(served, f"/images/{image}/vmlinuz")
            with contextlib.suppress(FsError):
                fetch(served, f"/images/{image}/none")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_many_threads_read_many_images_while_they_change(tree: Tree, image_folder: Path, tmp_path: Path) -> None:
    all_names = ("ext2.img", "gpt.img", "mbr.img", "hybrid.iso")
    for name in all_names:
        shutil.copyfile(image_folder / name, tmp_path / name)
    served, store = tree(tmp_path, readers=2)
    expected = {name: fetch(served, f"/images/{name}/boot/module.txt") for name in all_names}
    problems: list[str] = []

    def work(number: int) -> None:
        for turn in range(30):
            name = all_names[(number + turn) % len(all_names)]
            try:
                if fetch(served, f"/images/{name}/boot/module.txt") != expected[name]:
                    problems.append(f"{name}: other bytes")
            except Exception as err:
                problems.append(f"{name}: {err!r}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for turn in range(20):  # the same bytes as another file, by renaming
        name = all_names[turn % len(all_names)]
        shutil.copyfile(image_folder / name, tmp_path / "new")
        os.replace(tmp_path / "new", tmp_path / name)
    for thread in threads:
        thread.join()
    assert not problems
    assert len(store.readers) <= 2


def test_another_image_of_the_same_name_is_seen(tree: Tree, image_folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "x.img"
    shutil.copyfile(image_folder / "ext2.img", image)
    served, _ = tree(tmp_path)
    first = served.open("/images/x.img/vmlinuz", WHO)
    assert not isinstance(first, ServedDirectory)
    tag, data = first.etag, read(first.extents())
    subprocess.run(["debugfs", "-w", "-R", "rm /vmlinuz", str(image)], check=True, capture_output=True)
    (tmp_path / "other").write_text("something else")
    subprocess.run(
        ["debugfs", "-w", "-R", f"write {tmp_path}/other /vmlinuz", str(image)], check=True, capture_output=True
    )
    second = served.open("/images/x.img/vmlinuz", WHO)
    assert not isinstance(second, ServedDirectory)
    assert second.etag != tag
    assert read(second.extents()) == b"something else" != data


def test_compressed_files_of_an_iso_are_unpacked(tree: Tree, tmp_path: Path) -> None:
    content = b"Linux " * 50_000
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "big").write_bytes(content)
    (tmp_path / "tree" / "small").write_bytes(b"x")
    (tmp_path / "served").mkdir()
    subprocess.run(
        [
            "xorriso",
            "-outdev",
            str(tmp_path / "served/z.iso"),
            "-map",
            str(tmp_path / "tree"),
            "/",
            "-zisofs",
            "level=6:block_size=32k",
            "-set_filter_r",
            "--zisofs",
            "/",
            "--",
        ],
        check=True,
        capture_output=True,
    )
    served, _ = tree(tmp_path / "served")
    assert fetch(served, "/images/z.iso/big") == content
    limited, _ = tree(tmp_path / "served", data_bytes=1000)
    with pytest.raises(Unsupported, match="not in the image as it is"):
        limited.open("/images/z.iso/big", WHO)


def test_containers_are_named(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "x.qcow2").write_bytes(b"QFI\xfb" + bytes(4096))
    served, _ = tree(tmp_path)
    with pytest.raises(Unsupported, match="qcow2"):
        served.open("/images/x.qcow2/x", WHO)


def test_links_of_directories_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "top" / "a").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "top" / "file").write_text("inside")
    (tmp_path / "top" / "a" / "up").symlink_to("../file")
    (tmp_path / "top" / "a" / "out").symlink_to("../../secret")
    (tmp_path / "top" / "a" / "absolute").symlink_to("/file")
    (tmp_path / "top" / "dir").symlink_to(tmp_path)
    tree = TreeContent({"/": Directory(str(tmp_path / "top"))})
    assert fetch(tree, "/a/up") == fetch(tree, "/a/absolute") == b"inside"
    for path in ("/a/out", "/dir/secret", "/a/../../secret"):
        with pytest.raises(FsError):
            tree.open(path, WHO)
    assert names(tree, "/a") == ["absolute", "up"]


def test_mounts_hide_and_join(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / name).write_text(name)
    one, two = (Directory(str(tmp_path / name)) for name in ("one", "two"))
    tree = TreeContent({"/": one, "/sub/deep": two, "/far/away": two})
    assert names(tree, "/") == ["far", "sub"]
    assert names(tree, "/sub") == ["deep", "one"]
    assert names(tree, "/far") == ["away"]
    assert fetch(tree, "/sub/deep/sub/two") == b"two"
    with pytest.raises(NotFound):
        tree.open("/far/none", WHO)


# --- answers of a reader that was taken over --------------------------------------------------------------


LIMITS = AnswerLimits()


def take(name: str, data: bytes, size: int = 1 << 20) -> FoundFile | FoundDirectory:
    return codec.read_answer(name, data, 99, size, LIMITS)


def file(size: int, count: int, rest: bytes) -> tuple[str, bytes]:
    return "file", codec.FILE.pack(size, 0, 1, count) + rest


RUN, NAME = codec.RUN.pack, codec.NAME.pack
BAD_ANSWERS = {
    "kind": ("files", b""),
    "outside": file(10, 1, RUN(10, (1 << 20) - 9)),
    "far outside": file(10, 1, RUN(10, 1 << 62)),
    "empty run": file(0, 1, RUN(0, 0)),
    "sum": file(11, 1, RUN(10, 0)),
    "huge": file(1 << 60, 1, RUN(1 << 60, codec.HOLE)),
    "too many runs": file(1 << 18, 1 << 18, b""),
    "less data": file(4, 1, RUN(4, codec.DATA) + b"abc"),
    "more data": file(4, 1, RUN(4, codec.DATA) + b"abcde"),
    "rest too short": file(4, 2, RUN(4, 0)),
    "no facts": ("file", b"abc"),
    "too many names": ("directory", (NAME(0, 0, 1) + b"a") * (LIMITS.names + 1)),
    "slash": ("directory", NAME(0, 0, 3) + b"a/b"),
    "dots": ("directory", NAME(1, 0, 2) + b".."),
    "nul": ("directory", NAME(1, 0, 2) + b"a\0"),
    "short name": ("directory", NAME(1, 0, 9) + b"a"),
    "rest": ("directory", NAME(1, 0, 1) + b"ab"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_an_impossible_answer_is_refused(name: str) -> None:
    with pytest.raises(ImageError):
        take(*BAD_ANSWERS[name])


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 2), st.integers(0, 1 << 20)), max_size=20))
def test_what_a_reader_packs_is_what_is_read(pieces: list[tuple[int, int, int]]) -> None:
    extents = [
        Extent(length, data=bytes(length))
        if kind == 0
        else Extent(length, fd=99, offset=offset)
        if kind == 1
        else Extent(length)
        for length, kind, offset in pieces
    ]
    size = sum(extent.length for extent in extents)
    found = take("file", codec.pack_file(size, 5, 7, extents), size=1 << 22)
    assert found == FoundFile(size, 5, 7, tuple(extents), found.weight_bytes)


@settings(max_examples=300)
@given(
    st.binary(max_size=200), st.sampled_from(["file", "directory", "failure"]), st.integers(0, 20), st.integers(0, 300)
)
def test_any_answer_is_taken_or_refused(rest: bytes, name: str, count: int, size: int) -> None:
    with contextlib.suppress(ImageError, FsError):
        found = take(*file(size, count, rest)) if name == "file" else take(name, rest)
        if isinstance(found, FoundFile):
            assert sum(extent.length for extent in found.extents) == size


def test_hostile_images_end_in_errors(tree: Tree, image_folder: Path, tmp_path: Path) -> None:
    """Every byte of the superblock's start and of an ISO's descriptor turned over, one image each."""
    original = bytearray((image_folder / "ext2.img").read_bytes())
    served, _ = tree(tmp_path, failures=1_000_000)
    for offset in range(1024, 1024 + 128, 3):
        damaged = bytearray(original)
        damaged[offset] ^= 0xFF
        (tmp_path / "x.img").write_bytes(damaged)
        with contextlib.suppress(FsError, ImageError):
            fetch(served, "/images/x.img/boot/module.txt")
    (tmp_path / "x.img").write_bytes(original)
    assert fetch(served, "/images/x.img/boot/module.txt")
