"""The same examples in three spaces: the model's codes, as many principal components, and the raw inputs."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from aeflax.applications.inference import Inference
from aeflax.data.dataset import Dataset
from aeflax.data.inputs import Inputs, batches
from aeflax.data.sources import Examples
from aeflax.evaluation.baseline import MAX_VALUES

NAMES = ("codes", "pca", "inputs")

Spaces = Mapping[str, np.ndarray]  # by name, [N, K], [N, K] and [N, F], float32


def thinned(examples: Examples, most: int) -> Examples:
    """Every n-th example, so that at most `most` are left."""
    return examples.every(max(1, -(-len(examples) // most)))


def thinning(dataset: Dataset, split: str, most: int) -> Dataset:
    """The data with every n-th example of a split, so that at most `most` of them are left.

    Raises:
      ConfigError: if there is no such split.
    """
    changed: dict[str, Any] = {split: thinned(dataset.split(split), most)}
    return replace(dataset, **changed)


def fitting(inference: Inference, examples: Examples) -> Examples:
    """As many of the examples as are held in memory as float32 inputs."""
    return thinned(examples, max(1, MAX_VALUES // math.prod(inference.program.built.shape)))


def values(inference: Inference, examples: Examples) -> Iterator[np.ndarray]:
    """Stored values [B, ...], batch by batch."""
    return (batch.values[:] for batch in batches(Inputs("the run's data", examples.values), inference.size))


def inputs(inference: Inference, examples: Examples) -> np.ndarray:
    """Examples in the model's range, as rows [N, F] float32."""
    rows = (inference.scaled(batch) for batch in values(inference, examples))
    return np.concatenate([batch.reshape(len(batch), -1) for batch in rows])


def spaces(inference: Inference, examples: Examples, rows: np.ndarray, pca: Any) -> Spaces:
    """Examples, whose inputs [N, F] are `rows`, in every space; of a posterior the mean."""
    codes = np.concatenate(list(inference.encode(values(inference, examples))))
    return {"codes": codes, "pca": pca.transform(rows).astype(np.float32), "inputs": rows}
