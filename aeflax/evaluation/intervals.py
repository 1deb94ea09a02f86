"""What repeated measurements say: their mean, and where the true mean lies with 95 % confidence."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, TypedDict

CONFIDENCE = 0.95


class Interval(TypedDict):
    """A mean and its interval; both ends are None where one measurement is all there is."""

    mean: float
    low: float | None
    high: float | None


def interval(values: Sequence[float]) -> Interval:
    """Student's interval of the mean of independent measurements (one a seed), in their unit."""
    from scipy.special import stdtrit

    mean, count = fmean(values), len(values)  # exactly, so that equal values have no spread
    if count < 2:
        return Interval(mean=mean, low=None, high=None)
    half = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2) * stdev(values) / math.sqrt(count))
    return Interval(mean=mean, low=mean - half, high=mean + half)


def half(found: Mapping[str, Any]) -> float | None:
    """Half of an interval's width; None where there was one measurement, or all were the same."""
    return None if found["low"] in (None, found["mean"]) else found["mean"] - found["low"]


def share(values: Sequence[float]) -> Interval:
    """The same of shares, such as accuracies: the interval ends at 0 and 1."""
    found = interval(values)
    if found["low"] is None or found["high"] is None:
        return found
    return Interval(mean=found["mean"], low=max(0.0, found["low"]), high=min(1.0, found["high"]))
