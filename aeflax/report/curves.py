"""Plots of numbers: learning curves, codes, errors."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from aeflax.evaluation.components import components
from aeflax.report.canvas import (
    BLUE,
    COLOURS,
    INK,
    ORANGE,
    PINK,
    POINTS,
    SEQUENTIAL,
    blank,
    drawing,
    feature_axis,
    power_of_ten,
    shortened,
)
from aeflax.report.cells import few, telling
from aeflax.report.material import Material
from aeflax.report.metrics import HEADLINE, named

Curve = tuple[np.ndarray, np.ndarray]

_SPLITS: dict[str, dict[str, Any]] = {
    "train": {"color": BLUE, "linestyle": "-"},
    "validation": {"color": ORANGE, "linestyle": "--"},
    "test": {"color": PINK, "linestyle": ":"},
}
_MANY = 20  # values that show a curve without its beginning
_ACTIVE = 0.01  # a dimension that varies less than this share of the most varied one says nothing


@drawing
def learning_curves(material: Material) -> Figure | None:
    """The training loss, the metric that sums the model up, and the terms that the model trades."""
    found = {metric: _curves_of(material, metric) for metric in _followed(material)}
    panels = {metric: curves for metric, curves in found.items() if curves}
    if not material.history or not panels:
        return None
    figure = blank("Learning curves", 0.9 + 1.35 * len(panels))
    column = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, (metric, curves) in zip(column, panels.items(), strict=True):
        for split, (steps, values) in curves.items():
            marker = "o" if len(steps) <= 25 else None
            axes.plot(steps, values, marker=marker, markersize=3, label=split, **_SPLITS[split])
        axes.set_ylim(*_settled(list(curves.values())))
        axes.set_ylabel(named(metric).replace("reconstruction_nats", "reconstruction").replace(" (", "\n("))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(True)
    best = material.summary.get("best") or {}
    if best.get("step") is not None:
        for axes in column:
            axes.axvline(best["step"], color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="best")
    column[-1].set_xlabel("step")
    column[-1].xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    column[-1].xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    handles = {label: line for axes in column for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4)
    return figure


@drawing
def codes(material: Material) -> Figure | None:
    """The code's first two dimensions and its two principal components, coloured by label."""
    finite = np.isfinite(material.codes).all(axis=1)
    code = material.codes[finite]
    labels = _labels(material.labels, finite)
    if not code.size:
        return None
    if code.shape[1] == 1:
        return _histograms(code[:, 0], labels)
    rows = math.ceil(len(np.unique(labels)) / 5) if few(labels) else 0
    below = 0.45 + 0.2 * rows if rows else 0.75 * (labels is not None)  # a legend, or a colour bar
    figure = blank("Codes of test examples", 2.35 + below)
    left, right = figure.subplots(1, 2)
    first, second = _active(code)
    points = _scatter(left, code[:, [first, second]], labels)
    left.set(title="two dimensions", xlabel=f"code dimension {first + 1}", ylabel=f"code dimension {second + 1}")
    projected, shares = _principal(code)
    _scatter(right, projected, labels)
    names = [f"component {k + 1}\n({share:.0%} of variance)" for k, share in enumerate(shares)]
    right.set(title="PCA of the code", xlabel=names[0], ylabel=names[1])
    for axes in (left, right):
        axes.set_anchor("N")
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        axes.set_box_aspect(1)
    if labels is not None and not few(labels):
        bar = figure.colorbar(points, ax=[left, right], location="bottom", label="label", aspect=40)
        bar.solids.set_rasterized(True)  # type: ignore[union-attr]
    elif few(labels):
        _legend(figure, np.unique(labels))
    return figure


