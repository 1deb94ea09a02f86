"""How much a model usually errs in each feature.

Beside it an error is odd or is not: a sensor that the others tell to a hundredth and one that is mostly noise weigh
alike in a score of standardized residuals, where in a plain squared error the noise would hide the other's faults.
"""

import numpy as np

from aeflax.applications.inference import Inference
from aeflax.data.sources import Examples

PRIOR = 10  # examples that speak for features which all err alike: a few of one's own say little about each
ODD = 0.01  # share of the examples, the worst of each feature, that is left out: faults among them are not usual
LEAST = 1e-4  # of the mean over the features, at least: where one never errs, roundings would be faults


def squares(inference: Inference, examples: np.ndarray) -> np.ndarray:
    """Squared errors of examples [B, ...] as stored, [B, F] float64 in the model's range."""
    images = inference.scaled(examples)
    again = inference.scaled_reconstruct(images)
    with np.errstate(over="ignore", invalid="ignore"):
        found: np.ndarray = ((again.astype(np.float64) - images) ** 2).reshape(len(images), -1)
    return found


def score(errors: np.ndarray, weights: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
    """Squared errors [N, F] -> their weighted mean over the features that are there [N]; 0 where none are."""
    if missing is None:
        found: np.ndarray = np.mean(errors * weights, axis=1, dtype=float)
        return found
    present = ~missing
    sums = np.sum(errors * weights, axis=1, where=present, dtype=float)
    means: np.ndarray = sums / np.maximum(1, present.sum(axis=1))
    return means


def usual_of(inference: Inference, known: Examples) -> np.ndarray:
    """What is usual of a model's error in each feature [F], by examples that it was not trained on."""
    return usual(squares(inference, known.values[:]), None if known.missing is None else known.missing[:])


def usual(errors: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
    """Squared errors [N, F] of examples that are well -> what is usual of each feature, [F] above 0.

    The mean, without the worst hundredth, shrunk towards the geometric mean over the features. What was `missing`
    [N, F], and is filled, tells nothing of a model's errors.
    """
    told = errors if missing is None else np.where(missing, np.nan, errors)
    counts = np.sum(~np.isnan(told), axis=0)
    kept = counts - (ODD * counts).astype(int)
    ranked = np.sort(told, axis=0)  # missing ones last
    sums = np.sum(ranked, axis=0, where=np.arange(len(told))[:, None] < kept)
    means = sums / np.maximum(1, kept)
    least = max(LEAST * float(means.mean()), float(np.finfo(np.float32).tiny))
    middle = np.exp(np.mean(np.log(np.maximum(means, least))))  # where noise would rule a mean of squares
    shrunk: np.ndarray = (sums + PRIOR * middle) / (kept + PRIOR)
    found: np.ndarray = np.maximum(shrunk, least)
    return found
