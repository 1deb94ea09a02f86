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


def split(keys: jax.Array, count: int) -> tuple[jax.Array, ...]:
    """Keys for as many draws, independent of one another: one key an example [B] -> `count` times [B].

    Two draws from the same keys are the same noise: `normal` is a function of what `uniform` gives.
    """
    return tuple(jax.vmap(lambda key, draw=draw: jax.random.fold_in(key, draw))(keys) for draw in range(count))


def uniform(keys: jax.Array, features: int) -> jax.Array:
    """Uniform noise in the open interval (0, 1): one key an example [B] -> [B, features] float32.

    The values lie on a grid of 2^-23, offset by half a step, so neither 0 nor 1 occurs. The same keys give the same
    values, of which more features are only more: for another draw, `split` the keys.
    """
    words = jax.random.key_data(keys)
    index = jnp.arange(features, dtype=jnp.uint32) * jnp.uint32(_GOLDEN)
    bits = _mix(_mix(words[:, :1] + index) ^ words[:, 1:])
    grid: jax.Array = (bits >> 9).astype(jnp.float32)
    return grid * 2.0**-23 + 2.0**-24


def normal(keys: jax.Array, features: int) -> jax.Array:
    """Standard normal noise: one key an example [B] -> [B, features] float32, a function of their `uniform` noise."""
    centred = 2.0 * uniform(keys, features) - 1.0
    draw: jax.Array = jnp.float32(2.0**0.5) * jax.lax.erf_inv(centred)
    return draw
