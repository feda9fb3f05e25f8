"""Paths of content out of names as clients send them.

One rule for both protocols: the result is absolute and names something below the root by plain components only, so
that nobody behind this function ever sees "..", a NUL or a terminal's control sequence.
"""

from __future__ import annotations

from pvboot.errors import PvbootError

# Linux' PATH_MAX; nothing that can be served has a longer path.
MAX_PATH_BYTES = 4096


class BadPath(PvbootError):  # noqa: N818  (the name says what is wrong)
    """A client's path that cannot name anything served."""

    code = "bad-path"
    exit_code = 1


def clean(raw: bytes | str) -> str:
    """Return the absolute path that a client's name stands for; bytes that are not UTF-8 become surrogate escapes.

    Slashes collapse, "." falls away, a missing leading slash is added, a trailing one is dropped.  A backslash is
    a character like any other.  Percent signs too: HTTP decodes them before, and exactly once.
    Raises `BadPath` for ".." (even where it stays inside: no boot client needs it, and every layer below is spared
    the question), control characters, text that no bytes stand for, and more than `MAX_PATH_BYTES`.
    """
    if isinstance(raw, str):
        try:
            raw = raw.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as err:
            raise BadPath("path is not text", expected="UTF-8") from err
    if len(raw) > MAX_PATH_BYTES:
        raise BadPath("path is too long", expected=f"at most {MAX_PATH_BYTES} bytes", found=f"{len(raw)} bytes")
    # Overlong forms ("%c0%ae" for a dot) are not UTF-8: they stay the odd bytes that they are and name nothing.
    text = raw.decode("utf-8", "surrogateescape")
    # C1 controls too: a terminal takes U+009B for the start of an escape sequence.
    if any(char < " " or "\x7f" <= char <= "\x9f" for char in text):
        raise BadPath("control character in path", found=repr(text[:64]))
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadPath('".." in path', found=repr(text[:64]))
    return "/" + "/".join(parts)
