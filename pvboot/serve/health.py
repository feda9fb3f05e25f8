"""`/metrics` and `/healthz`: the state of the server for Prometheus and for monitoring."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Callable

from aiohttp import web

from pvboot.errors import PvbootError
from pvboot.serve.metrics import FRESH_SECONDS, SharedCounters, render
from pvboot.serve.record import PROBE_PATH
from pvboot.serve.tftp._formats import OPCODE
from pvboot.serve.tftp.packets import ERROR, RRQ

METRICS_PATH, HEALTH_PATH = "/metrics", "/healthz"
SUPERVISOR_SLOT = 0
_PROBE_SECONDS = 2.0
_REMEMBER_SECONDS = 1.0


class Health:
    """Answers both paths of the administrator's application."""

    def __init__(self, counters: SharedCounters, publish: Callable[[], None], check_state: Callable[[], None]) -> None:
        """`publish` puts this worker's own numbers there, `check_state` raises if the state cannot be read."""
        self._counters = counters
        self._publish = publish
        self._check_state = check_state
        self._lock = asyncio.Lock()
        self._known: tuple[float, dict[str, str]] = (-1e9, {})

    def add_to(self, application: web.Application) -> None:
        """Add the routes."""
        application.router.add_get(METRICS_PATH, self._metrics)
        application.router.add_get(HEALTH_PATH, self._health)

    async def _metrics(self, _request: web.Request) -> web.Response:
        self._publish()
        # Names with an underscore only say where to look.
        shown = {key: value for key, value in self._counters.total().items() if not key.startswith("_")}
        text = render(shown)
        return web.Response(body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _health(self, _request: web.Request) -> web.Response:
        async with self._lock:  # however many ask, one looks
            if time.monotonic() - self._known[0] > _REMEMBER_SECONDS:
                problems = await asyncio.to_thread(self._check)
                self._known = (time.monotonic(), problems)
            problems = self._known[1]
        body = {"status": "failing" if problems else "ok", "problems": problems}
        headers = {"Cache-Control": "no-store"}
        return web.json_response(body, status=503 if problems else 200, headers=headers)

    def _check(self) -> dict[str, str]:
        """Return what does not work, by name."""
        problems: dict[str, str] = {}
        facts, _age = self._counters.read(SUPERVISOR_SLOT)
        for key, value in facts.items():
            name, *labels = key.split("\0")
            if name == "_worker_slot":
                _numbers, age = self._counters.read(int(value))
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
    """Ask the TFTP loop for a file that is not there, which it answers by an ERROR; return "" or what is wrong."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    request = OPCODE.pack(RRQ) + PROBE_PATH.encode() + b"\0octet\0"
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((host, port))
            sock.send(request)
            if not select.select([sock], [], [], _PROBE_SECONDS)[0]:
                return "no answer"
            answer = sock.recv(600)
    except OSError as err:
        return f"no answer: {err.strerror}"
    return "" if answer[: OPCODE.size] == OPCODE.pack(ERROR) else "not an ERROR in answer"
