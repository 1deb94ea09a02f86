"""The section of a report on denoising: how much of noise is taken away, beside filters, and a few images."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aeflax.applications.findings import Findings
from aeflax.report.canvas import BLUE, COLOURS, GREY, INK, ORANGE, PINK, WIDTH, blank, settled, styled
from aeflax.report.cells import ranged, tiles
from aeflax.report.sections import Section, Table, Values

KINDS = {"gaussian": "Gaussian", "masking": "masking", "salt-pepper": "salt and pepper"}
METHODS = {
    "noisy": "noisy",
    "model": "this model",
    "median": "median",
    "gaussian": "Gaussian",
    "total_variation": "total variation",
    "non_local_means": "non-local means",
}
_LEVELS = {
    "gaussian": "standard deviation of the noise",
    "masking": "share of pixels set to 0",
    "salt-pepper": "share of pixels set to 0 or 1",
}
_METRICS = {"psnr": ("PSNR, dB ↑", 2), "ssim": ("SSIM ↑", 3), "mse": ("squared error per feature ↓", 5)}
_LOOKS: dict[str, dict[str, Any]] = {
    "noisy": {"color": GREY, "linestyle": ":"},
    "model": {"color": BLUE, "linestyle": "-", "marker": "o", "linewidth": 2.0, "zorder": 3},
    "median": {"color": ORANGE, "linestyle": "--", "marker": "s"},
    "gaussian": {"color": PINK, "linestyle": "-.", "marker": "^"},
    "total_variation": {"color": COLOURS[1], "linestyle": "--", "marker": "v"},
    "non_local_means": {"color": COLOURS[3], "linestyle": "-.", "marker": "D"},
}


def section(found: Findings) -> Section:
    """What `aeflax denoise --judge` found last."""
    values, arrays = found.values, found.arrays
    filters = ", ".join(METHODS[one["filter"]] for one in values["strip"])
    with styled():
        figures = {
            "denoising": (
                curves(values),
                "PSNR over the level of the noise. The levels that the model was trained on are marked.",
            ),
            "denoising_examples": (
                _strip(values["strip"], arrays),
                f"Test images under noise, and what the model and the filter with the best PSNR there ({filters}) make "
                "of them.",
            ),
        }
    return Section("Denoising", sentences(values), tables(values), figures)


def sentences(values: Values) -> list[str]:
    """What was found, in words."""
    kinds: Values = values["kinds"]
    trained = _where(kinds, lambda entry: entry["trained"])
    said = [
        f"{values['examples']:,} {values['split']} images, with noise of every kind, restored by the model and by "
        f"filters whose strengths were chosen for each kind and level by PSNR on {values['tuned_on']:,} training "
        f"images. PSNR has the peak 1, SSIM windows of {values['window']} pixels; behind ± is half of the 95 % "
        "interval of the mean.",
        f"The model was trained on {trained}, and never met the others."
        if trained
        else "The model was trained on none of these kinds of noise.",
    ]
    if better := _where(kinds, lambda entry: (entry["gain"]["low"] or 0) > 0):
        said.append(f"It restores better than the best of the filters, by PSNR, at {better}.")
    if worse := _where(kinds, lambda entry: (entry["gain"]["high"] or 0) < 0):
        said.append(f"The best of the filters restores better at {worse}.")
    if spoiled := _where(kinds, lambda entry: _psnr(entry, "model") < _psnr(entry, "noisy")):
        said.append(f"The model spoils more than it restores at {spoiled}: leave such images as they are.")
    return said


def tables(values: Values) -> list[Table]:
    """One a metric: one row a kind and level of noise, one column a method."""
    made = []
    for metric in ("psnr", "ssim"):
        title, digits = _METRICS[metric]
        rows = [
            [
                f"{KINDS[kind]} {entry['level']:g}" + (", trained" if entry["trained"] else ""),
                *(_measured(entry["methods"][method][metric], digits) for method in METHODS),
            ]
            for kind, levels in values["kinds"].items()
            for entry in levels
        ]
        made.append(Table(["noise", *METHODS.values()], rows, f"{title}, and half of its 95 % interval."))
    return made


def compared(values: Values) -> Table:
    """Noisy examples and what is made of them, against clean ones: one row a metric."""
    rows = [
        [title, *(_measured(values[name][metric], digits) for name in ("before", "after"))]
        for metric, (title, digits) in _METRICS.items()
        if metric in values["before"]
    ]
    return Table(["", "before", "after"], rows)


def _measured(found: Values, digits: int) -> str:
    mean = f"{found['mean']:.{digits}f}"
    return mean if found["low"] is None else f"{mean} ± {found['mean'] - found['low']:.{digits}f}"


def _where(kinds: Values, holds: Callable[[Values], bool]) -> str:
    """The kinds and levels at which something holds, in words; empty where it does nowhere."""
    levels = {kind: [f"{entry['level']:g}" for entry in entries if holds(entry)] for kind, entries in kinds.items()}
    return "; ".join(f"{KINDS[kind]} {', '.join(found)}" for kind, found in levels.items() if found)


def _psnr(entry: Values, method: str) -> float:
    mean: float = entry["methods"][method]["psnr"]["mean"]
    return mean


def curves(values: Values) -> Figure:
    """PSNR over the level of the noise, a panel a kind."""
    figure = blank("Noise taken away", 0.9 + 1.75 * len(values["kinds"]))
    panels = figure.subplots(len(values["kinds"]), squeeze=False)[:, 0]
    for axes, (kind, entries) in zip(panels, values["kinds"].items(), strict=True):
        _marked(axes, [entry["level"] for entry in entries if entry["trained"]])
        levels = [entry["level"] for entry in entries]
        for method, label in METHODS.items():
            axes.plot(
                levels, [_psnr(entry, method) for entry in entries], label=label, markersize=3.5, **_LOOKS[method]
            )
        axes.set(xlabel=_LEVELS[kind], ylabel="PSNR, dB")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(True)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure


def _marked(axes: Axes, trained: list[float]) -> None:
    """Marks the levels that were trained on."""
    if not trained:
        return
    low, high = min(trained), max(trained)
    if low < high:
        axes.axvspan(low, high, color=GREY, alpha=0.2, linewidth=0)
    else:
        axes.axvline(high, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.text(high, 1.0, "trained", transform=axes.get_xaxis_transform(), va="bottom", ha="center")


def _strip(strip: list[Values], arrays: Mapping[str, np.ndarray]) -> Figure:
    """One row a stage, the images of each kind of noise side by side."""
    rows = np.stack([arrays[name] for name in ("clean", "noisy", "model", "filter")])
    kinds, each, height, width = rows.shape[1:5]
    shown = rows.reshape(len(rows), kinds * each, *rows.shape[3:])
    cell = (WIDTH - 1.1) / (kinds * each) * height / width
    figure = blank("Noisy images, restored", 0.8 + len(rows) * cell)
    axes = figure.subplots()
    tiles(axes, shown, ranged(shown, unit_range=True))
    names = [f"{KINDS[one['kind']]}\n{one['level']:g}" for one in strip]
    axes.set_xticks([each * place + (each - 1) / 2 for place in range(kinds)], names)
    axes.set_yticks(range(len(rows)), ["clean", "noisy", "this model", "best filter"])
    return settled(figure)
