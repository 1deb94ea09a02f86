"""What a model says of a batch: the currency between models, corruption, objectives and evaluation."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import flax.struct
import jax

Values = Mapping[str, jax.Array]  # the traced numbers of a part of the configuration, by field name
BatchMean = Callable[[jax.Array], jax.Array]  # over the examples of the whole batch, [B, ...] -> [...]


class Context(NamedTuple):
    """What a bottleneck may know beside its features.

    Attributes:
      keys: [B], one an example, for what it draws; None: nothing is drawn, a posterior gives its mean.
      values: the traced numbers of its part of the configuration.
      mean: over the whole batch and all devices, without padding, in training; None is inference, where an example's
        code depends on that example alone.
    """

    keys: jax.Array | None = None
    values: Values = MappingProxyType({})
    mean: BatchMean | None = None


class Latent(flax.struct.PyTreeNode):
    """The code [B, D], and what else a kind of bottleneck has to say.

    Attributes:
      code: of each example.
      mean, log_var: of a posterior, both [B, D].
      active: 1 for a unit that is on, else 0, [B, D], with a gradient where the bottleneck estimates one.
      threshold: above which units of this batch were kept, [B], the same for every example.
      unselected: of a sparse code, the ReLU code of all units, [B, D].
      drawn: of a posterior that is sampled several times an example, all its codes, [S, B, D]; `code` is the first.
    """

    code: jax.Array
    mean: jax.Array | None = None
    log_var: jax.Array | None = None
    active: jax.Array | None = None
    threshold: jax.Array | None = None
    unselected: jax.Array | None = None
    drawn: jax.Array | None = None


class Outputs(flax.struct.PyTreeNode):
    """Decoder output and latent of a batch.

    `logits` [B, ...] parametrise the likelihood: Bernoulli logits, or the Gaussian's mean. `log_scale` is the
    learned log standard deviation of a Gaussian likelihood, else None. `repaired` [B, ...] are the logits without their
    gradient plus what dead units of a dictionary would add, else None. `drawn` [S, B, ...] are the logits of every
    drawn code, where the latent has several.
    """

    logits: jax.Array
    latent: Latent
    log_scale: jax.Array | None = None
    repaired: jax.Array | None = None
    drawn: jax.Array | None = None


def flat(images: jax.Array) -> jax.Array:
    """[B, ...] -> [B, F]. On CPU, XLA runs the same elementwise terms three times slower over [B, 28, 28, 1]."""
    return images.reshape(images.shape[0], -1)
