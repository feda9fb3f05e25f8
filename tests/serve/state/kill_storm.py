"""Servers that are killed in the middle of their writes, and what their database holds afterwards.

    python -m tests.serve.state.kill_storm FOLDER ROUNDS SEED

Each round is a process of its own: a whole `ServerState`, three threads that put clients and next boots through the
HTTP API and report to a pipe each write that was acknowledged, and a journal under load.  It is killed after a random
number of them, at a random moment of the next.  Then another process's state must find every acknowledged record.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.serve.state.helpers import ask, read, state_in, who

THREADS = 3
NUMBERS_A_ROUND = 1_000_000


def storm(folder: Path, pipe: int, first: int) -> None:
    """Write until killed."""

    def write(offset: int) -> None:
        for number in range(first + offset, first + NUMBERS_A_ROUND, THREADS):
            name = f"client-{number}"
            status, _ = ask(state, "PUT", f"/api/v1/clients/{name}", {"mac": f"{number:012x}", "profile": "debian"})
            assert status == 201, status
            os.write(pipe, f"{number} client\n".encode())
            status, _ = ask(state, "PUT", f"/api/v1/clients/{name}/next-boot", {"profile": "rescue"})
            assert status == 200, status
            os.write(pipe, f"{number} next\n".encode())

    with state_in(folder) as state:
        for offset in range(THREADS):
            threading.Thread(target=write, args=(offset,), daemon=True).start()
        while True:
            read(state, "/boot/menu.lst", who())
            state.journal.end(state.journal.begin(who(), "/k", 100), "done", 100)


def one_round(folder: Path, first: int, rounds: random.Random) -> set[tuple[int, str]]:
    """Kill a storm; the records that it had acknowledged."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            storm(folder, writer, first)
        finally:
            os._exit(1)
    os.close(writer)
    wanted, said = rounds.randint(1, 30), b""
    while said.count(b"\n") < wanted and (data := os.read(reader, 1 << 16)):
        said += data
    time.sleep(rounds.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the server ended by itself"
    while data := os.read(reader, 1 << 16):
        said += data
    os.close(reader)
    words = (line.split() for line in said.decode().splitlines())
    return {(int(number), kind) for number, kind in words}


def check(folder: Path, acknowledged: set[tuple[int, str]]) -> None:
    """The file is whole, and nothing that was acknowledged is missing."""
    clients: dict[str, Any] = {}
    with state_in(folder) as state:
        after: str | None = ""
        while after is not None:
            page = ask(state, "GET", "/api/v1/clients", query={"limit": ["1000"], "after": [after]})[1]
            clients |= {one["name"]: one for one in page["items"]}
            after = page["next"]
    for number, kind in acknowledged:
        client = clients.get(f"client-{number}")
        assert client is not None, f"client {number} is lost"
        assert client["mac"].replace(":", "") == f"{number:012x}"
        assert kind == "client" or client["next_boot"]["profile"] == "rescue", f"next boot of {number} is lost"
    connection = sqlite3.connect(folder / "state.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def main() -> None:
    folder, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rounds = random.Random(seed)
    acknowledged: set[tuple[int, str]] = set()
    for number in range(count):
        found = one_round(folder, (number + 1) * NUMBERS_A_ROUND, rounds)
        acknowledged |= found
        check(folder, acknowledged)
    print(len(acknowledged))


if __name__ == "__main__":
    main()
