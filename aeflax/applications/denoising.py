"""How well a model takes noise away, beside filters, at kinds and levels of noise that it was and was not trained on.

Noise is that of `aeflax.corruption`, metrics are those of `aeflax.evaluation.quality.quality`. The strength of each
filter is chosen for each kind and level on a few training images, by their mean PSNR, and never on the judged ones.
What the model and the filters restore is clipped to [0, 1].
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax import config, factories
from aeflax.applications.filters import FILTERS, require_images
from aeflax.applications.inference import Inference
from aeflax.applications.spaces import thinning
from aeflax.config.structure import structure, traced
from aeflax.data.dataset import Dataset
from aeflax.data.inputs import Inputs, batches
from aeflax.data.rows import MAX_VALUES
from aeflax.engine.keys import Keys, Split, Stream, root_key
from aeflax.engine.state import Source
from aeflax.errors import ConfigError, DataError
from aeflax.evaluation.intervals import interval
from aeflax.evaluation.quality import Scores, quality, squared_error, window_of

TUNED_ON = 32  # training images that choose the strengths
SHOWN = 2  # images of each kind that are kept for the report


@dataclass(frozen=True)
class Kind:
    """A kind of noise, and the levels that are judged.

    Attributes:
      part: its other settings, where the run has no corruption of this kind.
      field: which one holds the level.
      levels: of a range that goes from hardly visible to hardly recognisable.
    """

    part: config.Corruption
    field: str
    levels: tuple[float, ...]


@dataclass(frozen=True)
class Noise:
    """One level of a kind; `trained` where the run was trained on it, `shown` where the report shows images of it."""

    part: config.Corruption
    level: float
    trained: bool
    shown: bool


KINDS = (
    Kind(config.GaussianNoise(), "sigma", (0.1, 0.2, 0.4, 0.6, 0.8)),
    Kind(config.Masking(), "rate", (0.1, 0.25, 0.5, 0.75, 0.9)),
    Kind(config.SaltPepper(), "rate", (0.05, 0.1, 0.2, 0.4, 0.6)),
)


def noises(own: config.Corruption) -> list[Noise]:
    """All that is judged of a run with a corruption: every kind at its levels, and at those that it was trained on.

    A corruption of a kind that is judged keeps its other settings.
    """
    found = []
    for kind in KINDS:
        same = type(own) is type(kind.part)
        base: Any = own if same else kind.part
        high = getattr(base, kind.field) if same else 0.0
        low = getattr(base, f"{kind.field}_min") if same else None
        low = high if low is None else low
        levels = sorted({*kind.levels, *(level for level in (low, high) if level > 0)})
        shown = high if high > 0 else kind.levels[len(kind.levels) // 2]
        for level in levels:
            part = replace(base, **{kind.field: level, f"{kind.field}_min": None})
            found.append(Noise(part, level, trained=same and low <= level <= high, shown=level == shown))
    return found


def judge(
    inference: Inference,
    dataset: Dataset,
    *,
    examples: int = 500,
    seed: int = 0,
    watch: Callable[[float], None] = lambda share: None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """PSNR and SSIM of test images after noise, and of what the model and filters restore.

    Args:
      inference: the model.
      dataset: the run's data.
      examples: of the test split, evenly spaced, at most so many; fewer where images are large.
      seed: of the noise. An image meets the same draws at every level; with the seed of the run those of evaluation.
      watch: is told the share that is done.

    Returns:
      What a report shows: values, with 95 % intervals of every mean; and arrays [kinds, K, H, W, C] of the first
      images of each kind, at the level named by `strip`: `clean`, `noisy`, `model` and the best `filter`.

    Raises:
      ConfigError: for vectors, for data outside [0, 1], and for fewer than one example.
    """
    shape = inference.program.built.shape
    require_images(shape, unit_range=inference.domain.unit_range)
    if examples < 1:
        raise ConfigError(f"{examples} examples are too few; judge at least one")
    own = inference.program.experiment.model.corruption
    room = max(1, MAX_VALUES // math.prod(shape))
    held = _Clean.of(inference, dataset, "test", min(examples, room), seed)
    training = _Clean.of(inference, dataset, "train", min(TUNED_ON, room), seed)
    found: dict[str, Any] = {}
    strip: list[dict[str, Any]] = []
    shown: list[dict[str, np.ndarray]] = []
    judged = noises(own)
    for done, noise in enumerate(judged, 1):
        entry, images = _compared(inference, held, training, noise.part)
        kind, level = noise.part.kind, noise.level
        found.setdefault(kind, []).append({"level": level, "trained": noise.trained, **entry})
        if noise.shown:
            strip.append({"kind": kind, "level": level, "filter": entry["best"]})
            shown.append(images)
        watch(done / len(judged))
    values = {
        "split": "test",
        "examples": len(held.images),
        "tuned_on": len(training.images),
        "seed": seed,
        "window": window_of(shape),
        "corruption": own.kind,
        "kinds": found,
        "strip": strip,
    }
    return values, {name: np.stack([images[name] for images in shown]) for name in shown[0]}


def compare(inference: Inference, noisy: Inputs, clean: Inputs) -> dict[str, Any]:
    """How near to clean examples the noisy ones are `before`, and their reconstructions `after`.

    Each with the 95 % interval of its mean: `mse`, and for data in [0, 1] `psnr`, of images also `ssim`.

    Raises:
      DataError: where the two do not go together, or do not suit the model.
    """
    require_pairs(noisy, clean)
    found: dict[str, list[Scores]] = {"before": [], "after": []}
    for part, truth in zip(batches(noisy, inference.size), batches(clean, inference.size), strict=True):
        images, targets = inference.scaled(part.values[:]), inference.scaled(truth.values[:])
        restored = inference.scaled_reconstruct(images)
        if inference.domain.unit_range:
            restored = np.clip(restored, 0.0, 1.0)
        for name, seen in (("before", images), ("after", restored)):
            rated = quality(seen, targets) if inference.domain.unit_range else {}
            found[name].append({"mse": squared_error(seen, targets)} | rated)
    return {name: _means({metric: _joined(parts, metric) for metric in parts[0]}) for name, parts in found.items()}


def require_pairs(noisy: Inputs, clean: Inputs) -> None:
    """Raises DataError where two sets of examples cannot be the same ones with and without noise, or are empty."""
    if not len(noisy):
        raise DataError(f"{noisy.name} is empty; at least one example is needed")
    if (len(noisy), noisy.shape) != (len(clean), clean.shape):
        raise DataError(
            f"{clean.name} holds {len(clean)} examples of the shape {list(clean.shape)} and {noisy.name} {len(noisy)} "
            f"of {list(noisy.shape)}; name the same examples, in the same order"
        )


@dataclass(frozen=True)
class _Clean:
    """Images [N, H, W, C] as the model is evaluated on them, and the key of each one's noise [N]."""

    images: np.ndarray
    keys: jax.Array

    @classmethod
    def of(cls, inference: Inference, dataset: Dataset, split: str, most: int, seed: int) -> "_Clean":
        """At most so many of a split, evenly spaced."""
        examples, scaling = dataset.split(split), inference.domain.scaling
        index = np.arange(0, len(examples), thinning(len(examples), most), dtype=np.int32)
        rows = Inputs("the run's data", examples.values).at(index).reshape(len(index), -1)
        keys = Keys.of_evaluation(root_key(seed), Split[split.upper()], jnp.asarray(index))
        source = Source(jnp.asarray(rows), jnp.asarray(scaling.shift), jnp.asarray(scaling.divisor))
        images = inference.program.built.parts.prepare(source, keys)
        return cls(np.asarray(images), keys.of(Stream.CORRUPTION))

    def noisy(self, part: config.Corruption) -> np.ndarray:
        """The images after a corruption."""
        levels = {name: jnp.float32(value) for name, value in traced(part).items()}
        return np.asarray(_corruption(structure(part))(self.keys, jnp.asarray(self.images), levels))


