"""Convolutions at stride 1 with fewer multiplications: Winograd's minimal filtering (Lavin & Gray, arXiv:1509.09308).

An axis is cut into tiles of m outputs. A tile and a kernel of side r are polynomials whose product is fixed by its
values at m + r - 1 points: the tile becomes as many values, so does the kernel, and their products take the place of
m · r. Over both axes 36 products give the 4×4 outputs that a 3×3 kernel otherwise takes 144 for.

With V = A x, U = G w and P the products of equal points, summed over channels, the outputs are S P. A and S hold all
tiles and the zeros around the maps: for maps of the sizes inside an autoencoder they are small matrices, and that a
processor multiplies matrices well is the point.
"""

import functools
import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]

# Finite points; the last one is at infinity. Of the sets tried these err least in float32 (docs/adr/0011).
POINTS = (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)
MOST = len(POINTS) + 1  # values of a tile along an axis
SIDES = range(2, MOST)  # of kernels: each leaves a tile two outputs or more
LARGEST = 2**18  # numbers in a constant matrix, a MiB of every program: maps up to 17×17
KERNEL = 4  # what a multiplication of the kernel's transform costs, which waits for memory, in others


@dataclass(frozen=True)
class Form:
    """Three linear maps: some of the kernel's values, each with the values of as many tiles.

    Attributes:
      analysis: maps of height and width to the values of their tiles, [K · tiles, H · W].
      kernel: kernels to their values, [K, side²].
      synthesis: products to what they add to the outputs, [h · w, K · tiles].
    """

    analysis: np.ndarray
    kernel: np.ndarray
    synthesis: np.ndarray

    def by_point(self, values: jax.Array) -> jax.Array:
        """[K · tiles, ...] -> [K, tiles, ...]."""
        return values.reshape(len(self.kernel), -1, *values.shape[1:])

    def by_tile(self, values: jax.Array) -> jax.Array:
        """[K, tiles, ...] -> [K · tiles, ...]."""
        return values.reshape(-1, *values.shape[2:])


def outputs(size: tuple[int, ...], side: int, pads: Pads) -> tuple[int, ...]:
    """(h, w)."""
    return tuple(max(0, length + sum(pad) - side + 1) for length, pad in zip(size, pads, strict=True))


def values(size: tuple[int, ...], side: int, pads: Pads) -> int:
    """Values of one image's tiles, of each channel."""
    return math.prod(count + (side - 1) * _tiles(count, side) for count in outputs(size, side, pads))


def pays(images: tuple[Any, ...], kernel: tuple[int, ...], pads: Pads) -> bool:
    """Whether it multiplies less than the plain sum, its transforms included, and those are small enough to be kept.

    Args:
      images: (B, H, W, C); of an export, whose batch is symbolic and may be one, it is not believed to pay.
      kernel: (kh, kw, C, F).
      pads: zeros before and after height and width.
    """
    (batch, *size, _), (side, width, channels, features) = images, kernel
    if not isinstance(batch, int) or side != width or side not in SIDES:
        return False
    taken, made = math.prod(size), math.prod(outputs(tuple(size), side, pads))
    each = values(tuple(size), side, pads)
    if not made or each * max(taken, made) > LARGEST:
        return False
    of_kernel = sum(len(form.kernel) for form in forms(tuple(size), side, pads))
    an_image = each * (channels * features + taken * channels + made * features)
    return bool(batch * an_image + KERNEL * of_kernel * math.prod(kernel) < batch * made * math.prod(kernel))


