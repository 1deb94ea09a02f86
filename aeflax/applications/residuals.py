"""How much a model usually errs in each feature.

Beside it an error is odd or is not: a sensor that the others tell to a hundredth and one that is mostly noise weigh
alike in a score of standardized residuals, where in a plain squared error the noise would hide the other's faults.
"""

import numpy as np

from aeflax.applications.inference import Inference

PRIOR = 10  # examples that speak for features which all err alike: a few of one's own say little about each
LEAST = 1e-4  # of the mean over the features, at least: where one never erred, roundings would be faults


def squares(inference: Inference, examples: np.ndarray) -> np.ndarray:
    """Squared errors of examples [B, ...] as stored, [B, F] float64 in the model's range."""
    images = inference.scaled(examples)
    again = inference.scaled_reconstruct(images)
    with np.errstate(over="ignore", invalid="ignore"):
        found: np.ndarray = ((again.astype(np.float64) - images) ** 2).reshape(len(images), -1)
    return found


def usual(errors: np.ndarray) -> np.ndarray:
    """Squared errors [N, F] of examples that are well -> what is usual of each feature, [F] above 0."""
    mean = errors.mean(axis=0)
    shrunk: np.ndarray = (len(errors) * mean + PRIOR * mean.mean()) / (len(errors) + PRIOR)
    least: np.ndarray = np.maximum(shrunk, max(LEAST * float(shrunk.mean()), float(np.finfo(np.float32).tiny)))
    return least
