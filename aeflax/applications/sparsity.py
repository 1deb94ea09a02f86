"""What a sparse code is worth: how sparse it is, what it loses, and how its units differ.

| name | meaning |
|---|---|
| `l0`, `l1` | active units of a code, and the sum of its absolute values; means over examples |
| `mse` | squared error per feature, in the model's range |
| `unexplained` | squared error over squared distance to the split's mean: the fraction of variance unexplained |
| `cosine` | of an example and its reconstruction, mean over examples |
| `l2_ratio` | length of a reconstruction over that of its example, mean; below 1 the code shrinks what it describes |
| `dead_fraction` | share of units active for no example |
| `density` | share of the examples for which a unit is active |
| `encoder_norm` | length of a unit's column of the encoder |
| `encoder_decoder_cosine` | of that column and of the unit's direction, its row of the decoder |
| `nearest_cosine` | largest |cosine| of a unit's direction and another unit's |
| `coherence` | the largest of these over the dictionary (Donoho & Elad 2003) |

A unit's direction is what an activation of 1 adds to the decoder's output for the zero code; of a decoder that is one
matrix, its row. An encoder has columns where it is one matrix.
"""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from aeflax.applications.inference import Inference
from aeflax.applications.spaces import thinning
from aeflax.config import Dense
from aeflax.data.dataset import Dataset
from aeflax.errors import ConfigError, DataError
from aeflax.evaluation.batches import targets
from aeflax.evaluation.scores import activity_threshold

MAX_EXAMPLES = 100_000  # more are thinned to every n-th
BIN = 0.25  # of the histogram of densities, in decades
_BLOCK = 512  # units whose directions are compared with all others at once

Arrays = dict[str, np.ndarray]


def judge(inference: Inference, dataset: Dataset, split: str = "test") -> tuple[dict[str, Any], Arrays]:
    """Judges the sparse codes of a split, of clean examples.

    Args:
      inference: the model.
      dataset: the run's data.
      split: train, validation or test; of a large one every n-th example.

    Returns:
      Values: the table of the module down to `dead_fraction`, and `coherence`; `of_units`: of each array the `low`,
      `median` and `high` (5, 50 and 95 %) over units; `histogram`, the `edges` [B + 1] of log10 densities and the
      number of `units` [B] between them, dead ones left out; `linear`, whether encoder and decoder are one matrix each;
      and `penalty`, the weight of L1, None without. A cosine and a ratio are None where no example has a length.
      Arrays, one entry a unit [K]: `density` and `nearest_cosine`, and where the encoder is one matrix `encoder_norm`
      and `encoder_decoder_cosine`.

    Raises:
      ConfigError: for a code of another kind, and a split that there is not.
      DataError: where the model has diverged.
    """
    model = inference.program.built.model
    if not model.bottleneck.sparse:
        raise ConfigError("the panel needs a sparse code, as the preset sparse has; this model's is of another kind")
    every = thinning(len(dataset.split(split)), MAX_EXAMPLES)
    images = targets(inference.program, dataset, split, every)
    values, density = _of_examples(inference, images)
    directions = np.concatenate(list(_directions(inference)))
    arrays = {"density": density, "nearest_cosine": nearest_cosines(directions)}
    arrays |= _of_encoder(inference, directions)
    if not all(np.isfinite(array).all() for array in (values["mse"], *arrays.values())):
        raise DataError(f"the codes of the {split} split are not all finite; the model has diverged, take another step")
    return {
        "split": split,
        "units": len(density),
        **values,
        "dead_fraction": float(np.mean(density == 0)),
        "histogram": histogram(density, values["examples"]),
        "coherence": float(arrays["nearest_cosine"].max()),
        "of_units": {name: _quantiles(array) for name, array in arrays.items()},
        "linear": isinstance(model.backbone, Dense) and not model.backbone.widths,
        "penalty": getattr(inference.program.experiment.model.penalties.l1, "weight", None),
    }, arrays


