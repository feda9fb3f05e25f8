"""Limits of a TFTP server."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, Strict, model_validator

from pvboot.validation import Mistake, Model, refusal

# RFC 2348: 8 to 65464 bytes of data a block.
MIN_BLKSIZE = 8
MAX_BLKSIZE = 65464
DEFAULT_BLKSIZE = 512

Sessions = Annotated[int, Field(ge=1, le=1 << 20)]
Port = Annotated[int, Field(ge=1, le=65535)]


class TftpLimits(Model):
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

    sessions: Sessions = 2048
    sessions_per_address: Sessions = 256
    open_threads: Annotated[int, Field(ge=1, le=256)] = 4
    blksize: Annotated[int, Field(ge=MIN_BLKSIZE, le=MAX_BLKSIZE)] = MAX_BLKSIZE
    fragment: bool = False
    windowsize: Annotated[int, Field(ge=1, le=65535)] = 64
    window_bytes: Annotated[int, Field(ge=4096, le=64 << 20)] = 128 << 10
    timeout: Annotated[float, Field(le=255)] = 1.0
    timeout_min: Annotated[float, Field(ge=0.01, le=255)] = 0.2
    timeout_max: Annotated[float, Field(le=255)] = 4.0
    retries: Annotated[int, Field(ge=0, le=100)] = 10
    half_open_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 15.0
    session_seconds: Annotated[float | None, Field(ge=0)] = None
    netascii_bytes: Annotated[int, Field(ge=0)] = 1 << 20
    ports: Annotated[tuple[Port, Port], Strict(False)] | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        wrong = []
        if self.timeout < self.timeout_min:
            wrong.append(Mistake("out of range", "timeout", f"at least {self.timeout_min}", str(self.timeout)))
        if self.timeout_max < self.timeout:
            wrong.append(Mistake("out of range", "timeout_max", f"at least {self.timeout}", str(self.timeout_max)))
        if self.ports is not None and self.ports[0] > self.ports[1]:
            wrong.append(Mistake("not a range of ports", "ports", "the first and the last", str(self.ports)))
        if wrong:
            raise refusal(*wrong)
        return self
