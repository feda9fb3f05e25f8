"""Checking the passwords of `password`: plain ones and the `$1$` hashes of `--md5`."""

from __future__ import annotations

import hashlib
import hmac

from pvboot.grub_errors import first_word
from pvboot.menu.model import Password

INPUT_LIMIT = 31  # characters that GRUB lets one type
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MAGIC = "$1$"
# The order in which the crypt format takes the digest's bytes, three at a time, and the one left over.
_TRIPLES = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
_LAST = 11


def matches(entered: str, password: Password) -> bool:
    """Whether what was typed is the password; unsupported kinds never match."""
    typed = entered[:INPUT_LIMIT]
    wanted = first_word(password.value)
    if password.kind == "plain":
        return hmac.compare_digest(_encode(typed), _encode(wanted))
    if password.kind == "md5" and wanted.startswith(_MAGIC):
        salt = wanted[len(_MAGIC) :].partition("$")[0][:8]
        return hmac.compare_digest(_encode(md5_crypt(typed, salt)), _encode(wanted))
    return False


def md5_crypt(text: str, salt: str) -> str:
    """The `$1$` hash of crypt(3): a digest of both, stirred a thousand times."""
    key, grain = _encode(text), _encode(salt)
    inner = hashlib.md5(key + grain + key, usedforsecurity=False).digest()
    start = key + _MAGIC.encode() + grain
    start += (inner * (len(key) // len(inner) + 1))[: len(key)]
    length = len(key)
    while length:
        start += b"\0" if length & 1 else key[:1]
        length >>= 1
    digest = hashlib.md5(start, usedforsecurity=False).digest()
    for turn in range(1000):
        stirred = key if turn & 1 else digest
        stirred += grain if turn % 3 else b""
        stirred += key if turn % 7 else b""
        stirred += digest if turn & 1 else key
        digest = hashlib.md5(stirred, usedforsecurity=False).digest()
    groups = [(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _TRIPLES]
    groups.append((digest[_LAST], 2))
    letters = "".join(_ALPHABET[value >> 6 * i & 0x3F] for value, count in groups for i in range(count))
    return f"{_MAGIC}{salt}${letters}"


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
