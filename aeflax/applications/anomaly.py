"""Which examples are unlike those that a model was trained on, beside detectors of scikit-learn on the same inputs.

| kind | score, higher is odder |
|---|---|
| `reconstruction` | squared error per feature, in the model's range |
| `elbo` | negative ELBO, nats: an upper bound of -log p(x) |
| `likelihood` | importance-weighted bound of -log p(x), nats, tighter with more samples (Burda et al. 2016) |

The last two need a posterior. They draw samples of it that depend on the run's seed and the example's place alone.
"""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from aeflax.applications import detectors, separation, threshold
from aeflax.applications.inference import Inference
from aeflax.applications.spaces import scaled_rows, thinned, values
from aeflax.applications.threshold import Flagged, Threshold
from aeflax.data.dataset import Dataset
from aeflax.data.frames import as_floats
from aeflax.data.inputs import Inputs, batches
from aeflax.data.rows import Rows
from aeflax.errors import ConfigError, DataError

Kind = Literal["reconstruction", "elbo", "likelihood"]

OWN = "aeflax"  # the model among the detectors
MAX_TRAINING = 100_000  # training examples that a threshold is taken from; more are thinned to every n-th
MAX_SAMPLES = 100_000


@dataclass(frozen=True, kw_only=True)
class Options:
    """How anomalies are sought.

    Attributes:
      kind: of the score.
      contamination: share of the training examples that the threshold flags.
      threshold: the score itself above which an example is flagged, in place of that share; the training examples are
        then not looked at, and nothing is fitted beside the model.
      samples: of each example's posterior, for the kinds that draw some.
      baselines: whether scikit-learn's detectors are fitted, too.
    """

    kind: Kind = "reconstruction"
    contamination: float = 0.05
    threshold: float | None = None
    samples: int = 32
    baselines: bool = True


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
      oddest: of vectors the oddest, the oddest first, each with the features that are to blame: `row` from 0, `score`,
        and of each feature its `name`, `value`, what the model `expected`, and the `share` of the error that is its.
    """

    options: Options
    own: Judged
    baselines: Mapping[str, Judged] = field(default_factory=dict)
    fitted: int = 0
    anomalous: np.ndarray | None = None
    labelled: np.ndarray | None = None
    trained: int = 0
    oddest: Sequence[Mapping[str, Any]] = ()

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
    inputs: Inputs,
    anomalous: np.ndarray | None = None,
    options: Options = Options(),
) -> Detection:
    """Scores examples, and flags those above a threshold: one that the run's training split gives, or a given one.

    Args:
      inference: the model.
      dataset: what it was trained on; None where the threshold is given.
      inputs: the examples [N, ...].
      anomalous: which of them are known to be anomalous [N], boolean or 0 and 1, NaN where that is not known; None
        where it is known of none.
      options: how.

    Raises:
      ConfigError: for options that cannot be, or that the model does not have.
      DataError: for examples of another shape or range, for none, and for labels that do not fit them.
    """
    require(inference, options)
    if not len(inputs):
        raise DataError(f"{inputs.name} is empty; at least one example is needed")
    known, labelled = (None, None) if anomalous is None else _known(anomalous, inputs)
    judge = functools.partial(_verdict, known=known, labelled=labelled)

    def judged(scored: np.ndarray, training: np.ndarray) -> Judged:
        return judge(scored, training, threshold.choose(training, options.contamination))

    scored = scores(inference, (part.values[:] for part in batches(inputs, inference.size)), options)
    if dataset is None:
        assert options.threshold is not None
        given = judge(scored, None, Threshold(options.threshold))
        return Detection(options, given, anomalous=known, labelled=labelled)
    trained = 0 if labelled is None else int(np.count_nonzero(labelled & _seen(inputs, dataset.train.values)))
    own = judged(scored, _training(inference, dataset, options))
    own = replace(own, threshold=replace(own.threshold, held_out=_held_out(inference, dataset, own.threshold, options)))
    if not options.baselines:
        return Detection(options, own, anomalous=known, labelled=labelled, trained=trained)
    most = min(detectors.MAX_ROWS, max(3, detectors.MAX_VALUES // math.prod(inference.program.built.shape)))
    rows = scaled_rows(inference, thinned(dataset.train, most))
    fitted = detectors.fit(inference, rows)
    found: dict[str, list[np.ndarray]] = {each.name: [] for each in fitted}
    for part in batches(inputs, inference.size):
        images = inference.scaled(part.values[:])
        for each in fitted:
            found[each.name].append(each.score(images.reshape(len(images), -1)))
    baselines = {each.name: judged(_finite(found[each.name]), _finite([each.training])) for each in fitted}
    return Detection(options, own, baselines, len(rows), known, labelled, trained)


def scores(inference: Inference, examples: Iterable[np.ndarray], options: Options) -> np.ndarray:
    """Batches of examples [B, ...] -> scores of all of them [N] float64, higher is odder.

    What is too odd for float32 gets its largest value.
    """
    if options.kind == "reconstruction":
        return _finite(inference.score(examples))
    place = 0 if options.kind == "elbo" else 1
    return _finite(pair[place] for pair in inference.bounds(examples, options.samples))


def require(inference: Inference, options: Options) -> None:
    """Raises ConfigError for options that cannot be, or that the model does not have."""
    threshold.require_contamination(options.contamination)
    if options.threshold is not None and not math.isfinite(options.threshold):
        raise ConfigError(f"threshold {options.threshold:g} is no score; take a finite one")
    if options.kind not in get_args(Kind):
        raise ConfigError(f"kind {options.kind!r} is no score; choose {', '.join(get_args(Kind))}")
    if not 1 <= options.samples <= MAX_SAMPLES:
        raise ConfigError(f"{options.samples} samples: take 1 to {MAX_SAMPLES:,}")
    if options.kind != "reconstruction" and not inference.has_prior:
        raise ConfigError(
            f"the score {options.kind} needs a posterior, as the preset vae has, and this model has none; "
            "take reconstruction"
        )


def _known(anomalous: np.ndarray, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
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


def _training(inference: Inference, dataset: Dataset, options: Options) -> np.ndarray:
    return scores(inference, values(inference, thinned(dataset.train, MAX_TRAINING)), options)


def _held_out(inference: Inference, dataset: Dataset, chosen: Threshold, options: Options) -> dict[str, Flagged]:
    """What the threshold flags of the validation split, or where there is none of the test split."""
    name = "validation" if dataset.validation is not None else "test"
    examples = thinned(dataset.split(name), MAX_TRAINING)
    return {name: Flagged.of(chosen.flags(scores(inference, values(inference, examples), options)))}


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


def _finite(parts: Iterable[np.ndarray]) -> np.ndarray:
    most = float(np.finfo(np.float32).max)
    joined = np.concatenate(list(parts)).astype(np.float64)
    return np.clip(np.nan_to_num(joined, nan=most, posinf=most, neginf=-most), -most, most)


def arrays(found: Detection, inputs: Inputs, culprits: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """What is written of every example: `score`, `anomaly`, `row` counted from 0, what is carried along, `label`.

    Of vectors also what is odd about each, where that is given.
    """
    rows = np.arange(len(found.scores)) if inputs.rows is None else inputs.rows
    return inputs.described({"score": found.scores, "anomaly": found.anomalies, "row": rows, **(culprits or {})})
