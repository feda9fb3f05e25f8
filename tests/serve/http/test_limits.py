"""Limits that make no sense are refused when they are made."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from pvboot.serve.http.limits import HttpLimits


@pytest.mark.parametrize("name", list(HttpLimits.model_fields))
@pytest.mark.parametrize("value", [-1, 1 << 40, math.nan])
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        HttpLimits.model_validate({name: value})
