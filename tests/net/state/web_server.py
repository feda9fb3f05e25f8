"""The handlers behind the standard library's HTTP server, for tests with a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from pvboot.net.serve.api import Request, Requester
from pvboot.net.serve.state.server import ServerState


@contextmanager
def web_server(state: ServerState) -> Iterator[str]:
    """The base URL of a running server."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            path = "/" + "/".join(part for part in unquote(parts.path).split("/") if part)
            headers = {name.lower(): value for name, value in self.headers.items()}
            who = Requester("http", str(self.client_address[0]))
            request = Request(self.command, path, parse_qs(parts.query), headers, body, who)
            found = next((answer for handler in state.handlers if (answer := handler(request)) is not None), None)
            self.send_response(found.status if found else 404)
            data = found.body if found else b""
            for name, value in (found.headers if found else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", found.content_type if found else "text/plain")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

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
