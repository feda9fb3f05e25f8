"""The machine with the real Xen, one for the whole session."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.xen.machine import Machine, MachineError, running

PACKAGES = ("pvboot", "fsdrivers", "grammars")
# What a boot loader in dom0 may import, as pure Python.
DEPENDENCIES = ("construct", "pyparsing", "requests", "urllib3", "idna", "certifi", "charset_normalizer", "tftpy")
DOM0_PYTHON = "/opt/python"

LAUNCHER = """\
#!/usr/bin/python3
import sys

sys.path.insert(0, "{path}")
from {module} import {function}

sys.exit({function}())
"""


def add_programs(share: Path) -> None:
    """Put this repository's packages, what they import and a launcher for each program into the share."""
    python = share / "python"
    python.mkdir()
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, python / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in DEPENDENCIES:
        for file in importlib.metadata.files(name) or ():
            if file.suffix in (".py", ".pem"):
                (python / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), python / file)
    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    for program, entry in scripts.items():
        module, _, function = entry.partition(":")
        launcher = share / program
        launcher.write_text(LAUNCHER.format(path=DOM0_PYTHON, module=module, function=function))
        launcher.chmod(0o755)


@pytest.fixture(scope="session")
def xen(parts: Callable[[str], Path]) -> Iterator[Machine]:
    """Real Xen with its dom0, ready for `xl`; `PVBOOT_XEN_ACCELERATOR=tcg` or `kvm` leaves QEMU no choice."""
    with tempfile.TemporaryDirectory(prefix="pvboot-xen-") as folder:
        accelerator = os.environ.get("PVBOOT_XEN_ACCELERATOR")
        try:
            machine = running(parts("xen-dom0"), parts("busybox"), Path(folder), add_programs, accelerator)
            with machine as started:
                yield started
        except MachineError as err:
            pytest.fail(f"real Xen: {err}", pytrace=False)
