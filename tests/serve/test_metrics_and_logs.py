"""Counters in shared memory, their text, and log lines."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pvboot.serve.api import Requester
from pvboot.serve.logs import DescriptorHandler, log_to, queued, say
from pvboot.serve.metrics import SLOT_BYTES, Counters, SharedCounters, render
from pvboot.serve.record import PROBE_PATH, Recorder
from tests.serve.journal import wait_until


def sums(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    """The rendered text as Prometheus' own parser reads it."""
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render(values))
        for sample in family.samples
    }


def test_slots_are_summed_up() -> None:
    shared = SharedCounters(3)
    for slot, amount in ((0, 1), (2, 5)):
        counters = Counters()
        counters.add("x_total", amount, protocol="tftp")
        shared.publish(slot, counters.snapshot())
    assert sums(shared.total()) == {("pvboot_x_total", "protocol=tftp"): 6}


def test_a_successor_goes_on_from_the_slot() -> None:
    shared = SharedCounters(1)
    first = Counters()
    first.add("x_total", 3)
    shared.publish(0, first.snapshot())
    second = Counters(shared.read(0)[0])
    second.add("x_total")
    shared.publish(0, second.snapshot())
    assert shared.total() == {"x_total": 4}


def test_numbers_that_do_not_fit_leave_the_old_ones() -> None:
    shared = SharedCounters(2)
    shared.publish(0, {"x_total": 1})
    shared.publish(0, {"y" * 50 + str(number): 1 for number in range(SLOT_BYTES // 50)})
    assert shared.read(0)[0] == {"x_total": 1}
    assert shared.read(1)[0] == {}


def test_another_process_sees_whole_slots() -> None:
    shared = SharedCounters(1)
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        for number in range(20_000):
            shared.publish(0, {"a": number, "b": number})
        os._exit(0)
    os.close(send)
    try:
        seen = set()
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            values = shared.read(0)[0]
            assert values.get("a") == values.get("b")
            seen.add(values.get("a"))
        assert len(seen) > 1
    finally:
        os.close(receive)


@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,20}_total", fullmatch=True), st.integers(0, 1 << 50)),
    st.text(max_size=30).filter(lambda text: "\0" not in text),
)
def test_the_text_is_what_prometheus_reads(values: dict[str, int], label: str) -> None:
    counters = Counters()
    for name, value in values.items():
        counters.add(name, value, what=label)
    text = render(counters.snapshot())
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.value == values[sample.name.removeprefix("pvboot_")]
            assert sample.labels == {"what": label}


@pytest.fixture
def log() -> Iterator[Callable[..., list[str]]]:
    """`log(format, step)`: the lines that are logged while `step` runs; the loggers are as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def lines_of(log_format: str, step: Callable[[], None], *, through_queue: bool = False) -> list[str]:
        receive, send = os.pipe()
        handler = DescriptorHandler(send, log_format, "p[1]")
        with queued(handler) if through_queue else contextlib.nullcontext(log_to(handler)):
            step()
        os.close(send)
        with os.fdopen(receive, encoding="utf-8") as file:
            return file.read().splitlines()

    yield lines_of
    root.handlers[:] = handlers
    root.setLevel(level)


Log = Callable[..., list[str]]
VALUES: dict[str, str | int | float] = {"path": '/a b"c\n\x1b[31m=\\', "bytes": 5, "seconds": 1.23456}


def test_a_line_of_logfmt_is_one_line(log: Log) -> None:
    (line,) = log("logfmt", lambda: say("transfer", "info", **VALUES))
    assert line.isprintable()
    fields = dict(word.split("=", 1) for word in shlex.split(line))
    assert fields["event"] == "transfer"
    assert fields["process"] == "p[1]"
    assert fields["path"] == '/a b"c\\x0a\\x1b[31m=\\'
    assert (fields["bytes"], fields["seconds"]) == ("5", "1.235")


def test_a_line_of_json_is_a_document(log: Log) -> None:
    (line,) = log("json", lambda: say("transfer", "info", **VALUES), through_queue=True)
    document = json.loads(line)
    assert document["path"] == '/a b"c\\x0a\\x1b[31m=\\'
    assert (document["bytes"], document["seconds"], document["level"]) == (5, 1.235, "info")


def say_and_look(documents: list[dict[str, object]]) -> bool:
    """The loss is reported with the next line that finds room."""
    say("x")
    return "log-lines-lost" in {document["event"] for document in list(documents)}


@pytest.mark.parametrize("read", [True, False])
def test_a_reader_that_hangs_stops_nobody_and_the_loss_is_counted(log: Log, read: bool) -> None:
    receive, send = os.pipe()
    documents: list[dict[str, object]] = []

    def read_all() -> None:
        with os.fdopen(receive) as file:
            for line in file:
                documents.append(json.loads(line))

    def step() -> None:
        with queued(DescriptorHandler(send, "json")):
            for number in range(30_000):
                say("x", number=number, filler="y" * 100)
            if read:
                reader.start()
                wait_until(lambda: say_and_look(documents))

    reader = threading.Thread(target=read_all)
    before = set(threading.enumerate())
    log("json", step)
    if not read:
        os.close(receive)  # else the writing thread would wait for ever
        for thread in set(threading.enumerate()) - before:
            thread.join(60)  # it would write into whatever gets the descriptor next
    os.close(send)
    if read:
        reader.join()
        counted = sum(int(str(document["count"])) for document in documents if document["event"] == "log-lines-lost")
        assert counted > 0 and sum("number" in document for document in documents) + counted >= 30_000


def test_journald_is_told_the_level(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    receive, send = os.pipe()
    facts = os.fstat(send)
    monkeypatch.setenv("JOURNAL_STREAM", f"{facts.st_dev}:{facts.st_ino}")

    def step() -> None:
        log_to(DescriptorHandler(send, "logfmt"))
        say("x", "error")

    log("logfmt", step)
    os.close(send)
    with os.fdopen(receive) as file:
        assert file.read() == "<3>level=error event=x\n"


def test_loggers_of_libraries_are_heard(log: Log) -> None:
    def step() -> None:
        logger = logging.getLogger("pvboot.test")
        logger.warning("a %s", "warning")
        logger.info("nothing")
        try:
            raise ValueError("a bug")
        except ValueError:
            logger.exception("unforeseen")

    # Of this process other loggers are heard as well: asyncio complains when it finds what a test before has left.
    events = [json.loads(line) for line in log("json", step)]
    warning, error = (event for event in events if event["logger"] == "pvboot.test")
    assert (warning["message"], warning["level"]) == ("a warning", "warning")
    assert (error["level"], "ValueError: a bug" in error["traceback"]) == ("error", True)


def test_the_journal_of_a_worker(log: Log) -> None:
    counters = Counters()
    events = [json.loads(line) for line in log("json", lambda: report(Recorder(counters), counters))]
    told = [(event["event"], event["path"]) for event in events]
    assert told == [("transfer", "/a"), ("transfer", "/b"), ("refused", "/c")]
    found = sums(counters.snapshot())
    assert found["pvboot_transfers_total", "outcome=error", "protocol=tftp"] == 1
    assert found["pvboot_sent_bytes_total", "protocol=tftp"] == 13
    assert found["pvboot_transfers_active", "protocol=tftp"] == 0
    assert found["pvboot_refused_total", "protocol=tftp"] == 1
    assert found[("pvboot_tftp_resends_total",)] == 4


def report(recorder: Recorder, counters: Counters) -> None:
    """What a protocol loop reports."""
    who = Requester("tftp", "192.0.2.9", 1234)
    first, second = recorder.begin(who, "/a", 10), recorder.begin(who, "/b", 20)
    recorder.advance(first, 5)
    assert sums(counters.snapshot())["pvboot_transfers_active", "protocol=tftp"] == 2
    recorder.end(first, "done", 10)
    recorder.end(second, "error: broken", 3)
    recorder.end(second, "done", 3)  # a second end counts for nothing
    recorder.refuse(who, "/c", "not there")
    recorder.refuse(who, PROBE_PATH, "not there")
    recorder.count("tftp_resends", 4)
