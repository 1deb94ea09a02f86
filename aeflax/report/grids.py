"""Figures of examples, and of what a model makes: an image as pixels, a vector as a small curve."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from aeflax.report.canvas import (
    BLUE,
    DIVERGING,
    GREY,
    ORANGE,
    WIDTH,
    blank,
    drawing,
    feature_axis,
    settled,
    sigma_labels,
)
from aeflax.report.cells import coloured, diverging, draw, largest, natural, one_per_class, tiles
from aeflax.report.material import Material

CELLS = 8  # a side of the grids of samples and units


@drawing
def reconstructions(material: Material) -> Figure | None:
    """Examples above what the model makes of them; with a corruption, clean, corrupted and restored."""
    if not len(material.examples):
        return None
    corrupted = not np.array_equal(material.inputs, material.examples)
    rows = {"original": material.examples, "reconstruction": material.reconstructions}
    if corrupted:
        rows = {"clean": material.examples, "corrupted": material.inputs, "restored": material.reconstructions}
    title = "Test examples, restored" if corrupted else "Test examples and reconstructions"
    if material.examples.ndim == 2:
        return _overlaid(title, rows, one_per_class(material.labels, len(material.examples))[:6], material.columns)
    height, width = material.examples.shape[1:3]
    columns = int(np.clip(round(5 * height / width), 1, 10))
    chosen = one_per_class(material.labels, len(material.examples))[: 2 * columns]
    bands = [chosen[:columns], chosen[columns:]] if len(chosen) > columns else [chosen]
    cell = (WIDTH - 1.1) / columns * height / width
    figure = blank(title, 0.45 + len(bands) * (len(rows) * cell + 0.1))
    paint = natural(material)
    for axes, band in zip(figure.subplots(len(bands), squeeze=False)[:, 0], bands, strict=True):
        shown = np.stack([images[band] for images in rows.values()])
        tiles(axes, shown, paint)
        axes.set_xlim(-0.5, columns - 0.5)  # a band with fewer has cells of the same size
        axes.set_xticks([])
        axes.set_yticks(range(len(rows)), list(rows))
    return settled(figure)


@drawing
def samples(material: Material) -> Figure | None:
    """Decoded draws from the prior."""
    if material.samples is None or not len(material.samples):
        return None
    shown = material.samples[: CELLS**2]
    figure, axes = _grid_figure("Samples from the prior", shown)
    draw(axes, _rows(shown), natural(material))
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


@drawing
def latent_grid(material: Material) -> Figure | None:
    """Decoded codes, where two dimensions run over standard deviations of the prior and the others are at its mean."""
    grid, dimensions, sigmas = material.grid, material.grid_dimensions, material.grid_sigmas
    if grid is None or dimensions is None or sigmas is None or not len(grid):
        return None
    side = len(grid)
    figure, axes = _grid_figure("The code, decoded", grid[0], beside=0.65, below=0.5, side=side)
    draw(axes, grid, natural(material), upward=True)
    ticks = np.unique(np.linspace(0, side - 1, min(side, 5)).round().astype(int))
    names = sigma_labels(sigmas[ticks])
    across, up = (f"code dimension {dimension + 1} (σ)" for dimension in dimensions)
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.set(xlabel=across, ylabel=up)
    return figure


@drawing
def dictionary(material: Material) -> Figure | None:
    """What each of the most used units of a sparse code adds to the decoder's output."""
    if material.dictionary is None or not len(material.dictionary):
        return None
    shown = np.nan_to_num(material.dictionary[: CELLS**2])
    images = shown.ndim > 2
    figure, axes = _grid_figure("What the most used units add", shown, beside=0.85, below=0.6 if images else 0.3)
    rows = _rows(shown)
    draw(axes, rows, diverging(rows))
    axes.set_xticks([])
    axes.set_yticks([])
    if material.usage is not None:
        starts = range(0, len(shown), rows.shape[1])
        axes.yaxis.tick_right()
        axes.yaxis.set_label_position("right")
        axes.set_yticks(range(len(rows)), [f"{100 * material.usage[start]:.2g} %" for start in starts])
        axes.set_ylabel("share of examples")
    if images:
        _colour_bar(figure, axes, rows, "added to the decoder's output by a code of 1")
    else:
        axes.set_xlabel("feature index, in every cell")
    return figure


