"""What a TFTP server allows, all of it set by its owner."""

from __future__ import annotations

from dataclasses import dataclass

from pvboot.errors import UsageError

# RFC 2348: 8 to 65464 bytes of data a block.
MIN_BLKSIZE = 8
MAX_BLKSIZE = 65464
DEFAULT_BLKSIZE = 512


@dataclass(frozen=True, slots=True)
class TftpLimits:
    """Bounds of a server.

    * `sessions`, `sessions_per_address`: transfers at once, requests that are still being opened included;
    * `open_threads`: how many files are looked up at once (a disk may be slow);
    * `blksize`: the largest one agreed to; unless `fragment`, also no larger than the path's MTU takes in one piece;
    * `windowsize`, `window_bytes`: blocks and bytes sent before an ACK (RFC 7440).  The bytes also bound a session's
      memory; receivers' default socket buffers hold no more than the default;
    * `timeout`: seconds until the first resend, as long as no answer has shown how far away the client is; then
      between `timeout_min` and `timeout`, doubled by each resend up to `timeout_max` (PV-GRUB waits 10 s, once);
    * `retries`: resends without an answer until a transfer is given up;
    * `half_open_seconds`: how long a client may take to answer anything at all (its address may be forged);
    * `session_seconds`: the longest transfer, None for no bound;
    * `netascii_bytes`: the largest file converted to netascii (in memory);
    * `ports`: first and last port to send from, None for the system's choice.
    """

    sessions: int = 2048
    sessions_per_address: int = 256
    open_threads: int = 4
    blksize: int = MAX_BLKSIZE
    fragment: bool = False
    windowsize: int = 64
    window_bytes: int = 128 << 10
    timeout: float = 1.0
    timeout_min: float = 0.2
    timeout_max: float = 4.0
    retries: int = 10
    half_open_seconds: float = 15.0
    session_seconds: float | None = None
    netascii_bytes: int = 1 << 20
    ports: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        _within("blksize", self.blksize, MIN_BLKSIZE, MAX_BLKSIZE)
        _within("windowsize", self.windowsize, 1, 65535)
        _within("window_bytes", self.window_bytes, 4096, 64 << 20)
        _within("sessions", self.sessions, 1, 1 << 20)
        _within("sessions_per_address", self.sessions_per_address, 1, 1 << 20)
        _within("open_threads", self.open_threads, 1, 256)
        _within("retries", self.retries, 0, 100)
        _within("timeout_min", self.timeout_min, 0.01, 255)
        _within("timeout", self.timeout, self.timeout_min, 255)
        _within("timeout_max", self.timeout_max, self.timeout, 255)
        _within("half_open_seconds", self.half_open_seconds, 0.1, 3600)
        if self.ports is not None:
            _within("first of ports", self.ports[0], 1, 65535)
            _within("last of ports", self.ports[1], self.ports[0], 65535)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError("TFTP limit out of range", where=name, expected=f"{low} to {high}", found=str(value))
