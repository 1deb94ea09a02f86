"""Corruption processes q(x̃ | x): (keys [B], images [B, ...], values) -> images of the same shape.

`values` holds the traced numbers of the configuration part, by field name. The noise is a function of the
example's own key, so it does not depend on the batch's split over devices.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from aeflax import noise

Values = Mapping[str, jax.Array]
Corruption = Callable[[jax.Array, jax.Array, Values], jax.Array]


def identity(keys: jax.Array, images: jax.Array, values: Values) -> jax.Array:
    """Returns the images as they are."""
    return images


def gaussian(*, clip: bool) -> Corruption:
    """Adds N(0, sigma²) to every feature; `clip` keeps the result in [0, 1]."""

    def corrupt(keys: jax.Array, images: jax.Array, values: Values) -> jax.Array:
        draw = noise.normal(keys, _features(images)).reshape(images.shape)
        noisy = images + _level(keys, images, values, "sigma") * draw
        return jnp.clip(noisy, 0.0, 1.0) if clip else noisy

    return corrupt


def masking(keys: jax.Array, images: jax.Array, values: Values) -> jax.Array:
    """Sets each feature to zero with probability `rate`."""
    draw = noise.uniform(keys, _features(images)).reshape(images.shape)
    return jnp.where(draw < _level(keys, images, values, "rate"), 0.0, images)


def salt_pepper(keys: jax.Array, images: jax.Array, values: Values) -> jax.Array:
    """Sets each feature to 0 or to 1, each with probability `rate` / 2."""
    draw = noise.uniform(keys, _features(images)).reshape(images.shape)
    rate = _level(keys, images, values, "rate")
    return jnp.where(draw < 0.5 * rate, 0.0, jnp.where(draw < rate, 1.0, images))


def _features(images: jax.Array) -> int:
    return images.size // images.shape[0] if images.shape[0] else 0


def _level(keys: jax.Array, images: jax.Array, values: Values, name: str) -> jax.Array:
    """The level of each example: `name` itself, or uniform in [`name`_min, `name`] where that is set."""
    high, low = values[name], values.get(f"{name}_min")
    if low is None:
        return high
    # A key of its own, so that an example's level is independent of its noise.
    share = noise.uniform(jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys), 1)
    return (low + (high - low) * share).reshape((-1,) + (1,) * (images.ndim - 1))
