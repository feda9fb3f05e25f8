"""Finding a kernel's log in memory."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from pvboot.machine.kernel_log import kernel_log

MESSAGES = [
    "Linux version 6.1.0 (somebody@somewhere) #1 SMP",
    "Command line: root=/dev/xvda1",
    "BUG: unable to handle page fault for address: 0000000000001000",
    "Kernel panic - not syncing: Attempted to kill init!",
]


def ring(messages: list[str], first: int, word: int = 8) -> bytes:
    """Text blocks as printk_ringbuffer lays them out; the level prefix was cut off in place."""
    data = b""
    for number, message in enumerate(messages):
        raw = message.encode()
        block = (first + number).to_bytes(word, "little") + raw + raw[-2:] + b"\n\0"
        data += block + bytes(-len(block) % word)
    return data


def records(messages: list[str], header: int) -> bytes:
    """Records of struct printk_log."""
    data = b""
    for number, message in enumerate(messages):
        raw = message.encode()
        length = -(-(header + len(raw)) // 8) * 8
        head = struct.pack("<QHHHBB", number * 1000, length, len(raw), 0, 0, 6).ljust(header, b"\x07")
        data += (head + raw).ljust(length, b"\0")
    return data


def memory(contents: bytes, offset: int, order: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Frames in the given order, holding bytes from an offset of the guest's memory on."""
    data = bytearray(len(order) * 4096)
    data[offset : offset + len(contents)] = contents
    frames = np.zeros((len(order), 512), dtype=np.uint64)
    for pfn, mfn in enumerate(order):
        frames[mfn] = np.frombuffer(bytes(data[pfn * 4096 : pfn * 4096 + 4096]), dtype=np.uint64)
    return frames, np.array(order)


SHUFFLED = [3, 0, 7, 5, 1, 6, 2, 4]


@pytest.mark.parametrize("first", [(1 << 62) - 4097, (1 << 32) - 4096, (1 << 62) - 8193])
@pytest.mark.parametrize("offset", [0x100, 3 * 4096 - 24])
def test_ring_of_any_number_width_across_frames(first: int, offset: int) -> None:
    frames, order = memory(ring(MESSAGES, first), offset, SHUFFLED)
    assert kernel_log(frames, order)[: len(MESSAGES)] == tuple(MESSAGES)


def test_ring_of_a_32_bit_kernel() -> None:
    frames, order = memory(ring(MESSAGES, (1 << 30) - 4097, 4), 0x204, SHUFFLED)
    assert kernel_log(frames, order)[: len(MESSAGES)] == tuple(MESSAGES)


@pytest.mark.parametrize("header", [16, 24])
def test_records_of_old_kernels(header: int) -> None:
    frames, order = memory(records(MESSAGES, header), 0x800, SHUFFLED)
    assert kernel_log(frames, order)[: len(MESSAGES)] == tuple(MESSAGES)


def test_the_banner_in_the_kernels_data_is_not_a_log() -> None:
    contents = MESSAGES[0].encode().ljust(128, b"\0") + ring(MESSAGES[:2], (1 << 62) - 4097)
    frames, order = memory(contents.ljust(4000, b"\0"), 0x108, SHUFFLED)
    assert kernel_log(frames, order)[:2] == tuple(MESSAGES[:2])


def test_only_the_end_of_a_long_log_is_kept() -> None:
    many = [MESSAGES[0], *(f"message {number}" for number in range(300))]
    frames, order = memory(ring(many, (1 << 62) - 4097), 0, list(range(8)))
    lines = kernel_log(frames, order, keep=5)
    assert len(lines) == 5 and lines[-1].startswith("message 299")


@pytest.mark.parametrize("seed", range(20))
def test_garbage_is_survived(seed: int) -> None:
    generator = np.random.default_rng(seed)
    noise = bytearray(generator.integers(0, 256, 8 * 4096, dtype=np.uint8).tobytes())
    for _ in range(20):
        at = int(generator.integers(0, len(noise) - 600)) & ~7
        piece = (ring(MESSAGES, (1 << 62) - 5) if seed % 2 else records(MESSAGES, 16))[:400]
        noise[at : at + len(piece)] = piece
    frames = np.frombuffer(bytes(noise), dtype=np.uint64).reshape(8, 512)
    kernel_log(frames, np.arange(8))


def test_no_log() -> None:
    assert kernel_log(np.zeros((4, 512), dtype=np.uint64), np.arange(4)) == ()
