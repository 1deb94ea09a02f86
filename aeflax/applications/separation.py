"""How well scores separate anomalous examples from normal ones, and which labels make an example anomalous."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from aeflax.data.labels import absent, among, written
from aeflax.errors import ConfigError, DataError

POINTS = 200  # of a ROC curve that is kept

RECALLS = (0.5, 0.8, 0.9, 0.95, 1.0)  # whose thresholds are told

METRICS = ("auroc", "auprc", "precision", "recall", "f1")


def metrics(scores: np.ndarray, flags: np.ndarray, anomalous: np.ndarray) -> dict[str, float]:
    """AUROC and AUPRC (average precision) of scores [N]; precision, recall and F1 of flags [N]; by scikit-learn.

    Anomalous is the positive class. Precision is 0 where nothing is flagged.
    """
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

    found = precision_recall_fscore_support(anomalous, flags, average="binary", pos_label=True, zero_division=0)
    values = (roc_auc_score(anomalous, scores), average_precision_score(anomalous, scores), *found[:3])
    return dict(zip(METRICS, map(float, values), strict=True))


def roc(scores: np.ndarray, anomalous: np.ndarray) -> dict[str, list[float]]:
    """Points of the ROC curve: false and true positive rates, at most `POINTS` of them."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(anomalous, scores)
    kept = np.unique(np.linspace(0, len(false) - 1, min(POINTS, len(false))).round().astype(int))
    return {"false_positive_rate": false[kept].tolist(), "true_positive_rate": true[kept].tolist()}


def choices(scores: np.ndarray, anomalous: np.ndarray) -> list[dict[str, Any]]:
    """What other thresholds would find: that of the highest F1, and the highest that reach each of `RECALLS`.

    Args:
      scores: [N], higher is odder.
      anomalous: which are anomalous [N], at least one.

    Returns:
      Of each, the highest threshold first: `threshold`, the share that is `flagged`, `false_positive_rate` (the share
      of the normal ones that is), `precision`, `recall`, `f1`, and whether it is the `best` by F1.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, found = scores[order], np.cumsum(anomalous[order])
    last = np.append(np.flatnonzero(ranked[:-1] > ranked[1:]), len(ranked) - 1)  # of those that tie all are flagged
    flagged, found = last + 1, found[last]
    f1 = 2 * found / (flagged + found[-1])
    best = int(np.argmax(f1))
    places = {best, *(int(np.argmax(found >= recall * found[-1])) for recall in RECALLS)}
    below = np.append(ranked[last[:-1] + 1], ranked[-1] - 0.02 * (abs(ranked[-1]) or 1.0))
    return [
        {
            "threshold": _between(float(below[i]), float(ranked[last[i]])),
            "flagged": float(flagged[i] / len(scores)),
            "false_positive_rate": float((flagged[i] - found[i]) / max(1, len(scores) - found[-1])),
            "precision": float(found[i] / flagged[i]),
            "recall": float(found[i] / found[-1]),
            "f1": float(f1[i]),
            "best": i == best,
        }
        for i in sorted(places)
    ]


def _between(low: float, high: float) -> float:
    """A number from `low` on and below `high`, about half-way, that the fewest digits say."""
    told = (float(f"{low / 2 + high / 2:.{digits}g}") for digits in range(3, 18))
    return next((number for number in told if low <= number < high), low)


def by_label(labels: np.ndarray, normal: Sequence[str], anomalous: Sequence[str], name: str) -> np.ndarray:
    """Labels [N], numbers or words -> 1 for an anomalous example, 0 for a normal one, [N] float64; NaN without label.

    Where only one kind is named, all other labels are of the other; where both are, they judge nothing. The empty word
    is that of examples without a label.

    Raises:
      ConfigError: where none are named, one is named as both, or one that no example has.
      DataError: where that leaves one kind only.
    """
    if not (normal or anomalous):
        raise ConfigError("name the labels that are normal, or those that are anomalous, or both")
    if twice := [label for label in normal if label in anomalous]:
        raise ConfigError(f"the label {twice[0]} cannot be both normal and anomalous; name it once")
    found = np.full(len(labels), np.nan if normal and anomalous else float(bool(normal)))
    for named, option, value in ((normal, "--normal", 0.0), (anomalous, "--anomalous", 1.0)):
        if named:
            found[among(labels, [one for one in named if one != ""], name, option)] = value
    without = absent(labels)
    found[without] = 0.0 if "" in normal else 1.0 if "" in anomalous else np.nan
    known = found[~np.isnan(found)] == 1
    if without.any() and known.size and known.all():
        mend = "--normal '' counts them as normal (from Python: 0 in place of NaN)"
        raise DataError(f"all examples of {name} that have a label are anomalous, {without.sum():,} have none; {mend}")
    require_both(known, name)
    return found


def by_classes(labels: np.ndarray, classes: Sequence[str], name: str) -> np.ndarray | None:
    """The same of a run that was trained on some classes alone: others are anomalous. None where that says nothing.

    That is where the run was trained on all, where no example has one of its classes, or all have.
    """
    there, _ = written(labels)
    with suppress(ConfigError, DataError):
        return by_label(labels, [label for label in classes if label in there], (), name)
    return None


def require_both(anomalous: np.ndarray, name: str) -> None:
    """Raises DataError unless some examples [N] are anomalous and some are normal."""
    if anomalous.all() or not anomalous.any():
        kind = "anomalous" if anomalous.all() else "normal"
        raise DataError(
            f"all {len(anomalous):,} examples of {name} are {kind} by their labels; give some of both kinds"
        )
