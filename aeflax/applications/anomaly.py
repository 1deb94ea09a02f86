"""Which examples are unlike those that a model was trained on, beside detectors of scikit-learn on the same inputs."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from aeflax.applications import detectors, separation, threshold
from aeflax.applications.inference import Inference
from aeflax.applications.scoring import Options, Score, finite, resolved, scorer
from aeflax.applications.spaces import pieces, scaled_rows, thinned
from aeflax.applications.threshold import Flagged, Threshold
from aeflax.data.dataset import Dataset
from aeflax.data.frames import as_floats
from aeflax.data.inputs import Inputs, batches
from aeflax.data.rows import Rows
from aeflax.data.sources import Examples
from aeflax.errors import DataError

OWN = "aeflax"  # the model among the detectors
MAX_TRAINING = 100_000  # training examples that a threshold is taken from; more are thinned to every n-th


@dataclass(frozen=True)
class Judged:
    """One detector's verdict.

    Attributes:
      scores: [N] float64, higher is odder.
      training: scores of training examples; None where the threshold was given.
      threshold: above which it flags.
      metrics: AUROC, AUPRC, precision, recall, F1; None where no example is known to be anomalous or normal.
    """

    scores: np.ndarray
    training: np.ndarray | None
    threshold: Threshold
    metrics: Mapping[str, float] | None = None

    @property
    def flags(self) -> np.ndarray:
        """Whether each example is anomalous, [N]."""
        return self.threshold.flags(self.scores)


@dataclass(frozen=True, repr=False)
class Detection:
    """What was found.

    Attributes:
      options: how it was sought.
      own: the model's verdict.
      baselines: those of scikit-learn's detectors by name.
      fitted: training examples that they were fitted on.
      anomalous: which examples are known to be anomalous [N]; None where that is known of none.
      labelled: of which examples it is known whether they are [N]; the others judge nothing. None where of none.
      trained: how many of these were trained on, which the model knows better than others.
      weights: of the features' squared errors in the score [F]; ones where it is no standardized one.
      oddest: of vectors the oddest, the oddest first, each with the features that are to blame: `row` from 0, `score`,
        and of each feature its `name`, `value`, what the model `expected`, and the `share` of the error that is its.
      blamed: of vectors what flagged ones are blamed on, the most frequent first: `feature`, how many `rows`, and of
        the oddest of these its `row`, the feature's `value` and what the model `expected`.
      explained: how many of the flagged vectors, the oddest, that is told of.
      culprits: of vectors what is odd about each, arrays [N] by the names of their columns, as the command writes them.
    """

    options: Options
    own: Judged
    baselines: Mapping[str, Judged] = field(default_factory=dict)
    fitted: int = 0
    anomalous: np.ndarray | None = None
    labelled: np.ndarray | None = None
    trained: int = 0
    weights: np.ndarray = field(default_factory=lambda: np.ones(1))
    oddest: Sequence[Mapping[str, Any]] = ()
    blamed: Sequence[Mapping[str, Any]] = ()
    culprits: Mapping[str, np.ndarray] = field(default_factory=dict)
    explained: int = 0

    def __repr__(self) -> str:
        found = f"{int(self.anomalies.sum()):,} anomalies in {len(self.scores):,} examples"
        metrics = self.own.metrics or {}
        return f"Detection({', '.join([found, *(f'{name} {value:.4g}' for name, value in metrics.items())])})"

    @property
    def scores(self) -> np.ndarray:
        """The model's scores [N], higher is odder."""
        return self.own.scores

    @property
    def anomalies(self) -> np.ndarray:
        """Whether each example is anomalous by the model, [N]."""
        return self.own.flags

    @property
    def threshold(self) -> float:
        """The score above which an example is anomalous."""
        return self.own.threshold.value

    @property
    def false_positives(self) -> Flagged | None:
        """What the threshold flags of the examples that are known to be normal; None where no labels were given."""
        if self.anomalous is None:
            return None
        return Flagged.of(self.anomalies[self.labelled & ~self.anomalous])

    @property
    def metrics(self) -> Mapping[str, float] | None:
        """AUROC, AUPRC, precision, recall and F1 of the model; None where no labels were given."""
        return self.own.metrics

    @property
    def choices(self) -> Sequence[Mapping[str, Any]]:
        """What other thresholds would find, by `separation.choices`; none where no labels were given.

        `flagged` is the share of all examples, as everywhere here, the others are of those that have a label.
        """
        if self.anomalous is None:
            return ()
        found = separation.choices(self.scores[self.labelled], self.anomalous[self.labelled])
        return [{**one, "flagged": float(np.mean(self.scores > one["threshold"]))} for one in found]

    @property
    def detectors(self) -> dict[str, Judged]:
        """The model and the baselines."""
        return {OWN: self.own, **self.baselines}


