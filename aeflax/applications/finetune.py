"""Classifiers whose encoder begins with an autoencoder's weights, beside the same network from scratch.

Three arms see the same labelled examples in the same order, for as many steps of Adam at the same learning rate:

| arm | encoder | head |
|---|---|---|
| `finetuned` | the autoencoder's, trained on | linear, from zero |
| `scratch` | drawn anew, trained | linear, from zero |
| `frozen` | the autoencoder's, as it is; its codes are standardised | linear, from zero |
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from aeflax.applications import classifier
from aeflax.applications.classifier import Budget, encoder_of
from aeflax.applications.inference import Inference
from aeflax.applications.labels import accuracy, classes_of, draw, require_count, require_seeds
from aeflax.applications.spaces import fitting, scaled_rows, thinned, values
from aeflax.data.dataset import Dataset
from aeflax.data.rows import Listed
from aeflax.data.sources import Examples
from aeflax.engine.state import PyTree
from aeflax.errors import ConfigError
from aeflax.evaluation.intervals import interval, share

ARMS = ("finetuned", "scratch", "frozen")
MAX_STANDARD = 10_000  # training examples whose codes say what a standard one is; needs no labels
_ENCODER = ("encoder", "bottleneck", "pre_bias")  # of an autoencoder's parameters


def finetune(
    inference: Inference,
    dataset: Dataset,
    per_class: Sequence[int],
    *,
    budget: Budget | None = None,
    seeds: int = 5,
    split: str = "test",
) -> dict[str, Any]:
    """Test accuracy of the three arms at each number of labels per class.

    Args:
      inference: the autoencoder.
      dataset: the run's data, with labels.
      per_class: labelled examples of each class.
      budget: of every arm.
      seeds: draws of the labelled examples, of their order and of the weights that are drawn.
      split: which is judged.

    Returns:
      `counts`: one entry a number of labels, with `per_class`, `labels`, the accuracy of each of `arms` as `mean`, and
      the 95 % interval `low`, `high` over seeds, and under `gain` that of fine-tuned less scratch, seed by seed.

    Raises:
      ConfigError: for a number of labels, steps or seeds that cannot be, or a split that there is not.
      DataError: where there are no labels, or they are no classes.
    """
    budget = budget or Budget()
    _require(budget)
    require_seeds(seeds)
    train, held = (fitting(inference, dataset.split(name)) for name in ("train", split))
    classes = classes_of(dataset, train, held)
    if not per_class:
        raise ConfigError("no number of labels per class is given; give one, such as 10")
    for count in per_class:
        require_count(classes, count)
    judged = scaled_rows(inference, held)
    encoder, weights = encoder_of(inference.program.built), _encoder_weights(inference)
    numbers = jax.device_get(inference.program.hyper["model"]["bottleneck"])
    codes, standard = _codes(inference, held), _standard(_codes(inference, thinned(train, MAX_STANDARD)))
    entries = []
    for count in dict.fromkeys(per_class):
        found: dict[str, list[float]] = {arm: [] for arm in ARMS}
        for seed in range(seeds):
            chosen = draw(classes, count, seed)
            labelled = train.take(Listed(chosen))
            fit = functools.partial(
                classifier.train, known=classes.train[chosen], classes=len(classes.names), budget=budget, seed=seed
            )
            rows = np.asarray(labelled.values[:]).reshape(len(chosen), -1)
            own = dataset.scaling.shift, dataset.scaling.divisor
            pretrained = fit(encoder, rows, scaling=own, weights=weights, values=numbers)
            scratch = fit(encoder, rows, scaling=own, weights=None, values=numbers)
            frozen = fit(classifier.IDENTITY, _codes(inference, labelled), scaling=standard, weights=None)
            found["finetuned"].append(accuracy(pretrained(judged), classes.held))
            found["scratch"].append(accuracy(scratch(judged), classes.held))
            found["frozen"].append(accuracy(frozen((codes - standard[0]) / standard[1]), classes.held))
        gain = [after - before for after, before in zip(found["finetuned"], found["scratch"], strict=True)]
        arms = {arm: share(shares) for arm, shares in found.items()}
        entries.append({"per_class": count, "labels": count * len(classes.names), "arms": arms, "gain": interval(gain)})
    return {
        "split": split,
        "classes": len(classes.names),
        "examples": len(classes.held),
        "seeds": seeds,
        "steps": budget.steps,
        "batch_size": budget.batch_size,
        "learning_rate": budget.learning_rate,
        "counts": entries,
    }


def _require(budget: Budget) -> None:
    """Raises ConfigError for a budget that trains nothing."""
    if budget.steps < 1:
        raise ConfigError(f"{budget.steps} steps train nothing; take at least 1")
    if budget.batch_size < 1:
        raise ConfigError(f"a batch of {budget.batch_size} examples is none; take at least 1")
    if not 0 < budget.learning_rate < math.inf:
        raise ConfigError(f"the learning rate {budget.learning_rate:g} does not lie above 0; take e.g. 0.001")


def _encoder_weights(inference: Inference) -> tuple[PyTree, PyTree]:
    """The autoencoder's parameters and model state as far as codes need them, on the host."""
    params, model = inference.weights["params"], inference.weights["model"]
    parts = ({name: part[name] for name in _ENCODER if name in part} for part in (params, model))
    return jax.device_get(tuple(parts))  # type: ignore[no-any-return]


def _codes(inference: Inference, examples: Examples) -> np.ndarray:
    """Codes [N, K] of examples; of a posterior the mean."""
    return np.concatenate(list(inference.encode(values(inference, examples))))


def _standard(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each unit; a dead one's deviation is 1."""
    deviation = codes.std(axis=0)
    return codes.mean(axis=0), np.where(deviation > 1e-6, deviation, np.float32(1))
