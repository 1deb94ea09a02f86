"""Ways through the space of a code: from one code to another, and along one dimension after the other."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from aeflax.applications.inference import Inference
from aeflax.applications.spaces import thinned, values
from aeflax.data.rows import MAX_VALUES
from aeflax.data.sources import Examples
from aeflax.errors import DataError

Path = Literal["linear", "spherical"]

SPAN = 3.0  # standard deviations of the prior on each side of its mean
QUANTILES = (0.01, 0.99)  # between which a dimension without a prior is traversed
MAX_EXAMPLES = 10_000  # that say how much a dimension is used; more are thinned to every n-th
_PARALLEL = 1e-6  # radians: below it two codes have one direction, and no angle between them to go through


def usual_path(inference: Inference) -> Path:
    """Spherical where the code has a prior, else linear.

    Codes drawn from N(0, I) all lie near a sphere of radius √K, and the straight line between two of them runs through
    a middle where the decoder saw none; the arc does not (White 2016, "Sampling generative networks"). Without a prior
    nothing tells how long a code is. There the line is safe: between two codes of ReLU units it has no negative unit,
    and between sigmoid units it stays in [0, 1], which an arc leaves, as its two weights sum to more than 1.
    """
    return "spherical" if inference.has_prior else "linear"


def between(first: np.ndarray, second: np.ndarray, shares: np.ndarray, path: Path) -> np.ndarray:
    """Codes [S, K] float32 on the way from one code [K] to another; a share 0 of the way gives the first, 1 the second.

    The spherical path turns at a steady rate (Shoemake 1985; for codes White 2016) while its length goes evenly from
    the one's to the other's. Between codes of the same or of opposite direction, or where one is zero, there is no
    arc: it is linear.
    """
    ends = np.stack([first, second]).astype(np.float64)
    weights = np.stack([1.0 - shares, shares], axis=1)
    lengths = np.linalg.norm(ends, axis=1)
    codes: np.ndarray = weights @ ends
    if path == "spherical" and lengths.all():
        directions = ends / lengths[:, None]
        angle = np.arccos(np.clip(directions[0] @ directions[1], -1.0, 1.0))
        if _PARALLEL < angle < np.pi - _PARALLEL:
            arc = np.sin(weights * angle) / np.sin(angle) @ directions
            codes = arc * (weights @ lengths)[:, None]
    return codes.astype(np.float32)


@dataclass(frozen=True)
class Dimensions:
    """How a split uses the dimensions of a code.

    Attributes:
      measure: `kl`, the mean KL of a dimension's posterior to the prior in nats; without a prior `variance`.
      sizes: of that, [K].
      centre: the prior's mean, or the mean code [K].
      low: where a traversal of each begins, [K].
      high: where it ends, [K].
    """

    measure: Literal["kl", "variance"]
    sizes: np.ndarray
    centre: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """The dimensions, most used first, [K]."""
        return np.argsort(-self.sizes, kind="stable")


def dimensions(inference: Inference, examples: Examples, span: float = SPAN) -> Dimensions:
    """How examples use each dimension of the code, and where it is worth being traversed.

    Args:
      inference: the model.
      examples: a split; a large one is thinned.
      span: standard deviations of the prior on each side of its mean. A dimension without a prior is traversed between
        two quantiles of the examples' codes, `QUANTILES`, instead.

    Raises:
      DataError: where nothing is finite: the model has diverged.
    """
    size = inference.code_size
    some = thinned(examples, max(1, min(MAX_EXAMPLES, MAX_VALUES // size)))
    if inference.has_prior:
        total = np.zeros(size)
        for batch in values(inference, some):
            total += inference.scaled_kl(inference.scaled(batch)).sum(axis=0, dtype=np.float64)
        zero = np.zeros(size, np.float32)
        found = Dimensions("kl", total / len(some), zero, zero - np.float32(span), zero + np.float32(span))
    else:
        codes = np.concatenate(list(inference.encode(values(inference, some))))
        low, high = np.quantile(codes, QUANTILES, axis=0).astype(np.float32)
        mean = codes.mean(axis=0, dtype=np.float64)
        found = Dimensions("variance", codes.var(axis=0, dtype=np.float64), mean.astype(np.float32), low, high)
    if not np.isfinite(found.sizes).all():
        raise DataError("the codes of the test split are not all finite; the model has diverged, take another --step")
    return found


def traversal(
    found: Dimensions, chosen: np.ndarray, count: int, origin: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Codes [D, count, K] where each chosen dimension [D] in turn goes over its range, and its values [D, count].

    The others keep what `origin` [K] has; None: the centre.
    """
    steps = np.linspace(found.low[chosen], found.high[chosen], count, axis=1, dtype=np.float32)
    codes = np.tile(found.centre if origin is None else origin, (len(chosen), count, 1)).astype(np.float32)
    codes[np.arange(len(chosen)), :, chosen] = steps
    return codes, steps


def quantile_grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes [side, side, 2] at even steps of the prior's distribution function, and the steps [side] in its σ.

    Row r has the second dimension, column k the first at quantile (k + 1/2) / side (Kingma & Welling 2014, fig. 4).
    """
    from scipy.special import ndtri

    sigmas = ndtri((np.arange(side) + 0.5) / side).astype(np.float32)
    return np.stack(np.meshgrid(sigmas, sigmas), axis=-1), sigmas
