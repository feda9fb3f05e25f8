"""The xenstore server: messages, watches, transactions, permissions, quotas, and the ring."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvboot.machine.memory import Memory
from pvboot.machine.rings import Ring
from pvboot.machine.xenstore import WATCHES_MAX, XenstoreConnection, XenstoreServer
from pvboot.machine.xenstore_tree import NODES_MAX, Store, preset_domain
from pvboot.xen import constants as xen
from pvboot.xen._formats import RING_INDEXES, XSD_SOCKMSG, XenstoreRing

indexes = st.integers(0, 0xFFFFFFFF)


def new_store() -> Store:
    store = Store()
    preset_domain(store, memory_kib=65536, store_mfn=100, store_port=1, console_mfn=101, console_port=2, name="guest")
    return store


class Client:
    """Talks to the server without a ring."""

    def __init__(self) -> None:
        self.store = new_store()
        self.server = XenstoreServer(self.store, self.receive)
        self.messages: list[tuple[int, int, int, bytes]] = []

    def receive(self, message: bytes) -> None:
        kind, request, transaction, size = XSD_SOCKMSG.unpack_from(message)
        assert len(message) == XSD_SOCKMSG.size + size <= XSD_SOCKMSG.size + xen.XENSTORE_PAYLOAD_MAX
        self.messages.append((kind, request, transaction, message[XSD_SOCKMSG.size :]))

    def ask(self, kind: int, body: bytes, transaction: int = 0) -> bytes:
        """The answer to one request; an error as b"!NAME".  Watch events are left in `events`."""
        self.messages.clear()
        self.server.request(kind, 42, transaction, body)
        answers = [message for message in self.messages if message[0] != xen.XS_WATCH_EVENT]
        assert len(answers) == 1
        answer_kind, request, answer_transaction, payload = answers[0]
        assert (request, answer_transaction) == (42, transaction)
        if answer_kind == xen.XS_ERROR:
            return b"!" + payload.rstrip(b"\0")
        assert answer_kind == kind
        return payload

    @property
    def events(self) -> list[bytes]:
        return [payload for kind, request, _, payload in self.messages if kind == xen.XS_WATCH_EVENT and not request]


@pytest.fixture
def client() -> Client:
    return Client()


# request, body, answer
SIMPLE = [
    (xen.XS_READ, b"domid\0", b"1"),
    (xen.XS_READ, b"/local/domain/1/name\0", b"guest"),
    (xen.XS_READ, b"memory/target\0", b"65536"),
    (xen.XS_READ, b"console/ring-ref\0", b"101"),
    (xen.XS_READ, b"store/port\0", b"1"),
    (xen.XS_READ, b"nothing\0", b"!ENOENT"),
    (xen.XS_READ, b"/local/domain/0\0", b"!EACCES"),
    (xen.XS_READ, b"no terminator", b"!EINVAL"),
    (xen.XS_READ, b"\0", b"!EINVAL"),
    (xen.XS_READ, b"bad//path\0", b"!EINVAL"),
    (xen.XS_READ, b"bad/path/\0", b"!EINVAL"),
    (xen.XS_READ, b"b\xc3\xa4d\0", b"!EINVAL"),
    (xen.XS_READ, b"/" + b"x" * 3072 + b"\0", b"!EINVAL"),
    (xen.XS_READ, b"x" * 2049 + b"\0", b"!EINVAL"),
    (xen.XS_DIRECTORY, b"store\0", b"port\0ring-ref\0"),
    (xen.XS_DIRECTORY, b"device\0", b"suspend\0"),
    (xen.XS_DIRECTORY, b"memory/target\0", b""),
    (xen.XS_GET_PERMS, b"control/shutdown\0", b"n1\0"),
    (xen.XS_GET_PERMS, b"name\0", b"n0\0r1\0"),
    (xen.XS_WRITE, b"control/shutdown\0poweroff", b"OK\0"),
    (xen.XS_WRITE, b"name\0mine", b"!EACCES"),
    (xen.XS_WRITE, b"data/a/b/c\0deep", b"OK\0"),
    (xen.XS_WRITE, b"data/x\0" + b"v" * 2049, b"!ENOSPC"),
    (xen.XS_WRITE, b"data/x", b"!EINVAL"),
    (xen.XS_MKDIR, b"data/new\0", b"OK\0"),
    (xen.XS_MKDIR, b"device/vbd\0", b"!EACCES"),
    (xen.XS_RM, b"data\0", b"OK\0"),
    (xen.XS_RM, b"data/missing\0", b"OK\0"),
    (xen.XS_RM, b"data/missing/below\0", b"!ENOENT"),
    (xen.XS_RM, b"name\0", b"!EACCES"),
    (xen.XS_RM, b"/\0", b"!EINVAL"),
    (xen.XS_SET_PERMS, b"data\0n1\0r0\0", b"OK\0"),
    (xen.XS_SET_PERMS, b"data\0n0\0", b"!EPERM"),
    (xen.XS_SET_PERMS, b"data\0x9\0", b"!EINVAL"),
    (xen.XS_SET_PERMS, b"name\0n1\0", b"!EACCES"),
    (xen.XS_GET_DOMAIN_PATH, b"7\0", b"/local/domain/7\0"),
    (xen.XS_GET_DOMAIN_PATH, b"seven\0", b"!EINVAL"),
    (xen.XS_IS_DOMAIN_INTRODUCED, b"1\0", b"T\0"),
    (xen.XS_IS_DOMAIN_INTRODUCED, b"9\0", b"F\0"),
    (xen.XS_RESET_WATCHES, b"\0", b"OK\0"),
    (xen.XS_UNWATCH, b"data\0t\0", b"!ENOENT"),
    (xen.XS_WATCH, b"@other\0t\0", b"!EINVAL"),
    (xen.XS_WATCH, b"data\0no end", b"!EINVAL"),
    (xen.XS_TRANSACTION_END, b"T\0", b"!ENOENT"),
    (xen.XS_TRANSACTION_END, b"maybe\0", b"!EINVAL"),
    (xen.XS_INTRODUCE, b"1\0", b"!EACCES"),
    (xen.XS_CONTROL, b"help\0", b"!EACCES"),
    (99, b"", b"!ENOSYS"),
]


@pytest.mark.parametrize(("kind", "body", "answer"), SIMPLE)
def test_answers(client: Client, kind: int, body: bytes, answer: bytes) -> None:
    assert client.ask(kind, body) == answer


def test_written_values_are_read_back_and_belong_to_the_writer(client: Client) -> None:
    client.ask(xen.XS_WRITE, b"data/a/b\0\x00raw\xff")
    assert client.ask(xen.XS_READ, b"data/a/b\0") == b"\x00raw\xff"
    assert client.ask(xen.XS_READ, b"data/a\0") == b""
    assert client.ask(xen.XS_GET_PERMS, b"data/a/b\0") == b"n1\0"
    client.ask(xen.XS_RM, b"data/a\0")
    assert client.ask(xen.XS_READ, b"data/a/b\0") == b"!ENOENT"


def test_watch_events_come_at_once_and_on_changes(client: Client) -> None:
    assert client.ask(xen.XS_WATCH, b"data\0token 1\0") == b"OK\0"
    assert client.events == [b"data\0token 1\0"]
    assert client.ask(xen.XS_WATCH, b"data\0token 1\0") == b"!EEXIST"
    client.ask(xen.XS_WATCH, b"/local/domain/1/data/x\0abs\0")
    client.ask(xen.XS_WRITE, b"data/x/y\0v")
    # Both nodes are new; relative watches get relative paths.
    assert client.events == [
        b"data/x\0token 1\0",
        b"/local/domain/1/data/x\0abs\0",
        b"data/x/y\0token 1\0",
        b"/local/domain/1/data/x/y\0abs\0",
    ]
    client.ask(xen.XS_UNWATCH, b"data\0token 1\0")
    client.ask(xen.XS_RM, b"data/x\0")
    assert b"/local/domain/1/data/x\0abs\0" in client.events and len(client.events) == 2
    client.ask(xen.XS_RESET_WATCHES, b"\0")
    client.ask(xen.XS_WRITE, b"data/x\0v")
    assert client.events == []


def test_special_watches_are_accepted(client: Client) -> None:
    assert client.ask(xen.XS_WATCH, b"@releaseDomain\0t\0") == b"OK\0"
    assert client.events == [b"@releaseDomain\0t\0"]


def test_watch_quota(client: Client) -> None:
    answers = [client.ask(xen.XS_WATCH, b"data\0%d\0" % number) for number in range(WATCHES_MAX + 1)]
    assert answers[-2:] == [b"OK\0", b"!ENOSPC"]


def test_node_quota(client: Client) -> None:
    answers = {client.ask(xen.XS_WRITE, b"data/%d\0" % number) for number in range(NODES_MAX + 10)}
    assert answers == {b"OK\0", b"!ENOSPC"}


def test_a_directory_too_large_for_one_message(client: Client) -> None:
    for number in range(120):
        client.ask(xen.XS_WRITE, b"data/%s%d\0" % (b"n" * 40, number))
    assert client.ask(xen.XS_DIRECTORY, b"data\0") == b"!E2BIG"
    names, offset = b"", 0
    while not names.endswith(b"\0\0"):
        generation, _, part = client.ask(xen.XS_DIRECTORY_PART, b"data\0%d\0" % offset).partition(b"\0")
        assert generation == b"0"
        names += part
        offset += len(part)
    assert names.count(b"\0") == 121


def start_transaction(client: Client) -> int:
    return int(client.ask(xen.XS_TRANSACTION_START, b"\0").rstrip(b"\0"))


def test_transactions_are_private_until_committed(client: Client) -> None:
    client.ask(xen.XS_WATCH, b"data\0t\0")
    number = start_transaction(client)
    assert client.ask(xen.XS_WRITE, b"data/x\0inside", number) == b"OK\0" and client.events == []
    assert client.ask(xen.XS_READ, b"data/x\0", number) == b"inside"
    assert client.ask(xen.XS_READ, b"data/x\0") == b"!ENOENT"
    assert client.ask(xen.XS_TRANSACTION_END, b"T\0", number) == b"OK\0"
    assert client.events == [b"data/x\0t\0"]
    assert client.ask(xen.XS_READ, b"data/x\0") == b"inside"
    assert client.ask(xen.XS_READ, b"data/x\0", number) == b"!ENOENT"


def test_aborted_transactions_leave_nothing(client: Client) -> None:
    number = start_transaction(client)
    client.ask(xen.XS_RM, b"data\0", number)
    assert client.ask(xen.XS_TRANSACTION_END, b"F\0", number) == b"OK\0"
    assert client.ask(xen.XS_READ, b"data\0") == b""


def test_conflicting_transactions_must_try_again(client: Client) -> None:
    number = start_transaction(client)
    client.ask(xen.XS_READ, b"data\0", number)
    client.ask(xen.XS_WRITE, b"attr\0unrelated")
    client.ask(xen.XS_WRITE, b"data\0moved")
    client.ask(xen.XS_WRITE, b"feature\0v", number)
    assert client.ask(xen.XS_TRANSACTION_END, b"T\0", number) == b"!EAGAIN"
    number = start_transaction(client)
    client.ask(xen.XS_WRITE, b"feature\0v", number)
    client.ask(xen.XS_WRITE, b"attr\0unrelated again")
    assert client.ask(xen.XS_TRANSACTION_END, b"T\0", number) == b"OK\0"


def test_transaction_quota_and_nesting(client: Client) -> None:
    number = start_transaction(client)
    assert client.ask(xen.XS_TRANSACTION_START, b"\0", number) == b"!EBUSY"
    answers = [client.ask(xen.XS_TRANSACTION_START, b"\0") for _ in range(12)]
    assert answers[-1] == b"!ENOSPC"


class RingGuest:
    """The front end's side of a xenstore ring."""

    def __init__(self, start: int = 0) -> None:
        memory = Memory(64, 4)
        mfn = int(memory.p2m[2])
        self.page = memory.page(mfn)
        self.requests = Ring(self.page, 0, xen.XENSTORE_RING_SIZE, XenstoreRing.req_cons)
        self.responses = Ring(self.page, XenstoreRing.rsp, xen.XENSTORE_RING_SIZE, XenstoreRing.rsp_cons)
        self.notified = 0
        self.connection = XenstoreConnection(memory, new_store(), self.notify)
        self.connection.attach(mfn)
        self.set_indexes(start, start, start, start)
        self.answers = b""

    def set_indexes(self, *values: int) -> None:
        """req_cons, req_prod, rsp_cons, rsp_prod."""
        RING_INDEXES.pack_into(self.page, XenstoreRing.req_cons, *values[:2])
        RING_INDEXES.pack_into(self.page, XenstoreRing.rsp_cons, *values[2:])

    def notify(self) -> None:
        self.notified += 1

    def send(self, data: bytes) -> None:
        while data:
            data = data[self.requests.put(data) :]
            self.connection.serve()
            while self.responses.used:
                self.answers += self.responses.take()
                self.connection.serve()


