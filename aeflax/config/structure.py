"""Splits a configuration into the numbers that a compiled program takes as arguments and the rest, which shapes it."""

import copy
import math
from dataclasses import is_dataclass
from typing import Any, TypeVar

from aeflax.config.schema import TRACED, bare, hints, options

T = TypeVar("T")


class ReadFromValues:
    """Stands for a number that a compiled program takes as an argument. To look at it is a TypeError that says so.

    Equal to every other one, so that structures are.
    """

    def __init__(self, name: str = "it") -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReadFromValues) or (isinstance(other, (int, float)) and self._looked_at())

    def __hash__(self) -> int:
        return 0

    def _looked_at(self, *_: object) -> Any:
        raise TypeError(
            f"{self.name} has no value while a factory runs, since changing it compiles nothing; "
            f"read values[{self.name!r}] inside the function that the factory returns"
        )

    __bool__ = __float__ = __int__ = __index__ = __complex__ = __round__ = __array__ = __jax_array__ = _looked_at
    __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __abs__ = _looked_at
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _looked_at
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _looked_at


def _is_traced(hint: Any) -> bool:
    return any(base is float or TRACED in metadata for base, metadata in map(bare, options(hint)))


def traced(config: Any) -> dict[str, Any]:
    """Numbers that the compiled program takes as arguments, nested like the configuration.

    Every float is one, and every integer marked TRACED. A field set to None is absent: it shapes the program.
    """
    numbers: dict[str, Any] = {}
    for name, hint in hints(type(config)).items():
        value = getattr(config, name)
        if is_dataclass(value):
            numbers[name] = traced(value)
        elif value is not None and _is_traced(hint):
            numbers[name] = float(value)
    return numbers


def unknown(structure: Any) -> dict[str, Any]:
    """What `traced` gives, of a structure: each number is NaN, for what depends on none of their values."""
    parts = ((name, value) for name, value in vars(structure).items() if is_dataclass(value) or _is_unknown(value))
    return {name: math.nan if _is_unknown(value) else unknown(value) for name, value in parts}


def _is_unknown(value: Any) -> bool:
    return isinstance(value, ReadFromValues)


def structure(config: T) -> T:
    """The configuration without its traced numbers, so that nothing can build on their values.

    Two configurations with equal structure share one compiled program; the result is hashable.
    """
    made = copy.copy(config)  # not built anew: a __post_init__ would look at numbers
    for name, hint in hints(type(config)).items():
        value = getattr(config, name)
        if is_dataclass(value):
            object.__setattr__(made, name, structure(value))
        elif value is not None and _is_traced(hint):
            object.__setattr__(made, name, ReadFromValues(name))
    return made
