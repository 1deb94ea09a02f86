"""Training by the importance-weighted bound: its value, its gradient, and that more draws make it tighter."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from variants import EXAMPLES, Harness, experiment, images

import aeflax
from aeflax import build
from aeflax.config import KL, L1, GaussianPosterior, Penalties
from aeflax.config.validation import validate
from aeflax.engine.placement import choose
from aeflax.errors import ConfigError
from aeflax.objectives import importance_weighted_nats


def settings(samples, **changed):
    base = experiment("vae")
    return replace(base, model=replace(base.model, bottleneck=GaussianPosterior(samples=samples), **changed))


def densities(nats, codes, mean, log_var):
    """-log 1/S Σ p(x | z) p(z) / q(z | x) as it is written, in float64."""
    total = np.zeros(len(mean))
    for loss, z in zip(nats, codes, strict=True):
        prior = np.exp(-0.5 * (z**2).sum(-1)) / (2 * np.pi) ** (z.shape[-1] / 2)
        deviation = np.exp(0.5 * log_var)
        normal = np.exp(-0.5 * ((z - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * np.pi))
        total += np.exp(-loss) * prior / normal.prod(-1)
    return -np.log(total / len(nats))


@pytest.mark.slow
def test_the_bound_is_the_mean_of_the_weights():
    random = np.random.RandomState(0)
    mean, log_var = random.randn(3, 4), random.randn(3, 4)
    codes = mean + np.exp(0.5 * log_var) * random.randn(5, 3, 4)
    nats = random.uniform(0, 8, (5, 3))
    found = importance_weighted_nats(*(jnp.asarray(part, jnp.float32) for part in (nats, codes, mean, log_var)))
    np.testing.assert_allclose(found, densities(nats, codes, mean, log_var), rtol=1e-5)


@pytest.mark.slow
def test_the_loss_of_training_is_the_bound_of_its_own_draws():
    harness = Harness(settings(5))
    parts, state = harness.built.parts, harness.initial()
    values = images(6).astype(np.float32) / 255
    keys = jax.random.split(jax.random.key(1), 6)
    outputs = parts.apply(state.params, state.model, jnp.asarray(values), keys, harness.hyper, jnp.mean)
    assert outputs.drawn.shape == (5, 6, 9, 7, 1)
    assert outputs.latent.drawn.shape == (5, 6, 4)
    np.testing.assert_array_equal(outputs.latent.code, outputs.latent.drawn[0])
    assert np.unique(np.asarray(outputs.latent.drawn[:, 0, 0])).size == 5
    loss, terms = parts.objective(outputs, jnp.asarray(values), jnp.mean, harness.hyper, jnp.int32(0))
    logits = np.asarray(outputs.drawn, np.float64)
    each = np.log1p(np.exp(logits)) - values * logits
    latent = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), outputs.latent)
    expected = densities(each.reshape(5, 6, -1).sum(-1), latent.drawn, latent.mean, latent.log_var)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert {"reconstruction_nats", "kl"} <= set(terms)
    alone = parts.apply(state.params, state.model, jnp.asarray(values), None, harness.hyper, None)
    assert alone.drawn is None


def test_other_penalties_are_added_to_the_bound():
    harness = Harness(settings(5, penalties=Penalties(kl=KL(), l1=L1(weight=0.5))))
    bare = Harness(settings(5))
    state, parts = bare.initial(), harness.built.parts
    values = jnp.asarray(images(6).astype(np.float32) / 255)
    keys = jax.random.split(jax.random.key(1), 6)
    outputs = parts.apply(state.params, state.model, values, keys, harness.hyper, jnp.mean)
    found, terms = parts.objective(outputs, values, jnp.mean, harness.hyper, jnp.int32(0))
    bound, _ = bare.built.parts.objective(outputs, values, jnp.mean, bare.hyper, jnp.int32(0))
    np.testing.assert_allclose(found, bound + 0.5 * jnp.abs(outputs.latent.code).sum(-1), rtol=1e-6)
    assert {"kl", "l1"} <= set(terms)


def test_one_draw_is_the_elbo_as_before():
    one = build.build(Harness(settings(1)).settings, (9, 7, 1))
    before = build.build(Harness(experiment("vae")).settings, (9, 7, 1))
    assert one.parts == before.parts


@pytest.mark.slow
def test_more_draws_are_a_tighter_bound_on_average():
    """At fixed weights E[bound] falls with the draws (Burda et al. 2016, theorem 1); 200 keys leave .05 nats."""
    means = []
    for samples in (2, 16):
        harness = Harness(settings(samples))
        parts, state = harness.built.parts, Harness(settings(1)).initial()
        values = jnp.asarray(images(8).astype(np.float32) / 255)

        def loss(key, parts=parts, state=state, values=values, hyper=harness.hyper):
            outputs = parts.apply(state.params, state.model, values, jax.random.split(key, 8), hyper, jnp.mean)
            return jnp.mean(parts.objective(outputs, values, jnp.mean, hyper, jnp.int32(0))[0])

        means.append(float(jnp.mean(jax.vmap(loss)(jax.random.split(jax.random.key(0), 200)))))
    assert means[1] < means[0] - 0.1


@pytest.mark.slow
def test_the_draws_do_not_depend_on_the_devices():
    states = []
    for name in ("jit", "pmap"):
        harness = Harness(settings(3), choose(name))
        states.append(harness.run(harness.initial(), 7)[0])
    for a, b in zip(*(jax.tree.leaves(jax.device_get(state.params)) for state in states), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)  # sums in another order


@pytest.mark.slow
def test_it_trains_and_is_evaluated_by_the_elbo():
    run = aeflax.train(settings(4), images(EXAMPLES), report=False)
    assert {"elbo", "kl"} <= set(run.summary["test"])
    assert run.score(images(3)).shape == (3,)


@pytest.mark.parametrize("kl", [KL(beta=2.0), KL(warmup_steps=5), KL(free_bits=0.1), None])
def test_other_objectives_are_refused(kl):
    with pytest.raises(ConfigError, match="importance-weighted bound"):
        validate(settings(3, penalties=Penalties(kl=kl)))
