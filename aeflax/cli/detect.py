"""`aeflax detect`: how odd examples are to a kept run, and which of them are anomalies."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from aeflax.cli.kept import CarryingCommand, open_inputs, show, warn_of_unfamiliar, write_out
from aeflax.cli.parsing import parse
from aeflax.data import places
from aeflax.errors import ConfigError, DataError, UnavailableError, warn

if TYPE_CHECKING:
    import numpy as np

    from aeflax.applications.scoring import Kind
    from aeflax.data.inputs import Inputs
    from aeflax.data.rows import Rows
    from aeflax.trained import Run

CONTAMINATION = 0.05
SHOWN = 5  # of the oddest rows of a table
LABELS = 8  # of a kind that are counted one by one


@dataclass(frozen=True, kw_only=True)
class DetectCommand(CarryingCommand):
    """Arguments of `aeflax detect`."""

    # reconstruction: squared error per feature; standardized: the same, each feature's over what is usual of it; of
    # models with a posterior also elbo: negative ELBO, and likelihood: importance-weighted bound of -log p, both in
    # nats; None: standardized for vectors, reconstruction for images
    kind: Literal["reconstruction", "standardized", "elbo", "likelihood"] | None = None
    # share of the training examples that the threshold flags: where they are all normal, the false-positive rate to
    # expect; 0.05 unless --quantile is given
    contamination: float | None = None
    # the same the other way round: which quantile of the training scores is the threshold
    quantile: float | None = None
    # the threshold itself, such as an earlier search told: the run's training data need not be there then, and
    # nothing is fitted beside the model
    threshold: float | None = None
    # labels of IN that are normal, to judge the scores by, all others being anomalous unless --anomalous names those;
    # by default the run's data.classes
    normal: tuple[str, ...] = ()
    # labels of IN that are anomalous, all others being normal unless --normal names those
    anomalous: tuple[str, ...] = ()
    # the column of IN, a table, that holds its labels, numbers or words; None: the run's data.label, where it has one
    label: str | None = None
    # posterior samples an example (elbo, likelihood)
    samples: int = 32
    # without PCA, Isolation Forest and Local Outlier Factor beside it
    no_baselines: bool = False


def main(arguments: list[str]) -> int:
    """Writes the scores of examples, and keeps what is found for the run's report."""
    what = "Writes the anomaly score of examples, whether it is beyond the threshold, and their labels if IN has them."
    command: DetectCommand = parse(DetectCommand, arguments, "aeflax detect", what)
    contamination = _contamination(command)
    if places.is_picture(command.out):
        raise ConfigError(f"scores are no pictures; end {command.out} in .npy, .npz, .csv or .parquet")
    run, inputs = open_inputs(
        command, places.TABLES, command.carry, idle=() if command.label is None else (command.label,)
    )

    import numpy as np

    from aeflax.applications import anomaly, oddities, scoring
    from aeflax.config.plain import to_dict
    from aeflax.data.inputs import labels_of
    from aeflax.report.anomaly import blamed, choices, oddest, sentences, table
    from aeflax.report.metrics import pca_note

    meant = command.kind or _kind_of(run, command.threshold)
    asked = scoring.Options(kind=meant, threshold=command.threshold, samples=command.samples)
    kind = scoring.resolved(run.inference, asked).kind  # so that what cannot be asked is said before anything else
    data = run.experiment.data
    named = command.label is not None
    if named and command.split != "all" and inputs.rows is None:
        raise ConfigError("--label takes the column of all rows; leave --split out")
    if named or inputs.labels is None:  # which the run may have left out
        labels = labels_of(command.source, command.label or data.label, needed=named)
        rows = slice(None) if inputs.rows is None else inputs.rows
        inputs = inputs if labels is None else replace(inputs, labels=labels[rows])
    known = _known(command, inputs, data.classes)
    # Nothing else would tell of another unit, or of another kind of data; known anomalies are unlike by nature.
    usual = inputs if known is None else inputs.part(inputs.name, np.flatnonzero(known == 0))
    warn_of_unfamiliar(run, usual)
    try:
        found = run.detect(
            inputs,
            known,
            kind=kind,
            contamination=contamination,
            threshold=command.threshold,
            samples=command.samples,
            baselines=not command.no_baselines,
        )
    except UnavailableError as error:
        raise DataError(f"{error}; or give a threshold of your own, --threshold{_before(run, kind)}") from error
    written = write_out(command.out, [anomaly.arrays(found, inputs)], len(inputs), "scores")
    values = oddities.values(found, inputs)
    tables, said = [table(values)], [*sentences(values)]
    if values["choices"]:
        tables.append(choices(values))
    if found.oddest:
        values |= {"blamed": found.blamed, "oddest": found.oddest, "explained": found.explained}
        tables += [blamed(values), oddest(values, SHOWN)] if found.blamed else [oddest(values, SHOWN)]
    if inputs.labels is not None:
        said.append(_unused(inputs.labels) if known is None else _counted(inputs.labels, known))
    if found.anomalies.all() or not found.anomalies.any():
        scores = f"the scores reach from {found.scores.min():.4g} to {found.scores.max():.4g}"
        said.append(f"That is {'all' if found.anomalies.any() else 'none'} of them: {scores}.")
    if note := pca_note(run.summary or {}, to_dict(run.experiment.model)):
        warn(f"{command.run}: {note.rstrip('.')}")
    show(command, run, values | written, tables, said)
    return 0


