"""Unit files for systemd, as `pvboot serve --print-unit` prints them (systemd.service(5), systemd.socket(5))."""

from __future__ import annotations

import sys

_SERVICE = """\
[Unit]
Description=pvboot netboot server
Documentation=man:pvboot(1)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart={program} serve /etc/pvboot/serve.toml
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
# Never root: the ports below 1024 come from the socket units, or from this one capability.
User=pvboot
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
StateDirectory=pvboot
# The workers finish their transfers; [limits.server] drain_seconds is shorter.
TimeoutStopSec=30
KillMode=mixed
LimitNOFILE=65536
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes

[Install]
WantedBy=multi-user.target
"""

_SOCKET = """\
[Unit]
Description=pvboot netboot server, {title}

[Socket]
{directive}={port}
BindIPv6Only=both
# The server knows by this name which protocol the socket is for.
FileDescriptorName={protocol}
Service=pvboot-serve.service

[Install]
WantedBy=sockets.target
"""

_SOCKETS = {
    "tftp": ("TFTP", "ListenDatagram", 69),
    "http": ("HTTP", "ListenStream", 80),
    "https": ("HTTPS", "ListenStream", 443),
}


def unit(name: str) -> str:
    """The text of `service`, or of `tftp.socket`, `http.socket`, `https.socket`."""
    if name == "service":
        return _SERVICE.format(program=_program())
    protocol = name.removesuffix(".socket")
    title, directive, port = _SOCKETS[protocol]
    return _SOCKET.format(title=title, directive=directive, port=port, protocol=protocol)


def _program() -> str:
    """How this program was started, for a path that systemd takes has to be absolute."""
    started = sys.argv[0]
    return started if started.startswith("/") and not started.endswith(".py") else f"{sys.executable} -m pvboot"
