"""The console ring."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pvboot.machine.console import INPUT_BYTES, INPUT_QUEUE_MAX, OUTPUT_BYTES, Console
from pvboot.machine.memory import Memory
from pvboot.machine.rings import Ring
from pvboot.xen._formats import RING_INDEXES, ConsoleRing

indexes = st.integers(0, 0xFFFFFFFF)


class Guest:
    """The front end's side of a console."""

    def __init__(self, start: int = 0) -> None:
        memory = Memory(64, 4)
        mfn = int(memory.p2m[1])
        page = memory.page(mfn)
        self.input = Ring(page, 0, INPUT_BYTES, ConsoleRing.in_cons)
        self.output = Ring(page, ConsoleRing.out, OUTPUT_BYTES, ConsoleRing.out_cons)
        self.shown = b""
        self.notified = 0
        self.console = Console(memory, self.show, self.notify)
        self.console.attach(mfn)
        self.page = page
        self.set_indexes(start, start, start, start)

    def set_indexes(self, *values: int) -> None:
        """in_cons, in_prod, out_cons, out_prod."""
        RING_INDEXES.pack_into(self.page, ConsoleRing.in_cons, *values[:2])
        RING_INDEXES.pack_into(self.page, ConsoleRing.out_cons, *values[2:])

    def show(self, data: bytes) -> None:
        self.shown += data

    def notify(self) -> None:
        self.notified += 1

    def print(self, data: bytes) -> None:
        """As much as fits goes into the ring, then the back end is notified; until all is out."""
        while data:
            data = data[self.output.put(data) :]
            self.console.serve()


@given(start=indexes, texts=st.lists(st.binary(max_size=5000), max_size=4))
@settings(max_examples=60)
def test_output_arrives_whole_from_any_index(start: int, texts: list[bytes]) -> None:
    guest = Guest(start)
    for text in texts:
        guest.print(text)
    assert guest.shown == b"".join(texts)
    assert not guest.output.used


@given(start=indexes, texts=st.lists(st.binary(max_size=3000), max_size=4))
@settings(max_examples=60)
def test_input_arrives_whole_from_any_index(start: int, texts: list[bytes]) -> None:
    guest = Guest(start)
    got = b""
    for text in texts:
        guest.console.feed(text)
        while guest.console.has_input:
            guest.console.serve()
            got += guest.input.take()
    assert got == b"".join(texts)


def test_a_full_input_ring_waits() -> None:
    guest = Guest()
    guest.console.feed(b"x" * 1500)
    guest.console.serve()
    guest.console.serve()
    assert guest.input.used == INPUT_BYTES and not guest.console.has_input and guest.notified == 1
    guest.input.take()
    assert guest.console.has_input


@given(consumed=indexes, produced=indexes, in_consumed=indexes, in_produced=indexes)
@settings(max_examples=200)
def test_no_index_is_trusted(consumed: int, produced: int, in_consumed: int, in_produced: int) -> None:
    guest = Guest()
    guest.set_indexes(in_consumed, in_produced, consumed, produced)
    guest.console.feed(b"typed")
    guest.console.serve()
    assert len(guest.shown) <= OUTPUT_BYTES
    if (produced - consumed) & 0xFFFFFFFF > OUTPUT_BYTES:
        assert guest.shown == b"" and guest.console.bad_indexes
    assert guest.output.indexes == (produced, produced)


def test_typed_input_is_bounded() -> None:
    guest = Guest()
    guest.console.feed(b"x" * (INPUT_QUEUE_MAX + 5))
    guest.console.feed(b"y")
    total = b""
    while guest.console.has_input:
        guest.console.serve()
        total += guest.input.take()
    assert total == b"x" * INPUT_QUEUE_MAX


def test_nothing_happens_without_a_ring() -> None:
    console = Console(Memory(64, 4), lambda data: None, lambda: None)
    console.feed(b"x")
    console.serve()
    assert console.has_input
