"""The linear baseline: principal component analysis at the model's own code size, fitted to the same data."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from aeflax.data.dataset import Dataset
from aeflax.data.rows import MAX_VALUES
from aeflax.evaluation.batches import targets
from aeflax.evaluation.components import components
from aeflax.evaluation.quality import decibels
from aeflax.program import Program


def pca(program: Program, dataset: Dataset) -> dict[str, Any]:
    """PCA fitted on the training split and scored on test, once for each code size.

    Returns:
      `dim`, the number of components: min(code size, features, examples); `compresses`, False where these are
      all the features; `test`, with `mse` per feature and, for data in [0, 1], `psnr`; and `variance`, the `mse` of
      the mean training example in place of a reconstruction.
    """
    data, seed = program.experiment.data, program.experiment.train.seed
    # Pixels drawn anew at every visit are other ones with every seed.
    name = "pca", program.built.model.latent_dim, seed if data.binarize == "dynamic" else None
    if name not in dataset.computed:
        dataset.computed[name] = _pca(program, dataset)
    found: dict[str, Any] = dataset.computed[name]
    return found


def _pca(program: Program, dataset: Dataset) -> dict[str, Any]:
    features = math.prod(program.built.shape)
    every = -(-len(dataset.train) * features // MAX_VALUES)
    model = components(np.concatenate(list(_rows(program, dataset, "train", every))), program.built.model.latent_dim)
    dim = len(model.axes)
    squared = decibel = variance = 0.0
    for rows in _rows(program, dataset, "test"):
        each = model.error(rows)
        squared += float(each.sum())
        decibel += float(decibels(each).sum())
        variance += float(np.sum(np.mean((rows - model.mean) ** 2, axis=1, dtype=float)))
    metrics = {"mse": squared / len(dataset.test)}
    if dataset.unit_range:
        metrics["psnr"] = decibel / len(dataset.test)
    return {"dim": dim, "compresses": dim < features, "test": metrics, "variance": variance / len(dataset.test)}


def _rows(program: Program, dataset: Dataset, split: str, every: int = 1) -> Iterator[np.ndarray]:
    """Every n-th example of a split as the model is scored on it, batch by batch: rows [B, F] float32."""
    return (images.reshape(len(images), -1) for images in targets(program, dataset, split, every))
