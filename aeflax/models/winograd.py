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
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]

# Finite points; the last one is at infinity. Of the sets tried these err least in float32 (docs/adr/0011).
POINTS = (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)
SIDE = len(POINTS) + 1  # values of a tile along an axis
SIDES = range(2, SIDE)  # of kernels: each leaves a tile two outputs or more
LARGEST = 2**18  # numbers in a constant matrix, a MiB of every program: maps up to 17×17
KERNEL = 4  # what a multiplication of the kernel's transform costs, which waits for memory, in others


@dataclass(frozen=True)
class Forms:
    """The three linear maps of one geometry.

    Attributes:
      analysis: maps of height and width to the values of their tiles, [SIDE² · tiles, H · W].
      kernel: kernels to their values, [SIDE², side²].
      synthesis: products to outputs, [h · w, SIDE² · tiles].
    """

    analysis: np.ndarray
    kernel: np.ndarray
    synthesis: np.ndarray

    @property
    def tiles(self) -> int:
        """Of one image."""
        return len(self.analysis) // SIDE**2


def outputs(size: tuple[int, ...], side: int, pads: Pads) -> tuple[int, ...]:
    """(h, w)."""
    return tuple(max(0, length + sum(pad) - side + 1) for length, pad in zip(size, pads, strict=True))


def values(size: tuple[int, ...], side: int, pads: Pads) -> int:
    """Values of one image's tiles, of each channel."""
    return SIDE**2 * math.prod(-(-count // (SIDE - side + 1)) for count in outputs(size, side, pads))


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
    an_image = each * (channels * features + taken * channels + made * features)
    return bool(batch * an_image + KERNEL * SIDE**2 * math.prod(kernel) < batch * made * math.prod(kernel))


@functools.cache
def forms(size: tuple[int, int], side: int, pads: Pads) -> Forms:
    """The maps for images of a height and width, square kernels of a side in SIDES, and zeros around the images."""
    down, across = (_axis(length, side, pad) for length, pad in zip(size, pads, strict=True))
    analysis = np.einsum("ktx,lsy->kltsxy", down[0], across[0]).reshape(-1, math.prod(size))
    kernel = np.kron(_matrices(side)[1], _matrices(side)[1])
    synthesis = np.einsum("okt,pls->opklts", down[1], across[1]).reshape(len(down[1]) * len(across[1]), -1)
    return Forms(*(matrix.astype(np.float32) for matrix in (analysis, kernel, synthesis)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(images: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """Convolution at stride 1: [B, H, W, C], [side, side, C, F] -> [B, h, w, F]; side in SIDES."""
    return _forward(images, kernel, pads)[0]


def _forward(images: jax.Array, kernel: jax.Array, pads: Pads) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    (batch, height, width, channels), (side, _, _, features) = images.shape, kernel.shape
    form = forms((height, width), side, pads)
    tiles = jnp.tensordot(form.analysis, _spatial(images), 1).reshape(SIDE**2, form.tiles, batch, channels)
    weights = jnp.tensordot(form.kernel, kernel.reshape(-1, channels, features), 1)
    products = lax.dot_general(tiles, weights, (((3,), (1,)), ((0,), (0,))))
    made = jnp.tensordot(form.synthesis, products.reshape(SIDE**2 * form.tiles, batch, features), 1)
    return _batched(made, outputs((height, width), side, pads)), (tiles, weights, images, kernel)


def _backward(pads: Pads, kept: tuple[jax.Array, ...], grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The transposes of `_forward`'s products, each with its result as it is needed."""
    tiles, weights, images, kernel = kept
    (batch, height, width, channels), (side, _, _, features) = images.shape, kernel.shape
    form = forms((height, width), side, pads)
    products = jnp.tensordot(form.synthesis.T, _spatial(grad), 1).reshape(SIDE**2, form.tiles, batch, features)
    to_weights = lax.dot_general(tiles, products, (((1, 2), (1, 2)), ((0,), (0,))))
    to_tiles = lax.dot_general(products, weights, (((3,), (2,)), ((0,), (0,))))
    to_kernel = jnp.tensordot(form.kernel.T, to_weights, 1)
    to_images = jnp.tensordot(form.analysis.T, to_tiles.reshape(SIDE**2 * form.tiles, batch, channels), 1)
    return _batched(to_images, (height, width)), to_kernel.reshape(kernel.shape)


convolve.defvjp(_forward, _backward)


def _spatial(maps: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [H · W, B, C]."""
    batch, height, width, channels = maps.shape
    return maps.reshape(batch, height * width, channels).swapaxes(0, 1)


def _batched(maps: jax.Array, size: tuple[int, ...]) -> jax.Array:
    """[H · W, B, C] -> [B, H, W, C]."""
    _, batch, channels = maps.shape
    return maps.swapaxes(0, 1).reshape(batch, *size, channels)


def _axis(size: int, side: int, pad: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Along one axis: inputs to tiles' values [SIDE, T, size], and products to outputs [outputs, SIDE, T]."""
    tile, _, made = _matrices(side)
    step, count = len(made), size + sum(pad) - side + 1
    tiles = -(-count // step)
    padded = np.zeros((SIDE, tiles, tiles * step + side - 1))
    synthesis = np.zeros((tiles * step, SIDE, tiles))
    for t in range(tiles):
        padded[:, t, t * step : t * step + SIDE] = tile
        synthesis[t * step : (t + 1) * step, :, t] = made
    analysis = np.zeros((SIDE, tiles, size))
    inner = padded[:, :, pad[0] : pad[0] + size]  # what tiles see of zeros is nothing; the last may reach beyond them
    analysis[:, :, : inner.shape[2]] = inner
    return analysis, synthesis[:count]


@functools.cache
def _matrices(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Toom's and Cook's for a tile: of inputs [SIDE, SIDE], of the kernel [SIDE, side], of outputs [m, SIDE]."""
    tile = np.linalg.inv(_powers(SIDE)).T
    largest = np.abs(tile).max(axis=1, keepdims=True)  # so that no point's products are far larger than others'
    return tile / largest, _powers(side) * largest, _powers(SIDE - side + 1).T


def _powers(length: int) -> np.ndarray:
    """1, p, p², ... of each point, [SIDE, length]; at infinity the highest alone."""
    return np.vstack([np.vander(POINTS, length, increasing=True), np.eye(length)[-1]])
