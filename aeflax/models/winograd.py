"""Convolutions at stride 1 with fewer multiplications: Winograd's minimal filtering (Lavin & Gray, arXiv:1509.09308).

An axis is cut into tiles of m outputs. A tile and a kernel of side r are polynomials whose product is fixed by its
values at n = m + r - 1 points: the tile becomes n values, the kernel becomes n values, and n products take the place of
m · r. Over both axes 36 products give the 16 outputs that a 3×3 kernel otherwise takes 144 for.

With V = A x, U = G w and P the products of equal points, summed over channels, the outputs are S P. A and S hold all
tiles and the zeros around the maps: for maps of the sizes inside an autoencoder they are small matrices, and that a
processor multiplies matrices well is the point.
"""

import functools
import math
from dataclasses import dataclass

import jax
import numpy as np
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]

# Finite points; the last one is at infinity. Of the sets tried these err least in float32 (docs/adr/0011).
POINTS = (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)
SIDE = len(POINTS) + 1  # values of a tile along an axis
SIDES = range(2, SIDE)  # of kernels: each leaves a tile two outputs or more


@dataclass(frozen=True)
class Forms:
    """The three linear maps of one geometry.

    Attributes:
      analysis: maps of height and width to the values of their tiles, [SIDE² · tiles, H · W].
      kernel: kernels to their values, [SIDE², side²].
      synthesis: products to outputs, [h · w, SIDE² · tiles].
      outputs: (h, w).
    """

    analysis: np.ndarray
    kernel: np.ndarray
    synthesis: np.ndarray
    outputs: tuple[int, int]

    @property
    def tiles(self) -> int:
        """Tiles of one image."""
        return len(self.analysis) // SIDE**2

    def multiplications(self, channels: int, features: int) -> int:
        """Those of one image."""
        products = SIDE**2 * self.tiles * channels * features
        return products + self.analysis.size * channels + self.synthesis.size * features


@functools.cache
def forms(size: tuple[int, int], side: int, pads: Pads) -> Forms:
    """The maps for images of a height and width, square kernels of a side in SIDES, and zeros around the images."""
    down, across = (_axis(length, side, pad) for length, pad in zip(size, pads, strict=True))
    analysis, synthesis = (
        np.einsum(spec, *pair).reshape(rows, -1).astype(np.float32)
        for spec, pair, rows in (
            ("ktx,lsy->kltsxy", (down[0], across[0]), SIDE**2 * down[0].shape[1] * across[0].shape[1]),
            ("okt,pls->opklts", (down[1], across[1]), len(down[1]) * len(across[1])),
        )
    )
    kernel = _matrices(side)[1]
    return Forms(analysis, np.kron(kernel, kernel).astype(np.float32), synthesis, (len(down[1]), len(across[1])))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(images: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """Convolution at stride 1: [B, H, W, C], [side, side, C, F] -> [B, h, w, F]; side in SIDES."""
    return _forward(images, kernel, pads)[0]


def _forward(images: jax.Array, kernel: jax.Array, pads: Pads) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    (batch, height, width, channels), features = images.shape, kernel.shape[-1]
    form = forms((height, width), kernel.shape[0], pads)
    values = lax.dot(form.analysis, _spatial(images)).reshape(SIDE**2, form.tiles * batch, channels)
    weights = lax.dot(form.kernel, kernel.reshape(-1, channels * features)).reshape(SIDE**2, channels, features)
    products = lax.dot_general(values, weights, (((2,), (1,)), ((0,), (0,))))
    out = lax.dot(form.synthesis, products.reshape(-1, batch * features))
    return _batched(out, batch, *form.outputs), (values, weights, images, kernel)


def _backward(pads: Pads, kept: tuple[jax.Array, ...], grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The transposes of `_forward`'s products, each with its result as it is needed."""
    values, weights, images, kernel = kept
    (batch, height, width, channels), features = images.shape, kernel.shape[-1]
    form = forms((height, width), kernel.shape[0], pads)
    products = lax.dot(form.synthesis.T, _spatial(grad)).reshape(SIDE**2, form.tiles * batch, features)
    to_weights = lax.dot_general(values, products, (((1,), (1,)), ((0,), (0,))))
    to_values = lax.dot_general(products, weights, (((2,), (2,)), ((0,), (0,))))
    to_kernel = lax.dot(form.kernel.T, to_weights.reshape(SIDE**2, channels * features))
    to_images = lax.dot(form.analysis.T, to_values.reshape(-1, batch * channels))
    return _batched(to_images, batch, height, width), to_kernel.reshape(kernel.shape)


convolve.defvjp(_forward, _backward)


def _spatial(maps: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [H · W, B · C]."""
    batch, height, width, channels = maps.shape
    return maps.reshape(batch, height * width, channels).transpose(1, 0, 2).reshape(height * width, batch * channels)


def _batched(maps: jax.Array, batch: int, height: int, width: int) -> jax.Array:
    """[H · W, B · C] -> [B, H, W, C]."""
    return maps.reshape(height * width, batch, -1).transpose(1, 0, 2).reshape(batch, height, width, -1)


def _axis(size: int, side: int, pad: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: inputs to tiles' values [SIDE, T, size], and products to outputs [outputs, SIDE, T]."""
    tile, _, outputs = _matrices(side)
    step, count = len(outputs), size + sum(pad) - side + 1
    tiles = math.ceil(count / step)
    padded = np.zeros((SIDE, tiles, tiles * step + side - 1))
    made = np.zeros((tiles * step, SIDE, tiles))
    for t in range(tiles):
        padded[:, t, t * step : t * step + SIDE] = tile
        made[t * step : (t + 1) * step, :, t] = outputs
    analysis = np.zeros((SIDE, tiles, size))
    inner = padded[:, :, pad[0] : pad[0] + size]  # what tiles see of zeros is nothing; the last may reach beyond them
    analysis[:, :, : inner.shape[2]] = inner
    return analysis, made[:count]


@functools.cache
def _matrices(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Toom's and Cook's for a tile: of inputs [SIDE, SIDE], of the kernel [SIDE, side], of outputs [m, SIDE]."""
    tile = np.linalg.inv(_powers(SIDE)).T
    largest = np.abs(tile).max(axis=1, keepdims=True)  # so that no point's products are far larger than others'
    return tile / largest, _powers(side) * largest, _powers(SIDE - side + 1).T


def _powers(length: int) -> np.ndarray:
    """1, p, p², ... of each point, [SIDE, length]; at infinity the highest alone."""
    return np.vstack([np.vander(POINTS, length, increasing=True), np.eye(length)[-1]])
