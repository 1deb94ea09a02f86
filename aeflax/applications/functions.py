"""What a trained autoencoder computes, compiled: equal models share it.

Each function takes weights (`params`, `model`, `hyper`) and a batch, and gives a list of arrays [B, ...].
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from aeflax.build import Built
from aeflax.engine.compiling import PROGRAMS
from aeflax.engine.keys import Keys, Stream
from aeflax.engine.placement import Placement
from aeflax.objectives import gaussian_kl

Compiled = Callable[..., Any]

LEAST = -3.4028235e38  # the least finite float32


@functools.partial(jax.jit, static_argnums=2)
def normal(root: jax.Array, index: jax.Array, size: int) -> jax.Array:
    """Standard normal codes [N, size], each by its index [N] alone."""
    keys = Keys(root, 0, index).of(Stream.PRIOR)
    return jax.vmap(functools.partial(jax.random.normal, shape=(size,)))(keys)


@functools.lru_cache(maxsize=PROGRAMS)
def functions(built: Built, placement: Placement) -> dict[str, Compiled]:
    """Compiled functions of (weights, images or codes [B, ...]); what one does not need, XLA removes."""

    def outputs(weights: Any, images: jax.Array) -> Any:
        params = placement.team().lend(weights["params"], len(images))
        return built.parts.apply(params, weights["model"], images, None, weights["hyper"], None)

    def expected(logits: jax.Array) -> jax.Array:
        return built.likelihood.mean(logits)

    def encode(weights: Any, images: jax.Array) -> list[jax.Array]:
        params = placement.team().lend(weights["params"], len(images))
        return [built.encode(params, weights["model"], images, weights["hyper"])]

    def reconstruct(weights: Any, images: jax.Array) -> list[jax.Array]:
        return [expected(outputs(weights, images).logits)]

    def score(weights: Any, images: jax.Array) -> list[jax.Array]:
        error = (expected(outputs(weights, images).logits) - images) ** 2
        return [jnp.mean(error.reshape(len(images), -1), axis=-1)]

    def posterior(weights: Any, images: jax.Array) -> list[jax.Array]:
        latent = outputs(weights, images).latent
        return [latent.mean, latent.log_var, gaussian_kl(latent.mean, latent.log_var)]

    def bounds(
        weights: Any, images: jax.Array, index: jax.Array, key: jax.Array, samples: jax.Array
    ) -> list[jax.Array]:
        encoded = outputs(weights, images)
        latent = encoded.latent
        deviation = jnp.exp(0.5 * latent.log_var)

        def drawn(sample: jax.Array, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            # A running mean, and a sum of weights beside the largest: plain float32 sums drift over many draws.
            middle, most, weight = sums
            keys = Keys(key, sample, index).of(Stream.SCORING)
            noise = jax.vmap(lambda each: jax.random.normal(each, latent.mean.shape[1:]))(keys)
            codes = latent.mean + deviation * noise
            decoded = encoded.replace(logits=logits(weights, codes)[0])
            nats = built.likelihood.nats(decoded, images, weights["hyper"]["model"]["likelihood"])
            # log p(z) - log q(z | x); what both have of 2 pi cancels.
            ratio = 0.5 * jnp.sum(noise**2 + latent.log_var - codes**2, axis=-1)
            exponent = ratio - nats
            larger = jnp.maximum(most, exponent)
            weight = weight * jnp.exp(most - larger) + jnp.exp(exponent - larger)
            return middle + (nats - middle) / (sample + 1).astype(jnp.float32), larger, weight

        nothing = jnp.zeros(len(images))
        # LEAST is finite: beside -inf, a first weight of 0 would be told by the difference of infinities.
        start = nothing, jnp.full(len(images), LEAST), nothing
        middle, most, weight = jax.lax.fori_loop(0, samples, drawn, start)
        divergence = jnp.sum(gaussian_kl(latent.mean, latent.log_var), axis=-1)
        return [middle + divergence, jnp.log(samples.astype(jnp.float32)) - most - jnp.log(weight)]

    def logits(weights: Any, codes: jax.Array) -> list[jax.Array]:
        return [built.decode(weights["params"], codes)]

    def decode(weights: Any, codes: jax.Array) -> list[jax.Array]:
        return [expected(logits(weights, codes)[0])]

    found = (encode, reconstruct, score, bounds, posterior, decode, logits)
    return {function.__name__: jax.jit(function) for function in found}
