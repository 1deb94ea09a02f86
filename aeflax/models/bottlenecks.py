"""Bottlenecks: encoder features to a float32 code. What else they may use is in the `Context`."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from aeflax.models.layers import ACTIVATIONS, dense
from aeflax.models.selection import largest, largest_of_each
from aeflax.outputs import Context, Latent

PyTree = Any

STATE = "state"  # collection of what a module keeps beside its parameters: the engine's model state
LOG_VAR_BOUND = 10.0
# A ReLU code starts with every unit alive. With 0, one to four of 16 units were dead for good after training
# on digits (test MSE .0090 with none, .0136 with four).
RELU_BIAS = 1.0
FIRST_THRESHOLD = 0.1  # of jump-relu units, small beside their first activations of about RELU_BIAS
DECAY = 0.99  # a step, of the running threshold of a batch-wide selection


class Memory(NamedTuple):
    """How a bottleneck's part of the model state follows training."""

    observe: Callable[[Latent], PyTree]
    """latent -> what is to be averaged over the examples of the batch, float32 [B, ...]."""
    update: Callable[[PyTree, PyTree], PyTree]
    """(state, means of what was observed) -> state, after the optimizer."""


class Deterministic(nn.Module):
    """activation(W h + b); without `project` the features are the code."""

    features: int
    activation: str
    project: bool = True

    @nn.compact
    def __call__(self, hidden: jax.Array, context: Context) -> Latent:
        """Maps features [B, ...] to a code [B, D]."""
        bias = RELU_BIAS if self.activation == "relu" else 0.0
        code = ACTIVATIONS[self.activation](_projected(self, hidden, bias)).astype(jnp.float32)
        return Latent(code=code, unselected=code)


class TopK(nn.Module):
    """The k largest units of each example's ReLU code and ties with the last one, the rest zero."""

    features: int
    project: bool = True

    @nn.compact
    def __call__(self, hidden: jax.Array, context: Context) -> Latent:
        """Maps features [B, ...] to a code [B, D]."""
        code = _rectified(self, hidden)
        return Latent(code=code * largest_of_each(code, context.values["k"]), unselected=code)


class BatchTopK(nn.Module):
    """The largest units of the whole batch's ReLU code, `mean_k` an example on average (Bussmann et al. 2024).

    Ties with the last one are kept, too. The model state is the threshold of inference, 0 before the first step.
    """

    features: int
    project: bool = True

    @nn.compact
    def __call__(self, hidden: jax.Array, context: Context) -> Latent:
        """Maps features [B, ...] to a code [B, D]; in training with `mean_k` · B non-zero units at least."""
        code = _rectified(self, hidden)
        threshold = self.variable(STATE, "threshold", jnp.zeros, ()).value
        if context.mean is None:
            return Latent(code=jnp.where(code >= threshold, code, 0.0))
        mean = context.mean
        marks, least = largest(code, context.values["mean_k"], lambda marks: mean(jnp.sum(marks, axis=-1)))
        return Latent(code=code * marks, threshold=jnp.broadcast_to(least, code.shape[:1]), unselected=code)


class Lifetime(nn.Module):
    """A ReLU code of which, in training, each unit keeps its largest `rate` of the batch (Makhzani & Frey 2015).

    Ties with the last one are kept, too.
    """

    features: int
    project: bool = True

    @nn.compact
    def __call__(self, hidden: jax.Array, context: Context) -> Latent:
        """Maps features [B, ...] to a code [B, D]."""
        code = _rectified(self, hidden)
        if context.mean is None:
            return Latent(code=code)
        marks, _ = largest(code, context.values["rate"], context.mean)
        return Latent(code=code * marks, unselected=code)


