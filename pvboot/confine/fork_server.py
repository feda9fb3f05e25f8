"""Starts confined children for a program with threads: a small process without any forks one for each request.

A process with threads must not fork (a lock that another thread holds would stay locked in the child), so the owner
makes its fork server before its first thread and later only asks it for children.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

from fsdrivers.light import Any, NoReturn
from pvboot.confine import layers
from pvboot.confine.child import Channel, become
from pvboot.confine.jobs import Grants, Job, JobLimits, SandboxError
from pvboot.confine.parent import Child, Report

MESSAGE_LIMIT_BYTES = 16 << 10
ANSWER_SECONDS = 20.0

# What a child does with its channel, the one descriptor that it is given, and what the owner says of it.
Work = Callable[[Channel, int, Any], None]


class ForkServer:
    """The owner's end; thread-safe.  Make it before the first thread is started, with all modules loaded."""

    def __init__(self, job: Job, work: Work) -> None:
        self._lock = threading.Lock()
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _serve(its, parent, job, work)
        its.close()
        mine.settimeout(ANSWER_SECONDS)
        self._socket = mine

    def start(self, job: Job, limits: JobLimits, fd: int, about: Any) -> Child:
        """Start a child with the descriptor `fd`; `about` goes to it as JSON.  Raises `SandboxError`."""
        mine, its = socket.socketpair()
        mine.setblocking(False)
        with its, contextlib.ExitStack() as undo:
            undo.callback(mine.close)
            try:
                with self._lock:
                    socket.send_fds(self._socket, [json.dumps([limits, about]).encode()], [fd, its.fileno()])
                    answer, fds, _flags, _address = socket.recv_fds(self._socket, 64, 1)
            except OSError as err:
                raise SandboxError("the fork server is gone", found=str(err.strerror or err)) from err
            if len(fds) != 1 or len(answer) != 4:
                raise SandboxError("no child could be started", found=answer.decode("utf-8", "replace"))
            undo.pop_all()
        return Child(job, limits, int.from_bytes(answer, sys.byteorder), fds[0], mine.detach(), Report(), ours=False)

    def wait(self) -> None:
        """Wait until the fork server has ended, which it does only by `close` or by accident."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def close(self) -> None:
        """End the fork server and with it all its children."""
        self._socket.close()
        self.wait()


def _serve(control: socket.socket, parent: int, job: Job, work: Work) -> NoReturn:
    """Fork a child for each message, until the owner closes its end."""
    code = 1
    try:
        layers.die_with_parent(parent)
        layers.name_process("pvboot-forks")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)  # the owner decides; a terminal's Ctrl-C reaches all processes
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
        signal.set_wakeup_fd(-1)
        # Listening sockets, other children's channels: nothing of them is a child's.
        layers.close_others({control.fileno(), 2}, standard=True)
        while True:
            message, fds, _flags, _address = socket.recv_fds(control, MESSAGE_LIMIT_BYTES, 2)
            if not message:
                break
            _start(control, message, fds, job, work)
        code = 0
    finally:
        os._exit(code)


def _start(control: socket.socket, message: bytes, fds: list[int], job: Job, work: Work) -> None:
    me = os.getpid()
    try:
        child = os.fork()
    except OSError as err:
        socket.send_fds(control, [f"fork: {err.strerror}".encode()], [])
        child = -1
    if not child:
        fd, talk = fds
        limits, about = json.loads(message)
        become(job, lambda channel: work(channel, fd, about), talk, JobLimits(*limits), Grants((fd,)), me)
    for fd in fds:
        os.close(fd)
    if child > 0:
        pidfd = os.pidfd_open(child)
        try:
            socket.send_fds(control, [child.to_bytes(4, sys.byteorder)], [pidfd])
        finally:
            os.close(pidfd)
