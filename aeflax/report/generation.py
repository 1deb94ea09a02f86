"""The section of a report on generation: samples and what they are near to, and ways through the code."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from aeflax.applications.findings import Findings
from aeflax.report.canvas import BLUE, INK, ORANGE, WIDTH, blank, power_of_ten, settled, sigma_labels, styled
from aeflax.report.cells import Painter, draw, ranged
from aeflax.report.sections import Section, Table, Values

Arrays = Mapping[str, np.ndarray]

MEASURES = {"kl": "KL, nats", "variance": "variance"}
_SIDE = 1.15  # inches at the left, for the names of rows


def section(found: Findings) -> Section:
    """What was found of a decoder."""
    values = found.values
    arrays = {name: array[0] for name, array in found.arrays.items()}
    figures = {}
    with styled():
        for name, (draw, caption) in _figures(values).items():
            figures[f"generation_{name}"] = (draw(values, arrays), caption)
    return Section("Generation", sentences(values), [traversal_table(values)], figures)


def sentences(values: Values) -> list[str]:
    """What was found, in words."""
    if not values["prior"]:
        return [
            "This model's code has no prior, so nothing is drawn from it. Interpolations are linear unless asked "
            "otherwise: without a prior nothing tells how long a code is."
        ]
    found = values["samples"]
    below, own, median = found["below"], found["own"], found["median"]
    count = below["samples"]["examples"]
    return [
        f"{count:,} {'sample' if count == 1 else 'samples'} from the prior (seed {values['seed']}, temperature "
        f"{values['temperature']:g}) and {below['test']['examples']:,} test examples were each compared with all "
        f"{found['training_examples']:,} training examples. The median squared error per feature to the nearest one is "
        f"{median['samples']:.3g} from a sample, and {median['test']:.3g} from a test example.",
        f"{_share(below['samples'])} of the samples are nearer than {found['near']:.3g}, as are "
        f"{_share(below['test'])} of the test examples. {_share(found['beyond'])} are farther than {found['far']:.3g}, "
        f"beyond which 1 % of the test examples lie: the more there are, the less the samples look like the data.",
        f"Among all training and test examples, the samples have {own['examples']:,} different nearest ones. "
        f"{_share(own)} of these are training examples; {found['expected']:.1%} are so by chance, if the model favours "
        f"neither split.",
        _verdict(found),
    ]


def traversal_table(values: Values) -> Table:
    """One row a dimension, most used first."""
    measure = values["measure"]
    rows = [
        [f"{each['dimension']}", f"{each[measure]:.3g}", f"{each['low']:.3g}", f"{each['high']:.3g}"]
        for each in values["traversal"]
    ]
    caption = "The dimensions of the code that the test split uses most, counted from 0."
    return Table(["dimension", MEASURES[measure], "from", "to"], rows, caption)


def _verdict(found: Values) -> str:
    if found["memorises"]:
        return (
            "So it memorises: its samples are nearer to training examples than unseen examples are, and nearer to "
            "them than to unseen ones. Train on more examples or for fewer steps, or make the code smaller."
        )
    if found["nearer"] and not found["tellable"]:
        return (
            "So it may memorise, but whether it does cannot be told: there are too few different nearest examples, or "
            "too few test examples, to see whether training examples are favoured."
        )
    if found["nearer"]:
        return (
            "So nothing says that it memorises: samples are nearer than test examples, as smooth images are to "
            "everything, but training examples are not seen to be favoured."
        )
    if found["favours"]:
        return (
            "So its samples are no copies, yet nearer to training examples than chance has it: the model knows these "
            "better than others."
        )
    return "So nothing says that it memorises."


def _share(flagged: Values) -> str:
    return f"{flagged['share']:.1%} (95 % interval {flagged['low']:.1%} to {flagged['high']:.1%})"


def _figures(values: Values) -> dict[str, tuple[Callable[[Values, Arrays], Figure], str]]:
    """The figures that such values have: how each is drawn, and its caption."""
    found: dict[str, tuple[Callable[[Values, Arrays], Figure], str]] = {}
    if values["prior"]:
        found["samples"] = (
            _samples,
            "Samples above their nearest training examples, and the squared error between them: first samples as they "
            "were drawn, then those that are nearest of all.",
        )
        found["distances"] = (
            _distances,
            "Squared error per feature to the nearest training example; the line is the first percentile of the test "
            "examples. What is beyond the right end counts into the last step.",
        )
        found["temperature"] = (
            _temperatures,
            "The same draws from the prior at several temperatures, which multiply the code.",
        )
    found["interpolations"] = (
        _interpolations,
        "Between the codes of two test examples, straight and along the arc; each pair has the same ends.",
    )
    usual = "the prior's mean, steps in its standard deviations" if values["prior"] else "the mean code"
    order = "KL, given in nats" if values["prior"] else "variance, given beside it"
    found["traversal"] = (_traversal, f"Along one dimension a row, by falling {order}; the others are at {usual}.")
    if "grid_sigmas" in values:
        found["grid"] = (
            _grid,
            "Both dimensions of the code at even steps of the prior's distribution function, so that each cell stands "
            "for the same share of it (Kingma & Welling 2014).",
        )
    return found


def _samples(values: Values, arrays: Arrays) -> Figure:
    bands = list(np.stack([arrays["samples"], arrays["nearest"]], axis=1))
    highest = float(np.max(arrays["distance"]))
    power = math.floor(math.log10(highest)) if highest > 0 else 0
    below = [[_short(distance / 10.0**power) for distance in row] for row in arrays["distance"]]
    unit = f", in {power_of_ten(power)}" if power else ""
    across = f"squared error per feature{unit}"
    rows = ["sample", "nearest"]
    return _banded("Samples and what they are near to", bands, [rows, rows], values, below, across=across)


def _distances(values: Values, _: Arrays) -> Figure:
    found = values["samples"]
    figure = blank("From the nearest training example", 2.7)
    axes = figure.subplots()
    looks: dict[str, dict[str, Any]] = {"samples": {"color": BLUE}, "test": {"color": ORANGE, "linestyle": "--"}}
    for name, shares in found["histogram"]["shares"].items():
        label = f"{name} examples" if name == "test" else name
        axes.stairs(shares, found["histogram"]["edges"], label=label, linewidth=1.4, **looks[name])
    axes.axvline(found["near"], color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set(xlabel="squared error per feature", ylabel="share")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _temperatures(values: Values, arrays: Arrays) -> Figure:
    names = [f"{temperature:g}" for temperature in values["temperatures"]]
    return _banded("Samples by temperature", [arrays["temperatures"]], [names], values)


def _interpolations(values: Values, arrays: Arrays) -> Figure:
    bands = list(arrays["interpolations"])
    return _banded("Between two test examples", bands, [["linear", "spherical"]] * len(bands), values)


def _traversal(values: Values, arrays: Arrays) -> Figure:
    images, measure = arrays["traversal"], values["measure"]
    names = [f"{each['dimension']}: {each[measure]:.2g}" for each in values["traversal"]]
    below = []
    if values["prior"]:
        steps = np.linspace(values["traversal"][0]["low"], values["traversal"][0]["high"], images.shape[1])
        below = [[name if place % 2 == 0 else "" for place, name in enumerate(sigma_labels(steps))]]
    across = "value of the dimension (σ)" if values["prior"] else ""
    up = f"dimension: {MEASURES[measure]}"
    return _banded("Along the dimensions of the code", [images], [names], values, below, across=across, up=up)


def _grid(values: Values, arrays: Arrays) -> Figure:
    images, sigmas = arrays["grid"], np.array(values["grid_sigmas"])
    figure = blank("The prior, decoded", 0.85 + (WIDTH - 0.95) * _proportion(images))
    axes = figure.subplots()
    draw(axes, images, _paint(images, values), upward=True)
    ticks = np.unique(np.linspace(0, len(sigmas) - 1, 5).round().astype(int))
    axes.set_xticks(ticks, sigma_labels(sigmas[ticks]))
    axes.set_yticks(ticks, sigma_labels(sigmas[ticks]))
    axes.set(xlabel="code dimension 0 (σ)", ylabel="code dimension 1 (σ)")
    return figure


def _short(number: float) -> str:
    """A number below 10 in four characters at most, which is what fits below a cell."""
    return f"{number:.2f}" if number < 1 else f"{number:.1f}"


def _banded(
    title: str,
    bands: Sequence[np.ndarray],
    names: Sequence[Sequence[str]],
    values: Values,
    below: Sequence[Sequence[str]] = (),
    *,
    across: str = "",
    up: str = "",
) -> Figure:
    """Bands of cells [R, S, ...] below each other, with a name beside each row and words below each column.

    `across` and `up` say what the words and the names are.
    """
    rows, columns = sum(len(band) for band in bands), bands[0].shape[1]
    cell = (WIDTH - _SIDE - (0.2 if up else 0)) / columns * _proportion(bands[0])
    figure = blank(title, 0.45 + rows * cell + len(bands) * (0.32 if below else 0.1) + (0.2 if across else 0))
    paint = _paint(np.concatenate([band.reshape(-1, *band.shape[2:]) for band in bands]), values)
    for place, (axes, band) in enumerate(zip(figure.subplots(len(bands), squeeze=False)[:, 0], bands, strict=True)):
        draw(axes, band, paint)
        axes.set_yticks(range(len(band)), names[place])
        axes.set_xticks(range(columns) if below else [], below[place] if below else [])
        axes.set_ylabel(up)
    axes.set_xlabel(across)
    return settled(figure)


def _paint(images: np.ndarray, values: Values) -> Painter:
    return ranged(images, unit_range=values["unit_range"])


def _proportion(cells: np.ndarray) -> float:
    """Height of a cell over its width, for cells [R, S, ...]."""
    return cells.shape[2] / cells.shape[3] if cells.ndim > 3 else 0.8
