"""The run-time formats against the construct declarations, field by field on random bytes."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from construct import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

from fsdrivers.blocks import MemorySource
from fsdrivers.errors import Corrupt
from fsdrivers.ext2 import jbd2_layout, layout
from fsdrivers.ext2 import structs as ext
from fsdrivers.iso9660 import layout as iso_layout
from fsdrivers.iso9660 import structs as iso
from fsdrivers.iso9660 import susp
from fsdrivers.records import FieldTable

RECORDS: list[tuple[FieldTable, Struct]] = [
    (layout.SUPER, ext.SUPER_BLOCK),
    (layout.GROUP, ext.GROUP_DESCRIPTOR),
    (layout.INODE, ext.INODE),
    (layout.INODE_EXTRA, ext.INODE_EXTRA),
    (layout.EXTENT_HEADER, ext.EXTENT_HEADER),
    (jbd2_layout.HEADER, ext.JOURNAL_HEADER),
    (jbd2_layout.JOURNAL_SUPER, ext.JOURNAL_SUPER_BLOCK),
    (jbd2_layout.COMMIT, ext.JOURNAL_COMMIT),
    (jbd2_layout.REVOKE, ext.JOURNAL_REVOKE),
    (iso_layout.DIRECTORY_RECORD, iso.DIRECTORY_RECORD),
    (iso_layout.VOLUME_DESCRIPTOR, iso.VOLUME_DESCRIPTOR),
    (iso_layout.SUSP_CE, iso.SUSP_CE),
    (iso_layout.RRIP_PX, iso.RRIP_PX),
    (iso_layout.RRIP_CL, iso.RRIP_CL),
    (iso_layout.RRIP_ZF, iso.RRIP_ZF),
    (iso_layout.ZISOFS_HEADER, iso.ZISOFS_HEADER),
]
# Formats without names: the values in order of the declaration's fields.
FORMATS: list[tuple[struct.Struct, Struct]] = [
    (layout.EXTENT_LEAF, ext.EXTENT_LEAF),
    (layout.EXTENT_INDEX, ext.EXTENT_INDEX),
    (layout.DIRENT, ext.DIRECTORY_ENTRY),
    (layout.XATTR_ENTRY, ext.XATTR_ENTRY),
    (jbd2_layout.TAG, ext.JOURNAL_TAG),
    (jbd2_layout.TAG3, ext.JOURNAL_TAG3),
    (jbd2_layout.FAST_COMMIT_HEAD, ext.FAST_COMMIT_HEAD),
]


def plain(value: Any) -> Any:
    """Both-endian numbers are read by their little-endian half."""
    return value["le"] if isinstance(value, dict) else value


@pytest.mark.parametrize(("record", "declared"), RECORDS, ids=[record.name for record, _ in RECORDS])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_record_matches_its_declaration(record: FieldTable, declared: Struct, data: st.DataObject) -> None:
    assert record.size == declared.sizeof()
    raw = data.draw(st.binary(min_size=record.size, max_size=record.size))
    parsed = declared.parse(raw)
    assert record.read(raw) == {name: plain(parsed[name]) for name in record.names}


@pytest.mark.parametrize(("format_", "declared"), FORMATS, ids=[str(format_.format) for format_, _ in FORMATS])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_format_matches_its_declaration(format_: struct.Struct, declared: Struct, data: st.DataObject) -> None:
    assert format_.size == declared.sizeof()
    raw = data.draw(st.binary(min_size=format_.size, max_size=format_.size))
    parsed = declared.parse(raw)
    assert list(format_.unpack(raw)) == [parsed[field.name] for field in declared.subcons if field.name]


def test_offsets_beside_the_records() -> None:
    raw = bytes(range(256)) * 4
    high = ext.GROUP_DESCRIPTOR_HIGH.parse(raw[32:64])
    at = layout.GROUP_INODE_TABLE_HI_OFFSET
    assert high.inode_table_hi == int.from_bytes(raw[at : at + 4], "little")


def test_system_use_entries_are_read_as_declared() -> None:
    payload = iso.SUSP_SP.build({"check": b"\xbe\xef", "skip": 15})
    header = iso.SUSP_HEADER.build({"signature": b"SP", "length": 4 + len(payload), "version": 1})
    source = MemorySource(bytes(1))
    assert list(susp.entries(source, header + payload + bytes(4), "here")) == [(b"SP", payload)]


def test_cut_record_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="cut short"):
        layout.INODE.read(bytes(100))
