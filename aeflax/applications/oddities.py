"""What is kept of a search for anomalies: its figures, and the oddest examples with where they are odd."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aeflax.applications import separation
from aeflax.applications.anomaly import Detection, Judged
from aeflax.applications.attribution import Model, attribute
from aeflax.applications.inference import Inference
from aeflax.applications.spaces import scaled_rows, thinned
from aeflax.data.dataset import Dataset
from aeflax.data.inputs import Inputs
from aeflax.data.sources import Examples

ODDEST = 16
FEATURES = 12  # that are shown, those that err most or are blamed most
EXPLAINS = 0.1  # share of a vector's error, of which a feature is to blame for the vector
LITTLE = 0.01  # share of a vector's error, below which a further feature is not named
EXPLAINED, EXPLAINED_VALUES = 10_000, 2**21  # vectors at most, the oddest, of which is told what is odd
COMPARED = 1000  # training examples that say how much a feature usually errs
BINS = 40
_TOLD = ("value", "expected", "filled")
FAR = 100  # times the median score, from which on a linear axis shows all others as one


def values(found: Detection, inputs: Inputs) -> dict[str, Any]:
    """A detection as JSON holds it, without what belongs to single examples."""
    anomalous, labelled = found.anomalous, found.labelled
    kept: dict[str, Any] = {
        "source": inputs.name,
        "kind": found.options.kind,
        "samples": found.options.samples,
        "examples": len(found.scores),
        "anomalies": int(found.anomalies.sum()),
        "anomalous": None if anomalous is None else int(anomalous.sum()),
        "labelled": None if labelled is None else int(labelled.sum()),
        "false_positives": None if found.false_positives is None else vars(found.false_positives),
        "trained": found.trained,
        "fitted": found.fitted,
        "detectors": {name: _verdict(judged) for name, judged in found.detectors.items()},
        "choices": list(found.choices),
    }
    return kept


def oddest(inference: Inference, inputs: Inputs, found: Detection) -> dict[str, np.ndarray]:
    """The oddest examples, [K, ...] in the model's range, the oddest first.

    `index`, `score`, `example`, `reconstruction`, `error` (squared); `anomalous` where that is known.
    """
    index = np.argsort(-found.scores, kind="stable")[:ODDEST]
    examples = inference.scaled(inputs.at(index))
    reconstructions = inference.scaled_reconstruct(examples)
    with np.errstate(over="ignore"):
        errors = np.minimum((reconstructions - examples) ** 2, np.finfo(np.float32).max)
    kept = {
        "index": index,
        "score": found.scores[index],
        "example": examples,
        "reconstruction": reconstructions,
        "error": errors,
    }
    return kept if found.anomalous is None else {**kept, "anomalous": found.anomalous[index]}


@dataclass(frozen=True)
class Explained:
    """What is odd about the oddest vectors, the oddest first: arrays [K, R] of the features that are to blame.

    Attributes:
      index: of the vectors [K].
      names: of the features.
      values: what they have, in the units of the run's data; what was filled where they were missing.
      expected: what the model expects of them beside the others, in the same units.
      filled: whether they were missing.
      shares: of the vector's error that goes where they are as expected, one after the other.
    """

    index: np.ndarray
    names: np.ndarray
    values: np.ndarray
    expected: np.ndarray
    filled: np.ndarray
    shares: np.ndarray

    def blamed(self, row: int) -> list[dict[str, Any]]:
        """Of one vector the first feature, and those after it that have a hundredth of the error."""
        columns = (self.names, self.values, self.expected, self.filled, self.shares)
        told: list[dict[str, Any]] = [
            {
                "name": str(name),
                "value": float(value),
                "expected": float(expected),
                "filled": bool(filled),
                "share": float(share),
            }
            for name, value, expected, filled, share in zip(*(each[row] for each in columns), strict=True)
        ]
        return [told[0], *(one for one in told[1:] if one["share"] >= LITTLE)]


def explain(inference: Inference, inputs: Inputs, found: Detection, known: Examples) -> Explained:
    """Says what is odd about flagged vectors and about the 16 oddest.

    Of many flagged ones about the 10,000 oddest, fewer where they have over 200 features.

    Args:
      inference: the model.
      inputs: what was searched.
      found: what was found there.
      known: examples of the run's own test split, as stored.
    """
    most = min(EXPLAINED, max(ODDEST, EXPLAINED_VALUES // inputs.shape[0]))
    count = min(most, max(ODDEST, int(found.anomalies.sum())))
    index = np.argsort(-found.scores, kind="stable")[:count]
    given, missing = inputs.read(index)
    examples = inference.scaled(given)
    weights = found.weights if missing is None or found.options.kind != "standardized" else found.weights * ~missing
    model = Model(inference.scaled_reconstruct, inference.scaled(known.values[:]))
    blame = attribute(model, examples, weights)
    rows = np.arange(len(index))[:, None]
    mended = np.array(examples)
    mended[rows, blame.features] = blame.expected
    expected = inference.unscaled(mended)[rows, blame.features]
    filled = np.zeros(expected.shape, bool) if missing is None else missing[rows, blame.features]
    names = np.array(_names(inputs.columns, inputs.shape[0]))[blame.features]
    return Explained(index, names, given[rows, blame.features], expected, filled, blame.shares)


def culprits(explained: Explained, count: int) -> dict[str, np.ndarray]:
    """What is odd about each of so many vectors, arrays [N] by the names of their columns.

    The name of what is to blame most is the `feature`; `feature_value` is what it has and `feature_expected` what the
    model expects of it beside the others, in the units of the run's data; `feature_filled` says whether the value was
    missing, `feature_share` which share of the error goes where it is as expected; `feature_2` and `feature_3` are to
    blame for what is left then, if that is a hundredth. Of vectors that are not explained, and where nothing is left,
    names are empty and numbers NaN.
    """
    columns: dict[str, tuple[np.ndarray, Any]] = {
        "feature": (explained.names[:, 0], ""),
        "feature_value": (explained.values[:, 0].astype(np.float32), np.nan),
        "feature_expected": (explained.expected[:, 0], np.nan),
        "feature_filled": (explained.filled[:, 0], False),
        "feature_share": (explained.shares[:, 0].astype(np.float32), np.nan),
    }
    for place in range(1, explained.names.shape[1]):
        matters = explained.shares[:, place] >= LITTLE
        columns[f"feature_{place + 1}"] = np.where(matters, explained.names[:, place], ""), ""
    made = {name: np.full(count, rest, values.dtype) for name, (values, rest) in columns.items()}
    for name, (values, _) in columns.items():
        made[name][explained.index] = values
    return made


def reasons(explained: Explained, inputs: Inputs, scores: np.ndarray) -> list[dict[str, Any]]:
    """Of each of the oddest vectors: its `row` from 0, `score`, and the `features` that are to blame for it most.

    Of a feature its `name`, the `value` that it has and the one that the model `expected` beside the others, in the
    units of the run's data, whether the value was missing and `filled`, and the `share` of the error that goes where
    it, and those before it, are as expected; of a row what is carried along, under `carried`.
    """
    return [
        {
            "row": int(row if inputs.rows is None else inputs.rows[row]),
            "score": float(scores[row]),
            "carried": {name: column[row].item() for name, column in inputs.carried.items()},
            "features": explained.blamed(place),
        }
        for place, row in enumerate(explained.index[:ODDEST])
    ]


def blamed(explained: Explained, inputs: Inputs, flags: np.ndarray) -> list[dict[str, Any]]:
    """What flagged vectors are blamed on, the most frequent first: `feature`, how many `rows`, and the oddest of them.

    Of that its `row` from 0, `value`, `expected` and whether it was `filled`. At most 12 features; vectors of whose
    error no feature explains a tenth are blamed on none.
    """
    flagged = np.flatnonzero(flags[explained.index] & (explained.shares[:, 0] >= EXPLAINS))
    names, places, counts = np.unique(explained.names[flagged, 0], return_index=True, return_counts=True)
    told = []
    for name, place, count in sorted(zip(names, flagged[places], counts, strict=True), key=lambda one: -one[2]):
        row = explained.index[place]
        (odd, *_) = explained.blamed(place)
        at = int(row if inputs.rows is None else inputs.rows[row])
        told.append({"feature": str(name), "rows": int(count), "row": at} | {k: odd[k] for k in _TOLD})
    return told[:FEATURES]


def findings(
    inference: Inference, dataset: Dataset | None, inputs: Inputs, found: Detection, explained: Explained | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a report shows: values, and arrays of the `oddest` examples.

    Args:
      inference: the model.
      dataset: what it was trained on; None where the threshold was given.
      inputs: what was searched.
      found: what was found there.
      explained: what is odd about the oddest; None of images.
    """
    odd = oddest(inference, inputs, found)
    kept = values(found, inputs) | {"histogram": _histogram(found), "unit_range": inference.domain.unit_range}
    if found.anomalous is not None:
        which, known = found.labelled, found.anomalous[found.labelled]
        kept["roc"] = {name: separation.roc(judged.scores[which], known) for name, judged in found.detectors.items()}
    if explained is not None:
        kept["features"] = _features(inference, dataset, odd["error"], inputs.columns)
        kept["oddest"] = reasons(explained, inputs, found.scores)
        kept["blamed"] = blamed(explained, inputs, found.anomalies)
        kept["explained"] = min(len(explained.index), int(found.anomalies.sum()))
    return kept, odd


