"""Log lines as logfmt or JSON, one an event; a thread writes them, so that no transfer waits for who reads the log."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections import deque

from pvboot.safe_text import safe

_WAITING_LIMIT = 10_000  # lines
_VALUE_LIMIT = 4096  # characters
# As in sd-daemon.h: journald takes the level from the line's start.
_SYSLOG_LEVELS = {"debug": 7, "info": 6, "warning": 4, "error": 3}

Value = str | int | float


class LogWriter:
    """Lines on standard error.  Made after the last fork of its process; `say` before `start` writes at once."""

    def __init__(self, log_format: str, *, process: str = "", fd: int = 2) -> None:
        self._json = log_format == "json"
        self._process = process
        self._fd = fd
        # journald adds the time and wants the level in front; both only when it is the one who listens.
        self._journald = "JOURNAL_STREAM" in os.environ and os.environ["JOURNAL_STREAM"] == _stream_id(fd)
        self._waiting: deque[bytes] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._lost = 0

    def start(self) -> None:
        """Write from a thread of its own from here on."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def say(self, event: str, level: str = "info", /, **values: Value) -> None:
        """One line; what is not printable in it is escaped."""
        line = self._line(event, level, values)
        if self._thread is None:
            _write(self._fd, line)
            return
        with self._wake:
            if len(self._waiting) >= _WAITING_LIMIT:
                self._lost += 1
                return
            self._waiting.append(line)
            self._wake.notify()

    def _line(self, event: str, level: str, values: dict[str, Value]) -> bytes:
        fields: dict[str, Value] = {"level": level, "event": event}
        if not self._journald:
            fields = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **fields}
        if self._process:
            fields["process"] = self._process
        fields.update((name, _shown(value)) for name, value in values.items())
        if self._json:
            text = json.dumps(fields, ensure_ascii=True)
        else:
            text = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
        prefix = f"<{_SYSLOG_LEVELS.get(level, 6)}>" if self._journald else ""
        return f"{prefix}{text}\n".encode("utf-8", "backslashreplace")

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stopping:
                    self._wake.wait()
                lines, lost = list(self._waiting), self._lost
                self._waiting.clear()
                self._lost = 0
                if not lines and self._stopping:
                    return
            if lost:
                lines.append(self._line("log-lines-lost", "warning", {"count": lost}))
            _write(self._fd, b"".join(lines))

    def close(self) -> None:
        """Write what waits (for up to two seconds: the reader may be gone) and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(2)


def _stream_id(fd: int) -> str:
    try:
        facts = os.fstat(fd)
    except OSError:
        return ""
    return f"{facts.st_dev}:{facts.st_ino}"


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(OSError):  # nobody reads the log
        while view:
            view = view[os.write(fd, view) :]


def _shown(value: Value) -> Value:
    if isinstance(value, float):
        return round(value, 3)
    return safe(value[:_VALUE_LIMIT]) if isinstance(value, str) else value


def _quoted(value: Value) -> str:
    text = str(value)
    plain = text and not any(letter in text for letter in ' "=\\')
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class LogHandler(logging.Handler):
    """What the standard library's loggers are told, as lines of a `LogWriter`."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__(logging.WARNING)
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """One line, with the traceback of an unforeseen error in it."""
        level = record.levelname.lower() if record.levelno < logging.CRITICAL else "error"
        values: dict[str, Value] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            values["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._writer.say("message", level, **values)
