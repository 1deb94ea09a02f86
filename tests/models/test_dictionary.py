"""A decoder as a dictionary: directions of length one, idle units counted, dead ones that learn what is left over."""

from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import BATCH, EXAMPLES, SHAPE, Harness, experiment, table

import aeflax
from aeflax.cli.slots import choose_parts
from aeflax.config import Dictionary, Model, Optimizer
from aeflax.data.order import permutation
from aeflax.engine.placement import choose
from aeflax.models.dictionary import IDLE, across, counted, spare, with_directions

FEATURES = 9 * 7
SGD = Optimizer(name="sgd", learning_rate=1e-2, b1=0.0)


def batch_mean(values):
    return jnp.mean(values, axis=0)


def harness(placement=None, optimizer=None, **changes):
    settings = experiment("dictionary", optimizer=optimizer)
    record = replace(settings.model.dictionary, **changes)
    return Harness(replace(settings, model=replace(settings.model, dictionary=record)), placement)


def rows_of(step):
    rows = table(permutation(3, 0, EXAMPLES), BATCH)[step]
    return rows[rows >= 0]


def inputs_of(found, step):
    return jnp.asarray(found.dataset.train.values[rows_of(step)], jnp.float32).reshape(-1, *SHAPE) / 255


def decoder(params):
    return np.asarray(params["decoder"]["output"]["kernel"])


@pytest.mark.parametrize("unit_norm", [True, False])
def test_directions_begin_as_those_along_which_the_units_read(unit_norm):
    params = harness(unit_norm=unit_norm).initial().params
    reads = np.asarray(params["bottleneck"]["code"]["kernel"]).T
    expected = reads / np.linalg.norm(reads, axis=1, keepdims=True) if unit_norm else reads
    np.testing.assert_allclose(decoder(params), expected, rtol=1e-6)
    drawn = harness(unit_norm=unit_norm, transpose=False).initial().params
    assert not np.allclose(decoder(drawn), expected, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["jit", "pmap", "mesh"])
def test_directions_stay_of_length_one(placement):
    found = harness(choose(placement))
    state, _ = found.run(found.initial(), 7)
    np.testing.assert_allclose(np.linalg.norm(decoder(state.params), axis=1), 1.0, rtol=1e-6)
    free = harness(unit_norm=False)
    state, _ = free.run(free.initial(), 7)
    assert np.abs(np.linalg.norm(decoder(state.params), axis=1) - 1.0).max() > 1e-3


@pytest.mark.slow
def test_averaged_directions_are_of_length_one_too():
    found = harness(optimizer=Optimizer(learning_rate=0.1, ema=0.9))
    state, _ = found.run(found.initial(), 7)
    assert np.abs(decoder(state.ema) - decoder(state.params)).max() > 1e-2
    np.testing.assert_allclose(np.linalg.norm(decoder(state.ema), axis=1), 1.0, rtol=1e-6)


