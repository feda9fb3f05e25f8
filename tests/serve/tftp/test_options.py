"""Negotiated options: only those asked for, in the client's own spelling, within the limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pvboot.serve.tftp.limits import TftpLimits
from pvboot.serve.tftp.options import negotiate

LOOPBACK, ETHERNET = 65508, 1472
Asked = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("asked", "accepted"),
    [
        ([], ()),
        ([(b"blksize", b"1432"), (b"tsize", b"0")], ((b"blksize", 1432), (b"tsize", 1000))),
        ([(b"tsize", b"0"), (b"blksize", b"8")], ((b"tsize", 1000), (b"blksize", 8))),
        ([(b"BlkSize", b"512")], ((b"BlkSize", 512),)),
        ([(b"blksize", b"65536")], ((b"blksize", 65464),)),
        ([(b"blksize", b"7")], ()),
        ([(b"blksize", b"0")], ()),
        ([(b"blksize", b"-1")], ()),
        ([(b"blksize", b"abc")], ()),
        ([(b"blksize", b"")], ()),
        ([(b"blksize", b" 512")], ()),
        ([(b"blksize", b"1_0")], ()),
        ([(b"blksize", "５１２".encode())], ()),
        ([(b"blksize", b"9" * 400)], ()),
        ([(b"blksize", b"1024"), (b"BLKSIZE", b"2048")], ((b"blksize", 1024),)),
        ([(b"timeout", b"1"), (b"windowsize", b"16")], ((b"timeout", 1), (b"windowsize", 16))),
        ([(b"timeout", b"255")], ((b"timeout", 255),)),
        ([(b"timeout", b"256")], ()),
        ([(b"timeout", b"0")], ()),
        ([(b"windowsize", b"0")], ()),
        ([(b"windowsize", b"65535")], ((b"windowsize", 64),)),
        ([(b"windowsize", b"65536")], ()),
        ([(b"multicast", b""), (b"utimeout", b"1000"), (b"rollover", b"0"), (b"tsize", b"0")], ((b"tsize", 1000),)),
    ],
)
def test_options(asked: Asked, accepted: tuple[tuple[bytes, int], ...]) -> None:
    assert negotiate(asked, 1000, LOOPBACK, TftpLimits()).accepted == accepted


def test_the_size_of_an_empty_file_is_not_told() -> None:
    """curl ends with "illegal operation" on it; a client that hears nothing takes what comes."""
    assert negotiate([(b"tsize", b"0"), (b"blksize", b"512")], 0, LOOPBACK, TftpLimits()).accepted == (
        (b"blksize", 512),
    )


def test_blocks_fit_the_path_unless_fragments_are_allowed() -> None:
    asked = [(b"blksize", b"8192")]
    assert negotiate(asked, 0, ETHERNET, TftpLimits()).blksize == 1468
    assert negotiate(asked, 0, ETHERNET, TftpLimits(fragment=True)).blksize == 8192
    assert negotiate(asked, 0, 200, TftpLimits()).blksize == 512


def test_a_window_is_bounded_in_bytes_too() -> None:
    asked = [(b"blksize", b"65464"), (b"windowsize", b"64")]
    assert negotiate(asked, 0, LOOPBACK, TftpLimits()).windowsize == 2
    assert negotiate(asked, 0, LOOPBACK, TftpLimits(window_bytes=4096)).windowsize == 1


def test_the_defaults_are_those_of_the_first_rfc() -> None:
    agreed = negotiate([(b"unknown", b"1")], 1000, LOOPBACK, TftpLimits())
    assert (agreed.blksize, agreed.windowsize, agreed.timeout, agreed.accepted) == (512, 1, None, ())


NAMES = st.sampled_from([b"blksize", b"TSIZE", b"timeout", b"windowsize", b"x"])
VALUES = st.integers(-9, 10**6).map(lambda value: b"%d" % value) | st.binary(max_size=8)


@given(st.lists(st.tuples(NAMES, VALUES)))
def test_nothing_is_answered_that_was_not_asked(asked: Asked) -> None:
    limits = TftpLimits()
    agreed = negotiate(asked, 77, LOOPBACK, limits)
    assert {name for name, _ in agreed.accepted} <= {name for name, _ in asked}
    assert len({name.lower() for name, _ in agreed.accepted}) == len(agreed.accepted)
    assert 8 <= agreed.blksize <= 65464 and 1 <= agreed.windowsize <= 64
    assert agreed.windowsize == 1 or agreed.windowsize * (agreed.blksize + 4) <= limits.window_bytes
    for name, value in agreed.accepted:
        if name.lower() != b"tsize":
            assert value <= max(int(text) for key, text in asked if key == name and text.isdigit())


@pytest.mark.parametrize(
    "wrong",
    [
        {"blksize": 7},
        {"blksize": 65465},
        {"windowsize": 0},
        {"sessions": 0},
        {"timeout": 0.1},
        {"ports": (9, 8)},
        {"timeout_max": 0.5},
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TftpLimits.model_validate(wrong)
