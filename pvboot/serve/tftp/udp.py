"""The sockets of a TFTP server: the address a request was sent to, from which its answers must come.

A host has many addresses; a client that asked one of them takes no answer from another.  So listening sockets report
each request's destination (ip(7) IP_PKTINFO, ipv6(7) IPV6_RECVPKTINFO), and a transfer's socket is bound to it.  It is
also connected: the kernel drops what strangers send, and reports when the client's port has been closed.
"""

from __future__ import annotations

import errno
import random
import socket
import struct
from dataclasses import dataclass
from typing import Any

# linux/in.h, linux/in6.h, linux/udp.h; Python 3.11 has no names for them.
IP_PKTINFO = 8
IP_MTU = 14
IPV6_MTU = 24
UDP_SEGMENT = 103
# struct in_pktinfo: interface, local address to answer from, destination; struct in6_pktinfo: destination, interface.
IN_PKTINFO = struct.Struct("@i4s4s")
IN6_PKTINFO = struct.Struct("@16sI")

# The kernel cuts one send into at most so many datagrams (UDP_MAX_SEGMENTS of older kernels), of one maximal datagram
# together.
MAX_SEGMENTS = 64
MAX_SEND_BYTES = 65507
# What IP and UDP put before the payload.
OVERHEAD_BYTES = {socket.AF_INET: 28, socket.AF_INET6: 48}
SMALLEST_MTU = {socket.AF_INET: 576, socket.AF_INET6: 1280}

PORT_TRIES = 64
ANY = bytes(4)

Address = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram, its sender, and the own address that it was sent to, as ancillary data for the answer too."""

    data: bytes
    peer: Address
    local: Address
    ancillary: tuple[tuple[int, int, bytes], ...]


def prepare(listener: socket.socket) -> None:
    """Have a bound UDP socket report where each datagram was sent to, and never block."""
    listener.setblocking(False)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        listener.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def receive(listener: socket.socket, most_bytes: int) -> Datagram | None:
    """Return the next datagram; None for one that was sent to many, which gets no answer (RFC 1123 4.2.3.4).

    Raises `BlockingIOError` when there is none.
    """
    data, ancillary, _, peer = listener.recvmsg(most_bytes, 128)
    for level, kind, value in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(value) >= IN_PKTINFO.size:
            _, local, destination = IN_PKTINFO.unpack_from(value)
            if local == ANY:
                # It came before `prepare` (socket activation): the kernel kept its destination alone.
                local = destination
            if local != destination:
                return None
            control = (level, kind, IN_PKTINFO.pack(0, local, ANY))
            return Datagram(data, peer, (socket.inet_ntoa(local), 0), (control,))
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(value) >= IN6_PKTINFO.size:
            destination, interface = IN6_PKTINFO.unpack_from(value)
            if destination[0] == 0xFF:
                return None
            scope = interface if destination[0] == 0xFE and destination[1] & 0xC0 == 0x80 else 0
            text = socket.inet_ntop(socket.AF_INET6, destination)
            return Datagram(data, peer, (text, 0, 0, scope), ((level, kind, value[: IN6_PKTINFO.size]),))
    own = listener.getsockname()
    return Datagram(data, peer, (own[0], 0, *own[2:]), ())


def connect(family: int, local: Address, peer: Address, ports: tuple[int, int] | None) -> socket.socket:
    """Return a socket that speaks with `peer` alone, from the own address `local` and a port of the range.

    Raises `OSError`.
    """
    link = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6 and not str(local[0]).startswith("::ffff:"):
            link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _bind(link, local, ports)
        link.connect(peer)
    except BaseException:
        link.close()
        raise
    return link


def _bind(link: socket.socket, local: Address, ports: tuple[int, int] | None) -> None:
    if ports is None:
        link.bind(local)
        return
    first, last = ports
    for left in reversed(range(PORT_TRIES)):
        try:
            link.bind((local[0], random.randint(first, last), *local[2:]))
            return
        except OSError as err:
            if err.errno != errno.EADDRINUSE or not left:
                raise


def payload_bytes(link: socket.socket) -> int:
    """Return the most that a datagram carries to the peer unfragmented, as far as the kernel knows."""
    family = socket.AddressFamily(link.family)
    try:
        if family == socket.AF_INET6:
            mtu = link.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
        else:
            mtu = link.getsockopt(socket.IPPROTO_IP, IP_MTU)
    except OSError:
        # No route is cached; Ethernet's is the common one, and a wrong guess only means fragments.
        mtu = 1500
    return max(mtu, SMALLEST_MTU[family]) - OVERHEAD_BYTES[family]


def segment(link: socket.socket, size: int) -> int:
    """Have the kernel cut longer sends into datagrams of `size` bytes; return how many one send takes, 1 if it cannot.

    A window costs one system call and one way through the network stack (udp(7), UDP_SEGMENT, Linux 4.18).
    """
    try:
        link.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
    except OSError:
        return 1
    return max(1, min(MAX_SEGMENTS, MAX_SEND_BYTES // size))


def unsegment(link: socket.socket) -> None:
    """Undo `segment`: some devices and paths refuse it."""
    link.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)


def host(peer: Address) -> str:
    """Return the peer's address as text: no scope, IPv4 as such even over an IPv6 socket."""
    text = str(peer[0]).partition("%")[0]
    return text[7:] if text.startswith("::ffff:") and "." in text else text