@drawing
def filters(material: Material) -> Figure | None:
    """Kernels of the first convolution."""
    if material.filters is None or not len(material.filters):
        return None
    shown = np.nan_to_num(material.filters[: CELLS**2])
    count, height, width, channels = shown.shape
    figure, axes = _grid_figure("Filters of the first convolution", shown, below=0.65)
    axes.set_xticks([])
    axes.set_yticks([])
    if channels == 3:
        tiles(axes, _rows(shown), coloured)
        axes.set_xlabel(f"{count} kernels of {height} × {width} pixels,\neach from its least weight to its largest")
        return figure
    rows = _rows(shown.mean(axis=-1, keepdims=True))
    tiles(axes, rows, diverging(rows))
    mean = "" if channels == 1 else f", mean of {channels} channels"
    _colour_bar(figure, axes, rows, f"weight{mean}")
    return figure


def _rows(items: np.ndarray) -> np.ndarray:
    """Items [N, ...] in rows [R, K, ...]; cells that are left over hold NaN."""
    columns = _columns(len(items))
    rows = math.ceil(len(items) / columns)
    filled = np.full((rows * columns, *items.shape[1:]), np.nan, np.float32)
    filled[: len(items)] = items
    return filled.reshape(rows, columns, *items.shape[1:])


def _columns(count: int) -> int:
    return min(CELLS, max(count, 4))


def _grid_figure(
    title: str, items: np.ndarray, *, beside: float = 0.0, below: float = 0.0, side: int | None = None
) -> tuple[Figure, Axes]:
    """A figure for a grid of cells with the items' proportions, `beside` and `below` which is room for axes, inches."""
    columns = side or _columns(len(items))
    rows = side or math.ceil(len(items) / columns)
    shape = items.shape[1] / items.shape[2] if items.ndim > 2 else 0.8
    figure = blank(title, 0.35 + below + (WIDTH - beside) * shape * rows / columns)
    return figure, figure.subplots()


def _colour_bar(figure: Figure, axes: Axes, shown: np.ndarray, label: str) -> None:
    if shown.shape[-1] == 3:
        axes.set_xlabel(f"{label};\ngrey is none")
        return
    limit = largest(shown)
    scale = ScalarMappable(CenteredNorm(0, limit), DIVERGING)
    bar = figure.colorbar(scale, ax=axes, location="bottom", label=label, aspect=40, pad=0.02, ticks=[-limit, 0, limit])
    bar.set_ticklabels([f"−{limit:.2g}", "0", f"+{limit:.2g}"])
    bar.solids.set_rasterized(True)  # type: ignore[union-attr]  # 256 paths otherwise
    bar.outline.set_visible(False)


def _overlaid(title: str, rows: dict[str, np.ndarray], chosen: np.ndarray, columns: Sequence[str] | None) -> Figure:
    """Small multiples of vectors: the original, the reconstruction over it, the corrupted one faint behind them."""
    looks = {
        "corrupted": {"color": GREY, "linewidth": 0.7},
        "clean": {"color": BLUE, "linewidth": 2.2},
        "original": {"color": BLUE, "linewidth": 2.2},
        "restored": {"color": ORANGE, "linewidth": 1.1},
        "reconstruction": {"color": ORANGE, "linewidth": 1.1},
    }
    lines = math.ceil(len(chosen) / 2)
    figure = blank(title, 1.0 + 1.05 * lines)
    grid = figure.subplots(lines, 2 if len(chosen) > 1 else 1, sharex=True, sharey=True, squeeze=False)
    features = next(iter(rows.values())).shape[1]
    marker = "o" if features <= 24 else None
    for axes, index in zip(grid.flat, chosen, strict=False):
        for name in [name for name in looks if name in rows]:
            axes.plot(np.arange(features), rows[name][index], marker=marker, markersize=3, label=name, **looks[name])
        axes.grid(True)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    for axes in grid[-1]:
        feature_axis(axes, features, columns)
    figure.supylabel("value, in the model's range", fontsize="medium")
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure
