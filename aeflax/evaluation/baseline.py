"""The linear baseline: principal component analysis at the model's own code size, by scikit-learn."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from aeflax.data.dataset import Dataset
from aeflax.evaluation.batches import targets
from aeflax.evaluation.scores import PSNR_FLOOR
from aeflax.program import Program

MAX_VALUES = 2**26  # of the training matrix, 256 MiB in float32; a larger one is thinned to every n-th example


def pca(program: Program, dataset: Dataset) -> dict[str, Any]:
    """PCA fitted on the training split and scored on test, once for each code size.

    Returns:
      `dim`, the number of components: min(code size, features, examples); `compresses`, False where these are
      all the features; and `test`, with `mse` per feature and, for data in [0, 1], `psnr`.
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
    dim = int(model.n_components_)
    squared = decibels = 0.0
    for rows in _rows(program, dataset, "test"):
        each = linear_error(model, rows)
        squared += float(each.sum())
        decibels += float(np.sum(-10.0 * np.log10(np.maximum(each, PSNR_FLOOR))))
    metrics = {"mse": squared / len(dataset.test)}
    if dataset.unit_range:
        metrics["psnr"] = decibels / len(dataset.test)
    return {"dim": dim, "compresses": dim < features, "test": metrics}


def components(rows: np.ndarray, code_size: int | None) -> Any:
    """Principal components of rows [N, F]: as many as the code has, or all that there are."""
    from sklearn.decomposition import PCA

    # Beside a mean far from 0, scikit-learn's covariance would lose the spread in float32.
    middle = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    with np.errstate(invalid="ignore"):  # rows that are all alike have no variance to explain a share of
        model = PCA(min(code_size or rows.shape[1], *rows.shape), random_state=0).fit(rows - middle)
    model.mean_ += middle
    return model


def linear_error(model: Any, rows: np.ndarray) -> np.ndarray:
    """Squared error per feature [N] of rows [N, F] that are reconstructed from their principal components."""
    centred = rows - model.mean_
    found: np.ndarray = np.mean((centred @ model.components_.T @ model.components_ - centred) ** 2, axis=1, dtype=float)
    return found


def _rows(program: Program, dataset: Dataset, split: str, every: int = 1) -> Iterator[np.ndarray]:
    """Every n-th example of a split as the model is scored on it, batch by batch: rows [B, F] float32."""
    return (images.reshape(len(images), -1) for images in targets(program, dataset, split, every))
