"""`--target xen=4.17,loader=pygrub,arch=x86_64`: reading for whom a check judges."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

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
            meant = get_close_matches(key, _KEYS, 1) if key else []
            raise UsageError(
                "--target does not know this",
                found=repr(item),
                expected=f"{meant[0]}=..." if meant else "xen=VERSION, loader=NAME or arch=ARCH",
            )
        if key in given:
            raise UsageError("--target says something twice", found=f"{key}={given[key]} and {key}={value}")
        given[key] = value
    loader, xen, arch = given.get("loader"), given.get("xen"), given.get("arch")
    if loader is not None and loader not in LOADERS:
        raise UsageError("--target: no such loader", found=repr(loader), expected=_choices(loader, tuple(LOADERS)))
    if arch is not None and arch not in GUEST_TYPES:
        raise UsageError("--target: no such arch", found=repr(arch), expected=_choices(arch, tuple(GUEST_TYPES)))
    return Target(None if xen is None else _version(xen), loader, arch)


def _version(text: str) -> XenVersion:
    match = _VERSION.fullmatch(text)
    if match is None:
        raise UsageError("--target: not a version of Xen", found=repr(text), expected="such as 4.17")
    return int(match[1]), int(match[2])


def _choices(found: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(found, known, 1)
    return f"{near[0]}?  ({', '.join(known)})" if near else ", ".join(known)
