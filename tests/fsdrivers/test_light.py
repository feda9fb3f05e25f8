"""The light classes do what the standard library's do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import typing
from collections.abc import Callable
from typing import Any

import pytest

from fsdrivers import light


def make(library: Any, named_tuple: Any) -> tuple[type, ...]:
    """The same classes from either library."""

    @library.dataclass(frozen=True, slots=True)
    class Frozen:
        number: int
        text: str = "-"
        names: list[str] = library.field(default_factory=list, compare=False, repr=False)

    @library.dataclass(frozen=True, slots=True)
    class Derived(Frozen):
        last: int = 7

    @library.dataclass
    class Open:
        number: int = 1
        seen: list[int] = library.field(default_factory=list, init=False)

        def __post_init__(self) -> None:
            self.seen.append(self.number)

    class Row(named_tuple):  # type: ignore[misc]
        number: int
        text: str = "-"

    return Frozen, Derived, Open, Row


LIGHT, STANDARD = make(light, light.NamedTuple), make(dataclasses, typing.NamedTuple)
for kind in LIGHT:  # where pickle looks for them
    kind.__qualname__ = kind.__name__
    globals()[kind.__name__] = kind

CALLS: dict[str, Callable[..., Any]] = {
    "positional": lambda make, *_: make(1),
    "named": lambda make, *_: make(number=2),
    "too many": lambda make, *_: make(*range(9)),
    "unknown": lambda make, *_: make(1, nonsense=2),
    "twice": lambda make, *_: make(1, number=2),
    "none": lambda make, *_: make(),
    "equal": lambda make, *_: (make(1) == make(1), make(1) == make(2), make(1) != make(2), make(1) == 1),
    "copied": lambda make, *_: copy.deepcopy(make(3)),
    "set": lambda make, *_: setattr(make(1), "number", 2),
    "matched": lambda make, *_: make.__match_args__,
    "replaced": lambda make, replace: replace(make(1), number=5),
}


def outcome(call: Callable[[], Any]) -> str:
    try:
        return repr(call()).replace("make.<locals>.", "")
    except (TypeError, AttributeError) as err:
        return f"{type(err).__name__}: {err}".replace("make.<locals>.", "")


@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize("at", range(len(LIGHT)), ids=[each.__name__ for each in LIGHT])
def test_same_as_the_standard_library(at: int, what: str) -> None:
    is_row = LIGHT[at].__name__ == "Row"
    replaces = [(lambda row, **new: row._replace(**new)) if is_row else each.replace for each in (light, dataclasses)]
    for _ in range(light.WRITTEN_AT + 2):  # the first objects are made without written methods
        ours, theirs = (
            outcome(lambda kind=kind, replace=replace: CALLS[what](kind, replace))  # type: ignore[misc]
            for kind, replace in zip((LIGHT[at], STANDARD[at]), replaces, strict=True)
        )
        if what in ("too many", "unknown", "twice", "none", "set"):
            ours, theirs = ours.partition(":")[0], theirs.partition(":")[0]
        assert ours == theirs


@pytest.mark.parametrize("kind", LIGHT, ids=lambda kind: kind.__name__)
def test_hashes_and_pickles(kind: type) -> None:
    one = kind(4)
    assert pickle.loads(pickle.dumps(one)) == one
    if kind.__name__ == "Open":
        with pytest.raises(TypeError):
            hash(one)
    else:
        assert hash(one) == hash(kind(4))


def test_the_standard_functions_know_the_fields() -> None:
    frozen = LIGHT[0](1, "a", ["b"])
    assert dataclasses.asdict(frozen) == {"number": 1, "text": "a", "names": ["b"]}
    assert dataclasses.replace(frozen, text="c") == LIGHT[0](1, "c")


def test_replace_takes_classes_of_the_standard_library() -> None:
    @dataclasses.dataclass(frozen=True)
    class Plain:
        left: int
        right: int = 2

    assert light.replace(Plain(1), right=3) == Plain(1, 3)
