"""What a request says about its sender."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# In the query, as iPXE scripts and configuration files write them: `?mac=${net0/mac}&uuid=${uuid}`.
_QUERY = ("mac", "uuid", "hostname", "serial")
# Anaconda's `inst.ks.sendmac` ("eth0 52:54:00:12:34:56") and `inst.ks.sendsn`.
_HEADERS = {"x-rhn-provisioning-mac-0": "mac", "x-system-serial-number": "serial"}
_LONGEST = 255


def claims(query: Mapping[str, Sequence[str]], headers: Mapping[str, str]) -> dict[str, str]:
    """The claims of a request; the query goes before header fields, the first value before others."""
    found = {name: query[name][0] for name in _QUERY if name in query}
    for field, name in _HEADERS.items():
        words = headers.get(field, "").split()
        if words:
            found.setdefault(name, words[-1])
    return {name: value for name, value in found.items() if 0 < len(value) <= _LONGEST}
