"""Examples side by side, each in a cell of a grid: an image as pixels, a vector as a small curve.

A painter turns images [..., H, W, C] into bytes [..., H, W, 4].
"""

import math
from collections.abc import Callable
from typing import TypeGuard

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from aeflax.report.canvas import BLUE, DIVERGING, GREY, SEQUENTIAL, only_labels
from aeflax.report.material import Material

MAX_CLASSES = 20  # integer labels with more values than this are a quantity
_GAP = 0.07  # between images, of an image's width
_FINE = 800  # pixels across an image, at least: its own pixels are repeated, so that scaling keeps them crisp

Painter = Callable[[np.ndarray], np.ndarray]


def draw(axes: Axes, items: np.ndarray, paint: Painter, *, upward: bool = False) -> None:
    """Items in cells: images [R, K, H, W, C] as pixels, vectors [R, K, F] as curves; `upward`: the first row below."""
    if items.ndim == 3:
        traces(axes, items, zero=bool(np.nanmin(items) < 0), upward=upward)
    else:
        tiles(axes, items, paint, upward=upward)


def one_per_class(labels: np.ndarray | None, count: int) -> np.ndarray:
    """Indices of all examples, one of each class first where the labels are few."""
    indices = np.arange(count)
    if not few(labels):
        return indices
    first = np.unique(labels, return_index=True)[1]
    return np.concatenate([first, np.setdiff1d(indices, first)])


def few(labels: np.ndarray | None) -> TypeGuard[np.ndarray]:
    """Whether there are labels, and they are classes: integers or words with few values."""
    return labels is not None and labels.dtype.kind in "iubU" and len(np.unique(labels)) <= MAX_CLASSES


def telling(labels: np.ndarray | None) -> TypeGuard[np.ndarray]:
    """Whether there are labels that colours can tell: numbers, or few words."""
    return labels is not None and labels.ndim == 1 and (labels.dtype.kind in "iubf" or few(labels))


def tiles(axes: Axes, images: np.ndarray, paint: Painter, *, upward: bool = False) -> None:
    """Draws images [R, K, H, W, C], the one of row r and column k around the point (k, r).

    Each is right way up; the rows run down, or up where `upward`. A cell of NaN stays empty.
    """
    rows, columns, height, width = images.shape[:4]
    fine = math.ceil(_FINE / (columns * width))
    painted = paint(images)
    painted[~np.isfinite(images).any(axis=(-3, -2, -1))] = 0  # no image: transparent
    painted = painted.repeat(fine, axis=2).repeat(fine, axis=3)
    height, width = painted.shape[2:4]
    gap = 2 * max(1, round(_GAP / 2 * width))
    mosaic = np.zeros((rows, columns, height + gap, width + gap, 4), np.uint8)
    mosaic[:, :, gap // 2 : -gap // 2, gap // 2 : -gap // 2] = painted
    mosaic = (mosaic[::-1] if upward else mosaic).transpose(0, 2, 1, 3, 4)
    pixels = mosaic.reshape(rows * (height + gap), columns * (width + gap), 4)
    edges = (-0.5, rows - 0.5) if upward else (rows - 0.5, -0.5)
    axes.imshow(pixels, extent=(-0.5, columns - 0.5, *edges), aspect=(height + gap) / (width + gap))
    only_labels(axes)


def traces(axes: Axes, vectors: np.ndarray, *, zero: bool = False, upward: bool = False) -> None:
    """Draws vectors [R, K, D] as curves on one scale, that of row r and column k around the point (k, r).

    `zero` puts zero at the middle of the cells and draws it.
    """
    rows, columns, features = vectors.shape
    low, high = float(np.nanmin(vectors)), float(np.nanmax(vectors))
    if zero:
        low, high = -max(-low, high), max(-low, high)
    heights = 0.8 * ((vectors - low) / max(high - low, 1e-12) - 0.5)
    x = np.arange(columns)[:, None] + np.linspace(-0.42, 0.42, features)
    y = np.arange(rows)[:, None, None] + (heights if upward else -heights)
    lines = np.stack(np.broadcast_arrays(x, y), axis=-1).reshape(rows * columns, features, 2)
    if zero:
        cells = [[(k - 0.42, r), (k + 0.42, r)] for r in range(rows) for k in range(columns)]
        axes.add_collection(LineCollection(cells, colors=GREY, linewidths=0.5))
    axes.add_collection(LineCollection(list(lines), colors=BLUE, linewidths=1.0))
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(*((-0.5, rows - 0.5) if upward else (rows - 0.5, -0.5)))
    only_labels(axes)


def natural(material: Material) -> Painter:
    """Paints images as they are: grey for one channel, colour for three, the channels' mean for another number.

    Data in [0, 1] keeps its range; other data is shown from the first to the last percentile of the examples.
    """
    return ranged(material.examples, unit_range=material.unit_range)


def ranged(examples: np.ndarray, *, unit_range: bool) -> Painter:
    """The same for images that are like these examples."""
    low, high = 0.0, 1.0
    if not unit_range and examples.size:
        low, high = (float(value) for value in np.nanpercentile(examples, (1, 99)))

    def paint(images: np.ndarray) -> np.ndarray:
        scaled = (np.nan_to_num(images, nan=low) - low) / max(high - low, 1e-12)
        return _opaque(scaled if images.shape[-1] == 3 else scaled.mean(axis=-1, keepdims=True))

    return paint


def sequential(shown: np.ndarray) -> Painter:
    """Paints images without a sign, from none to the largest of `shown`, by the mean of their channels."""
    limit = largest(shown.mean(axis=-1))

    def paint(images: np.ndarray) -> np.ndarray:
        painted: np.ndarray = SEQUENTIAL(np.nan_to_num(images).mean(axis=-1) / limit, bytes=True)
        return painted

    return paint


def diverging(shown: np.ndarray) -> Painter:
    """Paints signed images on the scale that all of `shown` share; zero is white, or grey with three channels."""
    limit = largest(shown)

    def paint(images: np.ndarray) -> np.ndarray:
        if images.shape[-1] == 3:
            return _opaque(0.5 + 0.5 * np.nan_to_num(images) / limit)
        painted: np.ndarray = DIVERGING(0.5 + 0.5 * np.nan_to_num(images).mean(axis=-1) / limit, bytes=True)
        return painted

    return paint


def coloured(images: np.ndarray) -> np.ndarray:
    """Paints images of three channels, each from its smallest value to its largest."""
    images = np.nan_to_num(images)
    low, high = images.min(axis=(-3, -2, -1), keepdims=True), images.max(axis=(-3, -2, -1), keepdims=True)
    return _opaque((images - low) / np.maximum(high - low, 1e-12))


def largest(shown: np.ndarray) -> float:
    """The largest absolute value, never zero."""
    return max(float(np.nanmax(np.abs(shown))), 1e-12)


def _opaque(scaled: np.ndarray) -> np.ndarray:
    """Values [..., 1 or 3] in [0, 1] as bytes [..., 4]."""
    colours = np.broadcast_to(scaled, (*scaled.shape[:-1], 3))
    alpha = np.ones((*scaled.shape[:-1], 1))
    painted: np.ndarray = (255 * np.clip(np.concatenate([colours, alpha], axis=-1), 0, 1)).round().astype(np.uint8)
    return painted
