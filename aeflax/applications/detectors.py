"""Anomaly detectors of scikit-learn, to be held against: fitted on the inputs that the model was trained on.

| name | score |
|---|---|
| `pca` | the model's, plain or standardized, of the reconstruction from as many components as the code has units |
| `isolation_forest` | how few random splits isolate an example (Liu et al. 2008), 100 trees |
| `local_outlier_factor` | how much sparser an example lies than its 20 nearest (Breunig et al. 2000) |
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aeflax.applications import residuals
from aeflax.applications.inference import Inference
from aeflax.evaluation.components import components

MAX_ROWS = 10_000  # training examples that detectors are fitted on; more are thinned to every n-th
MAX_VALUES = 2**25  # of their matrix, 128 MiB in float32
NEIGHBOURS = 20
FARTHEST = 1e12  # where values are cut off: squared distances beyond float32 are nothing that scikit-learn takes

Scorer = Callable[[np.ndarray, Any], np.ndarray]


@dataclass(frozen=True)
class Detector:
    """A fitted detector.

    Attributes:
      name: as above.
      training: scores of the rows that it was fitted on [N], higher is odder.
      score: rows [B, F] in the model's range, and which of their values were missing, or None -> their scores [B].
    """

    name: str
    training: np.ndarray
    score: Scorer


def fit(inference: Inference, rows: np.ndarray, missing: Any = None, *, standardized: bool = False) -> list[Detector]:
    """Detectors fitted on training inputs [N, F] float32; without PCA where it would not compress them.

    There are none where there are fewer than 3 rows. PCA's errors are standardized by those of the same rows if asked,
    without what was missing [N, F].
    """
    if len(rows) < 3:
        return []
    rows = np.clip(rows, -FARTHEST, FARTHEST)
    found = [_forest(rows), _outlier_factor(rows)]
    if inference.code_size < min(rows.shape):
        found.insert(0, _pca(inference, rows, missing if standardized else None, standardized=standardized))
    return [replace(each, score=_bounded(each.score)) for each in found]


def _bounded(score: Scorer) -> Scorer:
    return lambda rows, missing: score(np.clip(rows, -FARTHEST, FARTHEST), missing)


def _pca(inference: Inference, rows: np.ndarray, missing: Any, *, standardized: bool) -> Detector:
    model = components(rows, inference.program.built.model.latent_dim)
    weights = 1 / residuals.usual(model.squares(rows), missing) if standardized else np.ones(rows.shape[1])

    def score(rows: np.ndarray, missing: Any) -> np.ndarray:
        return residuals.score(model.squares(rows), weights, missing if standardized else None)

    return Detector("pca", score(rows, missing), score)


def _forest(rows: np.ndarray) -> Detector:
    from sklearn.ensemble import IsolationForest

    model = IsolationForest(random_state=0).fit(rows)

    def score(rows: np.ndarray, _: Any = None) -> np.ndarray:
        odd: np.ndarray = -model.score_samples(rows)
        return odd

    return Detector("isolation_forest", score(rows), score)


def _outlier_factor(rows: np.ndarray) -> Detector:
    from sklearn.neighbors import LocalOutlierFactor

    model = LocalOutlierFactor(min(NEIGHBOURS, len(rows) - 1), novelty=True).fit(rows)

    def score(rows: np.ndarray, _: Any = None) -> np.ndarray:
        odd: np.ndarray = -model.score_samples(rows)
        return odd

    # Not `score` of the training rows, which would count each among its own neighbours.
    return Detector("local_outlier_factor", -model.negative_outlier_factor_, score)
