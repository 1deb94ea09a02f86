"""What a model says of a batch: the currency between models, corruption, objectives and evaluation."""

from collections.abc import Mapping

import flax.struct
import jax

Values = Mapping[str, jax.Array]  # the traced numbers of a part of the configuration, by field name


class Latent(flax.struct.PyTreeNode):
    """The code [B, D] and, for a posterior, its mean and log-variance, both [B, D]."""

    code: jax.Array
    mean: jax.Array | None = None
    log_var: jax.Array | None = None


class Outputs(flax.struct.PyTreeNode):
    """Decoder output and latent of a batch.

    `logits` [B, ...] parametrise the likelihood: Bernoulli logits, or the Gaussian's mean. `log_scale` is the
    learned log standard deviation of a Gaussian likelihood, else None.
    """

    logits: jax.Array
    latent: Latent
    log_scale: jax.Array | None = None


def flat(images: jax.Array) -> jax.Array:
    """[B, ...] -> [B, F]. On CPU, XLA runs the same elementwise terms three times slower over [B, 28, 28, 1]."""
    return images.reshape(images.shape[0], -1)
