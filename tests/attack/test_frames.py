"""Forged messages of a child that was taken over: no crash, nothing raw on a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsdrivers.errors import FsError
from pvboot.check import codec
from pvboot.check.fleet import CHECKER
from pvboot.check.model import SourceResult
from pvboot.check.report import ReportSettings, reporter
from pvboot.check.run_entry import MACHINE, Ran
from pvboot.confine import parent
from pvboot.confine.jobs import HEADER, Inbox, Job, SandboxError, pack
from pvboot.libxl.netboot.main import FETCHER
from pvboot.libxl.pygrub import guest
from pvboot.libxl.pygrub import main as pygrub
from pvboot.serve.reader_codec import FILE, NAME, RUN, AnswerLimits, ImageError, read_answer, reader_job
from tests.check.fleets import RESULTS

FORGED = 5000
EVIL = ["\x1b]0;x\x07", "\x1b[2J", "\u202e", "\x00", "\r", "\n", "\t", "\udcff", "/etc/shadow", "\x9b31m", "a" * 3000]
LIMITS = AnswerLimits(runs=50, data_bytes=4096, names=20)


def some_text(noise: random.Random) -> bytes:
    return "".join(noise.choices(EVIL, k=noise.randrange(4))).encode("utf-8", "surrogateescape")


def some_json(noise: random.Random) -> bytes:
    """A result of a check, or what an entry's start was like, with things put into places where they do not belong."""
    if noise.random() < 0.5:
        return json.dumps(
            [noise.random() < 0.5, 1.5, noise.choice(EVIL), noise.choice(EVIL)][: noise.randrange(6)]
        ).encode()
    data = json.loads(codec.encode(noise.choice(RESULTS)))
    for _ in range(noise.randrange(3)):
        data[noise.choice(list(data))] = noise.choice(
            [None, -1, [], {}, noise.choice(EVIL), [[noise.choice(EVIL)] * 8]]
        )
    return json.dumps(data).encode()


def some_answer(noise: random.Random) -> bytes:
    number = noise.choice([0, 1, 4096, 1 << 20, (1 << 64) - 1, (1 << 64) - 2])
    body = (
        RUN.pack(noise.choice([0, 5, number]), number) * noise.randrange(3)
        + NAME.pack(1, 0, noise.randrange(9))
        + b"../x"
    )
    return FILE.pack(number, 0, 1, noise.choice([0, 1, 2, 60, 1 << 31])) + body


def forge(noise: random.Random, job: Job) -> bytes:
    """A few messages, some of them possible, perhaps cut or with other lengths."""
    names = [*job.messages, "error", "parsed", "ready", "need", "text", "kernel", "module", "\x1b[31m", ""]
    data = pack("ready", some_text(noise)) if noise.random() < 0.8 else b""
    for _ in range(noise.randrange(5)):
        value = noise.choice([some_text, some_json, some_answer])(noise) if noise.random() < 0.9 else noise.randbytes(9)
        data += pack(noise.choice(names), value)
    if noise.random() < 0.2:
        data = data[: noise.randrange(len(data) + 1)]
    if noise.random() < 0.2:
        data += HEADER.pack(noise.randrange(256), noise.choice([0, 1 << 20, (1 << 32) - 1])) + noise.randbytes(20)
    return data


def taken(job: Job, data: bytes, noise: random.Random) -> Iterator[tuple[str, object]]:
    """What a parent takes of it, in pieces of any size."""
    inbox = Inbox(job)
    with contextlib.suppress(SandboxError):
        while data:
            size = noise.randrange(1, 200)
            yield from inbox.feed(data[:size])
            data = data[size:]
    for line in (*inbox.layers, *inbox.missing):
        assert line.isprintable()


def judge_texts(name: str, value: object) -> None:
    """Every text is safe as it is; bytes are arguments for the guest's kernel, never printed."""
    if isinstance(value, str):
        assert all(line.isprintable() for line in (value.split("\n") if name == "text" else [value]))
    else:
        assert isinstance(value, bytes) or value is None
        assert name in ("args", "ramdisk", "kernel", "parsed", "ready")


def judge_check(name: str, value: object) -> None:
    if isinstance(value, SourceResult):
        for form in ("text", "json"):
            report = io.StringIO()
            writer = reporter(form, report, ReportSettings("note", False))
            writer.add(value)
            writer.end()
            assert all(line.isprintable() for line in report.getvalue().split("\n"))
    else:
        judge_texts(name, value)


def judge_machine(name: str, value: object) -> None:
    if isinstance(value, Ran):
        value = value.line + value.reason
    judge_texts(name, value)


def judge_image(name: str, value: object) -> None:
    if not isinstance(value, bytes):
        judge_texts(name, value)
        return
    with contextlib.suppress(ImageError, FsError):
        read_answer(name, value, 99, 1 << 20, LIMITS)


PROTOCOLS: dict[str, tuple[Job, Callable[[str, object], None]]] = {
    "the boot loader": (pygrub.READER, judge_texts),
    "the boot loader's lists": (pygrub.LOOKER, judge_texts),
    "netboot": (FETCHER, judge_texts),
    "check": (CHECKER, judge_check),
    "the run of an entry": (MACHINE, judge_machine),
    "the server's images": (reader_job(LIMITS), judge_image),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_forged_messages(name: str) -> None:
    job, judge = PROTOCOLS[name]
    noise = random.Random(name)
    count = 0
    for _ in range(FORGED):
        for said, value in taken(job, forge(noise, job), noise):
            judge(said, value)
            count += 1
    assert count > FORGED / 20, "some of them must be taken"


REAL = [
    pack("ready", b"") + pack("text", b"title: x\n  kernel: /etc/shadow\n"),
    pack("ready", b"") + pack("kernel", b""),
    pack("ready", b"") + pack("args", b"x") + pack("kernel", b"") + pack("kernel", b""),
    pack("ready", b"") + pack("need", b"__main__"),
    pack("ready", b"") + pack("need", b"pvboot.libxl.pygrub.main"),
    pack("ready", b"") + pack("module", b"this"),
    pack("ready", b"\x1b[31m: \x1b[2J") + pack("error", b"\x1b]0;x\x07"),
    pack("ready", b"") + pack("warning", b"\x1b[2J\r\n") + pack("error", "\u202e".encode()),
    pack("text", b"x"),
    struct.pack("=II", 6, 0) + b"kernel",
    b"\xff" * 100,
    b"",
]


@pytest.mark.parametrize("number", range(len(REAL)))
@pytest.mark.parametrize("options", [["-q"], ["-q", "-v"], ["-l"]])
def test_the_boot_loader_believes_nothing(
    number: int,
    options: list[str],
    images: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """The child says it all itself, from its first byte on."""

    def become(_job: Job, _work: object, send: int, *_arguments: object, **_options: object) -> None:
        os.write(send, REAL[number])
        os._exit(0)

    monkeypatch.setattr(parent, "become", become)
    monkeypatch.setattr(guest, "read_guest", None)
    code = pygrub.run([*options, f"--output-directory={tmp_path}", str(images("ext2.img"))])
    out, err = capfdbinary.readouterr()
    listed = options == ["-l"] and number == 0
    assert code == (0 if listed else 1)
    assert (out != b"") is listed
    assert all(line.isprintable() for line in err.decode().splitlines())
    assert listed or err
    assert not list(tmp_path.iterdir())
