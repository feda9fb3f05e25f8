"""The unit files for systemd that `pvboot serve --print-unit` prints (systemd.service(5), systemd.socket(5))."""

from __future__ import annotations

import sys
from importlib.resources import files

_PACKAGED = "/usr/bin/pvboot"  # the program in the files


def unit(name: str) -> str:
    """The text of `service`, or of `tftp.socket`, `http.socket`, `https.socket`, with this program in it."""
    file = "pvboot-serve.service" if name == "service" else f"pvboot-serve-{name}"
    text = (files("pvboot.serve") / "systemd" / file).read_text("utf-8")
    return text.replace(_PACKAGED, _program())


def _program() -> str:
    """The command that started this program, with an absolute path as systemd needs it."""
    started = sys.argv[0]
    return started if started.startswith("/") and not started.endswith(".py") else f"{sys.executable} -m pvboot"
