"""The multiboot module package."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.errors import PlanError
from pvboot.kexec.layout import BytesBlob
from pvboot.kexec.modules import pack_modules


def flat(package: object) -> bytes:
    data = bytearray()
    for offset, chunk in package.chunks():  # type: ignore[attr-defined]
        assert offset == len(data)
        data += chunk
    return bytes(data)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=9000), st.binary(max_size=60)), max_size=6))
def test_every_module_is_found_again_by_its_record(modules: list[tuple[bytes, bytes]]) -> None:
    modules = [(data, text.replace(b"\0", b"")) for data, text in modules]
    package = pack_modules([(BytesBlob(data), text) for data, text in modules])
    raw = flat(package)
    assert len(raw) == package.size
    assert package.size % 4096 == 0
    for number, (data, text) in enumerate(modules):
        start, last, where, pad = struct.unpack_from("<IIII", raw, 16 * number)
        assert raw[start : last + 1] == data
        assert start % 4096 == where % 4096 == pad == 0
        assert raw[where : raw.index(b"\0", where)] == text
    assert raw[16 * len(modules) : 16 * len(modules) + 16] == bytes(16)


def test_limits() -> None:
    one = (BytesBlob(b"x"), b"")
    assert pack_modules([one] * 255).size == 4096 + 255 * 8192
    for modules in ([one] * 256, [(BytesBlob(b""), b"")], [(BytesBlob(b"x"), b"y" * 4096)]):
        with pytest.raises(PlanError):
            pack_modules(modules)
