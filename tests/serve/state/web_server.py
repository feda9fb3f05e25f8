"""Handlers and content behind the standard library's HTTP server, for tests with real clients."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from fsdrivers.errors import NotFound
from pvboot.serve.api import Request, Requester, Response
from pvboot.serve.state.menus import MadeFile
from pvboot.serve.state.server import ServerState


@contextmanager
def web_server(state: ServerState) -> Iterator[str]:
    """The base URL of a running server."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            path = "/" + "/".join(part for part in unquote(parts.path).split("/") if part)
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = parse_qs(parts.query)
            claims = {name: query[name][0] for name in ("mac", "uuid", "hostname") if name in query}
            who = Requester("http", str(self.client_address[0]), claims=claims)
            request = Request(self.command, path, query, headers, body, who)
            found = next((answer for handler in state.handlers if (answer := handler(request)) is not None), None)
            if found is None:
                found = self._file(path, who)
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", found.content_type)
            self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body)

        def _file(self, path: str, who: Requester) -> Response:
            try:
                opened = state.content.open(path, who)
            except NotFound as err:
                state.journal.refuse(who, path, err.what)
                return Response(404)
            assert isinstance(opened, MadeFile)
            number = state.journal.begin(who, path, opened.size)
            state.journal.end(number, "done", opened.size)
            return Response(200, opened.data)

        do_GET = do_PUT = do_DELETE = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