def detect(
    inference: Inference,
    dataset: Dataset | None,
    known: Callable[[], Examples],
    inputs: Inputs,
    anomalous: np.ndarray | None = None,
    options: Options | None = None,
) -> Detection:
    """Scores examples, and flags those above a threshold: one that the run's training split gives, or a given one.

    Args:
      inference: the model.
      dataset: what it was trained on; None where the threshold is given.
      known: gives examples of its own test split, as stored.
      inputs: the examples [N, ...].
      anomalous: which of them are known to be anomalous [N], boolean or 0 and 1, NaN where that is not known; None
        where it is known of none.
      options: how; None: as they are by default.

    Raises:
      ConfigError: for options that cannot be, or that the model does not have.
      DataError: for examples of another shape or range, for none, and for labels that do not fit them.
    """
    options = resolved(inference, options or Options())
    if not len(inputs):
        raise DataError(f"{inputs.name} is empty; at least one example is needed")
    anomalous, labelled = (None, None) if anomalous is None else _labelled(anomalous, inputs)
    judge = functools.partial(_verdict, known=anomalous, labelled=labelled)
    score, weights = scorer(inference, known, options)

    def judged(scored: np.ndarray, training: np.ndarray) -> Judged:
        return judge(scored, training, threshold.choose(training, options.contamination))

    scored = score(batches(inputs, inference.size))
    detection = functools.partial(Detection, options, anomalous=anomalous, labelled=labelled, weights=weights)
    if dataset is None:
        assert options.threshold is not None
        return detection(judge(scored, None, Threshold(options.threshold)))
    trained = 0 if labelled is None else int(np.count_nonzero(labelled & _seen(inputs, dataset.train.values)))
    own = judged(scored, score(pieces(inference, thinned(dataset.train, MAX_TRAINING))))
    own = replace(own, threshold=replace(own.threshold, held_out=_held_out(inference, dataset, own.threshold, score)))
    if not options.baselines:
        return detection(own, trained=trained)
    most = min(detectors.MAX_ROWS, max(3, detectors.MAX_VALUES // math.prod(inference.program.built.shape)))
    some = thinned(dataset.train, most)
    rows = scaled_rows(inference, some)
    fitted = detectors.fit(inference, rows, some.missing, standardized=options.kind == "standardized")
    found: dict[str, list[np.ndarray]] = {each.name: [] for each in fitted}
    for part in batches(inputs, inference.size):
        images = inference.scaled(part.values[:])
        for each in fitted:
            found[each.name].append(each.score(images.reshape(len(images), -1), part.missing))
    baselines = {each.name: judged(finite(found[each.name]), finite([each.training])) for each in fitted}
    return detection(own, baselines, len(rows), trained=trained)


def _labelled(anomalous: np.ndarray, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Which examples are known to be anomalous [N], and of which it is known whether they are [N]."""
    given = np.asarray(anomalous)
    if given.shape != (len(inputs),):
        raise DataError(f"labels have the shape {list(given.shape)}; {len(inputs)} examples need [{len(inputs)}]")
    numbers = as_floats(given)
    if numbers is None or not np.isin(numbers[~np.isnan(numbers)], (0, 1)).all():
        mend = "map yours to these, and a missing one to NaN"
        raise DataError(f"labels must be 1 where an example is anomalous and 0 where it is normal; {mend}")
    labelled = ~np.isnan(numbers)
    separation.require_both(numbers[labelled] == 1, inputs.name)
    return numbers == 1, labelled


def _seen(inputs: Inputs, trained: Rows) -> np.ndarray:
    """Which examples were trained on, value by value [N]; none where the training data are not in memory."""
    if not isinstance(trained, np.ndarray) or trained.shape[1:] != inputs.values.shape[1:]:
        return np.zeros(len(inputs), bool)
    known = {row.tobytes() for row in trained}
    return np.array([row.tobytes() in known for part in batches(inputs, 4096) for row in part.values[:]])


def _held_out(inference: Inference, dataset: Dataset, chosen: Threshold, score: Score) -> dict[str, Flagged]:
    """What the threshold flags of the validation split, or where there is none of the test split."""
    name = "validation" if dataset.validation is not None else "test"
    examples = thinned(dataset.split(name), MAX_TRAINING)
    return {name: Flagged.of(chosen.flags(score(pieces(inference, examples))))}


def _verdict(
    scored: np.ndarray,
    training: np.ndarray | None,
    chosen: Threshold,
    known: np.ndarray | None,
    labelled: np.ndarray | None,
) -> Judged:
    if known is None:
        return Judged(scored, training, chosen)
    judging = scored[labelled]
    return Judged(scored, training, chosen, separation.metrics(judging, chosen.flags(judging), known[labelled]))


def arrays(found: Detection, inputs: Inputs) -> dict[str, np.ndarray]:
    """What is written of every example: `score`, `anomaly`, `row` counted from 0, what is carried along, `label`.

    Of vectors also what is odd about each.
    """
    rows = np.arange(len(found.scores)) if inputs.rows is None else inputs.rows
    return inputs.described({"score": found.scores, "anomaly": found.anomalies, "row": rows, **found.culprits})