@functools.cache
def forms(size: tuple[int, ...], side: int, pads: Pads) -> tuple[Form, ...]:
    """The maps for images of a height and width, square kernels of a side in SIDES, and zeros around the images.

    The outputs are the sum of what the forms make. The first has the pairs of points that all tiles have; where tiles
    differ, a second has the values that are left, each with one of the kernel's that it shares with no other.
    """
    down, across = (_axis(length, side, pad) for length, pad in zip(size, pads, strict=True))
    analysis, kernel, synthesis = (
        np.kron(getattr(down, name), getattr(across, name)).astype(np.float32)
        for name in ("analysis", "kernel", "synthesis")
    )
    index = np.arange(len(kernel)).reshape(len(down.kernel), len(across.kernel))
    shared = index[: down.points * down.tiles, : across.points * across.tiles]
    shared = shared.reshape(down.points, down.tiles, across.points, across.tiles).swapaxes(1, 2).ravel()
    left = np.setdiff1d(index, shared)
    parts = [(shared, down.tiles * across.tiles), (left, 1)]
    return tuple(Form(analysis[i], kernel[i[::tiles]], synthesis[:, i]) for i, tiles in parts if len(i))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(images: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """Convolution at stride 1: [B, H, W, C], [side, side, C, F] -> [B, h, w, F]; side in SIDES."""
    return _forward(images, kernel, pads)[0]


def _forward(images: jax.Array, kernel: jax.Array, pads: Pads) -> tuple[jax.Array, tuple[Any, ...]]:
    size, side = images.shape[1:3], kernel.shape[0]
    pixels, taps = _spatial(images), kernel.reshape(side**2, *kernel.shape[2:])
    made, kept = [], []
    for form in forms(size, side, pads):
        tiles = form.by_point(jnp.tensordot(form.analysis, pixels, 1))
        weights = jnp.tensordot(form.kernel, taps, 1)
        products = lax.dot_general(tiles, weights, (((3,), (1,)), ((0,), (0,))))
        made.append(jnp.tensordot(form.synthesis, form.by_tile(products), 1))
        kept.append((tiles, weights))
    return _batched(reduce(jnp.add, made), outputs(size, side, pads)), (kept, images, kernel)


def _backward(pads: Pads, residuals: tuple[Any, ...], grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The transposes of `_forward`'s products, each with its result as it is needed."""
    kept, images, kernel = residuals
    size, side = images.shape[1:3], kernel.shape[0]
    pixels, to_images, to_kernel = _spatial(grad), [], []
    for form, (tiles, weights) in zip(forms(size, side, pads), kept, strict=True):
        products = form.by_point(jnp.tensordot(form.synthesis.T, pixels, 1))
        to_weights = lax.dot_general(tiles, products, (((1, 2), (1, 2)), ((0,), (0,))))
        to_tiles = lax.dot_general(products, weights, (((3,), (2,)), ((0,), (0,))))
        to_kernel.append(jnp.tensordot(form.kernel.T, to_weights, 1))
        to_images.append(jnp.tensordot(form.analysis.T, form.by_tile(to_tiles), 1))
    return _batched(reduce(jnp.add, to_images), size), reduce(jnp.add, to_kernel).reshape(kernel.shape)


convolve.defvjp(_forward, _backward)


def _spatial(maps: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [H · W, B, C]."""
    batch, height, width, channels = maps.shape
    return maps.reshape(batch, height * width, channels).swapaxes(0, 1)


def _batched(maps: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """[H · W, B, C] -> [B, H, W, C]."""
    _, batch, channels = maps.shape
    return maps.swapaxes(0, 1).reshape(batch, *size, channels)


@dataclass(frozen=True)
class _Axis:
    """The maps of one axis and its V values: those of points that all tiles have, [points, tiles], then the others.

    Attributes:
      analysis: of inputs, [V, size].
      kernel: of its taps, [V, side]: the same rows for all tiles.
      synthesis: to outputs, [outputs, V].
      points: that all tiles have.
      tiles: their number.
    """

    analysis: np.ndarray
    kernel: np.ndarray
    synthesis: np.ndarray
    points: int
    tiles: int


def _axis(size: int, side: int, pad: tuple[int, int]) -> _Axis:
    """As few tiles as can be, that differ by one output at most: the larger ones have a point more, and come first."""
    count = size + sum(pad) - side + 1
    tiles = _tiles(count, side)
    least, larger = divmod(count, tiles)
    common, most = least + side - 1, count + (side - 1) * tiles
    analysis, kernel, synthesis = (np.zeros(shape) for shape in ((most, sum(pad) + size), (most, side), (count, most)))
    start = 0
    for t in range(tiles):
        made = least + (t < larger)
        points = _points(made + side - 1)
        rows = [t + tiles * k for k in range(common)] + [common * tiles + t] * (t < larger)
        analysis[rows, start : start + len(points)] = np.linalg.inv(_powers(points, len(points))).T
        kernel[rows] = _powers(points, side)
        synthesis[start : start + made, rows] = _powers(points, made).T
        start += made
    return _Axis(analysis[:, pad[0] : pad[0] + size], kernel, synthesis, common, tiles)  # zeros have no part in it


def _tiles(count: int, side: int) -> int:
    """Of so many outputs along an axis."""
    return -(-count // (MOST - side + 1))


def _points(length: int) -> tuple[float, ...]:
    """Infinity, then as many finite points: what a tile of fewer values has, one of more has too, in the same order."""
    return (np.inf, *POINTS[: length - 1])


def _powers(points: tuple[float, ...], length: int) -> np.ndarray:
    """1, p, p², ... of each point, [P, length]; at infinity the highest alone."""
    highest = np.eye(length)[-1]
    return np.array([highest if np.isinf(p) else p ** np.arange(length) for p in points])
