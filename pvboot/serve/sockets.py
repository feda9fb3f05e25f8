"""The listening sockets, bound here or handed over by systemd, and messages to systemd."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISSOCK

from pvboot.errors import NetworkError
from pvboot.serve.config import PROTOCOLS, Address, Config
from pvboot.serve.user import look_up

_FIRST_FD = 3  # SD_LISTEN_FDS_START of sd-daemon.h
_FDS_LIMIT = 64
_BACKLOG = 1024
_TFTP_BUFFER_BYTES = 1 << 20  # requests of a whole rack at once


ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound socket, its protocol (or `ADMIN`) and the address that the configuration gave for it, ("", 0) when
    inherited."""

    protocol: str
    asked: Address | Path
    sock: socket.socket

    @property
    def address(self) -> Address | Path:
        """The address at which it really listens."""
        name = self.sock.getsockname()
        return Path(name) if isinstance(name, str) else (name[0], name[1])

    @property
    def is_local(self) -> bool:
        """True if only this host reaches it."""
        address = self.address
        return isinstance(address, Path) or ipaddress.ip_address(address[0]).is_loopback

    def __str__(self) -> str:
        address = self.address
        place = f"unix:{address}" if isinstance(address, Path) else f"{as_url_host(address[0])}:{address[1]}"
        return f"{ADMIN} {place}" if self.protocol == ADMIN else f"{self.protocol}://{place}"

    def close(self) -> None:
        """Close the socket; a Unix socket's name goes with it if this process may remove it."""
        address = self.address
        self.sock.close()
        if isinstance(address, Path) and isinstance(self.asked, Path):
            with contextlib.suppress(OSError):
                address.unlink()


def bind(config: Config, inherited: Mapping[str, list[Listener]], kept: list[Listener]) -> list[Listener]:
    """Bind a socket for each address of the configuration.

    A protocol whose sockets came from systemd takes no others; sockets of `kept` are used again.
    Raises `NetworkError`, and then none of the new ones is left open.
    """
    unused = list(kept)
    bound: list[Listener] = []
    fresh: list[Listener] = []
    try:
        for protocol in (*PROTOCOLS, ADMIN):
            if protocol in inherited:
                bound += inherited[protocol]
                continue
            for asked in config.listen.admin if protocol == ADMIN else config.listen.guests(protocol):
                old = next((one for one in unused if (one.protocol, one.asked) == (protocol, asked)), None)
                if old is not None:
                    unused.remove(old)
                    bound.append(old)
                    continue
                sock = _bind_path(asked, config) if isinstance(asked, Path) else _bind_address(protocol, *asked)
                fresh.append(Listener(protocol, asked, sock))
                bound.append(fresh[-1])
    except NetworkError:
        for listener in fresh:
            listener.close()
        raise
    return bound


def _bind_path(path: Path, config: Config) -> socket.socket:
    """Bind a Unix socket for the server's user and group; the socket of a server that has died is replaced."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if path.exists() and S_ISSOCK(path.stat().st_mode) and sock.connect_ex(str(path)) == errno.ECONNREFUSED:
            path.unlink()
        sock.bind(str(path))
        path.chmod(0o660)
        if os.geteuid() == 0:
            os.chown(path, *look_up(config.user, config.group)[1:])
        sock.listen(_BACKLOG)
    except OSError as err:
        sock.close()
        raise NetworkError(f"cannot listen: {err.strerror}", where=f"{ADMIN} unix:{path}") from err
    return sock


def _bind_address(protocol: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM if protocol == "tftp" else socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            # So that 0.0.0.0 and [::] can stand side by side.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tftp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _TFTP_BUFFER_BYTES)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(socket.getaddrinfo(host, port, family, sock.type, 0, socket.AI_NUMERICHOST)[0][4])
        if protocol != "tftp":
            # From here on connections wait in the kernel, whichever worker comes to take them.
            sock.listen(_BACKLOG)
    except OSError as err:
        sock.close()
        raise NetworkError(f"cannot listen: {err.strerror}", where=f"{protocol} {host} port {port}") from err
    sock.setblocking(False)
    return sock


def inherit(environment: MutableMapping[str, str]) -> dict[str, list[Listener]]:
    """Take the sockets that systemd hands over, by protocol, and remove the variables that tell of them.

    `FileDescriptorName=` says the protocol; without one, datagram sockets are TFTP's and stream sockets HTTP's.
    Raises `NetworkError`.
    """
    values = [environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")]
    pid, count, names = values[0], values[1], values[2].split(":")
    if pid != str(os.getpid()) or not count.isascii() or not count.isdigit():
        return {}
    if int(count[:9]) > _FDS_LIMIT:
        raise NetworkError("too many sockets were handed over", expected=f"at most {_FDS_LIMIT}", found=count)
    found: dict[str, list[Listener]] = {}
    for index in range(int(count)):
        name = names[index] if index < len(names) else ""
        try:
            sock = socket.socket(fileno=_FIRST_FD + index)
        except OSError as err:
            raise NetworkError("not a socket was handed over", where=f"descriptor {_FIRST_FD + index}") from err
        is_datagram = sock.type == socket.SOCK_DGRAM
        protocol = name if name in (*PROTOCOLS, ADMIN) else "tftp" if is_datagram else "http"
        families = (socket.AF_INET, socket.AF_INET6, *((socket.AF_UNIX,) if protocol == ADMIN else ()))
        if sock.family not in families or is_datagram != (protocol == "tftp"):
            raise NetworkError("a handed-over socket is of the wrong kind", where=f"{name or 'without name'}")
        sock.set_inheritable(False)
        sock.setblocking(False)
        found.setdefault(protocol, []).append(Listener(protocol, ("", index), sock))
    return found


def notify(*lines: str) -> None:
    """Tell systemd (sd_notify), if it listens; it may be gone."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return
    address = "\0" + place[1:] if place.startswith("@") else place
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto("\n".join(lines).encode(), address)


def reloading() -> str:
    """Return the message to systemd about a reload: it wants the moment, too."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def as_url_host(host: str) -> str:
    """Return a host as it stands in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
