"""Codes as multiples of one step: a uniform quantiser with a reconstruction point at zero, so that zeros stay zeros."""

from collections.abc import Callable

import numpy as np

from aeflax.errors import ConfigError, DataError

LIMIT = 2**30  # of the integers' absolute value
MAX_STEP = float(np.finfo(np.float32).max)
PER_OCTAVE = 8  # steps that are tried between one and its double
OCTAVES = 20  # below twice the largest code


def quantise(codes: np.ndarray, step_size: float) -> np.ndarray:
    """Codes [N, K] -> the nearest multiples of the step as integers [N, K] int32; ties to even.

    Raises:
      ConfigError: for a step too small for codes so large, or too large for a code.
    """
    if step_size > MAX_STEP:
        raise ConfigError(f"a step size of {step_size:g} is too large; take at most {MAX_STEP:.3g}")
    with np.errstate(over="ignore"):
        levels = np.rint(codes.astype(np.float64) / step_size)
    if levels.size and not np.abs(levels).max() <= LIMIT:
        least = float(np.abs(codes).max()) / LIMIT
        raise ConfigError(f"a step size of {step_size:g} is too small for these codes; take at least {2 * least:.2g}")
    return levels.astype(np.int32)


def restore(symbols: np.ndarray, step_size: float) -> np.ndarray:
    """Integers [N, K] -> codes [N, K] float32, the same on every machine.

    Raises:
      DataError: for codes beyond float32, which no model gives.
    """
    with np.errstate(over="ignore"):
        codes = (symbols * np.float64(step_size)).astype(np.float32)
    if not np.isfinite(codes).all():
        raise DataError(f"codes of a step size of {step_size:g} lie beyond float32; the container is made up")
    return codes


def steps(codes: np.ndarray) -> list[float]:
    """Steps to choose from for codes [N, K], from twice the largest code, which makes all of them 0, downwards."""
    largest = float(np.abs(codes).max()) or 1.0
    return [largest * 2.0 ** (1 - place / PER_OCTAVE) for place in range(PER_OCTAVE * OCTAVES + 1)]


def coarsest(suffices: Callable[[float], bool], choices: list[float]) -> int | None:
    """Place of the first of the steps, from the coarsest to the finest, that suffices; None where none does.

    One after another: a quality need not fall as steps grow, so nothing is to be halved.
    """
    return next((place for place, step_size in enumerate(choices) if suffices(step_size)), None)
