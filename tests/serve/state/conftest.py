"""A real PostgreSQL: Debian's binaries, a cluster of the tests' own, reached by a unix socket only."""

from __future__ import annotations

import grp
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serve.state.helpers import Served, state_in


def _postgresql_binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.fail("PostgreSQL is not installed (Debian's package postgresql)", pytrace=False)
    return found[-1].parent


def _as_ordinary_user() -> dict[str, object]:
    """PostgreSQL refuses to run as root."""
    if os.getuid():
        return {}
    return {"user": pwd.getpwnam("nobody").pw_uid, "group": grp.getgrnam("nogroup").gr_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgresql_socket() -> Iterator[Path]:
    """The directory of a running cluster's socket; its path must be short (107 bytes with the socket's name)."""
    binaries, user = _postgresql_binaries(), _as_ordinary_user()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if user:
        os.chown(folder, int(str(user["user"])), int(str(user["group"])))
    data = folder / "data"
    options = ["--auth=trust", "--username=tests", "--encoding=UTF8", "--no-locale", "--no-sync"]
    subprocess.run(
        [binaries / "initdb", f"--pgdata={data}", *options], check=True, capture_output=True, cwd=folder, **user
    )  # type: ignore[call-overload]
    settings = [f"unix_socket_directories={folder}", "listen_addresses=", "shared_buffers=16MB", "fsync=off"]
    arguments = [argument for setting in settings for argument in ("-c", setting)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *arguments], stdout=log, stderr=log, cwd=folder, **user
        )  # type: ignore[call-overload]
    try:
        ready = [binaries / "pg_isready", "-h", folder, "-t", "1", "-U", "tests", "-d", "postgres"]
        while subprocess.run(ready, capture_output=True).returncode:
            if server.poll() is not None:
                pytest.fail((folder / "log").read_text(), pytrace=False)
        yield folder
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: nobody needs the data any more
        server.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_database(postgresql_socket: Path) -> Callable[[], str]:
    """Makes an empty database; gives its URL."""
    numbers = itertools.count()

    def make() -> str:
        name = f"state{next(numbers)}"
        command = [_postgresql_binaries() / "createdb", "-h", postgresql_socket, "-U", "tests", name]
        subprocess.run(command, check=True, capture_output=True)
        return f"postgresql://tests@/{name}?host={postgresql_socket}"

    return make


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Served]:
    """A state on a SQLite file, and a server of its API."""
    with state_in(tmp_path) as one:
        yield one