def _of_examples(inference: Inference, batches: Iterator[np.ndarray]) -> tuple[dict[str, Any], np.ndarray]:
    """What is a mean over examples, and each unit's density [K]; sums are float64, whatever the model computes in."""
    threshold = activity_threshold(inference.program.built.model)
    each: dict[str, list[np.ndarray]] = {name: [] for name in ("l0", "l1", "error", "cosine", "l2_ratio")}
    active: Any = 0
    total: Any = 0
    squares, origin = 0.0, None
    for images in batches:
        codes = inference.scaled_encode(images)
        rows, again = (
            part.reshape(len(images), -1).astype(np.float64) for part in (images, inference.scaled_reconstruct(images))
        )
        on = codes > threshold
        origin = rows.mean(axis=0) if origin is None else origin  # sums of squares far from 0 would cancel below
        away = rows - origin
        active, total, squares = active + on.sum(axis=0), total + away.sum(axis=0), squares + float(np.sum(away**2))
        each["l0"].append(on.sum(axis=1))
        each["l1"].append(np.abs(codes).sum(axis=1, dtype=np.float64))
        each["error"].append(np.sum((again - rows) ** 2, axis=1))
        lengths, made = np.linalg.norm(rows, axis=1), np.linalg.norm(again, axis=1)
        each["l2_ratio"].append(_over(made, lengths))
        each["cosine"].append(_over(np.sum(rows * again, axis=1), lengths * made))
    found = {name: np.concatenate(parts) for name, parts in each.items()}
    count, features = len(found["error"]), len(total)
    lost, variation = float(found["error"].sum()), squares - float(np.sum(total**2)) / count
    return {
        "examples": count,
        "l0": float(found["l0"].mean()),
        "l1": float(found["l1"].mean()),
        "mse": lost / (count * features),
        "unexplained": lost / variation if variation > 0 else float(lost > 0),
        "cosine": _mean(found["cosine"]),
        "l2_ratio": _mean(found["l2_ratio"]),
    }, active / count


def histogram(density: np.ndarray, examples: int) -> dict[str, list[float] | list[int]]:
    """How many units have which log10 density, from that of one example among all to 0; dead units left out."""
    bins = max(1, int(np.ceil(np.log10(examples) / BIN)))
    known = np.maximum(np.log10(density[density > 0]), -bins * BIN)  # a rounding may take it below
    counts, edges = np.histogram(known, np.linspace(-bins * BIN, 0.0, bins + 1))
    return {"edges": edges.tolist(), "units": counts.tolist()}


def nearest_cosines(directions: np.ndarray) -> np.ndarray:
    """The largest |cosine| of each direction [K, F] and another one, [K]; 0 for one of no length, and where alone."""
    units = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    found = np.zeros(len(units))
    for first in range(0, len(units), _BLOCK):
        block = np.abs(units[first : first + _BLOCK] @ units.T)
        place = np.arange(len(block))
        block[place, first + place] = 0.0
        found[first : first + _BLOCK] = block.max(axis=1)
    return found


def _directions(inference: Inference) -> Iterator[np.ndarray]:
    """Directions [B, F] of all units, block by block."""
    units = inference.code_size
    for first in range(0, units, inference.size):
        added = inference.dictionary(np.eye(min(inference.size, units - first), units, first, dtype=np.float32))
        yield added.reshape(len(added), -1)


def _of_encoder(inference: Inference, directions: np.ndarray) -> Arrays:
    """What an encoder that is one matrix tells of each unit; nothing of another."""
    params = inference.weights["params"]
    kernel = params.get("bottleneck", {}).get("code", {}).get("kernel") if not params.get("encoder") else None
    if kernel is None or kernel.shape != directions.T.shape:
        return {}
    columns = np.asarray(jax.device_get(kernel)).T.astype(np.float64)
    norm = np.linalg.norm(columns, axis=1)
    cosine = _over(np.sum(columns * directions, axis=1), norm * np.linalg.norm(directions, axis=1))
    return {"encoder_norm": norm, "encoder_decoder_cosine": np.where(np.isnan(cosine), 0.0, cosine)}


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return dict(zip(("low", "median", "high"), np.quantile(values, (0.05, 0.5, 0.95)).tolist(), strict=True))


def _over(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotients [B], NaN where there is nothing to divide by."""
    found: np.ndarray = np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
    return found


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
