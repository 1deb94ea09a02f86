"""Optimizers by name against Optax's own, and the learning-rate shapes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aeflax.optimizers import schedule, transformation

PARAMS = {"dense": {"kernel": jnp.linspace(-1, 1, 12).reshape(3, 4), "bias": jnp.linspace(0.5, 1, 4)}}
VALUES = {name: jnp.float32(v) for name, v in {"b1": 0.9, "b2": 0.99, "eps": 1e-8, "final": 0.1, "factor": 0.5}.items()}
MASK = {"dense": {"kernel": True, "bias": False}}


@pytest.fixture(autouse=True)
def _standard_promotion():
    """Optax raises a traced float to an integer count, which strict promotion forbids."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def train(tx, steps=4):
    params, state = PARAMS, tx.init(PARAMS)
    for _ in range(steps):
        grads = jax.grad(lambda p: jnp.sum(jnp.sin(p["dense"]["kernel"]) @ p["dense"]["bias"]))(params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


OWN = {
    "adam": optax.adam(0.01, 0.9, 0.99),
    "adamw": optax.adamw(0.01, 0.9, 0.99, weight_decay=0.1, mask=MASK),
    "sgd": optax.sgd(0.01, momentum=0.9),
    "lion": optax.lion(0.01, 0.9, 0.99, weight_decay=0.1, mask=MASK),
    "lamb": optax.lamb(0.01, 0.9, 0.99, eps=1e-8, weight_decay=0.1, mask=MASK),
    "muon": optax.contrib.muon(0.01, beta=0.8, adam_b1=0.9, adam_b2=0.99, weight_decay=0.1, weight_decay_mask=MASK),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_each_name_is_optaxs_optimizer(name):
    values = VALUES | ({} if name in ("adam", "sgd") else {"weight_decay": jnp.float32(0.1)})
    if name == "muon":  # its b1 is the momentum of matrices
        values |= {"b1": jnp.float32(0.8)}
    chex.assert_trees_all_close(train(transformation(name, jnp.float32(0.01), values)), train(OWN[name]), rtol=1e-5)


@pytest.mark.parametrize("name", OWN)
def test_numbers_may_be_traced(name):
    @jax.jit
    def one(values, learning_rate):
        tx = transformation(name, learning_rate, values)
        updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
        return updates

    values = VALUES | {"weight_decay": jnp.float32(0.1), "clip_norm": jnp.float32(0.5)}
    chex.assert_trees_all_close(one(values, jnp.float32(0)), jax.tree.map(jnp.zeros_like, PARAMS))
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(one(values, jnp.float32(0.1))))


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_weight_decay_spares_biases(name):
    """With zero gradients only decay moves anything."""
    params = PARAMS | {"conv": {"kernel": jnp.ones((3, 3, 1, 2)), "bias": jnp.ones(2)}, "log_scale": jnp.float32(1)}
    params["pre_bias"] = {"value": jnp.ones((3, 3, 1))}  # of images: an array like any kernel
    tx = transformation(name, jnp.float32(0.1), VALUES | {"weight_decay": jnp.float32(0.5)})
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    for layer in ("dense", "conv"):
        np.testing.assert_array_equal(updates[layer]["bias"], 0)
        assert np.all(np.asarray(updates[layer]["kernel"]) * params[layer]["kernel"] < 0)
    assert updates["log_scale"] == 0
    np.testing.assert_array_equal(updates["pre_bias"]["value"], 0)


def test_clipping_bounds_the_global_norm():
    values = VALUES | {"b1": jnp.float32(0), "clip_norm": jnp.float32(0.3)}
    tx = transformation("sgd", jnp.float32(1.0), values)
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    np.testing.assert_allclose(optax.tree.norm(updates), 0.3, rtol=1e-5)


def curve(name, *, warmup=0, boundaries=(), steps=100):
    shape = schedule(name, steps=steps, warmup_steps=warmup, boundaries=boundaries)
    return np.array([float(shape(jnp.int32(step), VALUES)) for step in range(steps + 1)])


def test_constant_stays_at_the_peak():
    np.testing.assert_array_equal(curve("constant"), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("cosine", optax.cosine_decay_schedule(1.0, 100, alpha=0.1)),
        ("linear", optax.linear_schedule(1.0, 0.1, 100)),
        ("exponential", optax.exponential_decay(1.0, 100, 0.1)),
        ("piecewise", optax.piecewise_constant_schedule(1.0, {30: 0.5, 60: 0.5})),
    ],
)
def test_each_schedule_is_optaxs(name, own):
    expected = [float(own(step)) for step in range(101)]
    np.testing.assert_allclose(curve(name, boundaries=(30, 60)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["constant", "cosine", "linear", "exponential", "piecewise"])
def test_warm_up_rises_linearly_to_the_peak_before_any_schedule(name):
    rates = curve(name, warmup=10, boundaries=(50,))
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10, rtol=1e-5)
    assert rates.max() == pytest.approx(1.0)
    assert rates[-1] == pytest.approx({"constant": 1.0, "piecewise": 0.5}.get(name, 0.1), rel=1e-4)
