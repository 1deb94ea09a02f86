"""Figures of many models at once: their learning curves, their settings, what they trade."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from aeflax.config.experiment import cost
from aeflax.report.canvas import BLUE, GREY, INK, PINK, POINTS, blank, logarithmic, shortened, styled
from aeflax.report.metrics import named

Points = tuple[np.ndarray, np.ndarray]

_SPLITS = ("validation", "test", "train")
_WIDE = 8  # largest over smallest, from which values are spread by their logarithm
_SEED = "train.seed"


def learning_curves(
    histories: Mapping[int, Sequence[Mapping[str, Any]]], metric: str, finals: Mapping[int, float]
) -> tuple[Figure, str] | None:
    """The metric of every member over the steps, or its loss where that was not followed -> (figure, what it shows).

    Args:
      histories: records of each member.
      metric: that ranks the members.
      finals: what those that were trained to the end reached.
    """
    chosen = next(
        (pick for pick in (*((s, metric) for s in _SPLITS), ("train", "loss")) if _any(histories, *pick)), None
    )
    if chosen is None:
        return None
    split, followed = chosen
    curves = {index: _curve(records, split, followed) for index, records in histories.items()}
    colours = _colours(finals, metric)
    with styled():
        figure = blank("Learning curves", 2.9)
        axes = figure.subplots()
        order = ranking(finals, metric)
        for index in (*(index for index in curves if index not in finals), *reversed(order)):
            steps, values = curves[index]
            best = bool(order) and index == order[0]
            axes.plot(
                steps, values, color=colours.get(index, GREY), linewidth=1.8 if best else 0.7, alpha=1 if best else 0.8
            )
        _settle(axes, [values for _, values in curves.values()])
        axes.set(xlabel="step", ylabel=f"{split} {named(followed)}")
        axes.grid(visible=True)
    return figure, f"{split.capitalize()} {followed}"


def parallel_coordinates(
    grid: Mapping[str, Sequence[Any]],
    settings: Mapping[int, Mapping[str, Any]],
    finals: Mapping[int, float],
    metric: str,
) -> Figure:
    """A line a member: through its value of each field that varies to the metric that it reached.

    Args:
      grid: fields that vary, and their values.
      settings: of each member.
      finals: what those that were trained to the end reached.
      metric: its name.
    """
    fields = [*(field for field in grid if field != _SEED), *(field for field in grid if field == _SEED)]
    places = {field: _places(grid[field]) for field in fields}
    low, high = min(finals.values()), max(finals.values())
    colours, order = _colours(finals, metric), ranking(finals, metric)
    with styled():
        figure = blank("Settings and what they reach", 3.2)
        axes = figure.subplots()
        lines = [
            [
                *((column, places[field][str(settings[index][field])]) for column, field in enumerate(fields)),
                (len(fields), (finals[index] - low) / ((high - low) or 1.0)),
            ]
            for index in reversed(order)
        ]
        widths = [0.8] * (len(order) - 1) + [2.0]
        axes.add_collection(LineCollection(lines, colors=[colours[i] for i in reversed(order)], linewidths=widths))
        for column, field in enumerate(fields):
            axes.axvline(column, color=INK, linewidth=0.6)
            shown = _few(list(dict.fromkeys(map(str, grid[field]))))
            for text in shown:
                axes.text(column - 0.03, places[field][text], _short(text), ha="right", va="center", fontsize=8)
        axes.axvline(len(fields), color=INK, linewidth=0.6)
        for place, value in ((0.0, low), (1.0, high)):
            axes.text(len(fields) + 0.03, place, f"{value:.4g}", ha="left", va="center", fontsize=8)
        axes.set_xlim(-0.45, len(fields) + 0.45)
        axes.set_ylim(-0.06, 1.06)
        axes.set_xticks(range(len(fields) + 1), [*(_broken(field) for field in fields), metric], fontsize=8)
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    return figure


def pareto_front(values: Sequence[tuple[float, float]], paid: str, bought: str) -> tuple[Figure, list[int]]:
    """Every member by two metrics of which less is better -> (figure, places of those that none beats in both)."""
    points = np.asarray(values)
    front = nondominated(points)
    with styled():
        figure = blank("Pareto front", 2.9)
        axes = figure.subplots()
        axes.scatter(points[:, 0], points[:, 1], s=14, color=GREY, linewidths=0)
        axes.plot(points[front, 0], points[front, 1], color=BLUE, marker="o", markersize=4)
        if points[:, 0].min() > 0 and points[:, 0].max() > _WIDE * points[:, 0].min():
            logarithmic(axes)
        axes.set(xlabel=named(paid), ylabel=named(bought))
        axes.grid(visible=True)
    return figure, front


def nondominated(points: np.ndarray) -> list[int]:
    """Places of the points [N, 2] that no other one is as good as in both and better than in one; by the first."""
    front, best = [], math.inf
    for place in np.lexsort((points[:, 1], points[:, 0])):
        if points[place, 1] < best:
            front.append(int(place))
            best = float(points[place, 1])
    return front


def ranking(finals: Mapping[int, float], metric: str) -> list[int]:
    """Members by what they reached, the best first."""
    return sorted(finals, key=lambda index: cost(metric, finals[index]))


def _colours(finals: Mapping[int, float], metric: str) -> dict[int, Any]:
    """Brighter for better, by rank; the best one is PINK."""
    order = ranking(finals, metric)
    shades = {index: POINTS(1 - place / max(len(order) - 1, 1)) for place, index in enumerate(order)}
    return shades | ({order[0]: PINK} if order else {})


def _any(histories: Mapping[int, Sequence[Mapping[str, Any]]], split: str, metric: str) -> bool:
    """Whether a member has two values of a metric: one is no curve."""
    return any(len(_curve(records, split, metric)[0]) > 1 for records in histories.values())


def _curve(records: Sequence[Mapping[str, Any]], split: str, metric: str) -> Points:
    found = [
        (record["step"], record[metric]) for record in records if record.get("split") == split and metric in record
    ]
    steps, values = zip(*found, strict=True) if found else ((), ())
    return np.asarray(steps, float), np.asarray([np.nan if v is None else v for v in values], float)


def _settle(axes: Axes, curves: Sequence[np.ndarray]) -> None:
    """Limits that show where curves go, without the heights from which they come."""
    finite = np.concatenate([values[np.isfinite(values)] for values in curves])
    if not finite.size:
        return
    ends = np.concatenate([values[len(values) // 4 :] for values in curves])
    ends = ends[np.isfinite(ends)]
    low, high = finite.min(), np.quantile(ends if ends.size else finite, 0.95)
    if high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.15 * (high - low))


def _places(values: Sequence[Any]) -> dict[str, float]:
    """Where each value of a field lies between 0 and 1: numbers by size, or its logarithm, words in their order."""
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    if not numbers or len(values) < 2:
        return {str(value): place / max(len(values) - 1, 1) for place, value in enumerate(values)}
    found = np.asarray(values, float)
    if found.min() > 0 and found.max() >= _WIDE * found.min():
        found = np.log(found)
    spread = (found - found.min()) / ((found.max() - found.min()) or 1.0)
    return {str(value): float(place) for value, place in zip(values, spread, strict=True)}


def _few(texts: list[str]) -> list[str]:
    """At most nine of them, first and last among them."""
    if len(texts) <= 9:
        return texts
    return [texts[round(place)] for place in np.linspace(0, len(texts) - 1, 5)]


def _short(text: str) -> str:
    try:
        return f"{float(text):.3g}"
    except ValueError:
        return shortened(text, 12)


def _broken(field: str) -> str:
    """The last two words of a field's path, one under the other."""
    return "\n".join(field.split(".")[-2:])
