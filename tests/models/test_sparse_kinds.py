"""Sparse codes: what training keeps, what inference keeps, and the gradients by thresholds."""

import json
from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import BATCH, EXAMPLES, SHAPE, Harness, experiment, images, table

import aeflax
from aeflax.config import L0, Penalties
from aeflax.data.order import permutation
from aeflax.engine.placement import Placement, choose
from aeflax.models.bottlenecks import DECAY, FIRST_THRESHOLD, jump
from aeflax.objectives import l0, l1, rate
from aeflax.outputs import Latent, Outputs

KINDS = ("batch-top-k", "jump-relu", "lifetime", "dictionary")


def batch_mean(values):
    return jnp.mean(values, axis=0)


def targets(harness, step):
    """The examples of a step, without its padding."""
    rows = table(permutation(3, 0, EXAMPLES), BATCH)[step]
    return jnp.asarray(harness.dataset.train.values[rows[rows >= 0]], jnp.float32).reshape(-1, *SHAPE) / 255


def code_of(harness, state, inputs, mean=None):
    outputs = harness.built.parts.apply(state.params, state.model, inputs, None, harness.hyper, mean)
    return np.asarray(outputs.latent.code)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2, 4])
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_devices_trains_alike(kind, pieces, devices):
    """Three batches an epoch, the last one masked. Sums run in another order: float32 rounding, by Adam amplified."""
    settings = experiment(kind)
    settings = replace(settings, train=replace(settings.train, accumulate=pieces))
    found = Placement("pmap" if devices > 1 else "jit", tuple(jax.devices()[:devices]))
    results = []
    for placement in (choose("jit"), found, choose("mesh")):
        harness = Harness(settings, placement)
        state, sums = harness.run(harness.initial(), 7)
        results.append(jax.device_get((state.params, state.model, sums)))
    for result in results[1:]:
        chex.assert_trees_all_close(result, results[0], rtol=1e-4, atol=1e-5)


def test_batch_top_k_keeps_so_many_units_an_example_over_the_whole_batch():
    """2.5 units an example: 40 of a full batch, 30 of the masked last one, wherever the examples lie."""
    harness = Harness(experiment("batch-top-k"))
    state = harness.initial()
    for step, examples in ((0, 16), (2, 12)):
        code = code_of(harness, state, targets(harness, step), batch_mean)
        assert (code > 0).sum() == 2.5 * examples
        assert len(set((code > 0).sum(axis=1))) > 1  # some examples have more than others


def test_the_threshold_of_inference_follows_those_of_the_batches():
    harness = Harness(experiment("batch-top-k"), choose("pmap"))
    state, expected = harness.initial(), None
    for step in range(3):
        code = code_of(harness, jax.device_get(state), targets(harness, step), batch_mean)
        least = code[code > 0].min()
        expected = least if expected is None else DECAY * expected + (1 - DECAY) * least
        state, _ = harness.run(state, 1)
        # The programs differ, so the code that decides differs in its last bits.
        np.testing.assert_allclose(state.model["bottleneck"]["threshold"], expected, rtol=1e-5)
    code = code_of(harness, jax.device_get(state), targets(harness, 0))
    assert code[code > 0].min() >= expected * (1 - 1e-5)
    assert (code == 0).any()


def test_lifetime_keeps_each_units_largest_in_training_and_all_in_inference():
    harness = Harness(experiment("lifetime"))
    inputs = targets(harness, 0)
    trained, whole = (code_of(harness, harness.initial(), inputs, mean) for mean in (batch_mean, None))
    kept = np.minimum((whole > 0).sum(axis=0), 5)  # .3 of 16: five, where there are so many
    np.testing.assert_array_equal((trained > 0).sum(axis=0), kept)
    for unit, all_of_it in zip(trained.T, whole.T, strict=True):
        np.testing.assert_allclose(np.sort(unit)[-5:], np.sort(all_of_it)[-5:], rtol=1e-6)
    assert (whole > 0).sum() > (trained > 0).sum()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_code_in_inference_depends_on_its_example_alone(kind):
    run = aeflax.train(experiment(kind), images(55))
    examples = images(20, seed=1)
    whole = run.encode(examples)
    alone = np.concatenate([run.encode(examples[i : i + 1]) for i in range(20)])
    mixed = run.encode(np.concatenate([examples, np.full((300, *SHAPE), 255, np.uint8)]))[:20]
    np.testing.assert_array_equal(whole, alone)
    np.testing.assert_array_equal(whole, mixed)
    assert (whole > 0).any()


@pytest.mark.slow
def test_a_code_in_training_depends_on_the_batch():
    """So that the test above can fail."""
    harness = Harness(experiment("batch-top-k"))
    inputs = targets(harness, 0)
    whole = code_of(harness, harness.initial(), inputs, batch_mean)
    alone = code_of(harness, harness.initial(), inputs[:1], batch_mean)
    assert not np.array_equal(whole[:1], alone)


