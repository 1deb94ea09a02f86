"""The sections of a report on codes: as a reduction of dimension, as features, and as a beginning for a classifier."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, PercentFormatter

from aeflax.applications.findings import Findings
from aeflax.report.canvas import BLUE, ORANGE, PINK, blank, styled
from aeflax.report.sections import Section, Table, Values

SPACES = {"codes": "codes", "pca": "PCA", "inputs": "raw inputs"}
ARMS = {"finetuned": "fine-tuned", "scratch": "from scratch", "frozen": "frozen"}
_METHODS = {"probe": "linear probe", "knn": "5 nearest"}
_METRICS = {
    "mse": "mse ↓",
    "explained_variance": "explained variance ↑",
    "trustworthiness": "trustworthiness ↑",
    "continuity": "continuity ↑",
    "knn_accuracy": "5 nearest, accuracy ↑",
    "silhouette": "silhouette ↑",
}
_LOOKS: dict[str, dict[str, Any]] = {
    "codes": {"color": BLUE, "linestyle": "-", "marker": "o"},
    "pca": {"color": ORANGE, "linestyle": "--", "marker": "s"},
    "inputs": {"color": PINK, "linestyle": ":", "marker": "^"},
    "finetuned": {"color": BLUE, "linestyle": "-", "marker": "o"},
    "scratch": {"color": ORANGE, "linestyle": "--", "marker": "s"},
    "frozen": {"color": PINK, "linestyle": ":", "marker": "^"},
}


def quality(found: Findings) -> Section:
    """How faithful the codes are, beside PCA and raw inputs."""
    examples = found.values["examples"]
    sentence = (
        f"{found.values['features']} features as codes of {found.values['code_size']}, judged on "
        f"{examples['judged']:,} {found.values['split']} examples. Trustworthiness is near 1 where a code's neighbours "
        f"are neighbours of the input, continuity where neighbours of the input stay together (Venna & Kaski 2001); "
        f"they and the silhouette compare {examples['compared']:,} examples."
    )
    return Section("Codes as a reduction of dimension", [sentence], [quality_table(found.values)])


def quality_table(values: Values) -> Table:
    """One row a metric, one column a space."""
    spaces = values["spaces"]
    names = [name for name in _METRICS if any(name in spaces[space] for space in spaces)]
    rows = [
        [_METRICS[name], *(f"{spaces[space][name]:.4g}" if name in spaces[space] else "–" for space in SPACES)]
        for name in names
    ]
    sizes = {"codes": values["code_size"], "pca": values["components"], "inputs": values["features"]}
    heads = [f"{title} ({sizes[space]})" for space, title in SPACES.items()]
    return Table(["", *heads], rows)


def transfer(found: Findings) -> Section:
    """What classifiers make of codes with few labels."""
    values = found.values
    sentence = (
        f"Accuracy on {values['examples']:,} {values['split']} examples of {values['classes']} classes: a linear probe "
        f"and the majority of the 5 nearest, on frozen features. In brackets the 95 % interval of the mean over "
        f"draws of the labelled examples."
    )
    figure = _accuracies(values, SPACES, "Linear probe on frozen features", _of)
    caption = "Accuracy of a linear probe over labels per class, with 95 % intervals."
    return Section("Codes as features", [sentence], [transfer_table(values)], {"transfer": (figure, caption)})


def transfer_table(values: Values) -> Table:
    """One row a number of labels and method, one column a space."""
    rows = [
        [f"{_count(entry)}, {title}", *(percent(entry["spaces"][space][method]) for space in SPACES)]
        for entry in values["counts"]
        for method, title in _METHODS.items()
    ]
    return Table(["labels per class", *SPACES.values()], rows)


def finetune(found: Findings) -> Section:
    """Where beginning with the autoencoder's encoder helps."""
    values = found.values
    sentence = (
        f"Test accuracy of three classifiers on {values['examples']:,} examples of {values['classes']} classes: the "
        f"encoder's weights trained on, the same network from scratch, and a linear layer on the frozen codes; each "
        f"{values['steps']:,} steps of Adam at {values['learning_rate']:g} on the same labelled examples. In brackets "
        f"the 95 % interval of the mean over {values['seeds']} seeds."
    )
    figure = _accuracies(values, ARMS, "Classifiers from few labels", lambda entry, arm: entry["arms"][arm])
    caption = "Test accuracy over labels per class, with 95 % intervals."
    sentences = [sentence, *_verdicts(values)]
    return Section("The encoder as a beginning", sentences, [finetune_table(values)], {"finetune": (figure, caption)})


def finetune_table(values: Values) -> Table:
    """One row a number of labels, one column a classifier, and what fine-tuning gains over scratch."""
    rows = [
        [_count(entry), *(percent(entry["arms"][arm]) for arm in ARMS), percent(entry["gain"], signed=True)]
        for entry in values["counts"]
    ]
    return Table(["labels per class", *ARMS.values(), "gain over scratch"], rows)


def percent(found: Values, *, signed: bool = False) -> str:
    """A share with its interval, as percent: `93.1 (92.8, 93.4)`."""
    sign = "+" if signed else ""
    mean = f"{100 * found['mean']:{sign}.1f}"
    if found["low"] is None:
        return f"{mean} %"
    return f"{mean} % ({100 * found['low']:{sign}.1f}, {100 * found['high']:{sign}.1f})"


def _verdicts(values: Values) -> list[str]:
    """In words: where the interval of the gain leaves out zero."""
    better = [_count(entry) for entry in values["counts"] if (entry["gain"]["low"] or 0) > 0]
    worse = [_count(entry) for entry in values["counts"] if (entry["gain"]["high"] or 0) < 0]
    said = [f"Beginning with the encoder helps at {', '.join(better)} labels per class."] if better else []
    said += [f"It harms at {', '.join(worse)}."] if worse else []
    return said or ["At no number of labels does the interval of the gain leave out zero."]


def _of(entry: Values, space: str) -> Values:
    found: Values = entry["spaces"][space]["probe"]
    return found


def _count(entry: Values) -> str:
    return f"all {entry['labels']:,}" if entry["per_class"] == "all" else f"{entry['per_class']:,}"


def _accuracies(values: Values, names: Mapping[str, str], title: str, of: Any) -> Figure:
    """Accuracy over labels per class on a logarithmic axis; all labels stand at their mean number."""
    entries: Sequence[Values] = values["counts"]
    x = np.array([entry["labels"] / values["classes"] for entry in entries])
    with styled():
        figure = blank(title, 2.9)
        axes = figure.subplots()
        for place, (name, label) in enumerate(names.items()):
            found = [of(entry, name) for entry in entries]
            mean = np.array([part["mean"] for part in found])
            ends = [(part["low"], part["high"]) if part["low"] is not None else (part["mean"],) * 2 for part in found]
            low, high = np.array(ends).T
            shifted = x * 1.04 ** (place - 1)  # so that intervals do not hide each other
            spread = [mean - low, high - mean]
            axes.errorbar(shifted, mean, spread, label=label, markersize=4, capsize=2, **_LOOKS[name])
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(list(x)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(xlabel="labels per class", ylabel="accuracy")
        axes.grid(True)
        figure.legend(loc="outside lower center", ncols=3)
    return figure