@drawing
def errors(material: Material) -> Figure | None:
    """How the squared error spreads over examples, and over features."""
    count = len(material.examples)
    squared = (material.reconstructions - material.examples).astype(np.float64).reshape(count, -1) ** 2
    finite = np.isfinite(squared).all(axis=1)
    squared = squared[finite]
    if not squared.size:
        return None
    each = squared.mean(axis=1)
    shape = material.examples.shape[1:]
    figure = blank("Squared error of test examples", 3.5 if len(shape) > 1 else 2.75)
    left, right = figure.subplots(1, 2)
    scale, unit = _scale(each)
    left.hist(each * scale, bins=30, color=BLUE)
    left.set(xlabel=f"mse of an example{unit}", ylabel="examples")
    left.axvline(each.mean() * scale, color=INK, linewidth=1.2, label=f"mean of this model, {each.mean():.3g}")
    pca = material.summary.get("pca") or {}
    linear = pca.get("test", {}).get("mse")
    if linear is not None and np.isfinite(linear) and pca["compresses"]:
        label = f"mean of PCA({pca['dim']}), {linear:.3g}"
        left.axvline(linear * scale, color=ORANGE, linewidth=1.6, linestyle="--", label=label)
    left.xaxis.set_major_locator(MaxNLocator(3))
    scale, unit = _scale(squared.mean(axis=0))
    feature = scale * squared.mean(axis=0).reshape(shape)
    if len(shape) == 1:
        right.plot(np.arange(shape[0]), feature, color=BLUE, marker="o" if shape[0] <= 24 else None, markersize=3)
        right.set_ylabel(f"mse of a feature{unit}")
        feature_axis(right, shape[0], material.columns)
        right.set_ylim(bottom=0)
        right.yaxis.set_major_locator(MaxNLocator(4))
    else:
        image = right.imshow(feature.mean(axis=-1), cmap=SEQUENTIAL, interpolation="nearest", vmin=0)
        right.set(xlabel="column (pixels)", ylabel="row (pixels)")
        if not 0.25 < shape[0] / shape[1] < 4:
            right.set_aspect("auto")  # a thin strip otherwise
        for axis in (right.xaxis, right.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        bar = figure.colorbar(image, ax=right, location="bottom", label=f"mse of a pixel{unit}", aspect=16, pad=0.1)
        bar.solids.set_rasterized(True)  # type: ignore[union-attr]
        bar.locator = MaxNLocator(3)
    for axes in (left, right):
        axes.set_box_aspect(None if axes.images and axes.get_aspect() != "auto" else 1)
        axes.set_anchor("N")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=1)
    return figure


def _followed(material: Material) -> list[str]:
    """Names of the metrics that are worth a curve."""
    evaluated: dict[str, Any] = {}
    for record in (*material.history, *(material.summary.get(split) or {} for split in ("validation", "test"))):
        if record.get("split") != "train":
            evaluated.update(record)
    headline = next((name for name in HEADLINE if name in evaluated), None)
    terms = ("reconstruction_nats", "kl") if "kl" in evaluated else ()
    return list(dict.fromkeys(("loss", *filter(None, [headline]), *terms, "l0")))


def _curves_of(material: Material, metric: str) -> dict[str, Curve]:
    """Finite values over steps, for each split that has any; a split's last one is in the summary."""
    step = material.summary.get("step")
    found = {}
    for split in _SPLITS:
        points = [
            (record["step"], record[metric])
            for record in material.history
            if record.get("split") == split and record.get(metric) is not None
        ]
        final: Mapping[str, float] = material.summary.get(split) or {}
        if split != "train" and step is not None and final.get(metric) is not None:
            points.append((step, final[metric]))
        points = [(at, value) for at, value in points if np.isfinite(value)]
        if points:
            steps, values = np.array(sorted(dict(points).items()), float).T
            found[split] = steps, values
    return found


