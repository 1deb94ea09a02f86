"""Per-feature noise that is cheap and does not depend on how a batch is split over devices.

One threefry key an example, one integer hash a feature: the bits that an example meets are a function of
its key and the feature's index alone, hence identical under jit, vmap, pmap and on any number of devices.
A threefry call for every feature would double the time of a small dense step.
"""

import jax
import jax.numpy as jnp

_GOLDEN = 0x9E3779B9  # 2^32 over the golden ratio: spreads consecutive indices


def _mix(bits: jax.Array) -> jax.Array:
    """The 32-bit finaliser `lowbias32` (C. Wellons, 2018)."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x846CA68B)
    mixed: jax.Array = bits ^ (bits >> 16)
    return mixed


def uniform(keys: jax.Array, features: int) -> jax.Array:
    """Uniform noise in the open interval (0, 1): one key an example [B] -> [B, features] float32.

    The values lie on a grid of 2^-23, offset by half a step, so neither 0 nor 1 occurs.
    """
    words = jax.random.key_data(keys)
    index = jnp.arange(features, dtype=jnp.uint32) * jnp.uint32(_GOLDEN)
    bits = _mix(_mix(words[:, :1] + index) ^ words[:, 1:])
    grid: jax.Array = (bits >> 9).astype(jnp.float32)
    return grid * 2.0**-23 + 2.0**-24


def normal(keys: jax.Array, features: int) -> jax.Array:
    """Standard normal noise: one key an example [B] -> [B, features] float32."""
    centred = 2.0 * uniform(keys, features) - 1.0
    draw: jax.Array = jnp.float32(2.0**0.5) * jax.lax.erf_inv(centred)
    return draw