class JumpReLU(nn.Module):
    """z where z > θ, else 0, with a threshold θ > 0 of each unit, learnt as log θ (Rajamanoharan et al. 2024)."""

    features: int
    project: bool = True

    @nn.compact
    def __call__(self, hidden: jax.Array, context: Context) -> Latent:
        """Maps features [B, ...] to a code [B, D] and its active units, differentiable by the thresholds."""
        units = _projected(self, hidden, RELU_BIAS).astype(jnp.float32)
        start = nn.initializers.constant(math.log(FIRST_THRESHOLD))
        threshold = jnp.exp(self.param("log_threshold", start, units.shape[-1:]).astype(jnp.float32))
        if context.mean is None:
            return Latent(code=jnp.where(units > threshold, units, 0.0))
        return jump(units, threshold, context.values["bandwidth"])


class GaussianPosterior(nn.Module):
    """q(z | x) = N(mean, exp(log_var)), sampled as mean + exp(log_var / 2) ε (Kingma & Welling 2014).

    The log-variance is held in (-10, 10) by a scaled tanh, so that no input makes the KL infinite. In training
    `samples` codes are drawn for each example.
    """

    features: int
    samples: int = 1
    project: bool = True

    @nn.compact
    def __call__(self, hidden: jax.Array, context: Context) -> Latent:
        """Maps features [B, ...] to a posterior over codes [B, D]; one key [B] an example draws its sample."""
        # On a spatial map, without `project`, the layer acts on channels: a 1×1 convolution.
        hidden = hidden.reshape(hidden.shape[0], -1) if self.project else hidden
        both = dense(2 * self.features, "posterior")(hidden).astype(jnp.float32)
        mean, raw = (half.reshape(hidden.shape[0], -1) for half in jnp.split(both, 2, axis=-1))
        log_var = LOG_VAR_BOUND * jnp.tanh(raw / LOG_VAR_BOUND)
        if context.keys is None:
            return Latent(code=mean, mean=mean, log_var=log_var)
        deviation = jnp.exp(0.5 * log_var)

        def draw(keys: jax.Array) -> jax.Array:
            return mean + deviation * jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))(keys)

        code = draw(context.keys)
        if self.samples == 1 or context.mean is None:
            return Latent(code=code, mean=mean, log_var=log_var)
        # The first draw is the one that a single sample would be; the others have keys of their own.
        others = [draw(jax.vmap(jax.random.fold_in, (0, None))(context.keys, n)) for n in range(1, self.samples)]
        return Latent(code=code, mean=mean, log_var=log_var, drawn=jnp.stack([code, *others]))


def jump(units: jax.Array, threshold: jax.Array, bandwidth: jax.Array) -> Latent:
    """The jump-relu code of units [B, D] at thresholds [D], with its gradients (Rajamanoharan et al. 2024).

    Where |z - θ| < ε / 2 the derivative by θ is -θ / ε of the code, -1 / ε of the count of active units, elsewhere 0.
    """
    held = lax.stop_gradient(threshold)
    active = (units > held).astype(units.dtype)
    window = (jnp.abs(lax.stop_gradient(units) - held) < 0.5 * bandwidth).astype(units.dtype) / bandwidth
    slip = window * (held - threshold)  # zero, with a derivative of -window
    return Latent(code=units * active + held * slip, active=active + slip, unselected=nn.relu(units))


def _projected(module: Any, hidden: jax.Array, bias: float) -> jax.Array:
    """Features [B, ...] -> one value a unit, [B, D]; without `project` the features are the units."""
    hidden = hidden.reshape(hidden.shape[0], -1)
    return dense(module.features, "code", bias)(hidden) if module.project else hidden


def _rectified(module: Any, hidden: jax.Array) -> jax.Array:
    """The ReLU code [B, D] in float32, before any selection."""
    return nn.relu(_projected(module, hidden, RELU_BIAS)).astype(jnp.float32)


def _running(state: PyTree, means: PyTree) -> PyTree:
    """A mean over steps, which begins with the first one's value."""
    old, new = state["threshold"], means["threshold"]
    return {"threshold": jnp.where(old == 0.0, new, DECAY * old + (1.0 - DECAY) * new)}


RUNNING_THRESHOLD = Memory(observe=lambda latent: {"threshold": latent.threshold}, update=_running)
