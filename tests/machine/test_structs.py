"""The run-time formats agree with the declarations, field by field."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from construct import Padded

from pvboot.machine import abi, console, structs, xenstore


def flat(value: Any) -> list[int]:
    """The numbers of a parsed structure in order."""
    if isinstance(value, int):
        return [value]
    if isinstance(value, dict):
        return [number for key, item in value.items() if key != "_io" for number in flat(item)]
    return [number for item in value for number in flat(item)]


def agree(declared: Any, runtime: struct.Struct) -> None:
    assert declared.sizeof() == runtime.size
    # Every byte different, so that a field at another place or of another size or sign shows.
    sample = bytes((37 * index + 129) % 256 for index in range(runtime.size))
    assert flat(declared.parse(sample)) == list(runtime.unpack(sample))


@pytest.mark.parametrize("width", [64, 32])
@pytest.mark.parametrize("name", sorted(structs.declarations(64)))
def test_width_dependent_formats(width: int, name: str) -> None:
    agree(structs.declarations(width)[name], getattr(abi.abi_for(width), name))


@pytest.mark.parametrize("name", sorted(structs.COMMON))
def test_common_formats(name: str) -> None:
    agree(structs.COMMON[name], getattr(abi, name))


def offset_of(declared: Any, name: str) -> int:
    """Byte offset of a member."""
    offset = 0
    for member in declared.subcons:
        if member.name == name:
            return offset
        offset += member.sizeof()
    raise AssertionError(name)


@pytest.mark.parametrize("width", [64, 32])
def test_shared_info_offsets(width: int) -> None:
    layout, formats = structs.shared_info(width), abi.abi_for(width)
    assert structs.vcpu_info(width).sizeof() == abi.VCPU_INFO_BYTES
    assert layout.sizeof() == {64: 3136, 32: 2344}[width]  # measured with the C compiler
    assert offset_of(layout, "evtchn_pending") == abi.SHARED_INFO_PENDING
    assert offset_of(layout, "evtchn_mask") == formats.shared_mask
    assert offset_of(layout, "wc_version") == formats.shared_wallclock
    assert offset_of(layout, "wc_sec_hi") == formats.shared_wallclock_high
    info = structs.vcpu_info(width)
    assert offset_of(info, "evtchn_pending_sel") == formats.vcpu_pending_sel
    assert offset_of(info, "cr2") == formats.vcpu_cr2
    assert offset_of(info, "time") == formats.vcpu_time


def test_console_ring_offsets() -> None:
    assert offset_of(structs.CONSOLE_RING, "out") == console.OUTPUT_OFFSET
    assert offset_of(structs.CONSOLE_RING, "in_cons") == console.INDEXES_OFFSET
    assert offset_of(structs.CONSOLE_RING, "out_prod") == console.INDEXES_OFFSET + 12


def test_xenstore_ring_offsets() -> None:
    assert offset_of(structs.XENSTORE_RING, "rsp") == xenstore.RESPONSE_OFFSET
    assert offset_of(structs.XENSTORE_RING, "req_cons") == xenstore.INDEXES_OFFSET
    agree(structs.XENSTORE_MESSAGE, xenstore.HEADER)


@pytest.mark.parametrize("width", [64, 32])
def test_port_limits_follow_from_the_bitmaps(width: int) -> None:
    formats = abi.abi_for(width)
    layout = structs.shared_info(width)
    size = offset_of(layout, "evtchn_mask") - offset_of(layout, "evtchn_pending")
    assert formats.port_count == size * 8 and formats.port_bits == width


def test_a_wrong_format_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        agree(Padded(24, structs.COMMON["MMU_UPDATE"]), abi.MMU_UPDATE)
