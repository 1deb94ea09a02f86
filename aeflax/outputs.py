"""What a model says of a batch: the currency between models, objectives and evaluation."""

import flax.struct
import jax


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
