"""Makes the confined readers: a small process without threads that forks one for each image.

A server with threads must not fork (a lock that another thread holds would stay locked in the child), so each worker
starts its nursery before its first thread and later only asks it for readers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import struct
import sys
import threading
import traceback
from dataclasses import astuple
from typing import NoReturn

from pvboot.serve.reader import ReaderJob, import_drivers, run_reader
from pvboot.serve.reader_wire import AnswerLimits, ImageError

_JOB = struct.Struct("=QdIQIQI")
_NAME_LIMIT_BYTES = 1024
_ANSWER_SECONDS = 20.0
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent `parent` ends, however that ends.

    To be called again after a change of user, which resets it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def name_process(name: str) -> None:
    """What `ps` shows, up to 15 bytes."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    libc.prctl(_PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0)


class Nursery:
    """The owner's end; thread-safe.  Make it before the first thread is started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        import_drivers()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _run_nursery(its, parent)
        its.close()
        mine.settimeout(_ANSWER_SECONDS)
        self._socket = mine

    def start(self, job: ReaderJob, image_fd: int) -> tuple[socket.socket, int, int]:
        """A new reader: the socket to talk to it, its process id and a pidfd; both descriptors become the caller's.

        Raises `ImageError`.
        """
        mine, its = socket.socketpair()
        fds: list[int] = []
        try:
            message = _pack(job)
            with self._lock:
                socket.send_fds(self._socket, [message], [image_fd, its.fileno()])
                answer, fds, _flags, _address = socket.recv_fds(self._socket, 64, 1)
            if len(fds) != 1 or len(answer) != 4:
                raise ImageError("no reader for the image could be started", found=answer.decode("utf-8", "replace"))
            return mine, int.from_bytes(answer, sys.byteorder), fds[0]
        except OSError as err:
            mine.close()
            raise ImageError("the process that makes readers is gone", found=str(err.strerror or err)) from err
        except ImageError:
            mine.close()
            raise
        finally:
            its.close()

    def wait(self) -> None:
        """Until the nursery has ended, which it does only by `close` or by accident."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def close(self) -> None:
        """End the nursery and with it all its readers."""
        self._socket.close()
        self.wait()


def _pack(job: ReaderJob) -> bytes:
    name = job.name.encode("utf-8", "surrogateescape")[-_NAME_LIMIT_BYTES:]
    limits = job.answers
    numbers = (job.size, job.think_seconds, job.cpu_seconds, job.memory_bytes, *astuple(limits))
    return _JOB.pack(*numbers) + name


def _unpack(message: bytes) -> ReaderJob:
    size, think, cpu, memory, *limits = _JOB.unpack_from(message)
    name = message[_JOB.size :].decode("utf-8", "surrogateescape")
    return ReaderJob(name, size, think, cpu, memory, AnswerLimits(*limits))


def _run_nursery(control: socket.socket, parent: int) -> NoReturn:
    """Fork a reader for each message, until the owner closes its end."""
    code = 1
    try:
        die_with_parent(parent)
        name_process("pvboot-nursery")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)  # the owner decides; a terminal's Ctrl-C reaches all processes
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
        signal.set_wakeup_fd(-1)
        _close_all_but(control.fileno())
        while True:
            message, fds, _flags, _address = socket.recv_fds(control, _JOB.size + _NAME_LIMIT_BYTES, 2)
            if not message:
                break
            _start_reader(control, message, fds)
        code = 0
    finally:
        os._exit(code)


def _start_reader(control: socket.socket, message: bytes, fds: list[int]) -> None:
    try:
        child = os.fork()
    except OSError as err:
        socket.send_fds(control, [f"fork: {err.strerror}".encode()], [])
        child = -1
    if not child:
        try:
            image_fd, talk_fd = fds
            name_process("pvboot-reader")
            run_reader(_unpack(message), image_fd, talk_fd)
        except (BrokenPipeError, ConnectionResetError):
            pass  # nobody wants the answer any more
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(0)
    for fd in fds:
        os.close(fd)
    if child > 0:
        pidfd = os.pidfd_open(child)
        try:
            socket.send_fds(control, [child.to_bytes(4, sys.byteorder)], [pidfd])
        finally:
            os.close(pidfd)


def _close_all_but(keep: int) -> None:
    """Listening sockets, other workers' channels: nothing of them is a reader's."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    # Standard error stays: an unforeseen error should be seen.  Readers close it.
    os.closerange(3, keep)
    os.closerange(keep + 1, min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20))
