"""Likelihoods and penalties. Every term is one value per example, in nats.

The Bernoulli one is finite wherever its sum over features can be: for float32 logits below 1e38 / features.
Features are summed and examples averaged (by the engine), so the sum of a negative log-likelihood and the KL
is the negative ELBO. Penalties that need the mean over the whole batch receive `mean`, which reduces over
examples and devices.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from aeflax.outputs import BatchMean, Outputs, Values, flat


@dataclass(frozen=True)
class Likelihood:
    """Negative log-likelihood [B] of targets, and the mean of p(x | code), from the outputs."""

    nats: Callable[[Outputs, jax.Array, Values], jax.Array]
    mean: Callable[[jax.Array], jax.Array]  # logits -> expected features


# (outputs, batch mean, values, step) -> (cost [B], reported value [B])
Penalty = Callable[[Outputs, BatchMean, Values, jax.Array], tuple[jax.Array, jax.Array]]


def bernoulli_nats(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """-Σ log Bernoulli(target | sigmoid(logit)), [B, ...] -> [B].

    `where` and not `maximum`: at a logit of exactly 0 the gradient is then ½ - target, as it should be.
    """
    logits, targets = flat(logits), flat(targets)
    terms = jnp.where(logits >= 0, logits, 0.0) - targets * logits + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return jnp.sum(terms, axis=-1)


def gaussian_nats(mean: jax.Array, targets: jax.Array, log_scale: jax.Array) -> jax.Array:
    """-Σ log N(target | mean, exp(log_scale)²), [B, ...] -> [B]."""
    deviation = (flat(targets) - flat(mean)) * jnp.exp(-log_scale)
    return jnp.sum(0.5 * deviation**2 + log_scale + 0.5 * math.log(2.0 * math.pi), axis=-1)


def gaussian_kl(mean: jax.Array, log_var: jax.Array) -> jax.Array:
    """KL(N(mean, exp(log_var)) || N(0, I)) of each dimension, [B, D] -> [B, D] (Kingma & Welling 2014, app. B)."""
    return 0.5 * (jnp.exp(log_var) + mean**2 - 1.0 - log_var)


def importance_weighted_nats(nats: jax.Array, codes: jax.Array, mean: jax.Array, log_var: jax.Array) -> jax.Array:
    """-log 1/S Σ_s p(x, z_s) / q(z_s | x), [B], a bound of -log p(x) (Burda et al. 2016).

    Args:
      nats: -log p(x | z_s), [S, B].
      codes: z_s drawn from q(z | x), [S, B, D].
      mean: of q, [B, D].
      log_var: of q, [B, D].
    """
    # log p(z) - log q(z | x); what both have of 2 pi cancels.
    ratio = 0.5 * jnp.sum((codes - mean) ** 2 * jnp.exp(-log_var) + log_var - codes**2, axis=-1)
    return math.log(len(nats)) - jax.nn.logsumexp(ratio - nats, axis=0)


def bernoulli_kl(target: jax.Array, rate: jax.Array) -> jax.Array:
    """KL(Bernoulli(target) || Bernoulli(rate)), elementwise; rates are held 1e-6 away from 0 and 1."""
    rate = jnp.clip(rate, 1e-6, 1.0 - 1e-6)
    return target * (jnp.log(target) - jnp.log(rate)) + (1.0 - target) * (jnp.log1p(-target) - jnp.log1p(-rate))


BERNOULLI = Likelihood(
    nats=lambda outputs, targets, values: bernoulli_nats(outputs.logits, targets),
    mean=jax.nn.sigmoid,
)


def gaussian(*, learned: bool, bounded: bool = False) -> Likelihood:
    """Gaussian likelihood around the output, or its sigmoid, with the fixed `scale`, or the model's learned one."""
    mean: Callable[[jax.Array], jax.Array] = jax.nn.sigmoid if bounded else lambda logits: logits

    def nats(outputs: Outputs, targets: jax.Array, values: Values) -> jax.Array:
        log_scale = outputs.log_scale if learned else jnp.log(values["scale"])
        assert log_scale is not None
        return gaussian_nats(mean(outputs.logits), targets, log_scale)

    return Likelihood(nats=nats, mean=mean)


def l1(outputs: Outputs, mean: BatchMean, values: Values, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Weight · Σ|code|; reports the norm itself."""
    norm = jnp.sum(jnp.abs(outputs.latent.code), axis=-1)
    return values["weight"] * _risen(values, step) * norm, norm


def l0(outputs: Outputs, mean: BatchMean, values: Values, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Weight · active units, with the bottleneck's own gradient; reports their number."""
    assert outputs.latent.active is not None
    count = jnp.sum(outputs.latent.active, axis=-1)
    return values["weight"] * _risen(values, step) * count, count


def rate(outputs: Outputs, mean: BatchMean, values: Values, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Weight · Σ KL(target || mean activation) (Ng 2011), the same for every example; reports the divergence."""
    code = outputs.latent.code
    divergence = jnp.sum(bernoulli_kl(values["target"], mean(code)))
    shared = jnp.broadcast_to(divergence, code.shape[:1])
    return values["weight"] * _risen(values, step) * shared, shared


def kl(outputs: Outputs, mean: BatchMean, values: Values, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """beta(step) · KL(q || p), with free bits on the batch mean if set; reports the plain KL."""
    latent = outputs.latent
    assert latent.mean is not None
    assert latent.log_var is not None
    each = gaussian_kl(latent.mean, latent.log_var)
    plain = jnp.sum(each, axis=-1)
    charged = plain
    if "free_bits" in values:
        charged = jnp.broadcast_to(jnp.sum(jnp.maximum(mean(each), values["free_bits"])), plain.shape)
    return values["beta"] * _risen(values, step) * charged, plain


def _risen(values: Values, step: jax.Array) -> jax.Array:
    """The share of its weight that a penalty has at a step of its warm-up.

    Step 0 already counts, so a warm-up of n steps reaches the full weight at its n-th step.
    """
    return jnp.minimum(1.0, (step.astype(jnp.float32) + 1.0) / jnp.maximum(values["warmup_steps"], 1.0))
