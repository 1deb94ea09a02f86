"""Minimal filtering against JAX's own convolution, and where it is taken."""

import functools

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
PADS = ((1, 1), (1, 1))


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
    shape = jax.eval_shape(lambda x, w: _native(x, w, pads), images, kernel).shape
    grad = jnp.asarray(np.random.RandomState(1).normal(size=shape), jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def both(function, *arguments):
        made, back = jax.vjp(lambda x, w: function(x, w, pads), *arguments)
        return made, back(grad)

    made, (to_images, to_kernel) = both(winograd.convolve, images, kernel)
    expected, (images_too, kernel_too) = both(_native, images, kernel)
    chex.assert_trees_all_close(made, expected, atol=CLOSE)
    chex.assert_trees_all_close(to_images, images_too, atol=CLOSE * np.sqrt(features / channels) + 1e-6)
    chex.assert_trees_all_close(to_kernel, kernel_too, atol=CLOSE * np.sqrt(2 * size[0] * size[1]))


@pytest.mark.slow
@pytest.mark.parametrize("side", winograd.SIDES)
def test_in_exact_arithmetic_it_is_the_convolution(side):
    """Y = S (A x · G w) for every single input and weight, in float64."""
    size, pads = (9, 10), ((1, 0), (0, 2))
    images = jnp.eye(90).reshape(90, *size, 1)
    kernels = jnp.eye(side**2).reshape(side, side, 1, side**2)
    expected = _native(images, kernels, pads).transpose(1, 2, 0, 3)  # [h, w, 90, side²]
    made = []
    for rows, form in winograd.strips(size, side, pads):
        seen = np.eye(90).reshape(*size, 90)[rows]
        found = np.einsum("vx,uy,xyn->vun", form.analysis.down, form.analysis.across, seen, dtype=np.float64)
        of_kernel = np.einsum("va,ub->vuab", form.kernel.down, form.kernel.across, dtype=np.float64)
        points, each = of_kernel.shape[1], found.shape[1] // of_kernel.shape[1]
        products = np.einsum(
            "vltn,vlk->vltnk", found.reshape(-1, points, each, 90), of_kernel.reshape(-1, points, side**2)
        )
        products = products.reshape(*found.shape, side**2)
        made.append(np.einsum("hv,wu,vunk->hwnk", form.synthesis.down, form.synthesis.across, products))
    assert len(made) > 1
    np.testing.assert_allclose(np.concatenate(made), expected, atol=2e-6)  # the matrices are rounded to float32


@pytest.mark.parametrize(
    ("size", "values"),
    [
        (4, 6),
        (8, 12),  # a quarter of 64 · 9
        (6, 10),  # two tiles of three
        (7, 11),  # of four and three
        (10, 16),  # of four, three and three
    ],
)
def test_tiles_along_an_axis_differ_by_one_output_at_most(size, values):
    assert winograd.values((size, size), 3, PADS) == (values, values)


def test_tiles_share_the_values_of_a_kernel():
    """Rows of tiles, and those of a row where all are equal."""
    strips = winograd.strips((8, 7), 3, PADS)
    assert [rows for rows, _ in strips] == [slice(0, 5), slice(3, 8)]
    assert {(form.kernel.down.shape, form.kernel.across.shape) for _, form in strips} == {((6, 3), (11, 3))}
    assert {form.kernel.across.shape for _, form in winograd.strips((7, 8), 3, PADS)} == {(6, 3)}
    inner = [form for _, form in winograd.strips((32, 8), 3, PADS)][1:-1]
    assert len(inner) == 6
    assert len(set(map(id, inner))) == 1  # the same matrices


@pytest.mark.parametrize(
    ("batch", "size", "channels", "stride", "dtype", "taken"),
    [
        (32, (7, 7), 64, 1, jnp.float32, True),
        (32, (28, 28), 64, 1, jnp.float32, True),
        (32, (7, 7), 64, 2, jnp.float32, False),
        (32, (7, 7), 64, 1, jnp.bfloat16, False),  # its roundings would be 2⁻⁸ times sums that cancel
        (32, (7, 7), 4, 1, jnp.float32, False),  # more in the transforms than is saved
        (1, (7, 7), 64, 1, jnp.float32, False),  # the kernel's own is not shared
        (0, (7, 7), 64, 1, jnp.float32, False),
        (4, (512, 16), 64, 1, jnp.float32, False),  # 128 rows of tiles would take 10 s to compile
        (4, (16, 64), 64, 1, jnp.float32, True),
    ],
    ids=["wide", "large", "strided", "half", "narrow", "one", "none", "tall", "flat"],
)
def test_it_is_taken_on_cpu_alone_where_it_pays(batch, size, channels, stride, dtype, taken, monkeypatch):
    filtered, convolve = [], winograd.convolve
    monkeypatch.setattr(winograd, "convolve", lambda *words, **more: filtered.append(None) or convolve(*words, **more))
    images = jax.ShapeDtypeStruct((batch, *size, channels), dtype)
    kernel = jax.ShapeDtypeStruct((3, 3, channels, 128), dtype)
    traced = jax.jit(lambda x, w: convolution.convolve(x, w, stride)).trace(images, kernel)
    assert bool(filtered) is taken
    assert "dot_general" in traced.lower(lowering_platforms=("cpu",)).as_text()
    assert "dot_general" not in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_mapped_over_kernels_it_is_taken_on_cpu_alone():
    images, kernels = jnp.ones((3, 32, 7, 7, 64)), jnp.ones((3, 3, 3, 64, 128))
    with convolution.many_kernels():
        traced = jax.jit(jax.vmap(lambda x, w: convolution.convolve(x, w, 1))).trace(images, kernels)
    assert "66x1x32x64xf32" in traced.lower(lowering_platforms=("cpu",)).as_text()
    on_gpu = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "66x1x32x64xf32" not in on_gpu
    assert "stablehlo.convolution" not in on_gpu


def test_an_export_does_not_take_it():
    (batch,) = jax.export.symbolic_shape("b")
    assert winograd.pays((32, 7, 7, 64), (3, 3, 64, 128), PADS)
    assert not winograd.pays((batch, 7, 7, 64), (3, 3, 64, 128), PADS)  # which serves single images


def test_a_batch_that_is_spread_over_devices_stays_so():
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    images, kernel = _arrays(32, (8, 8), 3, 48, 96)
    images = jax.device_put(images, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
    value = jax.grad(lambda x, w: jnp.sum(jnp.sin(winograd.convolve(x, w, PADS))), (0, 1))
    text = jax.jit(value).lower(images, kernel).compile().as_text()
    assert "all-reduce" in text  # of the kernel's gradient
    assert "all-gather" not in text


@pytest.mark.slow
def test_a_large_batch_is_computed_in_parts(monkeypatch):
    images, kernel = _arrays(220, (8, 8), 3, 48, 48)

    def value(x, w):
        return jnp.sum(jnp.sin(convolution.convolve(x, w, 1)))

    def program():
        return jax.jit(jax.value_and_grad(value, (0, 1))).lower(images, kernel)

    whole = program().compile()
    one_image = 144 * (48 + 48) * 4  # values, tiles, channels and features, bytes
    monkeypatch.setattr(convolution, "PATCH_BYTES", 30 * one_image)
    lowered = program()
    parts = lowered.compile()
    found, expected = parts(images, kernel), whole(images, kernel)
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=CLOSE * np.sqrt(14_080))  # products of each weight
    text = lowered.as_text()
    assert "tensor<36x2x30x48xf32>" in text
    assert "tensor<36x2x10x48xf32>" in text
    assert "tensor<36x2x220x48xf32>" not in text
    assert parts.memory_analysis().temp_size_in_bytes < whole.memory_analysis().temp_size_in_bytes
