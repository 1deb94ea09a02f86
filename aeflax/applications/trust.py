"""Whether a reconstruction can be trusted: that it is more than a copy, that it generalises, that an input is known.

A code that is wide enough can carry anything through. Such a model reconstructs noise as well as data, and then a small
error says nothing: neither that its codes know the data, nor that what it reconstructs badly is odd.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from aeflax.applications.inference import Inference, joined
from aeflax.applications.threshold import Flagged
from aeflax.config import NoCorruption
from aeflax.data.inputs import Inputs
from aeflax.data.rows import evenly

EXAMPLES = 512  # that are compared
COPIES = 0.1  # a model that loses less than this of the variance of what is no data carries nearly anything
LEARNT = 1.2  # unexplained share of shuffled examples over that of real ones
QUANTILE, UNLIKE = 0.99, 0.1  # of the known errors; share of the inputs beyond it, ten times as many as expected
OVERFITS, CERTAIN = 1.25, 2.0  # test error over training error; standard errors of the former between the two


def judge(
    inference: Inference, examples: np.ndarray, metrics: Mapping[str, Mapping[str, float]], *, seed: int = 0
) -> dict[str, Any]:
    """Compares how well the model reconstructs examples and what is none.

    Args:
      inference: the model.
      examples: of the test split, [N, ...] as stored; at most 512, evenly spaced, are looked at.
      metrics: of splits, by name; `mse` of train and test is looked at.
      seed: of shuffles and noise.

    Returns:
      `inputs`: for `data`, for `shuffled` (each feature of another example, so that every feature is spread as before
      and none depends on another) and for `noise` (uniform on [0, 1] for data there, else normal with each feature's
      mean and deviation) the `mse` per feature, its `standard_error` over the examples, and `unexplained`, its share of
      the variance, None where there is none; `copies`: whether under a tenth of the variance of shuffled examples is
      lost; `learnt`: whether over 1.2 times as much of it is lost as of real ones; both None for data without variance;
      `train_mse`, `test_mse`, `gap`: the test error over the training error, None where it is not known; `overfits`:
      gap > 1.25, and the test error lies over two of its standard errors above the training error, so that a few odd
      examples are no overfitting.
    """
    real = inference.scaled(_some(examples))
    random = np.random.default_rng(seed)
    rows = real.reshape(len(real), -1)
    made = {"data": rows, "shuffled": random.permuted(rows, axis=0)}
    if inference.domain.unit_range:
        made["noise"] = random.uniform(size=rows.shape)
    else:
        made["noise"] = random.normal(rows.mean(axis=0), rows.std(axis=0), rows.shape)
    inputs = {name: _reconstructed(inference, values.astype(np.float32)) for name, values in made.items()}
    of_data, of_shuffled = (inputs[name]["unexplained"] for name in ("data", "shuffled"))
    varied = of_data is not None  # then so do the shuffled, whose features hold the same values
    train, test = (metrics.get(name, {}).get("mse") for name in ("train", "test"))
    gap, overfits = None, False
    if train and test is not None:
        gap = test / train
        overfits = gap > OVERFITS and test - train > CERTAIN * inputs["data"]["standard_error"]
    return {
        "examples": len(real),
        "inputs": inputs,
        "copies": of_shuffled < COPIES if varied else None,
        "learnt": of_shuffled > LEARNT * of_data if varied else None,
        "train_mse": train,
        "test_mse": test,
        "gap": gap,
        "overfits": overfits,
    }


def unfamiliar(inference: Inference, known: np.ndarray, inputs: Inputs) -> str | None:
    """A sentence where inputs are unlike a model's data; None where they are not, or where nothing tells.

    At most 512 of each are compared: inputs are unlike where the 95 % interval of the share of them that is
    reconstructed worse than 99 % of the known examples lies above a tenth. A model of corrupted examples is not asked:
    it is given what is unlike its data on purpose.

    Args:
      inference: the model.
      known: examples of its own test split, [N, ...] as stored.
      inputs: those that it is given.
    """
    if not isinstance(inference.program.built.model.corruption, NoCorruption):
        return None
    if not len(inputs):
        return None
    own = _errors(inference, _some(known))
    errors = _errors(inference, inputs.at(_spaced(len(inputs))))
    worse = Flagged.of(~(errors <= np.quantile(own, QUANTILE)))  # so that an error that is not finite counts
    if worse.low <= UNLIKE:
        return None
    return (
        f"{inputs.name} is unlike what the run was trained on: {worse.share:.0%} of its examples are reconstructed "
        f"worse than 99% of the run's own test examples (median squared error {np.median(errors):.3g} against "
        f"{np.median(own):.3g}); what the model makes of them may mean little"
    )


def _reconstructed(inference: Inference, rows: np.ndarray) -> dict[str, Any]:
    again = inference.scaled_reconstruct(rows.reshape(-1, *inference.program.built.shape)).reshape(rows.shape)
    errors = np.mean((again.astype(np.float64) - rows) ** 2, axis=1)
    error, variance = float(errors.mean()), float(np.mean(rows.var(axis=0, dtype=np.float64)))
    return {
        "mse": error,
        "standard_error": float(errors.std() / np.sqrt(len(errors))),
        "unexplained": error / variance if variance > 0 else None,
    }


def _errors(inference: Inference, values: np.ndarray) -> np.ndarray:
    return joined(inference.score([values]), (0,))


def _some(values: np.ndarray) -> np.ndarray:
    some: np.ndarray = values[_spaced(len(values))]
    return some


def _spaced(count: int) -> np.ndarray:
    return evenly(count, min(count, EXAMPLES))
