"""Limits that make no sense are refused when they are made."""

from __future__ import annotations

import dataclasses
import math

import pytest

from pvboot.errors import UsageError
from pvboot.serve.http.limits import HttpLimits


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(HttpLimits)])
@pytest.mark.parametrize("value", [-1, 1 << 40, math.nan])
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=name):
        HttpLimits(**{name: value})
