"""How good the codes are as a reduction of dimension, beside PCA at the same code size and raw inputs.

| name | meaning |
|---|---|
| `mse` | squared error per feature of the reconstruction from the code, in the model's range |
| `explained_variance` | 1 - squared error / squared distance to the split's mean, over all features |
| `trustworthiness` | 1 where the code's neighbours are the input's neighbours (Venna & Kaski 2001) |
| `continuity` | 1 where the input's neighbours stay neighbours in the code (the same, the spaces exchanged) |
| `knn_accuracy` | of the 5 nearest training codes' majority, Euclidean |
| `silhouette` | of the classes as clusters, -1 to 1, Euclidean (Rousseeuw 1987) |
"""

from typing import Any

import numpy as np

from aeflax.applications import probes
from aeflax.applications.inference import Inference
from aeflax.applications.labels import Classes, accuracy, classes_of, require_seeds
from aeflax.applications.probes import NEIGHBOURS
from aeflax.applications.spaces import NAMES, Spaces, fitting, scaled_rows, spaces, thinning, values
from aeflax.data.dataset import Dataset
from aeflax.data.sources import Examples
from aeflax.errors import DataError
from aeflax.evaluation.components import components

MAX_COMPARED = 2000  # examples whose distances are compared, each with each

Metrics = dict[str, float]


def judge(
    inference: Inference,
    dataset: Dataset,
    split: str = "test",
    *,
    counts: probes.Counts | None = None,
    seeds: int = 5,
) -> dict[str, dict[str, Any]]:
    """How good the codes of a split are as a reduction of dimension (`codes`) and as features (`transfer`).

    Args:
      inference: the model.
      dataset: the run's data.
      split: test or validation.
      counts: labels per class of the probes; None: 10, 100, 1000 and all, as far as there are so many.
      seeds: draws of labelled examples.

    Returns:
      By the names under which they are kept; without `transfer` where `counts` is None and there are no classes.

    Raises:
      ConfigError: if there is no such split, or for labels or seeds that cannot be.
      DataError: where labels are asked for that the data lack.
    """
    require_seeds(seeds)
    train, held = (fitting(inference, dataset.split(name)) for name in ("train", split))
    classes = _classes(dataset, train, held, needed=counts is not None)
    wanted = () if classes is None else probes.require(classes, counts)
    codes = Codes(inference, train, held)
    found = {"codes": {"split": split, **codes.quality(classes)}}
    if classes is not None and wanted:
        size = found["codes"]["code_size"]
        probed = probes.transfer(codes.train, codes.held, classes, wanted, seeds)
        found["transfer"] = {"split": split, "code_size": size, **probed}
    return found


class Codes:
    """The codes of a run's data, ready to be judged.

    Args:
      inference: the model.
      train: of which PCA, neighbours and probes learn.
      held: which are judged.
    """

    def __init__(self, inference: Inference, train: Examples, held: Examples) -> None:
        self._inference, self._held = inference, held
        rows, judged = (scaled_rows(inference, part) for part in (train, held))
        self._pca = components(rows, inference.program.built.model.latent_dim)
        self.train = spaces(inference, train, rows, self._pca)
        self.held = spaces(inference, held, judged, self._pca)

    def quality(self, classes: Classes | None) -> dict[str, Any]:
        """The metrics of each space under `spaces`, with what they were measured on; two of them need classes."""
        errors = self._squared_errors()
        rows = self.held["inputs"]
        total = float(np.mean((rows - rows.mean(axis=0, dtype=np.float64)) ** 2))
        sample = np.arange(0, len(rows), thinning(len(rows), MAX_COMPARED))
        found: dict[str, Metrics] = {}
        for name in NAMES:
            metrics: Metrics = {}
            if name in errors:
                metrics["mse"] = errors[name]
                if total:
                    metrics["explained_variance"] = 1.0 - errors[name] / total
                metrics |= _neighbourhoods(self.held, name, sample)
            if classes is not None:
                nearest = probes.knn(self.train[name], classes.train, self.held[name], NEIGHBOURS)
                metrics["knn_accuracy"] = accuracy(nearest, classes.held)
                metrics |= _silhouette(self.held[name][sample], classes.held[sample])
            found[name] = metrics
        return {
            "code_size": self.train["codes"].shape[1],
            "components": self.train["pca"].shape[1],
            "features": rows.shape[1],
            "examples": {"train": len(self.train["inputs"]), "judged": len(rows), "compared": len(sample)},
            "neighbours": NEIGHBOURS,
            "spaces": found,
        }

    def _squared_errors(self) -> Metrics:
        """Mean squared error per feature of the reconstructions from codes and from components."""
        each = np.concatenate(list(self._inference.score(values(self._inference, self._held))))
        linear = (self._pca.inverse_transform(self.held["pca"]) - self.held["inputs"]) ** 2
        return {"codes": float(each.mean(dtype=np.float64)), "pca": float(linear.mean(dtype=np.float64))}


def _classes(dataset: Dataset, train: Examples, held: Examples, *, needed: bool) -> Classes | None:
    """The classes; None where there are none and nobody needs them."""
    try:
        return classes_of(dataset, train, held)
    except DataError:
        if needed:
            raise
        return None


def _neighbourhoods(held: Spaces, name: str, sample: np.ndarray) -> Metrics:
    from sklearn.manifold import trustworthiness

    if len(sample) <= 2 * NEIGHBOURS:  # the measure is defined for more
        return {}
    near, far = held[name][sample], held["inputs"][sample]
    return {
        "trustworthiness": float(trustworthiness(far, near, n_neighbors=NEIGHBOURS)),
        "continuity": float(trustworthiness(near, far, n_neighbors=NEIGHBOURS)),
    }


def _silhouette(rows: np.ndarray, classes: np.ndarray) -> Metrics:
    from sklearn.metrics import silhouette_score

    if not 2 <= len(np.unique(classes)) < len(classes):  # nothing to tell apart
        return {}
    return {"silhouette": float(silhouette_score(rows, classes))}