def test_jump_relu_is_zero_up_to_its_threshold_and_the_identity_above():
    units = jnp.array([[-1.0, 0.05, 0.2, 3.0]])
    found = jump(units, jnp.full(4, 0.1), jnp.float32(0.5))
    np.testing.assert_array_equal(found.code, [[0, 0, np.float32(0.2), 3]])
    np.testing.assert_array_equal(found.active, [[0, 0, 1, 1]])


@pytest.mark.slow
@pytest.mark.parametrize("bandwidth", [0.01, 0.3, 2.0])
def test_the_gradients_of_jump_relu_are_the_papers(bandwidth):
    """Rajamanoharan et al. 2024: dJump/dθ = -(θ/ε) K((z-θ)/ε), dH/dθ = -(1/ε) K, K the rectangle of width 1."""
    random = np.random.RandomState(0)
    units, log_threshold = random.normal(0.3, 0.5, (200, 3)).astype(np.float32), np.log([0.1, 0.3, 0.9])
    downstream = random.normal(size=(200, 3)).astype(np.float32)

    def weighted(part, units, log_threshold):
        latent = jump(units, jnp.exp(log_threshold), jnp.float32(bandwidth))
        return jnp.sum(getattr(latent, part) * downstream)

    threshold = np.exp(log_threshold)
    kernel = np.abs((units - threshold) / bandwidth) < 0.5
    arguments = units, jnp.asarray(log_threshold, jnp.float32)
    by_units, by_log = jax.grad(weighted, argnums=(1, 2))("code", *arguments)
    np.testing.assert_array_equal(by_units, downstream * (units > threshold))
    # d/dlog θ = θ d/dθ
    np.testing.assert_allclose(by_log, threshold * (-threshold / bandwidth * kernel * downstream).sum(0), rtol=1e-4)
    by_units, by_log = jax.grad(weighted, argnums=(1, 2))("active", *arguments)
    np.testing.assert_array_equal(by_units, np.zeros_like(units))
    np.testing.assert_allclose(by_log, threshold * (-1 / bandwidth * kernel * downstream).sum(0), rtol=1e-4, atol=1e-4)
    assert kernel.any()


def test_thresholds_begin_low_and_the_penalty_raises_them():
    settings = experiment("jump-relu", steps=30)
    found = {}
    for weight in (0.0, 30.0):
        penalties = Penalties(l0=L0(weight=weight))
        harness = Harness(replace(settings, model=replace(settings.model, penalties=penalties)))
        start = harness.initial()
        np.testing.assert_allclose(np.exp(start.params["bottleneck"]["log_threshold"]), FIRST_THRESHOLD, rtol=1e-6)
        state, sums = harness.run(start, 30)
        found[weight] = state.params["bottleneck"]["log_threshold"].mean(), sums["l0"] / sums["weight"]
    assert found[30.0][0] > found[0.0][0]
    assert found[30.0][1] < found[0.0][1]


@pytest.mark.slow
@pytest.mark.parametrize("penalty", [l0, l1, rate])
def test_a_sparsity_penalty_rises_linearly_over_its_warm_up(penalty):
    code = jnp.array([[0.5, 0.25]])
    outputs = Outputs(logits=code, latent=Latent(code=code, active=jnp.ones_like(code)))
    values = {"weight": jnp.float32(3.0), "target": jnp.float32(0.1)}

    def charge(step, warmup):
        return penalty(outputs, batch_mean, values | {"warmup_steps": jnp.float32(warmup)}, jnp.int32(step))[0]

    full = charge(0, 0)
    assert float(full[0]) > 0
    for step, share in ((0, 0.25), (1, 0.5), (3, 1.0), (9, 1.0)):
        np.testing.assert_allclose(charge(step, 4), share * full, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_reproduces_the_uninterrupted_one_to_the_bit(kind, tmp_path):
    """The model's state included: `state_sha256` covers it."""
    whole = aeflax.train(experiment(kind, steps=7), images(55), run_dir=tmp_path / "whole", report=False)
    aeflax.train(experiment(kind, steps=4), images(55), run_dir=tmp_path / "parted", report=False)
    parted = aeflax.train(experiment(kind, steps=7), images(55), run_dir=tmp_path / "parted", resume=True, report=False)
    chex.assert_trees_all_equal(jax.device_get(parted.state), jax.device_get(whole.state))
    assert parted.summary["state_sha256"] == whole.summary["state_sha256"]
    if kind == "batch-top-k":
        assert float(parted.state.model["bottleneck"]["threshold"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_trained_evaluated_used_and_reported(kind, tmp_path):
    trained = aeflax.train(experiment(kind), images(55), run_dir=tmp_path / "run")
    run = aeflax.load(tmp_path / "run", images(55))
    found = run.evaluate("test")
    assert 0 < found["l0"] <= 6
    assert found == pytest.approx(json.loads((tmp_path / "run" / "summary.json").read_text())["test"], rel=1e-5)
    np.testing.assert_array_equal(run.encode(images(5)), trained.encode(images(5)))
    page = (tmp_path / "run" / "report.html").read_text()
    assert "sparse autoencoder" in page
    assert "dictionary" in page
