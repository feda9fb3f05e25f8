"""Log lines as logfmt or JSON, one an event: a formatter for the standard library's logging, and a queue before it.

Events are said by `say`; warnings and errors of other loggers become events named `message`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener
from typing import Any

from pvboot.safe_text import safe

_WAITING_LIMIT = 10_000  # lines
_VALUE_LIMIT = 4096  # characters
_CLOSE_SECONDS = 2.0
# As in sd-daemon.h: journald takes the level from the line's start.
_SYSLOG_LEVELS = {"debug": 7, "info": 6, "warning": 4, "error": 3}

Value = str | int | float

_EVENTS = logging.getLogger("pvboot.events")


def say(event: str, level: str = "info", /, **values: Value) -> None:
    """Log an event; what is not printable in its values is escaped."""
    _EVENTS.log(logging.getLevelNamesMapping()[level.upper()], event, extra={"values": values})


class LineFormatter(logging.Formatter):
    """Records as lines of logfmt or JSON; with `journald` the level stands in front and the time is left out."""

    def __init__(self, log_format: str, *, process: str = "", journald: bool = False) -> None:
        super().__init__()
        self._json = log_format == "json"
        self._process = process
        self._journald = journald

    def format(self, record: logging.LogRecord) -> str:
        """One line; the traceback of an unforeseen error is a value in it."""
        level = record.levelname.lower() if record.levelno < logging.CRITICAL else "error"
        values: dict[str, Value] | None = getattr(record, "values", None)
        event = record.getMessage() if values is not None else "message"
        if values is None:
            values = {"logger": record.name, "message": record.getMessage()}
            if record.exc_info:
                values["traceback"] = self.formatException(record.exc_info)
        fields: dict[str, Value] = {"level": level, "event": event}
        if not self._journald:
            fields = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)), **fields}
        if self._process:
            fields["process"] = self._process
        fields.update((name, _shown(value)) for name, value in values.items())
        if self._json:
            text = json.dumps(fields, ensure_ascii=True)
        else:
            text = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
        return f"<{_SYSLOG_LEVELS.get(level, 6)}>{text}" if self._journald else text


class DescriptorHandler(logging.Handler):
    """Writes lines to a descriptor; if nobody reads there any more they are dropped."""

    def __init__(self, fd: int, log_format: str, process: str = "") -> None:
        super().__init__()
        self._fd = fd
        # journald adds the time and wants the level in front; both only when it is the one who listens.
        journald = "JOURNAL_STREAM" in os.environ and os.environ["JOURNAL_STREAM"] == _stream_id(fd)
        self.setFormatter(LineFormatter(log_format, process=process, journald=journald))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        view = memoryview(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))
        with contextlib.suppress(OSError):
            while view:
                view = view[os.write(self._fd, view) :]


class _BoundedQueueHandler(QueueHandler):
    """Never waits: what does not fit into the queue is lost and counted."""

    queue: queue.SimpleQueue[Any]
    _lost = 0

    def prepare(self, record: logging.LogRecord) -> Any:
        return record  # it stays in this process, so nothing of it has to be pickled

    def enqueue(self, record: logging.LogRecord) -> None:
        if self.queue.qsize() >= _WAITING_LIMIT:
            self._lost += 1
            return
        if self._lost:
            values = {"values": {"count": self._lost}}
            self.queue.put_nowait(
                _EVENTS.makeRecord("", logging.WARNING, "", 0, "log-lines-lost", (), None, extra=values)
            )
            self._lost = 0
        self.queue.put_nowait(record)


def log_to(handler: logging.Handler) -> None:
    """Send events, and warnings of all loggers, to this handler alone."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _EVENTS.setLevel(logging.INFO)


@contextlib.contextmanager
def queued(handler: logging.Handler) -> Iterator[None]:
    """Log through a thread for the time of the block, so that no transfer waits for the log's reader.

    Start it after the last fork of the process.  At the end what waits is written, for up to two seconds: the reader
    may hang.
    """
    lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listener = QueueListener(lines, handler)
    log_to(_BoundedQueueHandler(lines))
    listener.start()
    try:
        yield
    finally:
        log_to(handler)
        stopping = threading.Thread(target=listener.stop, daemon=True)
        stopping.start()
        stopping.join(_CLOSE_SECONDS)


def _stream_id(fd: int) -> str:
    try:
        facts = os.fstat(fd)
    except OSError:
        return ""
    return f"{facts.st_dev}:{facts.st_ino}"


def _shown(value: Value) -> Value:
    if isinstance(value, float):
        return round(value, 3)
    return safe(value[:_VALUE_LIMIT]) if isinstance(value, str) else value


def _quoted(value: Value) -> str:
    text = str(value)
    plain = text and not any(letter in text for letter in ' "=\\')
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
