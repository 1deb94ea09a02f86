"""A batch computed in pieces, and in exact parts that give the same bits on any number of devices."""

from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import BY_VARIANT, Harness, experiment

from aeflax.config import GaussianLikelihood, Optimizer
from aeflax.engine.placement import Placement, choose
from aeflax.engine.team import ALONE, Division, total
from aeflax.rundir.checkpoint import state_sha256

SGD = Optimizer(name="sgd", learning_rate=1e-4, b1=0.0)
# What is taken from the batch is taken from one piece of it.
BATCH_WIDE = ("rate", "batch-top-k", "lifetime", "dictionary", "free-bits")


def trained(variant, placement, steps=7, **train):
    settings = experiment(variant, optimizer=SGD)
    harness = Harness(replace(settings, train=replace(settings.train, **train)), placement)
    state, sums = harness.run(harness.initial(), steps)
    return jax.device_get(state.params), sums, state_sha256(state)


def on(devices):
    return Placement("pmap" if devices > 1 else "jit", tuple(jax.devices()[:devices]))


@pytest.mark.slow
@pytest.mark.parametrize("variant", [case for case in BY_VARIANT if case.values[0] not in BATCH_WIDE])
def test_pieces_add_up_to_the_batch(variant):
    """The last batch has 12 of 16 examples: with four pieces on one device the last piece is all padding.

    SGD shows wrong factors that Adam would hide; the sums run in another order, so float32 rounding is what differs.
    """
    whole, whole_sums, _ = trained(variant, choose("jit"))
    start = jax.device_get(Harness(experiment(variant, optimizer=SGD)).initial().params)
    scale = max(float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (whole, start)), strict=True))
    assert scale > 0
    for placement in (choose("jit"), choose("pmap"), choose("mesh")):
        pieces, sums, _ = trained(variant, placement, accumulate=4)
        chex.assert_trees_all_close(pieces, whole, atol=1e-4 * scale)
        chex.assert_trees_all_close(sums, whole_sums, rtol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["rate", "batch-top-k", "lifetime", "dictionary"])
def test_what_is_batch_wide_sees_the_same_pieces_in_every_placement(variant):
    """A piece has every fourth example of the batch, wherever they lie; the last batch's fourth piece has none."""
    results = [trained(variant, choose(name), accumulate=4) for name in ("jit", "pmap", "mesh")]
    for params, sums, _ in results[1:]:
        chex.assert_trees_all_close(params, results[0][0], atol=1e-7)
        chex.assert_trees_all_close(sums, results[0][1], rtol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["rate", "free-bits"])
def test_a_batch_wide_penalty_sees_one_piece_and_stays_finite_on_padding(variant):
    _, whole, _ = trained(variant, choose("jit"))
    pieces, sums, _ = trained(variant, choose("jit"), accumulate=4)
    chex.assert_tree_all_finite(pieces)
    assert sums["weight"] == 16 * 5 + 12 * 2
    penalty = "rate" if variant == "rate" else "kl"
    assert np.isfinite(sums[penalty])
    if variant == "rate":  # a divergence is convex: of means over fewer examples it is larger
        assert sums[penalty] > 1.0001 * whole[penalty]


@pytest.mark.slow
def test_pieces_are_computed_one_after_another():
    """The memory that the compiled loop needs beside its arguments falls."""
    sizes = []
    for pieces in (1, 8):
        settings = experiment("conv")
        settings = replace(
            settings, data=replace(settings.data, batch_size=256), train=replace(settings.train, accumulate=pieces)
        )
        harness = Harness(settings, array=np.zeros((400, 28, 28, 1), np.uint8))
        chunk = harness.feed.chunk(0, 1)
        sums = {name: jnp.float32(0) for name in ("weight", "loss", "gradient_norm", *harness.built.parts.terms)}
        arguments = (harness.initial(), sums, chunk.source, chunk.order, 0, 1, harness.key, harness.hyper)
        sizes.append(harness.epoch.lower(*arguments).compile().memory_analysis().temp_size_in_bytes)
    assert sizes[1] < sizes[0] / 2, sizes


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_exact_mode_gives_the_same_bits_on_any_number_of_devices(variant):
    digests = {trained(variant, on(devices), exact=True)[2] for devices in (1, 2, 4)}
    assert len(digests) == 1


@pytest.mark.parametrize("variant", [case for case in BY_VARIANT if case.values[0] not in BATCH_WIDE])
def test_exact_mode_trains_as_the_plain_one_does(variant):
    plain, plain_sums, plain_digest = trained(variant, choose("jit"))
    exact, sums, digest = trained(variant, choose("jit"), exact=True)
    chex.assert_trees_all_close(exact, plain, atol=1e-5)
    chex.assert_trees_all_close(sums, plain_sums, rtol=2e-5)
    assert digest != plain_digest  # another order of sums: the mode is on


def test_exact_parts_are_added_in_their_order():
    """1e8 and -1e8 swallow a one between them, in float32; in any other order it would be left over."""
    parts = jnp.repeat(jnp.array([1e8, 1.0, -1e8, 0, 0, 0, 0, 0]), 2)

    found = jax.jit(lambda x: total(lambda share: share[0], x, Division(8, exact=True), ALONE, jnp.int32(0)))(parts)
    assert float(found) == 0.0


def test_a_batch_that_does_not_divide_into_pieces_names_the_nearest_that_does():
    with pytest.raises(ValueError, match=r"batch_size=18 does not divide over 4 devices in 2 pieces each; try 16"):
        choose("pmap").require_shares(18, Division(2))
    with pytest.raises(ValueError, match=r"batch_size=20 does not divide into 8 exact parts; try 16"):
        choose("jit").require_shares(20, Division(exact=True))
    with pytest.raises(ValueError, match="1, 2, 4 or 8 devices, not on 3"):
        on(3).require_shares(24, Division(exact=True))


@pytest.mark.slow
def test_a_learned_scale_is_trained_in_pieces_as_in_one():
    """What the outputs hold beside values of examples, such as a scale, is no part of a piece."""
    settings = experiment("vanilla", optimizer=SGD)
    settings = replace(settings, model=replace(settings.model, likelihood=GaussianLikelihood(scale=None)))
    results = []
    for pieces in (1, 4):
        harness = Harness(replace(settings, train=replace(settings.train, accumulate=pieces)))
        results.append(jax.device_get(harness.run(harness.initial(), 3)[0].params))
    # Sums in another order: float32 rounding.
    chex.assert_trees_all_close(*results, atol=1e-6)
