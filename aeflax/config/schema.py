"""The generic side of configurations: bounds, kinds and validation of frozen dataclasses.

Nothing here knows what an autoencoder is. A configuration is a tree of frozen dataclasses; this module checks every
field against its annotation and bounds and reports *all* problems at once (`problems`). `plain` turns the tree into
JSON values and back; which of its numbers a compiled program takes as arguments, `structure` tells.
"""

import difflib
import functools
import inspect
import math
import struct
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from aeflax.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Interval:
    """Allowed values of a numeric field, e.g. `Interval(0, 1, open_right=True)` for [0, 1)."""

    low: float = -math.inf
    high: float = math.inf
    open_left: bool = False
    open_right: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_left else value >= self.low
        below = value < self.high if self.open_right else value <= self.high
        return above and below

    def __str__(self) -> str:
        left = "(" if self.open_left or self.low == -math.inf else "["
        right = ")" if self.open_right or self.high == math.inf else "]"
        return f"{left}{self.low:.10g}, {self.high:.10g}{right}"


class _Traced:
    """Marks an integer field as an argument of the compiled program, as every float is."""


FLOAT32_MAX = 2.0**128 - 2.0**104
TRACED = _Traced()

Positive = Annotated[float, Interval(0, open_left=True)]
NonNegative = Annotated[float, Interval(0)]
Fraction = Annotated[float, Interval(0, 1)]
BelowOne = Annotated[float, Interval(0, 1, open_right=True)]
OpenUnit = Annotated[float, Interval(0, 1, open_left=True, open_right=True)]
Count = Annotated[int, Interval(1, 2**31 - 1)]
Natural = Annotated[int, Interval(0)]
Steps = Annotated[int, Interval(0, 2**31 - 1)]  # the state counts them in an int32
TracedSteps = Annotated[Steps, TRACED]
Seed = Annotated[int, Interval(0, 2**32 - 1)]  # jax.random.key drops the higher bits


class Part:
    """Base of a slot that can be filled by several kinds of dataclass.

    `class Corruption(Part)` opens a slot; `class Masking(Corruption, kind="masking")` fills it. The kind is
    the name used on the command line and in stored configurations. A slot with a kind of its own is also the
    first part to fill it.
    """

    kinds: ClassVar[dict[str, type["Part"]]]
    kind: ClassVar[str]

    def __init_subclass__(cls, kind: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if said := _unannotated(cls):
            raise ConfigError(said)
        if "kind" in inspect.get_annotations(cls) and not is_ours(cls):
            raise ConfigError(f"{cls.__name__}.kind is what a part is called by; give the field another name")
        if Part in cls.__bases__:
            cls.kinds = {}
            if kind is None:
                return
        if kind is None:
            raise TypeError(f"{cls.__name__} fills a slot: write class {cls.__name__}(..., kind='name')")
        held = cls.kinds.get(kind)
        if held is not None and (is_ours(held) or held.__qualname__ != cls.__qualname__) and not is_ours(cls):
            raise ConfigError(f"{cls.__name__}: the kind {kind!r} is taken by {held.__name__}; choose another name")
        cls.kind = kind
        cls.kinds[kind] = cls


def _unannotated(cls: type[Any]) -> str | None:
    """What is wrong with a class that has something like a field, which is none for want of an annotation."""
    annotated = {*inspect.get_annotations(cls), *inspect.get_annotations(Part)}
    for name, value in vars(cls).items():
        known = name.startswith("_") or name in annotated or hasattr(super(cls, cls), name)
        if not known and (is_dataclass(value) or isinstance(value, bool | int | float | str | tuple)):
            field = f"{name}: {type(value).__name__} = ..."
            return f"{cls.__name__}.{name} has no annotation, and so is no field; write {field}"
    return None


def is_ours(cls: type[Any]) -> bool:
    """Whether a class is part of this package."""
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]


def hints(cls: Any) -> dict[str, Any]:
    """Annotations of a dataclass by field name, with `Annotated` kept."""
    return _hints(cls)  # a function of its own: the type checker takes no dataclass for a key of a cache


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    known = typing.get_type_hints(cls, include_extras=True)
    return {field.name: known[field.name] for field in fields(cls)}


def options(hint: Any) -> tuple[Any, ...]:
    """Members of a union, or the hint itself; `Annotated` stays with the member that carries it."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def parts(hint: Any) -> tuple[type[Any], ...]:
    """The dataclasses and slots among a hint's options."""
    return tuple(
        option for option in options(hint) if isinstance(option, type) and (is_dataclass(option) or _is_slot(option))
    )