def test_the_part_of_a_gradient_along_its_direction_is_removed():
    random = np.random.RandomState(0)
    rows, slope = random.normal(size=(2, 4, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    empty = {"decoder": {"output": {"kernel": None, "bias": jnp.ones(5)}}}
    params, grads = (with_directions(empty, jnp.asarray(part)) for part in (rows, slope))
    found, _ = across().update(grads, (), params)
    np.testing.assert_allclose((decoder(found) * rows).sum(axis=1), 0.0, atol=1e-6)
    np.testing.assert_allclose(decoder(found), slope - (slope * rows).sum(1, keepdims=True) * rows, atol=1e-6)
    np.testing.assert_array_equal(found["decoder"]["output"]["bias"], np.ones(5))


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["jit", "pmap", "mesh"])
def test_examples_since_a_unit_was_active_are_counted_over_all_devices(placement):
    """The last of three batches has 12 examples."""
    found = harness(choose(placement))
    state, expected = found.initial(), np.zeros(6, int)
    for step in range(3):
        params, model = jax.device_get((state.params, state.model))
        outputs = found.built.parts.apply(params, model, inputs_of(found, step), None, found.hyper, batch_mean)
        active = (np.asarray(outputs.latent.code) > 0).any(axis=0)
        expected = np.where(active, 0, expected + len(rows_of(step)))
        state, _ = found.run(state, 1)
        np.testing.assert_array_equal(state.model[IDLE], expected)
    assert expected.any()
    assert not expected.all()


def test_a_count_does_not_overflow():
    idle = jnp.int32(2**31 - 5)
    assert int(counted(idle, jnp.float32(0.0), jnp.float32(2**24))) > 2**30


def test_only_the_largest_dead_units_are_spared():
    code = jnp.array([[5.0, 1.0, 2.0, 3.0], [9.0, 0.0, 0.0, 4.0]])
    dead = jnp.array([False, True, True, True])
    np.testing.assert_array_equal(spare(code, dead, 2), [[0, 0, 2, 3], [0, 0, 0, 4]])
    np.testing.assert_array_equal(spare(code, jnp.zeros(4, bool), 2), np.zeros((2, 4)))


@pytest.mark.slow
def test_the_loss_of_dead_units_is_what_they_make_of_the_residual():
    """Gao et al. 2024: weight · |e - ê|² of the detached residual e; here ½ / scale², as the likelihood has it."""
    found = harness()
    parts, hyper = found.built.parts, found.hyper
    state = found.initial()
    idle = jnp.array([99, 0, 99, 0, 99, 99], jnp.int32)
    model = state.model | {IDLE: idle}
    inputs = inputs_of(found, 0)

    def losses(params):
        outputs = parts.apply(params, model, inputs, None, hyper, batch_mean)
        loss, terms = parts.objective(outputs, inputs, batch_mean, hyper, jnp.int32(0))
        return jnp.sum(loss - terms["reconstruction_nats"]), (outputs, terms["auxk"])

    (extra, (outputs, gain)), grads = jax.value_and_grad(losses, has_aux=True)(state.params)
    dead = np.where(np.asarray(idle) >= 20, np.asarray(outputs.latent.unselected), 0.0)
    largest = np.argsort(-dead, axis=1, kind="stable")[:, :2]
    kept = np.zeros_like(dead)
    np.put_along_axis(kept, largest, np.take_along_axis(dead, largest, axis=1), axis=1)
    residual = np.asarray(inputs - outputs.logits).reshape(BATCH, -1)
    left = residual - kept @ decoder(state.params)
    expected = 0.5 / 0.5**2 * ((left**2).sum(axis=1) - (residual**2).sum(axis=1))
    np.testing.assert_allclose(gain, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(extra, expected.sum() / 32, rtol=1e-3)

    # Its gradient reaches dead units alone, and moves the residual by nothing.
    auxiliary = jax.grad(lambda params: jnp.sum(losses(params)[1][1]))(state.params)
    np.testing.assert_allclose(
        decoder(auxiliary), -(kept.T @ left) / 0.5**2, rtol=1e-3, atol=1e-4 * np.abs(decoder(auxiliary)).max()
    )
    alive = np.asarray(idle) == 0
    assert (np.asarray(auxiliary["bottleneck"]["code"]["kernel"])[:, alive] == 0).all()
    assert (np.asarray(auxiliary["decoder"]["output"]["bias"]) == 0).all()
    assert np.asarray(auxiliary["bottleneck"]["code"]["kernel"])[:, ~alive].any()
    chex.assert_tree_all_finite(grads)


@pytest.mark.slow
def test_without_dead_units_the_loss_is_that_without_the_term():
    results = []
    for weight in (1 / 32, None):
        found = harness(optimizer=SGD, dead_after=10**6, auxk_weight=weight)
        results.append(jax.device_get(found.run(found.initial(), 3)))
    (with_it, sums), (without, plain) = results
    chex.assert_trees_all_close(with_it.params, without.params, atol=1e-6)
    assert abs(sums["auxk"]) <= 1e-5 * abs(sums["loss"])
    assert "auxk" not in plain


@pytest.mark.slow
def test_a_pre_bias_is_taken_from_the_input_and_given_back():
    found = harness()
    state = found.initial()
    apply = found.built.parts.apply
    offset = np.random.RandomState(0).normal(size=SHAPE).astype(np.float32)
    moved = {**state.params, "pre_bias": {"value": jnp.asarray(offset)}}
    inputs = inputs_of(found, 0)
    plain = apply(state.params, state.model, inputs, None, found.hyper, None)
    shifted = apply(moved, state.model, inputs + offset, None, found.hyper, None)
    np.testing.assert_allclose(shifted.latent.code, plain.latent.code, atol=1e-5)
    np.testing.assert_allclose(shifted.logits, plain.logits + offset, atol=1e-5)
    trained, _ = found.run(state, 3)
    assert np.asarray(trained.params["pre_bias"]["value"]).any()
    assert "pre_bias" not in harness(pre_bias=False).initial().params


def test_idle_units_are_told_by_evaluation():
    run = aeflax.train(experiment("dictionary"), np.random.RandomState(0).randint(0, 256, (55, *SHAPE), np.uint8))
    idle = np.asarray(run.state.model[IDLE])
    assert run.evaluate("test")["idle_fraction"] == pytest.approx((idle >= 20).mean())
    assert run.evaluate("train")["idle_fraction"] == run.evaluate("test")["idle_fraction"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model.dictionary", "on"], Dictionary()),
        (["--model.dictionary.auxk", "3"], Dictionary()),
        (["--model.dictionary", "none"], None),
    ],
)
def test_a_dictionary_is_switched_on_and_off_by_name(words, expected):
    start = Model(dictionary=Dictionary(auxk=7)) if expected is None else Model()
    assert choose_parts(start, words)[0].dictionary == expected
