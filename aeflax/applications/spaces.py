"""The same examples in three spaces: the model's codes, as many principal components, and the raw inputs."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from aeflax.applications.inference import Inference
from aeflax.data.inputs import Inputs, batches
from aeflax.data.rows import MAX_VALUES
from aeflax.data.sources import Examples
from aeflax.evaluation.components import Components

NAMES = ("codes", "pca", "inputs")

Spaces = Mapping[str, np.ndarray]  # by name, [N, K], [N, K] and [N, F], float32


def thinning(count: int, most: int) -> int:
    """The n of which every n-th of so many examples is taken, so that at most `most` are left."""
    return max(1, -(-count // most))


def thinned(examples: Examples, most: int) -> Examples:
    """Every n-th example, so that at most `most` are left."""
    return examples.every(thinning(len(examples), most))


def fitting(inference: Inference, examples: Examples) -> Examples:
    """As many of the examples as are held in memory as float32 inputs."""
    return thinned(examples, max(1, MAX_VALUES // math.prod(inference.program.built.shape)))


def pieces(inference: Inference, examples: Examples) -> Iterator[Examples]:
    """Examples of a split, batch by batch, each read when it is asked for, with what of them was missing."""
    for place, batch in enumerate(batches(Inputs("the run's data", examples.values), inference.size)):
        rows = slice(place * inference.size, (place + 1) * inference.size)
        yield batch if examples.missing is None else replace(batch, missing=examples.missing[rows])


def values(inference: Inference, examples: Examples) -> Iterator[np.ndarray]:
    """Stored values [B, ...], batch by batch."""
    return (batch.values[:] for batch in pieces(inference, examples))


def scaled_rows(inference: Inference, examples: Examples) -> np.ndarray:
    """Examples in the model's range, as rows [N, F] float32."""
    batches = (inference.scaled(batch) for batch in values(inference, examples))
    return np.concatenate([batch.reshape(len(batch), -1) for batch in batches])


def spaces(inference: Inference, examples: Examples, rows: np.ndarray, pca: Components) -> Spaces:
    """Examples, whose inputs [N, F] are `rows`, in every space; of a posterior the mean."""
    codes = np.concatenate(list(inference.encode(values(inference, examples))))
    return {"codes": codes, "pca": pca.transform(rows).astype(np.float32), "inputs": rows}
