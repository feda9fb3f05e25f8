"""Both boot loaders, ready to be asked, and their results as libxl would read them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import REPOSITORY


@dataclass(frozen=True)
class Boot:
    """One run: exit code, what was said, and what libxl would get; `left` are the files in the output directory."""

    code: int
    stdout: str
    stderr: str
    output: bytes
    kernel: bytes | None
    ramdisk: bytes | None
    args: bytes | None
    left: list[str]

    @property
    def guest(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """What the guest is started with."""
        return self.kernel, self.ramdisk, self.args

    @property
    def left_kinds(self) -> list[str]:
        """Which kinds of files are left, whatever their random letters."""
        return [name.partition(".")[0] for name in self.left]


def read_items(output: bytes) -> dict[bytes, bytes]:
    """libxl's parse_bootloader_result."""
    items = {}
    for item in output.split(b"\0"):
        name, _, value = item.partition(b" ")
        if value:
            items[name] = value.lstrip(b" ")
    return items


class Loader:
    """A worker process that runs one of the two programs again and again."""

    def __init__(self, command: list[str], folder: Path, **options: object) -> None:
        self._folder = folder
        self._count = itertools.count()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )

    def ask(self, *arguments: str) -> dict[str, object]:
        """Run with exactly these arguments."""
        self._process.stdin.write(json.dumps(list(arguments)) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def __call__(self, image: Path, *options: str) -> Boot:
        """Run quietly, as libxl does, into a fresh directory."""
        folder = self._folder / str(next(self._count))
        folder.mkdir()
        output = folder / "result"
        output.touch(0o600)
        results = folder / "files"
        results.mkdir()
        said = self.ask(
            f"--output={output}", "--output-format=simple0", f"--output-directory={results}", "-q", *options, str(image)
        )
        items = read_items(output.read_bytes())
        files = [Path(os.fsdecode(items[name])) if name in items else None for name in (b"kernel", b"ramdisk")]
        contents = [path.read_bytes() if path is not None and path.exists() else None for path in files]
        left = sorted(path.name for path in results.iterdir())
        for path in results.iterdir():
            path.unlink()
        return Boot(
            said["code"],
            said["stdout"],
            said["stderr"],
            output.read_bytes(),
            contents[0],
            contents[1],
            items.get(b"args"),
            left,
        )

    def close(self) -> None:
        """End the worker."""
        self._process.stdin.close()
        self._process.wait(30)


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    """pvboot-pygrub."""
    command = [sys.executable, str(REPOSITORY / "tests/libxl/pygrub/worker.py"), "ours"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    loader = Loader(command, tmp_path_factory.mktemp("ours"), env=environment)
    yield loader
    loader.close()


@pytest.fixture(scope="session")
def pygrub(parts: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    """Xen's pygrub."""
    part = parts("pygrub")
    top = part / "root/usr/lib/xen-4.17"
    folders = (top / "lib", part / "root/usr/lib", part / "root/lib")
    libraries = [folder / "x86_64-linux-gnu" for folder in folders]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries))}
    command = ["/usr/bin/python3", str(REPOSITORY / "tests/libxl/pygrub/worker.py"), "pygrub", str(top)]
    loader = Loader(command, tmp_path_factory.mktemp("pygrub"), env=environment, cwd=part)
    yield loader
    loader.close()