@given(start=indexes, size=st.integers(0, 2048), repeat=st.integers(1, 4))
@settings(max_examples=60)
def test_messages_of_any_size_pass_the_ring_from_any_index(start: int, size: int, repeat: int) -> None:
    guest = RingGuest(start)
    value = bytes(number % 251 for number in range(size))
    for number in range(repeat):
        body = b"data\0" + value
        guest.send(XSD_SOCKMSG.pack(xen.XS_WRITE, number, 0, len(body)) + body)
        guest.send(XSD_SOCKMSG.pack(xen.XS_READ, number + 100, 0, 5) + b"data\0")
    expected = b"".join(
        XSD_SOCKMSG.pack(xen.XS_WRITE, number, 0, 3)
        + b"OK\0"
        + XSD_SOCKMSG.pack(xen.XS_READ, number + 100, 0, size)
        + value
        for number in range(repeat)
    )
    assert guest.answers == expected and guest.notified


@given(values=st.tuples(indexes, indexes, indexes, indexes), data=st.binary(max_size=xen.XENSTORE_RING_SIZE))
@settings(max_examples=200)
def test_no_index_is_trusted(values: tuple[int, int, int, int], data: bytes) -> None:
    guest = RingGuest()
    guest.page[: len(data)] = data
    guest.set_indexes(*values)
    for _ in range(3):
        guest.connection.serve()
    if (values[1] - values[0]) & 0xFFFFFFFF > xen.XENSTORE_RING_SIZE:
        assert guest.connection.broken


@given(data=st.lists(st.binary(max_size=300), max_size=20))
@settings(max_examples=100)
def test_garbage_requests_are_answered_or_close_the_connection(data: list[bytes]) -> None:
    guest = RingGuest()
    for piece in data:
        if not guest.connection.broken:
            guest.send(piece)


@given(kind=st.integers(0, 30), transaction=st.integers(0, 3), body=st.binary(max_size=200))
@settings(max_examples=300)
def test_any_request_gets_one_answer(kind: int, transaction: int, body: bytes) -> None:
    Client().ask(kind, body, transaction)


def test_an_oversized_message_closes_the_connection() -> None:
    guest = RingGuest()
    guest.send(XSD_SOCKMSG.pack(xen.XS_READ, 0, 0, 4097))
    assert guest.connection.broken


def test_a_guest_that_reads_no_answers_is_not_served_without_end() -> None:
    guest = RingGuest()
    request = XSD_SOCKMSG.pack(xen.XS_DIRECTORY, 0, 0, 6) + b"store\0"
    served = 0
    for _ in range(20_000):
        if guest.requests.size - guest.requests.used < len(request):
            break
        guest.requests.put(request)
        guest.connection.serve()
        served += 1
    assert served < 20_000 and guest.connection.requests < 10_000