def _before(run: "Run", kind: "Kind | None") -> str:
    """The threshold that an earlier search with the same kind of score took, for an error to name."""
    for found in _earlier(run):
        if found.get("kind") == kind:
            return f" {found['detectors']['aeflax']['threshold']['value']:.9g} as before"
    return ""


def _kind_of(run: "Run", threshold: float | None) -> "Kind | None":
    """The kind of score that an earlier search took a threshold of."""
    if threshold is None:
        return None
    for found in _earlier(run):
        if math.isclose(found["detectors"]["aeflax"]["threshold"]["value"], threshold, rel_tol=1e-6):
            kind: Kind = found["kind"]
            return kind
    return None


def _earlier(run: "Run") -> Iterator[Mapping[str, Any]]:
    """What the last searches of this state of the run found, without and with labels."""
    kept = run.judge.findings()
    return (kept[name].values for name in ("anomaly", "separation") if name in kept)


def _contamination(command: DetectCommand) -> float:
    if command.threshold is not None and (command.quantile, command.contamination) != (None, None):
        raise ConfigError("--threshold takes the place of --contamination and --quantile; give one of them")
    if command.quantile is None:
        given = CONTAMINATION if command.contamination is None else command.contamination
        name, value = "--contamination", given
    elif command.contamination is None:
        name, value, given = "--quantile", command.quantile, 1.0 - command.quantile
    else:
        raise ConfigError("--contamination and --quantile say the same in two ways; give one of them")
    if not 0.0 < value < 1.0:
        common = 0.05 if name == "--contamination" else 0.95
        raise ConfigError(f"{name} {value:g} lies outside (0, 1); a common choice is {common}")
    return given


def _unused(labels: "Rows") -> str:
    """That there are labels, and how they would judge the scores."""
    import numpy as np

    from aeflax.data.labels import written

    there = [label for label in written(np.asarray(labels[:]))[0] if label]
    if len(there) == 1:
        return f"All labels of the examples are {there[0]}, which judges nothing."
    some = ", ".join(there[:10])
    return f"The examples have labels ({some}) that judged nothing: say which are odd by --anomalous, or by --normal."


def _counted(labels: "Rows", known: "np.ndarray") -> str:
    """Which labels were taken for which kind, each with its number, the most frequent first."""
    import numpy as np

    from aeflax.data.labels import written

    words, kinds = written(np.asarray(labels[:]))
    told = {}
    for kind, value in (("anomalous", 1), ("normal", 0), ("of neither kind", np.nan)):
        of = kinds[np.isnan(known)] if value != value else kinds[known == value]
        counts = [(int(count), words[i] or "without label") for i, count in enumerate(np.bincount(of)) if count]
        if counts:
            some = [f"{count:,} {word}" for count, word in sorted(counts, key=lambda one: -one[0])]
            told[kind] = ", ".join(some[:LABELS]) + (f" and {len(some) - LABELS} more" if len(some) > LABELS else "")
    return "Labels: " + "; ".join(f"{kind} {of}" for kind, of in told.items()) + "."


def _known(command: DetectCommand, inputs: "Inputs", classes: tuple[str, ...]) -> "np.ndarray | None":
    """Which examples are anomalous by their labels; None where nothing says so."""
    import numpy as np

    from aeflax.applications import separation

    asked = command.normal or command.anomalous
    if inputs.labels is None:
        if asked:
            raise ConfigError(
                f"{inputs.name} has no labels that --normal or --anomalous could name; name their column by --label, "
                "or leave the options out"
            )
        return None
    labels = np.asarray(inputs.labels[:])
    if asked:
        return separation.by_label(labels, command.normal, command.anomalous, inputs.name)
    return separation.by_classes(labels, classes, inputs.name)
