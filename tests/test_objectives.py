"""Likelihoods and penalties against closed forms and float64 NumPy."""

import chex
import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from aeflax import objectives
from aeflax.outputs import Latent, Outputs

LOGITS = hnp.arrays(np.float32, (3, 5), elements=st.floats(-30, 30, width=32))
UNIT = hnp.arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32))


def outputs(logits=None, *, code=None, mean=None, log_var=None, log_scale=None):
    return Outputs(logits=logits, latent=Latent(code=code, mean=mean, log_var=log_var), log_scale=log_scale)


def batch_mean(values):
    return jnp.mean(values, axis=0)


@given(LOGITS, UNIT)
@settings(deadline=None)
def test_bernoulli_nats_equal_the_definition_in_float64(logits, targets):
    z, x = logits.astype(np.float64), targets.astype(np.float64)
    expected = -np.sum(x * special.log_expit(z) + (1 - x) * special.log_expit(-z), axis=1)
    # float32: five terms of at most 30 nats, half an ulp each.
    np.testing.assert_allclose(objectives.bernoulli_nats(logits, targets), expected, rtol=2e-6, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("magnitude", [1e4, 1e30])
def test_bernoulli_nats_and_gradient_are_finite_at_extreme_logits(magnitude):
    logits = jnp.array([[magnitude, -magnitude, magnitude, -magnitude]])
    targets = jnp.array([[1.0, 0.0, 0.0, 1.0]])
    nats, grad = jax.value_and_grad(lambda z: objectives.bernoulli_nats(z, targets).sum())(logits)
    np.testing.assert_allclose(nats, 2 * magnitude, rtol=1e-6)
    np.testing.assert_array_equal(grad, [[0.0, 0.0, 1.0, -1.0]])


def test_bernoulli_gradient_at_zero_is_a_half_minus_the_target():
    targets = jnp.array([[0.0, 0.25, 1.0]])
    grad = jax.grad(lambda z: objectives.bernoulli_nats(z, targets).sum())(jnp.zeros((1, 3)))
    np.testing.assert_allclose(grad, 0.5 - targets)


def test_bernoulli_nats_have_forward_mode_derivatives():
    logits, targets = jnp.array([[0.3, -2.0]]), jnp.array([[1.0, 0.2]])
    _, tangent = jax.jvp(lambda z: objectives.bernoulli_nats(z, targets), (logits,), (jnp.ones_like(logits),))
    np.testing.assert_allclose(tangent, np.sum(special.expit(np.asarray(logits)) - np.asarray(targets)), rtol=1e-5)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_gaussian_nats_equal_scipys_density(scale):
    random = np.random.RandomState(0)
    mean, targets = random.randn(4, 2, 3).astype(np.float32), random.randn(4, 2, 3).astype(np.float32)
    expected = -stats.norm.logpdf(targets.astype(np.float64), mean, scale).sum(axis=(1, 2))
    actual = objectives.gaussian_nats(mean, targets, jnp.log(jnp.float32(scale)))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_a_bounded_mean_is_the_sigmoid_of_the_output():
    logits, targets = jnp.array([[-1.5, 0.0, 30.0]]), jnp.array([[0.2, 0.5, 1.0]])
    bounded = objectives.gaussian(learned=False, bounded=True)
    np.testing.assert_allclose(bounded.mean(logits), special.expit(logits), rtol=1e-6)
    expected = -stats.norm.logpdf(np.asarray(targets), special.expit(np.asarray(logits)), 0.5).sum(axis=1)
    found = bounded.nats(outputs(logits), targets, {"scale": jnp.float32(0.5)})
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.slow
def test_a_learned_scale_takes_the_place_of_the_fixed_one():
    mean, targets = jnp.zeros((2, 3)), jnp.ones((2, 3))
    fixed = objectives.gaussian(learned=False).nats(outputs(mean), targets, {"scale": jnp.float32(0.5)})
    learned = objectives.gaussian(learned=True).nats(outputs(mean, log_scale=jnp.log(0.5)), targets, {})
    np.testing.assert_allclose(fixed, learned, rtol=1e-6)


def test_gaussian_kl_is_zero_at_the_standard_normal():
    np.testing.assert_array_equal(objectives.gaussian_kl(jnp.zeros((2, 3)), jnp.zeros((2, 3))), 0.0)


@given(
    hnp.arrays(np.float32, (2, 3), elements=st.floats(-5, 5, width=32)),
    hnp.arrays(np.float32, (2, 3), elements=st.floats(-8, 8, width=32)),
)
@settings(deadline=None)
def test_gaussian_kl_equals_the_closed_form_in_float64_and_is_not_negative(mean, log_var):
    m, v = mean.astype(np.float64), log_var.astype(np.float64)
    expected = 0.5 * (np.exp(v) + m**2 - 1 - v)
    actual = objectives.gaussian_kl(mean, log_var)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert np.all(np.asarray(actual) >= -1e-6)  # cancellation near the standard normal


def test_gaussian_kl_equals_a_monte_carlo_estimate():
    """E_q[log q - log p] over a million samples; the tolerance is five standard errors."""
    random = np.random.RandomState(0)
    mean, log_var = 0.7, -0.9
    z = mean + np.exp(log_var / 2) * random.randn(10**6)
    draws = stats.norm.logpdf(z, mean, np.exp(log_var / 2)) - stats.norm.logpdf(z)
    exact = float(objectives.gaussian_kl(jnp.array([[mean]]), jnp.array([[log_var]]))[0, 0])
    assert abs(draws.mean() - exact) < 5 * draws.std() / 1000


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
@settings(deadline=None)
def test_bernoulli_kl_equals_scipys_relative_entropy(target, rate):
    expected = special.rel_entr(target, rate) + special.rel_entr(1 - target, 1 - rate)
    np.testing.assert_allclose(
        objectives.bernoulli_kl(jnp.float32(target), jnp.float32(rate)), expected, rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_bernoulli_kl_is_finite_for_dead_and_saturated_units(rate):
    value, grad = jax.value_and_grad(lambda r: objectives.bernoulli_kl(jnp.float32(0.05), r))(jnp.float32(rate))
    chex.assert_tree_all_finite((value, grad))


def test_l1_is_the_weighted_norm_of_each_example():
    code = jnp.array([[1.0, -2.0, 0.0], [0.5, 0.5, 0.5]])
    cost, norm = objectives.l1(
        outputs(code=code), batch_mean, {"warmup_steps": jnp.float32(0), "weight": jnp.float32(0.1)}, jnp.int32(0)
    )
    np.testing.assert_allclose(norm, [3.0, 1.5])
    np.testing.assert_allclose(cost, [0.3, 0.15], rtol=1e-6)


def test_l1_convention_matches_the_keras_blog():
    """1e-4 × 32 units × mean activation 3.33 = .0107, summed over units and averaged over the batch."""
    code = jnp.full((7, 32), 3.33)
    cost, _ = objectives.l1(
        outputs(code=code), batch_mean, {"warmup_steps": jnp.float32(0), "weight": jnp.float32(1e-4)}, jnp.int32(0)
    )
    np.testing.assert_allclose(cost.mean(), 0.0107, atol=5e-5)


def test_rate_penalises_the_mean_over_the_batch_and_is_zero_at_the_target():
    code = jnp.array([[0.0, 0.2], [0.1, 0.0], [0.05, 0.1], [0.05, 0.1]])  # mean .05 and .1
    values = {"warmup_steps": jnp.float32(0), "weight": jnp.float32(2.0), "target": jnp.float32(0.05)}
    cost, shown = objectives.rate(outputs(code=code), batch_mean, values, jnp.int32(0))
    expected = special.rel_entr(0.05, 0.1) + special.rel_entr(0.95, 0.9)
    np.testing.assert_allclose(shown, np.full(4, expected), rtol=1e-4)
    np.testing.assert_allclose(cost, 2 * shown)


def test_kl_warm_up_rises_linearly_and_reaches_beta_at_its_last_step():
    latent = outputs(mean=jnp.ones((1, 2)), log_var=jnp.zeros((1, 2)))  # 1 nat
    values = {"beta": jnp.float32(4.0), "warmup_steps": jnp.float32(4.0)}
    costs = [float(objectives.kl(latent, batch_mean, values, jnp.int32(step))[0][0]) for step in range(6)]
    np.testing.assert_allclose(costs, [1.0, 2.0, 3.0, 4.0, 4.0, 4.0], rtol=1e-6)
    off = objectives.kl(latent, batch_mean, values | {"warmup_steps": jnp.float32(0)}, jnp.int32(0))[0]
    np.testing.assert_allclose(off, 4.0)


def test_free_bits_floor_each_dimension_on_the_batch_mean_and_report_the_plain_kl():
    mean = jnp.array([[2.0, 0.0], [0.0, 0.1]])  # KL 2, 0 and 0, .005: batch means 1 and .0025
    latent = outputs(mean=mean, log_var=jnp.zeros((2, 2)))
    values = {"beta": jnp.float32(1.0), "warmup_steps": jnp.float32(0), "free_bits": jnp.float32(0.25)}
    cost, shown = objectives.kl(latent, batch_mean, values, jnp.int32(0))
    np.testing.assert_allclose(cost, [1.25, 1.25], rtol=1e-6)
    np.testing.assert_allclose(shown, [2.0, 0.005], rtol=1e-5)
