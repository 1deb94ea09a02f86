"""Layers against JAX's own operations, and the autoencoder's shapes."""

from dataclasses import replace

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from variants import NO_NUMBERS

from aeflax import build, presets
from aeflax.config import Bernoulli, Conv, Dense, GaussianLikelihood, GaussianPosterior, Model, TopK
from aeflax.config.defaults import resolve
from aeflax.models import bottlenecks
from aeflax.models.layers import Conv as ConvLayer
from aeflax.models.layers import SubPixelConv, max_pool
from aeflax.outputs import Context


def test_sub_pixel_convolution_moves_channels_into_space():
    """Channel (row, column, feature) of a map goes to that row and column of its block (after Shi et al. 2016)."""
    layer = SubPixelConv(features=2, kernel=1, stride=2)
    params = {"conv": {"kernel": jnp.eye(8).reshape(1, 1, 8, 8), "bias": jnp.zeros(8)}}
    maps = jnp.arange(8.0).reshape(1, 1, 1, 8)
    out = layer.apply({"params": params}, maps)
    np.testing.assert_array_equal(out[0, :, :, 0], [[0, 2], [4, 6]])
    np.testing.assert_array_equal(out[0, :, :, 1], [[1, 3], [5, 7]])


@pytest.mark.slow
@pytest.mark.parametrize("side", [1, 2, 3])
def test_max_pooling_is_flax_own_with_its_gradient(side):
    """Sides that do not divide the map, too; every value differs, so a window has one largest."""
    maps = jax.random.permutation(jax.random.key(0), jnp.arange(2 * 7 * 5 * 3.0) - 100).reshape(2, 7, 5, 3)
    weights = jax.random.normal(jax.random.key(1), (2, -(-7 // side), -(-5 // side), 3))
    # Flax pads SAME on both sides, max_pool at the end: the end's zeros are put there by hand.
    ends = [(0, 0), (0, -7 % side), (0, -5 % side), (0, 0)]

    def reference(maps):
        padded = jnp.pad(maps, ends, constant_values=-jnp.inf)
        return nn.max_pool(padded, (side, side), (side, side))

    np.testing.assert_array_equal(max_pool(maps, side), reference(maps))
    ours, theirs = (
        jax.grad(lambda m, f=f: jnp.sum(f(m) * weights))(maps) for f in (lambda m: max_pool(m, side), reference)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_a_transposed_layer_is_flax_own():
    maps = jax.random.normal(jax.random.key(0), (2, 5, 4, 3))
    layer = ConvLayer(features=6, stride=2, transposed=True)
    params = layer.init(jax.random.key(1), maps)
    expected = nn.ConvTranspose(6, (3, 3), (2, 2), padding="SAME").apply(params, maps)
    # Sums of 27 products in another order: a few units in the last place of values of about 1.
    np.testing.assert_allclose(layer.apply(params, maps), expected, atol=3e-6)


def test_pooled_and_transposed_is_keras_convolutional_example():
    """28,353 parameters, as https://keras.io/examples/vision/autoencoder counts them; the code is 7 × 7 × 32."""
    backbone = Conv(features=(32, 32), down="max-pool", up="transposed", spatial=True)
    settings_ = resolve(replace(presets.vanilla(), model=Model(backbone=backbone)), (28, 28, 1), 60000)
    params, _ = jax.eval_shape(build.build(settings_, (28, 28, 1)).parts.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 28_353
    assert settings_.model.latent_dim == 7 * 7 * 32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot", lambda a, b: 2 / (a + b)),
        ("lecun", lambda a, b: 1 / a),
        ("he", lambda a, b: 2 / a),
        ("small", lambda a, b: 1e-4),
    ],
)
@pytest.mark.parametrize("backbone", [Dense(widths=(300,)), Conv(features=(24,), kernel=5)], ids=["dense", "conv"])
def test_initial_kernels_have_the_variance_that_is_asked_for(name, variance, backbone):
    settings_ = resolve(
        replace(presets.vanilla(), model=Model(latent_dim=16, backbone=backbone, initialization=name)), (28, 28, 1), 100
    )
    params, _ = jax.jit(build.build(settings_, (28, 28, 1)).parts.init)(jax.random.key(0))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if path[-1].key != "kernel":
            continue
        *window, inputs, outputs = leaf.shape
        area = np.prod(window)
        # Of n uniform values the mean square has a relative standard error of sqrt(4 / 5 / n): five of them.
        expected = variance(area * inputs, area * outputs)
        np.testing.assert_allclose(np.mean(np.square(leaf)), expected, rtol=5 * np.sqrt(0.8 / leaf.size))


SHAPES = [(28, 28, 1), (25, 25, 1), (7, 11, 3), (1, 1, 1), (32, 32, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "backbone",
    [
        Dense(),
        Dense(widths=(12, 7), activation="tanh"),
        Conv(features=(3, 5)),
        Conv(features=(4,), stride=3, kernel=5, normalization="layer", bias=False),
        Conv(features=(3, 5, 6), stride=1, normalization="group", activation="gelu"),
        Conv(features=(3, 5), spatial=True),
        Conv(features=(3, 5), down="max-pool", up="transposed", normalization="layer"),
        Conv(features=(4, 3), stride=3, kernel=1, down="max-pool", up="transposed", bias=False, spatial=True),
    ],
    ids=["dense", "deep", "conv", "conv-layer-norm", "conv-stride-1", "spatial", "pooled", "pooled-kernel-1"],
)
def test_output_has_the_inputs_shape(backbone, shape):
    """Abstract evaluation: shapes of every backbone and posterior, without compiling anything."""
    for bottleneck in (presets.vanilla().model.bottleneck, GaussianPosterior()):
        spatial = getattr(backbone, "spatial", False)
        model = Model(latent_dim=None if spatial else 4, backbone=backbone, bottleneck=bottleneck)
        settings_ = resolve(presets.vanilla().__class__(model=model), shape, 100)
        built = build.build(settings_, shape)
        params, _ = jax.eval_shape(built.parts.init, jax.random.key(0))
        images = jax.ShapeDtypeStruct((3, *shape), jnp.float32)
        outputs = jax.eval_shape(lambda p, x, b=built: b.parts.apply(p, {}, x, None, NO_NUMBERS, None), params, images)
        assert outputs.logits.shape == (3, *shape)
        assert outputs.latent.code.shape == (3, settings_.model.latent_dim)


def test_vectors_work_as_images_do():
    settings_ = resolve(presets.vae(3), (13,), 100)
    built = build.build(settings_, (13,))
    params, _ = jax.jit(built.parts.init)(jax.random.key(0))
    outputs = built.parts.apply(params, {}, jnp.ones((2, 13)), None, NO_NUMBERS, None)
    assert outputs.logits.shape == (2, 13)


def test_vanilla_is_the_classic_784_64_784():
    built = build.build(resolve(presets.vanilla(), (28, 28, 1), 60000), (28, 28, 1))
    params, _ = jax.eval_shape(built.parts.init, jax.random.key(0))
    shapes = {
        jax.tree_util.keystr(k, simple=True, separator="/"): v.shape
        for k, v in jax.tree_util.tree_leaves_with_path(params)
    }
    assert shapes == {
        "bottleneck/code/kernel": (784, 64),
        "bottleneck/code/bias": (64,),
        "decoder/output/kernel": (64, 784),
        "decoder/output/bias": (784,),
    }


@given(st.integers(1, 6), st.integers(0, 2**31 - 1))
@settings(deadline=None, max_examples=20)
def test_top_k_keeps_exactly_the_k_largest_positive_units(k, seed):
    hidden = np.random.RandomState(seed).randn(5, 6).astype(np.float32)
    context = Context(values={"k": jnp.float32(k)})
    code = np.asarray(bottlenecks.TopK(features=6, project=False).apply({}, hidden, context).code)
    for row, kept in zip(hidden, code, strict=True):
        expected = np.where(np.isin(np.arange(6), np.argsort(-row, kind="stable")[:k]), np.maximum(row, 0), 0)
        np.testing.assert_array_equal(kept, expected)


@pytest.mark.slow
def test_posterior_samples_have_the_posteriors_moments_and_no_keys_give_its_mean():
    module = bottlenecks.GaussianPosterior(features=2)
    hidden = jnp.tile(jnp.array([[0.3, -0.8]]), (20000, 1))
    params = module.init(jax.random.key(0), hidden[:1], Context())
    keys = jax.random.split(jax.random.key(1), len(hidden))
    latent = module.apply(params, hidden, Context(keys))
    deviation = np.exp(latent.log_var[0] / 2)
    standard_error = deviation / np.sqrt(len(hidden))
    assert np.all(np.abs(latent.code.mean(0) - latent.mean[0]) < 5 * standard_error)
    np.testing.assert_allclose(latent.code.std(0), deviation, rtol=0.03)
    still = module.apply(params, hidden, Context())
    np.testing.assert_array_equal(still.code, still.mean)


@pytest.mark.parametrize("magnitude", [1e4, 1e18])
def test_log_variances_are_bounded_so_that_the_kl_stays_finite(magnitude):
    module = bottlenecks.GaussianPosterior(features=2)
    params = module.init(jax.random.key(0), jnp.ones((1, 2)), Context())
    latent = module.apply(params, jnp.full((1, 2), magnitude), Context())
    assert np.all(np.abs(latent.log_var) <= bottlenecks.LOG_VAR_BOUND)
    chex.assert_tree_all_finite(jnp.exp(latent.log_var))


def test_relu_codes_start_with_every_unit_alive():
    """On the digits; with a zero bias 1 to 4 of 16 units never fire, and no gradient ever wakes them."""
    from aeflax.data.dataset import load

    dataset = load(presets.vanilla().data)
    rows = dataset.scaling.apply(dataset.train.values.reshape(len(dataset.train.values), -1))
    built = build.build(resolve(presets.vanilla(), dataset.shape, len(rows)), dataset.shape)
    params, _ = jax.jit(built.parts.init)(jax.random.key(0))
    code = built.module.apply({"params": params}, rows.reshape(-1, *dataset.shape), method="encode")
    assert np.all(np.asarray(code).max(axis=0) > 0)


def test_a_learned_scale_is_a_parameter_and_a_fixed_one_is_not():
    for scale, found in ((None, True), (1.0, False)):
        model = Model(latent_dim=2, likelihood=GaussianLikelihood(scale=scale))
        built = build.build(resolve(presets.vanilla().__class__(model=model), (5,), 10), (5,))
        params, _ = jax.eval_shape(built.parts.init, jax.random.key(0))
        assert ("log_scale" in params) is found


def test_decode_inverts_the_models_own_encoding():
    built = build.build(resolve(presets.vanilla(3), (6,), 10), (6,))
    params, _ = jax.jit(built.parts.init)(jax.random.key(0))
    images = jnp.linspace(0, 1, 12).reshape(2, 6)
    code = built.module.apply({"params": params}, images, method="encode")
    logits = built.module.apply({"params": params}, code, method="decode")
    np.testing.assert_array_equal(logits, built.parts.apply(params, {}, images, None, NO_NUMBERS, None).logits)


def test_top_k_and_bernoulli_are_kinds_of_their_slots():
    assert TopK.kind == "top-k"
    assert Bernoulli.kind == "bernoulli"