@functools.lru_cache(maxsize=8)
def _corruption(part: config.Corruption) -> Callable[..., jax.Array]:
    """A corruption, compiled once for all levels."""
    return jax.jit(factories.corruption(part))


def _compared(
    inference: Inference, held: _Clean, training: _Clean, part: config.Corruption
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The methods' scores at one noise, which filter has the best PSNR, what the model gains over it; and images."""
    noisy, inputs = held.noisy(part), training.noisy(part)
    restored = {"noisy": noisy, "model": np.clip(inference.scaled_reconstruct(noisy), 0.0, 1.0)}
    strengths = {}
    for name, each in FILTERS.items():
        strengths[name] = each.tuned(inputs, training.images)
        restored[name] = each(noisy, strengths[name])
    scores = {name: quality(images, held.images) for name, images in restored.items()}
    best = max(FILTERS, key=lambda name: float(scores[name]["psnr"].mean()))
    entry = {
        "methods": {name: _means(rated) for name, rated in scores.items()},
        "strengths": strengths,
        "best": best,
        "gain": interval((scores["model"]["psnr"] - scores[best]["psnr"]).tolist()),
    }
    images = {"clean": held.images, "noisy": noisy, "model": restored["model"], "filter": restored[best]}
    return entry, {name: shown[:SHOWN] for name, shown in images.items()}


def _means(scores: Scores) -> dict[str, Any]:
    return {metric: interval(values.tolist()) for metric, values in scores.items()}


def _joined(parts: list[Scores], metric: str) -> np.ndarray:
    return np.concatenate([part[metric] for part in parts])
