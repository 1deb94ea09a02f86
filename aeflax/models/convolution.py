"""2-D convolutions with one result on every platform: `lax.conv_general_dilated` and `lax.conv_transpose`.

GPU and TPU get the native operation. On CPU, where XLA's own takes many times longer inside a training step
(docs/adr/0005), the same sum is one matrix product beside a gather of patches, on whichever side is narrower:

- gathered input: patches(x) · W, for a convolution;
- scattered output: patchesᵀ(x · W), for a transposed convolution.

At stride 1 both are the same map, and the side with fewer channels is taken. The gradient of either form is the
other. Where neither side is narrow, stride 1 has a third form, with as little as a quarter of the products:
`winograd`.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from aeflax.models import winograd
from aeflax.models.winograd import Pads

NARROW = 16  # channels below which patches are gathered in two passes, so that whole rows of them are copied
_many = ContextVar("many kernels", default=False)
PATCH_BYTES = 256 * 2**20  # of one layer: patches (or tiles) beyond it are made, and made again, for parts of a batch


@contextlib.contextmanager
def many_kernels() -> Iterator[None]:
    """Convolutions that are traced inside are to be mapped over kernels: products everywhere.

    Mapped, the native operation is a grouped convolution, which GPUs compute as slowly as one after another.
    """
    token = _many.set(True)
    try:
        yield
    finally:
        _many.reset(token)


def same_pads(sizes: tuple[int, ...], kernel: tuple[int, ...], stride: int) -> Pads:
    """Zeros before and after each axis such that ⌈size / stride⌉ outputs result."""
    totals = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(sizes, kernel, strict=True)]
    top, left = ((total // 2, total - total // 2) for total in totals)
    return top, left


def same_transposed_pads(kernel: tuple[int, ...], stride: int) -> Pads:
    """Zeros around the dilated input such that size · stride outputs result, as `lax.conv_transpose` places them."""
    totals = [k + stride - 2 for k in kernel]
    before = [k - 1 if stride > k - 1 else -(-total // 2) for k, total in zip(kernel, totals, strict=True)]
    top, left = ((a, total - a) for a, total in zip(before, totals, strict=True))
    return top, left


def convolve(images: jax.Array, kernel: jax.Array, stride: int, pads: Pads | None = None) -> jax.Array:
    """Convolution: [B, H, W, C], [kh, kw, C, F] -> [B, h, w, F].

    Args:
      images: what is convolved.
      kernel: weights, not flipped (a cross-correlation, as everywhere in the field).
      stride: of both axes.
      pads: zeros before and after height and width; None is SAME: h = ⌈H / stride⌉.
    """
    pads = same_pads(images.shape[1:3], kernel.shape[:2], stride) if pads is None else pads
    return _lowered(images, kernel, stride, pads, transposed=False)


def convolve_transposed(maps: jax.Array, kernel: jax.Array, stride: int, pads: Pads | None = None) -> jax.Array:
    """Transposed convolution: [B, h, w, C], [kh, kw, C, F] -> [B, H, W, F], as `lax.conv_transpose` defines it.

    Args:
      maps: what is spread out.
      kernel: weights, not flipped.
      stride: of both axes: zeros between neighbours are stride - 1.
      pads: zeros around the dilated maps; None is SAME: H = h · stride.
    """
    pads = same_transposed_pads(kernel.shape[:2], stride) if pads is None else pads
    return _lowered(maps, kernel, stride, pads, transposed=True)


def _lowered(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads, *, transposed: bool) -> jax.Array:
    windows, dilation = ((1, 1), (stride, stride)) if transposed else ((stride, stride), (1, 1))
    native = functools.partial(
        lax.conv_general_dilated,
        window_strides=windows,
        padding=pads,
        lhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    patches = functools.partial(_by_patches, stride=stride, pads=pads, transposed=transposed)
    filters = stride == 1 and x.dtype == jnp.float32 and winograd.pays(x.shape, kernel.shape, pads)
    on_cpu = functools.partial(_filtered, pads=pads) if filters else patches
    elsewhere = patches if _many.get() else native
    if on_cpu is elsewhere:
        return patches(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=elsewhere)  # type: ignore[no-any-return]


def _filtered(x: jax.Array, kernel: jax.Array, *, pads: Pads) -> jax.Array:
    values = math.prod(winograd.values(x.shape[1:3], kernel.shape[0], pads)) * sum(kernel.shape[2:])
    return _in_parts(functools.partial(winograd.convolve, pads=pads), x, kernel, values)


def _by_patches(x: jax.Array, kernel: jax.Array, *, stride: int, pads: Pads, transposed: bool) -> jax.Array:
    channels, features = kernel.shape[2:]
    scatters = transposed if stride > 1 else features < channels
    form = functools.partial(_scattered if scatters else _gathered, stride=stride, pads=pads)
    positions = math.prod(x.shape[1:3]) if scatters else math.prod(_outputs(x.shape[1:3], kernel.shape, stride, pads))
    width = math.prod(kernel.shape[:2]) * (features if scatters else channels)
    return _in_parts(form, x, kernel, positions * width)


def _in_parts(form: Callable[..., jax.Array], x: jax.Array, kernel: jax.Array, values: int) -> jax.Array:
    """What makes so many values of an image on its way, with no more of them at once than are allowed."""
    batch: Any = x.shape[0]  # an export's batch is symbolic, and is not parted
    an_image = values * x.dtype.itemsize
    if not isinstance(batch, int) or batch * an_image <= PATCH_BYTES:
        return form(x, kernel)
    # One part after the other, and again when differentiated: patches are neither all made nor kept.
    part = jax.checkpoint(lambda images: form(images, kernel))
    size = max(1, PATCH_BYTES // an_image)
    whole = batch // size * size
    made = lax.map(part, x[:whole].reshape(-1, size, *x.shape[1:]))
    made = made.reshape(whole, *made.shape[2:])
    return made if whole == batch else jnp.concatenate([made, part(x[whole:])])


def _gathered(images: jax.Array, kernel: jax.Array, *, stride: int, pads: Pads) -> jax.Array:
    patches = _patches(images, kernel.shape[:2], stride, pads)
    return _product(patches, kernel.reshape(-1, kernel.shape[-1]))


def _scattered(maps: jax.Array, kernel: jax.Array, *, stride: int, pads: Pads) -> jax.Array:
    """Every position of `maps` sends one value to each output that it reaches; outputs sum what they receive."""
    sides, (channels, features) = kernel.shape[:2], kernel.shape[2:]
    height, width = (
        (size - 1) * stride + 2 + sum(pad) - side for size, pad, side in zip(maps.shape[1:3], pads, sides, strict=True)
    )
    top, left = ((side - 1 - before, side - 1 - after) for side, (before, after) in zip(sides, pads, strict=True))
    output = jax.ShapeDtypeStruct((maps.shape[0], height, width, features), maps.dtype)
    gather = functools.partial(_patches, sides=sides, stride=stride, pads=(top, left))
    sent = _product(maps, jnp.flip(kernel, (0, 1)).transpose(2, 0, 1, 3).reshape(channels, -1))
    (received,) = jax.linear_transpose(gather, output)(sent)
    return received  # type: ignore[no-any-return]


def _patches(images: jax.Array, sides: tuple[int, ...], stride: int, pads: Pads) -> jax.Array:
    """The window under each output: [B, H, W, C] -> [B, h, w, kh · kw · C], ordered as kernels are."""
    padded = lax.pad(images, jnp.zeros((), images.dtype), ((0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)))

    def shifts(maps: jax.Array, axis: int) -> list[jax.Array]:
        side = sides[axis - 1]
        span = maps.shape[axis] - side + 1
        return [lax.slice_in_dim(maps, i, i + span, stride, axis) for i in range(side)]

    if images.shape[-1] < NARROW:
        columns = jnp.concatenate(shifts(padded, 2), axis=-1)
        return jnp.concatenate(shifts(columns, 1), axis=-1)
    return jnp.concatenate([window for rows in shifts(padded, 1) for window in shifts(rows, 2)], axis=-1)


@jax.custom_vjp
def _product(rows: jax.Array, weights: jax.Array) -> jax.Array:
    """[..., K] · [K, N], whose weights' gradient is taken as it lies: rowsᵀ · grad.

    Differentiated by itself it is (gradᵀ · rows)ᵀ, and XLA copies the gradient to transpose it: 15 % of C2.
    """
    return rows @ weights


def _product_backward(kept: tuple[jax.Array, jax.Array], grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows, weights = kept
    flat = rows.reshape(-1, rows.shape[-1])
    return grad @ weights.T, lax.dot_general(flat, grad.reshape(-1, grad.shape[-1]), (((0,), (0,)), ((), ())))


_product.defvjp(lambda rows, weights: (rows @ weights, (rows, weights)), _product_backward)


def _outputs(sizes: tuple[int, ...], sides: tuple[int, ...], stride: int, pads: Pads) -> list[int]:
    return [(size + sum(pad) - side) // stride + 1 for size, pad, side in zip(sizes, pads, sides[:2], strict=True)]
