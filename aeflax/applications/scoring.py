"""How odd examples are to a model: what is scored, and by what options.

| kind | score, higher is odder |
|---|---|
| `reconstruction` | squared error per feature, in the model's range |
| `standardized` | the same of what is not missing, over what is usual of each feature in the run's own test examples |
| `elbo` | negative ELBO, nats: an upper bound of -log p(x) |
| `likelihood` | importance-weighted bound of -log p(x), nats, tighter with more samples (Burda et al. 2016) |

The last two need a posterior, and draw samples of it that depend on the run's seed and the example's place alone.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from aeflax.applications import residuals, threshold
from aeflax.applications.inference import Inference
from aeflax.data.sources import Examples
from aeflax.errors import ConfigError

Score = Callable[[Iterable[Examples]], np.ndarray]
Kind = Literal["reconstruction", "standardized", "elbo", "likelihood"]
ERRORS = ("reconstruction", "standardized")  # kinds that are squared errors, of any model
MAX_SAMPLES = 100_000


@dataclass(frozen=True, kw_only=True)
class Options:
    """How anomalies are sought.

    Attributes:
      kind: of the score; None: standardized for vectors, reconstruction for images.
      contamination: share of the training examples that the threshold flags.
      threshold: the score itself above which an example is flagged, in place of that share; the training examples are
        then not looked at, and nothing is fitted beside the model.
      samples: of each example's posterior, for the kinds that draw some.
      baselines: whether scikit-learn's detectors are fitted, too.
    """

    kind: Kind | None = None
    contamination: float = 0.05
    threshold: float | None = None
    samples: int = 32
    baselines: bool = True


def scorer(inference: Inference, known: Callable[[], Examples], options: Options) -> tuple[Score, np.ndarray]:
    """How examples are scored: batches of them -> all scores [N] float64; and the features' weights [F] in it.

    What is too odd for float32 gets its largest value.
    """
    even = np.ones(math.prod(inference.program.built.shape))
    match options.kind:
        case "reconstruction":
            return lambda batches: finite(inference.score(_values(batches))), even
        case "standardized":
            weights = 1 / residuals.usual_of(inference, known())

            def standardized(batch: Examples) -> np.ndarray:
                missing = None if batch.missing is None else batch.missing[:]
                return residuals.score(residuals.squares(inference, batch.values[:]), weights, missing)

            return lambda batches: finite(map(standardized, batches)), weights
        case kind:
            place = 0 if kind == "elbo" else 1
            draws = options.samples
            return lambda batches: finite(pair[place] for pair in inference.bounds(_values(batches), draws)), even


def _values(batches: Iterable[Examples]) -> Iterator[np.ndarray]:
    return (batch.values[:] for batch in batches)


def resolved(inference: Inference, options: Options) -> Options:
    """Options with a kind. Raises ConfigError for those that cannot be, or that the model does not have."""
    kind: Kind = "standardized" if inference.vectors else "reconstruction"
    options = replace(options, kind=options.kind or kind)
    threshold.require_contamination(options.contamination)
    if options.kind not in get_args(Kind):
        raise ConfigError(f"kind {options.kind!r} is no score; choose {', '.join(get_args(Kind))}")
    if not 1 <= options.samples <= MAX_SAMPLES:
        raise ConfigError(f"{options.samples} samples: take 1 to {MAX_SAMPLES:,}")
    if options.kind not in ERRORS and not inference.has_prior:
        raise ConfigError(
            f"the score {options.kind} needs a posterior, as the preset vae has, and this model has none; "
            "take reconstruction"
        )
    least = 0.0 if options.kind in ERRORS else -math.inf
    if options.threshold is not None and not least <= options.threshold < math.inf:
        wanted = "a finite one" if least else "a finite one from 0 on, as squared errors are"
        raise ConfigError(f"threshold {options.threshold:g} is no score; take {wanted}")
    return options


def finite(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Parts [B] joined [N] float64, what is beyond float32, or no number, as its largest value."""
    most = float(np.finfo(np.float32).max)
    joined = np.concatenate(list(parts)).astype(np.float64)
    return np.clip(np.nan_to_num(joined, nan=most, posinf=most, neginf=-most), -most, most)
