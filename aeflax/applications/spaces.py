"""The same examples in three spaces: the model's codes, as many principal components, and the raw inputs."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from aeflax.applications.inference import Inference
from aeflax.data.inputs import Inputs, batches
from aeflax.data.rows import Spaced
from aeflax.data.sources import Examples

NAMES = ("codes", "pca", "inputs")
MAX_VALUES = 2**26  # of one matrix of inputs, 256 MiB in float32; more examples are thinned to every n-th

Spaces = Mapping[str, np.ndarray]  # by name, [N, K], [N, K] and [N, F], float32


def thinned(examples: Examples, most: int) -> Examples:
    """Every n-th example, so that at most `most` are left."""
    every = max(1, -(-len(examples) // most))
    return examples if every == 1 else examples.take(Spaced(0, -(-len(examples) // every), every))


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


def fit_pca(inference: Inference, rows: np.ndarray) -> Any:
    """Principal components of training inputs [N, F]: as many as the code has, or all that there are."""
    from sklearn.decomposition import PCA

    dim = min(inference.program.built.model.latent_dim or rows.shape[1], *rows.shape)
    return PCA(dim, random_state=0).fit(rows)


def spaces(inference: Inference, examples: Examples, rows: np.ndarray, pca: Any) -> Spaces:
    """Examples, whose inputs [N, F] are `rows`, in every space; of a posterior the mean."""
    codes = np.concatenate(list(inference.encode(values(inference, examples))))
    return {"codes": codes, "pca": pca.transform(rows).astype(np.float32), "inputs": rows}
