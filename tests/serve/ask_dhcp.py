"""Run in a network namespace of its own: bring up a pair of devices, start dnsmasq on one, ask on the other.

    unshare --net python ask_dhcp.py CONFIG   with a JSON list of [mac, {option: hex}] on stdin

Prints a JSON list of answers, as hex.  Everything ends with the namespace.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.serve.dhcp_packets import discover

SERVER, CLIENT = "srv0", "cli0"
TRIES, SECONDS = 20, 1.0
_DHCP_SERVER_PORT, _DHCP_CLIENT_PORT = 67, 68
_ETHERNET_IP = 0x0800


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def packet(payload: bytes, mac: bytes) -> bytes:
    """An Ethernet frame with an IPv4 broadcast in it; UDP without a checksum."""
    udp = struct.pack(">HHHH", _DHCP_CLIENT_PORT, _DHCP_SERVER_PORT, 8 + len(payload), 0) + payload
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", 0xFFFF - total) + head[12:]
    return b"\xff" * 6 + mac + struct.pack(">H", _ETHERNET_IP) + head + udp


def ask(sock: socket.socket, mac: bytes, options: dict[int, bytes]) -> bytes:
    """The first answer's DHCP message; asked again as long as the server is starting."""
    for _ in range(TRIES):
        sock.send(packet(discover(mac, options), mac))
        deadline = time.monotonic() + SECONDS
        while select.select([sock], [], [], max(0.0, deadline - time.monotonic()))[0]:
            frame = sock.recv(4096)
            if frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[36:38] == struct.pack(">H", _DHCP_CLIENT_PORT):
                return frame[42:]
    raise SystemExit("no answer")


def main() -> None:
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", SERVER, "type", "veth", "peer", "name", CLIENT)
    run("ip", "addr", "add", "192.0.2.1/24", "dev", SERVER)
    for device in (SERVER, CLIENT):
        run("ip", "link", "set", device, "up")
    log = open("/dev/null", "w")  # noqa: SIM115 (for the process's life)
    dnsmasq = subprocess.Popen(
        [
            "dnsmasq",
            "--keep-in-foreground",
            "--no-ping",
            "--user=root",
            "--dhcp-leasefile=/dev/null",
            "--pid-file",
            "--log-facility=/dev/null",
            "-C",
            sys.argv[1],
        ],
        stdout=log,
        stderr=sys.stderr,
    )
    answers = []
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETHERNET_IP)) as sock:
            sock.bind((CLIENT, 0))
            for mac, options in json.load(sys.stdin):
                given = {int(code): bytes.fromhex(value) for code, value in options.items()}
                answers.append(ask(sock, bytes.fromhex(mac.replace(":", "")), given).hex())
    finally:
        dnsmasq.terminate()
        dnsmasq.wait()
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
