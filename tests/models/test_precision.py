"""`train.precision` and `train.rematerialize`: what a model computes in, and what it keeps for its gradient."""

import re
from dataclasses import dataclass, replace

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import BY_VARIANT, NO_NUMBERS, SHAPE, Harness, experiment, images

from aeflax import build, factories
from aeflax.config import Backbone, Conv, Dense, Experiment, GaussianLikelihood, Model, Train
from aeflax.config.defaults import resolve
from aeflax.errors import ConfigError
from aeflax.models.bottlenecks import STATE
from aeflax.outputs import Context

BATCH = 128


def with_train(settings, **changes):
    return replace(settings, train=replace(settings.train, **changes))


def batch_mean(values):
    return jnp.mean(values, axis=0)


def losses(settings, shape=SHAPE, batch=BATCH):
    """(parameters -> loss over a batch, initial parameters, built)."""
    resolved = resolve(settings, shape, batch)
    built, hyper = build.build(resolved, shape), build.hyper(resolved)
    params, state = jax.jit(built.parts.init)(jax.random.key(0))
    targets = jnp.asarray(images(batch, shape), jnp.float32) / 255
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(1), i))(jnp.arange(batch))

    def loss(params):
        inputs = built.parts.corrupt(keys, targets, hyper)
        outputs = built.parts.apply(params, state, inputs, keys, hyper, batch_mean)
        for leaf in jax.tree.leaves(outputs):
            assert leaf.dtype == jnp.float32
        each, _ = built.parts.objective(outputs, targets, batch_mean, hyper, jnp.int32(5))
        return jnp.mean(each)

    return loss, params, built


def products(function, params):
    """Types of the matrix products and convolutions in a function's program, as given to the compiler."""
    text = jax.jit(function).lower(params).as_text()
    lines = [line for line in text.splitlines() if "dot_general" in line or "stablehlo.convolution" in line]
    return [re.findall(r"x(f32|bf16)>", line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_bfloat16_gradients_point_where_float32_ones_do(variant):
    """Eight bits of mantissa: each rounding is off by up to 0.4 %, and those of some layers add up, at random."""
    loss, params, _ = losses(experiment(variant))
    half, _, _ = losses(with_train(experiment(variant), precision="bfloat16"))
    (expected, exact), (found, rounded) = (jax.jit(jax.value_and_grad(f))(params) for f in (loss, half))
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    for leaf in jax.tree.leaves(rounded):
        assert leaf.dtype == jnp.float32
    one, other = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (exact, rounded))
    # .9990 measured for conv, whose untrained gradient is small beside its terms; .9993 and more for the others
    assert one @ other > 0.998 * np.linalg.norm(one) * np.linalg.norm(other)
    assert not np.array_equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_every_product_of_a_bfloat16_model_is_one_of_bfloat16(variant):
    loss, params, _ = losses(with_train(experiment(variant), precision="bfloat16"))
    found = products(jax.grad(loss), params)
    assert len(found) >= 5  # forward and backward
    assert all(set(types) == {"bf16"} for types in found), found
    single, params, _ = losses(experiment(variant))
    assert all(set(types) == {"f32"} for types in products(jax.grad(single), params))


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_a_bfloat16_run_is_finite_and_keeps_its_state_in_float32(variant):
    harness = Harness(with_train(experiment(variant), precision="bfloat16"))
    state, sums = harness.run(harness.initial(), 7)
    assert state.skipped == 0
    chex.assert_tree_all_finite((state, sums))
    single = Harness(experiment(variant))
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.device_get(state), jax.device_get(single.initial()))
    chex.assert_trees_all_equal_dtypes(sums, single.run(single.initial(), 1)[1])


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_noise_and_data_are_those_of_float32(variant):
    """What a model computes in decides nothing of what it is given."""
    _, _, half = losses(with_train(experiment(variant), precision="bfloat16"))
    _, _, single = losses(experiment(variant))
    assert half.parts is not single.parts
    harness = Harness(experiment(variant))
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(1), i))(jnp.arange(5))
    targets = jnp.asarray(images(5), jnp.float32) / 255
    seen = [np.asarray(built.parts.corrupt(keys, targets, harness.hyper)) for built in (half, single)]
    np.testing.assert_array_equal(*seen)


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_float32_adds_no_conversion_to_the_model(variant):
    _, params, built = losses(experiment(variant))
    _, state = jax.jit(built.parts.init)(jax.random.key(0))
    rows, hyper = jnp.ones((2, *SHAPE)), {"model": {"bottleneck": {"k": jnp.float32(2)}}}
    context = Context(values=hyper["model"]["bottleneck"])
    plain = lambda params: built.module.apply({"params": params, STATE: state}, rows, context)  # noqa: E731
    through = lambda params: built.parts.apply(params, state, rows, None, hyper, None)  # noqa: E731
    assert str(jax.make_jaxpr(through)(params)) == str(jax.make_jaxpr(plain)(params))


