"""The argument of `--target`, `xen=4.17,loader=pygrub,arch=x86_64`."""

from __future__ import annotations

import re
from typing import Final

from pvboot.check.hints import nearest
from pvboot.check.loaders import GUEST_TYPES, LOADERS, XenVersion
from pvboot.check.model import Target
from pvboot.errors import UsageError

_KEYS: Final = ("xen", "loader", "arch")
_VERSION: Final = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})(?:\.[0-9]{1,3})?")


def parse_target(text: str) -> Target:
    """Read `KEY=VALUE,...`.  Raises `UsageError` that says what would be right."""
    given: dict[str, str] = {}
    for item in text.split(","):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or key not in _KEYS:
            meant = nearest(key, _KEYS)
            expected = f"{meant}=..." if meant else "xen=VERSION, loader=NAME or arch=ARCH"
            raise UsageError("--target does not know this", found=repr(item), expected=expected)
        if key in given:
            raise UsageError("--target says something twice", found=f"{key}={given[key]} and {key}={value}")
        given[key] = value
    for key, known in (("loader", LOADERS), ("arch", GUEST_TYPES)):
        if key in given and given[key] not in known:
            near, names = nearest(given[key], known), ", ".join(known)
            expected = f"{near}?  ({names})" if near else names
            raise UsageError(f"--target: no such {key}", found=repr(given[key]), expected=expected)
    xen = given.get("xen")
    return Target(None if xen is None else _version(xen), given.get("loader"), given.get("arch"))


def _version(text: str) -> XenVersion:
    match = _VERSION.fullmatch(text)
    if match is None:
        raise UsageError("--target: not a version of Xen", found=repr(text), expected="such as 4.17")
    return int(match[1]), int(match[2])
