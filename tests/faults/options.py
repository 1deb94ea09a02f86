"""Every option of `aeflax train`, and the numbers that one does not take."""

import functools
import typing
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Annotated, Any


def leaves(cls: Any, prefix: str = "", kinds: tuple[str, ...] = ()) -> Iterator[tuple[str, Any, list[str]]]:
    """(dotted path, annotation, words that make the option one) of every field of a configuration and its parts."""
    from aeflax.config.schema import Part, hints, options

    for name, hint in hints(cls).items():
        part = next((option for option in options(hint) if isinstance(option, type) and is_dataclass(option)), None)
        slot = next((option for option in options(hint) if isinstance(option, type) and issubclass(option, Part)), None)
        if slot is not None and slot not in slot.kinds.values():
            for kind, filling in slot.kinds.items():
                yield from leaves(filling, f"{prefix}{name}.", (*kinds, f"--{prefix}{name}", kind))
        elif part is not None:
            yield from leaves(part, f"{prefix}{name}.", kinds)
        else:
            yield prefix + name, hint, list(kinds)


def intervals(hint: Any) -> Iterator[tuple[type, Any]]:
    """(int or float, interval) of the numbers that an annotation allows."""
    from aeflax.config.schema import Interval, options

    items = [item for option in options(hint) if typing.get_origin(option) is tuple for item in option.__args__]
    for option in (*options(hint), *items):
        if typing.get_origin(option) is Annotated:
            base, *marks = typing.get_args(option)
            yield from ((base, mark) for mark in marks if isinstance(mark, Interval))


def outside(base: type, interval: Any) -> list[Any]:
    """Numbers that an interval does not hold: beside its ends, and far away."""
    step = 1 if base is int else 1e-6
    near = [interval.low - step, interval.high + step]
    near += [interval.low] if interval.open_left else []
    near += [interval.high] if interval.open_right else []
    far = [-(10**9), *([] if base is int else [float("nan"), float("inf")])]
    # None of what is infinite or too large for float32, whose neighbours are itself.
    return [value for value in near if abs(value) < 1e12 and value not in interval] + far


@functools.cache
def known() -> list[tuple[str, Any, list[str]]]:
    """Every option of `aeflax train` below an experiment."""
    from aeflax.config import Experiment

    return list(leaves(Experiment))
