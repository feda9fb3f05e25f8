"""How loaders compare versions and file names of boot entries: as sort keys, newest last."""

from __future__ import annotations

import re

Key = tuple[tuple[int, int, str], ...]

_BEFORE_THE_END = "~"  # sorts even before the version that ends here


def rpm_key(version: str) -> Key:
    """As rpm does it: digits as numbers, `~` lowest, `+` (rpm's `^`) just above the bare version.

    Source: rpmvercmp as Fedora's GRUB carries it in `blscfg`.
    """
    return _key(version, "+")


def rpm_name_key(name: str) -> tuple[Key, Key, Key]:
    """That of a file name: of package, version and release, which its last two `-` part.

    With one `-` the part behind it is version and release; without any, all is the package.
    """
    package, version, release = rpm_parts(name)
    return rpm_key(package), rpm_key(version), rpm_key(release)


def rpm_parts(name: str) -> tuple[str, str, str]:
    """Package, version and release of a file name."""
    rest, dash, release = name.rpartition("-")
    if not dash:
        return name, "", ""
    package, dash, version = rest.rpartition("-")
    return (package, version, release) if dash else (rest, release, release)


def uapi_key(version: str) -> Key:
    """By the UAPI group's version format specification, as systemd-boot does it."""
    return _key(version, "-^.")


def _key(text: str, marks: str) -> Key:
    """One row for each number, word and mark; marks come before words in their order, words before numbers.

    Numbers are compared by their length, then digit by digit: a file name may hold hundreds of them.
    """
    order = {_BEFORE_THE_END: 0, **{mark: rank for rank, mark in enumerate(marks, 2)}}
    rows: list[tuple[int, int, str]] = []
    for number, word, mark in re.findall(rf"([0-9]+)|([A-Za-z]+)|([~{re.escape(marks)}])", text):
        digits = number.lstrip("0")
        rows.append((11, len(digits), digits) if number else (10, 0, word) if word else (order[mark], 0, ""))
    return (*rows, (1, 0, ""))
