"""The console ring."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pvboot.machine.console import (
    INDEX,
    INDEXES,
    INDEXES_OFFSET,
    INPUT_BYTES,
    INPUT_QUEUE_MAX,
    OUTPUT_BYTES,
    OUTPUT_OFFSET,
    Console,
    ring_bytes,
    ring_store,
)
from pvboot.machine.memory import Memory

indexes = st.integers(0, 0xFFFFFFFF)


class Guest:
    """The front end's side of a ring."""

    def __init__(self, start: int = 0) -> None:
        memory = Memory(64, 4)
        self.mfn = int(memory.p2m[1])
        self.page = memory.page(self.mfn)
        self.shown = b""
        self.notified = 0
        self.console = Console(memory, self.show, self.notify)
        self.console.attach(self.mfn)
        INDEXES.pack_into(self.page, INDEXES_OFFSET, start, start, start, start)

    def show(self, data: bytes) -> None:
        self.shown += data

    def notify(self) -> None:
        self.notified += 1

    def index(self, number: int) -> int:
        return int(INDEXES.unpack_from(self.page, INDEXES_OFFSET)[number])

    def set_index(self, number: int, value: int) -> None:
        INDEX.pack_into(self.page, INDEXES_OFFSET + 4 * number, value & 0xFFFFFFFF)

    def print(self, data: bytes) -> None:
        """As much as fits goes into the ring, then the back end is told; until all is out."""
        while data:
            room = OUTPUT_BYTES - (self.index(3) - self.index(2) & 0xFFFFFFFF)
            ring_store(self.page, OUTPUT_OFFSET, OUTPUT_BYTES, self.index(3), data[:room])
            self.set_index(3, self.index(3) + len(data[:room]))
            data = data[room:]
            self.console.serve()

    def read(self) -> bytes:
        count = self.index(1) - self.index(0) & 0xFFFFFFFF
        data = ring_bytes(self.page, 0, INPUT_BYTES, self.index(0), count)
        self.set_index(0, self.index(1))
        return data


@given(start=indexes, texts=st.lists(st.binary(max_size=5000), max_size=4))
@settings(max_examples=60, deadline=None)
def test_output_arrives_whole_from_any_index(start: int, texts: list[bytes]) -> None:
    guest = Guest(start)
    for text in texts:
        guest.print(text)
    assert guest.shown == b"".join(texts)
    assert guest.index(2) == guest.index(3)


@given(start=indexes, texts=st.lists(st.binary(max_size=3000), max_size=4))
@settings(max_examples=60, deadline=None)
def test_input_arrives_whole_from_any_index(start: int, texts: list[bytes]) -> None:
    guest = Guest(start)
    got = b""
    for text in texts:
        guest.console.feed(text)
        while guest.console.has_input:
            guest.console.serve()
            got += guest.read()
    assert got == b"".join(texts)


def test_a_full_input_ring_waits() -> None:
    guest = Guest()
    guest.console.feed(b"x" * 1500)
    guest.console.serve()
    guest.console.serve()
    assert guest.index(1) == INPUT_BYTES and guest.console.has_input and guest.notified == 1


@given(consumed=indexes, produced=indexes, in_consumed=indexes, in_produced=indexes)
@settings(max_examples=200, deadline=None)
def test_no_index_is_trusted(consumed: int, produced: int, in_consumed: int, in_produced: int) -> None:
    guest = Guest()
    INDEXES.pack_into(guest.page, INDEXES_OFFSET, in_consumed, in_produced, consumed, produced)
    guest.console.feed(b"typed")
    guest.console.serve()
    assert len(guest.shown) <= OUTPUT_BYTES
    if (produced - consumed) & 0xFFFFFFFF > OUTPUT_BYTES:
        assert guest.shown == b"" and guest.console.bad_indexes
    assert guest.index(2) == produced


def test_typed_input_is_bounded() -> None:
    guest = Guest()
    guest.console.feed(b"x" * (INPUT_QUEUE_MAX + 5))
    guest.console.feed(b"y")
    total = b""
    while guest.console.has_input:
        guest.console.serve()
        total += guest.read()
    assert total == b"x" * INPUT_QUEUE_MAX


def test_nothing_happens_without_a_ring() -> None:
    console = Console(Memory(64, 4), lambda data: None, lambda: None)
    console.feed(b"x")
    console.serve()
    assert console.has_input
