"""The linear baseline: principal component analysis at the model's own code size, by scikit-learn."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from aeflax.data.dataset import Dataset
from aeflax.engine.keys import Keys, Split
from aeflax.evaluation.batches import batches
from aeflax.evaluation.scores import PSNR_FLOOR
from aeflax.program import Program

MAX_VALUES = 2**28  # of the training matrix, 1 GiB in float32; a larger one is thinned to every n-th example


def pca(program: Program, dataset: Dataset) -> dict[str, Any]:
    """PCA fitted on the training split and scored on test.

    Returns:
      `dim`, the number of components: min(code size, features, examples); `compresses`, False where these are
      all the features; and `test`, with `mse` per feature and, for data in [0, 1], `psnr`.
    """
    from sklearn.decomposition import PCA

    features = math.prod(program.built.shape)
    every = -(-dataset.train.values.size // MAX_VALUES)
    train = np.concatenate([rows[index % every == 0] for rows, index in _targets(program, dataset, "train")])
    dim = min(program.built.model.latent_dim or features, features, len(train))
    model = PCA(dim, random_state=0).fit(train)

    def error(rows: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.mean((model.inverse_transform(model.transform(rows)) - rows) ** 2, axis=1, dtype=float)
        return found

    each = np.concatenate([error(rows) for rows, _ in _targets(program, dataset, "test")])
    metrics = {"mse": float(each.mean())}
    if dataset.unit_range:
        metrics["psnr"] = float(np.mean(-10.0 * np.log10(np.maximum(each, PSNR_FLOOR))))
    return {"dim": dim, "compresses": dim < features, "test": metrics}


def _targets(program: Program, dataset: Dataset, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A split as the model is scored on it, batch by batch: rows [B, F] float32 and their indices [B]."""
    for source, example in batches(program, dataset, split):
        keys = Keys.of_evaluation(program.key, Split[split.upper()], example)
        targets = np.asarray(program.built.parts.prepare(source, keys))
        index = np.asarray(example)
        yield targets.reshape(len(targets), -1)[index >= 0], index[index >= 0]
