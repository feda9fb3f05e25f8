"""The netboot server's HTTP/1.1: `server.HttpServer` on plain asyncio, sending files straight out of their extents.

From the socket inwards: `server` accepts and watches the clock, `wire` is one non-blocking socket (plain or TLS),
`connection` reads requests and sends answers, `parse` judges the bytes, `answers` finds what to answer (in a thread)
with `conditional` and `ranges`, `send` turns extents into pieces for the socket, `listing` writes directories.
What must not live here: where content comes from, who a client is, what is done at which path.
"""
