"""How well scores separate anomalous examples from normal ones, and which labels make an example anomalous."""

from collections.abc import Sequence

import numpy as np

from aeflax.errors import ConfigError, DataError

POINTS = 200  # of a ROC curve that is kept

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


def by_label(labels: np.ndarray, normal: Sequence[int | str], anomalous: Sequence[int | str], name: str) -> np.ndarray:
    """Labels [N], numbers or words -> whether each example is anomalous [N], by those that are normal or are not.

    Raises:
      ConfigError: where both or neither are named, or a label that no example has.
      DataError: where that leaves one kind only, or a label is missing.
    """
    if missing := np.count_nonzero(np.isnan(labels) if labels.dtype.kind == "f" else labels.astype(str) == ""):
        raise DataError(f"{name} lacks {missing} labels; fill them in, or leave out --normal and --anomalous")
    if bool(normal) == bool(anomalous):
        raise ConfigError("name the labels that are normal or those that are anomalous, one of the two")
    named, option = (normal, "normal") if normal else (anomalous, "anomalous")
    each, place = np.unique(labels, return_inverse=True)
    known, named = [_text(label) for label in each.tolist()], [_text(label) for label in named]
    if unknown := [label for label in named if label not in known]:
        shown = ", ".join(known[:20])
        raise ConfigError(f"no example of {name} has the label {unknown[0]} that is to be {option}; there are {shown}")
    found: np.ndarray = np.isin(known, named)[place] ^ bool(normal)
    require_both(found, name)
    return found


def _text(label: float | str) -> str:
    """A label as it is written: 1 also for 1.0."""
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def require_both(anomalous: np.ndarray, name: str) -> None:
    """Raises DataError unless some examples [N] are anomalous and some are normal."""
    if anomalous.all() or not anomalous.any():
        kind = "anomalous" if anomalous.all() else "normal"
        raise DataError(
            f"all {len(anomalous):,} examples of {name} are {kind} by their labels; give some of both kinds"
        )
