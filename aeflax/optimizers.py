"""Optax transformations by name and learning-rate shapes, built inside the traced step from traced numbers.

A schedule is a shape with peak 1 times the traced learning rate; its lengths are static.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from aeflax.outputs import Values

Shape = Callable[[jax.Array, Values], jax.Array]
Precondition = Callable[[Values], optax.GradientTransformation]

MUON_ADAM_B1 = 0.9  # of the Adam that updates whatever is no matrix, as Optax has it


def _adam(values: Values) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=values["b1"], b2=values["b2"], eps=values["eps"])


PRECONDITIONERS: dict[str, Precondition] = {
    "adam": _adam,
    "adamw": _adam,
    "lamb": _adam,
    "sgd": lambda v: optax.trace(decay=v["b1"]),
    "lion": lambda v: optax.scale_by_lion(b1=v["b1"], b2=v["b2"]),
}


def schedule(name: str, *, steps: int, warmup_steps: int, boundaries: tuple[int, ...]) -> Shape:
    """Learning rate over its peak as a function of the step (0-based) and the traced `final` and `factor`."""
    length = max(steps - warmup_steps, 1)
    shapes: dict[str, Shape] = {
        "constant": lambda t, v: jnp.ones_like(t),
        "cosine": lambda t, v: v["final"] + (1.0 - v["final"]) * 0.5 * (1.0 + jnp.cos(jnp.pi * t)),
        "linear": lambda t, v: 1.0 - (1.0 - v["final"]) * t,
        "exponential": lambda t, v: v["final"] ** t,
    }

    def shape(step: jax.Array, values: Values) -> jax.Array:
        now = step.astype(jnp.float32)
        warm = jnp.minimum(1.0, (now + 1.0) / max(warmup_steps, 1))
        if name == "piecewise":
            passed = sum((step >= boundary).astype(jnp.float32) for boundary in boundaries)
            return warm * values["factor"] ** passed
        return warm * shapes[name](jnp.clip((now - warmup_steps) / length, 0.0, 1.0), values)

    return shape


def transformation(name: str, learning_rate: jax.Array, values: Values) -> optax.GradientTransformation:
    """Clipping, preconditioning, decoupled weight decay on kernels, learning rate.

    Args:
      name: adam, adamw, sgd (with momentum b1), lamb, lion or muon (momentum b1; Adam where there is no matrix).
      learning_rate: of this step.
      values: traced numbers; `clip_norm` and `weight_decay` are off where absent.
    """
    clip = [optax.clip_by_global_norm(values["clip_norm"])] if "clip_norm" in values else []
    if name == "muon":
        muon = optax.contrib.muon(
            learning_rate,
            beta=values["b1"],
            eps=values["eps"],
            adam_b1=MUON_ADAM_B1,
            adam_b2=values["b2"],
        )
        # Decay stands behind both of its branches: matrices, and whatever goes to Adam.
        if "weight_decay" not in values:
            return optax.chain(*clip, muon)
        return optax.chain(*clip, muon, optax.add_decayed_weights(-learning_rate * values["weight_decay"], _kernels))
    decay = [optax.add_decayed_weights(values["weight_decay"], _kernels)] if "weight_decay" in values else []
    trust = [optax.scale_by_trust_ratio()] if name == "lamb" else []
    return optax.chain(*clip, PRECONDITIONERS[name](values), *decay, *trust, optax.scale(-learning_rate))


def _kernels(params: optax.Params) -> optax.Params:
    """True for what is named `kernel`, of matrices and convolutions; biases, norm scales and scalars are spared."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1] == jax.tree_util.DictKey("kernel"), params)
