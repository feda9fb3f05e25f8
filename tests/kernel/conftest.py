"""Shared by the kernel room's tests: the oracle, and comparing a parsed kernel with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvboot.kernel.image import KernelImage
from pvboot.kernel.report import parms_json
from tests.oracle.run import run_oracle

AskXen = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def oracle(parts: Callable[[str], Path]) -> Path:
    """The folder with Xen's domain builder."""
    return parts("oracle")


@pytest.fixture(scope="session")
def ask_xen(oracle: Path, tmp_path_factory: pytest.TempPathFactory) -> AskXen:
    """`ask_xen(kernel_bytes, *oracle_args)`: what Xen's builder makes of a kernel, as the oracle's JSON."""
    path = tmp_path_factory.mktemp("kernels") / "kernel"

    def ask(kernel: bytes, *args: Path | str) -> dict[str, Any]:
        path.write_bytes(kernel)
        return run_oracle(oracle, path, "--mem", "64", "--no-hash", *args, timeout=10)

    return ask


def refused_by_parser(result: dict[str, Any]) -> bool:
    """Whether Xen's builder refused the kernel itself, not the domain around it."""
    return result["status"] == "error" and result["stage"] in ("xc_dom_kernel_file", "xc_dom_parse_image")


def differences(image: KernelImage, result: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Fields of `parms` in which ours and the oracle's differ."""
    ours, theirs = parms_json(image), dict(result["parms"])
    if result["status"] != "ok":
        # The builder drops a useless INIT_P2M only while it builds.
        theirs["p2m_base"] = ours["p2m_base"]
    return {name: (ours[name], theirs.get(name)) for name in ours if ours[name] != theirs.get(name)}


def kernel_memory(image: KernelImage) -> bytes:
    """The kernel segment's pages, with all pieces applied in order."""
    pages = -(-(image.virt_kend - image.virt_kstart) // 4096)
    memory = bytearray(pages * 4096)
    for piece in image.pieces:
        memory[piece.offset : piece.offset + piece.size] = bytes(piece.data).ljust(piece.size, b"\0")
    assert len(memory) == pages * 4096, "a piece passes the end of the kernel's last page"
    return bytes(memory)
