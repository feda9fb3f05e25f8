"""Guests for rules to look at: trees of files as a directory or a disk image, and what a check finds in them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fixtures.make_images import KERNELS
from pvboot.check.api import RULES
from pvboot.check.engine import check_source
from pvboot.check.model import CheckOptions, Finding
from pvboot.check.target import parse_target
from tests.oracle.images import TinyKernel, bzimage, compress, patch

TINY64 = (KERNELS / "tiny64.elf").read_bytes()
TINY32 = (KERNELS / "tiny32.elf").read_bytes()

Tree = Mapping[str, "bytes | str | Path | None"]


def plant(root: Path, tree: Tree) -> Path:
    """Path below `root` -> bytes, text, a link's target (`Path`), or None for an empty directory."""
    for name, content in tree.items():
        path = root / name
        (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            path.symlink_to(content)
        elif content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def menu_lst(kernel: str = "/boot/k", *lines: str, args: str = "root=/dev/xvda1 console=hvc0", root: str = "") -> str:
    """A menu with one entry."""
    first = [f"root {root}"] if root else []
    return "\n".join(["default 0", "timeout 5", "title one", *first, f"kernel {kernel} {args}", *lines, ""])


def grub_cfg(*body: str, head: str = "set default=0\nset timeout=5") -> str:
    """A grub.cfg with one entry."""
    return "\n".join([head, "menuentry 'one' {", *(f"\t{line}" for line in body), "}", ""])


def run_tool(*command: str | Path, **options: Any) -> str:
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment, **options)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return str(done.stdout)


def make_ext(image: Path, tree: Path | None, *options: str, kind: str = "ext4", size: str = "16M") -> Path:
    """A file system over a whole image, filled from a directory by mke2fs."""
    source = ("-d", str(tree)) if tree is not None else ()
    run_tool("mke2fs", "-q", "-F", "-t", kind, *options, *source, image, size)
    return image


def check(source: Path, target: str | None = None, **options: Any) -> list[Finding]:
    """Everything that is found, no rule having failed."""
    if target is not None:
        options["target"] = parse_target(target)
    result = check_source(str(source), CheckOptions(**options))
    assert result.error is None, result.error
    assert not [finding for finding in result.findings if finding.rule == "internal-error"], result.findings
    return list(result.findings)


def of(findings: list[Finding], *rules: str) -> list[Finding]:
    """The findings of these rules."""
    assert all(rule in RULES for rule in rules), rules
    return [finding for finding in findings if finding.rule in rules]


def rules_of(findings: list[Finding], *severities: str) -> set[str]:
    """The ids of what was found, at these severities or at any."""
    return {finding.rule for finding in findings if not severities or finding.severity in severities}


def linux(version: str, codec: str = "gzip", oracle: Path | None = None) -> bytes:
    """A tiny PV kernel that says it is Linux, packed as a bzImage whose header tells the version."""
    elf = TinyKernel(notes={"GUEST_OS": "linux"}).build()
    kernel = bzimage(compress(elf, codec, oracle or Path()), setup_sects=2)
    at = 0x300
    text = version.encode() + b" (made) #1\0"
    return patch(kernel[:at] + text + kernel[at + len(text) :], 0x20E, "H", at - 0x200)
