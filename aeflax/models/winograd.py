"""Convolutions at stride 1 with fewer multiplications: Winograd's minimal filtering (Lavin & Gray, arXiv:1509.09308).

An axis is cut into tiles of m outputs. A tile and a kernel of side r are polynomials whose product is fixed by its
values at m + r - 1 points: the tile becomes as many values, so does the kernel, and their products take the place of
m · r. Over both axes 36 products give the 4×4 outputs that a 3×3 kernel otherwise takes 144 for.

With V = A x, U = G w and P the products of equal points, summed over channels, the outputs are S P. A, G and S are a
small matrix for each axis, in which its tiles and the zeros around the maps are contained: a processor multiplies
matrices well, where the sums that they stand for are many passes over memory.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]

# Finite points; the last one is at infinity. Of the sets tried these err least in float32 (docs/adr/0011).
POINTS = (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2)
MOST = len(POINTS) + 1  # values of a tile along an axis
SIDES = range(2, MOST)  # of kernels: each leaves a tile two outputs or more
STRIPS = 16  # rows of tiles, each of which is written out: more take long to compile
SMALL = 16  # pixels of a map whose two axes are transformed by one product
CACHE = 2**24  # bytes: a processor's, for the many that have another one
# What it takes to bring a number to where it is multiplied, in multiplications (docs/adr/0011): a value of an image,
# one of the kernel, and one of a patch, as long as patches fit the cache.
VALUE, WEIGHT, PATCH = 24, 40, 12


@dataclass(frozen=True, eq=False)
class Along:
    """A linear map of the two leading axes of an array: `down` [p, H] of the first, `across` [q, W] of the second."""

    down: np.ndarray
    across: np.ndarray

    @functools.cached_property
    def transposed(self) -> "Along":
        """The map back, [p, q] -> [H, W]."""
        return Along(np.ascontiguousarray(self.down.T), np.ascontiguousarray(self.across.T))


@dataclass(frozen=True, eq=False)
class Form:
    """The three maps of a row of tiles.

    Attributes:
      analysis: pixels of the rows that it sees to values, [rows, W] -> [v, V].
      kernel: taps to values, [side, side] -> [v, L], each of which V / L of a row's values meet.
      synthesis: products to outputs, [v, V] -> [outputs, w].
    """

    analysis: Along
    kernel: Along
    synthesis: Along


def outputs(size: tuple[int, ...], side: int, pads: Pads) -> tuple[int, ...]:
    """(h, w)."""
    return tuple(max(0, length + sum(pad) - side + 1) for length, pad in zip(size, pads, strict=True))


def values(size: tuple[int, ...], side: int, pads: Pads) -> tuple[int, ...]:
    """Values of one image's tiles along each axis, of each channel."""
    return tuple(count + (side - 1) * _tiles(count, side) for count in outputs(size, side, pads))


def pays(images: tuple[Any, ...], kernel: tuple[int, ...], pads: Pads) -> bool:
    """Whether it costs less than a product with patches: multiplications, and what waits for memory in as many of them.

    Args:
      images: (B, H, W, C); of an export, whose batch is symbolic and may be one, it is not believed to pay.
      kernel: (kh, kw, C, F).
      pads: zeros before and after height and width.
    """
    (batch, height, width, _), (side, other, channels, features) = images, kernel
    if not isinstance(batch, int) or side != other or side not in SIDES:
        return False
    made = outputs((height, width), side, pads)
    if not batch * math.prod(made) or _tiles(made[0], side) > STRIPS:
        return False
    down, across = values((height, width), side, pads)
    of_image = down * across
    filtered = of_image * (channels * features + (MOST + width + VALUE) * (channels + features))
    patches = math.prod(made) * side**2 * min(channels, features)
    gathered = patches * (max(channels, features) + (PATCH if 4 * batch * patches <= CACHE else 3 * PATCH))
    kept = WEIGHT * _of_kernel((height, width), side, pads) * channels * features
    return bool(batch * filtered + kept < batch * gathered)


def _of_kernel(size: tuple[int, int], side: int, pads: Pads) -> int:
    """Values of the kernel, of each pair of channels."""
    found = {len(form.kernel.down): form.kernel for _, form in strips(size, side, pads)}
    return sum(len(along.down) * len(along.across) for along in found.values())


@functools.cache
def strips(size: tuple[int, int], side: int, pads: Pads) -> tuple[tuple[slice, Form], ...]:
    """The rows that each row of tiles sees, and its maps, which alike ones share.

    Strips share values of the kernel; so do equal tiles of a row.

    Args:
      size: height and width of the images.
      side: of the square kernels, in SIDES.
      pads: zeros before and after height and width.
    """
    down, across = (_axis(length, side, pad) for length, pad in zip(size, pads, strict=True))
    analysis, taps, synthesis = _joined(across)
    if len({len(tile.kernel) for tile in across}) == 1:  # their values meet the same ones of the kernel
        taps = across[0].kernel
        order = np.arange(len(analysis)).reshape(len(across), -1).T.ravel()  # a point's values side by side
        analysis, synthesis = analysis[order], synthesis[:, order]
    found, forms = [], {}
    for tile in down:
        seen = np.flatnonzero(tile.analysis.any(axis=0))
        rows = slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0)
        of_rows = tile.analysis[:, rows]
        if (alike := (of_rows.shape, of_rows.tobytes())) not in forms:
            pairs = (of_rows, analysis), (tile.kernel, taps), (tile.synthesis, synthesis)
            forms[alike] = Form(*(Along(*(matrix.astype(np.float32) for matrix in pair)) for pair in pairs))
        found.append((rows, forms[alike]))
    return tuple(found)


