"""The payload codecs: all seven, their framing quirks, their bounds, and what they say about damage."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from pvboot.errors import KernelError
from pvboot.kernel.loader import parse_kernel
from tests.kernel.conftest import AskXen, kernel_memory, refused_by_parser
from tests.oracle.build import tool_environment
from tests.oracle.images import CODECS, TinyKernel, bzimage, compress, patch

ELF = TinyKernel().build()
PLAIN = kernel_memory(parse_kernel(ELF, name="plain"))
LENGTH = struct.pack("<I", len(ELF))


def unpacks(image: bytes, container: str) -> None:
    parsed = parse_kernel(image, name="packed")
    assert parsed.container == container
    assert kernel_memory(parsed) == PLAIN


def refuses(image: bytes, message: str, **options: int) -> None:
    with pytest.raises(KernelError, match=message):
        parse_kernel(image, name="packed", **options)  # type: ignore[arg-type]


def lzop(oracle: Path, data: bytes, *options: str) -> bytes:
    program, environment = oracle / "tools" / "usr" / "bin" / "lzop", tool_environment(oracle)
    packed = subprocess.check_output([program, "-c", *options], input=data, env=environment)
    return packed + struct.pack("<I", len(data))


@pytest.mark.parametrize("codec", CODECS)
def test_payload_is_unpacked(codec: str, oracle: Path) -> None:
    unpacks(bzimage(compress(ELF, codec, oracle)), f"bzImage/{codec}")


def test_gzipped_file_is_unpacked() -> None:
    unpacks(gzip.compress(ELF), "elf.gz")


@pytest.mark.parametrize("setup_sects", [0, 1, 4, 39, 255])
def test_payload_is_found_behind_any_setup(setup_sects: int, oracle: Path) -> None:
    pad = 0x400 if setup_sects == 0 else 0x40  # the header itself needs 0x250 bytes
    image = bytearray(bzimage(compress(ELF, "gzip", oracle), setup_sects=max(setup_sects, 1)))
    if setup_sects == 0:
        image[0x1F1] = 0
        struct.pack_into("<I", image, 0x248, pad + 0x40 - 0x200)
    unpacks(bytes(image), "bzImage/gzip")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95, -1])
def test_cut_payload_is_refused_by_codec_and_place(codec: str, keep: float, oracle: Path) -> None:
    payload = compress(ELF, codec, oracle)
    # gzip's own trailer is CRC and length, so a missing last byte would be replaced by the length that follows.
    body = payload[:-8] if codec == "gzip" else payload[:-4]
    cut = body[: int(len(body) * keep)] if keep > 0 else body[:-1]
    image = bzimage(cut + payload[-4:])
    if codec == "lzma" and keep < 0:
        unpacks(image, "bzImage/lzma")  # only the end mark is damaged, and none is required
    else:
        refuses(image, f"packed, {codec} payload.*")


@pytest.mark.parametrize("codec", CODECS)
def test_claim_above_the_limit_is_refused_before_unpacking(codec: str, oracle: Path) -> None:
    image = bzimage(compress(ELF, codec, oracle))
    message = f"{codec} payload at file byte .*: claims more .*expected at most 16383, found 16384"
    refuses(image, message, max_size=16383)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("claim", [100, len(ELF) + 1000])
def test_wrong_length_word_is_refused(codec: str, claim: int, oracle: Path) -> None:
    payload = compress(ELF, codec, oracle)
    image = bzimage(patch(payload, len(payload) - 4, "I", claim))
    if codec == "lzma" and claim < len(ELF):
        # The claim ends the data, as in Xen, so the kernel is cut.
        refuses(image, r"lzma payload\).*program header table ends outside the file")
    else:
        refuses(image, f"{codec} payload.*({claim}|{claim + 16})")


@pytest.mark.parametrize("codec", CODECS)
def test_bomb_costs_no_more_memory_than_it_claims(codec: str, oracle: Path, tmp_path: Path) -> None:
    bomb = compress(bytes(96 << 20), codec, oracle)
    path = tmp_path / "bomb"
    path.write_bytes(bzimage(patch(bomb, len(bomb) - 4, "I", 1 << 20)))
    code = (
        "import sys\n"
        "from pvboot.errors import KernelError\n"
        "from pvboot.kernel.loader import parse_kernel\n"
        "try:\n"
        "    parse_kernel(open(sys.argv[1], 'rb').read(), name='bomb')\n"
        "except KernelError as err:\n"
        "    print(err)\n"
        # Not getrusage: its peak outlives exec, so it would be that of the tests.
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
    )
    output = subprocess.check_output([sys.executable, "-c", code, str(path)], text=True)
    message, peak_kib = output.splitlines()
    assert message.startswith("bomb")
    assert int(peak_kib) < 64 << 10


@pytest.mark.parametrize("codec", ["gzip", "lzma", "xz", "zstd", "lz4"])
@pytest.mark.parametrize("garbage", [b"\0", b"garbage!", bytes(512)])
def test_bytes_behind_the_stream_count_as_in_xen(codec: str, garbage: bytes, oracle: Path, ask_xen: AskXen) -> None:
    payload = compress(ELF, codec, oracle)
    stream = payload if codec == "gzip" else payload[:-4]
    image = bzimage(stream + garbage + LENGTH)
    # The oracle's Xen has its own lz4; newer ones use the real library, which takes no block of length 0.
    if codec != "lz4" and not refused_by_parser(ask_xen(image)):
        unpacks(image, f"bzImage/{codec}")
    else:
        refuses(image, f"{codec} payload")


@pytest.mark.parametrize("codec", ["gzip", "lzma", "xz", "zstd", "lz4"])
def test_xen_reads_the_same_payloads(codec: str, oracle: Path, ask_xen: AskXen) -> None:
    assert ask_xen(bzimage(compress(ELF, codec, oracle)))["status"] == "ok"


@pytest.mark.parametrize("excess", [-17, -16, -1, 0, 1, 5000])
def test_gzip_claim_may_be_off_as_in_xen(excess: int, oracle: Path, ask_xen: AskXen) -> None:
    payload = compress(ELF, "gzip", oracle)
    # A second member's trailer gives the file another ISIZE than the first member has.
    image = bzimage(payload + struct.pack("<I", len(ELF) + excess))
    if refused_by_parser(ask_xen(image)):
        refuses(image, "gzip payload")
    else:
        unpacks(image, "bzImage/gzip")


# --- zstd


def test_zstd_several_frames_are_joined() -> None:
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 5) + b"hello"
    frames = zstd.compress(ELF[:5000]) + skippable + zstd.compress(ELF[5000:]) + zstd.compress(b"")
    unpacks(bzimage(frames + LENGTH), "bzImage/zstd")


def test_zstd_too_many_frames_are_refused() -> None:
    refuses(bzimage(zstd.compress(b"") * 5000 + LENGTH), "zstd payload: too many frames")


def test_zstd_window_may_be_bigger_than_the_data() -> None:
    # A frame by hand: no content size, window 2^30, one raw block.  RFC 8878, 3.1.1.
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x00, 20 << 3]) + (len(ELF) << 3 | 1).to_bytes(3, "little") + ELF
    unpacks(bzimage(frame + LENGTH), "bzImage/zstd")


# --- lzop


@pytest.mark.parametrize("options", [(), ("-9",), ("-F",), ("--crc32",), ("-C",), ("-CC", "--crc32"), ("-1",)])
def test_lzop_checksums_and_methods(options: tuple[str, ...], oracle: Path) -> None:
    unpacks(bzimage(lzop(oracle, ELF, *options)), "bzImage/lzo")


def test_lzop_stored_and_several_blocks(oracle: Path) -> None:
    noise = random.Random(1).randbytes(600 << 10)
    kernel = TinyKernel(code=noise, filesz=len(noise), memsz=len(noise)).build()
    plain = kernel_memory(parse_kernel(kernel, name="plain"))
    assert len(lzop(oracle, kernel)) > len(noise), "the blocks are not stored"
    assert kernel_memory(parse_kernel(bzimage(lzop(oracle, kernel)), name="lzo")) == plain


def test_lzop_header_checksum_is_checked(oracle: Path) -> None:
    payload = lzop(oracle, ELF)
    refuses(bzimage(patch(payload, 26, "B", payload[26] ^ 1)), "lzop header checksum is wrong.*expected 0x.*found 0x")


def test_lzop_data_checksum_is_checked(oracle: Path) -> None:
    payload = lzop(oracle, ELF)
    first_block = 38  # behind a header without a name
    assert struct.unpack_from(">I", payload, first_block) == (len(ELF),)
    refuses(bzimage(patch(payload, first_block + 8, "I", 0)), "checksum of a block's unpacked data is wrong")


# --- lz4


def test_lz4_magic_may_come_again(oracle: Path) -> None:
    joined = compress(ELF[:9000], "lz4", oracle)[:-4] + compress(ELF[9000:], "lz4", oracle)[:-4]
    unpacks(bzimage(joined + LENGTH), "bzImage/lz4")


def test_lz4_block_past_the_end_is_refused(oracle: Path) -> None:
    payload = compress(ELF, "lz4", oracle)
    refuses(bzimage(patch(payload, 4, "I", 1 << 30)), "lz4 payload at file byte 0x444: a block runs past the end")


# --- lzma, bzip2


def test_lzma_with_its_length_in_the_header() -> None:
    stream = lzma.compress(ELF, format=lzma.FORMAT_ALONE)
    unpacks(bzimage(stream[:5] + struct.pack("<Q", len(ELF)) + stream[13:] + LENGTH), "bzImage/lzma")


def test_lzma_dictionary_above_the_memory_limit_is_refused() -> None:
    stream = lzma.compress(ELF, format=lzma.FORMAT_ALONE)
    refuses(bzimage(patch(stream, 1, "I", 0x60000000) + LENGTH), "lzma payload.*[Mm]emory usage limit")


def test_bzip2_second_stream_is_not_read() -> None:
    joined = bz2.compress(ELF[:5000]) + bz2.compress(ELF[5000:])
    refuses(bzimage(joined + LENGTH), "bzip2 payload.*ends too early.*16384 bytes.*found 5000 bytes")


# --- Debian's kernel


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS)
def test_debian_kernel_repacked(codec: str, oracle: Path, parts: Callable[[str], Path]) -> None:
    elf = parts("vmlinux-6.1.elf").read_bytes()
    payload = compress(elf, codec, oracle)
    plain = parse_kernel(elf, name="plain")
    image = parse_kernel(bzimage(payload), name="packed")
    assert image.virt_kend == plain.virt_kend
    assert [(piece.offset, piece.size) for piece in image.pieces] == [(each.offset, each.size) for each in plain.pieces]
    assert all(a.data == b.data for a, b in zip(image.pieces, plain.pieces, strict=True))
    del image
    middle = len(payload) // 2
    refuses(bzimage(payload[:middle] + payload[-4:]), f"packed, {codec} payload")
    flipped = payload[:middle] + bytes(byte ^ 0x5A for byte in payload[middle : middle + 8]) + payload[middle + 8 :]
    if codec != "lz4":  # the legacy format has no checksum: other text may come out
        refuses(bzimage(flipped), f"packed, {codec} payload")
