"""Build the oracle out of Debian packages, into `oracle/` of the parts' folder; nothing is installed.

`ensure(parts)` is the way in.  Afterwards `oracle/` holds

    oracle       the program (see README.md)
    root/        Xen's libraries and headers
    tools/       packers as real kernels are packed with: lzop, lz4, zstd, with their libraries
    version      of the Debian package whose libxenguest is under test
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

from fixtures.fetch_parts import PartsError, download_package, parts_lock, run_tool

SOURCE = Path(__file__).with_name("oracle.c")
LIBRARY_PACKAGE = "libxenmisc4.17"
LIBRARIES = (
    LIBRARY_PACKAGE,
    "libxen-dev",
    "libxencall1",
    "libxenforeignmemory1",
    "libxendevicemodel1",
    "libxentoolcore1",
    "libxentoollog1",
    "libxenevtchn1",
    "libxengnttab1",
    "libxenstore4",
    "libxenhypfs1",
)
TOOLS = ("lzop", "liblzo2-2", "lz4", "liblz4-1", "zstd", "libzstd1")
LIBRARY_FOLDER = "usr/lib/x86_64-linux-gnu"


def ensure(parts: Path) -> Path:
    """The folder `oracle/` of `parts`, built if it is not there or if oracle.c has changed since.

    Quick when it is there; one process at a time builds.  Raises PartsError.
    """
    folder = parts.resolve() / "oracle"
    stamp = folder / "source.sha256"
    wanted = sha256(SOURCE.read_bytes() + Path(__file__).read_bytes()).hexdigest()
    with parts_lock(parts):
        if not stamp.exists() or stamp.read_text() != wanted:
            _fetch(folder)
            _compile(folder)
            stamp.write_text(wanted)
    return folder


def _fetch(folder: Path) -> None:
    wanted = "\n".join((*LIBRARIES, *TOOLS))
    stamp = folder / "packages"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    for place, packages in (("root", LIBRARIES), ("tools", TOOLS)):
        target = folder / place
        target.mkdir(parents=True)
        for package in packages:
            with tempfile.TemporaryDirectory(prefix="pvboot-deb-") as into:
                deb = download_package(package, Path(into))
                run_tool("dpkg-deb", "-x", str(deb), str(target))
                if package == LIBRARY_PACKAGE:
                    version = run_tool("dpkg-deb", "-f", str(deb), "Version").strip()
                    (folder / "version").write_text(version)
    # Last, as the mark that all packages are unpacked.
    stamp.write_text(wanted)


def _compile(folder: Path) -> None:
    libraries = f"{folder}/root/{LIBRARY_FOLDER}"
    command = [
        "gcc",
        "-O2",
        "-std=gnu11",
        "-Wall",
        "-Wno-unused-parameter",
        "-D__XEN_TOOLS__",
        f'-DLIBVER="{(folder / "version").read_text()}"',
        f"-I{folder}/root/usr/include",
        str(SOURCE),
        "-o",
        str(folder / "oracle"),
        "-rdynamic",
        f"-L{libraries}",
        "-lxenguest",
        "-lxenctrl",
        "-lxentoollog",
        # The libraries need each other, and nothing of Xen is installed here.
        f"-Wl,-rpath-link,{libraries}",
        f"-Wl,--disable-new-dtags,-rpath,$ORIGIN/root/{LIBRARY_FOLDER}",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as err:
        raise PartsError("gcc is needed to build the oracle") from err
    if done.returncode:
        raise PartsError(f"the oracle does not compile: {done.stderr.strip()[:2000]}")


def tool_environment(folder: Path) -> dict[str, str]:
    """PATH and library path that make the programs under `tools/` of an oracle folder run."""
    # liblzo2 still lives outside /usr.
    libraries = ":".join(f"{folder}/tools/{place}" for place in (LIBRARY_FOLDER, "lib/x86_64-linux-gnu"))
    return {"PATH": f"{folder}/tools/usr/bin:/usr/bin:/bin", "LD_LIBRARY_PATH": libraries}
