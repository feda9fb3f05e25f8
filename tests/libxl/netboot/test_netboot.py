"""`pvboot-netboot` as libxl runs it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import make_images
from tests import REPOSITORY

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]

KERNEL, RAMDISK = b"kernel " * 1000, b"ramdisk" * 3000


@pytest.fixture
def netboot(tmp_path: Path) -> Run:
    """`netboot(option...)`: results go to tmp_path/out."""

    def run(*options: str | Path, fmt: str = "simple0") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "pvboot.libxl.netboot",
                *map(str, options),
                f"--output-format={fmt}",
                f"--output-directory={tmp_path / 'out'}",
            ],
            cwd=REPOSITORY,
            capture_output=True,
            timeout=120,
        )

    return run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory as Debian's installer is published."""
    folder = tmp_path / "tree/current/images/netboot/xen"
    folder.mkdir(parents=True)
    (folder / "vmlinuz").write_bytes(KERNEL)
    (folder / "initrd.gz").write_bytes(RAMDISK)
    (tmp_path / "tree/mine").write_bytes(b"mine")
    return tmp_path / "tree"


def items(output: bytes) -> dict[str, str]:
    """libxl's reading of simple0."""
    assert output.endswith(b"\0\0")
    pairs = (item.decode().partition(" ") for item in output[:-2].split(b"\0"))
    return {name: value for name, _blank, value in pairs}


def left(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "out")) if (tmp_path / "out").exists() else []


def test_a_tree_is_found_and_copied(netboot: Run, tree: Path, tmp_path: Path) -> None:
    done = netboot("--location", tree, "--args", "console=hvc0 a=b")
    assert done.returncode == 0, done.stderr
    found = items(done.stdout)
    assert found["args"] == "console=hvc0 a=b"
    assert Path(found["kernel"]).read_bytes() == KERNEL
    assert Path(found["ramdisk"]).read_bytes() == RAMDISK
    assert stat.S_IMODE(os.stat(found["kernel"]).st_mode) == 0o600
    assert len(left(tmp_path)) == 2


def test_a_kernel_alone_leaves_one_file(netboot: Run, tree: Path, tmp_path: Path) -> None:
    done = netboot("--location", f"file://{tree}", "--kernel", "mine")
    assert done.returncode == 0, done.stderr
    found = items(done.stdout)
    assert set(found) == {"kernel"}
    assert len(left(tmp_path)) == 1


def test_a_known_kernel_brings_its_ramdisk(netboot: Run, tree: Path) -> None:
    done = netboot("--location", tree, "--kernel", "current/images/netboot/xen/vmlinuz")
    assert Path(items(done.stdout)["ramdisk"]).read_bytes() == RAMDISK


def test_files_without_a_location(netboot: Run, tree: Path) -> None:
    done = netboot("--kernel", tree / "mine", "--ramdisk", tree / "mine", "xvda-disk-that-libxl-names")
    assert done.returncode == 0, done.stderr
    assert Path(items(done.stdout)["ramdisk"]).read_bytes() == b"mine"


def test_the_inside_of_an_image(netboot: Run, tmp_path: Path) -> None:
    image = tmp_path / "cd.img"
    make_images.make_ext(image, {"install.amd/xen/vmlinuz": KERNEL, "install.amd/xen/initrd.gz": RAMDISK}, 4 << 20)
    done = netboot("--location", image, "-v")
    assert done.returncode == 0, done.stderr
    assert Path(items(done.stdout)["ramdisk"]).read_bytes() == RAMDISK
    assert b"seccomp" in done.stderr, "an image is read without rights"


@pytest.mark.parametrize("fmt", ["simple", "sxp"])
def test_the_forms_are_those_of_xenpvnetboot(netboot: Run, tree: Path, fmt: str) -> None:
    done = netboot("--location", tree, "--args", "a b", fmt=fmt)
    text = done.stdout.decode()
    kernel, ramdisk = (str(path) for path in sorted((tree.parent / "out").iterdir()))
    expected = {
        "simple": f"kernel {kernel}\nramdisk {ramdisk}\nargs a b\n\n",
        "sxp": f'linux (kernel {kernel})(ramdisk {ramdisk})(args "a b")',
    }
    assert text == expected[fmt]


def test_the_answer_may_go_to_a_file(netboot: Run, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "answer").touch()
    done = netboot("--location", tree, "--output", tmp_path / "answer")
    assert done.stdout == b""
    assert "kernel" in items((tmp_path / "answer").read_bytes())


@pytest.mark.parametrize(
    "options, reason",
    [
        (["--location", "nfs:server:/export"], "cannot fetch from here"),
        (["--location", "ftp://server/"], "cannot fetch from here"),
        (["--location", "/nowhere/at/all"], "/nowhere/at/all"),
        (["--location", "TREE", "--kernel", "not-there"], "not-there"),
        (["--location", "TREE", "--kernel", "../secret"], "'..'"),
        (["--location", "EMPTY"], "no installation tree is known here"),
    ],
)
def test_failures_say_why_and_leave_nothing(
    netboot: Run, tree: Path, tmp_path: Path, options: list[str], reason: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "answer").write_bytes(b"as it was")
    words = [word.replace("TREE", str(tree)).replace("EMPTY", str(tmp_path / "empty")) for word in options]
    done = netboot(*words, "--output", tmp_path / "answer")
    assert done.returncode == 1
    assert reason in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert (tmp_path / "answer").read_bytes() == b"as it was"
    assert left(tmp_path) == []


@pytest.mark.parametrize("options", [[], ["--ramdisk", "x"], ["--unknown"], ["--kernel", "x", "--runas", "-1"]])
def test_wrong_usage(netboot: Run, options: list[str]) -> None:
    done = netboot(*options)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_arguments_that_the_old_form_cannot_carry(netboot: Run, tree: Path, tmp_path: Path) -> None:
    done = netboot("--location", tree, "--args", 'a="b"', fmt="sxp")
    assert done.returncode == 1
    assert left(tmp_path) == []
