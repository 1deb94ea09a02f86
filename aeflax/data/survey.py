"""What one pass over examples finds, block by block: whether they are finite, their extremes, their moments.

Examples in memory and examples read from files go through the same blocks, so that both give the same bits.
"""

from dataclasses import dataclass

import numpy as np

from aeflax.data.checks import prepared
from aeflax.data.rows import Rows, blocks


@dataclass(frozen=True)
class Survey:
    """Of stored values.

    Attributes:
      low: smallest value of each feature, [F].
      high: largest value of each feature, [F].
      mean: of each feature of vectors, of each channel of images, float64; None where it was not asked for.
      deviation: the standard deviation, likewise.
    """

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None


def survey(values: Rows, name: str, *, moments: bool = False) -> Survey:
    """Goes over examples once.

    Args:
      values: [N, D] or [N, H, W, C], uint8 or float32.
      name: what an error calls them.
      moments: whether mean and deviation are wanted.

    Raises:
      DataError: for a value that is not finite.
    """
    axes = (0,) if len(values.shape) == 2 else (0, 1, 2)
    low = high = mean = variance = None  # so far
    total = 0
    for first, block in blocks(values):
        of = "" if len(block) == len(values) else f" (examples {first} to {first + len(block) - 1})"
        prepared(block, name + of, first)
        rows = block.reshape(len(block), -1)
        least, most = rows.min(axis=0), rows.max(axis=0)
        low = least if low is None else np.minimum(low, least)
        high = most if high is None else np.maximum(high, most)
        if moments:
            middle, spread = (np.asarray(f(block, axis=axes, dtype=np.float64)) for f in (np.mean, np.var))
            share = len(block) / (total + len(block))
            if mean is None or variance is None:
                mean, variance = middle, spread
            else:  # Chan et al. 1983
                shift = middle - mean
                mean = mean + share * shift
                variance = (1 - share) * variance + share * spread + share * (1 - share) * shift**2
        total += len(block)
    if low is None or high is None:
        raise ValueError("there are no examples")
    return Survey(low, high, mean, None if variance is None else np.sqrt(variance))
