"""Bottlenecks: encoder features to a float32 code. What else they may use is in the `Context`."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from aeflax.models.layers import ACTIVATIONS, dense
from aeflax.outputs import Context, Latent

STATE = "state"  # collection of what a module keeps beside its parameters: the engine's model state
LOG_VAR_BOUND = 10.0
# A ReLU code starts with every unit alive. With 0, one to four of 16 units were dead for good after training
# on digits (test MSE .0090 with none, .0136 with four).
RELU_BIAS = 1.0


class Deterministic(nn.Module):
    """activation(W h + b); without `project` the features are the code."""

    features: int
    activation: str
    project: bool = True

    @nn.compact
    def __call__(self, hidden: jax.Array, context: Context) -> Latent:
        """Maps features [B, ...] to a code [B, D]."""
        bias = RELU_BIAS if self.activation == "relu" else 0.0
        if self.project:
            hidden = dense(self.features, "code", bias)(hidden)
        code = ACTIVATIONS[self.activation](hidden.reshape(hidden.shape[0], -1))
        return Latent(code=code.astype(jnp.float32))


class TopK(nn.Module):
    """The k largest units of the ReLU code, the rest zero; ties keep the lower index."""

    features: int
    k: int
    project: bool = True

    @nn.compact
    def __call__(self, hidden: jax.Array, context: Context) -> Latent:
        """Maps features [B, ...] to a code [B, D] with at most k non-zero units."""
        if self.project:
            hidden = dense(self.features, "code", RELU_BIAS)(hidden)
        code = nn.relu(hidden.reshape(hidden.shape[0], -1)).astype(jnp.float32)
        _, kept = lax.top_k(lax.stop_gradient(code), self.k)
        rows = jnp.arange(code.shape[0])[:, None]
        return Latent(code=code * jnp.zeros_like(code).at[rows, kept].set(1.0))


class GaussianPosterior(nn.Module):
    """q(z | x) = N(mean, exp(log_var)), sampled as mean + exp(log_var / 2) ε (Kingma & Welling 2014).

    The log-variance is held in (-10, 10) by a scaled tanh, so that no input makes the KL infinite.
    """

    features: int

    @nn.compact
    def __call__(self, hidden: jax.Array, context: Context) -> Latent:
        """Maps features [B, ...] to a posterior over codes [B, D]; one key [B] an example draws its sample."""
        # On a spatial map the layer acts on channels: a 1×1 convolution.
        both = dense(2 * self.features, "posterior")(hidden).astype(jnp.float32)
        mean, raw = (half.reshape(hidden.shape[0], -1) for half in jnp.split(both, 2, axis=-1))
        log_var = LOG_VAR_BOUND * jnp.tanh(raw / LOG_VAR_BOUND)
        if context.keys is None:
            return Latent(code=mean, mean=mean, log_var=log_var)
        noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))(context.keys)
        return Latent(code=mean + jnp.exp(0.5 * log_var) * noise, mean=mean, log_var=log_var)
