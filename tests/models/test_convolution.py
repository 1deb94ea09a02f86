"""Convolutions against JAX's own, for any geometry, on the CPU's form and on the accelerators'."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from aeflax.models import convolution
from aeflax.models.convolution import convolve, convolve_transposed

LAYOUT = ("NHWC", "HWIO", "NHWC")
# Sums of at most 25 · 5 float32 products, in another order; gradients sum over positions too.
CLOSE, GRADIENTS_CLOSE = 5e-5, 5e-4


def _arrays(size, sides, channels, features, batch=2):
    random = np.random.RandomState(0)
    images = random.randn(batch, *size, channels)
    kernel = random.randn(*sides, channels, features)
    return jnp.asarray(images, jnp.float32), jnp.asarray(kernel, jnp.float32)


def _require_same(ours, theirs, *arguments):
    """Values and gradients of two functions of the same arrays."""

    def both(x, w, f):
        made, back = jax.vjp(f, x, w)
        return made, back(jnp.cos(made))

    (made, found), (expected, gradients) = (jax.jit(both, static_argnums=2)(*arguments, f) for f in (ours, theirs))
    chex.assert_trees_all_close(made, expected, atol=CLOSE)
    chex.assert_trees_all_close(found, gradients, atol=GRADIENTS_CLOSE)


GEOMETRY = {
    "size": st.tuples(st.integers(1, 9), st.integers(1, 9)),
    "sides": st.tuples(st.integers(1, 5), st.integers(1, 5)),
    "stride": st.integers(1, 3),
    "channels": st.integers(1, 5),
    "features": st.integers(1, 5),
}


@given(**GEOMETRY)
@settings(deadline=None, max_examples=15)
@pytest.mark.slow
def test_same_convolution_equals_xlas_own(size, sides, stride, channels, features):
    _require_same(
        lambda x, w: convolve(x, w, stride),
        lambda x, w: lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=LAYOUT),
        *_arrays(size, sides, channels, features),
    )


@given(**GEOMETRY)
@settings(deadline=None, max_examples=15)
@pytest.mark.slow
def test_same_transposed_convolution_equals_xlas_own(size, sides, stride, channels, features):
    _require_same(
        lambda x, w: convolve_transposed(x, w, stride),
        lambda x, w: lax.conv_transpose(x, w, (stride, stride), "SAME", dimension_numbers=LAYOUT),
        *_arrays(size, sides, channels, features),
    )


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels_features", [(2, 5), (5, 2)], ids=["wider", "narrower"])
@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((2, 0), (1, 3))], ids=["valid", "uneven"])
@pytest.mark.parametrize("narrow", [1, 16], ids=["one-pass", "two-passes"])
def test_explicit_padding_equals_xlas_own(stride, channels_features, pads, narrow, monkeypatch):
    monkeypatch.setattr(convolution, "NARROW", narrow)
    _require_same(
        lambda x, w: convolve(x, w, stride, pads),
        lambda x, w: lax.conv_general_dilated(x, w, (stride, stride), pads, dimension_numbers=LAYOUT),
        *_arrays((7, 6), (3, 4), *channels_features),
    )
    _require_same(
        lambda x, w: convolve_transposed(x, w, stride, pads),
        lambda x, w: lax.conv_transpose(x, w, (stride, stride), pads, dimension_numbers=LAYOUT),
        *_arrays((7, 6), (3, 4), *channels_features),
    )


def test_a_convolution_is_the_transposed_ones_gradient():
    """⟨convolve(x), y⟩ = ⟨x, transposed(y)⟩ with the kernel flipped and its channels exchanged."""
    images, kernel = _arrays((8, 6), (3, 3), 2, 3)
    y = jnp.asarray(np.random.RandomState(1).randn(2, 4, 3, 3), jnp.float32)
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    # SAME pads an even size with stride 2 only after it: its gradient pads by k - 1 before and k - 2 after.
    back = convolve_transposed(y, flipped, 2, ((2, 1), (2, 1)))
    left, right = jnp.vdot(convolve(images, kernel, 2), y), jnp.vdot(images, back)
    np.testing.assert_allclose(left, right, rtol=1e-5)  # a few hundred float32 products


@pytest.mark.slow
@pytest.mark.parametrize("channels_features", [(2, 5), (5, 2)], ids=["gathered", "scattered"])
def test_large_patches_are_made_in_parts(monkeypatch, channels_features):
    images, kernel = _arrays((6, 5), (3, 3), *channels_features, batch=7)

    def value(x, w):
        return jnp.sum(jnp.sin(convolve(x, w, 1)))

    whole = jax.value_and_grad(value, (0, 1))(images, kernel)
    one_image = 6 * 5 * 9 * 2 * 4  # positions, kernel, the narrower side's channels, bytes
    monkeypatch.setattr(convolution, "PATCH_BYTES", 3 * one_image)
    parts = jax.value_and_grad(value, (0, 1))(images, kernel)
    chex.assert_trees_all_close(parts, whole, atol=GRADIENTS_CLOSE)
    program = jax.jit(jax.grad(value, (0, 1))).lower(images, kernel)
    patches = {f"tensor<{n}x6x5x18xf32>" in program.as_text() for n in (4, 5, 6, 7)}
    assert patches == {False}, "more than three images' patches exist at once"


@pytest.mark.parametrize("operation", [convolve, convolve_transposed])
def test_accelerators_get_the_native_convolution(operation):
    traced = jax.jit(lambda x, w: operation(x, w, 2)).trace(jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3, 4)))
    for platform, native in (("cuda", True), ("tpu", True), ("cpu", False)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.convolution" in text) is native, platform


@pytest.mark.parametrize(("channels", "features"), [(2, 9), (9, 2)])
def test_patches_are_made_of_the_narrower_side(channels, features):
    traced = jax.jit(lambda x, w: convolve(x, w, 1)).trace(
        jnp.ones((1, 8, 8, channels)), jnp.ones((3, 3, channels, features))
    )
    text = traced.lower(lowering_platforms=("cpu",)).as_text()
    assert "x18xf32" in text
    assert "x81xf32" not in text
