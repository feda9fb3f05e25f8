"""GRUB 2's environment block `grubenv`: `name=value` lines behind a signature, padded with `#`."""

from __future__ import annotations

SIGNATURE = b"# GRUB Environment Block\n"


def read_environment(data: bytes) -> dict[str, str]:
    """The variables in it, {} if it is no environment block (grub-core/lib/envblk.c).

    In a value a backslash stands before a backslash or a newline that belongs to it.
    """
    if not data.startswith(SIGNATURE):
        return {}
    text = data[len(SIGNATURE) :].decode("utf-8", "surrogateescape")
    variables: dict[str, str] = {}
    line: list[str] = []
    pending = iter(text)
    for character in pending:
        if character == "\\":
            line.append(next(pending, ""))
        elif character != "\n":
            line.append(character)
        else:
            _take("".join(line), variables)
            line = []
    return variables


def _take(line: str, variables: dict[str, str]) -> None:
    name, separator, value = line.partition("=")
    if separator and not line.startswith("#"):
        variables[name] = value
