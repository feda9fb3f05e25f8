"""A TFTP server as a process: `python -m tests.serve.tftp.standalone FILE` prints its port and serves FILE as /file."""

from __future__ import annotations

import os
import signal
import socket
import sys

from fsdrivers.api import Extent
from pvboot.serve.tftp.server import TftpServer
from tests.serve.journal import MemoryJournal
from tests.serve.tftp.served import Files


def main() -> None:
    """Serve until SIGTERM; then tell the outcomes."""
    fd = os.open(sys.argv[1], os.O_RDONLY)
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    journal = MemoryJournal()
    server = TftpServer([listener], Files({"/file": [Extent(os.fstat(fd).st_size, fd=fd)]}), journal)
    signal.signal(signal.SIGTERM, lambda *_: server.stop(3))
    server.run()
    print(dict(journal.outcomes), dict(journal.counts), flush=True)


if __name__ == "__main__":
    main()
