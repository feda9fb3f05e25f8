"""The registry of modules: what a confined job may import later is loaded before, or can be asked for."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pvboot.confine import preload

REPOSITORY = Path(__file__).resolve().parents[2]
# Imported late by the parent's side, for images that a child without the network does not read, to make parsers and for
# programming errors.
NOT_FOR_CHILDREN = {
    "dataclasses",
    "fsspec",
    "grammars.elements",
    "pkgutil",
    "pvboot.fetch.source",
    "pyparsing",
    "termios",
}
# A job, and what its program imports anyway.
JOBS = {
    "boot-loader": "import pvboot.libxl.pygrub.main; [*map(preload.load, preload.ON_DEMAND)]",
    "boot-menu": "import pvboot.libxl.pygrub.main",
    "check": "import pvboot.check.fleet; from pvboot.check.rules import load_rules; load_rules()",
    "image-reader": "import pvboot.serve.reader",
    "machine": "import pvboot.check.run_entry",
    "netboot": "import pvboot.libxl.netboot.main, pvboot.libxl.netboot.sources",
}
# What their programs import late for other jobs.
OTHERS = {
    "boot-loader": ("pvboot.screen", "pvboot.shell"),
    "check": ("numpy", "pvboot.handoff", "pvboot.machine"),
    "check-plan": ("pvboot.machine",),
    "netboot": ("pvboot.fetch", "tempfile"),
}
JOBS |= {"check-plan": JOBS["check"], "check-run": JOBS["check"]}


def late_imports(path: str) -> set[str]:
    """The modules that functions of a source file import."""
    names = set()
    for function in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, AttributeError, ValueError):
        return False


@pytest.mark.parametrize("job", [job for job in preload.PRELOADED if job != "fetch"])
def test_nothing_is_left_to_be_imported(job: str) -> None:
    code = f"""
import sys
from pvboot.confine import preload
{JOBS[job]}
preload.preload({job!r})
print(*sys.modules)
print(*(module.__file__ for name, module in sys.modules.items()
    if name.partition(".")[0] in ("pvboot", "fsdrivers", "grammars") and getattr(module, "__file__", None)))
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    modules, files = (set(line.split()) for line in done.stdout.splitlines())
    late = set().union(*map(late_imports, files)) - modules - NOT_FOR_CHILDREN - set(sys.builtin_module_names)
    assert not {name for name in late if is_module(name) and not name.startswith(OTHERS.get(job, "-"))}


def test_fetching_loads_its_modules() -> None:
    preload.preload("fetch")