def bare(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Splits `Annotated[T, ...]` into T and its metadata."""
    if typing.get_origin(hint) is Annotated:
        base, *metadata = typing.get_args(hint)
        return base, tuple(metadata)
    return hint, ()


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields (dotted path, annotation, value) for every field that holds no part of its own kind or slot."""
    for name, hint in hints(type(config)).items():
        value, path = getattr(config, name), prefix + name
        if is_dataclass(value) and isinstance(value, parts(hint)):
            yield from walk(value, path + ".")
        else:
            yield path, hint, value


def _fault(value: Any, hint: Any) -> str | None:
    """Says what is wrong with one value, or None."""
    faults = []
    for option in options(hint):
        base, metadata = bare(option)
        fault = _type_fault(value, base)
        if fault is None:
            for bound in metadata:
                if isinstance(bound, Interval) and value not in bound:
                    fault = f"lies outside {bound}"
                elif isinstance(bound, Interval) and base is float and _float32(value) not in bound:
                    fault = f"rounds to {_float32(value):g} in float32, which lies outside {bound}"
        if fault is None:
            return None
        faults.append((fault, base))
    informative = [fault for fault, base in faults if base is not type(None)]
    return informative[0] if informative else faults[0][0]


def _float32(value: float) -> float:
    """What the compiled program makes of a number."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def _type_fault(value: Any, base: Any) -> str | None:
    origin = typing.get_origin(base)
    if origin is Literal:
        choices = typing.get_args(base)
        if value in choices:
            return None
        return f"is none of {', '.join(map(str, choices))}{nearest(str(value), map(str, choices))}"
    if origin is tuple:
        (item, *_) = typing.get_args(base)
        if not isinstance(value, tuple):
            return f"is not a tuple; write {tuple(value) if isinstance(value, list) else (value,)}"
        return next((f"holds {entry!r}, which {fault}" for entry in value if (fault := _fault(entry, item))), None)
    if base is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return "is not a number"
        if not abs(value) <= sys.float_info.max:
            return "is not finite"
        return None if abs(value) <= FLOAT32_MAX else f"lies beyond float32, whose largest number is {FLOAT32_MAX:.4g}"
    if base is int:
        return None if isinstance(value, int) and not isinstance(value, bool) else "is not a whole number"
    if base not in (str, bool, type(None)) and not is_dataclass(base) and not _is_slot(base):
        if isinstance(base, type) and vars(base).get("__annotations__"):
            return f"is no dataclass; write @dataclass(frozen=True, kw_only=True) above {base.__name__}"
        return (
            f"is of type {base}, which no configuration holds; take float, int, bool, str, Literal or tuple[..., ...]"
        )
    if not isinstance(value, base):
        kinds = f"; take one of {', '.join(kind.__name__ for kind in base.kinds.values())}" if _is_slot(base) else ""
        return f"is not of type {getattr(base, '__name__', base)}{kinds}"
    return "is not a dataclass" if issubclass(base, Part) else None  # `walk` descends into those that are


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """`; did you mean ...?` with the nearest known name, or nothing."""
    words = list(known)
    begun = [name for name in words if len(word) > 1 and name.startswith(word)]
    near = begun if len(begun) == 1 else difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def problems(config: Any) -> list[str]:
    """Fields whose values do not fit their annotations or bounds, and records that may change; a sentence each."""
    thawed = [f"{type(part).__name__} is not frozen; write @dataclass(frozen=True)" for part in _thawed(config)]
    thawed += [
        f"{type(part).__name__} is no dataclass of its own; write @dataclass(frozen=True, kw_only=True) above it"
        for part in _inside(config)
        if "__dataclass_params__" not in vars(type(part))
    ]
    thawed += [said for part in _inside(config) if not is_ours(type(part)) and (said := _unannotated(type(part)))]
    return thawed + [
        f"{path}={value!r} {fault}" for path, hint, value in walk(config) if (fault := _fault(value, hint))
    ]


def _thawed(config: Any) -> Iterator[Any]:
    """Dataclasses of a configuration whose fields may be set."""
    return (part for part in _inside(config) if not type(part).__dataclass_params__.frozen)


def _inside(config: Any) -> Iterator[Any]:
    """A configuration and all parts of it."""
    yield config
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            yield from _inside(value)


def _is_slot(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Part)
