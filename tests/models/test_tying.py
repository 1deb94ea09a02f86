"""Tied weights: one kernel serves encoder and decoder, and learns from both."""

from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from variants import SHAPE, Harness, experiment, images

import aeflax
from aeflax import build, config
from aeflax.engine.placement import choose
from aeflax.errors import ConfigError
from aeflax.models.tying import completed

WIDTHS = [(), (8,), (12, 7)]
IDS = ["single", "one", "two"]
SGD = config.Optimizer(name="sgd", learning_rate=1e-2, b1=0.0)


def settings(widths=(), *, tied=True, variant="lifetime", optimizer=None):
    base = experiment(variant, optimizer=optimizer)
    return replace(base, model=replace(base.model, backbone=config.Dense(widths=widths, tied=tied)))


def layers(params):
    return {name: set(layer) for name, layer in params["decoder"].items()}


@pytest.mark.slow
@pytest.mark.parametrize("widths", WIDTHS, ids=IDS)
def test_kernels_are_held_once(widths):
    params = Harness(settings(widths)).initial().params
    names = ["output", *(f"dense_{i}" for i in range(len(widths)))]
    assert layers(params) == {name: {"bias"} for name in names}
    drawn = Harness(settings(widths, tied=False)).initial().params
    chex.assert_trees_all_equal(params["encoder"] if widths else {}, drawn["encoder"] if widths else {})
    chex.assert_trees_all_equal(params["bottleneck"], drawn["bottleneck"])


@pytest.mark.slow
@pytest.mark.parametrize("widths", WIDTHS, ids=IDS)
def test_the_decoder_is_the_encoder_transposed(widths):
    """By hand: a code of ones is led back through the encoder's kernels."""
    tied = Harness(settings(widths))
    params = tied.initial().params
    hidden = jnp.ones((2, 6))
    kernels = [params["bottleneck"]["code"]["kernel"]]
    kernels += [params["encoder"][f"dense_{i}"]["kernel"] for i in reversed(range(len(widths)))]
    for kernel in kernels[:-1]:
        hidden = jax.nn.relu(hidden @ kernel.T)  # biases are 0 at first
    expected = (hidden @ kernels[-1].T).reshape(2, *SHAPE)
    np.testing.assert_allclose(tied.built.decode(params, jnp.ones((2, 6))), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("widths", WIDTHS, ids=IDS)
def test_a_kernel_learns_from_both_places(widths):
    """A step of plain SGD on the shared kernel is that of the encoder's, plus the transposed one of the decoder's."""
    tied, free = Harness(settings(widths, optimizer=SGD)), Harness(settings(widths, tied=False, optimizer=SGD))
    begun = tied.initial()
    params = jax.device_get(begun.params)
    whole = jax.device_get(completed(params))
    apart = free.initial()
    apart = apart.replace(params=jax.device_put(whole))
    after, _ = tied.run(begun, 1)
    other, _ = free.run(apart, 1)
    moved = jax.tree.map(np.subtract, jax.device_get(other.params), whole)
    place = [("encoder", f"dense_{i}") for i in range(len(widths))] + [("bottleneck", "code")]
    back = ["output", *(f"dense_{i}" for i in reversed(range(len(widths))))]
    for (part, name), writer in zip(place, back, strict=True):
        expected = params[part][name]["kernel"] + moved[part][name]["kernel"] + moved["decoder"][writer]["kernel"].T
        np.testing.assert_allclose(after.params[part][name]["kernel"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_placements_agree():
    """Adam hides factors of gradients, SGD shows them."""
    found = {}
    for placement in ("jit", "pmap", "mesh"):
        harness = Harness(settings((8,), optimizer=SGD), choose(placement))
        found[placement] = jax.device_get(harness.run(harness.initial(), 7)[0].params)
    chex.assert_trees_all_close(found["pmap"], found["jit"], rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(found["mesh"], found["jit"], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_weights_that_are_exported_hold_a_tied_kernel_in_both_places(tmp_path):
    run = aeflax.train(settings((8,)), images(60), report=False)
    found = load_file(run.export("safetensors", tmp_path) / "model.safetensors")
    np.testing.assert_array_equal(found["decoder.output.kernel"], found["encoder.dense_0.kernel"].T)
    np.testing.assert_array_equal(found["decoder.dense_0.kernel"], found["bottleneck.code.kernel"].T)


def test_a_bottleneck_without_a_layer_to_the_code_has_nothing_to_tie():
    base = settings(variant="vae", tied=False)
    tied = replace(base.model, backbone=config.Dense(tied=True))
    built = build.build(replace(base, model=tied), SHAPE)  # unvalidated, as a bottleneck of a user's own would pass
    with pytest.raises(ConfigError, match="needs a bottleneck of one layer"):
        built.parts.init(jax.random.key(0))
