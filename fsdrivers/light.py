"""Stand-ins for `dataclasses` and `typing` that cost a boot loader next to nothing.

The standard library writes and compiles up to seven methods for each data class while its module is imported, half a
millisecond a class, and `typing` takes two: together most of the time that a boot loader runs.  Here a method is
written when it is first called, and what only type checkers look at is empty.

Known of `dataclass` are `frozen`, `slots` and `eq`; `field` with a default, `default_factory`, `init`, `repr` and
`compare`; bases that are data classes of this module; `__post_init__`.  Annotations must be strings
(`from __future__ import annotations`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
    from typing import Any as Any
    from typing import BinaryIO as BinaryIO
    from typing import ClassVar as ClassVar
    from typing import Final as Final
    from typing import Generic as Generic
    from typing import Literal as Literal
    from typing import NamedTuple as NamedTuple
    from typing import NoReturn as NoReturn
    from typing import Protocol as Protocol
    from typing import Self as Self
    from typing import TextIO as TextIO
    from typing import TypeAlias as TypeAlias
    from typing import TypeVar as TypeVar
    from typing import cast as cast
else:
    from _collections import _tuplegetter
    from operator import attrgetter

    WRITTEN_AT = 16  # objects of a class: a method takes the time of so many to be written

    Any = BinaryIO = ClassVar = Final = NoReturn = Self = TextIO = TypeAlias = object

    class Protocol:
        """A base class of no meaning."""

    class Generic:
        """A base class that takes type arguments."""

        def __class_getitem__(cls, _arguments):
            return cls

    Literal = Generic

    def TypeVar(name, **_bounds):  # noqa: N802
        """A name for error messages."""
        return name

    def cast(_type, value):
        """The value."""
        return value

    class _TupleMaker(type):
        def __new__(cls, name, bases, body):
            names = tuple(body.get("__annotations__", ()))
            if names:
                body["_field_defaults"] = {key: body[key] for key in names if key in body}
                body |= {key: _tuplegetter(at, None) for at, key in enumerate(names)}
                body["_fields"] = body["__match_args__"] = names
                body["_first_uses"] = iter(range(WRITTEN_AT))
            body.setdefault("__slots__", ())
            return type.__new__(cls, name, bases, body)

    class NamedTuple(tuple, metaclass=_TupleMaker):
        """As `typing`'s."""

        def __new__(cls, *values, **named):
            names, defaults = cls._fields, cls._field_defaults
            left = names[len(values) :]
            if next(cls._first_uses, None) is not None and len(values) <= len(names) and named.keys() <= set(left):
                given = {**defaults, **named}
                if given.keys() >= set(left):
                    return tuple.__new__(cls, (*values, *[given[name] for name in left]))
            owner = next(one for one in cls.__mro__ if "_fields" in one.__dict__)
            scope = {f"_{name}": value for name, value in defaults.items()} | {"_new": tuple.__new__}
            parameters = ", ".join([f"{name}=_{name}" if name in defaults else name for name in names])
            exec(f"def __new__(_cls, {parameters}): return _new(_cls, ({', '.join(names)},))", scope)
            scope["__new__"].__qualname__ = f"{owner.__qualname__}.__new__"
            owner.__new__ = scope["__new__"]
            return owner.__new__(cls, *values, **named)

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, /, **changes):
            return type(self)(**{**self._asdict(), **changes})

        def __repr__(self):
            return f"{type(self).__name__}({', '.join([f'{k}={v!r}' for k, v in self._asdict().items()])})"

        def __getnewargs__(self):
            return tuple(self)

    _MISSING = object()

    class _Field:
        __slots__ = ("compare", "default", "factory", "init", "name", "repr")

        def __init__(self, default, factory=None, init=True, repr=True, compare=True):
            self.default, self.factory, self.init, self.repr, self.compare = default, factory, init, repr, compare

    def field(*, default=_MISSING, default_factory=None, init=True, repr=True, compare=True):
        """As the standard library's."""
        return _Field(default, default_factory, init, repr, compare)

    def replace(record, /, **changes):
        """As the standard library's, also for its own data classes."""
        if not hasattr(type(record), "__record__"):
            import dataclasses

            return dataclasses.replace(record, **changes)
        for one in type(record).__record__:
            if one.init and one.name not in changes:
                changes[one.name] = getattr(record, one.name)
        return type(record)(**changes)

    class _StandardFields:
        """The fields as `dataclasses` keeps them, for its functions; made when one of them asks."""

        def __get__(self, _record, cls):
            import dataclasses

            cls.__dataclass_fields__ = made = {}
            for one in cls.__record__:
                made[one.name] = standard = dataclasses.field(
                    default=dataclasses.MISSING if one.default is _MISSING else one.default,
                    default_factory=one.factory or dataclasses.MISSING,
                    init=one.init,
                    repr=one.repr,
                    compare=one.compare,
                )
                standard.name, standard._field_type = one.name, dataclasses._FIELD
            return made

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True):
        """As the standard library's."""
        if cls is None:
            return lambda cls: dataclass(cls, frozen=frozen, slots=slots, eq=eq)
        body = cls.__dict__
        fields = {one.name: one for base in cls.__mro__[:0:-1] for one in base.__dict__.get("__record__", ())}
        own = []
        for name, annotation in body.get("__annotations__", {}).items():
            if not annotation.startswith("ClassVar"):
                default = body.get(name, _MISSING)
                fields[name] = one = default if isinstance(default, _Field) else _Field(default)
                one.name = name
                own.append(one)
        added = _methods(body, tuple(fields.values()), frozen, eq)
        if not slots:
            for one in own:
                if isinstance(body.get(one.name), _Field):
                    delattr(cls, one.name) if one.default is _MISSING else setattr(cls, one.name, one.default)
            for name, value in added.items():
                setattr(cls, name, value)
        else:
            names = [one.name for one in own]
            kept = {name: value for name, value in body.items() if name not in (*names, "__dict__", "__weakref__")}
            kept |= {**added, "__slots__": tuple(names), "__qualname__": cls.__qualname__}
            cls = type(cls)(cls.__name__, cls.__bases__, kept)
        if "__init__" in added:
            added["__init__"].cls = cls
        return cls

    def _methods(body, fields, frozen, eq):
        added = {
            "__record__": fields,
            "__record_key__": None,
            "__dataclass_fields__": _StandardFields(),
            "__match_args__": tuple([one.name for one in fields if one.init]),
            "__init__": _first_init(fields, frozen),
            "__repr__": _repr,
        }
        if eq:
            added |= {"__eq__": _eq, "__hash__": _hash if frozen else None}
        if frozen:
            added |= {"__setattr__": _refuse, "__delattr__": _refuse, "__getstate__": _state, "__setstate__": _restore}
        # Python itself puts a `__hash__` of None beside an `__eq__`.
        has_hash = body.get("__hash__") is not None or ("__hash__" in body and "__eq__" not in body)
        return {name: added[name] for name in added if not (has_hash if name == "__hash__" else name in body)}

    def _first_init(fields, frozen):
        first_uses = iter(range(WRITTEN_AT))
        names = [one.name for one in fields if one.init]

        def first(self, *args, **named):
            if next(first_uses, None) is None or not fill(self, args, named):
                first.cls.__init__ = _write_init(first.cls, fields, frozen)
                first.cls.__init__(self, *args, **named)

        def fill(self, args, named):
            """Whether the arguments are good; what is wrong with others is said by the written method."""
            given = dict(zip(names, args))  # noqa: B905
            if len(args) > len(names) or not given.keys().isdisjoint(named) or not named.keys() <= set(names):
                return False
            given |= named
            for one in fields:
                if one.name not in given:
                    if one.factory is None and one.default is _MISSING:
                        if one.init:
                            return False
                        continue
                    given[one.name] = one.factory() if one.factory else one.default
                object.__setattr__(self, one.name, given[one.name])
            if hasattr(self, "__post_init__"):
                self.__post_init__()
            return True

        return first

    def _write_init(cls, fields, frozen):
        scope = {"_MISSING": _MISSING, "_set": object.__setattr__}
        parameters, lines = ["self"], []
        for one in fields:
            name, value = one.name, one.name
            scope[f"_{name}"] = one.factory or one.default
            if not one.init:
                value = f"_{name}()" if one.factory else f"_{name}"
                if not one.factory and one.default is _MISSING:
                    continue
            elif one.factory:
                parameters.append(f"{name}=_MISSING")
                value = f"_{name}() if {name} is _MISSING else {name}"
            else:
                parameters.append(name if one.default is _MISSING else f"{name}=_{name}")
            lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
        if hasattr(cls, "__post_init__"):
            lines.append("self.__post_init__()")
        exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines or ["pass"]), scope)
        made = scope["__init__"]
        made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
        return made

    def _values(record):
        """What equal records have in common."""
        cls = type(record)
        if cls.__record_key__ is None:
            names = [one.name for one in cls.__record__ if one.compare]
            cls.__record_key__ = staticmethod(attrgetter(*names) if names else lambda _record: ())
        return cls.__record_key__(record)

    def _eq(self, other):
        return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented

    def _hash(self):
        return hash(_values(self))

    def _repr(self):
        shown = ", ".join([f"{one.name}={getattr(self, one.name)!r}" for one in self.__record__ if one.repr])
        return f"{type(self).__qualname__}({shown})"

    def _refuse(self, name, _value=None):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def _state(self):
        return [getattr(self, one.name) for one in self.__record__]

    def _restore(self, state):
        for one, value in zip(self.__record__, state, strict=True):
            object.__setattr__(self, one.name, value)