def _verdict(judged: Judged) -> dict[str, Any]:
    return {
        "threshold": judged.threshold.values(),
        "flagged": float(np.mean(judged.flags)),
        "metrics": None if judged.metrics is None else dict(judged.metrics),
    }


def _histogram(found: Detection) -> dict[str, Any]:
    """Shares of each kind of examples between edges; what lies beyond the outer ones counts as just within.

    Edges are in powers where some scores are many times what most are.
    """
    groups = {} if found.own.training is None else {"training": found.own.training}
    if found.anomalous is None:
        groups["examples"] = found.scores
    else:
        normal = found.labelled & ~found.anomalous
        groups |= {"normal": found.scores[normal], "anomalous": found.scores[found.anomalous]}
    low = min(float(group.min()) for group in groups.values())
    most, middle = float(found.scores.max()), float(np.median(found.scores))
    if powers := low > 0 and most > FAR * middle:
        high = max(min(most, FAR**2 * middle), found.own.threshold.value)
        edges = np.geomspace(max(low, middle / FAR**2), high, BINS + 1)
    else:
        high = max(*(float(np.quantile(group, 0.98)) for group in groups.values()), found.own.threshold.value)
        margin = 0.05 * (high - low) or max(abs(high), 1.0)
        edges = np.linspace(low, high + margin, BINS + 1)
    shares = {
        name: np.histogram(np.clip(group, edges[0], edges[-1]), edges)[0] / len(group) for name, group in groups.items()
    }
    kept = {name: share.tolist() for name, share in shares.items()}
    return {"edges": edges.tolist(), "powers": powers, "shares": kept}


def _features(
    inference: Inference, dataset: Dataset | None, errors: np.ndarray, columns: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Of the features that err most in the oddest examples: name, mean squared error there and in training if known."""
    means = {"oddest": errors.mean(axis=0, dtype=float)}
    if dataset is not None:
        usual = scaled_rows(inference, thinned(dataset.train, COMPARED))
        means["training"] = np.mean((inference.scaled_reconstruct(usual) - usual) ** 2, axis=0)
    names = _names(columns, errors.shape[1])
    worst = map(int, np.argsort(-means["oddest"], kind="stable")[:FEATURES])
    return [{"name": names[i], **{of: float(mean[i]) for of, mean in means.items()}} for i in worst]


def _names(columns: Sequence[str] | None, count: int) -> Sequence[str]:
    """Names of features, their places where there are none."""
    return columns if columns is not None and len(columns) == count else [f"feature {i}" for i in range(count)]
