"""Which features make a vector odd: reconstruction-based contributions (Alcala & Qin 2009), for any autoencoder.

An odd value shifts the code, and so smears over the errors of the features that go with it: where a sensor is stuck,
the largest error is often another one's. So each feature in turn is given the value that leaves least of the vector's
error, of those that it has in the run's own examples; the one that leaves least is to blame. It being replaced, the
next is sought.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

REASONS = 3  # of one odd vector
CANDIDATES = 16  # of a vector, those that err most, which are replaced in turn
QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of a feature's known values, which are tried in its place
REACH = 10.0  # widths of what is known, beyond it, as far as a reconstruction is taken for what is expected
REFINED = 3  # values after them, each where a parabola through the best and its neighbours is lowest
MAX_VALUES = 2**22  # of vectors that are reconstructed at once, 16 MiB
MOST = float(np.finfo(np.float32).max)

Reconstruct = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Attribution:
    """What is odd about vectors, the oddest first; R of their features each, 3 or as many as there are.

    Attributes:
      features: their places [N, R].
      expected: what the model expects of them beside the others, those named before being replaced [N, R].
      shares: of the vector's error that goes with each replacement [N, R], in [0, 1]; their sum is at most 1.
    """

    features: np.ndarray
    expected: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True)
class Model:
    """What vectors are odd to, all in its range.

    Attributes:
      reconstruct: vectors [B, F] float32 -> their reconstructions [B, F].
      known: vectors [M, F] that are none of the odd ones; what is expected of a feature lies in its range there, or
        reaches as far as the odd vector's own reconstruction.
    """

    reconstruct: Reconstruct
    known: np.ndarray

    def again(self, rows: np.ndarray) -> np.ndarray:
        """What the model makes of vectors [B, F], float64 and finite."""
        found: np.ndarray = np.clip(np.nan_to_num(self.reconstruct(rows).astype(np.float64), nan=MOST), -MOST, MOST)
        return found


def attribute(model: Model, rows: np.ndarray, weights: np.ndarray) -> Attribution:
    """Names the features that make vectors odd; in each round the 16 that err most are looked at.

    Args:
      model: what they are odd to.
      rows: the vectors [N, F].
      weights: of the features' squared errors in the error that is lowered, [F], or [N, F] where they differ.
    """
    rounds, candidates = (min(most, rows.shape[1]) for most in (REASONS, CANDIDATES))
    step = max(1, MAX_VALUES // (candidates * rows.shape[1]))
    empty = (np.empty((0, rounds), np.intp), np.empty((0, rounds), np.float32), np.empty((0, rounds)))
    weights = np.broadcast_to(weights, rows.shape)
    known = np.quantile(model.known, QUANTILES, axis=0)
    pieces = (slice(first, first + step) for first in range(0, len(rows), step))
    parts = [_attributed(model, rows[piece], weights[piece], known, rounds) for piece in pieces]
    return Attribution(*map(np.concatenate, zip(empty, *parts, strict=True)))


def _attributed(
    model: Model, rows: np.ndarray, weights: np.ndarray, known: np.ndarray, rounds: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, place = np.clip(rows, -MOST, MOST).astype(np.float32), np.arange(len(rows))
    named, found = np.zeros(rows.shape, bool), []
    for turn in range(rounds):
        again = model.again(rows)
        errors = (again - rows) ** 2 * weights
        if turn == 0:
            whole = left = errors.sum(axis=1)
        candidates = np.argsort(np.where(named, 1.0, -errors), axis=1, kind="stable")[:, :CANDIDATES]
        expected, remaining = _replaced(model, rows, weights, candidates, (known, again))
        blamed = np.where(named[place[:, None], candidates], np.inf, remaining).argmin(axis=1)
        feature, value = candidates[place, blamed], expected[place, blamed]
        after = np.minimum(remaining[place, blamed], left)
        found.append((feature, value, np.divide(left - after, whole, out=np.zeros(len(rows)), where=whole > 0)))
        rows[place, feature], named[place, feature], left = value, True, after
    features, values, shares = (np.stack(column, axis=1) for column in zip(*found, strict=True))
    return features, values, shares


def _replaced(
    model: Model,
    rows: np.ndarray,
    weights: np.ndarray,
    candidates: np.ndarray,
    tried: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """For each candidate [B, C] of rows [B, F] the value in its place that leaves least, and the error left then.

    Tried are known values [Q, F] and what the model gives back [B, F]. Of a linear model that error is a parabola over
    the value, whose lowest point three values tell.
    """
    copies, weights = (np.repeat(each, candidates.shape[1], axis=0) for each in (rows, weights))
    at = np.arange(len(copies)), candidates.ravel()

    def left(values: np.ndarray) -> np.ndarray:
        copies[at] = values
        errors: np.ndarray = np.sum((model.again(copies) - copies) ** 2 * weights, axis=1)
        return errors

    own = copies[at].astype(np.float64)
    kept = left(own)
    known, again = tried
    values = known[:, candidates.ravel()]
    reach = REACH * (values[-1] - values[0])
    own_again = np.take_along_axis(again, candidates, axis=1).ravel()
    values = np.vstack([values, np.clip(own_again, values[0] - reach, values[-1] + reach)])
    values, errors = _sorted(values, np.stack([left(each) for each in values]))
    for _ in range(REFINED):
        lowest = np.clip(_lowest(values, errors), values[0], values[-1])
        values, errors = _sorted(np.vstack([values, lowest]), np.vstack([errors, left(lowest)]))
    best, column = errors.argmin(axis=0), np.arange(len(own))
    value, least = values[best, column], errors[best, column]
    value, least = np.where(least < kept, value, own), np.minimum(least, kept)
    return value.reshape(candidates.shape).astype(np.float32), least.reshape(candidates.shape)


def _lowest(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Where a parabola through the best of rising values [K, B] and those beside it is lowest; half-way if nowhere."""
    column = np.arange(values.shape[1])
    middle = np.clip(errors.argmin(axis=0), 1, len(values) - 2)
    (x1, x2, x3), (y1, y2, y3) = ([each[middle + beside, column] for beside in (-1, 0, 1)] for each in (values, errors))
    left, right = (x2 - x1) * (y2 - y3), (x2 - x3) * (y2 - y1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = x2 - ((x2 - x1) * left - (x2 - x3) * right) / (2 * (left - right))
    lowest: np.ndarray = np.where(np.isfinite(found), found, (x1 + x3) / 2)
    return lowest


def _sorted(values: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(values, axis=0, kind="stable")
    return np.take_along_axis(values, order, axis=0), np.take_along_axis(errors, order, axis=0)
