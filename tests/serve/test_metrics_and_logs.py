"""Counters in shared memory, their text, and log lines."""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pvboot.serve.api import Requester
from pvboot.serve.logs import LogHandler, LogWriter
from pvboot.serve.metrics import SLOT_BYTES, Board, Counters, render
from pvboot.serve.record import PROBE_PATH, Recorder


def sums(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    """The rendered text as Prometheus' own parser reads it."""
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(render(values))
        for sample in family.samples
    }


def test_slots_are_summed_up() -> None:
    board = Board(3)
    for slot, amount in ((0, 1), (2, 5)):
        counters = Counters()
        counters.add("x_total", amount, protocol="tftp")
        board.publish(slot, counters.snapshot())
    assert sums(board.total()) == {("pvboot_x_total", "protocol=tftp"): 6}


def test_a_successor_goes_on_from_the_slot() -> None:
    board = Board(1)
    first = Counters()
    first.add("x_total", 3)
    board.publish(0, first.snapshot())
    second = Counters(board.read(0)[0])
    second.add("x_total")
    board.publish(0, second.snapshot())
    assert board.total() == {"x_total": 4}


def test_numbers_that_do_not_fit_leave_the_old_ones() -> None:
    board = Board(2)
    board.publish(0, {"x_total": 1})
    board.publish(0, {"y" * 50 + str(number): 1 for number in range(SLOT_BYTES // 50)})
    assert board.read(0)[0] == {"x_total": 1}
    assert board.read(1)[0] == {}


def test_another_process_sees_whole_slots() -> None:
    board = Board(1)
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        for number in range(20_000):
            board.publish(0, {"a": number, "b": number})
        os._exit(0)
    os.close(send)
    try:
        seen = set()
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            values = board.read(0)[0]
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


def lines_of(write: str, *events: tuple[str, str, dict[str, str | int | float]]) -> list[str]:
    receive, send = os.pipe()
    writer = LogWriter(write, process="p[1]", fd=send)
    writer.start()
    for event, level, values in events:
        writer.say(event, level, **values)
    writer.close()
    os.close(send)
    with os.fdopen(receive, encoding="utf-8") as file:
        return file.read().splitlines()


VALUES: dict[str, str | int | float] = {"path": '/a b"c\n\x1b[31m=\\', "bytes": 5, "seconds": 1.23456}


def test_a_line_of_logfmt_is_one_line() -> None:
    (line,) = lines_of("logfmt", ("transfer", "info", VALUES))
    assert line.isprintable()
    fields = dict(word.split("=", 1) for word in shlex.split(line))
    assert fields["event"] == "transfer"
    assert fields["process"] == "p[1]"
    assert fields["path"] == '/a b"c\\x0a\\x1b[31m=\\'
    assert (fields["bytes"], fields["seconds"]) == ("5", "1.235")


def test_a_line_of_json_is_a_document() -> None:
    (line,) = lines_of("json", ("transfer", "info", VALUES))
    document = json.loads(line)
    assert document["path"] == '/a b"c\\x0a\\x1b[31m=\\'
    assert (document["bytes"], document["seconds"], document["level"]) == (5, 1.235, "info")


def test_a_reader_that_hangs_stops_nobody() -> None:
    receive, send = os.pipe()
    writer = LogWriter("logfmt", fd=send)
    writer.start()
    for number in range(30_000):
        writer.say("x", number=number, filler="y" * 100)
    os.close(receive)  # else the writer would wait for ever
    writer.close()
    os.close(send)


def test_journald_is_told_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    receive, send = os.pipe()
    facts = os.fstat(send)
    monkeypatch.setenv("JOURNAL_STREAM", f"{facts.st_dev}:{facts.st_ino}")
    LogWriter("logfmt", fd=send).say("x", "error")
    os.close(send)
    with os.fdopen(receive) as file:
        assert file.read() == "<3>level=error event=x\n"


def test_loggers_of_libraries_are_heard() -> None:
    receive, send = os.pipe()
    logger = logging.Logger("pvboot.test")
    logger.addHandler(LogHandler(LogWriter("json", fd=send)))
    logger.warning("a %s", "warning")
    logger.info("nothing")
    os.close(send)
    with os.fdopen(receive) as file:
        (document,) = map(json.loads, file.read().splitlines())
    assert (document["message"], document["level"], document["logger"]) == ("a warning", "warning", "pvboot.test")


def test_the_journal_of_a_worker() -> None:
    receive, send = os.pipe()
    counters = Counters()
    recorder = Recorder(LogWriter("json", fd=send), counters)
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
    os.close(send)
    with os.fdopen(receive) as file:
        events = [json.loads(line) for line in file]
    told = [(event["event"], event["path"]) for event in events]
    assert told == [("transfer", "/a"), ("transfer", "/b"), ("refused", "/c")]
    found = sums(counters.snapshot())
    assert found["pvboot_transfers_total", "outcome=error", "protocol=tftp"] == 1
    assert found["pvboot_sent_bytes_total", "protocol=tftp"] == 13
    assert found["pvboot_transfers_active", "protocol=tftp"] == 0
    assert found["pvboot_refused_total", "protocol=tftp"] == 1
    assert found[("pvboot_tftp_resends_total",)] == 4
