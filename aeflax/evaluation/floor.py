"""The least that a Bernoulli likelihood can reach: the entropy of grey values, which no model can predict away."""

import numpy as np

from aeflax.config import Bernoulli
from aeflax.data.dataset import Dataset
from aeflax.data.rows import blocks
from aeflax.program import Program


def with_floor(program: Program, dataset: Dataset, split: str, metrics: dict[str, float]) -> dict[str, float]:
    """The metrics of a split with `bce_floor` after `bce`: its value, nats per feature, if every output were its input.

    A grey value x costs at least its binary entropy, -x log x - (1 - x) log(1 - x), so that `bce` never comes near 0 on
    grey images; what a model can be blamed for is the difference. Left out for other likelihoods, where it is 0 (black
    and white alone, and what is binarised), and for examples that are not in memory, which would be read once more.
    """
    data, likelihood = program.experiment.data, program.built.model.likelihood
    names = list(dataset.splits) if split == "all" else [split]
    if not isinstance(likelihood, Bernoulli) or data.binarize != "none":
        return metrics
    if any(dataset.split(name).lazy for name in names):
        return metrics
    total = sum(_entropy(dataset, name) for name in names)
    count = sum(np.prod(dataset.split(name).values.shape) for name in names)
    if total == 0.0:
        return metrics
    found = {}
    for name, value in metrics.items():
        found[name] = value
        if name == "bce":
            found["bce_floor"] = float(total / count)
    return found


def _entropy(dataset: Dataset, name: str) -> float:
    """Sum over all values of a split, nats."""
    values, scaling = dataset.split(name).values, dataset.scaling
    total = 0.0
    for _, block in blocks(values):
        rows = block.reshape(len(block), -1)
        if rows.dtype == np.uint8 and scaling.divisor.size == scaling.shift.size == 1:  # 256 values, each counted once
            counts = np.bincount(rows.ravel(), minlength=256)
            total += counts @ _binary_entropy(scaling.apply(np.arange(256, dtype=np.uint8)))
        else:
            total += float(_binary_entropy(scaling.apply(rows)).sum())
    return total


def _binary_entropy(values: np.ndarray) -> np.ndarray:
    share = np.clip(values.astype(np.float64), 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = share * np.log(share) + (1.0 - share) * np.log1p(-share)
    found: np.ndarray = np.where((share == 0.0) | (share == 1.0), 0.0, -terms)
    return found
