"""`/metrics` and `/healthz`: how the server fares, for Prometheus and for whoever watches over it."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable

from pvboot.errors import PvbootError
from pvboot.serve.api import Request, Response
from pvboot.serve.metrics import FRESH_SECONDS, Board, render
from pvboot.serve.record import PROBE_PATH

METRICS_PATH, HEALTH_PATH = "/metrics", "/healthz"
SUPERVISOR_SLOT = 0
_PROBE_SECONDS = 2.0
_REMEMBER_SECONDS = 1.0
_TFTP_ERROR = 5


class Health:
    """Handles both paths."""

    def __init__(self, board: Board, publish: Callable[[], None], check_state: Callable[[], None]) -> None:
        """`publish` puts this worker's own numbers on the board, `check_state` raises if the state cannot be read."""
        self._board = board
        self._publish = publish
        self._check_state = check_state
        self._lock = threading.Lock()
        self._known: tuple[float, dict[str, str]] = (-1e9, {})

    def __call__(self, request: Request) -> Response | None:
        """The answer to /metrics and /healthz."""
        if request.path not in (METRICS_PATH, HEALTH_PATH):
            return None
        if request.method not in ("GET", "HEAD"):
            return Response(405, headers={"Allow": "GET, HEAD"})
        if request.path == METRICS_PATH:
            self._publish()
            # Names with an underscore only tell us where to look.
            shown = {key: value for key, value in self._board.total().items() if not key.startswith("_")}
            text = render(shown)
            return Response(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")
        with self._lock:  # however many ask, one looks
            if time.monotonic() - self._known[0] > _REMEMBER_SECONDS:
                self._known = (time.monotonic(), self._check())
            problems = self._known[1]
        body = json.dumps({"status": "failing" if problems else "ok", "problems": problems}).encode() + b"\n"
        return Response(503 if problems else 200, body, "application/json", {"Cache-Control": "no-store"})

    def _check(self) -> dict[str, str]:
        """What does not work, by name."""
        problems: dict[str, str] = {}
        facts, _age = self._board.read(SUPERVISOR_SLOT)
        for key, value in facts.items():
            name, *labels = key.split("\0")
            if name == "_worker_slot":
                _numbers, age = self._board.read(int(value))
                if age > FRESH_SECONDS:
                    problems[labels[1]] = "the worker does not report"
            elif name == "_tftp_port":
                problem = _probe_tftp(labels[1], int(value))
                if problem:
                    problems["tftp"] = problem
        missing = facts.get("_workers_missing", 0)
        if missing:
            problems["workers"] = f"{missing:.0f} not running"
        try:
            self._check_state()
        except PvbootError as err:
            problems["state"] = str(err)
        return problems


def _probe_tftp(host: str, port: int) -> str:
    """Ask the TFTP loop for a file that is not there: it answers by an ERROR; "" or what is wrong."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    request = struct.pack(">H", 1) + PROBE_PATH.encode() + b"\0octet\0"
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((host, port))
            sock.send(request)
            if not select.select([sock], [], [], _PROBE_SECONDS)[0]:
                return "no answer"
            answer = sock.recv(600)
    except OSError as err:
        return f"no answer: {err.strerror}"
    return "" if answer[:2] == struct.pack(">H", _TFTP_ERROR) else "a strange answer"
