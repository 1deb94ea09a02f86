"""The section of a report on anomalies: how scores spread, how well they separate, and where the oddest are odd."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aeflax.applications.findings import Findings
from aeflax.report.canvas import (
    BLUE,
    COLOURS,
    GREY,
    INK,
    ORANGE,
    PINK,
    WIDTH,
    blank,
    logarithmic,
    settled,
    shortened,
    styled,
)
from aeflax.report.cells import ranged, sequential, tiles
from aeflax.report.sections import Section, Table, Values

NAMES = {
    "aeflax": "this model",
    "pca": "PCA, code size",
    "isolation_forest": "Isolation Forest",
    "local_outlier_factor": "Local Outlier Factor",
}
KINDS = {
    "reconstruction": "squared error per feature of the reconstruction",
    "standardized": "squared error over what is usual of each feature",
    "elbo": "negative ELBO, nats",
    "likelihood": "importance-weighted bound of -log p(x), nats",
}
_HEADS = {"auroc": "AUROC ↑", "auprc": "AUPRC ↑", "precision": "precision ↑", "recall": "recall ↑", "f1": "F1 ↑"}
_LOOKS: dict[str, dict[str, Any]] = {
    "aeflax": {"color": BLUE, "linestyle": "-"},
    "pca": {"color": ORANGE, "linestyle": "--"},
    "isolation_forest": {"color": PINK, "linestyle": ":"},
    "local_outlier_factor": {"color": COLOURS[3], "linestyle": "-."},
    "training": {"color": GREY, "linestyle": "--"},
    "examples": {"color": BLUE, "linestyle": "-"},
    "normal": {"color": BLUE, "linestyle": "-"},
    "anomalous": {"color": ORANGE, "linestyle": "-"},
}
_SHOWN = 8  # of the oddest
_MATTERS = 0.05  # share of a row's error, from which on a further feature is named


def section(found: Findings) -> Section:
    """What `aeflax detect` found last, by itself or where labels judged it."""
    values, arrays = found.values, found.arrays
    named, title = ("anomaly", "Anomalies") if values["anomalous"] is None else ("separation", "Anomalies by labels")
    with styled():
        figures = {
            f"{named}_scores": (
                _scores(values),
                "Shares of examples by score. What is beyond the right end counts into the last step.",
            )
        }
        if values.get("roc"):
            caption = "True positives over false positives as the threshold falls; chance is the diagonal."
            figures[f"{named}_roc"] = (_roc(values["roc"]), caption)
        if "features" in values:
            beside = ", beside their mean squared error in training" if "training" in values["features"][0] else ""
            caption = (
                f"Features that err most in the oddest examples{beside}. An odd feature smears over the errors of "
                "those that go with it; the table says which is to blame."
            )
            figures[f"{named}_features"] = (_features(values["features"]), caption)
        elif len(arrays["example"]):
            caption = "The oddest examples, their index below; bright where the squared error is large, on one scale."
            figures[f"{named}_oddest"] = (_oddest(arrays, unit_range=values["unit_range"]), caption)
    tables = [table(values)]
    if values.get("choices"):
        tables.append(choices(values))
    if values.get("blamed"):
        tables.append(blamed(values))
    if values.get("oddest"):
        tables.append(oddest(values))
    return Section(title, sentences(values), tables, figures)


def sentences(values: Values) -> list[str]:
    """What was found, in words."""
    own = values["detectors"]["aeflax"]
    threshold = own["threshold"]
    training = threshold["training"]
    said = [
        f"{values['anomalies']:,} of {values['examples']:,} examples of {values['source']} score above the threshold "
        f"{threshold['value']:.5g} ({KINDS[values['kind']]})."
    ]
    labelled = values.get("labelled") or values["examples"]  # of runs before, whose labels were all there
    if labelled < values["examples"]:
        said.append(f"{labelled:,} of the examples have labels, and these judge the scores.")
        odd = f"{values['anomalous']:,} of them are anomalous"
        said.append(f"{odd}: precision, AUPRC and F1 hold where such a share is, recall and AUROC whatever it is.")
    if normal := values.get("false_positives"):
        said.append(f"Of {normal['examples']:,} that are normal by their labels it flags {_share(normal)}.")
    if trained := values.get("trained"):
        said.append(
            f"{trained:,} of the {labelled:,} that judge are training examples, which the model knows better than "
            "others: of new ones expect a little less."
        )
    if training is None:
        told = [] if normal else ["The threshold was given: nothing tells here how many normal examples it flags."]
        return [*said, *told]
    said.append(
        f"It flags {_share(training)} of {training['examples']:,} training examples: where these are normal, the "
        f"false-positive rate to expect on normal examples that the model scores like them."
    )
    for name, flagged in threshold["held_out"].items():
        said.append(
            f"Of {flagged['examples']:,} {name} examples, which the model was not trained on, it flags "
            f"{_share(flagged)}."
        )
        if flagged["low"] > training["share"]:
            said[-1] += (
                " That is more: the model knows its training examples better than others, so expect this share of "
                "false positives, if these are normal, and lower the contamination, or the code or the steps."
            )
    if values["fitted"]:
        said.append(
            f"The others were fitted on {values['fitted']:,} training examples, and have thresholds by the same rule."
        )
    return said


def table(values: Values) -> Table:
    """One row a detector."""
    known = values["anomalous"] is not None
    rows = []
    for name, verdict in values["detectors"].items():
        metrics = [f"{verdict['metrics'][metric]:.4f}" for metric in _HEADS] if known else []
        rows.append([NAMES[name], f"{verdict['threshold']['value']:.4g}", f"{verdict['flagged']:.2%}", *metrics])
    caption = f"{values['anomalous']:,} of {_judging(values)} are anomalous by their labels." if known else ""
    return Table(["detector", "threshold", "flagged", *(_HEADS.values() if known else ())], rows, caption)


def _judging(values: Values) -> str:
    """How many examples judge, and which."""
    labelled = values.get("labelled") or values["examples"]  # of runs before, whose labels were all there
    return f"{labelled:,} examples{'' if labelled == values['examples'] else ' that have a label'}"


def choices(values: Values) -> Table:
    """One row a threshold that might be taken instead."""
    rows = [
        [
            str(one["threshold"]) + (", the highest F1" if one["best"] else ""),
            f"{one['flagged']:.2%}",
            f"{one['false_positive_rate']:.2%}" if "false_positive_rate" in one else "",
            *(f"{one[name]:.4f}" for name in ("precision", "recall", "f1")),
        ]
        for one in values["choices"]
    ]
    caption = (
        "What other thresholds of this model would find here: that of the highest F1, and those that find half, 80, "
        f"90, 95 % and all of the anomalies, of the {_judging(values)}; --threshold takes one. One that these labels "
        "chose is judged too kindly by them: keep some for a last look."
    )
    return Table(
        ["threshold", "flagged", "of normal", *(_HEADS[name] for name in ("precision", "recall", "f1"))], rows, caption
    )


def blamed(values: Values) -> Table:
    """One row a feature that flagged vectors are blamed on."""
    rows = [[one["feature"], f"{one['rows']:,}", str(one["row"]), _had(one)] for one in values["blamed"]]
    whole = values["explained"] == values["anomalies"]
    of = "the flagged rows" if whole else f"the {values['explained']:,} oddest rows"
    caption = f"What {of} are blamed on, and the oddest row of each; what the model expects is in brackets."
    return Table(["feature", "rows", "oddest row", "its value"], rows, caption)


def oddest(values: Values, most: int | None = None) -> Table:
    """The oddest vectors and what is odd about them; all that are kept, or so many."""
    shown = values["oddest"][:most]
    carried = [*shown[0].get("carried", {})] if shown else []
    rows = [
        [
            str(one["row"]),
            *(str(one["carried"][name]) for name in carried),
            f"{one['score']:.4g}",
            "; ".join(map(_odd, _blamed(one["features"]))),
        ]
        for one in shown
    ]
    caption = (
        "The oddest rows, counted from 0; of each the features that make it odd, in brackets what the model expects of "
        "them beside the others, and how much of the row's error vanishes with that value in their place."
    )
    return Table(["row", *carried, "score", "what is odd about it"], rows, caption)


def _blamed(features: list[Values]) -> list[Values]:
    """The first, and those that matter beside it; of runs before, which tell no shares, all."""
    return [features[0], *(feature for feature in features[1:] if feature.get("share", 1.0) >= _MATTERS)]


def _odd(feature: Values) -> str:
    share = f", {feature['share']:.0%}" if "share" in feature else ""
    return f"{feature['name']} {_had(feature)}{share}"


def _had(feature: Values) -> str:
    missing = "was missing, filled with " if feature.get("filled") else ""
    return f"{missing}{feature['value']:.4g} ({feature['expected']:.4g})"


def _share(flagged: Values) -> str:
    return f"{flagged['share']:.2%} (95 % interval {flagged['low']:.2%} to {flagged['high']:.2%})"


def _scores(values: Values) -> Figure:
    figure = blank("Anomaly scores", 2.9)
    axes = figure.subplots()
    histogram = values["histogram"]
    for name, shares in histogram["shares"].items():
        label = "searched" if name == "examples" else name
        axes.stairs(shares, histogram["edges"], label=label, linewidth=1.4, **_LOOKS[name])
    at = values["detectors"]["aeflax"]["threshold"]["value"]
    axes.axvline(at, color=INK, linewidth=1.0, linestyle=(0, (4, 3)), label="threshold")
    axes.set(xlabel=KINDS[values["kind"]], ylabel="share of examples")
    if histogram.get("powers"):
        logarithmic(axes)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _roc(curves: Values) -> Figure:
    figure = blank("Anomalies found, false alarms raised", 3.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    for name, curve in curves.items():
        axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], label=NAMES[name], **_LOOKS[name])
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1), ylim=(0, 1.01))
    axes.set_box_aspect(0.75)
    axes.grid(True)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _features(features: list[Values]) -> Figure:
    figure = blank("Where the oddest examples err", 1.1 + 0.28 * len(features))
    axes: Axes = figure.subplots()
    place = np.arange(len(features))
    names = [str(feature["name"]) for feature in features]
    looks = {"oddest": (place - 0.18, ORANGE), "training": (place + 0.18, BLUE)}
    shown = {of: (at, colour) for of, (at, colour) in looks.items() if of in features[0]}
    for of, (at, colour) in shown.items():
        axes.barh(at, [feature[of] for feature in features], 0.36, color=colour, label=f"{of} examples")
    axes.set_yticks(place, [shortened(name, 24) for name in names])
    axes.invert_yaxis()
    if all(feature[of] > 0 for feature in features for of in shown):
        logarithmic(axes)
    axes.set(xlabel="squared error, in the model's range")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _oddest(arrays: Mapping[str, np.ndarray], *, unit_range: bool) -> Figure:
    examples, back, errors = (arrays[name][:_SHOWN] for name in ("example", "reconstruction", "error"))
    count, height, width = examples.shape[:3]
    cell = (WIDTH - 1.1) / _SHOWN * height / width
    figure = blank("The oddest examples", 0.75 + 3 * cell + 0.2)
    seen, wrong = figure.subplots(2, height_ratios=(2, 1))
    tiles(seen, np.stack([examples, back]), ranged(examples, unit_range=unit_range))
    tiles(wrong, errors[None], sequential(errors))
    seen.set_xticks([])
    seen.set_yticks(range(2), ["original", "reconstruction"])
    wrong.set_yticks([0], ["error"])
    wrong.set_xticks(range(count), [str(index) for index in arrays["index"][:_SHOWN]], rotation=45)
    for axes in (seen, wrong):
        axes.set_xlim(-0.5, _SHOWN - 0.5)
    return settled(figure)
