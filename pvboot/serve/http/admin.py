"""The administrator's application: only pages of this server's own hosts may speak with it."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from pvboot.serve.api import Journal
from pvboot.serve.http.connection import refusal
from pvboot.serve.http.limits import HttpLimits
from pvboot.serve.http.server import HttpServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_application(hosts: Collection[str], limits: HttpLimits) -> web.Application:
    """Return an application without routes that answers to its own addresses and to `hosts` (names or addresses)."""
    own = frozenset(map(str.lower, hosts))

    @web.middleware
    async def check_host(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse pages of other sites: their name may be bound to our address, and their scripts send their origin."""
        host = request.headers.get("Host", "")
        if _host_name(host) not in own | _local_names(request):
            return refusal(421, "not a host of this server")
        if request.headers.get("Origin", f"http://{host}") not in (f"http://{host}", f"https://{host}"):
            return refusal(403, "a page of another site")
        return await handler(request)

    @web.middleware
    async def read_body(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Read a body before its handler asks for it, in the time that the limits allow."""
        try:
            async with asyncio.timeout(limits.body_seconds):
                await request.read()
        except TimeoutError:
            answer = refusal(408, Connection="close")
            answer.force_close()
            return answer
        return await handler(request)

    return web.Application(middlewares=[check_host, read_body], client_max_size=limits.body_bytes)


def _host_name(host: str) -> str:
    """Return the name or address in a Host field, "" if there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _local_names(request: web.Request) -> set[str]:
    """Return what the address that a connection was made to is called."""
    sockname: Any = None if request.transport is None else request.transport.get_extra_info("sockname")
    if not isinstance(sockname, tuple):
        return {"localhost"}
    address = str(sockname[0]).partition("%")[0]
    return {address, "localhost"} if ipaddress.ip_address(address).is_loopback else {address}


async def admin_server(application: web.Application, journal: Journal, limits: HttpLimits) -> HttpServer:
    """Return a server of an application."""
    runner = web.AppRunner(application)
    await runner.setup()
    assert runner.server is not None
    return HttpServer(runner.server, journal, limits)
