"""The contents of an initrd: cpio archives one behind the other, each plain or compressed, as Linux unpacks them.

Source: init/initramfs.c and lib/decompress.c of Linux.  Nothing is kept but names and the few files asked for, and
both the packed and the unpacked bytes are bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from pvboot.check.cpio import MAGICS, ArchiveError, members
from pvboot.unpack import ByteStream, StreamTooLongError, TooLargeError, UnpackError, codec_of, unpack

UNPACKED_LIMIT_BYTES: Final = 1 << 30
PACKED_LIMIT_BYTES: Final = 512 << 20
KEPT_LIMIT_BYTES: Final = 1 << 20  # of one file that is asked for
ARCHIVE_LIMIT: Final = 64


@dataclass(slots=True)
class Initrd:
    """`names` without leading `./` and `/`; `kept` are the contents that were asked for; `codecs` of its archives.

    `complete` is False if it was not read to its end (its size, or a compression that is not read here); `problem`
    says what is damaged.
    """

    names: set[str] = field(default_factory=set)
    kept: dict[str, bytes] = field(default_factory=dict)
    codecs: list[str] = field(default_factory=list)
    complete: bool = True
    problem: ArchiveError | None = None


def looks_like_initrd(head: bytes) -> bool:
    """Return whether a file begins like something that Linux would unpack."""
    return head.startswith(MAGICS) or codec_of(head) is not None


def read_initrd(pieces: Iterator[bytes], where: str, keep: Callable[[str], bool]) -> Initrd:
    """Read all that is wanted of an initrd; never raises for what its bytes say."""
    found = Initrd()
    packed = ByteStream(pieces, PACKED_LIMIT_BYTES)
    room = UNPACKED_LIMIT_BYTES
    try:
        for _ in range(ARCHIVE_LIMIT):
            _skip_zeros(packed)
            head = packed.peek(16)
            if not head:
                return found
            if head.startswith(MAGICS):
                room -= _read_archive(packed, found, where, keep)
                continue
            codec = codec_of(head)
            if codec is None:
                # GRUB and others may leave something behind the last archive; Linux complains and goes on.
                found.complete = bool(found.codecs)
                return found
            if codec == "lzo":
                found.complete = False
                return found
            found.codecs.append(codec)
            unpacked = ByteStream(unpack(codec, packed, room), room)
            while True:
                _skip_zeros(unpacked)
                if not unpacked.peek(1):
                    break
                _read_archive(unpacked, found, f"{where} (unpacked)", keep, plain=False)
            room -= unpacked.position
    except (StreamTooLongError, TooLargeError):
        pass
    except UnpackError as err:
        place = f"{where}, {found.codecs[-1]} data, byte {err.at}"
        found.problem = ArchiveError(err.what, where=place, found=err.found)
    except ArchiveError as err:
        found.problem = err
    found.complete = False
    return found


def _read_archive(
    stream: ByteStream, found: Initrd, where: str, keep: Callable[[str], bool], *, plain: bool = True
) -> int:
    """Take in one archive; return its size in bytes."""
    start = stream.position
    if plain:
        found.codecs.append("none")
    for name, data in members(stream, lambda name, size: size <= KEPT_LIMIT_BYTES and keep(_clean(name)), where):
        found.names.add(_clean(name))
        if data is not None:
            found.kept[_clean(name)] = data
    return stream.position - start


def _clean(name: str) -> str:
    return name.removeprefix("./").strip("/")


def _skip_zeros(stream: ByteStream) -> None:
    while (head := stream.peek(4096)) and not any(head):
        stream.read(len(head))
    zeros = len(head) - len(head.lstrip(b"\0"))
    stream.read(zeros)
