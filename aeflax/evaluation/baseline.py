"""The linear baseline: principal component analysis at the model's own code size, by scikit-learn."""

import math
from typing import Any

import numpy as np

from aeflax.data.dataset import Dataset
from aeflax.engine.keys import Keys, Split
from aeflax.evaluation.scores import PSNR_FLOOR, batches
from aeflax.program import Program

MAX_VALUES = 2**28  # of the training matrix, 1 GiB in float32; a larger one is thinned to every n-th example


def pca(program: Program, dataset: Dataset) -> dict[str, Any]:
    """PCA fitted on the training split and scored on test.

    Returns:
      `dim`, the number of components: min(code size, features, examples); `compresses`, False where these are
      all the features; and `test`, with `mse` per feature and, for data in [0, 1], `psnr`.
    """
    from sklearn.decomposition import PCA

    train = _prepared(program, dataset, "train")
    test = _prepared(program, dataset, "test")
    features = math.prod(program.built.shape)
    dim = min(program.built.model.latent_dim or features, features, len(train))
    model = PCA(dim, random_state=0).fit(train)
    error = np.mean((model.inverse_transform(model.transform(test)) - test) ** 2, axis=1, dtype=np.float64)
    metrics = {"mse": float(error.mean())}
    if dataset.unit_range:
        metrics["psnr"] = float(np.mean(-10.0 * np.log10(np.maximum(error, PSNR_FLOOR))))
    return {"dim": dim, "compresses": dim < features, "test": metrics}


def _prepared(program: Program, dataset: Dataset, split: str) -> np.ndarray:
    """A split as the model is scored on it, flattened to [N, F] float32."""
    every = -(-dataset.split(split).values.size // MAX_VALUES) if split == "train" else 1
    found = []
    for source, example in batches(dataset, split, program.placement, 4096):
        keys = Keys.of_evaluation(program.key, Split[split.upper()], example)
        targets = np.asarray(program.built.parts.prepare(source, keys))
        index = np.asarray(example)
        found.append(targets.reshape(len(targets), -1)[(index >= 0) & (index % every == 0)])
    return np.concatenate(found)