def test_decoding_computes_in_the_runs_precision():
    _, params, built = losses(with_train(experiment("vae"), precision="bfloat16"))
    codes = jnp.ones((3, 4))
    logits = built.decode(params, codes)
    assert logits.dtype == jnp.float32
    assert {types[-1] for types in products(lambda p: built.decode(p, codes), params)} == {"bf16"}


@pytest.mark.slow
def test_a_learned_scale_is_never_rounded():
    settings = with_train(Experiment(model=Model(latent_dim=3)), precision="bfloat16")
    settings = replace(settings, model=replace(settings.model, likelihood=GaussianLikelihood(scale=None)))
    _, params, built = losses(settings)
    value = jnp.float32(0.12345678)
    outputs = built.parts.apply(params | {"log_scale": value}, {}, jnp.ones((2, *SHAPE)), None, NO_NUMBERS, None)
    np.testing.assert_allclose(outputs.log_scale, value, rtol=2e-4)  # the bound's tanh
    assert outputs.log_scale != np.asarray(outputs.log_scale.astype(jnp.bfloat16), np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["layer", "group"])
def test_statistics_of_normalisation_are_float32(normalization):
    backbone = Conv(features=(8,), normalization=normalization)
    settings = with_train(Experiment(model=Model(latent_dim=3, backbone=backbone)), precision="bfloat16")
    loss, params, _ = losses(settings)
    with jax.numpy_dtype_promotion("standard"):  # Flax leaves conversions to JAX
        text = jax.jit(loss).lower(params).as_text()
    sums = [line for line in text.splitlines() if "stablehlo.reduce" in line and "add" in line]
    assert sums
    assert all("bf16" not in line for line in sums)


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_to_rematerialize_changes_neither_parameters_nor_results(variant):
    loss, params, _ = losses(experiment(variant))
    again, other, _ = losses(with_train(experiment(variant), rematerialize=True))
    chex.assert_trees_all_equal(params, other)  # the same names, the same values
    found = [jax.jit(jax.value_and_grad(f))(params) for f in (loss, again)]
    # Two programs, fused differently.
    chex.assert_trees_all_close(*found, rtol=1e-4, atol=1e-6)


DEEP = Dense(widths=(256,) * 8, activation="gelu")
MAPS = Conv(features=(8, 16), activation="gelu", normalization="layer")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "share"),
    [(DEEP, 0.35), (replace(DEEP, activation="relu"), 0.7), (MAPS, 0.15)],
    ids=["gelu", "relu", "convolutions"],
)
def test_to_rematerialize_keeps_fewer_bytes_for_the_gradient(backbone, share):
    """The input of each block is kept and no more of it: 30, 64 and 10 % were measured, with the weights.

    A relu keeps little but its output anyway.
    """

    def residual_bytes(rematerialize):
        settings = Experiment(model=Model(latent_dim=8, backbone=backbone), train=Train(rematerialize=rematerialize))
        _, params, built = losses(settings, (16, 16, 1), 256)
        inputs = jnp.zeros((256, 16, 16, 1))

        def forward(params):
            return built.parts.apply(params, {}, inputs, None, NO_NUMBERS, None).logits

        residuals = jax.eval_shape(lambda params: jax.vjp(forward, params)[1], params)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(residuals))

    assert residual_bytes(True) < share * residual_bytes(False)


@pytest.mark.slow
def test_to_rematerialize_takes_less_memory():
    """Deep, wide, a big batch: 866 and 610 MiB were measured, on CPU, where XLA keeps the products all the same."""
    taken = []
    for rematerialize in (False, True):
        backbone = Dense(widths=(512,) * 8, activation="gelu")
        settings = Experiment(model=Model(latent_dim=8, backbone=backbone), train=Train(rematerialize=rematerialize))
        loss, params, _ = losses(settings, (28, 28, 1), 8192)
        options = {"xla_backend_optimization_level": 3}
        compiled = jax.jit(jax.value_and_grad(loss)).lower(params).compile(options)
        taken.append(compiled.memory_analysis().temp_size_in_bytes)
    assert taken[1] < 0.75 * taken[0]


def test_a_backbone_that_cannot_rematerialize_says_so():
    @dataclass(frozen=True, kw_only=True)
    class Own(Backbone, kind="test-own"):
        """A user's backbone."""

    @factories.backbone.register
    def _(part: Own, shape):
        return nn.Dense(3), nn.Dense(3)

    try:
        settings = Experiment(model=Model(latent_dim=2, backbone=Own()), train=Train(rematerialize=True))
        with pytest.raises(ConfigError, match=r"train\.rematerialize"):
            build.build(resolve(settings, (3,), 8), (3,))
    finally:
        del Backbone.kinds["test-own"]
