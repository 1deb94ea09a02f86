"""Minimal filtering against JAX's own convolution, and where it is taken."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from aeflax.models import convolution, winograd

LAYOUT = ("NHWC", "HWIO", "NHWC")
# Of outputs that are sums of variance 1. Float32 errs some four times as much in the transforms' sums, which cancel, as
# in the plain one: by 1.3e-5 at most in 2 · 10⁶ outputs at 64 to 256 channels.
CLOSE = 2e-5


def _native(images, kernel, pads):
    return lax.conv_general_dilated(images, kernel, (1, 1), pads, dimension_numbers=LAYOUT)


def _arrays(batch, size, side, channels, features):
    random = np.random.RandomState(0)
    images = random.normal(size=(batch, *size, channels))
    kernel = random.normal(size=(side, side, channels, features)) / np.sqrt(side * side * channels)
    return jnp.asarray(images, jnp.float32), jnp.asarray(kernel, jnp.float32)


@pytest.mark.slow
@given(
    size=st.tuples(st.integers(5, 10), st.integers(5, 10)),
    side=st.sampled_from(winograd.SIDES),
    pads=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
    channels=st.integers(1, 40),
    features=st.integers(1, 40),
)
@settings(deadline=None, max_examples=15)
def test_it_equals_xlas_own_convolution(size, side, pads, channels, features):
    images, kernel = _arrays(2, size, side, channels, features)
    made, back = jax.vjp(lambda x, w: winograd.convolve(x, w, pads), images, kernel)
    expected, theirs = jax.vjp(lambda x, w: _native(x, w, pads), images, kernel)
    chex.assert_trees_all_close(made, expected, atol=CLOSE)
    grad = jnp.asarray(np.random.RandomState(1).normal(size=made.shape), jnp.float32)
    (to_images, to_kernel), (images_too, kernel_too) = back(grad), theirs(grad)
    chex.assert_trees_all_close(to_images, images_too, atol=CLOSE * np.sqrt(features / channels) + 1e-6)
    chex.assert_trees_all_close(to_kernel, kernel_too, atol=CLOSE * np.sqrt(2 * size[0] * size[1]))


@pytest.mark.parametrize("side", winograd.SIDES)
def test_in_exact_arithmetic_it_is_the_convolution(side):
    """Y = S (A x · G w) for every single input and weight, in float64."""
    form = winograd.forms((7, 6), side, ((1, 0), (0, 2)))
    pixels, weights = np.eye(42), np.eye(side**2)
    values = (form.analysis.astype(np.float64) @ pixels).reshape(36, -1, 42)
    products = np.einsum("ptx,pw->ptxw", values, form.kernel.astype(np.float64) @ weights)
    made = form.synthesis.astype(np.float64) @ products.reshape(form.synthesis.shape[1], -1)
    images = jnp.asarray(pixels.reshape(42, 7, 6, 1), jnp.float32)
    kernels = jnp.asarray(weights.reshape(side, side, 1, side**2), jnp.float32)
    expected = _native(images, kernels, ((1, 0), (0, 2)))  # [42, h, w, side²]
    expected = expected.transpose(1, 2, 0, 3).reshape(made.shape)
    np.testing.assert_allclose(made, expected, atol=2e-6)  # the matrices are rounded to float32


def test_it_takes_a_quarter_of_the_products_of_three_by_three():
    assert winograd.values((8, 8), 3, ((1, 1), (1, 1))) * 4 == 64 * 9


@pytest.mark.parametrize(
    ("size", "channels", "features", "stride", "dtype", "taken"),
    [
        (7, 64, 128, 1, jnp.float32, True),
        (7, 64, 128, 2, jnp.float32, False),
        (7, 64, 128, 1, jnp.bfloat16, False),  # its roundings would be 2⁻⁸ times sums that cancel
        (7, 8, 128, 1, jnp.float32, False),  # more in the transforms than is saved
        (28, 64, 128, 1, jnp.float32, False),
        (512, 64, 64, 1, jnp.float32, False),  # whose matrices would take terabytes
    ],
    ids=["wide", "strided", "half", "narrow", "large", "huge"],
)
def test_it_is_taken_on_cpu_alone_where_it_pays(size, channels, features, stride, dtype, taken):
    images, kernel = jnp.ones((2, size, size, channels), dtype), jnp.ones((3, 3, channels, features), dtype)
    traced = jax.jit(lambda x, w: convolution.convolve(x, w, stride)).trace(images, kernel)
    values = f"tensor<36x4x2x{channels}xf32>"  # points, tiles, images, channels
    assert (values in traced.lower(lowering_platforms=("cpu",)).as_text()) is taken
    assert "dot_general" not in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_mapped_over_kernels_it_is_taken_on_cpu_alone():
    images, kernels = jnp.ones((3, 2, 7, 7, 64)), jnp.ones((3, 3, 3, 64, 128))
    with convolution.many_kernels():
        traced = jax.jit(jax.vmap(lambda x, w: convolution.convolve(x, w, 1))).trace(images, kernels)
    assert "36x4x2x64xf32" in traced.lower(lowering_platforms=("cpu",)).as_text()
    on_gpu = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "36x4x2x64xf32" not in on_gpu
    assert "stablehlo.convolution" not in on_gpu


@pytest.mark.slow
def test_a_large_batch_is_computed_in_parts(monkeypatch):
    images, kernel = _arrays(7, (8, 8), 3, 48, 48)

    def value(x, w):
        return jnp.sum(jnp.sin(convolution.convolve(x, w, 1)))

    whole = jax.value_and_grad(value, (0, 1))(images, kernel)
    one_image = 36 * 4 * (48 + 48) * 4  # values, tiles, channels and features, bytes
    monkeypatch.setattr(convolution, "PATCH_BYTES", 3 * one_image)
    program = jax.jit(jax.value_and_grad(value, (0, 1)))
    chex.assert_trees_all_close(program(images, kernel), whole, rtol=1e-5, atol=1e-4)  # 448 products of each weight
    text = program.lower(images, kernel).as_text()
    assert "tensor<3x36x4x1x48xf32>" in text  # the tiles of three images, and of the seventh alone
    assert not any(f"tensor<{n}x36x4x1x48xf32>" in text for n in (2, 4, 5, 6, 7))
    assert "tensor<36x4x7x48xf32>" not in text