def convolve(images: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """Convolution at stride 1: [B, H, W, C], [side, side, C, F] -> [B, h, w, F]; side in SIDES."""
    (batch, height, width, channels), (side, _, _, features) = images.shape, kernel.shape
    maps, weights, made = images.transpose(1, 2, 0, 3), {}, []
    for rows, form in strips((height, width), side, pads):
        points = len(form.kernel.down)
        if points not in weights:
            weights[points] = _mapped(form.kernel, kernel).reshape(-1, channels, features)
        found = _mapped(form.analysis, maps[rows])
        products = _products(found.reshape(len(weights[points]), -1, batch, channels), weights[points])
        made.append(_mapped(form.synthesis, products.reshape(*found.shape[:3], features)))
    return jnp.concatenate(made).transpose(2, 0, 1, 3)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _mapped(along: Along, maps: jax.Array) -> jax.Array:
    """[H, W, ...] -> [p, q, ...], whose gradient is made as it is needed: JAX's own is transposed afterwards."""
    (height, width, *others), (down, across) = maps.shape, (along.down, along.across)
    if height * width <= SMALL:
        both = jnp.tensordot(np.kron(down, across), maps.reshape(height * width, *others), 1)
        return both.reshape(len(down), len(across), *others)
    each = jnp.broadcast_to(across, (height, *across.shape))
    return jnp.tensordot(down, lax.dot_general(each, maps, (((2,), (1,)), ((0,), (0,)))), 1)


_mapped.defvjp(
    lambda along, maps: (_mapped(along, maps), None),
    lambda along, _, grad: (_mapped(along.transposed, grad),),
)


@jax.custom_vjp
def _products(of_images: jax.Array, of_kernel: jax.Array) -> jax.Array:
    """[K, T, B, C], [K, C, F] -> [K, T, B, F], each gradient as it is needed.

    Tiles and images stay axes of their own, so that a batch that is spread over devices stays so.
    """
    return lax.dot_general(of_images, of_kernel, (((3,), (1,)), ((0,), (0,))))


def _products_backward(kept: tuple[jax.Array, jax.Array], grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    of_images, of_kernel = kept
    to_images = lax.dot_general(grad, of_kernel, (((3,), (2,)), ((0,), (0,))))
    return to_images, lax.dot_general(of_images, grad, (((1, 2), (1, 2)), ((0,), (0,))))


_products.defvjp(
    lambda of_images, of_kernel: (_products(of_images, of_kernel), (of_images, of_kernel)), _products_backward
)


class _Tile(NamedTuple):
    """The maps of some outputs along an axis: of inputs [n, size], of taps [n, side], of products to outputs [m, n]."""

    analysis: np.ndarray
    kernel: np.ndarray
    synthesis: np.ndarray


def _axis(size: int, side: int, pad: tuple[int, int]) -> list[_Tile]:
    """As few tiles as can be, that differ by one output at most."""
    count = size + sum(pad) - side + 1
    found = []
    for made in np.array_split(np.arange(count), _tiles(count, side)):
        points = len(made) + side - 1
        analysis = np.zeros((points, sum(pad) + size))
        analysis[:, made[0] : made[0] + points] = np.linalg.inv(_powers(points, points)).T
        seen = analysis[:, pad[0] : pad[0] + size]  # the zeros around have no part in it
        found.append(_Tile(seen, _powers(points, side), _powers(points, len(made)).T))
    return found


def _joined(tiles: Sequence[_Tile]) -> _Tile:
    """Tiles side by side as one."""
    made, values = (np.cumsum([0, *(tile.synthesis.shape[axis] for tile in tiles)]) for axis in (0, 1))
    synthesis = np.zeros((made[-1], values[-1]))
    for place, tile in enumerate(tiles):
        synthesis[made[place] : made[place + 1], values[place] : values[place + 1]] = tile.synthesis
    return _Tile(np.vstack([tile.analysis for tile in tiles]), np.vstack([tile.kernel for tile in tiles]), synthesis)


def _tiles(count: int, side: int) -> int:
    """Of so many outputs along an axis."""
    return -(-count // (MOST - side + 1))


def _powers(points: int, length: int) -> np.ndarray:
    """1, p, p², ... of the first finite points, [P, length]; last, at infinity, the highest alone."""
    return np.vstack([np.vander(POINTS[: points - 1], length, increasing=True), np.eye(length)[-1]])
