"""What codes are worth as features: a linear probe and nearest neighbours, at several numbers of labels.

The probe is a multinomial logistic regression with an L2 penalty, whose strength is chosen by the log loss on a fifth
of the labelled examples, or of 5,000 of them; then it is fitted to all. Codes and components are standardised by the
whole training split, which needs no labels; inputs, which share a unit, are centred and divided by one number.
Neighbours are the 5 nearest by Euclidean distance, in the space as it is.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from aeflax.applications.labels import Classes, accuracy, draw, require_count
from aeflax.applications.spaces import NAMES, Spaces
from aeflax.evaluation.intervals import share

Counts = Sequence[int | Literal["all"]]

COUNTS: Counts = (10, 100, 1000, "all")
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # scikit-learn's C
NEIGHBOURS = 5
MAX_CHOOSING = 5000  # labelled examples among which the strength is chosen
ITERATIONS = 100  # of L-BFGS; what has not converged by then is taken as it is
_HELD = 5  # one in so many labelled examples of each class chooses the strength


def require(classes: Classes, counts: Counts | None) -> Counts:
    """The numbers of labels per class to be tried; None: 10, 100, 1000 and all, as far as there are so many.

    Raises:
      ConfigError: for more labels than there are, or none.
    """
    if counts is None:
        return [count for count in COUNTS if count == "all" or count <= classes.smallest]
    for count in counts:
        if count != "all":
            require_count(classes, count)
    return counts


def transfer(train: Spaces, held: Spaces, classes: Classes, counts: Counts, seeds: int) -> dict[str, Any]:
    """Accuracy of probes and neighbours on held-out examples, by number of labels and space.

    Args:
      train: training examples in every space.
      held: those that are judged.
      classes: of both.
      counts: labels per class, no more than there are, or "all" examples.
      seeds: draws of labelled examples; all of them are one draw.

    Returns:
      `counts`: one entry a number of labels, with `per_class`, `labels`, `seeds` and, of each of `spaces`, the
      accuracy of `probe` and `knn`: `mean`, and the 95 % interval `low`, `high` over seeds.
    """
    scaled = {name: _standardised(train[name], held[name], alike=name == "inputs") for name in NAMES}
    entries = []
    for count in dict.fromkeys(counts):
        drawn = (
            [np.random.default_rng(0).permutation(len(classes.train))]
            if count == "all"
            else [draw(classes, count, seed) for seed in range(seeds)]
        )
        found = {}
        for name in NAMES:
            features, judged = scaled[name]
            right: dict[str, list[float]] = {"probe": [], "knn": []}
            for chosen in drawn:
                known = classes.train[chosen]
                right["probe"].append(accuracy(probe(features[chosen], known, judged), classes.held))
                right["knn"].append(accuracy(knn(train[name][chosen], known, held[name], NEIGHBOURS), classes.held))
            found[name] = {method: share(values) for method, values in right.items()}
        entries.append({"per_class": count, "labels": len(drawn[0]), "seeds": len(drawn), "spaces": found})
    return {"classes": len(classes.names), "examples": len(classes.held), "counts": entries}


def probe(features: np.ndarray, classes: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Fits a linear probe to labelled features [N, K] and classes [N], in any order -> classes of `judged` [M, K]."""
    strength = 1.0
    some, known = features[:MAX_CHOOSING], classes[:MAX_CHOOSING]
    held = _rank(known) % _HELD == _HELD - 1
    if held.any() and len(np.unique(known)) > 1:
        losses = {c: _log_loss(_fitted(c, some[~held], known[~held]), some[held], known[held]) for c in STRENGTHS}
        strength = min(losses, key=losses.__getitem__)
    found: np.ndarray = _fitted(strength, features, classes).predict(judged)
    return found


def knn(features: np.ndarray, classes: np.ndarray, judged: np.ndarray, neighbours: int) -> np.ndarray:
    """The majority class of the nearest of labelled features [N, K], for each of `judged` [M, K] -> [M]."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(min(neighbours, len(features))).fit(features, classes)
    found: np.ndarray = model.predict(judged)
    return found


def _fitted(strength: float, features: np.ndarray, classes: np.ndarray) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    # Threads that wait for each other cost a fit twenty times its own time where other work is going on.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=ITERATIONS).fit(features, classes)


def _log_loss(model: Any, features: np.ndarray, classes: np.ndarray) -> float:
    shares = model.predict_proba(features)[np.arange(len(classes)), np.searchsorted(model.classes_, classes)]
    return float(-np.mean(np.log(np.maximum(shares, 1e-12))))


def _rank(classes: np.ndarray) -> np.ndarray:
    """How many examples of the same class come before each, [N]."""
    order = np.argsort(classes, kind="stable")
    ranks = np.empty(len(classes), np.int64)
    ranks[order] = np.arange(len(classes)) - np.searchsorted(classes[order], classes[order])
    return ranks


def _standardised(train: np.ndarray, held: np.ndarray, *, alike: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both by the mean and the deviation of `train`; `alike`: one deviation for all features."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = np.sqrt(np.mean(deviation**2)) if alike else deviation
    scale = np.where(scale > 1e-6, scale, np.float32(1))  # a dead unit says nothing
    return ((train - mean) / scale).astype(np.float32), ((held - mean) / scale).astype(np.float32)