def _settled(curves: list[Curve]) -> tuple[float, float]:
    """Limits that leave out the plunge of the first twentieth of many steps, where it would flatten the rest."""
    steps, values = (np.concatenate(part) for part in zip(*curves, strict=True))
    late = values[steps >= steps.min() + 0.05 * np.ptp(steps)]
    shown = late if len(late) >= _MANY and np.ptp(values) > 2 * np.ptp(late) > 0 else values
    margin = 0.06 * np.ptp(shown) or 0.05 * abs(float(shown[0])) or 1.0
    return float(shown.min() - margin), float(shown.max() + margin)


def _labels(labels: np.ndarray | None, kept: np.ndarray) -> np.ndarray | None:
    """Labels of the kept examples; None where there are none that colours can tell."""
    return np.asarray(labels)[kept] if telling(labels) else None


def _active(code: np.ndarray) -> np.ndarray:
    """The first two dimensions that vary, [2]; where fewer do, simply the first two."""
    variance = code.var(axis=0)
    found = np.flatnonzero(variance > _ACTIVE * variance.max())[:2]
    return found if len(found) == 2 else np.arange(2)


def _principal(code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two principal components [N, 2] and the shares of the variance that they explain [2]."""
    projected, shares = np.zeros((len(code), 2)), np.zeros(2)
    if np.ptp(code, axis=0).any():
        found = components(code, 2).transform(code)
        projected[:, : found.shape[1]] = found
        shares[: found.shape[1]] = found.var(axis=0, dtype=float) / code.var(axis=0, dtype=float).sum()
    return projected, shares


def _scatter(axes: Axes, points: np.ndarray, labels: np.ndarray | None) -> Any:
    size = float(np.clip(3000 / len(points), 2, 16))
    looks: dict[str, Any] = {"s": size, "linewidths": 0, "rasterized": True}
    x, y = points.T
    if labels is None:
        return axes.scatter(x, y, color=BLUE, **looks)
    if not few(labels):
        return axes.scatter(x, y, c=labels, cmap=POINTS, **looks)
    place = np.unique(labels, return_inverse=True)[1]
    colours = np.array(COLOURS)[place % len(COLOURS)]
    for round_, marker in enumerate(("o", "^")):  # a second round of the colours has another form
        chosen = place // len(COLOURS) == round_
        axes.scatter(x[chosen], y[chosen], c=colours[chosen], marker=marker, **looks)
    return None


def _histograms(code: np.ndarray, labels: np.ndarray | None) -> Figure:
    figure = blank("Codes of test examples", 2.9)
    axes = figure.subplots()
    edges = np.histogram_bin_edges(code, bins=30)
    if few(labels):
        classes = np.unique(labels)
        for place, label in enumerate(classes):
            counts, _ = np.histogram(code[labels == label], edges)
            line = "-" if place < len(COLOURS) else "--"
            axes.stairs(counts, edges, color=COLOURS[place % len(COLOURS)], linewidth=1.4, linestyle=line)
        _legend(figure, classes)
    else:
        axes.hist(code, list(edges), color=BLUE)
    axes.set(xlabel="code dimension 1", ylabel="examples")
    return figure


def _scale(values: np.ndarray) -> tuple[float, str]:
    """A factor for numbers too small to be ticks in half a figure, and how the axis names it."""
    largest = float(values.max())
    if not 0 < largest < 0.01:
        return 1.0, ""
    power = -math.floor(math.log10(largest))
    return 10.0**power, f"\n(× {power_of_ten(-power)})"


def _legend(figure: Figure, classes: np.ndarray) -> None:
    """One point a class, in rows of five below the figure."""
    rows = -(-len(classes) // 5)
    places = [place for start in range(5) for place in range(start, len(classes), 5)]  # matplotlib fills columns
    columns = min(5, len(classes)) if rows > 1 else len(classes)
    handles = [
        Line2D([], [], linestyle="", marker="o" if place < len(COLOURS) else "^", color=COLOURS[place % len(COLOURS)])
        for place in places
    ]
    names = [shortened(str(classes[place]) or "none given", 20) for place in places]
    figure.legend(handles, names, loc="outside lower center", ncols=columns, title="label", handletextpad=0.1)
