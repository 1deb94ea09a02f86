"""Which features make a vector odd: reconstruction-based contributions (Alcala & Qin 2009), for any autoencoder.

An odd value shifts the code, and so smears over the errors of the features that go with it: where a sensor is stuck,
the largest error is often another one's. So each feature in turn is replaced by what the model expects of it beside the
others; that whose replacement lowers the squared error most is to blame. It being replaced, the next is sought.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

REASONS = 3  # of one odd vector
CANDIDATES = 16  # of a vector, those that err most, which are replaced in turn
STEPS = 4  # of the secant method; a linear model is there after two
LONGEST = 100.0  # step, times the gap that it is to close
FAR = 1e6  # beyond the model's range, where float32 tells no steps any more: 0 is tried in its place
MAX_VALUES = 2**22  # of vectors that are reconstructed at once, 16 MiB
MOST = float(np.finfo(np.float32).max)

Reconstruct = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Attribution:
    """What is odd about vectors, the oddest first; R of their features each, 3 or as many as there are.

    Attributes:
      features: their places [N, R].
      expected: what the model expects of them beside the others, those named before being replaced [N, R].
      shares: of the vector's squared error that goes with each replacement [N, R], in [0, 1]; their sum is at most 1.
    """

    features: np.ndarray
    expected: np.ndarray
    shares: np.ndarray


def attribute(reconstruct: Reconstruct, rows: np.ndarray) -> Attribution:
    """Names the features of vectors [N, F] that make them odd.

    Args:
      reconstruct: vectors [B, F] float32 -> their reconstructions [B, F].
      rows: the vectors, in the model's range. Only the 16 features of each that err most are looked at, in each round.
    """
    step = max(1, MAX_VALUES // (min(CANDIDATES, rows.shape[1]) * rows.shape[1]))
    parts = [_attributed(reconstruct, rows[first : first + step]) for first in range(0, len(rows), step)]
    rounds = min(REASONS, rows.shape[1])
    empty = (np.empty((0, rounds), np.intp), np.empty((0, rounds), np.float32), np.empty((0, rounds)))
    return Attribution(*map(np.concatenate, zip(empty, *parts, strict=True)))


def _attributed(reconstruct: Reconstruct, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, place = np.array(rows, np.float32), np.arange(len(rows))
    errors = _squares(reconstruct(rows), rows)
    whole = errors.sum(axis=1)
    left, found = whole, []
    named = np.zeros(rows.shape, bool)
    for _ in range(min(REASONS, rows.shape[1])):
        candidates = np.argsort(np.where(named, 1.0, -errors), axis=1, kind="stable")[:, :CANDIDATES]
        expected, remaining = _replaced(reconstruct, rows, candidates)
        blamed = np.where(named[place[:, None], candidates], np.inf, remaining).argmin(axis=1)
        feature, value, after = candidates[place, blamed], expected[place, blamed], remaining[place, blamed]
        after = np.minimum(after, left)
        found.append((feature, value, np.where(whole > 0, (left - after) / np.maximum(whole, 1e-300), 0.0)))
        rows[place, feature], named[place, feature], left = value, True, after
        errors = _squares(reconstruct(rows), rows)
    features, values, shares = (np.stack(column, axis=1) for column in zip(*found, strict=True))
    return features, values, shares


def _replaced(reconstruct: Reconstruct, rows: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each candidate [B, C] of rows [B, F] the value in its place that leaves least, and the error left then.

    The value is one that the model gives back as it is, beside the other features. Where the model is a projection, as
    PCA's is, no other leaves less; the secant method finds it for any.
    """
    tried = np.repeat(rows, candidates.shape[1], axis=0)
    at = np.arange(len(tried)), candidates.ravel()
    best, least = tried[at], np.full(len(tried), np.inf)
    before: tuple[np.ndarray, np.ndarray] | None = None
    for _ in range(STEPS + 1):
        again, value = reconstruct(tried), tried[at].astype(np.float64)
        remaining = _squares(again, tried).sum(axis=1)
        best, least = np.where(remaining < least, value, best), np.minimum(remaining, least)
        expected = np.nan_to_num(again[at].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        gap = np.where(np.abs(expected) < FAR, expected, 0.0) - value
        step = gap if before is None else _secant(value, gap, *before)
        before = value, gap
        tried[at] = _bounded(value + step)
    return best.reshape(candidates.shape).astype(np.float32), least.reshape(candidates.shape)


def _secant(value: np.ndarray, gap: np.ndarray, value_before: np.ndarray, gap_before: np.ndarray) -> np.ndarray:
    """The step to where the gap would be 0, were it a line through two values; a plain one where that is none."""
    change = gap - gap_before
    lined = change != 0
    step = np.where(lined, -gap * (value - value_before) / np.where(lined, change, 1.0), gap)
    longest = LONGEST * np.abs(gap)
    bounded: np.ndarray = np.clip(step, -longest, longest)
    return bounded


def _squares(again: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Squared errors, float64; as large as float32 goes where a reconstruction is not finite."""
    squares: np.ndarray = (_bounded(again.astype(np.float64)) - rows) ** 2
    return squares


def _bounded(values: np.ndarray) -> np.ndarray:
    bounded: np.ndarray = np.clip(np.nan_to_num(values, nan=MOST), -MOST, MOST)
    return bounded
